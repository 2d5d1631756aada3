"""Fills gaps over REST, within the exchange's request budget and a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Final, Protocol

from pairlab.errors import FeedError
from pairlab.feeds.binance.messages import TickTuple
from pairlab.feeds.binance.rest_client import PAGE_TRADES, RestTrade
from pairlab.feeds.context import FeedContext
from pairlab.feeds.log import concerning, feed_logger
from pairlab.feeds.sequencing.leg_state import Gap
from pairlab.feeds.sequencing.series_check import CheckedSequencer
from pairlab.feeds.sequencing.trade_pages import TradePages
from pairlab.schema import NS_PER_S

__all__ = ["GapFiller", "GapOwner"]

_logger: Final = feed_logger(__name__)

_INF: Final = float("inf")
_NS_PER_MS: Final = 1_000_000
_FIRST_WAIT_S: Final = 0.1  # REST can be a moment behind the stream
_MAX_WAIT_S: Final = 5.0
_MIN_TRIES: Final = 2  # before the deadline counts: a blocked loop may have eaten it
_SURE_TRIES: Final = 3  # before ids that REST leaves out count as gone: Binance keeps 48 h
_KEPT_NS: Final = 24 * 3_600 * NS_PER_S  # for so long, at least, REST keeps every trade
_CONFIRM_S: Final = 1.0  # silence of a leg after a reconnect, before REST is asked if it traded
_STALL_POLL_S: Final = 2.0  # between two questions about a leg whose stream is stalled
_MAX_STALL_POLL_S: Final = 8.0  # while its market is quiet, too
_OVERLAP_GRACE_S: Final = 1.0  # two connections overlap: the older one may still bring it


class GapOwner(Protocol):
    """The feed whose gaps are filled, as far as its `GapFiller` knows it."""

    symbols: tuple[str, ...]

    def deliver_due(self) -> None:
        """Hand on what is due, now that a gap has closed."""

    def note_unknown(self, leg: int) -> None:
        """Note that nobody knows whether a leg has traded during an interruption."""

    def corrected_page(self, trades: list[TickTuple]) -> list[TickTuple]:
        """Return trades that REST brought with no time ahead of the clock."""

    def is_corrected(self, leg: int, id_: int) -> bool:
        """Return whether the newest time of a leg that was corrected is that of this id."""

    def is_stalled(self, leg: int) -> bool:
        """Return whether a leg's stream is silent though its symbol may trade."""

    def connection_ages_s(self, leg: int) -> list[float]:
        """Return the ages of the open connections that bring a leg, seconds."""

    def gap_patience_s(self) -> float:
        """Return how long a gap may hold back what follows it, seconds."""


class GapFiller:
    """Fills the gaps of a sequencer, one task a leg.

    Parameters
    ----------
    owner : GapOwner
        The feed.
    sequencer : CheckedSequencer
        Whose gaps are filled.
    pages : TradePages
        Where missing trades come from.
    context : FeedContext
        Timeouts and clock.
    repairable : bool
        False for streams whose ids REST does not know.
    """

    def __init__(
        self,
        owner: GapOwner,
        sequencer: CheckedSequencer,
        pages: TradePages,
        context: FeedContext,
        *,
        repairable: bool,
    ) -> None:
        self._owner = owner
        self._symbols = owner.symbols
        self._sequencer = sequencer
        self._pages = pages
        self._timeouts = context.timeouts
        self._clock = context.clock
        self._repairable = repairable
        self._wake = (asyncio.Event(), asyncio.Event())
        # When REST last brought a leg what it lacked, or the other leg's gap had to go first.
        self._progress_s = [-math.inf, -math.inf]
        self._unknown = [-1, -1]  # first id of which nobody knows whether it exists
        self._poll_s = [_STALL_POLL_S, _STALL_POLL_S]

    def wake(self) -> None:
        """Look at the gaps again: one has opened."""
        for event in self._wake:
            event.set()

    async def run(self, leg: int) -> None:
        """Fill the gaps of one leg, one after the other, until cancelled."""
        tries, tried = 0, -1  # of the first id missing: progress resets the count
        while True:
            gaps = self._sequencer.open_gaps()
            if self._sequencer.full and gaps and gaps[0].leg != leg:
                # To fill this leg's gap would only add to what waits for the other one; it loses
                # none of its own time by that.
                self._progress_s[leg] = self._clock.monotonic_s()
                await asyncio.sleep(_FIRST_WAIT_S)
                continue
            gap = next((g for g in gaps if g.leg == leg), None)
            silent = next((u for u in self._sequencer.unconfirmed() if u[0] == leg), None)
            if gap is None and silent is None:
                self._wake[leg].clear()
                tries = 0
                await self._wake[leg].wait()
                continue
            if gap is None:
                if silent is not None:
                    await self._confirm(leg, silent[1])
                continue
            if gap.first != tried:
                tried, tries = gap.first, 0
            pause_s = await self._try_to_fill(gap, tries)
            tries += pause_s >= 0
            self._owner.deliver_due()
            if pause_s > 0:
                await asyncio.sleep(pause_s)

    async def _try_to_fill(self, gap: Gap, tries: int) -> float:
        """Try once; return the seconds to wait before the next try, negative if none was made."""
        age_s = self._clock.monotonic_s() - gap.since_s
        overlap = len(self._owner.connection_ages_s(gap.leg)) > 1
        grace_s = _OVERLAP_GRACE_S if overlap else self._timeouts.repair_grace_s
        if age_s < grace_s:
            await asyncio.sleep(min(grace_s - age_s, self._timeouts.repair_grace_s or grace_s))
            return -1.0
        if not self._repairable:
            self._give_up(gap, "raw trades cannot be fetched without an API key")
            return -1.0
        limit_s = self._owner.gap_patience_s()
        # A gap that waits its turn behind others is not older than what REST brought last.
        age_s = self._clock.monotonic_s() - max(gap.since_s, self._progress_s[gap.leg])
        if age_s > limit_s and tries >= _MIN_TRIES:
            self._give_up(gap, f"REST did not return them within {limit_s:,.1f} s")
            return -1.0
        # A page costs the same whatever its length: let it reach into the gaps that follow.
        held = self._sequencer.last_held(gap.leg) if gap.unverified else None
        first = gap.first if held is None else held[2]
        limit = min(max(gap.span_last, gap.last) - first + 1, PAGE_TRADES)
        patience_s = max(limit_s - age_s, self._timeouts.rest_s)
        try:
            # Waiting for the budget, or out a Retry-After, must not hold ticks for ever either.
            async with asyncio.timeout(patience_s):
                page = await self._pages.get(self._symbols[gap.leg], first, limit)
        except (FeedError, TimeoutError) as error:
            _logger.warning(
                f"gap repair postponed: {_reason(error)}; will retry automatically",
                extra=concerning([self._owner], kind="repair"),
            )
            return _pause_s(tries)
        ticks = self._ticks(page, gap.leg)
        if held is not None:
            pause_s = self._check_series(gap, held, ticks, tries)
            if pause_s is not None:
                return pause_s
        oldest = page[0].a if page else gap.first
        if oldest > gap.first and tries >= _SURE_TRIES:
            self._give_up(gap, "the exchange no longer keeps them", through=oldest - 1)
        if ticks and tries >= _SURE_TRIES and self._sequencer.is_old_series(gap.leg, ticks):
            self._sequencer.give_up(gap.leg)  # of the new series REST has none here
            return 0.0
        if self._sequencer.fill(gap.leg, ticks):
            self._progress_s[gap.leg] = self._clock.monotonic_s()
        rest = next((g for g in self._sequencer.open_gaps() if g.leg == gap.leg), None)
        if rest is None or rest.first > gap.last:
            return 0.0
        if rest.first > gap.first:
            # Some of it: at once for the next full page, else as after a first try.
            return 0.0 if len(page) >= limit else _pause_s(0)
        return _pause_s(tries)

    def _check_series(
        self, gap: Gap, held: TickTuple, ticks: list[TickTuple], tries: int
    ) -> float | None:
        """Return None if REST knows the trade before a gap, else the seconds until the next try.

        What REST returns from there on may be of a series that was begun meanwhile: then that one
        goes on, and a gap before its first trade that is known takes the place of this one.
        """
        leg = gap.leg
        if not ticks:
            return _pause_s(tries)
        first = ticks[0][2]
        if first == held[2]:
            if self._is_same(held, ticks[0]):
                self._sequencer.note_same_series(leg)
                return None
        elif first == gap.first or self._clock.time_ns() - held[1] > _KEPT_NS:
            self._sequencer.note_same_series(leg)  # it was left out alone, or is too old
            return None
        elif tries < _SURE_TRIES:
            return _pause_s(tries)  # REST can be a moment behind
        self._sequencer.begin_anew(leg, ticks)
        return 0.0

    def _is_same(self, held: TickTuple, tick: TickTuple) -> bool:
        """Return whether the trade that REST knows under an id is the one that the stream brought.

        A time that is ahead of the clock was corrected, and says nothing.
        """
        if held[4:] != tick[4:]:
            return False
        return held[0] == tick[0] or self._owner.is_corrected(held[3], held[2])

    async def _confirm(self, leg: int, next_id: int) -> None:
        """Ask REST whether a leg that is silent since a reconnect, or stalled, has traded."""
        ages_s = self._owner.connection_ages_s(leg)
        if not ages_s or min(ages_s) < _CONFIRM_S:
            # Every feed that waits for the same leg wakes at the same moment, and asks once.
            await asyncio.sleep(_CONFIRM_S - min(ages_s) if ages_s else _FIRST_WAIT_S)
            return
        traded = False
        held = self._sequencer.last_held(leg)
        if held is not None:
            next_id = held[2]
        try:
            async with asyncio.timeout(self._timeouts.repair_s):
                while True:
                    page = await self._pages.get(self._symbols[leg], next_id, can_wait=True)
                    ticks = self._ticks(page, leg)
                    if (
                        held
                        and ticks
                        and ticks[0][2] == held[2]
                        and not self._is_same(held, ticks[0])
                    ):
                        self._sequencer.begin_anew(leg, ticks)
                        if len(page) == PAGE_TRADES:  # it goes on: what follows is asked for next
                            self._sequencer.note_interruption((leg,))
                            self._owner.deliver_due()
                            return
                        break
                    held = None
                    news = self._sequencer.fill(leg, ticks)
                    traded = traded or news > 0
                    if not news or len(page) < PAGE_TRADES:
                        break
                    next_id = page[-1].a + 1
        except (FeedError, TimeoutError) as error:
            if next_id != self._unknown[leg]:
                self._unknown[leg] = next_id
                _logger.warning(
                    f"cannot tell whether {self._symbols[leg]} traded while disconnected or "
                    f"stalled: {_reason(error)}; the stream continues, and the next trade's id "
                    "will tell",
                    extra=concerning([self._owner], kind="confirm"),
                )
                self._owner.note_unknown(leg)
        if not (traded and self._owner.is_stalled(leg)):
            self._sequencer.confirm(leg)
        self._owner.deliver_due()
        if self._owner.is_stalled(leg):
            await self._poll_later(leg, traded)

    async def _poll_later(self, leg: int, traded: bool) -> None:
        """Ask again, in a while, about a leg whose stream is stalled.

        If it trades, the other leg waits meanwhile: what it does is not known together with this
        one's price. If REST knows of no trade either, the market is quiet, and rows go on.
        """
        self._poll_s[leg] = (
            _STALL_POLL_S if traded else min(2 * self._poll_s[leg], _MAX_STALL_POLL_S)
        )
        self._wake[leg].clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._poll_s[leg]):
                await self._wake[leg].wait()  # it may come back, with a gap
        if self._owner.is_stalled(leg):
            self._sequencer.note_interruption((leg,))

    def _give_up(self, gap: Gap, why: str, through: int | None = None) -> None:
        missing = self._sequencer.give_up(gap.leg, through)
        if missing:
            last = gap.last if through is None else min(through, gap.last)
            _logger.warning(
                f"{self._symbols[gap.leg]}: {missing:,} trades are missing between ids "
                f"{gap.first} and {last}: {why}; the charts show the gap, and rows continue "
                "after it",
                extra=concerning([self._owner]),
            )

    def _ticks(self, page: list[RestTrade], leg: int) -> list[TickTuple]:
        received_ns = self._clock.time_ns()
        ticks: list[TickTuple] = []
        for trade in page:
            try:
                price, quantity = float(trade.p), float(trade.q)
            except ValueError:
                continue  # it stays in its gap, and is counted as missing with it
            if 0.0 < price < _INF and 0.0 < quantity < _INF:
                time_ns = trade.T * _NS_PER_MS
                ticks.append((time_ns, received_ns, trade.a, leg, price, quantity, trade.m))
        return self._owner.corrected_page(ticks)


def _reason(error: Exception) -> str:
    return (str(error) or "the REST request budget is used up").rstrip(".")


def _pause_s(tries: int) -> float:
    return float(min(_FIRST_WAIT_S * 2.0 ** min(tries, 10), _MAX_WAIT_S))
