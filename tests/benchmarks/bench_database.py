"""Ticks stored in PostgreSQL beside a bare COPY of the same bytes, into a table of no promises."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from pairlab.schema import Records
from pairlab.storage.database.binary import copy_payload
from pairlab.storage.database.schema import TICK_COLUMNS
from pairlab.storage.database.sink import DatabaseSink
from pairlab.storage.database.store import open_store
from pairlab.storage.recording.sink import RecordBatch
from tests.benchmarks.harness import Result, Wanted, benchmark, compare
from tests.storage.database.recorded import PAIR, info, market
from tests.storage.database.servers import Server

_COPY = "COPY floor FROM STDIN (FORMAT BINARY)"
BATCH, BATCHES = 20_000, 3  # a second at 20,000 ticks/s
TICKS = BATCH * BATCHES


def cpu_of(*connections: psycopg.Connection[Any]) -> Callable[[Callable[[], object]], float]:
    """Return a clock of the CPU time of this thread and of the server's processes behind it."""
    stats = [Path(f"/proc/{connection.info.backend_pid}/stat") for connection in connections]
    tick_s = 1 / os.sysconf("SC_CLK_TCK")

    def now() -> float:
        fields = [stat.read_text().rpartition(") ")[2].split() for stat in stats]
        return time.thread_time() + tick_s * sum(int(f[11]) + int(f[12]) for f in fields)

    def clock(work: Callable[[], object]) -> float:
        start = now()
        work()
        return now() - start

    return clock


class Floor:
    """COPY of the columns that are stored of a tick into an unlogged table without an index."""

    def __init__(self, url: str, ticks: Records) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        columns = ", ".join(f"{name} {kind}" for name, kind in TICK_COLUMNS)
        self.connection.execute(f"CREATE UNLOGGED TABLE floor ({columns})")  # type: ignore[arg-type]
        zeros = {name: np.zeros(BATCH, np.int64) for name, _ in TICK_COLUMNS}
        parts = np.split(ticks, BATCHES)
        self._payloads = [
            copy_payload([
                (kind, part[name] if name in (part.dtype.names or ()) else zeros[name])
                for name, kind in TICK_COLUMNS
            ])
            for part in parts
        ]  # fmt: skip

    def run(self) -> None:
        """Store all ticks, a transaction a batch as ours."""
        for payload in self._payloads:
            with self.connection.cursor() as cursor, cursor.copy(_COPY) as copy:
                copy.write(payload)

    def close(self) -> None:
        self.connection.close()


class Ours:
    """Batches as a recorder hands them over, each of ticks that are not there yet."""

    def __init__(self, url: str, ticks: Records) -> None:
        self._ticks = ticks.copy()
        self._sink = DatabaseSink(url)
        self._sink.open(info())
        assert self._sink._connection is not None
        self.connection = self._sink._connection
        self._seq = 0

    def run(self) -> None:
        for part in np.split(self._ticks, BATCHES):
            self._sink.write(RecordBatch(ticks=[(self._seq, part)]))
            self._seq += len(part)
        self._ticks["id"] += TICKS

    def close(self) -> None:
        self._sink.close()
        assert self._sink.ticks_stored == self._seq, self._sink


@benchmark("ticks stored in PostgreSQL, and read again, beside bare COPY and psycopg's rows")
def database(rounds: int) -> list[Result]:
    ticks = market(TICKS)
    with tempfile.TemporaryDirectory(prefix="pairlab-bench-") as folder:
        server = Server(Path(folder))
        server.start()
        try:
            with server.database("bench") as url:
                return measured(url, ticks, rounds)
        finally:
            server.stop("immediate")


def measured(url: str, ticks: Records, rounds: int) -> list[Result]:
    ours, floor = Ours(url, ticks), Floor(url, ticks)
    try:
        stored = compare(
            "ticks into PostgreSQL, each once", ours.run, floor.run,
            peer_name="bare COPY, no index", unit="µs a tick", rounds=rounds,
            scale=(1e6 / TICKS, 1e6 / TICKS), slower=True,
            clock=cpu_of(ours.connection, floor.connection),
            wanted=Wanted(ours_at_most=25.0),  # half a core at 20,000 ticks/s
        )  # fmt: skip
    finally:
        ours.close()
        floor.close()
    with open_store(url) as store, psycopg.connect(url) as connection:
        count = len(store.ticks(PAIR))
        behind = store._reader._connection
        assert behind is not None

        def rows() -> None:
            cursor = connection.cursor(binary=True)
            cursor.execute(
                "SELECT time, received, time_rest_ns, received_rest_ns, id, seq, price, quantity,"
                " buyer_is_maker, session, symbol FROM pairlab.ticks"
            )
            cursor.fetchall()

        read = compare(
            "ticks out of PostgreSQL", lambda: store.ticks(PAIR), rows,
            peer_name="psycopg's rows", unit="µs a tick", rounds=rounds,
            scale=(1e6 / count, 1e6 / count), clock=cpu_of(behind, connection),
            wanted=Wanted(ratio_at_least=1.0),
        )  # fmt: skip
    return [stored, read]
