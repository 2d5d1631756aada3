"""Alerts and journal events as rows of their tables, and back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.alerts import Alert, SettingChange
from pairlab.data.journal import JournalEvent, Seeds, SettingChanged
from pairlab.errors import DataError
from pairlab.schema import AlertKind, Filter, Snapshot
from pairlab.storage.database.schema import ROW_COLUMNS
from pairlab.storage.journal_table import BARS, event_from, event_text
from pairlab.storage.recording.sink import RecordBatch
from pairlab.storage.tables import settings_of, settings_text

__all__ = [
    "ALERT_COLUMNS",
    "EVENT_COLUMNS",
    "EntryClock",
    "alert_of",
    "alert_values",
    "change_of",
    "event_of",
    "event_values",
    "exact_ns",
]

_AT: Final = tuple(f.name for f in fields(Snapshot) if f.name not in ("time_ns", "provisional"))
_ROW_KINDS: Final = dict(ROW_COLUMNS)

ALERT_COLUMNS: Final = (
    ("number", "int8"), ("kind", "text"), ("side", "int2"), ("failed", "int2"),
    ("withheld", "int8"), ("time", "timestamptz"), ("time_rest_ns", "int2"),
    *((name, _ROW_KINDS[name]) for name in _AT), ("settings", "json"),
)  # fmt: skip
"""Name and SQL type of what is stored of an alert, beside its session."""

EVENT_COLUMNS: Final = (
    ("seq", "int8"), ("time", "timestamptz"), ("time_rest_ns", "int2"), ("event", "text"),
    ("fields", "json"),
    *((f"{kind}_{part}", "int8[]" if part == "time_ns" else "float8[]")
      for kind in BARS for part in Seeds._fields),
)  # fmt: skip
"""Name and SQL type of what is stored of an event, beside its session and number."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _split(time_ns: int) -> tuple[dt.datetime, int]:
    time_us, rest_ns = divmod(time_ns, 1_000)
    return _EPOCH + dt.timedelta(microseconds=time_us), rest_ns


def exact_ns(time: dt.datetime, rest_ns: int = 0) -> int:
    """Return a time of the database and the nanoseconds beyond it, in ns since 1970 UTC."""
    return (time - _EPOCH) // dt.timedelta(microseconds=1) * 1_000 + rest_ns


def alert_values(alert: Alert) -> list[Any]:
    """Return an alert's values in the order of `ALERT_COLUMNS`."""
    return [
        alert.number, alert.kind.name, alert.side, int(alert.failed), alert.withheld,
        *_split(alert.time_ns), *(getattr(alert.at, name) for name in _AT),
        settings_text(alert.settings),
    ]  # fmt: skip


def alert_of(row: Mapping[str, Any]) -> Alert:
    """Return the alert of a row; ``settings`` is JSON text.

    Raises
    ------
    DataError
        If its kind or a setting is none of this version's.
    """
    if row["kind"] not in AlertKind.__members__:
        kinds = ", ".join(AlertKind.__members__)
        raise DataError(f"alert {row['number']} is a {row['kind']!r}: expected one of {kinds}")
    at = {name: row[name] for name in _AT}
    return Alert(
        number=row["number"],
        kind=AlertKind[row["kind"]],
        side=row["side"],
        at=Snapshot(time_ns=exact_ns(row["time"], row["time_rest_ns"]), **at),
        settings=settings_of(row["settings"]),
        failed=Filter(row["failed"]),
        withheld=row["withheld"],
    )


def event_values(event: JournalEvent, time_ns: int) -> list[Any]:
    """Return an event's values in the order of `EVENT_COLUMNS`."""
    bars: list[Any] = []
    for kind in BARS:
        found: Seeds | None = getattr(event, kind, None)
        bars += [None] * len(Seeds._fields) if found is None else [c.tolist() for c in found]
    return [event.tick, *_split(time_ns), type(event).__name__, event_text(event), *bars]


def event_of(row: Mapping[str, Any]) -> JournalEvent:
    """Return the event of a row; ``fields`` is JSON text.

    Raises
    ------
    DataError
        If it is none of this version's.
    """
    bars = {}
    for kind in BARS:
        times, y, x = (row[f"{kind}_{part}"] for part in Seeds._fields)
        bars[kind] = None if times is None else Seeds(times, y, x)
    try:
        return event_from(row["event"], row["fields"], bars)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"journal event {row['number']} ({row['event']!r}) cannot be read: {error!r}"
        ) from None


def change_of(event: SettingChanged, row: Mapping[str, Any]) -> SettingChange:
    """Return a change of a setting as the alert log tells it."""
    at_ns = exact_ns(row["time"], row["time_rest_ns"])
    return SettingChange(at_ns, event.name, event.old, event.new, event.tick)


class EntryClock:
    """Tells the time of an event, which carries an ordinal: that of the last row before it.

    Parameters
    ----------
    first_seq : int
        Ordinal of the recording's first tick: rows before it are not known here.
    started_ns : int
        The time of what comes before the first tick of a recording that began in the middle.
    """

    def __init__(self, first_seq: int = 0, started_ns: int = 0) -> None:
        self._tick_ns = started_ns if first_seq else 0
        self._row_ns = 0
        self._is_whole = first_seq == 0

    def times_of(self, batch: RecordBatch, events: Sequence[JournalEvent]) -> list[int]:
        """Return the times of events of a batch, ns since 1970 UTC; 0: before the first row."""
        if not events:
            return []
        rows = np.concatenate(
            [np.array([self._row_ns], np.int64), *(r["time_ns"] for _, _, r in batch.rows)]
        )
        return [self._time_of(batch, event.tick, rows) for event in events]

    def _time_of(self, batch: RecordBatch, tick: int, rows: NDArray[np.int64]) -> int:
        newest = self._tick_ns
        for first, ticks in batch.ticks:
            before = ticks["time_ns"][: max(tick - first, 0)]
            newest = max(newest, int(before.max())) if len(before) else newest
        found = int(rows[rows <= newest].max(initial=0))
        return found or (0 if self._is_whole else newest)

    def advance(self, batch: RecordBatch) -> None:
        """Take a batch as stored."""
        for _, ticks in batch.ticks:
            self._tick_ns = max(self._tick_ns, int(ticks["time_ns"].max(initial=0)))
        for _, _, rows in batch.rows:
            if len(rows):
                self._row_ns = int(rows["time_ns"][-1])
