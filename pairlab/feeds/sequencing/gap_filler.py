"""Fetches the trades that a hole lacks, within the exchange's budget and a deadline."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from pairlab.errors import FeedError
from pairlab.feeds.binance.messages import TickTuple
from pairlab.feeds.binance.rest_client import PAGE_TRADES, RestTrade
from pairlab.feeds.config import Timeouts
from pairlab.feeds.dispatch import RateLimitedLogger, TickDispatcher
from pairlab.feeds.sequencing.leg_state import Gap
from pairlab.feeds.sequencing.sequencer import Sequencer
from pairlab.feeds.sequencing.trade_pages import TradePages
from pairlab.schema import Pair

__all__ = ["GapFiller"]

_INF = float("inf")
_NS_PER_MS = 1_000_000
_FIRST_WAIT_S = 0.1  # REST can be a moment behind the stream
_MOST_WAIT_S = 5.0
_LEAST_TRIES = 2  # before the deadline counts: a blocked loop may have eaten it
_SURE_TRIES = 3  # before ids that REST leaves out count as gone: Binance keeps 48 h
_CONFIRM_S = 1.0  # silence of a leg after a reconnect, before REST is asked whether it traded
_OVERLAP_GRACE_S = 1.0  # two connections overlap: the older one may still bring it


class GapFiller:
    """Watches the sequencer's holes, one task a leg.

    Parameters
    ----------
    pair : Pair
        The symbols to ask for.
    sequencer : Sequencer
        Whose holes are filled.
    outbox : TickDispatcher
        Flushed when a hole has closed.
    pages : TradePages
        What is asked.
    journal : RateLimitedLogger
        Told of every hole that stays.
    timeouts : Timeouts
        Grace.
    patience_s : callable
        Returns how long a hole may hold back what follows it, seconds.
    repairable : bool
        False for streams whose ids REST does not know.
    links : callable
        Takes a leg, and returns the ages of the open connections that bring it, seconds.
    """

    def __init__(
        self,
        pair: Pair,
        sequencer: Sequencer,
        outbox: TickDispatcher,
        pages: TradePages,
        journal: RateLimitedLogger,
        timeouts: Timeouts,
        *,
        patience_s: Callable[[], float],
        repairable: bool,
        links: Callable[[int], list[float]],
    ) -> None:
        self._pair = pair
        self._sequencer = sequencer
        self._outbox = outbox
        self._pages = pages
        self._journal = journal
        self._timeouts = timeouts
        self._patience_s = patience_s
        self._repairable = repairable
        self._links = links
        self._wake = (asyncio.Event(), asyncio.Event())
        # When REST last brought a leg what it lacked, or the other leg's hole had to go first.
        self._news_s = [-math.inf, -math.inf]

    def notice(self) -> None:
        """Look at the holes again: one has opened."""
        for event in self._wake:
            event.set()

    async def run(self, leg: int) -> None:
        """Fill the holes of one leg, one after the other, until cancelled."""
        tries, tried = 0, -1  # of the first id missing: progress starts the count anew
        while True:
            holes = self._sequencer.holes()
            if self._sequencer.full and holes and holes[0].leg != leg:
                # To fill this leg's hole would only add to what waits for the other one; it loses
                # none of its own time by that.
                self._news_s[leg] = time.monotonic()
                await asyncio.sleep(_FIRST_WAIT_S)
                continue
            hole = next((h for h in holes if h.leg == leg), None)
            silent = next((u for u in self._sequencer.unsure() if u[0] == leg), None)
            if hole is None and silent is None:
                self._wake[leg].clear()
                tries = 0
                await self._wake[leg].wait()
                continue
            if hole is None:
                if silent is not None:
                    await self._confirm(leg, silent[1])
                continue
            if hole.first != tried:
                tried, tries = hole.first, 0
            pause_s = await self._work_on(hole, tries)
            tries += pause_s >= 0
            self._outbox.flush()
            if pause_s > 0:
                await asyncio.sleep(pause_s)

    async def _work_on(self, hole: Gap, tries: int) -> float:
        """Try once; return the seconds to wait before the next try, negative if none was made."""
        age_s = time.monotonic() - hole.since_s
        overlap = len(self._links(hole.leg)) > 1
        grace_s = _OVERLAP_GRACE_S if overlap else self._timeouts.repair_grace_s
        if age_s < grace_s:
            await asyncio.sleep(min(grace_s - age_s, self._timeouts.repair_grace_s or grace_s))
            return -1.0
        if not self._repairable:
            self._give_up(hole, "raw trades cannot be fetched without an API key")
            return -1.0
        limit_s = self._patience_s()
        # A hole that waits its turn behind others is not older than what REST brought last.
        age_s = time.monotonic() - max(hole.since_s, self._news_s[hole.leg])
        if age_s > limit_s and tries >= _LEAST_TRIES:
            self._give_up(hole, f"REST did not bring them within {limit_s:,.1f} s")
            return -1.0
        # A page costs the same whatever its length: let it reach into the holes that follow.
        limit = min(max(hole.span_last, hole.last) - hole.first + 1, PAGE_TRADES)
        patience_s = max(limit_s - age_s, self._timeouts.rest_s)
        try:
            # Waiting for the budget, or out a Retry-After, must not hold ticks for ever either.
            async with asyncio.timeout(patience_s):
                page = await self._pages.get(self._pair[hole.leg], hole.first, limit)
        except (FeedError, TimeoutError) as error:
            why = str(error) or "REST is rationed"
            self._journal.say(
                "warning",
                f"missing trades wait: {why.rstrip('.')}; they are asked for again by themselves",
                kind="repair",
            )
            return self._pause_s(tries)
        oldest = page[0].a if page else hole.first
        if oldest > hole.first and tries >= _SURE_TRIES:
            self._give_up(hole, "the exchange keeps them no longer", through=oldest - 1)
        if self._sequencer.fill(hole.leg, self._ticks(page, hole.leg)):
            self._news_s[hole.leg] = time.monotonic()
        rest = next((h for h in self._sequencer.holes() if h.leg == hole.leg), None)
        if rest is None or rest.first > hole.last:
            return 0.0
        if rest.first > hole.first:
            # Some of it: at once for the next full page, else as after a first try.
            return 0.0 if len(page) >= limit else self._pause_s(0)
        return self._pause_s(tries)

    async def _confirm(self, leg: int, next_id: int) -> None:
        """Ask REST whether a leg that is silent since a reconnect has traded meanwhile."""
        ages = self._links(leg)
        if not ages or min(ages) < _CONFIRM_S:
            # Everyone who waits for the same leg wakes at the same moment, and asks once.
            await asyncio.sleep(_CONFIRM_S - min(ages) if ages else _FIRST_WAIT_S)
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
            why = str(error) or "REST is rationed"
            self._journal.say(
                "warning",
                f"cannot tell whether {self._pair[leg]} traded while disconnected: "
                f"{why.rstrip('.')}; the stream goes on, and the next trade's id will tell",
                kind="confirm",
            )
        self._sequencer.reassure(leg)
        self._outbox.flush()

    def _give_up(self, hole: Gap, why: str, through: int | None = None) -> None:
        missing = self._sequencer.give_up(hole.leg, through)
        if missing:
            last = hole.last if through is None else min(through, hole.last)
            self._journal.say(
                "warning",
                f"{self._pair[hole.leg]}: {missing:,} trades are missing between ids "
                f"{hole.first} and {last}: {why}; the charts break there, and rows go on after it",
            )

    def _pause_s(self, tries: int) -> float:
        return float(min(_FIRST_WAIT_S * 2.0 ** min(tries, 10), _MOST_WAIT_S))

    @staticmethod
    def _ticks(page: list[RestTrade], leg: int) -> list[TickTuple]:
        received_ns = time.time_ns()
        ticks: list[TickTuple] = []
        for trade in page:
            try:
                price, quantity = float(trade.p), float(trade.q)
            except ValueError:
                continue  # it stays in its hole, and is counted as missing with it
            if 0.0 < price < _INF and 0.0 < quantity < _INF:
                time_ns = trade.T * _NS_PER_MS
                ticks.append((time_ns, received_ns, trade.a, leg, price, quantity, trade.m))
        return ticks
