"""The journal's events as an Arrow table, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pairlab.data.journal import (
    EngineStarted,
    GapFilled,
    GapMarked,
    JournalEvent,
    Rebuilt,
    Reset,
    Seeds,
    SettingChanged,
    TimeCorrected,
)
from pairlab.engine.gaps import Gap
from pairlab.errors import DataError
from pairlab.storage.tables import arrow, column, settings_of, settings_text

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BARS", "event_from", "event_text", "events_of", "events_table"]

_KINDS: Final = (
    EngineStarted, GapFilled, GapMarked, Rebuilt, Reset, SettingChanged, TimeCorrected,
)  # fmt: skip
_BY_NAME: Final = {kind.__name__: kind for kind in _KINDS}

BARS: Final = ("seeds", "candles")
"""Fields of events that hold bars."""


def event_text(event: JournalEvent) -> str:
    """Return the fields of an event that hold no bars, as JSON."""
    plain: dict[str, Any] = {}
    for name in event.__dataclass_fields__:
        value = getattr(event, name)
        if name == "values":
            plain[name] = json.loads(settings_text(value))
        elif name == "gaps":
            plain[name] = [[gap.tick, gap.legs] for gap in value]
        elif name not in BARS:
            plain[name] = value
    return json.dumps(plain)


def event_from(name: str, text: str, bars: Mapping[str, Seeds | None]) -> JournalEvent:
    """Return an event.

    Parameters
    ----------
    name : str
        Its class.
    text : str
        As `event_text` makes it.
    bars : mapping
        By field of `BARS`; an event takes those that it has.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is none of this version's.
    """
    kind, values = _BY_NAME[name], json.loads(text)
    if "values" in values:
        values["values"] = settings_of(json.dumps(values["values"]))
    if "gaps" in values:
        values["gaps"] = tuple(Gap(int(tick), int(legs)) for tick, legs in values["gaps"])
    values |= {part: found for part, found in bars.items() if part in kind.__dataclass_fields__}
    event: JournalEvent = kind(**values)
    return event


def events_table(events: Iterable[JournalEvent]) -> pa.Table:
    """Return events as a table.

    Returns
    -------
    pyarrow.Table
        ``seq`` (ordinal of the first tick that the event applies to), ``event`` (its class),
        ``fields`` (JSON of what is no bar), and per kind of bars ``seeds_time``, ``seeds_y``,
        ``seeds_x``, ``candles_time``, … as lists: null where the event has none.
    """
    pa = arrow()
    seq, names, texts = [], [], []
    bars: dict[str, list[Any]] = {
        f"{kind}_{part}": [] for kind in BARS for part in ("time", "y", "x")
    }
    for event in events:
        seq.append(event.tick)
        names.append(type(event).__name__)
        texts.append(event_text(event))
        for kind in BARS:
            found: Seeds | None = getattr(event, kind, None)
            bars[f"{kind}_time"].append(found and found.time_ns.view("datetime64[ns]"))
            bars[f"{kind}_y"].append(found and found.y)
            bars[f"{kind}_x"].append(found and found.x)
    types = {"time": pa.timestamp("ns", "UTC"), "y": pa.float64(), "x": pa.float64()}
    return pa.table(
        {
            "seq": pa.array(seq, pa.int64()),
            "event": pa.array(names, pa.string()),
            "fields": pa.array(texts, pa.string()),
            **{
                name: pa.array(lists, pa.list_(types[name.rpartition("_")[2]]))
                for name, lists in bars.items()
            },
        }
    )


def events_of(table: pa.Table) -> list[JournalEvent]:
    """Return the events of a table.

    Raises
    ------
    DataError
        If a column is missing, or an event is none of this version's.
    """
    wanted = ["seq", "event", "fields"]
    wanted += [f"{kind}_{part}" for kind in BARS for part in ("time", "y", "x")]
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise DataError(f"the journal has no column {', '.join(missing)}")
    found: list[JournalEvent] = []
    for at, (name, text) in enumerate(
        zip(table.column("event").to_pylist(), table.column("fields").to_pylist(), strict=True)
    ):
        try:
            bars = {kind: _bars_at(table, kind, at) for kind in BARS}
            found.append(event_from(name, text, bars))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"journal event {at} ({name!r}) cannot be read: {error!r}") from None
    return found


def _bars_at(table: pa.Table, kind: str, at: int) -> Seeds | None:
    lists = [table.column(f"{kind}_{part}")[at] for part in ("time", "y", "x")]
    if not all(values.is_valid for values in lists):
        return None
    pa = arrow()
    columns = pa.table({"time": lists[0].values, "y": lists[1].values, "x": lists[2].values})
    return Seeds(
        column(columns, "time", np.int64),
        column(columns, "y", np.float64),
        column(columns, "x", np.float64),
    )
