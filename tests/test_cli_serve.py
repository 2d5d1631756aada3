"""The command line: what `pairlab serve` shows an operator of its feed."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import re
import signal
import sys
import threading

import pytest

from pairlab import cli
from pairlab.local_exchange import LocalExchange
from pairlab.local_exchange.server.faults import Fault
from tests.ahead import Ahead

pytestmark = pytest.mark.usefixtures("no_task_left")

LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING|ERROR) (pairlab\.feeds\.[\w.]+): (.+)"
)


@pytest.mark.slow
async def test_serve_logs_what_happens_to_the_feed() -> None:
    async with LocalExchange(Ahead(100, seed=3, rate_per_s=2000)) as exchange:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-m", "pairlab", "serve",
            "--port", "0", "--feed", exchange.url,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PAIRLAB_TOKEN": "t"},
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            while "documentation" not in (line := (await process.stdout.readline()).decode()):
                assert line, (await process.stderr.read()).decode()
            while not exchange.stats().streams:  # noqa: ASYNC110 - a number
                await asyncio.sleep(0.05)
            await exchange.inject(Fault("drop")).wait()
            lines = []
            while not (lines and "reconnecting" in lines[-1]):
                lines.append((await process.stderr.readline()).decode())
                assert lines[-1], lines
            process.send_signal(signal.SIGINT)
            lines += (await process.stderr.read()).decode().splitlines()
            assert await process.wait() == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
    matched = [LINE.fullmatch(line.rstrip("\n")) for line in lines]
    assert all(matched), lines
    closed = [m for m in matched if m and "connection" in m[3] and "reconnecting" in m[3]]
    assert [m[1] for m in closed] == ["WARNING"]


def test_a_terminal_that_stalls_does_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()

    class Stalled(io.StringIO):
        def write(self, text: str) -> int:
            goes_on.wait(5)
            return super().write(text)

    written = Stalled()
    monkeypatch.setattr(sys, "stderr", written)
    root, ours = logging.getLogger(), logging.getLogger("pairlab")
    before = list(root.handlers), ours.level
    with cli._logging_to_stderr():
        for n in range(5):
            logging.getLogger("pairlab.feeds.x").info("line %d", n)
        logging.getLogger("other").info("another's chatter")
        assert written.getvalue() == ""  # nobody waited for it
        goes_on.set()
    assert [line.split(": ")[1] for line in written.getvalue().splitlines()] == [
        f"line {n}" for n in range(5)
    ]
    assert (list(root.handlers), ours.level) == before
