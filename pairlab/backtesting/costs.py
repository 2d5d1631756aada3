"""What trading costs in a backtest: fees, slippage, funding, and the exchange's order limits."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.errors import DataError, SettingError
from pairlab.research.prices import floats_of, times_of
from pairlab.schema import NS_PER_S, Pair

__all__ = ["Costs", "FundingRates", "LotRule", "funding_of", "lot_rules"]

_MAX_BPS: Final = 1000.0
_TIME: Final = "calc_time"
_RATE: Final = "last_funding_rate"
_COLUMNS: Final = ["calc_time", "funding_interval_hours", _RATE]
_MOST_MS: Final = 10**14  # the year 5138
_HOUR_NS: Final = 3600 * NS_PER_S
_USUAL_NS: Final = 8 * _HOUR_NS

_T = TypeVar("_T")


@dataclass(frozen=True)
class Costs:
    """What every fill costs, and what holding a position costs.

    Attributes
    ----------
    fee_bps : float, optional
        Fee of one fill, bps of its notional, 0 to 1000. None: the setting ``fee_bps``.
    slippage_bps : float
        How far each fill's price is moved against the order, bps of the price, 0 to 1000.
    funding : object, optional
        Funding rates of perpetual futures, per leg: a tuple (of y, of x), or a mapping from symbols
        (or ``"y"`` and ``"x"``). Each is the path of a fundingRate file of Binance's archive (or
        several), a DataFrame with its columns ``calc_time`` and ``last_funding_rate``, a Series of
        rates indexed by time, or None for a leg that has no funding (spot). None: funding is not
        counted, and `BacktestResult.funding_known` is False.

    Raises
    ------
    SettingError
        For a cost that is out of range.
    """

    fee_bps: float | None = None
    slippage_bps: float = 0.0
    funding: object = None

    def __post_init__(self) -> None:
        if self.fee_bps is not None:
            _check("fee_bps", self.fee_bps, _MAX_BPS, " bps")
        _check("slippage_bps", self.slippage_bps, _MAX_BPS, " bps")


def _check(name: str, value: object, high: float = math.inf, unit: str = "") -> None:
    """Refuse what is no number from 0 to `high`."""
    usable = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not usable or not 0.0 <= float(value) <= high or math.isinf(float(value)):  # type: ignore[arg-type]
        to = "" if math.isinf(high) else f" to {high:g}"
        raise SettingError(name, value, f"expected a number from 0{to}{unit}")


@dataclass(frozen=True)
class LotRule:
    """Limits of an order's quantity, as the exchange tells them for a symbol.

    Attributes
    ----------
    step_size : float
        Quantities are whole multiples of it (``stepSize``); 0: any.
    min_qty : float
        Least quantity (``minQty``).
    min_notional : float
        Least quantity × price (``minNotional``), in the quote currency.
    """

    step_size: float = 0.0
    min_qty: float = 0.0
    min_notional: float = 0.0

    def __post_init__(self) -> None:
        for name in ("step_size", "min_qty", "min_notional"):
            _check(name, getattr(self, name))

    @classmethod
    def of_exchange_info(cls, symbol: Mapping[str, Any]) -> LotRule:
        """Return the limits that Binance's ``exchangeInfo`` tells of a symbol.

        Parameters
        ----------
        symbol : mapping
            One entry of its ``symbols``.
        """
        filters = {f["filterType"]: f for f in symbol["filters"]}
        lot, notional = filters["LOT_SIZE"], filters.get("MIN_NOTIONAL", {})
        least = notional.get("notional", notional.get("minNotional", 0.0))
        return cls(float(lot["stepSize"]), float(lot["minQty"]), float(least))

    def rounded(self, quantity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return quantities rounded down to whole steps; what is a step but for rounding, is."""
        if self.step_size == 0.0:
            return quantity
        steps: NDArray[np.float64] = np.floor(quantity / self.step_size * (1.0 + 1e-12))
        return steps * self.step_size


def lot_rules(lots: object, pair: Pair) -> tuple[LotRule, LotRule] | None:
    """Return the limits of y and x; None: there are none.

    Raises
    ------
    DataError
        For anything but two `LotRule`.
    """
    if lots is None:
        return None
    y, x = _per_leg(lots, pair, "lots")
    if not isinstance(y, LotRule) or not isinstance(x, LotRule):
        raise DataError(f"lots must be two LotRule, of y and of x, not {lots!r}")
    return y, x


def _per_leg(given: object, pair: Pair, name: str) -> tuple[Any, Any]:
    """Return what belongs to y and to x in a tuple or a mapping."""
    if isinstance(given, Mapping):
        found = []
        for leg, symbol in zip("yx", pair, strict=True):
            if symbol not in given and leg not in given:
                raise DataError(f"{name} has nothing of {symbol or leg}: it has {list(given)}")
            found.append(given[symbol] if symbol in given else given[leg])
        return found[0], found[1]
    if isinstance(given, tuple) and len(given) == 2:
        return given[0], given[1]
    raise DataError(f"{name} must be a tuple (of y, of x) or a mapping, not {given!r}")


class FundingRates(NamedTuple):
    """Funding of one leg.

    Attributes
    ----------
    time_ns : array of int64, shape (n,)
        When it is paid, ascending.
    rate : array of float64, shape (n,)
        Fraction of the notional that a long position pays.
    """

    time_ns: NDArray[np.int64]
    rate: NDArray[np.float64]


def funding_of(
    costs: Costs, pair: Pair, start_ns: int, end_ns: int
) -> tuple[FundingRates, FundingRates] | None:
    """Return the funding of both legs within a span; None: it is not known.

    Raises
    ------
    DataError
        If it cannot be read, or does not cover the span: a rate is paid for the interval before
        it, so that the first may lie one interval after the start, and the last one before the end.
    """
    if costs.funding is None:
        return None
    legs = []
    for given, leg, symbol in zip(
        _per_leg(costs.funding, pair, "funding"), "yx", pair, strict=True
    ):
        if given is None:
            legs.append(FundingRates(np.zeros(0, np.int64), np.zeros(0)))
            continue
        times, rates = _rates(given, symbol or leg)
        interval = int(np.median(np.diff(times))) if len(times) > 1 else _USUAL_NS
        if times[0] - interval > start_ns or times[-1] + interval < end_ns:
            first, last, start, end = (
                f"{pd.Timestamp(t, tz='UTC'):%Y-%m-%d %H:%M}"
                for t in (times[0], times[-1], start_ns, end_ns)
            )
            raise DataError(
                f"funding of {symbol or leg} is known from {first} to {last} and the backtest runs "
                f"from {start} to {end}: give the files of the whole span, or no funding"
            )
        legs.append(FundingRates(times, rates))
    return legs[0], legs[1]


def _rates(given: Any, name: str) -> FundingRates:
    """Return the rates of one leg, whatever they were given as."""
    if isinstance(given, str | os.PathLike) or (
        isinstance(given, Sequence) and all(isinstance(p, str | os.PathLike) for p in given)
    ):
        paths = [given] if isinstance(given, str | os.PathLike) else list(given)
        given = pd.concat([_read(Path(path)) for path in paths])
    if isinstance(given, pd.DataFrame):
        for column in (_TIME, _RATE):
            if column not in given:
                raise DataError(f"funding of {name}: there is no column {column!r}")
        stamps = given[_TIME]
        if pd.api.types.is_numeric_dtype(stamps.dtype):
            # Some of the archive's files are in µs: no date in ms is as large.
            scale = 10**3 if len(stamps) and stamps.iloc[0] > _MOST_MS else 10**6
            index = pd.DatetimeIndex(pd.to_datetime(stamps * scale, unit="ns", utc=True))
        else:
            index = pd.DatetimeIndex(stamps)
        given = pd.Series(given[_RATE].to_numpy(), index)
    if not isinstance(given, pd.Series):
        raise DataError(
            f"funding of {name} must be a path, a DataFrame or a Series, not {type(given).__name__}"
        )
    rates = floats_of(given, f"funding of {name}")
    times = times_of(given.index, f"funding of {name}")
    if not len(times):
        raise DataError(f"funding of {name}: there is no rate")
    if not np.isfinite(rates).all():
        raise DataError(f"funding of {name}: a rate is missing or not finite")
    times, first = np.unique(times, return_index=True)
    return FundingRates(times, rates[first])


def _read(path: Path) -> pd.DataFrame:
    """Return a fundingRate file of the archive, whether or not it names its columns."""
    try:
        head = pd.read_csv(path, nrows=1, header=None, dtype=str)
        if str(head.iloc[0, 0]).strip().isdecimal():
            return pd.read_csv(path, names=_COLUMNS)
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no funding rates can be read ({error})") from None
