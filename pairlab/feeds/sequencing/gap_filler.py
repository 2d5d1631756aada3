"""Fills gaps over REST, within the exchange's request budget and a deadline."""

from __future__ import annotations

import asyncio
import math
from typing import Final, Protocol

from pairlab.errors import FeedError
from pairlab.feeds.binance.messages import TickTuple
from pairlab.feeds.binance.rest_client import PAGE_TRADES, RestTrade
from pairlab.feeds.context import FeedContext
from pairlab.feeds.log import concerning, feed_logger
from pairlab.feeds.sequencing.leg_state import Gap
from pairlab.feeds.sequencing.sequencer import Sequencer
from pairlab.feeds.sequencing.trade_pages import TradePages
from pairlab.schema import Pair

__all__ = ["GapFiller", "GapOwner"]

_logger: Final = feed_logger(__name__)

_INF: Final = float("inf")
_NS_PER_MS: Final = 1_000_000
_FIRST_WAIT_S: Final = 0.1  # REST can be a moment behind the stream
_MAX_WAIT_S: Final = 5.0
_MIN_TRIES: Final = 2  # before the deadline counts: a blocked loop may have eaten it
_SURE_TRIES: Final = 3  # before ids that REST leaves out count as gone: Binance keeps 48 h
_CONFIRM_S: Final = 1.0  # silence of a leg after a reconnect, before REST is asked if it traded
_OVERLAP_GRACE_S: Final = 1.0  # two connections overlap: the older one may still bring it


class GapOwner(Protocol):
    """The feed whose gaps are filled, as far as its `GapFiller` knows it."""

    pair: Pair

    def deliver_due(self) -> None:
        """Hand on what is due, now that a gap has closed."""

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
    sequencer : Sequencer
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
        sequencer: Sequencer,
        pages: TradePages,
        context: FeedContext,
        *,
        repairable: bool,
    ) -> None:
        self._owner = owner
        self._pair = owner.pair
        self._sequencer = sequencer
        self._pages = pages
        self._timeouts = context.timeouts
        self._clock = context.clock
        self._repairable = repairable
        self._wake = (asyncio.Event(), asyncio.Event())
        # When REST last brought a leg what it lacked, or the other leg's gap had to go first.
        self._progress_s = [-math.inf, -math.inf]

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
        limit = min(max(gap.span_last, gap.last) - gap.first + 1, PAGE_TRADES)
        patience_s = max(limit_s - age_s, self._timeouts.rest_s)
        try:
            # Waiting for the budget, or out a Retry-After, must not hold ticks for ever either.
            async with asyncio.timeout(patience_s):
                page = await self._pages.get(self._pair[gap.leg], gap.first, limit)
        except (FeedError, TimeoutError) as error:
            _logger.warning(
                f"gap repair postponed: {_reason(error)}; will retry automatically",
                extra=concerning([self._owner], kind="repair"),
            )
            return _pause_s(tries)
        oldest = page[0].a if page else gap.first
        if oldest > gap.first and tries >= _SURE_TRIES:
            self._give_up(gap, "the exchange no longer keeps them", through=oldest - 1)
        if self._sequencer.fill(gap.leg, self._ticks(page, gap.leg)):
            self._progress_s[gap.leg] = self._clock.monotonic_s()
        rest = next((g for g in self._sequencer.open_gaps() if g.leg == gap.leg), None)
        if rest is None or rest.first > gap.last:
            return 0.0
        if rest.first > gap.first:
            # Some of it: at once for the next full page, else as after a first try.
            return 0.0 if len(page) >= limit else _pause_s(0)
        return _pause_s(tries)

    async def _confirm(self, leg: int, next_id: int) -> None:
        """Ask REST whether a leg that is silent since a reconnect has traded meanwhile."""
        ages_s = self._owner.connection_ages_s(leg)
        if not ages_s or min(ages_s) < _CONFIRM_S:
            # Every feed that waits for the same leg wakes at the same moment, and asks once.
            await asyncio.sleep(_CONFIRM_S - min(ages_s) if ages_s else _FIRST_WAIT_S)
            return
        try:
            async with asyncio.timeout(self._timeouts.repair_s):
                while True:
                    page = await self._pages.get(self._pair[leg], next_id, can_wait=True)
                    news = self._sequencer.fill(leg, self._ticks(page, leg))
                    if not news or len(page) < PAGE_TRADES:
                        break
                    next_id = page[-1].a + 1
        except (FeedError, TimeoutError) as error:
            _logger.warning(
                f"cannot tell whether {self._pair[leg]} traded while disconnected: "
                f"{_reason(error)}; the stream continues, and the next trade's id will tell",
                extra=concerning([self._owner], kind="confirm"),
            )
        self._sequencer.confirm(leg)
        self._owner.deliver_due()

    def _give_up(self, gap: Gap, why: str, through: int | None = None) -> None:
        missing = self._sequencer.give_up(gap.leg, through)
        if missing:
            last = gap.last if through is None else min(through, gap.last)
            _logger.warning(
                f"{self._pair[gap.leg]}: {missing:,} trades are missing between ids "
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
        return ticks


def _reason(error: Exception) -> str:
    return (str(error) or "the REST request budget is used up").rstrip(".")


def _pause_s(tries: int) -> float:
    return float(min(_FIRST_WAIT_S * 2.0 ** min(tries, 10), _MAX_WAIT_S))
