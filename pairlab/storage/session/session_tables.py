"""A saved session's tables: what of it stands in which member of the file, as Arrow tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pairlab.alerts import Alert, SettingChange
from pairlab.data.journal import Seeds
from pairlab.engine.state import BAR
from pairlab.schema import LogEntry, Records
from pairlab.storage.journal_table import events_table
from pairlab.storage.session.saved_session import SavedSession
from pairlab.storage.tables import alerts_table, arrow, rows_table, ticks_table, time_column

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MEMBERS", "tables_of"]


def tables_of(session: SavedSession) -> Mapping[str, Callable[[], pa.Table]]:
    """Return what makes each table of a session, by the name of its member, in their order."""
    engine = session.engine
    entries = session.entries
    alerts = [entry for entry in entries if isinstance(entry, Alert)]
    return {
        "ticks": lambda: ticks_table(
            session.ticks, session.tick_total - len(session.ticks), session.pair
        ),
        "rows": lambda: rows_table(
            session.rows, session.row_end - len(session.rows), session.epoch
        ),
        "alerts": lambda: alerts_table(alerts),
        "opened": lambda: alerts_table([] if session.opened is None else [session.opened]),
        "changes": lambda: _changes_table(entries),
        "journal": lambda: events_table(session.journal),
        "gaps": lambda: _whole_numbers(session.gaps, ("seq", "legs")),
        "positions": lambda: _whole_numbers(session.positions, ("time", "position")),
        "klines": lambda: _klines_table(session.klines),
        "bars": lambda: _bars_table({} if engine is None else engine.bars),
        "forming": lambda: rows_table(session.rows[:0] if engine is None else engine.forming, 0, 0),
        "log": lambda: _log_table(session.log),
    }


MEMBERS: Final = (
    "ticks", "rows", "alerts", "opened", "changes", "journal", "gaps", "positions", "klines",
    "bars", "forming", "log",
)  # fmt: skip
"""The tables of a session file; each is the member ``NAME.parquet``."""


def _changes_table(entries: Iterable[Alert | SettingChange]) -> pa.Table:
    """Return the changes of settings, each with its place among all entries of the log."""
    pa = arrow()
    found = [(at, entry) for at, entry in enumerate(entries) if isinstance(entry, SettingChange)]
    return pa.table(
        {
            "entry": pa.array([at for at, _ in found], pa.int64()),
            "time": time_column(np.array([change.time_ns for _, change in found], np.int64)),
            "seq": pa.array([change.tick for _, change in found], pa.int64()),
            "setting": pa.array([change.name for _, change in found], pa.string()),
            "old": pa.array([json.dumps(change.old) for _, change in found], pa.string()),
            "new": pa.array([json.dumps(change.new) for _, change in found], pa.string()),
        }
    )


def _whole_numbers(pairs: Iterable[tuple[int, int]], names: tuple[str, str]) -> pa.Table:
    columns = np.array([tuple(pair) for pair in pairs], np.int64).reshape(-1, 2)
    return arrow().table(
        {name: np.ascontiguousarray(columns[:, at]) for at, name in enumerate(names)}
    )


def _klines_table(klines: Mapping[str, Seeds]) -> pa.Table:
    pa = arrow()
    parts = list(klines.items())
    names = np.repeat([name for name, _ in parts] or [""], [len(s.y) for _, s in parts] or [0])
    return pa.table(
        {
            "timeframe": pa.array(names.tolist(), pa.string()),
            "time": time_column(_joined((s.time_ns for _, s in parts), np.int64)),
            "y": _joined((s.y for _, s in parts), np.float64),
            "x": _joined((s.x for _, s in parts), np.float64),
        }
    )


def _bars_table(bars: Mapping[str, Records]) -> pa.Table:
    pa = arrow()
    joined = np.concatenate([np.zeros(0, BAR), *bars.values()])
    names = np.repeat(list(bars) or [""], [len(held) for held in bars.values()] or [0])
    columns: dict[str, Any] = {"timeframe": pa.array(names.tolist(), pa.string())}
    for field in BAR.names or ():
        values = np.ascontiguousarray(joined[field])
        columns["time" if field == "time_ns" else field] = (
            time_column(values) if field == "time_ns" else values
        )
    return pa.table(columns)


def _joined(parts: Iterable[Any], dtype: Any) -> Any:
    return np.concatenate([np.zeros(0, dtype), *parts])


def _log_table(log: Iterable[LogEntry]) -> pa.Table:
    pa = arrow()
    entries = list(log)
    return pa.table(
        {
            "time": time_column(np.array([entry.time_ns for entry in entries], np.int64)),
            "level": pa.array([entry.level for entry in entries], pa.string()),
            "message": pa.array([entry.message for entry in entries], pa.string()),
        }
    )
