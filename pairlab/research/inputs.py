"""What `analyze` is given, of pandas, polars or numpy, as prices of two legs or as ticks."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.errors import DataError
from pairlab.research.prices import floats_of, is_clock_change, times_of
from pairlab.schema import TICK, Pair, Records

__all__ = ["Given", "given_of", "ticks_of_frame"]

_LATE_NS: Final = 60_000_000_000
"""Ticks in the order of their receipt step back by less than this."""
_SHOWN: Final = 6


class Given(NamedTuple):
    """Input of `analyze`, sorted out: a frame of ticks, or prices of two legs.

    Attributes
    ----------
    ticks : pandas.DataFrame or None
        Columns symbol, price, …; then there are no legs.
    y, x : pandas.Series
        Prices of the legs.
    pair : Pair
        Names of the legs; "" where they have none.
    """

    ticks: pd.DataFrame | None
    y: pd.Series[Any]
    x: pd.Series[Any]
    pair: Pair


def given_of(y: Any, x: Any, pair: tuple[str, str] | None, times: Any) -> Given:
    """Sort out what `analyze` was given, which see.

    Raises
    ------
    DataError
        For what is neither two legs nor ticks, or could be more than one thing.
    """
    if pair is not None:
        names = [pair] if isinstance(pair, str) else list(pair)
        if len(names) != 2 or names[0] == names[1]:
            raise DataError(f"pair must name two symbols, y and x, not {pair!r}")
    y, x = _from_polars(y), _from_polars(x)
    nothing = pd.Series([], pd.DatetimeIndex([]), dtype=float)
    if isinstance(y, pd.DataFrame) and x is None:
        if times is not None:
            raise DataError("times are for prices without an index; a frame has its own")
        if isinstance(y.columns, pd.MultiIndex):
            raise DataError(
                "the frame has columns of several levels: choose one, such as frame['Close']"
            )
        if {"symbol", "price"} & set(y.columns):
            known = _pair_of_ticks(y, pair)
            return Given(y, nothing, nothing, Pair(*map(str, known)))
        names = _price_columns(y, pair)
        return Given(None, y[names[0]], y[names[1]], Pair(*map(str, names)))
    if isinstance(y, pd.DataFrame) and isinstance(x, pd.Series):
        raise DataError("give either two Series or one frame, not a frame and x")
    if pair is not None:
        raise DataError("pair names the symbols of a frame; two Series need none")
    index = None if times is None else _index_of(times)
    legs = [_series(leg, name, index) for leg, name in ((y, "y"), (x, "x"))]
    return Given(None, legs[0], legs[1], Pair(str(legs[0].name or ""), str(legs[1].name or "")))


def _price_columns(frame: pd.DataFrame, pair: tuple[str, str] | None) -> list[Any]:
    """Return the names of the columns of y and x."""
    columns = list(frame.columns)
    if not frame.columns.is_unique:
        double = columns[int(np.flatnonzero(frame.columns.duplicated())[0])]
        raise DataError(f"the frame has more than one column {double!r}")
    shown = ", ".join(map(repr, columns[:_SHOWN])) + (", …" if len(columns) > _SHOWN else "")
    if pair is not None:
        for name in pair:
            if name not in columns:
                raise DataError(f"the frame has no column {name!r}: its columns are {shown}")
        return list(pair)
    for own in (["y_close", "x_close"], ["y", "x"]):  # of PairLab.bars and history
        if set(own) <= set(columns):
            return own
    if len(columns) == 2:
        return columns
    raise DataError(
        f"a frame of prices has two columns, y and then x, not {len(columns)} ({shown}): "
        "pair=('BTCUSDT', 'ETHUSDT') names those to take"
    )


def _series(leg: Any, name: str, index: pd.DatetimeIndex | None) -> pd.Series[Any]:
    """Return a leg as a Series with times."""
    if isinstance(leg, pd.DataFrame):
        if leg.shape[1] != 1:
            close = f": give {name}['close']" if "close" in leg.columns else ""
            raise DataError(f"{name} must be one column of prices, not {leg.shape[1]}{close}")
        leg = leg.iloc[:, 0]
    if isinstance(leg, pd.Series):
        if isinstance(leg.index, pd.RangeIndex) and index is not None:
            leg = leg.array  # it has no times of its own
        elif index is not None:
            raise DataError(f"{name} has an index of its own: times are for prices without one")
        else:
            return leg
    if leg is None or isinstance(leg, str | bytes | dict) or not hasattr(leg, "__len__"):
        raise DataError(f"{name} must be a pandas Series of prices, not {type(leg).__name__}")
    if index is None:
        raise DataError(
            f"{name} must be a pandas Series of prices with their times as its index, not "
            f"{type(leg).__name__}: give times=…, or a frame with a column of times"
        )
    values = leg if isinstance(leg, pd.api.extensions.ExtensionArray) else np.asarray(leg)
    if values.ndim != 1 or len(values) != len(index):
        raise DataError(f"{name} has {len(values):,} prices and times has {len(index):,}")
    return pd.Series(values, index)


def _index_of(times: Any) -> pd.DatetimeIndex:
    """Return times as an index."""
    times = _from_polars(times)
    index = pd.Index(times.array if isinstance(times, pd.Series) else times)
    if getattr(index.dtype, "kind", "") != "M":
        raise DataError(
            f"times must be dates and times, not {index.dtype}: pd.to_datetime(times, unit='ms', "
            "utc=True) reads numbers, pd.to_datetime(times, utc=True) text"
        )
    return pd.DatetimeIndex(index)


# -- polars -------------------------------------------------------------------------------------
# Told by its module's name: who brings polars has it installed, nobody else needs it.


def _from_polars(value: Any) -> Any:
    """Return a polars frame or Series as pandas or numpy has it, anything else as it is."""
    if type(value).__module__.partition(".")[0] != "polars":
        return value
    kind = type(value).__name__
    if kind == "Series":
        return _polars_column(value)
    if kind != "DataFrame":
        raise DataError(f"a polars {kind} has no prices yet: collect() makes a DataFrame of it")
    columns = {name: value.get_column(name) for name in value.columns}
    dated = [name for name, column in columns.items() if _is_dated(column)]
    at = next((name for name in ("time", "timestamp", "date") if name in dated), None)
    if at is None and len(dated) != 1:
        found = ", ".join(map(repr, dated)) or "none"
        raise DataError(f"a polars frame needs one column of times (Datetime or Date): {found}")
    at = dated[0] if at is None else at
    index = pd.DatetimeIndex(_polars_column(columns.pop(at)))
    made = {name: _polars_column(column) for name, column in columns.items()}
    return pd.DataFrame(
        {name: pd.Series(column, dtype=column.dtype).array for name, column in made.items()}, index
    )


def _is_dated(column: Any) -> bool:
    return str(column.dtype).startswith("Date")


def _polars_column(column: Any) -> Any:
    values = column.to_numpy()
    if not _is_dated(column):
        return values
    index = pd.DatetimeIndex(values)
    zone = getattr(column.dtype, "time_zone", None)
    return index if zone is None else index.tz_localize("UTC").tz_convert(zone)


# -- ticks --------------------------------------------------------------------------------------


def _pair_of_ticks(frame: pd.DataFrame, pair: tuple[str, str] | None) -> tuple[Any, Any]:
    """Return the names of y and x; which is which must be known, not guessed from the order."""
    missing = {"symbol", "price"} - set(frame.columns)
    if missing:
        raise DataError(
            f"a frame of ticks has columns symbol and price; there is no {sorted(missing)[0]!r}"
        )
    if frame["symbol"].isna().any():
        raise DataError("a tick has no symbol")
    found = list(frame["symbol"].unique())
    if pair is None:
        pair = frame.attrs.get("pair")  # as PairLab.ticks gives it
        if pair is not None and len(found) != 2:
            categories = getattr(frame["symbol"].dtype, "categories", ())
            pair = pair if list(categories) == list(pair) else None
        if pair is None and not found:
            return "", ""
    elif isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
        raise DataError(f"pair must name two symbols, y and x, not {pair!r}")
    if pair is None:
        shown = ", ".join(map(str, found[:5]))
        if len(found) != 2:
            raise DataError(f"ticks of two symbols are needed, not of {len(found)}: {shown}")
        first, second = sorted(map(str, found))
        raise DataError(
            f"which of {shown} is y? pair=({first!r}, {second!r}) makes {first} y, which is bought "
            "when the spread is bought"
        )
    strange = set(found) - set(pair)
    if strange:
        raise DataError(f"there are ticks of {min(map(str, strange))}, which is not in {pair}")
    return pair[0], pair[1]


def ticks_of_frame(frame: pd.DataFrame, pair: Pair) -> Records:
    """Return a frame of ticks as `pairlab.TICK` records.

    Raises
    ------
    DataError
        For columns that do not hold what ticks do, or ticks in no order of time.
    """
    times = times_of(frame.index, "the frame")
    ticks = np.zeros(len(frame), TICK)
    ticks["time_ns"] = times
    if len(frame):
        ticks["leg"] = _is_symbol(frame["symbol"], pair.x)
    ticks["price"] = floats_of(frame["price"], "price")
    if "quantity" in frame:
        ticks["quantity"] = floats_of(frame["quantity"], "quantity")
    if "id" in frame:
        if not pd.api.types.is_integer_dtype(frame["id"].dtype) or frame["id"].isna().any():
            raise DataError(f"id must hold whole numbers, not {frame['id'].dtype}")
        ticks["id"] = frame["id"].to_numpy(np.int64)
    received = times
    if "received" in frame:
        column = frame["received"]
        if getattr(column.dtype, "kind", "") != "M":
            raise DataError(f"received must hold times, not {column.dtype}")
        received = times_of(pd.DatetimeIndex(column), "received")
        ticks["received_ns"] = received
    if "buyer_is_maker" in frame:
        column = frame["buyer_is_maker"]
        if not pd.api.types.is_bool_dtype(column.dtype) or column.isna().any():
            raise DataError(f"buyer_is_maker must hold True or False, not {column.dtype}")
        ticks["buyer_is_maker"] = column.to_numpy(np.bool_)
    _require_order(ticks, received, frame.index)
    return ticks


def _is_symbol(column: pd.Series[Any], symbol: str) -> NDArray[np.bool_]:
    """Return whether each tick is of a symbol."""
    if isinstance(column.dtype, pd.CategoricalDtype):  # its few names are text, not each tick's
        meant = np.array([str(name) == symbol for name in column.cat.categories])
        return meant[column.cat.codes.to_numpy()]
    same: NDArray[np.bool_] = (column.astype(str) == symbol).to_numpy()
    return same


def _require_order(ticks: Records, order_ns: Any, index: Any) -> None:
    """Raise DataError for ticks in no order: neither of their times nor of their receipt."""
    if len(ticks) < 2:
        return
    back = np.flatnonzero(order_ns < np.maximum.accumulate(order_ns) - _LATE_NS)
    shuffled = False
    for leg in (0, 1):
        times = ticks["time_ns"][ticks["leg"] == leg]
        shuffled = shuffled or int((np.diff(times) < 0).sum()) > 1 + len(times) // 10
    if not back.size and not shuffled:
        return
    at = int(back[0]) if back.size else int(np.flatnonzero(np.diff(ticks["time_ns"]) < 0)[0]) + 1
    advice = "frame.sort_index(kind='stable') sorts them"
    if index.tz is None and is_clock_change(ticks["time_ns"]):
        advice = (
            "for local times over a change of clocks, frame.tz_localize('America/New_York', "
            "ambiguous='infer') with their own zone tells the doubled hour apart"
        )
    raise DataError(f"the ticks are not in order of time ({index[at]} comes late): {advice}")
