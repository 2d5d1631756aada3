"""wait() inside a running loop, of whatever kind, and from another thread: the lab goes on."""

from __future__ import annotations

import asyncio
import concurrent.futures
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from pairlab import PairLab, PairlabError, WaitTimeoutError
from pairlab.lab import nested_loop, runner
from tests.lab.test_runner import ScriptedFeed, some_ticks

REPLY_S = 150.0

# nest_asyncio2 changes the loop's class for good, so that only a new process is as a new kernel is.
SCRIPT = """
import asyncio
from pairlab import PairLab, WaitTimeoutError

async def main():
    loop = asyncio.get_running_loop()
    lab = PairLab("BTCUSDT", "ETHUSDT", feed="demo")
    lab.start()
    ended = loop.create_future()

    def cell():
        {cell}
        loop.call_later(0.01, ended.set_result, None)

    # All in one pass of the loop: the cell, and what the wait inside of it uses up.
    loop.call_soon(cell)
    for _ in range(100):
        loop.call_soon(int)
    await ended
    rows = len(lab.history())
    await lab.stop()
    print("alive,", rows, "rows")

asyncio.run(main())
"""
WAITS = "lab.wait(rows=20, timeout_s=60)"
GIVES_UP = """
        try:
            lab.wait(rows=10**9, timeout_s=0.01)
        except WaitTimeoutError:
            lab.wait(rows=20, timeout_s=60)"""


@pytest.mark.slow
@pytest.mark.parametrize("cell", [WAITS, GIVES_UP], ids=["waits", "gives up, waits again"])
def test_the_loop_outlives_the_first_wait_inside_it(cell: str) -> None:
    alive, rows, _ = run(SCRIPT.format(cell=cell)).split()
    assert alive == "alive,"
    assert int(rows) >= 20


def run(script: str) -> str:
    """Run a script in a new process; return what it printed, and nothing else may be said."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# -- nest_asyncio, in a kernel ----------------------------------------------------------------

FIRST = {
    "first": "import nest_asyncio; nest_asyncio.apply()",
    "after an import of the lab": "import pairlab, nest_asyncio; nest_asyncio.apply()",
    "on a loop of its own": "import asyncio, nest_asyncio\n"
    "class Loop(asyncio.SelectorEventLoop): pass\n"
    "own = Loop(); nest_asyncio.apply(own); own.close(); nest_asyncio.apply()",
}
START = """
from pairlab import PairLab
lab = PairLab("BTCUSDT", "ETHUSDT", feed="demo", window=20)
lab.start()
lab.wait(rows=25, timeout_s=120)
"""
GOES_ON = """
import asyncio
import nest_asyncio
nest_asyncio.apply()  # again, as the next package does
for _ in range(3):
    lab.wait(rows=lab.health().rows + 3, timeout_s=60)
await lab.wait_async(rows=lab.health().rows + 3, timeout_s=60)
asyncio.get_event_loop().run_until_complete(asyncio.sleep(0.01))  # what nest_asyncio is for
lab.wait(rows=lab.health().rows + 3, timeout_s=60)
assert lab.health().state == "live"
await lab.stop()
"""


@pytest.fixture
def kernel() -> Iterator[BlockingKernelClient]:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(extra_arguments=["--Application.log_level=40"])
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=REPLY_S)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", FIRST.values(), ids=list(FIRST))
def test_a_kernel_in_which_nest_asyncio_came_first(
    kernel: BlockingKernelClient, first: str
) -> None:
    # All at once, as "Run all cells" sends them: the next ones arrive while a cell waits.
    cells = [kernel.execute(cell) for cell in (first, START, GOES_ON)]
    for cell in cells:
        while (reply := kernel.get_shell_msg(timeout=REPLY_S))["parent_header"]["msg_id"] != cell:
            pass  # kernel_info, asked while the kernel began
        assert reply["content"]["status"] == "ok", reply["content"]
    said = []
    while cells:
        message = kernel.get_iopub_msg(timeout=REPLY_S)
        if message["msg_type"] == "stream":
            said.append(message["content"]["text"])
        if message["content"].get("execution_state") == "idle":
            cells = [cell for cell in cells if cell != message["parent_header"]["msg_id"]]
    assert said == []


# -- loops that cannot run inside themselves --------------------------------------------------

UVLOOP = """
import asyncio, uvloop
from pairlab import PairLab, PairlabError

async def main():
    task, future = asyncio.Task, asyncio.Future
    async with PairLab("BTCUSDT", "ETHUSDT", feed="demo") as lab:
        for _ in range(2):
            try:
                lab.wait(rows=20)
            except PairlabError as error:
                assert "uvloop.Loop" in str(error), error
                assert "await lab.wait_async(" in str(error)
            else:
                raise AssertionError("not refused")
        assert (asyncio.Task, asyncio.Future) == (task, future)  # nothing was patched
        await lab.wait_async(rows=20, timeout_s=120)
        rows = lab.health().rows
        await asyncio.to_thread(lab.wait, rows + 5, 60)
        assert lab.health().state == "live"
        print("alive,", len(lab.history()) >= rows + 5)

uvloop.run(main())
"""


@pytest.mark.slow
def test_uvloop_is_refused_with_the_recipe_and_the_lab_goes_on() -> None:
    assert run(UVLOOP) == "alive, True\n"


class OwnPass(asyncio.SelectorEventLoop):
    """As loops of GUI toolkits are: asyncio's in name, with passes of its own."""

    def _run_once(self) -> None:
        super()._run_once()


class OwnName(asyncio.SelectorEventLoop):
    """A loop of asyncio's under another name."""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "works"), [(OwnPass, False), (OwnName, True)])
def test_what_is_patched_is_asyncios_own(
    kind: type[asyncio.SelectorEventLoop], works: bool
) -> None:
    script = f"""
import asyncio, tests.lab.test_nested_loop as here
from pairlab import PairLab, PairlabError

async def main():
    async with PairLab("BTCUSDT", "ETHUSDT", feed="demo") as lab:
        try:
            lab.wait(rows=20, timeout_s=120)
        except PairlabError as error:
            print(here.{kind.__name__}.__name__ in str(error), "wait_async" in str(error))
        else:
            print("works")
        await lab.wait_async(rows=30, timeout_s=120)

with asyncio.Runner(loop_factory=here.{kind.__name__}) as runner:
    runner.run(main())
"""
    assert run(script) == ("works\n" if works else "True True\n")


# -- from another thread ----------------------------------------------------------------------


async def test_threads_wait_beside_the_loop() -> None:
    feed = ScriptedFeed()
    async with PairLab(feed=feed) as lab:
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            loop = asyncio.get_running_loop()
            short = loop.run_in_executor(pool, lab.wait, 99, 120.0)
            long = loop.run_in_executor(pool, lab.wait, 199, 120.0)
            never = loop.run_in_executor(pool, lab.wait, 10**9, 0.01)
            with pytest.raises(WaitTimeoutError, match=r"1,000,000,000 rows after 0\.01 s"):
                await never
            await feed.give(some_ticks(100))
            await short
            assert not long.done()
            await feed.give(some_ticks(100, start=100))
            await long
            waiting = loop.run_in_executor(pool, lab.wait, 10**9, 120.0)
            while not lab._runner._waiters:  # noqa: ASYNC110  # of another thread
                await asyncio.sleep(0)
            await lab.stop()
            with pytest.raises(PairlabError, match="no more rows will come"):
                await waiting


def test_a_thread_is_told_when_the_loop_ends_hangs_or_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nested_loop, "_GRACE_S", 0.05)
    monkeypatch.setattr(nested_loop, "_LOOK_S", 0.01)
    loop, begun = asyncio.new_event_loop(), threading.Event()
    lab = PairLab(feed=ScriptedFeed())

    async def start() -> None:
        lab.start()

    loop.run_until_complete(start())
    with pytest.raises(WaitTimeoutError):
        lab.wait(10**9, 0.01)  # a loop that stands still, in its own thread, is run meanwhile
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    held = threading.Event()

    def hangs() -> None:
        begun.set()
        held.wait(60)

    loop.call_soon_threadsafe(hangs)
    begun.wait(60)
    with pytest.raises(WaitTimeoutError, match="did not answer"):
        lab.wait(10**9, 0.01)
    loop.call_soon_threadsafe(loop.stop)
    held.set()
    thread.join(60)

    async def stop_from_another_loop() -> None:
        with pytest.raises(PairlabError, match="another event loop"):
            lab.wait(10**9, 1.0)

    asyncio.run(stop_from_another_loop())
    loop.run_until_complete(lab.stop())
    lab._runner._main = loop.create_task(asyncio.sleep(0))  # started, as far as wait() can see
    loop.run_until_complete(lab._runner._main)
    loop.close()
    with pytest.raises(PairlabError, match="loop is closed"):
        lab.wait(10**9, 1.0)


# -- from another loop ------------------------------------------------------------------------


async def test_another_loop_waits_for_a_lab_and_stops_it() -> None:
    feed = ScriptedFeed()
    lab = PairLab(feed=feed)
    lab.start()

    async def waits() -> None:
        waiting = asyncio.ensure_future(lab.wait_async(99, timeout_s=60.0))
        closed = asyncio.ensure_future(lab.wait_closed())
        asyncio.run_coroutine_threadsafe(feed.give(some_ticks(100)), loop)
        await waiting
        with pytest.raises(WaitTimeoutError, match="1,000,000,000 rows"):
            await lab.wait_async(10**9, timeout_s=0.01)
        await lab.stop()
        await closed
        await lab.stop()  # does nothing

    loop = asyncio.get_running_loop()
    await asyncio.wait_for(asyncio.to_thread(asyncio.run, waits()), 60)
    assert (lab.health().state, feed.closed) == ("stopped", 1)


async def test_rows_that_come_while_another_loop_asks_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between its question how many there are and its waiting the last batch comes."""
    feed = ScriptedFeed()
    lab = PairLab(feed=feed)
    lab.start()
    await lab._runner._start_engine()
    loop, real = asyncio.get_running_loop(), runner.run_on

    async def late(of: asyncio.AbstractEventLoop | None, work: nested_loop.Work) -> None:
        giving = asyncio.run_coroutine_threadsafe(feed.give(some_ticks(100)), loop)
        await asyncio.wrap_future(giving)
        await real(of, work)

    monkeypatch.setattr(runner, "run_on", late)
    await asyncio.to_thread(asyncio.run, lab.wait_async(99, timeout_s=20.0))
    monkeypatch.undo()
    await lab.stop()


async def test_a_lab_of_another_loop_is_closed_for_the_next_on_its_pair() -> None:
    lab = PairLab(feed="demo")
    lab.start()

    async def replaces() -> None:
        async with PairLab(feed="demo") as other:
            await lab.wait_closed()
            assert lab.health().state == "stopped"
            await other.wait_async(1, timeout_s=60.0)

    await asyncio.wait_for(asyncio.to_thread(asyncio.run, replaces()), 120)


def test_a_lab_whose_loop_stands_still_is_refused_and_one_whose_loop_ended_told() -> None:
    lab = PairLab(feed=ScriptedFeed())
    told: list[BaseException] = []

    def waits() -> None:
        try:
            lab.wait(10**9, 60.0)
        except BaseException as error:
            told.append(error)

    async def starts() -> None:
        lab.start()

    async def elsewhere() -> None:
        for call in (lab.wait_async(10**9, 60.0), lab.stop(), lab.wait_closed()):
            with pytest.raises(PairlabError, match="another event loop, which does not run"):
                await call

    async def ends_while_a_thread_waits() -> threading.Thread:
        lab.start()
        thread = threading.Thread(target=waits)
        thread.start()
        while not lab._runner._waiters:  # noqa: ASYNC110  # of another thread
            await asyncio.sleep(0)
        return thread

    loop = asyncio.new_event_loop()
    loop.run_until_complete(starts())
    asyncio.run(elsewhere())
    loop.run_until_complete(lab.stop())
    loop.close()
    asyncio.run(ends_while_a_thread_waits()).join(60)
    assert [type(error) for error in told] == [PairlabError]
