"""Under which terms a backtest trades: checked once, for one set of settings or for thousands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from pairlab.backtesting.costs import Costs, FundingRates, LotRule, funding_of, lot_rules
from pairlab.backtesting.market import Market
from pairlab.errors import DataError, SettingError
from pairlab.limits.consistency import leg_age_limit_s
from pairlab.research.past import LegPrices
from pairlab.research.prices import prices_of
from pairlab.schema import NS_PER_S, Pair
from pairlab.settings import SettingValues

__all__ = ["Terms", "terms_of"]

_MOST_S: Final = 1e8
"""The longest latency and wait: three years, that 64-bit nanoseconds hold beside any time."""


@dataclass(frozen=True)
class Terms:
    """What `pairlab.backtest` is told beside data and settings, checked.

    Attributes
    ----------
    capital : float
        Notional of y of every trade, and equity at the start.
    latency_ns : int
        From a decision until its orders can be filled.
    slippage_bps : float
        Of every fill.
    lots : tuple of LotRule or None
        Limits of the orders of y and x.
    funding : tuple of FundingRates or None
        Of both legs; None: not known.
    marks : tuple of LegPrices or None
        On which funding is charged; None: the last trades.
    """

    capital: float
    latency_ns: int
    slippage_bps: float
    lots: tuple[LotRule, LotRule] | None
    funding: tuple[FundingRates, FundingRates] | None
    marks: tuple[LegPrices, LegPrices] | None
    _fee_bps: float | None
    _max_wait_s: float | None
    _step_ns: int

    def fee_bps(self, values: SettingValues) -> float:
        """Return the fee of one fill: the setting's, unless another was given."""
        return values.fee_bps if self._fee_bps is None else self._fee_bps

    def max_wait_s(self, values: SettingValues) -> float:
        """Return how long an entry waits for each leg, s."""
        if self._max_wait_s is not None:
            return self._max_wait_s
        return max(leg_age_limit_s(values), 2.0 * self._step_ns / NS_PER_S)

    @property
    def marked_at(self) -> str:
        """What funding was charged on, in words."""
        if self.funding is None:
            return "none"
        return "last trades" if self.marks is None else "given"


def terms_of(
    market: Market,
    pair: Pair,
    costs: Costs,
    *,
    capital: float,
    latency_s: float,
    max_wait_s: float | None,
    lots: object,
    mark: object,
) -> Terms:
    """Check what `pairlab.backtest` was told, which see.

    Raises
    ------
    SettingError, DataError
        As `pairlab.backtest` does.
    """
    if not isinstance(costs, Costs):
        raise SettingError("costs", costs, "expected such as pairlab.Costs(fee_bps=4.0)")
    times = market.time_ns
    span = (int(times[0]), int(times[-1])) if len(times) else None
    return Terms(
        capital=_number("capital", capital, above=True),
        latency_ns=round(_number("latency_s", latency_s, most=_MOST_S) * 1e9),
        slippage_bps=float(costs.slippage_bps),
        lots=lot_rules(lots, pair),
        funding=None if span is None else funding_of(costs, pair, *span),
        marks=_marks(mark, span),
        _fee_bps=None if costs.fee_bps is None else float(costs.fee_bps),
        _max_wait_s=(
            None if max_wait_s is None else _number("max_wait_s", max_wait_s, most=_MOST_S)
        ),
        _step_ns=market.step_ns,
    )


def _number(name: str, value: Any, *, above: bool = False, most: float = math.inf) -> float:
    """Return a number from 0 on."""
    usable = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    number = float(value) if usable else np.nan
    if not np.isfinite(number) or not 0.0 <= number <= most or (above and number == 0.0):
        to = f" to {most:,.0f}" if most < math.inf else ""
        raise SettingError(name, value, f"expected a number {'above' if above else 'from'} 0{to}")
    return number


def _marks(mark: object, span: tuple[int, int] | None) -> tuple[LegPrices, LegPrices] | None:
    if mark is None:
        return None
    if not isinstance(mark, tuple) or len(mark) != 2:
        raise DataError(f"mark must be a tuple of two Series, of y and of x, not {mark!r}")
    legs = []
    for series, name in zip(mark, ("the mark price of y", "the mark price of x"), strict=True):
        if not isinstance(series, pd.Series):
            raise DataError(f"{name} must be a Series, not {type(series).__name__}")
        prices = LegPrices(*prices_of(series, name))
        if span is not None and (not len(prices.time_ns) or prices.time_ns[0] > span[0]):
            start = pd.Timestamp(span[0], tz="UTC")
            raise DataError(f"{name} must begin before the first row ({start:%Y-%m-%d %H:%M:%S})")
        legs.append(prices)
    return legs[0], legs[1]
