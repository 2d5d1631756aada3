"""A real kernel, a server in another process, and a client that takes what the kernel sends."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

__all__ = ["Kernel", "firehose", "kernel"]

READY_S = 120.0


@contextlib.contextmanager
def firehose(frames: int, per_s: float | None = None, symbols: int = 0) -> Iterator[str]:
    """Run the server in a process of its own and give its URL."""
    command = [sys.executable, "-m", "tests.benchmarks.processes.firehose", str(frames)]
    command += [] if per_s is None else [str(per_s)]
    command += [str(symbols)] if symbols else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"ws://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


class Kernel:
    """Runs cells, and counts what the kernel sends to its front end."""

    def __init__(self, client: BlockingKernelClient, process: psutil.Process) -> None:
        self._client = client
        self.process = process
        self.messages = 0
        self.bytes = 0
        self._answers: dict[str, list[str]] = {}
        self._idle: dict[str, threading.Event] = {}
        self._over = False
        self._pulse, self._carrier = "", b""
        self._sending = threading.Lock()
        self._taker = threading.Thread(target=self._take, daemon=True)
        self._taker.start()

    def _take(self) -> None:
        socket = self._client.iopub_channel.socket
        while not self._over:
            if not socket.poll(100):
                continue
            parts = socket.recv_multipart()
            self.messages += 1
            self.bytes += sum(len(part) for part in parts)
            _, fed = self._client.session.feed_identities(parts)
            if json.loads(fed[1])["msg_type"] == "comm_msg":
                # Counted; a browser would read it in a process of its own. But for its answer.
                if self._carrier and self._carrier in fed[4] and b'"frame"' in fed[4]:
                    frame = json.loads(fed[4])["data"]["content"]["frame"]
                    self._say({"drawn": frame})
                continue
            message: dict[str, Any] = self._client.session.deserialize(fed)
            parent = message["parent_header"].get("msg_id", "")
            if message["msg_type"] == "stream":
                self._answers.setdefault(parent, []).append(message["content"]["text"])
            elif message["msg_type"] == "error":
                text = "\n".join(message["content"]["traceback"])
                self._answers.setdefault(parent, []).append(text)
            elif message["content"].get("execution_state") == "idle" and parent in self._idle:
                self._idle[parent].set()

    def look_at(self, pulse_id: str, carrier_id: str) -> None:
        """Be a page with a dashboard: open, and answer its frames as a browser does."""
        self._pulse, self._carrier = pulse_id, carrier_id.encode()
        self._say({"opened": True})

    def _say(self, what: dict[str, Any]) -> None:
        content = {"page": "benchmark", **what}
        data = {"method": "custom", "content": content}
        with self._sending:
            self._client.shell_channel.send(
                self._client.session.msg("comm_msg", {"comm_id": self._pulse, "data": data})
            )

    def run(self, code: str) -> str:
        """Run a cell and return what it printed."""
        done = threading.Event()
        message = self._client.session.msg("execute_request", {
            "code": code, "silent": False, "store_history": False, "user_expressions": {},
            "allow_stdin": False, "stop_on_error": True,
        })  # fmt: skip
        number = message["header"]["msg_id"]
        self._idle[number] = done
        with self._sending:
            self._client.shell_channel.send(message)
        if not done.wait(READY_S):
            raise RuntimeError(f"the kernel did not end the cell {code!r}")
        answer = "".join(self._answers.pop(number, []))
        reply = self._client.get_shell_msg(timeout=READY_S)
        if reply["content"]["status"] != "ok":
            raise RuntimeError(answer)
        return answer

    def watch(self, seconds: float) -> tuple[float, int]:
        """Let it run; return the share of a core that the kernel took and the bytes it sent."""
        before, sent, start = self.process.cpu_times(), self.bytes, time.monotonic()
        time.sleep(seconds)
        after, elapsed = self.process.cpu_times(), time.monotonic() - start
        busy_s = after.user + after.system - before.user - before.system
        return busy_s / elapsed, self.bytes - sent

    def close(self) -> None:
        """Stop taking."""
        self._over = True
        self._taker.join()


@contextlib.contextmanager
def kernel() -> Iterator[Kernel]:
    """Start an ipykernel as a notebook does."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=READY_S)
        made = Kernel(client, psutil.Process(manager.provisioner.process.pid))
        try:
            yield made
        finally:
            made.close()
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
