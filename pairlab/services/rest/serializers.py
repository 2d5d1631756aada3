"""Rows, alerts and health as JSON and CSV, in pieces that never slow the loop."""

from __future__ import annotations

import platform
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from pairlab import __version__
from pairlab.alerts import Alert, SettingChange, Snapshot
from pairlab.data.csv_export import CSV_HEADER, TimeUnit, csv_text, iso_times, time_unit
from pairlab.data.ring import Ring
from pairlab.data.time_selection import between_ns
from pairlab.errors import DataError
from pairlab.lab.pair_lab import PairLab
from pairlab.schema import HISTORY_COLUMNS, Records, RowFlag
from pairlab.services.rest.scheduler import RenderLock

__all__ = [
    "Slice",
    "alerts_json",
    "csv_stream",
    "health_report",
    "is_warming",
    "json_list",
    "latest_json",
    "rows_json",
    "slice_of",
]

_PIECE_ROWS: Final = 100
"""Rows rendered at a time: about a millisecond, the most that a tick waits for one."""

_PIECE_ALERTS: Final = 20
_SCAN_ROWS: Final = 50_000
_VERSIONS: Final = {
    "pairlab": __version__,
    "python": platform.python_version(),
    "numpy": np.__version__,
    "numba": version("numba"),
}
_ROW_FIELDS: Final = ("time", *HISTORY_COLUMNS, "flags", "filled")

# msgspec writes NaN and infinities as null, and every other float so that it reads back the same.
_encode = msgspec.json.Encoder().encode


class Slice(NamedTuple):
    """Rows of one ring by number: the first ever appended has number 0."""

    ring: Ring
    first: int
    end: int


def slice_of(ring: Ring, start_ns: int | None, end_ns: int | None) -> Slice:
    """Return the rows of `ring` between two times, both included; None is open."""
    rows = ring.view()
    oldest = ring.total - len(rows)
    first = len(between_ns(rows, None, start_ns - 1)) if start_ns is not None else 0
    end = len(between_ns(rows, None, end_ns))
    return Slice(ring, oldest + first, oldest + max(first, end))


def rows_json(rows: Records) -> list[dict[str, Any]]:
    """Return rows as objects ready to be encoded."""
    times = iso_times(rows["time_ns"], time_unit(rows))
    columns = [times, *(rows[name].tolist() for name in _ROW_FIELDS[1:])]
    return [dict(zip(_ROW_FIELDS, values, strict=True)) for values in zip(*columns, strict=True)]


def latest_json(at: Snapshot) -> bytes:
    """Return a snapshot as JSON."""
    return _encode({**_snapshot(at), "provisional": at.provisional})


def is_warming(at: Snapshot | None) -> bool:
    """Tell whether the window is not full."""
    return at is None or bool(at.flags & RowFlag.WARMING)


def _snapshot(at: Snapshot) -> dict[str, Any]:
    values = {name: getattr(at, name) for name in _ROW_FIELDS[1:]}
    return {"time": _iso(at.time_ns), **values}


def _iso(time_ns: int) -> str:
    time_s, rest = divmod(time_ns, 1_000_000_000)
    digits = f"{rest:09d}" if rest % 1_000_000 else f"{rest // 1_000_000:03d}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(time_s))}.{digits}Z"


def alerts_json(entries: Iterable[Alert | SettingChange]) -> list[dict[str, Any]]:
    """Return log entries as objects ready to be encoded."""
    return [_alert(e) if isinstance(e, Alert) else _change(e) for e in entries]


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "number": alert.number,
        "time": _iso(alert.time_ns),
        "kind": alert.kind.name,
        "side": alert.side_name,
        "reason": alert.reason,
        "sentence": alert.sentence,
        "explanation": alert.explain(),
        "edge_bps": alert.edge_bps,
        "withheld": alert.withheld,
        "row": _snapshot(alert.at),
        "thresholds": alert.thresholds,
    }


def _change(change: SettingChange) -> dict[str, Any]:
    return {
        "time": _iso(change.time_ns),
        "kind": "SETTING",
        "setting": change.name,
        "old": change.old,
        "new": change.new,
        "sentence": change.sentence,
    }


async def json_list(
    name: str, source: Records | list[Alert | SettingChange], rest: dict[str, Any], turn: RenderLock
) -> bytes:
    """Return ``{name: […], **rest}``, rendered in pieces with room for ticks in between.

    Parameters
    ----------
    name : str
        Of the list.
    source : array of pairlab.ROW, or list of log entries
        What becomes the list; an array is encoded as rows.
    rest : dict
        The fields after it.
    turn : RenderLock
        Shared by all large answers.
    """
    pieces = []
    step = _PIECE_ALERTS if isinstance(source, list) else _PIECE_ROWS
    for at in range(0, len(source), step):
        await turn.take()
        part = source[at : at + step]
        made = alerts_json(part) if isinstance(part, list) else rows_json(part)
        pieces.append(_encode(made)[1:-1])
    return b'{"%b":[%b],%b' % (name.encode(), b",".join(pieces), _encode(rest)[1:])


async def csv_stream(
    ring: Ring, start_ns: int | None, end_ns: int | None, turn: RenderLock
) -> AsyncIterator[str]:
    """Yield the rows between two times as `PairLab.to_csv` writes them, holding none of them.

    They are read from the ring piece by piece: a view kept for the whole transfer would keep a
    whole ring's memory once that has moved on.

    Raises
    ------
    DataError
        If the reader was so slow that rows left the history before they were sent.
    """
    unit: TimeUnit = "ms"
    rest = slice_of(ring, start_ns, end_ns)
    while rest.first < rest.end and unit == "ms":
        first = max(rest.first, ring.total - len(ring))
        unit = time_unit(_numbered(ring, first, min(first + _SCAN_ROWS, rest.end)))
        rest = rest._replace(first=first + _SCAN_ROWS)
        await turn.take()
    yield CSV_HEADER
    rest = slice_of(ring, start_ns, end_ns)
    while rest.first < rest.end:
        until = min(rest.first + _PIECE_ROWS, rest.end)
        text = csv_text(_numbered(ring, rest.first, until), unit)
        rest = rest._replace(first=until)
        yield text
        await turn.take()


def _numbered(ring: Ring, first: int, end: int) -> Records:
    rows = ring.view()
    oldest = ring.total - len(rows)
    if first < oldest:
        raise DataError(
            f"the CSV of {end - first:,} more rows was cut off: its reader was slower than the "
            "ticks, and the rows have left the history; ask for less with start= and end=, or "
            "raise history_rows"
        )
    return rows[first - oldest : end - oldest]


def health_report(lab: PairLab, readers: int) -> tuple[bool, bytes]:
    """Return whether the lab is ready, and its health as JSON."""
    health, newest = lab.health(), lab.latest()
    if health.state != "live":
        reason = f"the feed is {health.state}: {health.detail}"
    elif is_warming(newest):
        reason = f"warming up: {health.filled:,} of {health.window:,} observations"
    else:
        reason = ""
    report = {
        "ready": not reason,
        "reason": reason,
        "time": _iso(time.time_ns() // 1_000_000 * 1_000_000),
        "y": lab.pair.y,
        "x": lab.pair.x,
        **asdict(health),
        "alerts": lab.alert_log.total,
        "stream_readers": readers,
        "versions": _VERSIONS,
    }
    return not reason, _encode(report)
