"""Rows, alerts and health as JSON and CSV, in pieces that do not block the event loop."""

from __future__ import annotations

import platform
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np

from pairlab import __version__
from pairlab.alerts import Alert, SettingChange
from pairlab.board_protocol import BreakAlert
from pairlab.data.alert_log import AlertLog
from pairlab.data.csv_export import TimeUnit, csv_header, csv_text, iso_times, time_unit
from pairlab.data.origin import Origin
from pairlab.data.ring import Ring
from pairlab.data.row_store import RowStore
from pairlab.data.time_selection import between_ns
from pairlab.errors import DataError
from pairlab.health import Health
from pairlab.schema import (
    HISTORY_COLUMNS,
    NO_TIME_NS,
    LogLevel,
    Pair,
    Records,
    RowFlag,
    Snapshot,
    kalman_rows,
)
from pairlab.services.rest.scheduler import RenderLock
from pairlab.settings import Settings, SettingValues

__all__ = [
    "VERSIONS",
    "RowRange",
    "ServedPair",
    "csv_stream",
    "entries_to_dicts",
    "health_report",
    "is_warming",
    "json_list",
    "latest_json",
    "now_text",
    "row_range",
    "rows_to_dicts",
]

_ROWS_PER_PIECE: Final = 100
"""About a millisecond of work: the longest that a tick waits for one piece."""

_ENTRIES_PER_PIECE: Final = 20
_SCAN_ROWS: Final = 50_000
VERSIONS: Final = {
    "pairlab": __version__,
    "python": platform.python_version(),
    "numpy": np.__version__,
    "numba": version("numba"),
}
_ROW_FIELDS: Final = ("time", *HISTORY_COLUMNS, "filled")

# msgspec writes NaN and infinities as null, and every other float so that it reads back exactly.
_encode = msgspec.json.Encoder().encode


class ServedPair(Protocol):
    """What is read of one pair over REST: a `PairLab`, or a pair of a board."""

    @property
    def pair(self) -> Pair:
        """The symbols."""

    @property
    def settings(self) -> Settings:
        """Its settings."""

    @property
    def row_settings(self) -> SettingValues:
        """The settings as the rows were made with them."""

    @property
    def rows(self) -> RowStore:
        """The rows by number."""

    @property
    def alert_log(self) -> AlertLog:
        """Alerts and setting changes."""

    def latest(self) -> Snapshot | None:
        """Return the newest row, or the forming bar."""

    def health(self) -> Health:
        """Return how feed, engine and loop are."""

    def log(self, level: LogLevel, message: str) -> None:
        """Add a line to the event log."""


class RowRange(NamedTuple):
    """Rows of one ring by number; the first row ever appended has number 0."""

    ring: Ring
    first: int
    end: int


def row_range(ring: Ring, start_ns: int | None, end_ns: int | None) -> RowRange:
    """Return the rows of `ring` between two times, both included; None is open."""
    rows = ring.view()
    oldest = ring.total - len(rows)
    first = len(between_ns(rows, None, start_ns - 1)) if start_ns is not None else 0
    end = len(between_ns(rows, None, end_ns))
    return RowRange(ring, oldest + first, oldest + max(first, end))


def rows_to_dicts(rows: Records) -> list[dict[str, Any]]:
    """Return rows as JSON objects."""
    times = iso_times(rows["time_ns"], time_unit(rows))
    columns = [times, *(rows[name].tolist() for name in _ROW_FIELDS[1:])]
    return [dict(zip(_ROW_FIELDS, values, strict=True)) for values in zip(*columns, strict=True)]


def latest_json(at: Snapshot) -> bytes:
    """Return a snapshot as JSON."""
    return _encode({**_snapshot_to_dict(at), "provisional": at.provisional})


def is_warming(at: Snapshot | None) -> bool:
    """Return whether the window is not full, or the Kalman hedge not learnt yet."""
    return at is None or bool(at.flags & RowFlag.WARMING)


def _snapshot_to_dict(at: Snapshot) -> dict[str, Any]:
    values = {name: getattr(at, name) for name in _ROW_FIELDS[1:]}
    return {"time": _iso_time(at.time_ns), **values}


def _iso_time(time_ns: int) -> str:
    unit: TimeUnit = "ns" if time_ns % 1_000_000 else "ms"
    return iso_times(np.array([time_ns]), unit)[0]


def entries_to_dicts(entries: Iterable[Alert | BreakAlert | SettingChange]) -> list[dict[str, Any]]:
    """Return log entries as JSON objects."""
    return [_entry_to_dict(entry) for entry in entries]


def _entry_to_dict(entry: Alert | BreakAlert | SettingChange) -> dict[str, Any]:
    if isinstance(entry, Alert):
        return _alert_to_dict(entry)
    return _break_to_dict(entry) if isinstance(entry, BreakAlert) else _change_to_dict(entry)


def _alert_to_dict(alert: Alert) -> dict[str, Any]:
    return {
        "number": alert.number,
        "time": _iso_time(alert.time_ns),
        "kind": alert.kind.name,
        "side": alert.side_name,
        "reason": alert.reason,
        "sentence": alert.sentence,
        "explanation": alert.explain(),
        "edge_bps": alert.edge_bps,
        "withheld": alert.withheld,
        "row": _snapshot_to_dict(alert.at),
        "thresholds": alert.thresholds,
    }


def _break_to_dict(alert: BreakAlert) -> dict[str, Any]:
    return {
        "time": _iso_time(alert.time_ns),
        "kind": alert.kind,
        "ratio": alert.ratio,
        "reason": alert.reason,
        "sentence": alert.sentence,
    }


def _change_to_dict(change: SettingChange) -> dict[str, Any]:
    return {
        "time": None if change.time_ns == NO_TIME_NS else _iso_time(change.time_ns),
        "kind": "SETTING",
        "setting": change.name,
        "old": change.old,
        "new": change.new,
        "sentence": change.sentence,
    }


async def json_list(
    name: str, source: Records | list[Alert | SettingChange], rest: dict[str, Any], lock: RenderLock
) -> bytes:
    """Return ``{name: […], **rest}``, rendered in pieces so that ticks are processed in between.

    Parameters
    ----------
    name : str
        The list's field.
    source : array of pairlab.ROW, or list of log entries
        The list's items; an array is encoded as rows.
    rest : dict
        The fields after the list.
    lock : RenderLock
        Shared by all large responses.
    """
    pieces = []
    step = _ENTRIES_PER_PIECE if isinstance(source, list) else _ROWS_PER_PIECE
    for at in range(0, len(source), step):
        await lock.wait_turn()
        part = source[at : at + step]
        items = entries_to_dicts(part) if isinstance(part, list) else rows_to_dicts(part)
        pieces.append(_encode(items)[1:-1])
    return b'{"%b":[%b],%b' % (name.encode(), b",".join(pieces), _encode(rest)[1:])


async def csv_stream(
    ring: Ring,
    start_ns: int | None,
    end_ns: int | None,
    lock: RenderLock,
    origin: Origin | None = None,
) -> AsyncIterator[str]:
    """Yield the rows between two times as `PairLab.to_csv` writes them, without keeping a view.

    They are read from the ring piece by piece: a view kept for the whole transfer would keep a
    whole buffer alive after the ring has moved on to the next.

    Raises
    ------
    DataError
        If rows left the history before they were sent, because the reader was too slow.
    """
    unit: TimeUnit = "ms"
    rest = row_range(ring, start_ns, end_ns)
    while rest.first < rest.end and unit == "ms":
        first = max(rest.first, ring.total - len(ring))
        unit = time_unit(_rows_by_number(ring, first, min(first + _SCAN_ROWS, rest.end)))
        rest = rest._replace(first=first + _SCAN_ROWS)
        await lock.wait_turn()
    yield csv_header(origin)
    rest = row_range(ring, start_ns, end_ns)
    while rest.first < rest.end:
        until = min(rest.first + _ROWS_PER_PIECE, rest.end)
        text = csv_text(_rows_by_number(ring, rest.first, until), unit, origin)
        rest = rest._replace(first=until)
        yield text
        await lock.wait_turn()


def _rows_by_number(ring: Ring, first: int, end: int) -> Records:
    rows = ring.view()
    oldest = ring.total - len(rows)
    if first < oldest:
        raise DataError(
            "a CSV download was cut off: its reader was slower than the ticks, and rows left the "
            "history before they were sent. Request less with start= and end=, or raise "
            "history_rows"
        )
    return rows[first - oldest : end - oldest]


def now_text() -> str:
    """Return the time of this machine's clock, to the millisecond."""
    return _iso_time(time.time_ns() // 1_000_000 * 1_000_000)


def health_report(lab: ServedPair, readers: int) -> tuple[bool, bytes]:
    """Return whether the lab is ready, and its health as JSON."""
    health, newest = lab.health(), lab.latest()
    if health.state != "live":
        reason = f"the feed is {health.state}: {health.detail}"
    elif is_warming(newest):
        reason = f"warming up: {health.filled:,} of {health.window:,} observations"
        if newest is not None and newest.filled >= health.window:
            rows = kalman_rows(lab.settings.kalman_half_life)
            reason = f"warming up: the Kalman hedge is learnt from {rows:,} observations"
    else:
        reason = ""
    report = {
        "ready": not reason,
        "reason": reason,
        "time": now_text(),
        "y": lab.pair.y,
        "x": lab.pair.x,
        **asdict(health),
        "alerts": lab.alert_log.total,
        "stream_readers": readers,
        "versions": VERSIONS,
    }
    return not reason, _encode(report)
