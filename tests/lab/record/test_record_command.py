"""`pairlab record`: a process that records until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pairlab import cli
from pairlab.local_exchange import LocalExchange
from pairlab.storage.recording.recorded_session import RecordedSession
from tests.ahead import Ahead

pytestmark = pytest.mark.usefixtures("no_task_left")


@contextlib.asynccontextmanager
async def recording(*arguments: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "pairlab", "record", *map(str, arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def said(process: asyncio.subprocess.Process, word: str) -> str:
    assert process.stdout is not None
    assert process.stderr is not None
    while word not in (line := (await process.stdout.readline()).decode()):
        assert line, (await process.stderr.read()).decode()
    return line


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_seals(tmp_path: Path, number: signal.Signals) -> None:
    market = Ahead(100, seed=3, rate_per_s=2_000)
    async with LocalExchange(market) as exchange:  # noqa: SIM117  # the next needs its address
        async with recording("--out", tmp_path / "x", "--feed", exchange.url) as process:
            line = await said(process, "recording")
            assert line == (
                f"pairlab: recording BTCUSDT/ETHUSDT to {tmp_path / 'x'}; Ctrl-C or SIGTERM seals "
                "it\n"
            )
            session = await asyncio.to_thread(RecordedSession, tmp_path / "x")
            while session.last_seq < 500:
                await asyncio.sleep(0.05)
                await asyncio.to_thread(session.refresh)
            assert session.status == "recording"
            process.send_signal(number)
            line = await said(process, "sealed")
            assert await process.wait() == 0
            assert exchange.url.partition("//")[2] not in line
    session = await asyncio.to_thread(RecordedSession, tmp_path / "x")
    assert session.status == "sealed"
    assert line.startswith(f"pairlab: sealed: {session.last_seq + 1:,} ticks, ")
    assert session.complete


@pytest.mark.slow
async def test_a_place_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    async with recording("--out", tmp_path / "file", "--feed", "demo") as process:
        out, error = await process.communicate()
        assert process.returncode == 1, error
        assert "is a file: expected a folder" in error.decode()
        assert b"Traceback" not in error
        assert b"sealed" not in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--feed", "bniance"), "feed = 'bniance'"),
        (("--feed", "demo", "--max-bytes", "5"), "1,048,576"),
        (("--feed", "demo", "--max-age", "soon"), "max_age = 'soon'"),
        (("BTCUSDT",), "a pair is two symbols"),
    ],
)
def test_what_it_refuses_at_once(tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    with pytest.raises(SystemExit, match=text):
        cli.main(["record", "--out", str(tmp_path / "x"), *arguments])
    assert not (tmp_path / "x").exists()
