"""Ticks of two symbols from Binance USDⓈ-M Futures, or from anything that speaks like it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, urlsplit

import numpy as np

from pairlab.errors import DataError, FeedError
from pairlab.feeds.base import FeedHealth, FeedState, Log, Sink
from pairlab.feeds.delivery import Journal, Outbox
from pairlab.feeds.klines import Closes, fetch_closes
from pairlab.feeds.limits import Limits, RateBudget, Retry, Timeouts
from pairlab.feeds.link import Link
from pairlab.feeds.repair import Repairer
from pairlab.feeds.rest import RestClient
from pairlab.feeds.sequence import Sequencer
from pairlab.feeds.supervise import Supervisor
from pairlab.feeds.survey import Survey
from pairlab.feeds.watch import Watch
from pairlab.feeds.wire import STREAMS, Notice, WireDecoder
from pairlab.ticks import NS_PER_S, Pair

__all__ = ["LIVE_URL", "TESTNET_URL", "BinanceFeed"]

LIVE_URL: Final = "wss://fstream.binance.com"
TESTNET_URL: Final = "wss://fstream.binancefuture.com"

_REST: Final = MappingProxyType(
    {
        "fstream.binance.com": "https://fapi.binance.com",
        "fstream.binancefuture.com": "https://testnet.binancefuture.com",
    }
)
_NAMES: Final = MappingProxyType(
    {"fstream.binance.com": "BINANCE", "fstream.binancefuture.com": "BINANCE TESTNET"}
)
ROUTES: Final = MappingProxyType({"aggTrade": "market", "trade": "public", "bookTicker": "public"})
_OTHER_ROUTE: Final = MappingProxyType({"market": "public", "public": "market"})
_NS_PER_MS: Final = 1e6
_SETTLE_S: Final = 0.05


class BinanceFeed:
    """One pair's ticks: decoded, in the order of their ids, each once, with holes filled.

    Parameters
    ----------
    pair : Pair
        Symbols as the exchange writes them, e.g. ``Pair("BTCUSDT", "ETHUSDT")``.
    stream : {"aggTrade", "trade", "bookTicker"}
        Aggregated trades (the default, and the only stream whose holes REST can fill), raw trades,
        or mid prices of the best quotes.
    url : str
        ``wss://fstream.binance.com``, the testnet's, or ``ws://host:port`` of a local exchange.
    rest_url : str, optional
        Where REST is asked; follows from `url`: http on the same host and port for a local one.
    routes : mapping of str to str, optional
        The category of a stream where it is not the usual one, e.g. ``{"trade": "market"}``.
    name : str, optional
        What the screen shows; follows from `url`.
    align_s : float
        Hold each tick until the other leg has passed its time, at most so long: rows then do not
        depend on which leg's trade arrived first. 0, the default, hands ticks on as they arrive.
    timeouts, limits, retry : Timeouts, Limits, Retry
        How long to wait, how much to hold, when to try again.

    Attributes
    ----------
    on_gap : callable or None
        Called with the number of missing trades, right before the first tick after a hole that
        nobody could fill.

    Raises
    ------
    DataError
        For an unknown stream, a pair of one symbol, or a URL that is no WebSocket's.
    """

    def __init__(
        self,
        pair: Pair,
        *,
        stream: str = "aggTrade",
        url: str = LIVE_URL,
        rest_url: str | None = None,
        routes: Mapping[str, str] | None = None,
        name: str | None = None,
        align_s: float = 0.0,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        retry: Retry | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise DataError(f"url = {url!r} is not possible: ws://host:port or wss://host")
        if not 0.0 <= align_s <= 60.0:
            raise DataError(f"align_s = {align_s!r} is not possible: from 0 to 60")
        for unknown in set(routes or ()) - set(STREAMS):
            raise DataError(f"routes = {unknown!r} is not possible: keys are {', '.join(STREAMS)}")
        self.pair = Pair(*pair)
        self.stream = stream
        self.url = url.rstrip("/")
        self.on_gap: Callable[[int], None] | None = None
        host = parts.hostname
        plain = "https" if parts.scheme == "wss" else "http"
        self.rest_url = rest_url or _REST.get(host) or f"{plain}://{parts.netloc}"
        self.name = name or _NAMES.get(host) or f"LOCAL {parts.netloc}"
        self.real_money = host == "fstream.binance.com"
        self._timeouts = timeouts or Timeouts()
        self._limits = limits or Limits()
        self._retry = retry or Retry()
        self._align_ns = int(align_s * NS_PER_S)
        self._route = {**ROUTES, **(routes or {})}[stream] if stream in ROUTES else ""
        self._attempts = RateBudget(self._limits.attempts_per_5_min, 300.0)
        self._running = False
        self._starting = "not started"
        self._reset()

    def _reset(self) -> None:
        limits = self._limits
        self._decoder = WireDecoder(self.pair, self.stream, bad_frames=limits.max_bad_frames)
        self._sequencer = Sequencer(
            contiguous=self.stream != "bookTicker",
            repairable=self.stream == "aggTrade",
            align_ns=self._align_ns,
            max_held_ticks=limits.max_held_ticks,
            max_gap_trades=limits.max_gap_trades,
            on_hole=self._notice_hole,
        )
        self._outbox: Outbox | None = None
        self._repairer: Repairer | None = None
        self._watch: Watch | None = None
        self._supervisor: Supervisor | None = None
        self._links: list[Link] = []  # the first counts, a second is to replace it
        self._survey: Survey | None = None
        self._final: tuple[FeedState, str] | None = None
        self._lags = (-1.0, float("nan"), float("nan"))

    # -- what the lab asks ---------------------------------------------------------------------

    def price_decimals(self) -> tuple[int, int] | None:
        """Return the decimals of (y, x) at the symbols' tick sizes, None while unknown."""
        return self._survey.decimals if self._survey else None

    async def closes(self, timeframe: str, count: int) -> Closes:
        """Return the last closed bars of both legs; see `pairlab.feeds.klines.fetch_closes`."""
        async with RestClient(self.rest_url, timeout_s=self._timeouts.rest_s) as rest:
            return await fetch_closes(rest, self.pair, timeframe, count)

    def health(self) -> FeedHealth:
        """Return the state and the counters now."""
        sequencer, decoder = self._sequencer, self._decoder
        state, detail = self._state()
        dropped = decoder.dropped + sequencer.dropped
        supervisor = self._supervisor
        if supervisor is not None and supervisor.oversize:
            dropped["too long"] += supervisor.oversize
        if self._outbox is not None and self._outbox.refused:
            dropped["not processed"] += self._outbox.refused
        clock = self._survey.clock if self._survey else None
        offset_ns = clock.offset_ns if clock else 0
        lag_ms, p50, p99 = self._lag(offset_ns)
        return FeedHealth(
            state=state,
            detail=detail,
            ticks=self._outbox.ticks if self._outbox else 0,
            dropped=MappingProxyType(dict(dropped)),
            reconnects=max(0, supervisor.opened - 1) if supervisor else 0,
            gaps=sequencer.gaps,
            missing=sequencer.missing,
            lag_ms=lag_ms,
            bad_frames=tuple(decoder.bad),
            lag_p50_ms=p50,
            lag_p99_ms=p99,
            clock_offset_ms=offset_ns / _NS_PER_MS if clock else float("nan"),
            loop_lag_ms=self._watch.gauge.lag_s() * 1e3 if self._watch else 0.0,
            held=sequencer.held,
            repaired=sequencer.repaired,
            attempts=supervisor.tries if supervisor else 0,
        )

    def _lag(self, offset_ns: int) -> tuple[float, float, float]:
        delays = self._decoder.delays_ns
        if not delays:
            return float("nan"), float("nan"), float("nan")
        now = time.monotonic()
        if now - self._lags[0] > 0.5:  # the screen asks ten times a second
            window = np.fromiter(delays, dtype=np.int64, count=len(delays))
            p50, p99 = np.quantile(window - offset_ns, (0.5, 0.99)) / _NS_PER_MS
            self._lags = (now, float(p50), float(p99))
        return (delays[-1] - offset_ns) / _NS_PER_MS, self._lags[1], self._lags[2]

    def _state(self) -> tuple[FeedState, str]:
        if self._final is not None:
            return self._final
        supervisor = self._supervisor
        if supervisor is None:
            return "connecting", self._starting
        link = self._links[0] if self._links else None
        starting: FeedState = "reconnecting" if supervisor.was_live else "connecting"
        if link is None or link.ended:
            return starting, supervisor.detail
        if self._watch is not None and self._watch.alarm:
            return "stalled", self._watch.alarm
        if not link.live:
            waiting = " and ".join(
                f"{symbol}@{self.stream}"
                for symbol, count in zip(self.pair, link.counts, strict=True)
                if count == 0
            )
            return starting, f"connected; waiting for the first data of {waiting}"
        if holes := self._sequencer.holes():
            lost = sum(hole.last - hole.first + 1 for hole in holes)
            return "live", f"{self._sequencer.held:,} ticks wait for {lost:,} that are missing"
        if self._watch is not None and (busy := self._watch.busy()):
            return "live", busy
        return "live", "both streams deliver"

    # -- the run -------------------------------------------------------------------------------

    async def run(self, sink: Sink, log: Log) -> None:
        """Hand every tick to `sink` until cancelled or, on a recording, until it has ended.

        Raises
        ------
        FeedError
            One that is final: the location is blocked, a symbol is not listed, or the firewall
            refused again and again.
        """
        if self._running:
            raise FeedError("this feed is running already: a second run needs a feed of its own")
        self._running = True
        self._reset()
        self._starting = f"asking {self.name} for its symbols and its clock"
        journal = Journal(log)
        self._outbox = Outbox(self._sequencer, sink, self._mark_gap, journal)
        try:
            await self._run(journal, self._outbox)
            self._final = "stopped", "the recording has ended"
        except asyncio.CancelledError:
            self._final = "stopped", "stopped"
            raise
        except BaseException as error:
            self._final = "failed", str(error) or repr(error)
            raise
        finally:
            self._running = False
            self._sequencer.finish()
            self._outbox.flush()

    async def _run(self, journal: Journal, outbox: Outbox) -> None:
        async with RestClient(self.rest_url, timeout_s=self._timeouts.rest_s) as rest:
            survey = Survey(self.pair, rest, journal, self._timeouts, self._retry)
            self._survey = survey
            await survey.look()
            self._repairer = Repairer(
                self.pair,
                self._sequencer,
                outbox,
                rest,
                journal,
                self._timeouts,
                repairable=self.stream == "aggTrade",
                links=lambda: [
                    time.monotonic() - link.opened_s for link in self._links if not link.ended
                ],
            )
            try:
                async with asyncio.TaskGroup() as group:
                    self._supervisor = self._make_supervisor(group, survey, journal, outbox)
                    self._watch = self._supervisor.watch = Watch(
                        self.pair,
                        self.stream,
                        self._links,
                        journal,
                        self._timeouts,
                        self._supervisor.request,
                    )
                    helpers = (
                        group.create_task(survey.run()),
                        group.create_task(self._repairer.run(0)),
                        group.create_task(self._repairer.run(1)),
                        group.create_task(self._watch.run(self._sequencer, outbox, self._align_ns)),
                    )
                    await self._supervisor.run()
                    await self._settle()
                    for helper in helpers:
                        helper.cancel()
            except BaseExceptionGroup as errors:
                raise _first_leaf(errors) from None

    def _make_supervisor(
        self, group: asyncio.TaskGroup, survey: Survey, journal: Journal, outbox: Outbox
    ) -> Supervisor:
        def start(link: Link) -> None:
            reading = group.create_task(
                link.read(
                    self._decoder,
                    self._sequencer,
                    outbox,
                    self._limits.max_batch_ticks,
                    lambda notice: self._take_notice(link, notice, journal),
                )
            )
            reading.add_done_callback(lambda _: supervisor.wake())
            survey.again()

        async def is_quiet(link: Link, leg: int) -> bool:
            return self.stream != "bookTicker" and await survey.is_quiet(leg, link.opened_ns)

        supervisor = Supervisor(
            self._urls(),
            self._links,
            start=start,
            interrupted=self._sequencer.interrupted,
            seamless=lambda: not self._sequencer.holes(),
            is_quiet=is_quiet,
            attempts=self._attempts,
            journal=journal,
            timeouts=self._timeouts,
            limits=self._limits,
            retry=self._retry,
        )
        return supervisor

    def _urls(self) -> tuple[tuple[str, str], ...]:
        streams = "/".join(
            quote(f"{symbol.lower()}@{self.stream}", safe="@") for symbol in self.pair
        )
        routes = dict.fromkeys((self._route, _OTHER_ROUTE.get(self._route, self._route)))
        return tuple((route, f"{self.url}/{route}/stream?streams={streams}") for route in routes)

    async def _settle(self) -> None:
        """After a recording's end: let the holes be filled or given up."""
        for leg in (0, 1):
            self._sequencer.reassure(leg)
        while self._sequencer.holes():  # noqa: ASYNC110 - once, at the end of a recording
            await asyncio.sleep(_SETTLE_S)

    # -- called from below ---------------------------------------------------------------------

    def _notice_hole(self) -> None:
        if self._repairer is not None:
            self._repairer.notice()

    def _mark_gap(self, missing: int) -> None:
        if self.on_gap is not None:
            self.on_gap(missing)

    @staticmethod
    def _take_notice(link: Link, notice: Notice, journal: Journal) -> None:
        if notice.kind == "shutdown":
            link.shutdown = True
        elif notice.kind == "error":
            journal.say("warning", f"the exchange reports an error: {notice.text}", kind="error")


def _first_leaf(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that brought the others down, the exchange's own words before any other."""
    leaves: list[BaseException] = []
    todo: list[BaseException] = [errors]
    while todo:
        error = todo.pop(0)
        if isinstance(error, BaseExceptionGroup):
            todo.extend(error.exceptions)
        else:
            leaves.append(error)
    return next((leaf for leaf in leaves if isinstance(leaf, FeedError)), leaves[0])
