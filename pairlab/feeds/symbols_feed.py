"""The ticks of one symbol or of a pair, from connections that other feeds may share."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np

from pairlab.errors import FeedError, first_leaf
from pairlab.feeds.base import (
    CorrectedTimeSink,
    FeedHealth,
    FeedInfo,
    FeedState,
    LegGapSink,
    TickSink,
)
from pairlab.feeds.binance.exchange_metadata import ExchangeMetadata
from pairlab.feeds.binance.messages import ConsumedId, TickTuple
from pairlab.feeds.binance.rest_client import RestClient
from pairlab.feeds.connection.liveness import LagGauge
from pairlab.feeds.connection.session import Session, StreamSlot
from pairlab.feeds.connection.shared_connection import WILL_CONTINUE, SharedConnection
from pairlab.feeds.log import REPEAT_FILTER, concerning, feed_logger
from pairlab.feeds.sequencing.clock_guard import LegGuards, split_at_corrected
from pairlab.feeds.sequencing.gap_filler import GapFiller
from pairlab.feeds.sequencing.series_check import CheckedSequencer
from pairlab.feeds.trade_source import TradeSource
from pairlab.schema import NS_PER_S, TICK

__all__ = ["SymbolsFeed"]

_logger: Final = feed_logger(__name__)

_NS_PER_MS: Final = 1e6
_SETTLE_S: Final = 0.05  # between two looks at whether every gap has closed
_ALIGN_PERIOD_S: Final = 0.2


class SymbolsFeed:
    """Ticks of one or two symbols: decoded, in the order of their ids, each once, with gaps filled.

    `pairlab.feeds.pair.PairFeed` and `pairlab.feeds.symbol.SymbolFeed` are what groups make.

    Parameters
    ----------
    source : TradeSource
        Whose connections bring the ticks.
    symbols : tuple of str
        As the exchange writes them: one, or two different ones. A tick's leg counts them.

    Attributes
    ----------
    info : FeedInfo
        Name, kind of market and stream.
    url, rest_url : str
        Where it connects.
    """

    def __init__(self, source: TradeSource, symbols: tuple[str, ...]) -> None:
        self.symbols = tuple(symbols)
        venue = source.venue
        self.info: Final[FeedInfo] = venue.info
        self.url, self.rest_url = venue.url, venue.rest_url
        self.source: Final = source
        self._clock = source.config.clock
        self._align_ns = int(source.config.align_s * NS_PER_S)
        self._closing: asyncio.Future[None] | None = None
        self._ended = asyncio.Event()
        # Called when `waits` begins and ceases to hold: receive time of what comes too early, and
        # of the last that did.
        self.on_wait: Callable[[int], None] = lambda since_ns: None
        self.on_resume: Callable[[int], None] = lambda at_ns: None
        self._has_waited = False
        self._starting = "not started"
        self._lags = LagGauge()
        self._reset()

    def _reset(self) -> None:
        limits, venue = self.source.config.limits, self.source.venue
        self._guard = guard = LegGuards(self, len(self.symbols))
        self._sequencer = CheckedSequencer(
            contiguous=venue.contiguous,
            repairable=venue.repairable,
            align_ns=self._align_ns,
            max_held_ticks=limits.max_held_ticks,
            max_gap_trades=limits.max_gap_trades,
            on_wait=self._wake_gap_filler,
            on_new_series=self._log_new_series,
            ahead_ns=guard.limit_ns,
            clock=self._clock,
        )
        self._sink: TickSink | None = None
        self._ticks = 0
        self._refused = 0
        self._gap_filler: GapFiller | None = None
        self._metadata: ExchangeMetadata | None = None
        self._session: Session | None = None
        self._places: tuple[StreamSlot, ...] = ()
        self._decimals: tuple[int, ...] | None = None
        self._final: tuple[FeedState, str] | None = None

    @property
    def name(self) -> str:
        """The name in `info`."""
        return self.info.name

    @property
    def real_money(self) -> bool:
        """Whether it is the live market."""
        return self.info.real_money

    @property
    def stream(self) -> str:
        """The stream in `info`."""
        return self.info.stream

    # -- what the lab asks -----------------------------------------------------------------------

    def decimals(self) -> tuple[int, ...] | None:
        """Return the decimals of each symbol's tick size, None while unknown."""
        return self._decimals

    def rest_client(self) -> RestClient:
        """Return a client for other questions, with the group's budget while the feed runs."""
        rest = RestClient(
            self.rest_url,
            timeout_s=self.source.config.timeouts.rest_s,
            clock=self._clock,
            report=self._report_odd,
        )
        if self._session is not None:
            rest.budget = self._session.rest.budget
        return rest

    def _report_odd(self, text: str) -> None:
        _logger.warning(text, extra=concerning([self], kind="odd entries"))

    @property
    def dropped(self) -> Counter[str]:
        """What was dropped of this feed alone, by reason, and times that were corrected."""
        counts = {"not processed": self._refused, "stamped ahead": self._guard.count}
        return self._sequencer.dropped + Counter(counts)

    @property
    def _legs(self) -> range:
        return range(len(self.symbols))

    @property
    def waits(self) -> bool:
        """Whether older trades may still come: other symbols' must not be combined with it yet."""
        return self._sequencer.waits

    @property
    def running(self) -> bool:
        """Whether `run` is under way."""
        return self._closing is not None

    def health(self, *, with_lag: bool = True) -> FeedHealth:
        """Return the state and the counters now.

        What a connection counts (bad frames, reconnects, attempts, lag) is that of the connections
        that bring these symbols, since they exist and whoever shares them. Without `with_lag` its
        lags are NaN: a group takes those of its connections once, not for each of many feeds.
        """
        sequencer = self._sequencer
        connections = self._connections()
        state, detail = self.state()
        dropped = sum((connection.dropped for connection in connections), self.dropped)
        offset = self._metadata.clock_offset if self._metadata else None
        offset_ns = offset.offset_ns if offset else 0
        lag_ms, p50, p99 = self._lags.read(
            [connection.delays_ns for connection in connections] if with_lag else [],
            offset_ns,
            self._clock.monotonic_s(),
        )
        return FeedHealth(
            state=state,
            detail=detail,
            ticks=self._ticks,
            dropped=MappingProxyType(dict(dropped)),
            reconnects=sum(connection.reconnects for connection in connections),
            gaps=sequencer.gaps,
            missing=sequencer.missing,
            lag_ms=lag_ms,
            bad_frames=tuple(bad for connection in connections for bad in connection.decoder.bad),
            lag_p50_ms=p50,
            lag_p99_ms=p99,
            clock_offset_ms=offset_ns / _NS_PER_MS if offset else float("nan"),
            loop_lag_max_ms=max((c.loop_lag_max_s() for c in connections), default=0.0) * 1e3,
            held=sequencer.held,
            repaired=sequencer.repaired,
            attempts=sum(connection.attempts for connection in connections),
            stalled_legs=0,  # `on_interruption` sees to them
        )

    def _connections(self) -> list[SharedConnection]:
        """Return the connections that bring the legs: one, or two."""
        return list(dict.fromkeys(connection for connection, _ in self._places))

    def state(self) -> tuple[FeedState, str]:
        """Return the state now, and why, in plain words."""
        if self._final is not None:
            return self._final
        if not self._places:
            return "connecting", self._starting
        detail_live = ""
        for connection in self._connections():
            slots = [slot for other, slot in self._places if other is connection]
            state, detail = connection.state(slots)
            if state != "live":
                return state, detail
            detail_live = detail_live or detail
        if gaps := self._sequencer.open_gaps():
            missing = sum(gap.last - gap.first + 1 for gap in gaps)
            return "live", f"{self._sequencer.held:,} ticks wait for {missing:,} that are missing"
        return "live", detail_live or "both streams deliver"

    # -- the run ---------------------------------------------------------------------------------

    async def run(self, sink: TickSink) -> None:
        """Deliver every tick until cancelled, closed or, on a recording, until it has ended.

        Raises
        ------
        FeedError
            One that is final: the location is blocked, a symbol is not listed, or the firewall
            refused again and again.
        """
        if self.running:
            raise FeedError("this feed is running already: a second run needs a feed of its own")
        self._reset()
        self._starting = f"asking {self.name} for its symbols and its clock"
        REPEAT_FILTER.forget(self)
        session = self._session = self.source.enter(self)
        self._sink = sink
        self._closing = session.loop.create_future()
        self._ended.clear()
        body = asyncio.create_task(self._run(session), name=f"pairlab {self.symbols}")
        try:
            await asyncio.wait({body, self._closing}, return_when=asyncio.FIRST_COMPLETED)
            if body.done():
                body.result()
                self._final = "stopped", "the recording has ended"
            else:
                self._final = "stopped", "the group of feeds was closed"
        except asyncio.CancelledError:
            self._final = "stopped", "stopped"
            raise
        except BaseException as error:
            self._final = "failed", str(error) or repr(error)
            raise
        finally:
            body.cancel()
            await asyncio.gather(body, return_exceptions=True)
            try:
                await self.source.leave(self, session, self._places)
            finally:
                self._session = self._closing = None
                self._sequencer.accept_many(self._guard.flush())
                self._sequencer.finish()
                self.deliver_due()
                self._sink = None
                REPEAT_FILTER.forget(self)
                self._ended.set()

    async def _run(self, session: Session) -> None:
        self._metadata = session.metadata
        await session.opened()
        if session.metadata.ready.is_set():
            await self._check(session.metadata)
        self._places = session.subscribe(self, self.symbols)
        gap_filler = self._gap_filler = GapFiller(
            self,
            self._sequencer,
            session.pages,
            self.source.context,
            repairable=self.source.venue.repairable,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [
                    tasks.create_task(self._check(session.metadata)),
                    *(tasks.create_task(gap_filler.run(leg)) for leg in self._legs),
                    tasks.create_task(self._align()),
                ]
                await self._wait_ended(session)
                await self._settle()
                for helper in helpers:
                    helper.cancel()
        except BaseExceptionGroup as errors:
            raise first_leaf(errors) from None

    async def _check(self, metadata: ExchangeMetadata) -> None:
        """Check the symbols as soon as the listed ones are known."""
        info = await metadata.check(self.symbols)
        decimals = [info.decimals(symbol) for symbol in self.symbols]
        known = tuple(places for places in decimals if places is not None)
        self._decimals = known if len(known) == len(decimals) else None
        for why in filter(None, map(info.not_trading, self.symbols)):
            _logger.warning(f"{why}; {WILL_CONTINUE}", extra=concerning([self], kind=why))
        if metadata.clock_offset is not None:
            self._guard.set_offset(metadata.clock_offset.offset_ns)

    async def _wait_ended(self, session: Session) -> None:
        """Wait until the recording has ended on every connection of ours; raise what is final."""
        waiting = {session.connections[connection] for connection in self._connections()}
        while waiting:
            done, waiting = await asyncio.wait(
                {*waiting, session.task}, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
            waiting.discard(session.task)

    async def _settle(self) -> None:
        """After a recording's end: let the gaps be filled or given up."""
        for leg in self._legs:
            self._sequencer.confirm(leg)
        while self._sequencer.open_gaps():  # noqa: ASYNC110 - once, at the end of a recording
            await asyncio.sleep(_SETTLE_S)

    async def _align(self) -> None:
        """Release what has waited for the other leg long enough, until cancelled."""
        if not self._align_ns:
            return
        period_s = min(_ALIGN_PERIOD_S, self._align_ns / 2e9)
        while True:
            await asyncio.sleep(period_s)
            self._sequencer.release_older(self._clock.time_ns() - self._align_ns)
            self.deliver_due()

    async def close(self) -> None:
        """Let `run` return, and wait until it has."""
        if self._closing is not None:
            if not self._closing.done():
                self._closing.set_result(None)
            await self._ended.wait()

    # -- called from the connections -------------------------------------------------------------

    def on_items(self, items: list[TickTuple | ConsumedId]) -> None:
        """Take ticks of both legs in the order in which they arrived."""
        self._sequencer.accept_many(self._guard.corrected(items))
        self.deliver_due(max(self._sequencer.arrived_ns, self._guard.released_ns))

    def on_interruption(self, legs: Collection[int]) -> None:
        """Note that these legs may have a gap: a connection was lost, or their streams stall."""
        self._sequencer.note_interruption(legs)
        venue = self.source.venue
        if (venue.contiguous and venue.repairable) or not self._ticks:
            return
        if not venue.contiguous:
            # No id will tell what a stream of quotes has missed meanwhile: something, for sure.
            self._sequencer.gaps += 1
            self._sequencer.missing += 1
        self.note_unknown(*legs)  # nobody can be asked whether they have traded

    def has_gap(self, legs: Collection[int]) -> bool:
        """Return whether any of these legs has an open gap."""
        return any(gap.leg in legs for gap in self._sequencer.open_gaps())

    # -- called from the gap filler --------------------------------------------------------------

    def deliver_due(self, at_ns: int | None = None) -> None:
        """Hand on to the sink what is due, by items up to a receive time; by default now."""
        sink = self._sink
        if sink is None:
            return
        for missing, legs, ticks in self._sequencer.take():
            if missing:
                self._report_gap(sink, missing, legs | self._sequencer.legs_with_gaps())
            # Times are corrected so seldom that no other run need look for such ticks.
            parts = split_at_corrected(ticks) if self._guard.count else [(False, ticks)]
            for corrected, part in parts:
                self._hand_on(sink, part, corrected=corrected)
        if self._has_waited and not self.waits:
            self._has_waited = False
            self.on_resume(self._clock.time_ns() if at_ns is None else at_ns)

    def _hand_on(self, sink: TickSink, ticks: Sequence[object], *, corrected: bool) -> None:
        try:
            if corrected and isinstance(sink, CorrectedTimeSink):
                sink.on_corrected_time()
            sink.on_ticks(np.array(ticks, dtype=TICK))
            self._ticks += len(ticks)
        except Exception as error:
            # The stream must outlive a fault in what is built on it, and the fault be seen.
            self._refused += len(ticks)
            _logger.error(
                f"{len(ticks):,} ticks could not be processed: {error!r}. The stream "
                "continues; if this repeats, stop and start the lab",
                extra=concerning([self], kind="sink"),
            )

    def _report_gap(self, sink: TickSink, missing: int, legs: int) -> None:
        try:
            on_legs = sink.on_leg_gap if isinstance(sink, LegGapSink) else None
            sink.on_gap(missing) if on_legs is None else on_legs(missing, legs)
        except Exception as error:
            _logger.error(
                f"a gap of {missing:,} trades could not be marked: {error!r}. The stream continues",
                extra=concerning([self], kind="gap"),
            )

    def note_unknown(self, *legs: int) -> None:
        """Note that nobody knows whether these legs have traded during an interruption."""
        if self._sink is not None:
            self._report_gap(self._sink, 1, sum(1 << leg for leg in legs))

    def is_stalled(self, leg: int) -> bool:
        """Return whether a leg's stream is silent though its symbol may trade."""
        connection, slot = self._places[leg]
        return connection.is_stalled(slot)

    def corrected_page(self, trades: list[TickTuple]) -> list[TickTuple]:
        """Return trades that REST brought with no time ahead of the clock."""
        return self._guard.corrected_page(trades)

    def is_corrected(self, leg: int, id_: int) -> bool:
        """Return whether the newest time of a leg that was corrected is that of this id."""
        return self._guard.newest_corrected(leg) == id_

    def connection_ages_s(self, leg: int) -> list[float]:
        """Return the ages of the open connections that bring a leg, seconds."""
        return self._places[leg][0].ages_s()

    def gap_patience_s(self) -> float:
        """Return how long a gap may hold back what follows it, seconds."""
        timeouts = self.source.config.timeouts
        return timeouts.repair_s if self._session is None else self._session.gap_patience_s()

    def _log_new_series(self, leg: int, expected: int, first: int) -> None:
        _logger.warning(
            f"{self.symbols[leg]}: id {first} came where {expected} was expected: a new series has "
            "begun, which is marked as a gap; the stream continues",
            extra=concerning([self], kind=f"series {leg}"),
        )

    def _wake_gap_filler(self) -> None:
        if not self._has_waited:
            self._has_waited = True
            self.on_wait(max(self._sequencer.arrived_ns, self._guard.released_ns))
        if self._gap_filler is not None:
            self._gap_filler.wake()
