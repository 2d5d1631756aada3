"""wait() blocks a cell inside a loop that runs; asyncio's own pass of the loop must survive it."""

from __future__ import annotations

import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("cell", [WAITS, GIVES_UP], ids=["waits", "gives up, waits again"])
def test_the_loop_outlives_the_first_wait_inside_it(cell):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT.format(cell=cell)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    alive, rows, _ = done.stdout.split()
    assert alive == "alive,"
    assert int(rows) >= 20
