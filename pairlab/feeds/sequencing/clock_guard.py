"""Trade times against the receive clock: one trade stamped ahead cannot move the market's clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Final, NamedTuple

from pairlab.feeds.binance.messages import ConsumedId, TickTuple
from pairlab.feeds.log import concerning, feed_logger
from pairlab.schema import NO_TIME_NS, NS_PER_S

__all__ = ["MAX_AHEAD_S", "ClockGuard", "CorrectedTick", "LegGuards", "split_at_corrected"]

MAX_AHEAD_S: Final = 10.0
"""A trade is at most this far ahead of the exchange's clock, as this machine knows it."""

_logger: Final = feed_logger(__name__)

_PROOF: Final = 3  # trades in a row, ahead of the clock, that prove the clock wrong and not them
_NEVER: Final = 2**63
_MAX_AHEAD_NS: Final = int(MAX_AHEAD_S * NS_PER_S)

_Items = list[TickTuple | ConsumedId]


class CorrectedTick(NamedTuple):
    """A tick whose time was corrected: the fields of `pairlab.TICK`, as any tuple of a tick."""

    time_ns: int
    received_ns: int
    id: int
    leg: int
    price: float
    quantity: float
    buyer_is_maker: bool


def split_at_corrected(
    ticks: Sequence[TickTuple | ConsumedId],
) -> Iterator[tuple[bool, Sequence[TickTuple | ConsumedId]]]:
    """Yield ticks in parts that each begin with one that is corrected, and whether they do."""
    corrected = [at for at, tick in enumerate(ticks) if isinstance(tick, CorrectedTick)]
    for begin, end in pairwise(sorted({0, *corrected, len(ticks)})):
        yield isinstance(ticks[begin], CorrectedTick), ticks[begin:end]


class ClockGuard:
    """Corrects times that are ahead of the clock, and says so.

    A time is ahead if it exceeds the receive time, less the clocks' offset, by more than
    `MAX_AHEAD_S`. Such a trade waits for the one after it: if that is not ahead, the time becomes
    the newest one seen before it, and the trade a `CorrectedTick`. Three in a row are no exception
    but a market whose clock is not this machine's, such as a recording played fast: it is left
    alone from then on.

    Parameters
    ----------
    feed : object
        Whose trades; named in the log.

    Attributes
    ----------
    count : int
        Times corrected so far.
    newest_corrected : dict of int to int
        By leg, the id of the trade whose time was corrected last; -1 none.
    released_ns : int
        Receive time of the last trade after which one that waited was returned.
    """

    def __init__(self, feed: object) -> None:
        self.count = 0
        self.released_ns = 0
        self.newest_corrected = {0: -1, 1: -1}
        self._feed = feed
        self._limit_ns = _NEVER
        self._newest_ns = NO_TIME_NS
        self._ahead: _Items = []  # that wait

    def set_offset(self, offset_ns: int) -> None:
        """Take this machine's clock minus the exchange's: from now on times are checked."""
        self._limit_ns = _MAX_AHEAD_NS - offset_ns

    @property
    def limit_ns(self) -> int:
        """Trade time minus receive time from which a trade is ahead; 2**63 while not checked."""
        return self._limit_ns

    def note(self, time_ns: int) -> None:
        """Take the time of a trade that was found not to be ahead."""
        self._newest_ns = max(self._newest_ns, time_ns)

    @property
    def waiting(self) -> bool:
        """Whether a trade waits for the one after it."""
        return bool(self._ahead)

    def corrected(self, items: _Items) -> _Items:
        """Return items, in the order in which they arrived, with no time ahead of the clock.

        Those that are ahead are returned later.
        """
        limit_ns = self._limit_ns
        for item in items:
            if item[0] - item[1] > limit_ns:
                items = self._checked(items)
                break
        else:
            if self._ahead and items:
                self.released_ns = items[0][1]
                items = [*self.flush(), *items]
        if items and items[-1][0] > self._newest_ns:
            self._newest_ns = items[-1][0]
        return items

    def flush(self) -> _Items:
        """Return what waits, with times corrected."""
        waiting, self._ahead = self._ahead, []
        return [self._correct(item) for item in waiting]

    def corrected_page(self, trades: list[TickTuple]) -> list[TickTuple]:
        """Return trades that REST brought at once, in the order of their ids.

        One that is ahead counts at the time of the trade before it, the first at that of the one
        after it; three in a row are left alone.
        """
        ahead = [trade[0] - trade[1] > self._limit_ns for trade in trades]
        if not any(ahead):
            return trades
        corrected = list(trades)
        for flag, run in groupby(range(len(trades)), ahead.__getitem__):
            places = list(run)
            if not flag or len(places) >= _PROOF:
                continue
            before, after = places[0] - 1, places[-1] + 1
            known = [corrected[at][0] for at in (before, after) if 0 <= at < len(trades)]
            for at in places:
                time_ns = self._corrected_ns(trades[at], known[0] if known else NO_TIME_NS)
                corrected[at] = CorrectedTick(time_ns, *trades[at][1:])
        return corrected

    def _checked(self, items: _Items) -> _Items:
        checked: _Items = []
        for item in items:
            if item[0] - item[1] <= self._limit_ns:
                if self._ahead:
                    self.released_ns = item[1]
                    checked += self.flush()
                checked.append(item)
                self.note(item[0])
                continue
            self._ahead.append(item)
            if len(self._ahead) == _PROOF:
                self._limit_ns = _NEVER
                checked += self._ahead
                self._ahead = []
        return checked

    def _correct(self, item: TickTuple | ConsumedId) -> TickTuple | ConsumedId:
        time_ns = self._corrected_ns(item, self._newest_ns)
        if isinstance(item, ConsumedId):
            return item._replace(time_ns=time_ns)
        return CorrectedTick(time_ns, *item[1:])

    def _corrected_ns(self, item: TickTuple | ConsumedId, time_ns: int) -> int:
        """Count and tell a time that is corrected to another, or to the clock's where none is."""
        self.count += 1
        self.newest_corrected[item[3]] = item[2]
        clock_ns = item[1] + self._limit_ns - _MAX_AHEAD_NS
        _logger.warning(
            f"a trade is stamped {(item[0] - clock_ns) / NS_PER_S:,.0f} s ahead of the exchange's "
            f"clock (more than {MAX_AHEAD_S:g} s): it counts at the newest time seen before it",
            extra=concerning([self._feed], kind="ahead"),
        )
        return clock_ns if time_ns == NO_TIME_NS else time_ns


class LegGuards:
    """A `ClockGuard` for each leg: what becomes of a trade depends on its own symbol alone.

    So a symbol's ticks are the same in every pair, and on a board, that has it. Its methods are
    those of `ClockGuard`.

    Parameters
    ----------
    feed : object
        Whose trades; named in the log.
    legs : int
        One or two.
    """

    def __init__(self, feed: object, legs: int) -> None:
        self._guards = tuple(ClockGuard(feed) for _ in range(legs))

    @property
    def count(self) -> int:
        """Times corrected so far."""
        return sum(guard.count for guard in self._guards)

    @property
    def released_ns(self) -> int:
        """Receive time of the last trade after which one that waited was returned; 0 none."""
        return max(guard.released_ns for guard in self._guards)

    def set_offset(self, offset_ns: int) -> None:
        """Take this machine's clock minus the exchange's: from now on times are checked."""
        for guard in self._guards:
            guard.set_offset(offset_ns)

    def limit_ns(self, leg: int) -> int:
        """Return by how much a time of a leg must exceed the receive time to be ahead."""
        return self._guards[leg].limit_ns

    def newest_corrected(self, leg: int) -> int:
        """Return the id of the trade of a leg whose time was corrected last; -1 none."""
        return self._guards[leg].newest_corrected[leg]

    def corrected(self, items: _Items) -> _Items:
        """Return items of all legs, in the order in which they arrived, with no time ahead.

        Those that are ahead are returned right before the next one of their leg.
        """
        if len(self._guards) == 1:
            return self._guards[0].corrected(items)
        if len(items) == 1:
            return self._guards[items[0][3]].corrected(items)
        y, x = self._guards
        if y._ahead or x._ahead:
            return self._corrected_by_leg(items)
        limit_ns = y._limit_ns if y._limit_ns < x._limit_ns else x._limit_ns
        for item in items:
            if item[0] - item[1] > limit_ns:
                return self._corrected_by_leg(items)
        newest = None
        for item in reversed(items):  # the last one of each leg; most often two are looked at
            if newest is None or item[3] != newest:
                self._guards[item[3]].note(item[0])
                if newest is not None:
                    break
                newest = item[3]
        return items

    def _corrected_by_leg(self, items: _Items) -> _Items:
        """Return what each leg's guard does of its own share, put together by arrival."""
        arrived = {(item[3], item[2], item[1]): at for at, item in enumerate(items)}
        placed: list[tuple[int, TickTuple | ConsumedId]] = []
        for leg, guard in enumerate(self._guards):
            due = len(items)
            share = guard.corrected([item for item in items if item[3] == leg])
            for item in reversed(share):  # one that was corrected goes before the next of its leg
                if not isinstance(item, CorrectedTick):
                    due = arrived.get((leg, item[2], item[1]), due)
                placed.append((due, item))
        placed.reverse()  # what shares a place stays in its order
        return [item for _, item in sorted(placed, key=lambda one: one[0])]

    def corrected_page(self, trades: list[TickTuple]) -> list[TickTuple]:
        """Return trades of one leg that REST brought at once with no time ahead."""
        return self._guards[trades[0][3]].corrected_page(trades) if trades else trades

    def flush(self) -> _Items:
        """Return what waits, with times corrected."""
        return [item for guard in self._guards for item in guard.flush()]
