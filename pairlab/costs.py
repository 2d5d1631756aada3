"""What a deviation of the spread is worth, what trading it costs, and what a position made.

A basis point (bps) is a ten-thousandth of the notional of the y leg: one unit of y at its price.

Linear prices, s = y − βx − α: a position is 1 unit of y against β units of x. Its value moves as
s does, one to one, so that |s − mean| in bps is |s − mean| / y × 1e4.

Log prices, s = ln y − β ln x − α: a position is a notional of y against β times as much of x, for
1 unit of y that is β·y/x units of x. Its value moves by y·Δs (to first order in the moves), so
that |s − mean| is a share of y's notional already: × 1e4.

A round trip is four fills, both legs in and both out, at the same prices. Fills cost a share of
their own notional: fee_bps × 2 × (1 + |x's notional| / y's notional) bps of y's notional, which is
4 × fee_bps for legs of one size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Profit", "edge_bps", "profit", "round_trip_bps", "x_quantity"]

_BPS = 1e4


class _Row(Protocol):
    """What is read of a row: `pairlab.alerts.Snapshot` has it."""

    @property
    def y(self) -> float: ...
    @property
    def x(self) -> float: ...
    @property
    def hedge_ratio(self) -> float: ...
    @property
    def spread_std(self) -> float: ...
    @property
    def zscore(self) -> float: ...


def _known(value: float) -> float:
    return value if math.isfinite(value) else math.nan


def _over(value: float, price: float) -> float:
    """Divide by a price; one that is none (0, NaN) leaves the answer unknown."""
    return _known(value / price) if price > 0.0 else math.nan


def edge_bps(row: _Row, price_scale: str) -> float:
    """Return what the spread's distance from its mean is worth, gross.

    It is |z| × std, the distance that z measures: of the spread from the window's mean (fixed
    ratio), of the residual from 0 (OLS), of the innovation from 0 (Kalman). Taken from these two
    it keeps its digits where the spread is a millionth of the prices.

    Parameters
    ----------
    row : Snapshot
        Whose.
    price_scale : {"linear", "log"}
        Of the row's spread.

    Returns
    -------
    float
        bps of y's notional; NaN where z is not defined.

    Examples
    --------
    z of 2 with a spread that moves by 1.5 about its mean, at a y of 60,000:

    >>> from types import SimpleNamespace
    >>> row = SimpleNamespace(y=60_000.0, x=2_400.0, hedge_ratio=25.0, spread_std=1.5, zscore=-2.0)
    >>> edge_bps(row, "linear")
    0.5
    """
    distance = abs(row.zscore) * row.spread_std
    return _known(distance * _BPS) if price_scale == "log" else _over(distance, row.y) * _BPS


def x_quantity(row: _Row, price_scale: str) -> float:
    """Return how many units of x stand against one unit of y.

    Parameters
    ----------
    row : Snapshot or similar
        Whose β, and under a log scale whose prices.
    price_scale : {"linear", "log"}
        Of β.

    Returns
    -------
    float
        Below 0 for a β below 0; NaN where it is not known.
    """
    if price_scale == "log":
        return _over(row.hedge_ratio * row.y, row.x)
    return _known(row.hedge_ratio)


def round_trip_bps(fee_bps: float, row: _Row, price_scale: str) -> float:
    """Return what two legs cost in and out again at a row's prices.

    Parameters
    ----------
    fee_bps : float
        Of one fill, bps of that fill's notional.
    row : Snapshot
        For prices and β.
    price_scale : {"linear", "log"}
        Of the row's β.

    Returns
    -------
    float
        bps of y's notional; NaN while β is not known.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> row = SimpleNamespace(y=60_000.0, x=2_400.0, hedge_ratio=25.0, spread_std=1.5, zscore=-2.0)
    >>> round_trip_bps(4.0, row, "linear")
    16.0
    """
    return fee_bps * 2.0 * (1.0 + _over(abs(x_quantity(row, price_scale)) * row.x, row.y))


@dataclass(frozen=True, slots=True)
class Profit:
    """What a position of one unit of y has made, marked at a row's prices.

    Attributes
    ----------
    y_quantity, x_quantity : float
        Units held; below 0 is short.
    gross : float
        Before costs, in the quote currency.
    cost : float
        Of the two fills at the entry and the two that closing now would take.
    notional : float
        Of y at the entry: what the basis points are of.
    """

    y_quantity: float
    x_quantity: float
    gross: float
    cost: float
    notional: float

    @property
    def net(self) -> float:
        """After costs, in the quote currency."""
        return self.gross - self.cost

    @property
    def gross_bps(self) -> float:
        """Before costs, bps of y's notional at the entry."""
        return _over(self.gross, self.notional) * _BPS

    @property
    def cost_bps(self) -> float:
        """All four fills, bps of y's notional at the entry."""
        return _over(self.cost, self.notional) * _BPS

    @property
    def net_bps(self) -> float:
        """After costs, bps of y's notional at the entry."""
        return _over(self.net, self.notional) * _BPS


def profit(side: int, entry: _Row, price_scale: str, y: float, x: float, fee_bps: float) -> Profit:
    """Return what one unit of y against its x has made since the entry.

    Quantities are those of the entry: a β that drifts afterwards earns nothing.

    Parameters
    ----------
    side : int
        1 long the spread (y bought), -1 short.
    entry : Snapshot
        The row of the ENTRY: its prices are taken as the fills.
    price_scale : {"linear", "log"}
        At the entry.
    y, x : float
        Prices now.
    fee_bps : float
        Of one fill, bps of that fill's notional.

    Returns
    -------
    Profit
        NaN where a price or β is not known.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> entry = SimpleNamespace(
    ...     y=60_000.0, x=2_400.0, hedge_ratio=25.0, spread_std=1.5, zscore=-2.0
    ... )
    >>> made = profit(1, entry, "linear", 60_030.0, 2_400.0, 4.0)
    >>> made.gross, made.gross_bps, round(made.net_bps, 3)
    (30.0, 5.0, -11.002)
    """
    per_y = x_quantity(entry, price_scale)
    gross = side * ((y - entry.y) - per_y * (x - entry.x))
    traded = (entry.y + abs(per_y) * entry.x) + (y + abs(per_y) * x)
    return Profit(
        y_quantity=float(side),
        x_quantity=_known(-side * per_y),
        gross=_known(gross),
        cost=_known(fee_bps / _BPS * traded),
        notional=_known(entry.y),
    )
