"""A session to record: ticks, the rows and alerts that the engine makes of them, and events."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pairlab.alerts import Alert
from pairlab.data.alert_log import AlertLog
from pairlab.data.journal import EngineStarted, GapMarked, JournalEvent, SettingChanged
from pairlab.engine import PairEngine
from pairlab.schema import Pair, Records
from pairlab.settings import Settings
from pairlab.storage.recording.recorded_session import RecordedSession
from pairlab.storage.recording.sink import RecordBatch, RecordingInfo
from tests.engine import worlds

PAIR = Pair("BTCUSDT", "ETHUSDT")
SETTINGS = Settings(hedge_ratio=25.0, min_correlation=-1.0, window=20, entry_z=2.5)


class World(NamedTuple):
    ticks: Records
    rows: Records
    alerts: list[Alert]
    events: list[JournalEvent]


@cache
def world(count: int = 4_000, seed: int = 3) -> World:
    """From 2024-08-08T23:54:16 on: the day changes after some 2,100 ticks."""
    ticks = worlds.trades(seed, count)
    engine = PairEngine(SETTINGS)
    rows = engine.update(ticks).copy()
    log = AlertLog()
    log.add(engine.events, rows, engine.values)
    events: list[JournalEvent] = [EngineStarted(0, 0, SETTINGS.values(), None)]
    for at in range(100, count, 97):
        events.append(SettingChanged(at, "entry_z", 1.0, 1.0 + at / count))
        events.append(GapMarked(at, at % 5 or None, 1 + at % 3))
    return World(ticks, rows, log.alerts(), events)


def info(session: str = "one", **changes: Any) -> RecordingInfo:
    values: dict[str, Any] = {
        "session": session, "pair": PAIR, "stream": "aggTrade", "feed": "SIMULATED",
        "real_money": False, "price_decimals": (1, 2), "settings": SETTINGS.values(),
        "started_ns": 1_723_161_256_000_000_000, "versions": {"numpy": np.__version__},
    }  # fmt: skip
    return RecordingInfo(**(values | changes))


def batches(of: World, ends: Iterable[int]) -> Iterable[RecordBatch]:
    """The session in pieces that end before these ticks: each with what was due until then."""
    start = rows = alerts = events = 0
    for end in (*ends, len(of.ticks)):
        if end <= start:
            continue
        made = len(of.rows) - (len(of.ticks) - end) if end > 100 else 0
        due = [a for a in of.alerts[alerts:] if made and a.time_ns <= of.rows["time_ns"][made - 1]]
        until = next((i for i, e in enumerate(of.events) if e.tick >= end), len(of.events))
        yield RecordBatch(
            ticks=[(start, of.ticks[start:end])],
            rows=[(0, rows, of.rows[rows:made])] if made > rows else [],
            alerts=due,
            events=of.events[events:until],
            first_event=events,
        )
        start, rows, alerts, events = end, max(rows, made), alerts + len(due), max(events, until)


def bits(records: Records) -> dict[str, bytes]:
    return {name: np.ascontiguousarray(records[name]).tobytes() for name in records.dtype.names}


def ticks_of(session: RecordedSession) -> Records:
    return np.concatenate([session_ticks for _, session_ticks in session.ticks()])


def assert_holds(session: RecordedSession, of: World, until: int | None = None) -> None:
    """The recording is the session's first `until` ticks and what they made, to the last bit."""
    until = len(of.ticks) if until is None else until
    assert (session.first_seq, session.last_seq) == (0, until - 1)
    at = 0
    for first, block in session.ticks(block=700):
        assert first == at
        assert bits(block) == bits(of.ticks[at : at + len(block)])
        at += len(block)
    assert at == until
    row = 0
    for epoch, first, rows in session.rows():
        assert (epoch, first) == (0, row)
        assert rows.tobytes() == of.rows[row : row + len(rows)].tobytes()
        row += len(rows)
    made = len(of.rows) - (len(of.ticks) - until) if until > 100 else 0
    assert row == made or (until < len(of.ticks) and row < made)  # rows are written after ticks
    alerts = session.alerts()
    assert repr(alerts) == repr(of.alerts[: len(alerts)])
    events = session.events()
    assert repr(events) == repr(of.events[: len(events)])
    if until == len(of.ticks):
        assert (len(alerts), len(events)) == (len(of.alerts), len(of.events))


def files_of(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
