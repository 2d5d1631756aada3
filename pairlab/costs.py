"""Edge of a spread's deviation, cost of a round trip, and profit of a position.

A basis point (bps) is a ten-thousandth of the notional of the y leg: one unit of y at its price.

Linear prices, s = y − βx − α: a position is 1 unit of y against β units of x. Its value changes by
Δs, so |s − mean| in bps is |s − mean| / y × 1e4.

Log prices, s = ln y − β ln x − α: a position is a notional of y against β times that notional of
x, which is β·y/x units of x for 1 unit of y. Its value changes by y·Δs (to first order), so
|s − mean| is already a fraction of y's notional: × 1e4.

A round trip is four fills, both legs in and both out, at the same prices. Each costs a fraction of
its own notional: fee_bps × 2 × (1 + |x's notional| / y's notional) bps of y's notional in total,
which is 4 × fee_bps for legs of equal notional.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Profit", "break_even_z", "edge_bps", "profit", "round_trip_bps", "x_quantity"]

_BPS = 1e4


class _Row(Protocol):
    """The fields used of a row; `pairlab.alerts.Snapshot` has them."""

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


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan


def _divide(value: float, price: float) -> float:
    """Divide by a price; NaN unless the price is above 0."""
    return _finite(value / price) if price > 0.0 else math.nan


def edge_bps(row: _Row, price_scale: str) -> float:
    """Return the gross value of the spread's distance from its mean.

    It is |z| × std, the distance that z measures: of the spread from the window's mean (fixed
    ratio), of the residual from 0 (OLS), of the innovation from 0 (Kalman). Computed from these
    two, it stays precise where the spread is a millionth of the prices.

    Parameters
    ----------
    row : Snapshot
        Provides z, std and the price of y.
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
    return _finite(distance * _BPS) if price_scale == "log" else _divide(distance, row.y) * _BPS


def x_quantity(row: _Row, price_scale: str) -> float:
    """Return the units of x held against one unit of y.

    Parameters
    ----------
    row : Snapshot or similar
        Provides β, and for a log scale the prices.
    price_scale : {"linear", "log"}
        Of β.

    Returns
    -------
    float
        Below 0 for a β below 0; NaN where β is undefined.
    """
    if price_scale == "log":
        return _divide(row.hedge_ratio * row.y, row.x)
    return _finite(row.hedge_ratio)


def round_trip_bps(fee_bps: float, row: _Row, price_scale: str) -> float:
    """Return the cost of a round trip of both legs at a row's prices.

    Parameters
    ----------
    fee_bps : float
        Fee of one fill, bps of that fill's notional.
    row : Snapshot
        Provides prices and β.
    price_scale : {"linear", "log"}
        Of the row's β.

    Returns
    -------
    float
        bps of y's notional; NaN where β is undefined.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> row = SimpleNamespace(y=60_000.0, x=2_400.0, hedge_ratio=25.0, spread_std=1.5, zscore=-2.0)
    >>> round_trip_bps(4.0, row, "linear")
    16.0
    """
    return fee_bps * 2.0 * (1.0 + _divide(abs(x_quantity(row, price_scale)) * row.x, row.y))


def break_even_z(row: _Row, fee_bps: float, price_scale: str) -> float:
    """Return the |z| whose way back to 0 pays for a round trip, at a row's deviation and prices.

    An entry below it loses by construction: fees alone are more than its edge.

    Parameters
    ----------
    row : Snapshot
        Provides prices, β and the spread's standard deviation.
    fee_bps : float
        Fee of one fill, bps of that fill's notional.
    price_scale : {"linear", "log"}
        Of the row's spread.

    Returns
    -------
    float
        In standard deviations; NaN where β is undefined or the spread does not vary.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> row = SimpleNamespace(y=60_000.0, x=2_400.0, hedge_ratio=25.0, spread_std=48.0, zscore=-2.0)
    >>> break_even_z(row, 4.0, "linear")
    2.0
    """
    one = row.spread_std * _BPS if price_scale == "log" else _divide(row.spread_std, row.y) * _BPS
    return _divide(round_trip_bps(fee_bps, row, price_scale), one)


@dataclass(frozen=True, slots=True)
class Profit:
    """Profit of a position of one unit of y, at given prices.

    Attributes
    ----------
    y_quantity, x_quantity : float
        Units held; below 0 is short.
    gross : float
        Before costs, in the quote currency.
    cost : float
        Of the two fills at the entry and the two that would close the position now.
    notional : float
        Of y at the entry; the base of all basis points.
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
        return _divide(self.gross, self.notional) * _BPS

    @property
    def cost_bps(self) -> float:
        """All four fills, bps of y's notional at the entry."""
        return _divide(self.cost, self.notional) * _BPS

    @property
    def net_bps(self) -> float:
        """After costs, bps of y's notional at the entry."""
        return _divide(self.net, self.notional) * _BPS


def profit(side: int, entry: _Row, price_scale: str, y: float, x: float, fee_bps: float) -> Profit:
    """Return the profit of one unit of y against its x since the entry.

    Quantities are those of the entry: later changes of β do not count.

    Parameters
    ----------
    side : int
        1 long the spread (y bought), -1 short.
    entry : Snapshot
        The row of the ENTRY; its prices are used as the fills'.
    price_scale : {"linear", "log"}
        At the entry.
    y, x : float
        Prices now.
    fee_bps : float
        Fee of one fill, bps of that fill's notional.

    Returns
    -------
    Profit
        NaN where a price or β is undefined.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> entry = SimpleNamespace(
    ...     y=60_000.0, x=2_400.0, hedge_ratio=25.0, spread_std=1.5, zscore=-2.0
    ... )
    >>> result = profit(1, entry, "linear", 60_030.0, 2_400.0, 4.0)
    >>> result.gross, result.gross_bps, round(result.net_bps, 3)
    (30.0, 5.0, -11.002)
    """
    per_y = x_quantity(entry, price_scale)
    gross = side * ((y - entry.y) - per_y * (x - entry.x))
    traded = (entry.y + abs(per_y) * entry.x) + (y + abs(per_y) * x)
    return Profit(
        y_quantity=float(side),
        x_quantity=_finite(-side * per_y),
        gross=_finite(gross),
        cost=_finite(fee_bps / _BPS * traded),
        notional=_finite(entry.y),
    )
