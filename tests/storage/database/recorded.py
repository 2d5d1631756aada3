"""A pipeline whose output is cut into batches, as a recorder hands them over."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from pairlab.data.frames import ticks_frame
from pairlab.data.journal import JournalEvent
from pairlab.data.row_store import Cursor
from pairlab.lab.pipeline import Pipeline
from pairlab.schema import Pair, Records
from pairlab.settings import Settings
from pairlab.storage.recording.sink import RecordBatch, RecordingInfo
from tests.engine import worlds

PAIR = Pair("BTCUSDT", "ETHUSDT")
START_NS = 1_723_161_250_000_000_123
CHOSEN = {"hedge_ratio": 25.0, "min_correlation": -1.0, "window": 20, "entry_z": 1.0,
          "exit_z": 0.3}  # fmt: skip


_SESSIONS = itertools.count()


def info(first_seq: int = 0, **changed: Any) -> RecordingInfo:
    given: dict[str, Any] = {
        "session": f"session {next(_SESSIONS)}",
        "pair": PAIR, "stream": "aggTrade", "feed": "BINANCE", "real_money": True,
        "price_decimals": (1, 2), "settings": Settings(**CHOSEN).values(),
        "started_ns": START_NS, "first_seq": first_seq, "versions": {"pairlab": "0.1.0"},
    }  # fmt: skip
    return RecordingInfo(**given | changed)


def market(count: int, seed: int = 5) -> Records:
    """Ticks whose ids count up for each symbol, as an exchange's do; times to the nanosecond."""
    ticks = worlds.trades(seed, count)
    for leg in (0, 1):
        mine = ticks["leg"] == leg
        ticks["id"][mine] = 1_000 + np.arange(np.count_nonzero(mine))
    ticks["time_ns"] += np.arange(count) % 1_000
    ticks["received_ns"] += np.arange(count) * 7 % 1_000
    return ticks


def ticks_alone(ticks: Records, first_seq: int = 0) -> RecordBatch:
    return RecordBatch(ticks=[(first_seq, ticks)])


def batches_of(ticks: Records, size: int) -> Iterator[RecordBatch]:
    for first in range(0, len(ticks), size):
        yield ticks_alone(ticks[first : first + size], first)


class Lab:
    """Ticks, rows, alerts and events as they come, with a change of settings, a gap, a rebuild."""

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**CHOSEN | settings)
        self.values = self.settings.values()
        self.pipeline = Pipeline(self.settings, lambda: None)
        self.shown: list[Records] = []
        self._cursor = Cursor(0, 0)
        self._alerts = self._given = self._first_event = 0
        self._events: list[JournalEvent] = []
        self.pipeline.journal.observe(self._events.append)

    def give(self, ticks: Records) -> RecordBatch:
        """Take ticks; return everything that came since the batch before."""
        self.pipeline.on_ticks(ticks)
        return self.take(ticks)

    def rebuild(self) -> None:
        self.pipeline.rebuild_finish(*Pipeline.rebuild_compute(self.pipeline.rebuild_start()))
        # Rows that were recomputed are not recorded again.
        self._cursor = Cursor(self.pipeline.rows.epoch, self.pipeline.rows.end)

    def take(self, ticks: Records) -> RecordBatch:
        batch = RecordBatch()
        if len(ticks):
            batch.ticks = [(self._given, ticks)]
            self._given += len(ticks)
        new = self.pipeline.rows.since(self._cursor)
        if len(new.records):
            batch.rows = [(new.next.epoch, new.first, new.records.copy())]
            self.shown.append(new.records.copy())
        self._cursor = new.next
        batch.alerts = self.pipeline.alert_log.since(self._alerts)
        self._alerts = self.pipeline.alert_log.newest_number
        batch.events, batch.first_event = list(self._events), self._first_event
        self._first_event += len(self._events)
        self._events.clear()
        return batch

    def pipeline_ticks(self) -> pd.DataFrame:
        ticks, legs = self.pipeline.ticks_and_gap_legs()
        return ticks_frame(ticks, PAIR, legs)

    def rows(self) -> Records:
        return np.concatenate(self.shown)


def session_of(lab: Lab, ticks: Records) -> list[RecordBatch]:
    """Run a lab over ticks with everything that a session can have."""
    assert len(ticks) >= 2_000
    parts = np.array_split(ticks, 8)
    batches = [lab.give(parts[0])]
    lab.pipeline.start_engine()
    batches += [lab.give(part) for part in parts[1:3]]
    lab.settings.entry_z = 1.5
    batches.append(lab.give(parts[3]))
    lab.pipeline.on_gap(3, 1)
    lab.pipeline.on_gap(None)
    batches.append(lab.give(parts[4]))
    lab.settings.window = 30
    lab.rebuild()
    batches += [lab.give(part) for part in parts[5:]]
    return batches


def stored(sink: Any, batches: Any, **changed: Any) -> Any:
    """Record batches in a session of their own."""
    batches = iter(batches)
    head = next(batches)
    sink.open(info(head.ticks[0][0], **changed))
    for batch in itertools.chain([head], batches):
        sink.write(batch)
    sink.close()
    return sink
