"""What recording costs: ingest with and without it, the way of a tick to its row, the disk."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from pairlab.clock import SYSTEM_CLOCK
from pairlab.feeds.base import FeedInfo
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.config import Limits
from pairlab.lab.pipeline import Pipeline
from pairlab.lab.record.recording import Recording
from pairlab.lab.record.target import Target
from pairlab.schema import Pair, Records
from pairlab.settings import Settings
from pairlab.storage.recording.recorded_session import RecordedSession
from tests.benchmarks.harness import Result, Wanted, benchmark, of_two
from tests.benchmarks.processes.kernels import firehose
from tests.engine import worlds

PAIR = Pair("BTCUSDT", "ETHUSDT")
FRAMES = 200_000
PER_S = 20_000
WINDOW_S = 4.0
BATCH = 10


class Lab:
    """A pipeline and, if wanted, a recording of it."""

    def __init__(self, folder: Path | None) -> None:
        self.pipeline = Pipeline(Settings(), lambda: None)
        self.pipeline.start_engine()
        self.recording = None
        if folder is not None:
            self.recording = Recording(
                self.pipeline, Target(folder), rows=True, pair=PAIR,
                info=FeedInfo("TEST", False, "aggTrade"), price_decimals=lambda: (1, 2),
                tell=self.tell, clock=SYSTEM_CLOCK,
            )  # fmt: skip
        self.on_ticks = self.pipeline.on_ticks

    @staticmethod
    def tell(level: str, text: str) -> None:
        if level != "info":
            raise RuntimeError(text)

    def on_gap(self, missing: int) -> None:
        raise RuntimeError(f"{missing} trades are missing")

    def end(self) -> int:
        """Return the ticks that were recorded."""
        if self.recording is None:
            return 0
        asyncio.run(self.recording.stop())
        if self.recording.lost_ticks:
            raise RuntimeError(f"{self.recording.lost_ticks:,} ticks were lost")
        return self.recording.ticks


def cpu_s(work: Callable[[], object]) -> tuple[float, float]:
    """Return the CPU time of the loop's thread and of all threads, the writer's among them."""
    loop, every = time.thread_time(), time.process_time()
    work()
    return time.thread_time() - loop, time.process_time() - every


def from_socket(url: str, folder: Path | None) -> None:
    lab = Lab(folder)
    feed = BinanceFeed(PAIR, url=url, limits=Limits(attempts_per_5_min=10_000))
    asyncio.run(feed.run(lab))
    if lab.pipeline.next_tick != FRAMES:
        raise RuntimeError(f"{lab.pipeline.next_tick:,} of {FRAMES:,} ticks")
    ends.append(lab)


ends: list[Lab] = []


@benchmark("from the socket to rows, recorded, beside the same without a recording")
def recorded_ingest(rounds: int) -> list[Result]:
    folder = Path(tempfile.mkdtemp(prefix="pairlab-bench-"))
    numbers = iter(range(1_000_000))

    def recorded(url: str) -> None:
        from_socket(url, folder / str(next(numbers)))

    def timed(work: Callable[[], object]) -> tuple[float, float]:
        taken = cpu_s(work)
        for lab in ends:  # sealing at the end is no part of ingest
            if lab.end() not in (0, FRAMES):
                raise RuntimeError("not all was recorded")
        ends.clear()
        return taken

    try:
        ours, its = [], []
        with firehose(FRAMES) as url:
            for number in range(rounds + 1):
                with_it, without = (
                    timed(lambda: recorded(url)),
                    timed(lambda: from_socket(url, None)),
                )
                if number:  # what is imported and compiled once
                    ours.append(with_it)
                    its.append(without)
        return [
            of_two(
                f"socket to row, recorded: {whose}",
                statistics.median(each[at] for each in ours) * 1e6 / FRAMES,
                statistics.median(each[at] for each in its) * 1e6 / FRAMES,
                "not recorded", "µs of CPU per trade", Wanted(ratio_at_least=least), rounds,
                slower=False,
            )
            # The loop is what ingest waits for; the writer's thread may run on another core.
            for at, (whose, least) in enumerate((("loop", 0.95), ("all threads", 0.8)))
        ]  # fmt: skip
    finally:
        shutil.rmtree(folder)


def latencies_ms(ticks: Records, folder: Path | None) -> np.ndarray:
    """Return how long after it was due each batch had become rows, at 20,000 ticks a second."""
    lab = Lab(folder)
    for at in range(0, 2_000, BATCH):
        lab.on_ticks(ticks[at : at + BATCH])
    count = int(PER_S * WINDOW_S) // BATCH
    found = np.empty(count)
    begin = time.perf_counter() + 0.1
    for number in range(count):
        due = begin + number * BATCH / PER_S
        while (wait := due - time.perf_counter()) > 0:
            time.sleep(wait)
        at = 2_000 + number * BATCH
        lab.on_ticks(ticks[at : at + BATCH])
        found[number] = time.perf_counter() - due
    lab.end()
    return found * 1e3


@benchmark("tick to row at 20,000 ticks/s: the 99 % quantile with a recording and without")
def recorded_latency(rounds: int) -> list[Result]:
    ticks = np.resize(worlds.trades(1, 20_000), int(PER_S * WINDOW_S) + 2_000)
    folder = Path(tempfile.mkdtemp(prefix="pairlab-bench-"))
    try:
        latencies_ms(ticks, folder / "warm")  # what is imported and compiled once
        with_p99, without_p99 = [], []
        for number in range(rounds):
            with_p99.append(np.quantile(latencies_ms(ticks, folder / str(number)), 0.99))
            without_p99.append(np.quantile(latencies_ms(ticks, None), 0.99))
    finally:
        shutil.rmtree(folder)
    ours, peer = statistics.median(with_p99), statistics.median(without_p99)
    added = of_two(
        "p99 tick to row, added by it", max(ours - peer, 0.0), peer, "p99 without", "ms",
        Wanted(ours_at_most=0.1), rounds,
    )  # fmt: skip
    return [added]


@benchmark("bytes a tick on disk, beside gzip'd CSV of the same ticks")
def recorded_bytes(rounds: int) -> list[Result]:
    data = os.environ.get("PAIRLAB_DATA")
    ticks = worlds.recorded_trades(Path(data)) if data else worlds.trades(1, 200_000)
    folder = Path(tempfile.mkdtemp(prefix="pairlab-bench-"))
    try:
        lab = Lab(folder / "x")
        for at in range(0, len(ticks), 1_000):
            lab.on_ticks(ticks[at : at + 1_000])
        if lab.end() != len(ticks):
            raise RuntimeError("not all was recorded")
        session = RecordedSession(folder / "x")
        if session.last_seq != len(ticks) - 1:
            raise RuntimeError(f"{session!r}")
        ours = sum(path.stat().st_size for path in (folder / "x" / "ticks").rglob("*.parquet"))
        rows = sum(path.stat().st_size for path in (folder / "x" / "rows").rglob("*.parquet"))
    finally:
        shutil.rmtree(folder)
    text = pd.DataFrame({name: ticks[name] for name in ticks.dtype.names}).to_csv(index=False)
    packed = len(gzip.compress(text.encode(), 6))
    return [
        of_two(
            "ticks on disk", ours / len(ticks), packed / len(ticks), "gzip'd CSV", "bytes",
            Wanted(ratio_at_least=1.0), rounds, slower=False,
        ),
        of_two(
            "rows on disk", rows / len(ticks), 136.0, "in memory", "bytes",
            Wanted(ratio_at_least=1.2), rounds, slower=False,
        ),
    ]  # fmt: skip
