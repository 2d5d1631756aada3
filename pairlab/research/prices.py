"""Numbers and times of a caller's columns: taken exactly as they are meant, or refused."""

from __future__ import annotations

import numbers
from decimal import Decimal
from typing import Any, Final, Literal, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.errors import DataError

__all__ = [
    "check_zones",
    "floats_of",
    "prices_of",
    "prices_of_both",
    "quantile_of",
    "step_of",
    "times_of",
]

_DAY_NS: Final = 86_400_000_000_000
_EDGE_NS: Final = 2**63 - 1 - 2 * _DAY_NS
_HOUR_NS: Final = 3_600_000_000_000
_LEAST_CLOCK_CHANGE_NS: Final = 1_200_000_000_000
"""Local times that step back when clocks do: by what an hour leaves of bars up to 40 minutes."""
_CLOCK_CHANGES_APART_NS: Final = 100 * _DAY_NS
_LOCAL: Final = (
    "for local times over a change of clocks, tz_localize('America/New_York', ambiguous='infer') "
    "with their own zone tells the doubled hour apart"
)


def floats_of(column: pd.Series[Any], name: str) -> NDArray[np.float64]:
    """Return a column of numbers as float64, missing ones as NaN.

    Raises
    ------
    DataError
        For what is no number, though it could be turned into one: text, booleans, complex
        numbers, dates, durations.
    """
    dtype = column.dtype
    if pd.api.types.is_object_dtype(dtype):
        bad = next((v for v in column if not _is_number(v)), None)
        if bad is not None:
            raise DataError(_no_numbers(name, type(bad).__name__, bad, text=isinstance(bad, str)))
    elif (
        not pd.api.types.is_numeric_dtype(dtype)
        or pd.api.types.is_bool_dtype(dtype)
        or pd.api.types.is_complex_dtype(dtype)
    ):
        first = column.iloc[0] if len(column) else None
        text = pd.api.types.is_string_dtype(dtype)
        raise DataError(_no_numbers(name, dtype, first, text=text))
    try:
        floats: NDArray[np.float64] = column.to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{name} must hold numbers, not {dtype}") from None
    return floats


def _is_number(value: Any) -> bool:
    if value is None or value is pd.NA or value is pd.NaT:
        return True  # a missing one
    # numpy counts durations and booleans among the integers.
    return isinstance(value, numbers.Real | Decimal) and not isinstance(
        value, bool | np.bool_ | np.timedelta64
    )


def _no_numbers(name: str, kind: object, first: object, *, text: bool) -> str:
    shown = "" if first is None else f" ({first!r})"
    advice = "; astype(float) makes numbers of text such as '61279.5'" if text else ""
    return f"{name} must hold numbers, not {kind}{shown}{advice}"


def prices_of(series: pd.Series[Any], name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the times (ns, UTC, ascending) and the prices of a Series, without those missing.

    Raises
    ------
    DataError
        For another index, times that do not ascend, and prices that are not above zero.
    """
    return _present(ascending_times(series.index, name), series, name)


def prices_of_both(
    y: pd.Series[Any], x: pd.Series[Any]
) -> tuple[
    tuple[NDArray[np.int64], NDArray[np.float64]], tuple[NDArray[np.int64], NDArray[np.float64]]
]:
    """Return times and prices of two Series as `prices_of`; an index of both is read once."""
    y_times = ascending_times(y.index, "y")
    y_prices = _present(y_times, y, "y")
    x_times = y_times if x.index.is_(y.index) else ascending_times(x.index, "x")
    return y_prices, _present(x_times, x, "x")


def _present(
    times: NDArray[np.int64], series: pd.Series[Any], name: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the prices that are not missing, and their times."""
    prices = floats_of(series, name)
    if len(prices) and np.isnan(prices.min()):
        present = ~np.isnan(prices)
        times, prices = times[present], prices[present]
    if len(prices) and not (prices.min() > 0.0 and prices.max() < np.inf):
        bad = np.flatnonzero(~((prices > 0.0) & (prices < np.inf)))
        when = pd.Timestamp(int(times[bad[0]]), tz="UTC")
        raise DataError(f"{name}: {prices[bad[0]]} at {when}: a price must be finite and above 0")
    return times, prices


def times_of(index: pd.Index[Any], name: str) -> NDArray[np.int64]:
    """Return a DatetimeIndex in ns since 1970 UTC; one without a time zone is UTC.

    Raises
    ------
    DataError
        For another index, missing times, and times that ns do not reach.
    """
    if not isinstance(index, pd.DatetimeIndex):
        if getattr(index.dtype, "kind", "") != "M":
            raise DataError(f"{name} needs a DatetimeIndex, not {_index_and_recipe(index)}")
        index = pd.DatetimeIndex(index)
    if index.hasnans:
        raise DataError(f"{name}: a timestamp is missing (NaT)")
    if not len(index):
        return np.zeros(0, np.int64)
    try:
        utc = index if index.tz is None else index.tz_convert("UTC")
        times: NDArray[np.int64] = utc.as_unit("ns").asi8
        beyond = bool(times.min() < -_EDGE_NS or times.max() > _EDGE_NS)
    except (OverflowError, ValueError):  # pandas' own error is a ValueError
        beyond = True
    if beyond:
        seconds = index.tz_localize(None).as_unit("s")
        raise DataError(
            f"{name}: times from {seconds.min()} to {seconds.max()}; expected times between "
            "1677-09-23 and 2262-04-09, what 64-bit nanoseconds reach"
        )
    return times


def _index_and_recipe(index: pd.Index[Any]) -> str:
    kind = type(index).__name__
    if isinstance(index, pd.PeriodIndex):
        return f"{kind}: to_timestamp() makes one"
    if isinstance(index, pd.MultiIndex):
        return f"{kind}: one level must hold the times, droplevel() takes the others away"
    if pd.api.types.is_numeric_dtype(index.dtype):
        return f"{kind} of numbers: series.index = pd.to_datetime(times, unit='ms', utc=True)"
    return f"{kind}: series.index = pd.to_datetime(series.index, utc=True) makes one"


def ascending_times(index: pd.Index[Any], name: str) -> NDArray[np.int64]:
    """Return times as `times_of` does, which must ascend, or DataError is raised."""
    times = times_of(index, name)
    falls = times[1:] <= times[:-1]
    if falls.any():
        _refuse_falls(times, falls, index, name)
    return times


def _refuse_falls(
    times: NDArray[np.int64], falls: NDArray[np.bool_], index: Any, name: str
) -> NoReturn:
    at = np.flatnonzero(falls)
    naive = index.tz is None
    if (times[at + 1] == times[at]).all():
        hint = f"; {_LOCAL}" if naive else ""
        raise DataError(f"{name}: duplicate timestamp {index[at[0]]}{hint}")
    first = f"{name}: timestamps must ascend, and {index[at[0] + 1]} comes after {index[at[0]]}"
    if naive and is_clock_change(times):
        raise DataError(f"{first}; {_LOCAL} (sorting would interleave it)")
    raise DataError(f"{first}; sort_index() sorts them")


def is_clock_change(times: NDArray[np.int64]) -> bool:
    """Return whether times step back as local ones do when clocks are set back, and only so."""
    step = np.diff(times)
    at = np.flatnonzero(step < 0)
    by = -step[at]
    return bool(
        at.size
        and ((by >= _LEAST_CLOCK_CHANGE_NS) & (by <= _HOUR_NS)).all()
        and (np.diff(times[at]) >= _CLOCK_CHANGES_APART_NS).all()
    )


def check_zones(y: pd.Series[Any], x: pd.Series[Any]) -> None:
    """Raise DataError if one of two indexes names a time zone and the other does not."""
    zones = [getattr(leg.index, "tz", None) for leg in (y, x)]
    if not len(y) or not len(x) or (zones[0] is None) == (zones[1] is None):
        return
    aware, naive = ("x", "y") if zones[0] is None else ("y", "x")
    raise DataError(
        f"{aware} has a time zone ({zones[0] or zones[1]}) and {naive} has none: "
        f"{naive}.tz_localize('UTC'), or the zone that its times are of, gives it one"
    )


def step_of(steps: NDArray[np.int64]) -> int:
    """Return the step of times between which these lie, if at least half are of it, ns; else 0.

    Bars that are missing, nights and weekends leave the step the same.
    """
    if len(steps) < 2:
        return 0
    usual = quantile_of(steps, 0.5)
    regular = 2 * np.count_nonzero(steps == usual) >= len(steps)
    return usual if regular and usual > 0 else 0


def quantile_of(
    steps: NDArray[np.int64], share: float, method: Literal["lower", "higher"] = "lower"
) -> int:
    """Return the quantile of steps, one of them; in one pass where all are the same, as of bars."""
    if steps.min() == steps.max():
        return int(steps[0])
    return int(np.quantile(steps, share, method=method))
