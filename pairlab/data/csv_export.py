"""Rows, ticks and alerts as CSV text, in pieces.

Every table ends with the two columns of its `Origin` where that is given: a file tells by itself
whether it was simulated, and pandas reads it without an argument.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.alerts import COLUMNS, Alert, SettingChange, records
from pairlab.data.frames import ticks_frame
from pairlab.data.origin import Origin
from pairlab.schema import HISTORY_COLUMNS, NO_TIME_NS, Pair, Records

__all__ = [
    "CSV_HEADER",
    "TimeUnit",
    "alerts_csv",
    "csv_header",
    "csv_name",
    "csv_pieces",
    "csv_text",
    "iso_times",
    "ticks_csv",
    "time_unit",
]

TimeUnit = Literal["ns", "ms"]

CSV_HEADER: Final = ",".join(("time", *HISTORY_COLUMNS)) + "\n"

_RECORDS_PER_PIECE: Final = 20_000
"""Rows or ticks turned to text at a time, so that many never become one long string."""

_ALERTS_PER_PIECE: Final = 500


def ticks_csv(
    ticks: Records, pair: Pair, gap_legs: NDArray[np.int8], origin: Origin | None = None
) -> Iterator[str]:
    """Yield `ticks` as CSV text in pieces: the columns of `ticks_frame`, ISO 8601 UTC times."""
    unit = time_unit(ticks)
    for at in range(0, max(len(ticks), 1), _RECORDS_PER_PIECE):
        part = ticks[at : at + _RECORDS_PER_PIECE]
        frame = ticks_frame(part, pair, gap_legs[at : at + _RECORDS_PER_PIECE])
        frame.index = pd.Index(iso_times(part["time_ns"], unit), name="time")
        frame["received"] = iso_times(part["received_ns"], "ns")
        _add_origin(frame, origin)
        yield frame.to_csv(header=at == 0, lineterminator="\n")


def alerts_csv(
    entries: Sequence[Alert | SettingChange], origin: Origin | None = None
) -> Iterator[str]:
    """Yield a log's entries as CSV text in pieces: `COLUMNS`, ISO 8601 UTC times.

    NaN and what an entry does not have are empty fields, its time too.
    """
    times = np.array([entry.time_ns for entry in entries], dtype=np.int64)
    none = times == NO_TIME_NS
    unit = _unit_of(times[~none])
    for at in range(0, max(len(entries), 1), _ALERTS_PER_PIECE):
        part = slice(at, at + _ALERTS_PER_PIECE)
        texts = iso_times(times[part], unit)
        texts = ["" if lacks else text for text, lacks in zip(texts, none[part], strict=True)]
        index = pd.Index(texts, name="time")
        # As objects: what a whole number looks like does not depend on its neighbours.
        frame = pd.DataFrame(records(entries[part]), index, COLUMNS, dtype=object)
        _add_origin(frame, origin)
        yield frame.to_csv(header=at == 0, lineterminator="\n")


def csv_pieces(
    rows: Records, origin: Origin | None = None, before: Iterable[Records] = ()
) -> Iterator[str]:
    """Yield `rows` as CSV text in pieces: a header, ISO 8601 UTC times, NaN as an empty field.

    Numbers are written so that they read back to the same bits. The rows of `before` come first,
    and are taken as they are written.
    """
    unit = time_unit(rows)
    yield csv_header(origin)
    for part in itertools.chain(before, [rows]):
        finer = unit if unit == "ns" else time_unit(part)
        for at in range(0, len(part), _RECORDS_PER_PIECE):
            yield csv_text(part[at : at + _RECORDS_PER_PIECE], finer, origin)


def csv_header(origin: Origin | None = None) -> str:
    """Return the line above those of `csv_text`."""
    return CSV_HEADER if origin is None else CSV_HEADER[:-1] + origin.header + "\n"


def csv_text(rows: Records, unit: TimeUnit, origin: Origin | None = None) -> str:
    """Return `rows` as lines under `csv_header`; any thread may call it."""
    # A third of the time that DataFrame.to_csv takes for the same bytes.
    columns: list[list[str]] = [iso_times(rows["time_ns"], unit)]
    for name in HISTORY_COLUMNS:
        values = rows[name].tolist()
        real = rows.dtype[name].kind == "f"
        columns.append([repr(v) if v == v else "" for v in values] if real else [*map(str, values)])
    end = "\n" if origin is None else origin.fields + "\n"
    return "".join(f"{line}{end}" for line in map(",".join, zip(*columns, strict=True)))


def csv_name(pair: Pair, origin: Origin | None = None) -> str:
    """Return the name of a file of `pair`'s history now: safe on every system, UTC time.

    What is not the live market's begins with its market: ``pairlab-SIMULATED-BTCUSDT-…``.
    """
    legs = "-".join(re.sub(r"[^A-Za-z0-9_.]", "_", leg) for leg in pair)
    marker = "" if origin is None else origin.marker
    return f"pairlab-{marker}{legs}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.csv"


def _add_origin(frame: pd.DataFrame, origin: Origin | None) -> None:
    if origin is not None:
        frame["source"] = origin.source
        frame[origin.settings] = ""


def time_unit(rows: Records) -> TimeUnit:
    """Return how finely the times of `rows` must be written to be read back as they are."""
    return _unit_of(rows["time_ns"])


def _unit_of(times_ns: NDArray[np.int64]) -> TimeUnit:
    # Exchange times are whole milliseconds; another feed's may be finer.
    return "ns" if (times_ns % 1_000_000).any() else "ms"


def iso_times(time_ns: NDArray[np.int64], unit: TimeUnit) -> list[str]:
    """Return times as ISO 8601, UTC."""
    times: NDArray[np.datetime64] = time_ns.view("M8[ns]")
    texts: list[str] = np.datetime_as_string(times, unit=unit, timezone="UTC").tolist()
    return texts
