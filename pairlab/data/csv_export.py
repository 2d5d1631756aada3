"""Ticks and alerts as CSV text; the history's is in `pairlab.data.ring`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.alerts import COLUMNS, Alert, SettingChange, records
from pairlab.data.ring import ticks_frame
from pairlab.schema import Pair, Records

__all__ = ["alerts_csv", "ticks_csv"]

_AT_ONCE: Final = 20_000
"""Ticks turned to text at a time, so that many never become one long string."""

_ALERTS_AT_ONCE: Final = 500


def ticks_csv(ticks: Records, pair: Pair) -> Iterator[str]:
    """Yield `ticks` as CSV text in pieces: the columns of `ticks_frame`, ISO 8601 UTC times."""
    unit = _unit(ticks["time_ns"])
    for at in range(0, max(len(ticks), 1), _AT_ONCE):
        part = ticks[at : at + _AT_ONCE]
        frame = ticks_frame(part, pair)
        frame.index = pd.Index(_iso(part["time_ns"], unit), name="time")
        frame["received"] = _iso(part["received_ns"], "ns")
        yield frame.to_csv(header=at == 0, lineterminator="\n")


def alerts_csv(entries: Sequence[Alert | SettingChange]) -> Iterator[str]:
    """Yield a log's entries as CSV text in pieces: `COLUMNS`, ISO 8601 UTC times.

    NaN and what an entry does not have are empty fields.
    """
    times = np.array([entry.time_ns for entry in entries], dtype=np.int64)
    unit = _unit(times)
    for at in range(0, max(len(entries), 1), _ALERTS_AT_ONCE):
        part = slice(at, at + _ALERTS_AT_ONCE)
        index = pd.Index(_iso(times[part], unit), name="time")
        # As objects: what a whole number looks like does not depend on its neighbours.
        frame = pd.DataFrame(records(entries[part]), index, COLUMNS, dtype=object)
        yield frame.to_csv(header=at == 0, lineterminator="\n")


def _unit(times_ns: NDArray[np.int64]) -> Literal["ns", "ms"]:
    return "ns" if (times_ns % 1_000_000).any() else "ms"


def _iso(times_ns: NDArray[np.int64], unit: Literal["ns", "ms"]) -> NDArray[np.str_]:
    return np.datetime_as_string(times_ns.view("M8[ns]"), unit=unit, timezone="UTC")
