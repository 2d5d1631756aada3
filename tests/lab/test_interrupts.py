"""The notebook's stop button, in a real kernel: it ends the cell, and neither stream nor screen."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

REPLY_S = 150.0
MANY = int(os.environ.get("PAIRLAB_INTERRUPTS", "14"))  # each kind twice; 1,000 take 15 minutes
PRESSES = 3
ANSWER_S = 5.0
INTERRUPTS = ("KeyboardInterrupt", "asyncio.exceptions.CancelledError", "CancelledError")

START = """
import asyncio, json, time
from pairlab import PairLab
lab = PairLab("BTCUSDT", "ETHUSDT", feed="demo", window=20)
lab.start()
view = lab.dashboard()
lab.wait(rows=25, timeout_s=120)
"""
CELLS = {
    "wait": "lab.wait(rows=10**9, timeout_s=60)",
    "waits one after the other": "while True: lab.wait(rows=lab.health().rows + 2, timeout_s=60)",
    "await": "await lab.wait_async(rows=10**9, timeout_s=60)",
    "wait in a cell that awaits": "await asyncio.sleep(0); lab.wait(rows=10**9, timeout_s=60)",
    "a loop of the user's": "asyncio.get_event_loop().run_until_complete(asyncio.sleep(60))",
    "a sleep": "time.sleep(60)",
    "reading": "while True: frame = lab.history(last=100); lab.health()",
}
ALIVE = """
async def goes_on():
    rows, frames = lab.health().rows, view.render_loop.meter.painted
    async with asyncio.timeout(60):
        while lab.health().rows <= rows or view.render_loop.meter.painted <= frames:
            await asyncio.sleep(0.005)
await goes_on()
"""
END = """
errors = [entry.message for entry in lab.event_log if entry.level == "error"]
state, reconnects = lab.health().state, lab.health().reconnects
await lab.stop()
left = sorted(t.get_name() for t in asyncio.all_tasks() if "pairlab" in t.get_name())
print(json.dumps([state, reconnects, errors, left]))
"""
BAD = re.compile("never awaited|was destroyed|never retrieved|/pairlab/")
CELL_FRAME = "/ipykernel_"
TRACEBACK = re.compile(
    r"^[^\n]*Traceback \(most recent call last\)(?:.*\n)+?(?=[\w.]*(Error|Interrupt)\b)",
    re.MULTILINE,
)


def faults(printed: str) -> list[str]:
    """Return the lines of what a kernel printed that must not be there.

    Where IPython cannot send the traceback of an interrupted cell as that cell's error, it prints
    it. If the cell itself made the calls in it, it may name any file: the stop button is for that.
    If the loop made them, a step of the feed's or the screen's was torn.
    """

    def kept(found: re.Match[str]) -> str:
        _, in_cell, called = found[0].partition(CELL_FRAME)
        _, _, by_loop = called.partition("_run_once")
        torn = "/pairlab/" in by_loop and "in _raise_in_cell" not in by_loop
        interrupted = found.string.startswith(INTERRUPTS, found.end())
        return "" if in_cell and interrupted and not torn else found[0]

    return [line for line in TRACEBACK.sub(kept, printed).splitlines() if BAD.search(line)]


class Kernel:
    """A kernel with a lab and its dashboard, and what it printed beside its replies."""

    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.file = (folder / "kernel.txt").open("w+")
        self.manager.start_kernel(stdout=self.file, stderr=self.file)
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=REPLY_S)
        self.printed: list[str] = []
        self.states: dict[str, str] = {}
        self.replies: dict[str, tuple[str, str]] = {}

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.file.close()

    def read(self) -> None:
        """Read one message of those that the kernel publishes, of which most are the screen's.

        They must be read all the time, as a front end does: some 4,000 wait for a reader, which is
        15 s of the dashboard, and ZeroMQ drops what comes then, a cell's end like any other.
        """
        message = self.client.get_iopub_msg(timeout=REPLY_S)
        if message["msg_type"] == "stream":
            self.printed.append(message["content"]["text"])
        state = message["content"].get("execution_state")
        if state is not None:
            self.states[message["parent_header"].get("msg_id", "")] = state

    def read_reply(self) -> None:
        reply = self.client.get_shell_msg(timeout=REPLY_S)
        content = reply["content"]
        message_id = reply["parent_header"].get("msg_id", "")
        self.replies[message_id] = content.get("status", ""), content.get("ename", "")

    def result(self, message_id: str) -> tuple[str, str]:
        """The status of a cell's reply, with the name of its error."""
        while self.states.get(message_id) != "idle":
            self.read()
        while message_id not in self.replies:
            self.read_reply()
        return self.replies[message_id]

    def begin(self, code: str) -> str:
        """Send a cell and return once it has begun."""
        message_id = str(self.client.execute(code))
        while message_id not in self.states:
            self.read()
        return message_id

    def run(self, code: str) -> str:
        before = len(self.printed)
        assert self.result(self.client.execute(code)) == ("ok", "")
        return "".join(self.printed[before:])

    def is_answered(self, message_id: str) -> bool:
        """Read what is published until this cell is answered, or for `ANSWER_S`."""
        published, replies = self.client.iopub_channel.socket, self.client.shell_channel.socket
        poller = zmq.Poller()
        poller.register(published, zmq.POLLIN)
        poller.register(replies, zmq.POLLIN)
        until = time.monotonic() + ANSWER_S
        while message_id not in self.replies and (left_s := until - time.monotonic()) > 0:
            ready = dict(poller.poll(left_s * 1_000))
            if replies in ready:
                self.read_reply()
            if published in ready:
                self.read()
        return message_id in self.replies

    def interrupt(self, cell: str, after_s: float) -> bool:
        """Run a cell, press stop after a while, and again while it goes on; is it answered?"""
        message_id = self.begin(cell)
        time.sleep(after_s)  # the random instant that this is about
        for _ in range(PRESSES):
            self.manager.interrupt_kernel()
            if answered := self.is_answered(message_id):
                assert self.result(message_id)[1] in ("KeyboardInterrupt", "CancelledError")
                break
        self.run(ALIVE)
        return answered


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path)
    try:
        kernel.run(START)
        yield kernel
    finally:
        kernel.close()


def interrupted(kernel: Kernel, times: int) -> None:
    """Interrupt every kind of cell in turn, at random instants of the feed and of the screen."""
    chance = random.Random(1)
    cells = list(CELLS.values())
    answered = [
        kernel.interrupt(cells[number % len(cells)], chance.uniform(0.0, 0.15))
        for number in range(times)
    ]
    # ipykernel forgets to answer a cell that is interrupted while it begins.
    assert sum(answered) >= 0.9 * times - 1
    state, reconnects, errors, left = json.loads(kernel.run(END))
    assert (state, reconnects, errors, left) == ("live", 0, [], [])
    kernel.file.seek(0)
    text = "".join(kernel.printed) + kernel.file.read()
    assert not faults(text), text[-6_000:]


def printed_of(cell: str, error: type[BaseException]) -> str:
    """Return the traceback of a cell in which a function of a file of pairlab's raises."""
    package = "def read():\n    raise error\nasync def paint():\n    read()\n"
    names = {"error": error, "asyncio": asyncio}
    exec(compile(package, "/site-packages/pairlab/lab/queries.py", "exec"), names)
    try:
        exec(compile(cell, "/tmp/ipykernel_7/4.py", "exec"), names)
    except BaseException:
        return traceback.format_exc()
    return ""


def test_the_tracebacks_of_interrupted_cells_are_told_from_faults() -> None:
    for cell, error, is_fault in (
        ("read()", KeyboardInterrupt, False),
        ("read()", asyncio.CancelledError, False),
        ("read()", ValueError, True),
        ("asyncio.run(paint())", KeyboardInterrupt, True),
    ):
        text = f"before\n{printed_of(cell, error)}\nafter\n"
        assert "/pairlab/" in text
        assert bool(faults(text)) == is_fault, text
    assert faults("Task exception was never retrieved\n" + printed_of("read()", KeyboardInterrupt))
    assert faults('  File "/site-packages/pairlab/lab/runner.py", line 1, in step\n')


@pytest.mark.slow
@pytest.mark.timeout(120 + 10 * MANY)
def test_stream_and_screen_outlive_many_interrupts(kernel: Kernel) -> None:
    interrupted(kernel, MANY)
