"""A logical connection that survives reconnects and fans messages out to subscribers."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Collection
from typing import Final

from pairlab.errors import FeedError, first_leaf
from pairlab.feeds.base import FeedState
from pairlab.feeds.binance.exchange_metadata import ExchangeMetadata
from pairlab.feeds.binance.messages import WireDecoder
from pairlab.feeds.binance.venue import Venue
from pairlab.feeds.connection.connection import Connection
from pairlab.feeds.connection.connection_health import ConnectionHealth
from pairlab.feeds.connection.fanout import Fanout, Subscriber
from pairlab.feeds.connection.liveness import LoopGauge, SuspendGauge, why_blocked
from pairlab.feeds.connection.reconnect import Dialer
from pairlab.feeds.connection.stall_detector import (
    Findings,
    ReplacementReason,
    StallDetector,
    in_words,
)
from pairlab.feeds.context import FeedContext
from pairlab.feeds.log import concerning, feed_logger

__all__ = ["WILL_CONTINUE", "SharedConnection"]

_logger: Final = feed_logger(__name__)

WILL_CONTINUE: Final = "the feed continues by itself once it trades"
_OBSERVE_S: Final = 0.2  # between two observations of who is silent
_TAKEOVER_CHECK_S: Final = 0.05  # between two looks at whether a new connection has taken over


class SharedConnection:
    """Keeps one connection open for its streams: opens it, observes it, replaces it.

    It owns the sockets: the active one, and during a replacement a candidate beside it.

    Parameters
    ----------
    venue : Venue
        Where to connect.
    metadata : ExchangeMetadata
        Knows whether a silent market is quiet; refreshed for each new connection.
    context : FeedContext
        Timeouts, limits, retry policy, throttle and clock.

    Attributes
    ----------
    decoder : WireDecoder
        Of every frame; counts what it drops.
    """

    def __init__(self, venue: Venue, metadata: ExchangeMetadata, context: FeedContext) -> None:
        self.decoder = WireDecoder((), venue.stream, bad_frames=context.limits.max_bad_frames)
        self._venue = venue
        self._metadata = metadata
        self._context = context
        self._clock = context.clock
        self._fanout = Fanout(venue, self.decoder)
        self._dialer = Dialer(venue, context, self._fanout)
        self._detector = StallDetector(context.timeouts)
        self._gauge = LoopGauge(
            _OBSERVE_S, context.timeouts.blocked_s, now_s=self._clock.monotonic_s()
        )
        self._suspend_gauge = SuspendGauge()
        self._active: Connection | None = None
        self._candidate: Connection | None = None
        self._concluded: Connection | None = None  # the last one that has ended and been reported
        self._reason: ReplacementReason | None = None  # why the active one is to be replaced
        self._wake = asyncio.Event()  # it has ended, or there is such a reason
        self._probes: asyncio.Queue[tuple[Connection, tuple[int, ...]]] = asyncio.Queue()
        self._route = 0  # index into the venue's routes
        self._silences = 0  # replacements of a silent connection since one took over
        self._oversize = 0
        self._was_live = False
        self._disturbed_s = -math.inf  # when a stream last fell silent, or broke off

    # -- subscribers -----------------------------------------------------------------------------

    @property
    def symbols(self) -> Collection[str]:
        """The symbols whose streams are wanted."""
        return self._fanout.slots.keys()

    def subscribers(self, symbol: str) -> list[Subscriber]:
        """Return who has a symbol's ticks."""
        slot = self._fanout.slots.get(symbol)
        return [] if slot is None else self._fanout.subscribers([slot])

    @property
    def room(self) -> int:
        """Streams that can be added."""
        return self._context.limits.max_streams - len(self._fanout.slots)

    def subscribe(self, symbol: str, subscriber: Subscriber, leg: int) -> int:
        """Let a subscriber have a symbol's ticks, and return their slot."""
        new = symbol not in self._fanout.slots
        slot = self._fanout.add(symbol, subscriber, leg)
        if new:
            self._detector.add(slot, f"{symbol}@{self._venue.stream}")
            self._update_subscriptions()
        return slot

    def unsubscribe(self, symbol: str, subscriber: Subscriber, leg: int) -> None:
        """Take that back; a stream without a subscriber is unsubscribed."""
        slot = self._fanout.slots[symbol]
        self._fanout.remove(symbol, subscriber, leg)
        if symbol not in self._fanout.slots:
            self._detector.remove(slot)
            self._update_subscriptions()

    def _update_subscriptions(self) -> None:
        for connection in self._sockets():
            connection.set_subscriptions(self._fanout.streams())

    def _sockets(self) -> list[Connection]:
        """Return the open connections, the active one first."""
        both = (_unless_ended(self._active), _unless_ended(self._candidate))
        return [connection for connection in both if connection is not None]

    # -- the run ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the connection open until cancelled or, on a recording, until it has ended.

        Raises
        ------
        FeedError
            One that is final.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = (
                    tasks.create_task(self._observe_loop()),
                    tasks.create_task(self._probe_loop()),
                )
                await self._stay_connected(tasks)
                for helper in helpers:
                    helper.cancel()
        except BaseExceptionGroup as errors:
            raise first_leaf(errors) from None

    async def _stay_connected(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            route = self._venue.routes[self._route]
            connection = await self._dialer.dial_persistently(route)
            self._start(connection, tasks)
            self._active, self._reason = connection, None
            while not connection.ended:
                await self._wake.wait()
                self._wake.clear()
                reason = self._reason
                if reason is not None and not connection.ended:
                    connection = await self._replace(connection, reason, tasks)
                    self._reason = None
            self._conclude(connection)
            if connection.orderly:
                return

    def _start(self, connection: Connection, tasks: asyncio.TaskGroup) -> None:
        """Read from a connection that has opened, and keep its subscriptions up to date."""
        reading = tasks.create_task(
            connection.read(self.decoder, self._fanout.deliver, self._log_exchange_error)
        )
        subscribing = tasks.create_task(connection.subscription_loop())
        reading.add_done_callback(lambda _: subscribing.cancel())
        reading.add_done_callback(lambda _: self._wake.set())
        connection.set_subscriptions(self._fanout.streams())
        self._metadata.request_refresh()

    def _log_exchange_error(self, text: str) -> None:
        _logger.warning(
            f"the exchange reports an error: {text}; the stream continues, or else stop and "
            "start the lab",
            extra=concerning(self._fanout.subscribers(), kind="error"),
        )

    def _conclude(self, connection: Connection) -> None:
        """Account for a connection that has ended, and report it."""
        self._concluded = connection
        had_data = connection.counts.total() > 0
        self._was_live = self._was_live or had_data
        self._oversize += connection.oversize
        age_s = self._clock.monotonic_s() - connection.opened_s
        healthy = had_data and age_s >= self._context.timeouts.healthy_after_s
        self._dialer.note_end(connection.ended, healthy=healthy)
        if not connection.orderly:
            _logger.warning(
                f"{connection.ended}; reconnecting",
                extra=concerning(self._fanout.subscribers(), kind="ended"),
            )
            self._disturbed_s = self._clock.monotonic_s()
            self._fanout.interrupt()

    # -- replacement -----------------------------------------------------------------------------

    async def _replace(
        self, connection: Connection, reason: ReplacementReason, tasks: asyncio.TaskGroup
    ) -> Connection:
        """Replace a connection, if that helps, and return the one that counts now."""
        routes = self._venue.routes
        route = self._route
        if reason.kind == "silent":
            # The other route first; if that is silent too, this one may only need a new connection.
            self._silences += 1
            route = (self._route + self._silences) % len(routes)
        everyone = self._fanout.subscribers()
        _logger.info(
            f"{reason.why}: opening another connection", extra=concerning(everyone, kind="replace")
        )
        try:
            if self._context.throttle.wait_s() > 0:
                raise FeedError("another connection has to wait: too many attempts lately")
            candidate = await self._dialer.dial(routes[route])
        except FeedError as error:
            # Even a final refusal ends nothing while the old connection delivers.
            self._dialer.note_refusal(error)
            words = str(error).rstrip(".")
            _logger.warning(
                f"{words}; the old connection stays in use",
                extra=concerning(self._fanout.subscribers(), kind="open"),
            )
            self._detector.note_replacement(reason, replaced=False)
            return connection
        self._start(candidate, tasks)
        self._candidate = candidate
        took_over = await self._overlap(connection, candidate, reason)
        self._detector.note_replacement(reason, replaced=took_over)
        old, new = (connection, candidate) if took_over else (candidate, connection)
        self._active, self._candidate = new, None
        if not old.ended:
            await old.close("replaced")
        if took_over:
            self._route, self._silences = route, 0
            self._was_live = self._was_live or connection.counts.total() > 0
        return new

    async def _overlap(
        self, connection: Connection, candidate: Connection, reason: ReplacementReason
    ) -> bool:
        """Wait for the candidate to deliver what the old one did; return whether it does."""
        needed = reason.slots or tuple(s for s in connection.slots if connection.counts[s])
        planned = reason.kind in ("age", "shutdown")
        while True:
            if candidate.ended:
                return False
            if candidate.delivers(needed) and (connection.ended or not self._fanout.has_gap()):
                return True
            if self._detector.age_s(candidate.number) > self._context.timeouts.first_data_s:
                # A quiet market shows nothing on any connection: a planned change goes ahead, and
                # of several streams that are silent some may be for good.
                return planned or any(candidate.counts[slot] for slot in needed)
            if connection.ended:
                if connection.orderly or candidate.route != connection.route:
                    return False  # a route that has shown nothing must not take over
                self._fanout.interrupt()
                return True
            await asyncio.sleep(_TAKEOVER_CHECK_S)

    # -- observation -----------------------------------------------------------------------------

    async def _observe_loop(self) -> None:
        """Observe who is silent, five times a second, until cancelled."""
        while True:
            self._gauge.rest(self._clock.monotonic_s(), time.process_time())
            await asyncio.sleep(_OBSERVE_S)
            awake_s, blocked_s = self._gauge.tick(self._clock.monotonic_s(), time.process_time())
            if suspended_s := self._suspend_gauge.read():
                _logger.info(
                    f"this machine was suspended for {suspended_s:,.0f} s: the connection is "
                    "checked, and trades that were missed are fetched",
                    extra=concerning(self._fanout.subscribers(), kind="suspended"),
                )
            if blocked_s:
                connected = _unless_ended(self._active) is not None
                waited = "; ticks waited in the socket and are read now" if connected else ""
                _logger.info(
                    self._why_blocked(blocked_s) + waited,
                    extra=concerning(self._fanout.subscribers(), kind="blocked"),
                )
            await self._observe(awake_s)

    def _why_blocked(self, blocked_s: float) -> str:
        since_s = self._clock.monotonic_s() - self._disturbed_s
        return why_blocked(blocked_s, since_s, idle=self._gauge.idle_block)

    async def _observe(self, awake_s: float) -> None:
        active, candidate = _unless_ended(self._active), _unless_ended(self._candidate)
        findings = self._detector.observe(
            None if active is None else active.activity(),
            None if candidate is None else candidate.activity(),
            awake_s,
        )
        if active is not None:
            self._act(active, findings)
        for connection in (active, candidate):
            if connection is None:
                continue
            silent_s = self._detector.silent_s(connection.number)
            if not await connection.heartbeat(silent_s, awake_s):
                connection.fail("the connection is half-open: a ping was not answered")

    def _act(self, active: Connection, findings: Findings) -> None:
        """Do what an observation of the active connection leads to."""
        if findings.probes:
            self._probes.put_nowait((active, findings.probes))
        if findings.alarms or findings.resumed:
            self._disturbed_s = self._clock.monotonic_s()
        for alarm in findings.alarms:
            feeds = self._fanout.subscribers(alarm.slots)
            _logger.warning(alarm.why, extra=concerning(feeds))
            self._fanout.interrupt(alarm.slots)  # the other leg must not go on without it
            self._metadata.request_status()  # it may have been delivered or settled
        if findings.resumed:
            feeds = self._fanout.subscribers(findings.resumed)
            _logger.info("data resumed", extra=concerning(feeds))
        for reason in findings.replacements:
            if reason.slots and all(map(self._why_closed, reason.slots)):
                # No connection brings what is not traded.
                self._detector.note_replacement(reason, replaced=False)
            elif self._reason is None:
                self._reason = reason
                self._wake.set()

    def _why_closed(self, slot: int) -> str:
        """Return in a sentence why a stream's symbol does not trade; empty if it does."""
        return self._metadata.not_trading(self.decoder.symbol(slot))

    async def _probe_loop(self) -> None:
        """Ask REST about silent streams whose markets may be quiet, until cancelled."""
        while True:
            connection, slots = await self._probes.get()
            answers = await asyncio.gather(*(self._is_quiet(connection, s) for s in slots))
            findings = self._detector.note_probes(
                connection.number, dict(zip(slots, answers, strict=True))
            )
            if self._active is connection:
                self._act(connection, findings)

    async def _is_quiet(self, connection: Connection, slot: int) -> bool:
        if self._why_closed(slot):
            return True
        # Quotes have no trades to compare with: the other route will tell.
        return self._venue.contiguous and await self._metadata.is_quiet(
            self.decoder.symbol(slot), connection.since_ns[slot]
        )

    # -- health ----------------------------------------------------------------------------------

    @property
    def attempts(self) -> int:
        """Connections tried."""
        return self._dialer.attempts

    @property
    def reconnects(self) -> int:
        """Connections opened after the first."""
        return max(0, self._dialer.opened - 1)

    @property
    def dropped(self) -> Counter[str]:
        """Frames dropped before they were assigned to a feed, by reason."""
        return self.decoder.dropped + Counter({"too long": self._oversize})

    @property
    def delays_ns(self) -> deque[int]:
        """Receive time minus event time of the last ticks."""
        return self.decoder.delays_ns

    def loop_lag_max_s(self) -> float:
        """Return the longest time the loop was late in the last ten seconds."""
        return self._gauge.lag_max_s(self._clock.monotonic_s())

    def ages_s(self) -> list[float]:
        """Return the ages of the open connections, seconds."""
        now_s = self._clock.monotonic_s()
        return [now_s - connection.opened_s for connection in self._sockets()]

    def is_stalled(self, slot: int) -> bool:
        """Return whether a stream is silent though its symbol may trade."""
        return slot in self._detector.alarms and not self._why_closed(slot)

    def state(self, slots: Collection[int]) -> tuple[FeedState, str]:
        """Return the state of these streams, and why."""
        last = self._active
        had_data = self._was_live or (last is not None and last.counts.total() > 0)
        starting: FeedState = "reconnecting" if had_data else "connecting"
        active = _unless_ended(last)
        if active is None:
            # Ended, and not yet concluded: another one is being opened already.
            ended = "" if last is None or last is self._concluded else last.ended
            return starting, ended or self._dialer.detail
        starting = "reconnecting" if self._was_live else "connecting"
        for slot in slots:
            silent = not active.counts[slot] or slot in self._detector.alarms
            if silent and (why := self._why_closed(slot)):
                return "stalled", f"{why}; {WILL_CONTINUE}"
        for slot in slots:
            if alarm := self._detector.alarms.get(slot):
                return "stalled", alarm
        if waiting := [slot for slot in slots if not active.counts[slot]]:
            names = (f"{self.decoder.symbol(slot)}@{self._venue.stream}" for slot in waiting)
            return starting, f"connected; waiting for the first data of {in_words(names)}"
        if blocked_s := self._gauge.recent_block_s(self._clock.monotonic_s()):
            return "live", f"{self._why_blocked(blocked_s)}; catching up"
        return "live", ""

    def health(self) -> ConnectionHealth:
        """Return the state and the counters now."""
        slots = self._fanout.slots.values()
        active = _unless_ended(self._active)
        silent = len(slots) if active is None else sum(not active.counts[s] for s in slots)
        state, detail = self.state(slots)
        if active is not None and state != "stalled" and silent < len(slots):
            # Some symbols trade once an hour: a connection lives by those that do.
            state = "live"
        return ConnectionHealth(
            state=state,
            detail=detail or "every stream delivers",
            route="" if active is None else active.route,
            streams=len(slots),
            silent=silent,
            reconnects=self.reconnects,
            attempts=self.attempts,
        )


def _unless_ended(connection: Connection | None) -> Connection | None:
    return None if connection is None or connection.ended else connection
