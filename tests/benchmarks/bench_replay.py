"""Replays beside reading plus the kernel, seeks beside one row group, archives beside pyarrow."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv as pa_csv

from pairlab import TICK, PairEngine, PairLab, Replay, read_archive
from pairlab.engine import compile_kernel
from pairlab.schema import Pair, Records
from pairlab.storage.recording.folder_sink import FolderSink
from pairlab.storage.recording.sink import RecordBatch
from pairlab.storage.replay.open_source import open_source
from pairlab.storage.replay.tick_source import TickSource
from pairlab.storage.tables import ticks_table
from tests.benchmarks.harness import Result, Wanted, benchmark, of_two
from tests.benchmarks.processes.peers import Peer
from tests.storage.recording import sessions
from tests.storage.replay.files import Heard

PAIR = Pair("BTCUSDT", "ETHUSDT")
FEW, DAY, ZIPPED = 4_000_000, 20_000_000, 1_500_000


def market(count: int, seed: int = 7) -> Records:
    """Return ticks of both legs over 24 hours, ids counting up by one."""
    rng = np.random.default_rng(seed)
    ticks = np.zeros(count, TICK)
    ticks["time_ns"] = 1_723_075_200 * 10**9 + np.sort(rng.integers(0, 86_400_000, count)) * 10**6
    ticks["received_ns"] = ticks["time_ns"] + 5_000_000
    ticks["leg"] = rng.random(count) < 0.5
    walk = np.cumsum(rng.choice([-0.1, 0.0, 0.1], count))
    for leg, level in ((0, 61_279.0), (1, 2_449.0)):
        at = ticks["leg"] == leg
        ticks["id"][at] = np.arange(at.sum())
        ticks["price"][at] = np.round(level + walk[at] / (1 if leg == 0 else 25), 2)
    ticks["quantity"] = rng.integers(1, 2_000, count) / 1000
    ticks["buyer_is_maker"] = rng.random(count) < 0.5
    return ticks


@contextmanager
def parquet(count: int) -> Iterator[tuple[Path, Records]]:
    """Give a Parquet file of ticks, as a recorder writes one, in row groups of a million."""
    ticks = market(count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ticks.parquet"
        with pq.ParquetWriter(path, ticks_table(ticks[:1], 0, PAIR).schema) as writer:
            for start in range(0, count, 2**20):
                writer.write_table(ticks_table(ticks[start : start + 2**20], start, PAIR))
        yield path, ticks


class Rows(Heard):
    """A sink that makes rows and keeps none: what a replay costs beside the kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = PairEngine(min_correlation=0.99)

    def on_ticks(self, ticks: Records) -> None:
        self.row_count += len(self.engine.update(ticks))


async def _to_rows(path: Path) -> float:
    replay, sink = Replay(path, float("inf")), Rows()
    await replay.open(PAIR)
    began = time.process_time()
    await replay.run(sink)
    assert sink.row_count > FEW - 100
    return time.process_time() - began


async def _to_lab(path: Path) -> float:
    lab = PairLab(feed=Replay(path, float("inf")), min_correlation=0.99)
    lab.start()
    began = time.process_time()
    await lab.wait_closed()
    assert lab.health().ticks == FEW, lab.health().detail
    return time.process_time() - began


def _floor(path: Path, ticks: Records) -> float:
    """Return how long pyarrow takes to read the columns, and then the kernel for the ticks."""
    began = time.process_time()
    table = pq.read_table(path)
    del table
    engine = PairEngine(min_correlation=0.99)  # type: ignore[arg-type]
    for start in range(0, len(ticks), 20_000):
        engine.update(ticks[start : start + 20_000])
    return time.process_time() - began


@benchmark("Parquet to rows, CPU time, beside pyarrow's reading and then the kernel")
def replay_parquet(rounds: int) -> list[Result]:
    """Measure a replay into an engine, and into a lab that keeps rows, alerts and ticks.

    The CPU time of all threads: what one core takes. Reading overlaps with the kernel, so that the
    wall clock of a machine with two free cores shows less; that of a busy one shows its load.
    """
    compile_kernel()
    found: dict[str, list[float]] = {"rows": [], "lab": [], "floor": []}
    with parquet(FEW) as (path, ticks):
        for _ in range(rounds):
            found["rows"].append(asyncio.run(_to_rows(path)))
            found["lab"].append(asyncio.run(_to_lab(path)))
            found["floor"].append(_floor(path, ticks))
    rows, lab, floor = (FEW / statistics.median(found[n]) / 1e6 for n in ("rows", "lab", "floor"))
    words = ("read, then kernel", "M ticks/s")
    return [
        of_two(
            "replay, Parquet → rows",
            rows,
            floor,
            *words,
            Wanted(ours_at_least=3.0, ratio_at_least=1.0),
            rounds,
        ),
        of_two("replay, Parquet → lab", lab, floor, *words, Wanted(ratio_at_least=0.3), rounds),
    ]


async def _to_ticks(path: Path) -> float:
    """Return how long a replay takes to deliver the ticks of a file to a sink that counts them."""
    replay, sink = Replay(path, float("inf")), Counter()
    await replay.open(PAIR)
    began = time.process_time()
    await replay.run(sink)
    assert sink.row_count == FEW
    return time.process_time() - began


class Counter(Heard):
    """A sink that counts ticks."""

    def on_ticks(self, ticks: Records) -> None:
        self.row_count += len(ticks)


@benchmark("Parquet to ticks in order, CPU time, beside nautilus_trader's catalog")
def replay_catalog(rounds: int) -> list[Result]:
    """Both deliver the ticks of both legs by time, in chunks; nautilus_trader's are objects.

    ``PAIRLAB_NAUTILUS`` names an interpreter that has it: it holds pandas below 3.
    """
    ours: list[float] = []
    theirs: list[float] = []
    with (
        parquet(FEW) as (path, ticks),
        Peer("nautilus_read.py", "PAIRLAB_NAUTILUS", "nautilus_trader", ticks) as peer,
    ):
        for _ in range(rounds):
            ours.append(asyncio.run(_to_ticks(path)))
            theirs.append(float(peer.ask()))
    rates = [FEW / statistics.median(took) / 1e6 for took in (ours, theirs)]
    words = ("nautilus_trader's catalog", "M ticks/s")
    return [of_two("replay, Parquet → ticks", *rates, *words, Wanted(ratio_at_least=1.0), rounds)]


def _record(folder: Path, ticks: Records) -> None:
    """Record ticks as a recorder does that begins a segment an hour."""
    sink = FolderSink(folder)
    sink.open(sessions.info(pair=PAIR))
    hour = len(ticks) // 24
    for start in range(0, len(ticks), hour):
        for at in range(start, min(start + hour, len(ticks)), 100_000):
            batch = ticks[at : min(at + 100_000, start + hour)]
            sink.write(RecordBatch(ticks=[(at, batch)]))
        sink.close()
        sink.open(sessions.info(pair=PAIR, session=f"from {start}"))
    sink.close()


@benchmark("seek in a 24 h recording of 20 million ticks, beside reading one row group")
def replay_seek(rounds: int) -> list[Result]:
    """Measure until the ticks before and after a time are there, 20,000 of them before it."""
    results = []
    with parquet(DAY) as (path, ticks):
        folder = path.parent / "recording"
        _record(folder, ticks)
        for name, given in (("recording", folder), ("Parquet", path)):
            ours, its = _seeks(open_source([given], PAIR), path, ticks, rounds)
            results.append(
                of_two(
                    f"seek in 20 M ticks, {name}", ours, its, "one row group", "s",
                    Wanted(ours_at_most=0.5, ratio_at_most=2.0), rounds, slower=True,
                )
            )  # fmt: skip
    return results


def _seeks(source: TickSource, path: Path, ticks: Records, rounds: int) -> tuple[float, float]:
    ours, floor = [], []
    times = ticks["time_ns"]
    rng = np.random.default_rng(1)
    for number in range(-1, rounds):
        at = int(rng.integers(100_000, DAY))
        began = time.perf_counter()
        blocks = source.blocks(int(times[at]), 20_000)
        have: list[Records] = []
        while sum(map(len, have)) <= 20_000:
            have.append(next(blocks).ticks)
        taken = time.perf_counter() - began
        first = int(np.searchsorted(times, times[at]))
        got = np.concatenate(have)
        assert np.array_equal(got["id"][:20_001], ticks["id"][first - 20_000 : first + 1])
        began = time.perf_counter()
        pq.ParquetFile(path).read_row_group(number % 19)
        if number >= 0:
            ours.append(taken)
            floor.append(time.perf_counter() - began)
    return statistics.median(ours), statistics.median(floor)


def _day(folder: Path) -> Path:
    """Write a day of one symbol's trades as Binance's archive publishes it."""
    ticks = market(2 * ZIPPED)
    ticks = ticks[ticks["leg"] == 0][:ZIPPED]
    table = pd.DataFrame(
        {
            "agg_trade_id": 2_300_000_000 + ticks["id"], "price": ticks["price"],
            "quantity": ticks["quantity"], "first_trade_id": 5_000_000_000 + 2 * ticks["id"],
            "last_trade_id": 5_000_000_000 + 2 * ticks["id"] + 1,
            "transact_time": ticks["time_ns"] // 10**6,
            "is_buyer_maker": np.where(ticks["buyer_is_maker"], "true", "false"),
        }
    )  # fmt: skip
    path = folder / "BTCUSDT-aggTrades-2024-08-08.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(f"{path.stem}.csv", table.to_csv(index=False))
    return path


def _with_pyarrow(path: Path) -> None:
    with zipfile.ZipFile(path) as packed:
        pa_csv.read_csv(pa.BufferReader(packed.read(f"{path.stem}.csv")))


def _with_pandas(path: Path) -> None:
    table = pd.read_csv(path).sort_values("agg_trade_id").drop_duplicates("agg_trade_id")
    table.index = pd.to_datetime(table["transact_time"], unit="ms", utc=True)


@benchmark("an archive's zip to ticks in order, checked, beside pyarrow's CSV and pandas' path")
def archive(rounds: int) -> list[Result]:
    """Measure wall clock: both pyarrow and ours parse in threads."""
    found: dict[str, list[float]] = {"ours": [], "pyarrow": [], "pandas": []}
    with tempfile.TemporaryDirectory() as folder:
        path = _day(Path(folder))
        works = {"ours": read_archive, "pyarrow": _with_pyarrow, "pandas": _with_pandas}
        for number in range(rounds + 1):
            for name, work in works.items():
                began = time.perf_counter()
                work(path)
                if number:
                    found[name].append(time.perf_counter() - began)
    ours, arrow, pandas = (ZIPPED / statistics.median(times) / 1e6 for times in found.values())
    return [
        of_two(
            f"archive → ticks, {os.cpu_count()} cores", ours, its, name, "M rows/s",
            Wanted(ratio_at_least=least), rounds,
        )
        for its, name, least in ((arrow, "unzip + pyarrow CSV", 0.7), (pandas, "pandas", 3.0))
    ]  # fmt: skip
