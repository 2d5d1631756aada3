"""Reads a session file: a stranger's, until every part of it has been checked."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np

from pairlab.alerts import Alert, SettingChange
from pairlab.data.journal import JournalEvent, Seeds
from pairlab.engine.gaps import Gap
from pairlab.engine.state import BAR, BAR_TIMEFRAMES, BARS_HELD
from pairlab.errors import DataError
from pairlab.schema import (
    BOTH_LEGS,
    TIME_CORRECTED,
    TIMEFRAMES_NS,
    LogEntry,
    LogLevel,
    Pair,
    Records,
)
from pairlab.settings import SETTINGS
from pairlab.storage.journal_table import events_of
from pairlab.storage.session.limits import DEFAULT_LIMITS, SessionLimits
from pairlab.storage.session.manifest import Manifest
from pairlab.storage.session.parquet_reader import read_member
from pairlab.storage.session.saved_session import EngineFacts, SavedSession
from pairlab.storage.session.session_tables import MEMBERS
from pairlab.storage.session.write_session import MANIFEST
from pairlab.storage.session.zip_reader import ZipReader
from pairlab.storage.tables import alerts_of, arrow, column, rows_of, ticks_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_session"]

_MOST: Final = 2**63 - 1


def read_session(
    path: str | os.PathLike[str], limits: SessionLimits = DEFAULT_LIMITS
) -> SavedSession:
    """Read a session file.

    Nothing of it is executed, and nothing is written: its members are read in memory, checked
    against their digests, and taken as numbers and text.

    Parameters
    ----------
    path : path
        The file.
    limits : SessionLimits
        Beyond which it is refused.

    Returns
    -------
    SavedSession
        What it holds.

    Raises
    ------
    DataError
        If it is no session file, damaged or too large, with the reason.
    MissingExtraError
        Without ``pip install "pairlab[storage]"``.
    OSError
        If there is no such file, or it cannot be read.
    """
    arrow()
    names = (*(f"{name}.parquet" for name in MEMBERS), MANIFEST)
    try:
        with ZipReader(path, names, limits) as archive:
            manifest = Manifest(archive.read(MANIFEST))
            manifest.require_format()
            tables = {}
            left = limits.max_bytes
            for name, (rows, size, digest) in manifest.members().items():
                content = archive.read(f"{name}.parquet", size)
                if hashlib.sha256(content).hexdigest() != digest:
                    raise DataError(f"{name}.parquet is damaged: its sha256 is not the manifest's")
                tables[name] = read_member(name, content, rows, limits)
                left -= tables[name].nbytes
                if left < 0:
                    raise DataError(f"its tables exceed max_bytes = {limits.max_bytes:,}")
        return _session(manifest, tables)
    except DataError as error:
        raise DataError(f"{os.fspath(path)!r} cannot be opened: {error}") from None


def _session(manifest: Manifest, tables: Mapping[str, pa.Table]) -> SavedSession:
    pair, settings = manifest.pair(), manifest.settings("settings")
    epoch, row_end = manifest.whole("epoch", 0, 2**31 - 1), manifest.whole("row_end")
    tick_total = manifest.whole("tick_total")
    ticks = _ticks(tables["ticks"], pair, tick_total)
    rows = _rows(tables["rows"], epoch, row_end)
    _require(len(ticks) <= settings.ticks_held, "it has more ticks than ticks_held")
    _require(len(rows) <= settings.history_rows, "it has more rows than history_rows")
    entries = _entries(alerts_of(tables["alerts"]), _changes(tables["changes"]))
    opened = alerts_of(tables["opened"])
    _require(len(opened) <= 1, "it has several open positions")
    for alert in (*entries, *opened):
        if isinstance(alert, Alert):
            _require(_prices(np.array([alert.at.y, alert.at.x])), "an alert has no prices")
            _require(alert.side in (-1, 1), f"alert {alert.number} is of side {alert.side}")
    positions = _pairs(tables["positions"], "time", "position", -_MOST - 1)
    _require(all(abs(position) <= 1 for _, position in positions), "a position is not -1, 0 or 1")
    gaps = _pairs(tables["gaps"], "seq", "legs", 0)
    _require(all(1 <= legs <= BOTH_LEGS | TIME_CORRECTED for _, legs in gaps), "a gap is of no leg")
    selected = manifest.or_none(
        "selected_ns", lambda name: manifest.wholes(name, 2, -_MOST - 1, _MOST)
    )
    return SavedSession(
        pair=pair,
        stream=manifest.text("stream", 100),
        feed=manifest.text("feed", 1_000),
        real_money=manifest.truth("real_money"),
        price_decimals=manifest.price_decimals(),
        saved_ns=manifest.whole("saved_ns"),
        versions=manifest.versions(),
        settings=settings,
        row_settings=manifest.settings("row_settings"),
        ticks=ticks,
        tick_total=tick_total,
        rows=rows,
        epoch=epoch,
        row_end=row_end,
        row_count=manifest.whole("row_count"),
        entries=entries,
        entry_total=manifest.whole("entry_total", len(entries)),
        newest_alert=manifest.whole("newest_alert"),
        opened=opened[0] if opened else None,
        journal=_sharing_bars(events_of(tables["journal"])),
        journal_total=manifest.whole("journal_total", tables["journal"].num_rows),
        gaps=tuple(Gap(*gap) for gap in gaps),
        positions=positions,
        klines=_klines(tables["klines"]),
        engine=manifest.or_none("engine", lambda name: _engine(manifest.inner(name), tables)),
        log=_log(tables["log"]),
        log_total=manifest.whole("log_total", tables["log"].num_rows),
        health=manifest.health(),
        row_latency_ms=manifest.row_latency_ms(),
        selected_ns=None if selected is None else (selected[0], selected[1]),
    )


def _require(holds: Any, otherwise: str) -> None:
    if not bool(holds):
        raise DataError(otherwise)


def _prices(values: Any) -> bool:
    return bool((np.isfinite(values) & (values > 0.0)).all())


def _ascends(values: Any, *, strictly: bool = False) -> bool:
    before, after = values[:-1], values[1:]
    return bool((after > before).all() if strictly else (after >= before).all())


def _numbered(numbers: Any, end: int) -> bool:
    """Tell whether numbers count up by one to before `end`."""
    count = len(numbers)
    return count <= end and bool((numbers == np.arange(end - count, end)).all())


def _ticks(table: pa.Table, pair: Pair, total: int) -> Records:
    seq, ticks = ticks_of(table, pair)
    _require(_numbered(seq, total), f"its ticks are not numbered up to {total - 1:,}")
    return ticks


def _rows(table: pa.Table, epoch: int, end: int) -> Records:
    epochs, numbers, rows = rows_of(table)
    _require((epochs == epoch).all(), f"its rows are not all of epoch {epoch}")
    _require(_numbered(numbers, end), f"its rows are not numbered up to {end - 1:,}")
    _require(_ascends(rows["time_ns"]), "the times of its rows do not ascend")
    _require(_prices(rows["y"]) and _prices(rows["x"]), "a row has no prices")
    _require((np.abs(rows["position"]) <= 1).all(), "a position is not -1, 0 or 1")
    return rows


def _changes(table: pa.Table) -> dict[int, SettingChange]:
    places = column(table, "entry", np.int64)
    _require(_ascends(places, strictly=True), "the changes of settings are not in order")
    times, seq = (column(table, name, np.int64).tolist() for name in ("time", "seq"))
    names, old, new = (table.column(name).to_pylist() for name in ("setting", "old", "new"))
    for name in names:
        _require(name in SETTINGS, f"there is no setting {str(name)[:80]!r}")
    values = [(_scalar(before), _scalar(after)) for before, after in zip(old, new, strict=True)]
    return {
        place: SettingChange(time_ns, name, *both, tick)
        for place, time_ns, name, both, tick in zip(
            places.tolist(), times, names, values, seq, strict=True
        )
    }


def _scalar(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        value = []
    _require(value is None or isinstance(value, str | int | float), "a setting's value is none")
    return value


def _entries(
    alerts: list[Alert], changes: Mapping[int, SettingChange]
) -> tuple[Alert | SettingChange, ...]:
    left = iter(alerts)
    total = len(alerts) + len(changes)
    _require(all(0 <= place < total for place in changes), "a change of a setting has no place")
    return tuple(changes[place] if place in changes else next(left) for place in range(total))


def _pairs(table: pa.Table, first: str, second: str, low: int) -> tuple[tuple[int, int], ...]:
    keys, values = column(table, first, np.int64), column(table, second, np.int64)
    _require(_ascends(keys) and (keys >= low).all(), f"its {first}s do not ascend")
    return tuple(zip(keys.tolist(), values.tolist(), strict=True))


def _by_timeframe(table: pa.Table, known: tuple[str, ...]) -> dict[str, pa.Table]:
    """Return the part of each timeframe, whose times ascend by multiples of it."""
    found = {}
    names = np.array(table.column("timeframe").to_pylist(), object)
    for name in dict.fromkeys(names.tolist()):
        _require(name in known, f"there are no bars of {str(name)[:80]!r}")
        part = table.filter(arrow().array((names == name).tolist()))
        times = column(part, "time", np.int64)
        _require(
            _ascends(times, strictly=True) and not (times % TIMEFRAMES_NS[name]).any(),
            f"the bars of {name} are not in order",
        )
        _require(len(times) <= BARS_HELD, f"there are more than {BARS_HELD:,} bars of {name}")
        found[name] = part
    return found


def _klines(table: pa.Table) -> dict[str, Seeds]:
    found = {}
    for name, part in _by_timeframe(table, BAR_TIMEFRAMES).items():
        y, x = column(part, "y", np.float64), column(part, "x", np.float64)
        _require(_prices(y) and _prices(x), f"klines of {name} have no prices")
        found[name] = Seeds(column(part, "time", np.int64), y, x)
    return found


def _engine(given: Manifest, tables: Mapping[str, pa.Table]) -> EngineFacts:
    bars = {}
    for name, part in _by_timeframe(tables["bars"], BAR_TIMEFRAMES).items():
        bars[name] = held = np.zeros(part.num_rows, BAR)
        for field in BAR.names or ():
            of = "time" if field == "time_ns" else field
            held[field] = column(part, of, BAR[field])
    forming = rows_of(tables["forming"])[2]
    _require(len(forming) <= 1, "several bars were forming")
    return EngineFacts(
        given.signal(), given.dropped(), given.whole("late"),
        given.or_none("kalman_warning", given.text), bars, forming,
    )  # fmt: skip


def _log(table: pa.Table) -> tuple[LogEntry, ...]:
    levels = table.column("level").to_pylist()
    _require(set(levels) <= set(get_args(LogLevel)), "the event log has an unknown level")
    messages = table.column("message").to_pylist()
    _require(None not in messages, "the event log has an entry without a message")
    times = column(table, "time", np.int64).tolist()
    return tuple(map(LogEntry, times, levels, messages))


def _sharing_bars(events: list[JournalEvent]) -> tuple[JournalEvent, ...]:
    """Have events hold equal bars once, as those of a live journal do."""
    known: dict[bytes, Seeds] = {}
    shared = []
    for event in events:
        held: dict[str, Any] = {}
        for name in ("seeds", "candles"):
            bars: Seeds | None = getattr(event, name, None)
            if bars is not None:
                key = hashlib.sha256(b"".join(part.tobytes() for part in bars)).digest()
                held[name] = known.setdefault(key, bars)
        shared.append(replace(event, **held))
    return tuple(shared)
