"""Ticks and alerts as CSV text; the history's is in `pairlab.history`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.history import ticks_frame
from pairlab.ticks import Pair, Records

__all__ = ["frame_csv", "ticks_csv"]

_AT_ONCE: Final = 20_000
"""Ticks turned to text at a time, so that many never become one long string."""


def ticks_csv(ticks: Records, pair: Pair) -> Iterator[str]:
    """Yield `ticks` as CSV text in pieces: the columns of `ticks_frame`, ISO 8601 UTC times."""
    unit = _unit(ticks["time_ns"])
    for at in range(0, max(len(ticks), 1), _AT_ONCE):
        part = ticks[at : at + _AT_ONCE]
        frame = ticks_frame(part, pair)
        frame.index = pd.Index(_iso(part["time_ns"], unit), name="time")
        frame["received"] = _iso(part["received_ns"], "ns")
        yield frame.to_csv(header=at == 0, lineterminator="\n")


def frame_csv(frame: pd.DataFrame) -> str:
    """Return a DataFrame indexed by UTC time as CSV text, NaN and None as empty fields."""
    times = pd.DatetimeIndex(frame.index).as_unit("ns").asi8
    texts = pd.Index(_iso(times, _unit(times)), name="time")
    return str(frame.set_axis(texts).to_csv(lineterminator="\n"))


def _unit(times_ns: NDArray[np.int64]) -> Literal["ns", "ms"]:
    return "ns" if (times_ns % 1_000_000).any() else "ms"


def _iso(times_ns: NDArray[np.int64], unit: Literal["ns", "ms"]) -> NDArray[np.str_]:
    return np.datetime_as_string(times_ns.view("M8[ns]"), unit=unit, timezone="UTC")
