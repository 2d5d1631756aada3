"""``python -m pairlab.local_exchange``: an exchange in a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.local_exchange.clients import dial, read


@pytest.mark.slow
async def test_serves_until_a_signal() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pairlab.local_exchange", "--seed", "5", "--rate", "2000",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    async with dial(url + "/public/stream?streams=btcusdt@trade") as ws:
        assert len(await read(ws, 1_000)) == 1_000
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


@pytest.mark.slow
async def test_a_missing_recording_is_reported(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pairlab.local_exchange", "--recording", str(tmp_path / "gone"),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"no such file" in errors
