"""Rows, ticks and bars as pandas DataFrames."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.schema import BOTH_LEGS, HISTORY_COLUMNS, TIME_CORRECTED, Pair, Records

__all__ = ["bars_frame", "rows_frame", "ticks_frame"]


def rows_frame(rows: Records) -> pd.DataFrame:
    """Return `pairlab.ROW` records as the DataFrame of `PairLab.history`, without copying.

    Parameters
    ----------
    rows : array of pairlab.ROW, shape (n,)
        As `Ring.view` gives them.

    Returns
    -------
    pandas.DataFrame
        n rows; columns `HISTORY_COLUMNS`; index ``time``, UTC. `stationary` is 1, 0, or -1 for
        "not enough data"; `position` 1 long, -1 short, 0 flat.
    """
    columns = {name: rows[name] for name in HISTORY_COLUMNS}
    return pd.DataFrame(columns, index=_utc(rows["time_ns"]), copy=False)


def ticks_frame(
    ticks: Records, pair: Pair, gap_legs: NDArray[np.int8] | None = None
) -> pd.DataFrame:
    """Return `pairlab.TICK` records as the DataFrame of `PairLab.ticks`.

    Returns
    -------
    pandas.DataFrame
        Columns symbol, id, price, quantity, buyer_is_maker, received and, with `gap_legs`,
        gap_before and time_corrected; index ``time``, the exchange's trade time, UTC.
    """
    # A tick of no leg is held as it came; the engine counts and drops it.
    legs: NDArray[np.int8] = np.where((ticks["leg"] >> 1) == 0, ticks["leg"], -1)
    received = pd.DatetimeIndex(ticks["received_ns"].view("M8[ns]")).tz_localize("UTC")
    frame = pd.DataFrame(
        {
            "symbol": pd.Categorical.from_codes(legs, pd.Index(pair)),
            "id": ticks["id"],
            "price": ticks["price"],
            "quantity": ticks["quantity"],
            "buyer_is_maker": ticks["buyer_is_maker"],
            "received": received,
        },
        index=_utc(ticks["time_ns"]),
    )
    frame.attrs["pair"] = (pair.y, pair.x)  # which is y: the order of the ticks does not tell
    if gap_legs is None:
        return frame
    corrected = (gap_legs & TIME_CORRECTED) != 0
    return frame.assign(gap_before=gap_legs & BOTH_LEGS, time_corrected=corrected)


def bars_frame(bars: Records) -> pd.DataFrame:
    """Return the engine's bars as the DataFrame of `PairLab.bars`, indexed by close time, UTC."""
    parts = ("open", "high", "low", "close", "volume")
    columns = {f"{leg}_{part}": bars[f"{leg}_{part}"] for leg in "yx" for part in parts}
    frame = pd.DataFrame(columns, index=_utc(bars["time_ns"]))
    frame.attrs["label"] = "close"  # what the times are, for `pairlab.analyze`
    return frame


def _utc(time_ns: NDArray[np.int64]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(time_ns.view("M8[ns]"), name="time").tz_localize("UTC")
