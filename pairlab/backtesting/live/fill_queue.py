"""Decisions that wait for the trades that fill them: of each leg its first one after them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairlab.backtesting.legs import Leg, Trades, trades_in
from pairlab.schema import Records

__all__ = ["Batch", "FillQueue", "Newest"]

_PENDING: Final = -1


class Newest(NamedTuple):
    """When the newest trades of y and x were (ns since 1970 UTC), and their prices."""

    time_ns: tuple[int, int]
    price: tuple[float, float]


class Batch(NamedTuple):
    """Trades of ticks, and the ordinal of the first tick."""

    first: int
    trades: Trades

    @classmethod
    def of(cls, first: int, ticks: Records, reached_ns: int) -> Batch:
        """Tell the trades of a batch apart; as `trades_in`."""
        return cls(first, trades_in(ticks, reached_ns))

    def newest(self, before: Newest) -> Newest:
        """Return the newest trades, where one of a leg is missing those before."""
        times, prices = list(before.time_ns), list(before.price)
        for leg, traded in enumerate(self.trades.of):
            at = np.flatnonzero(traded)
            if len(at):
                times[leg] = int(self.trades.running_ns[at[-1]])
                prices[leg] = float(self.trades.price[at[-1]])
        return Newest((times[0], times[1]), (prices[0], prices[1]))


class _Waiting(NamedTuple):
    number: int
    ordinal: int
    due_ns: int


class FillQueue:
    """Finds, as ticks come, the trades that `pairlab.backtest` fills decisions by.

    Decisions are added in the order in which they were made. Memory grows with them, not with the
    ticks.

    Parameters
    ----------
    latency_ns : int
        From a decision until its orders can be filled.
    """

    def __init__(self, latency_ns: int) -> None:
        self._latency_ns: Final = latency_ns
        self._waiting: Final[tuple[deque[_Waiting], ...]] = (deque(), deque())
        # By leg: of each decision the index of its trade; and those trades: ordinal, time, price.
        self._after: Final[tuple[list[int], ...]] = ([], [])
        self._trades: Final[tuple[list[tuple[int, int, float]], ...]] = ([], [])

    def __len__(self) -> int:
        return len(self._after[0])

    @property
    def waits(self) -> bool:
        """Whether a decision waits for a trade of a leg."""
        return any(self._waiting)

    @property
    def filled(self) -> int:
        """How many decisions, from the first on, wait for nothing."""
        return min((waiting[0].number for waiting in self._waiting if waiting), default=len(self))

    def add(self, ordinal: int, known_ns: int) -> None:
        """Add a decision.

        Parameters
        ----------
        ordinal : int
            Of the tick on which it was made.
        known_ns : int
            When: the newest time up to that tick, ns since 1970 UTC.
        """
        for waiting, after in zip(self._waiting, self._after, strict=True):
            waiting.append(_Waiting(len(after), ordinal, known_ns + self._latency_ns))
            after.append(_PENDING)

    def take(self, batch: Batch) -> bool:
        """Find the trades among these ticks; tell whether there was one.

        A batch may be taken again after more decisions on it were added.
        """
        found = False
        for leg, waiting in enumerate(self._waiting):
            at = np.flatnonzero(batch.trades.of[leg]) if waiting else np.zeros(0, np.int64)
            if not len(at):
                continue
            ordinals, times = at + batch.first, batch.trades.running_ns[at]
            while waiting:
                # The first one cannot be filled yet, so none after it can.
                index = max(
                    int(np.searchsorted(ordinals, waiting[0].ordinal, side="right")),
                    int(np.searchsorted(times, waiting[0].due_ns, side="left")),
                )
                if index == len(at):
                    break
                number = waiting.popleft().number
                trade = (
                    int(ordinals[index]), int(times[index]), float(batch.trades.price[at[index]])
                )  # fmt: skip
                self._after[leg][number] = self._index_of(leg, trade)
                found = True
        return found

    def _index_of(self, leg: int, trade: tuple[int, int, float]) -> int:
        known = self._trades[leg]
        if not known or known[-1][0] != trade[0]:
            known.append(trade)
        return len(known) - 1

    def split(self, count: int) -> tuple[FillQueue, FillQueue]:
        """Return one for the first decisions, which wait for nothing, and one for the others."""
        first, rest = FillQueue(self._latency_ns), FillQueue(self._latency_ns)
        for leg, (after, trades) in enumerate(zip(self._after, self._trades, strict=True)):
            first._after[leg].extend(after[:count])
            first._trades[leg].extend(trades[: max(after[:count], default=-1) + 1])
            begin = min((at for at in after[count:] if at != _PENDING), default=len(trades))
            rest._after[leg].extend(at if at == _PENDING else at - begin for at in after[count:])
            rest._trades[leg].extend(trades[begin:])
            rest._waiting[leg].extend(
                one._replace(number=one.number - count) for one in self._waiting[leg]
            )
        return first, rest

    @classmethod
    def joined(cls, queues: Sequence[FillQueue]) -> FillQueue:
        """Return one for the decisions of several, one after the other; it takes no more ticks."""
        whole = cls(0)
        for queue in queues:
            for leg in (0, 1):
                first = len(whole._trades[leg])
                whole._after[leg].extend(
                    at if at == _PENDING else at + first for at in queue._after[leg]
                )
                whole._trades[leg].extend(queue._trades[leg])
        return whole

    def legs(self, which: NDArray[np.int64]) -> tuple[Leg, Leg]:
        """Return what y and x traded at, as far as decisions need it.

        Parameters
        ----------
        which : array of int64, shape (k,)
            Numbers of the decisions that are the rows.

        Returns
        -------
        tuple of Leg
            The last trade of each fills nothing: it is there to value what is held.
        """
        y, x = (self._leg(leg, which) for leg in (0, 1))
        return y, x

    def _leg(self, leg: int, which: NDArray[np.int64]) -> Leg:
        known = self._trades[leg]
        _, times, prices = zip(*known, known[-1] if known else (0, 0, np.nan), strict=True)
        count = len(times) - 1
        after = np.array(self._after[leg], np.int64)[which]
        after[after == _PENDING] = count + 1  # beyond the last
        return Leg(
            np.array(times, np.int64), np.array(prices), np.full(len(which), count, np.int64), None,
            after_row=after,
        )  # fmt: skip
