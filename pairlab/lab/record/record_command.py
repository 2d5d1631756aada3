"""``pairlab record``: a lab without a screen, recorded until a signal comes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Any, Final

from pairlab.errors import PairlabError
from pairlab.lab.pair_lab import PairLab
from pairlab.lab.record.recording import Recording

__all__ = ["add_record_command", "record_until_signal"]

_STATUS_S: Final = 60.0
_POLL_S: Final = 0.5


def add_record_command(commands: Any) -> argparse.ArgumentParser:
    """Add the command to the subparsers of ``pairlab``; its pair and stream are the caller's."""
    command: argparse.ArgumentParser = commands.add_parser(
        "record",
        help="record a market to a folder; no browser",
        description="Record ticks, rows, alerts and journal until Ctrl-C or SIGTERM, which seals "
        "the recording. A folder that holds a recording of the same pair is continued.",
    )
    command.add_argument("--out", required=True, metavar="DIR", help="folder, or postgresql://…")
    command.add_argument(
        "--feed",
        default="binance",
        metavar="F",
        help="binance (default), demo, a recording's path, or a ws:// or wss:// URL",
    )
    command.add_argument(
        "--no-rows", action="store_true", help="record ticks, alerts and journal, but no rows"
    )
    command.add_argument(
        "--max-bytes", type=int, metavar="N", help="remove the oldest files beyond this size"
    )
    command.add_argument(
        "--max-age", metavar="T", help="remove files older than this, such as 7D or 12h"
    )
    return command


async def record_until_signal(
    lab: PairLab,
    options: argparse.Namespace,
    say: Callable[[str], None],
    status_s: float = _STATUS_S,
) -> None:
    """Record until a signal, the end of the feed, or a failure that nothing mends.

    Parameters
    ----------
    lab : PairLab
        Not started.
    options : argparse.Namespace
        Of `add_record_command`.
    say : callable
        Called with each line: of the beginning, once a minute, of trouble, of the end.
    status_s : float
        Time between two lines while all is well.

    Raises
    ------
    PairlabError
        If it cannot be recorded there, the feed fails for good, or what is recorded could not be
        sealed.
    """
    loop, signalled = asyncio.get_running_loop(), asyncio.Event()
    with contextlib.suppress(NotImplementedError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, signalled.set)
    async with lab:
        recording = lab.record(
            options.out, rows=not options.no_rows, max_bytes=options.max_bytes,
            max_age=options.max_age,
        )  # fmt: skip
        if await recording.wait_opened() != "recording":
            raise PairlabError(recording.error)
        say(f"recording {'/'.join(lab.pair)} to {recording.target}; Ctrl-C or SIGTERM seals it")
        await _watch(lab, recording, signalled, say, status_s)
        health = lab.health()
    if recording.error:
        raise PairlabError(f"{recording.target}: {recording.error}")
    say(f"sealed: {_counts(recording)}")
    if health.state == "failed":
        raise PairlabError(health.detail)


async def _watch(
    lab: PairLab,
    recording: Recording,
    signalled: asyncio.Event,
    say: Callable[[str], None],
    status_s: float,
) -> None:
    """Say how it is until it ends."""
    loop = asyncio.get_running_loop()
    ends = {loop.create_task(signalled.wait()), loop.create_task(lab.wait_closed())}
    told, due_s = "", loop.time() + status_s
    try:
        while recording.active:
            done, _ = await asyncio.wait(ends, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
            if recording.error != told:
                told = recording.error
                say(f"cannot record for now: {told}" if told else "recording goes on")
            elif loop.time() >= due_s:
                due_s = loop.time() + status_s
                say(f"{recording.state}: {_counts(recording)}; feed {lab.health().state}")
            if done:
                return
    finally:
        for task in ends:
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


def _counts(recording: Recording) -> str:
    lost = f", {recording.lost_ticks:,} ticks missing" if recording.lost_ticks else ""
    return (
        f"{recording.ticks:,} ticks, {recording.rows:,} rows, {recording.alerts:,} alerts in "
        f"{recording.nbytes / 1024**2:,.1f} MiB, {recording.duration_s:,.0f} s{lost}"
    )
