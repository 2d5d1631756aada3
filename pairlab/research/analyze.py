"""`analyze`: batch computation of `PairLab.history` from past prices, by the live kernel."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.data.frames import rows_frame
from pairlab.engine import PairEngine
from pairlab.errors import DataError
from pairlab.schema import TICK, TIMEFRAMES_NS, Records
from pairlab.settings import SettingKwargs, Settings

__all__ = ["analyze"]

_Prices = tuple[NDArray[np.int64], NDArray[np.float64]]


def analyze(
    y: pd.Series[float] | pd.DataFrame,
    x: pd.Series[float] | None = None,
    *,
    pair: tuple[str, str] | None = None,
    **settings: Unpack[SettingKwargs],
) -> pd.DataFrame:
    """Compute every metric and position of a pair over its past.

    Parameters
    ----------
    y, x : pandas.Series
        Prices with a DatetimeIndex, ascending and unique (taken as UTC where it has no time
        zone). There is one observation per timestamp of their union from where both have begun,
        the last prices carried forward; NaN is no price, as if its timestamp were not there. At
        ``timeframe`` other than ``"tick"`` the prices are gathered into bars first; the last bar,
        which nothing closes, is left out, as it is live.
    y : pandas.DataFrame
        Instead of two Series: ticks as `PairLab.ticks` gives them (columns ``symbol`` and
        ``price``, and ``quantity`` where volumes matter), kept in their row order. Each makes an
        observation, as live; those that are not finite and positive are dropped, as live.
    pair : tuple of str, optional
        Symbols of y and x in such a frame; by default its categories', else order of appearance.
    **settings
        As for `PairLab`: ``window=50, hedge="ols"``, …

    Returns
    -------
    pandas.DataFrame
        The columns of `PairLab.history`, indexed by time (UTC).

    Raises
    ------
    SettingError
        For an unknown setting or a value out of range.
    DataError
        For prices that are no such Series or frame: another type or index, timestamps unsorted or
        twice, prices that are infinite or not above zero, fewer or more than two symbols.

    Examples
    --------
    >>> import pandas as pd
    >>> from pairlab import analyze
    >>> minutes = pd.date_range("2024-08-08", periods=3, freq="min")
    >>> y = pd.Series([50.0, 51.0, 52.0], minutes)
    >>> x = pd.Series([2.0, 2.1], minutes[:2])
    >>> analyze(y, x, hedge_ratio=10.0)["spread"].tolist()
    [30.0, 30.0, 31.0]
    """
    engine = PairEngine(Settings(**settings), bars=False)
    per_tick = TIMEFRAMES_NS[engine.values.timeframe] == 0
    if isinstance(y, pd.DataFrame):
        if x is not None:
            raise DataError("give either two Series or one frame of ticks, not a frame and x")
        return rows_frame(engine.update(_ticks_of_frame(y, pair)))
    if pair is not None:
        raise DataError("pair names the symbols of a frame of ticks; two Series need none")
    (y_times, y_prices), (x_times, x_prices) = _prices(y, "y"), _prices(x, "x")
    if not per_tick:
        return rows_frame(engine.update(_ticks_of_two(y_times, y_prices, x_times, x_prices)))
    if not len(y_times) or not len(x_times):
        return rows_frame(engine.update(np.zeros(0, TICK)))
    times = y_times if np.array_equal(y_times, x_times) else np.union1d(y_times, x_times)
    times = times[np.searchsorted(times, max(y_times[0], x_times[0])) :]
    y_at = np.searchsorted(y_times, times, side="right") - 1
    x_at = np.searchsorted(x_times, times, side="right") - 1
    rows = engine.observe(times, y_prices[y_at], x_prices[x_at], y_times[y_at], x_times[x_at])
    return rows_frame(rows)


def _prices(series: Any, name: str) -> _Prices:
    """Validate a Series; return its times in ns (UTC) and its prices, without NaN."""
    if not isinstance(series, pd.Series):
        raise DataError(f"{name} must be a pandas Series of prices, not {type(series).__name__}")
    times = _times(series.index, name)
    step = np.diff(times)
    if (step < 0).any():
        raise DataError(f"{name}: timestamps must ascend; sort_index() sorts them")
    if (step == 0).any():
        duplicate = series.index[:-1][step == 0][0]
        raise DataError(f"{name}: duplicate timestamp {duplicate}")
    try:
        prices = series.to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise DataError(f"{name} must hold numbers, not {series.dtype}") from None
    present = ~np.isnan(prices)
    times, prices = times[present], prices[present]
    bad = np.flatnonzero(~(np.isfinite(prices) & (prices > 0.0)))
    if bad.size:
        when = pd.Timestamp(int(times[bad[0]]), tz="UTC")
        raise DataError(f"{name}: {prices[bad[0]]} at {when}: a price must be finite and above 0")
    return times, prices


def _times(index: pd.Index[Any], name: str) -> NDArray[np.int64]:
    """Validate a DatetimeIndex; return it in ns (UTC)."""
    if not isinstance(index, pd.DatetimeIndex):
        raise DataError(f"{name} needs a DatetimeIndex, not {type(index).__name__}")
    if index.hasnans:
        raise DataError(f"{name}: a timestamp is missing (NaT)")
    utc = index if index.tz is None else index.tz_convert("UTC")
    return utc.as_unit("ns").asi8


def _ticks_of_two(
    y_times: NDArray[np.int64],
    y_prices: NDArray[np.float64],
    x_times: NDArray[np.int64],
    x_prices: NDArray[np.float64],
) -> Records:
    """Merge the prices of two legs into ticks, in order of time."""
    ticks = np.zeros(len(y_times) + len(x_times), TICK)
    times = np.concatenate([y_times, x_times])
    order = np.argsort(times, kind="stable")
    ticks["time_ns"] = ticks["received_ns"] = times[order]
    ticks["price"] = np.concatenate([y_prices, x_prices])[order]
    ticks["leg"] = order >= len(y_times)
    return ticks


def _ticks_of_frame(frame: pd.DataFrame, pair: tuple[str, str] | None) -> Records:
    """Validate a frame of ticks; return them as `TICK` records."""
    missing = {"symbol", "price"} - set(frame.columns)
    if missing:
        raise DataError(
            f"a frame of ticks has columns symbol and price; there is no {sorted(missing)[0]!r}"
        )
    times = _times(frame.index, "the frame")
    symbols = frame["symbol"]
    if symbols.isna().any():
        raise DataError("a tick has no symbol")
    if pair is None:
        categorical = isinstance(symbols.dtype, pd.CategoricalDtype)
        names = list(symbols.cat.categories if categorical else symbols.unique())
        if len(names) != 2 and len(frame):
            shown = ", ".join(map(str, names[:5]))
            raise DataError(f"ticks of two symbols are needed, not of {len(names)}: {shown}")
    else:
        names = list(pair)
        if len(names) != 2 or names[0] == names[1]:
            raise DataError(f"pair must name two symbols, y and x, not {pair!r}")
        strange = set(symbols.unique()) - set(names)
        if strange:
            raise DataError(f"there are ticks of {min(map(str, strange))}, which is not in {pair}")
    ticks = np.zeros(len(frame), TICK)
    ticks["time_ns"] = times
    if len(frame):
        ticks["leg"] = (symbols == names[1]).to_numpy()
    try:
        ticks["price"] = frame["price"].to_numpy(np.float64, na_value=np.nan)
        if "quantity" in frame:
            ticks["quantity"] = frame["quantity"].to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise DataError("price and quantity must be numbers") from None
    if "id" in frame:
        ticks["id"] = frame["id"]
    if "received" in frame:
        ticks["received_ns"] = _times(pd.DatetimeIndex(frame["received"]), "received")
    if "buyer_is_maker" in frame:
        ticks["buyer_is_maker"] = frame["buyer_is_maker"]
    return ticks
