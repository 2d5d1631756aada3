"""What the session's decisions made, and what other thresholds would have made, as figures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pairlab.settings import SettingValues

__all__ = ["SessionMoney", "WhatIfMap", "WhatIfOutcome"]


@dataclass(frozen=True)
class SessionMoney:
    """What the decisions of a session have made, in the quote currency.

    Attributes
    ----------
    capital : float
        Notional of y of every trade, and equity at the start.
    trades, wins : int
        Positions that were left, and those of them that made a profit after all costs.
    net, costs : float
        Of the positions that were left: profit after fees and slippage, and these.
    open_net : float
        Of the position that is held, at the newest trades, after the costs of its entry; 0 if none.
    side : int
        Of the position that is held: 1 long the spread, -1 short, 0 none.
    quantities : tuple of float
        Units of y and x that are held; below 0 is short.
    drawdown : float
        Largest fall of the equity from a peak; at least 0.
    """

    capital: float
    trades: int
    wins: int
    net: float
    costs: float
    open_net: float
    side: int
    quantities: tuple[float, float]
    drawdown: float

    @classmethod
    def nothing(cls, capital: float) -> SessionMoney:
        """Return the start of a session."""
        return cls(capital, 0, 0, 0.0, 0.0, 0.0, 0, (0.0, 0.0), 0.0)

    @property
    def equity(self) -> float:
        """Capital and the profit of all positions."""
        return self.capital + self.net + self.open_net

    def plus(self, later: SessionMoney, drawdown: float = 0.0) -> SessionMoney:
        """Return it with what came later: of which the position held is."""
        return replace(
            later, trades=self.trades + later.trades, wins=self.wins + later.wins,
            net=self.net + later.net, costs=self.costs + later.costs, drawdown=drawdown,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class WhatIfOutcome:
    """What the thresholds of this moment would have made of the rows held.

    Attributes
    ----------
    number : int
        Counts up from 1.
    values : SettingValues
        The settings.
    trades, last_trades : int
        Positions that were filled: all, and those entered in the last third of the time.
    net, costs, last_net : float
        In the quote currency, for `capital` a trade: after costs, the costs, and the last third's.
    capital : float
        Notional of y of every trade.
    span_s : float
        Time that the rows cover.
    tried : int
        How many settings were tried so far: the more, the less the best of them is worth.
    at_trades : bool
        Whether each leg was filled at its own next trade, as a backtest does it; False: at the
        prices of the next bar, as the trades of the rows are not held any more.
    entry_ns, entry_z, entry_side, exit_ns, exit_z : array
        Time, z-score and side (1 long, -1 short) of every entry; time and z-score of every exit.
    """

    number: int
    values: SettingValues
    trades: int
    last_trades: int
    net: float
    costs: float
    last_net: float
    capital: float
    span_s: float
    tried: int
    at_trades: bool
    entry_ns: NDArray[np.int64]
    entry_z: NDArray[np.float64]
    entry_side: NDArray[np.int64]
    exit_ns: NDArray[np.int64]
    exit_z: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WhatIfMap:
    """What every entry z at every timeframe would have made of the ticks held.

    Attributes
    ----------
    number : int
        Counts up from 1.
    timeframes : tuple of str
        Of the rows of `net`.
    entry_z : array, shape (k,)
        Of its columns.
    net : array, shape (len(timeframes), k)
        Net profit in the quote currency; NaN where the window was never full, or where such an
        entry contradicts the other settings.
    trades : array of int, shape (len(timeframes), k)
        Closed ones.
    values : SettingValues
        The other settings, with the costs of that moment.
    span_s : float
        Time that the ticks cover.
    """

    number: int
    timeframes: tuple[str, ...]
    entry_z: NDArray[np.float64]
    net: NDArray[np.float64]
    trades: NDArray[np.int64]
    values: SettingValues
    span_s: float
