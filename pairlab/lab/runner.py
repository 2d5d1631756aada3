"""Runs a lab's background tasks on the notebook's loop: feed, engine start, rebuilds, waiters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Final
from weakref import WeakValueDictionary

from pairlab.clock import Clock
from pairlab.engine import compile_kernel
from pairlab.errors import FeedError, PairlabError, WaitTimeoutError, first_leaf
from pairlab.feeds.base import Feed, FeedHealth, FeedInfo, FeedState
from pairlab.feeds.binance.klines import KLINE_TIMEFRAMES
from pairlab.feeds.sequencing.guarded_sink import GuardedSink
from pairlab.health import Health
from pairlab.lab.event_log import EventLog
from pairlab.lab.feed.feed_factory import Source, as_source, open_feed, source_info, source_key
from pairlab.lab.feed.feed_log import feed_events
from pairlab.lab.feed.kline_loader import KlineLoader
from pairlab.lab.feed.lab_sink import LabSink
from pairlab.lab.feed.saved_settings import take_saved_settings
from pairlab.lab.feed.stalled_legs import StalledLegs
from pairlab.lab.health_report import health_report
from pairlab.lab.listeners import Listeners
from pairlab.lab.load_meter import LoadMeter
from pairlab.lab.nested_loop import guard_cells, run_on
from pairlab.lab.pipeline import Pipeline
from pairlab.lab.rebuilder import Rebuilder
from pairlab.lab.session.saved_feed import SavedFeed
from pairlab.lab.waiters import RowWaiters, check_wait
from pairlab.protocols import DisplayListener, Playback, Service
from pairlab.schema import LogEntry, LogLevel, Pair
from pairlab.settings import Settings
from pairlab.storage.replay.replay import Replay

__all__ = ["LabRunner"]

_HEARTBEAT_S: Final = 0.25
_REPEAT_WARNING_S: Final = 60.0


class LabRunner:
    """Starts and stops what a lab does in the background, and keeps its state.

    Parameters
    ----------
    pair : Pair
        The symbols.
    settings : Settings
        Of the lab; its pipeline observes them.
    source : Source
        What ``feed=`` was given.
    stream : str or None
        What a tick is; None: what the feed has.
    clock : Clock
        Read for rates, latencies and the times of log entries.

    Attributes
    ----------
    pipeline : Pipeline
        Ticks, rows, alerts.
    event_log : EventLog
        The newest messages.
    loop : asyncio.AbstractEventLoop or None
        On which it was started.
    listeners : Listeners
        Functions of the user's.
    playback : Playback or None
        The transport of a replay; None for any other feed.
    """

    _running: ClassVar[WeakValueDictionary[tuple[str, ...], LabRunner]] = WeakValueDictionary()
    _closing: ClassVar[dict[tuple[str, ...], set[asyncio.Task[None]]]] = {}

    def __init__(
        self, pair: Pair, settings: Settings, source: Source, stream: str | None, clock: Clock
    ) -> None:
        self.pair: Final = pair
        self.settings: Final = settings
        self.clock: Final = clock
        self.pipeline: Final = Pipeline(settings, self._rebuild_wanted, clock)
        source = as_source(source, stream)
        self.source: Final = source
        self._asked_stream: Final = stream
        self.playback: Final[Playback | None] = source if isinstance(source, Replay) else None
        if isinstance(source, Replay):
            source.restart = self.start  # played again, or sought in, after its end
        info = source_info(source, stream)
        self._name, self._real_money, self.stream = info.name, info.real_money, info.stream
        self._key: Final = (pair.y, pair.x, self.stream, source_key(source))
        self._feed: Feed | None = None
        self._guarded: GuardedSink | None = None  # what stands before a feed of the user's own
        self._decimals: tuple[int, int] | None = None
        self._displays: list[DisplayListener] = []
        self._services: list[Service] = []
        self.event_log: Final = EventLog(self._refresh_displays)
        self.listeners: Final = Listeners(self.log, clock)
        self._rebuilder = Rebuilder(self.pipeline, self.listeners.notify)
        self._klines = KlineLoader(self.pipeline, self.log)
        self._stalled = StalledLegs(pair, self.pipeline, self.log)
        self._load = LoadMeter(clock, _HEARTBEAT_S)
        self._warned_s = float("-inf")
        self.loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None  # while the feed runs
        self._before: set[asyncio.Task[None]] = set()  # what must end before a run begins
        self._ending: set[asyncio.Task[None]] = set()
        self._waiters = RowWaiters(lambda: self.pipeline.row_count)
        self._sink: Final = LabSink(
            self.pipeline, self._stalled, self._waiters, self.listeners,
            lambda: self._klines.request(),
        )  # fmt: skip
        self._state: FeedHealth = FeedHealth("stopped", "not started")
        if isinstance(source, SavedFeed):
            self._state, self._decimals = source.health(), source.price_decimals()

    # -- start and stop -------------------------------------------------------------------------

    def start(self) -> None:
        """Begin on the running loop and return at once; see `PairLab.start`."""
        if self.running:
            return
        if isinstance(self.source, SavedFeed):
            raise self.source.refuse()
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            raise PairlabError(
                "start() needs a running event loop: a notebook has one; in a script write "
                "'async with PairLab(...) as lab:' inside asyncio.run(...)"
            ) from None
        guard_cells()
        closing = LabRunner._closing.setdefault(self._key, set())
        before = LabRunner._running.get(self._key)
        LabRunner._running[self._key] = self
        if before is not None and before is not self:
            # A task of its own: it must come to its end even if this lab is stopped at once.
            task = self.loop.create_task(before._close_replaced(), name="pairlab close replaced")
            closing.add(task)
            task.add_done_callback(closing.discard)
        self._state = FeedHealth("connecting", "starting")
        self._load.start(self.pipeline.next_tick)
        name = f"pairlab {self.pair.y}/{self.pair.x}"
        self._before = {*closing, *self._ending}
        self._main = self.loop.create_task(self._run(self._before), name=name)

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        main = self._main
        return main is not None and not main.done() and not main.get_loop().is_closed()

    @property
    def started(self) -> bool:
        """Whether it was started and not stopped; the feed may have ended meanwhile."""
        return self._main is not None

    async def stop(self) -> None:
        """End the feed and every task; what was gathered stays. A second call does nothing."""
        await run_on(self.loop if self.started else None, self._stop)

    async def _stop(self) -> None:
        await self._stop_run()
        await self.wait_replaced()  # stopped so soon that the lab it replaces is still closing

    async def _stop_run(self) -> None:
        main, self._main = self._main, None
        if main is not None and not main.get_loop().is_closed():
            main.cancel()
            services, self._services = self._services, []
            end = self._end(main, services, asyncio.current_task())
            task = asyncio.get_running_loop().create_task(end, name="pairlab stop")
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        if self._ending:
            await asyncio.wait(set(self._ending))

    async def _end(
        self,
        main: asyncio.Task[None],
        services: list[Service],
        caller: asyncio.Task[Any] | None,
    ) -> None:
        await asyncio.wait({main})
        if self._main is None and self._state.state != "failed":  # not started again meanwhile
            self._set_terminal_state("stopped", "stopped")
        for display in tuple(self._displays):
            self.listeners.call(display.finish)
        for service in services:
            try:
                await service.stop()
            except Exception as error:
                self.log("error", f"a service could not be stopped: {error!r}")
        await self.listeners.finish(caller)

    async def _close_replaced(self) -> None:
        """Make room for another lab on the same pair, feed and stream."""
        with contextlib.suppress(PairlabError):  # on a loop that stands still it does not run
            await run_on(self.loop if self.running else None, self._stop_run)
        displays, self._displays = self._displays, []
        for display in displays:
            self.listeners.call(display.close)

    async def _run(self, before: set[asyncio.Task[None]]) -> None:
        """Live from start to stop, once what was here before has ended."""
        try:
            if before:
                await asyncio.wait(before)
            self._state = FeedHealth("connecting", "starting")
            for display in tuple(self._displays):
                self.listeners.call(display.start)
            await self._live()
        except asyncio.CancelledError:
            self._set_terminal_state("stopped", "stopped")
            raise
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            # A background error belongs on the screen, never in a task that nobody awaits.
            leaf = first_leaf(error)
            detail = str(leaf)
            if not isinstance(leaf, PairlabError):
                detail = f"{type(leaf).__name__}: {leaf}. Stop and start the lab to try again."
            self._set_terminal_state("failed", detail)
            self.log("error", detail)
        finally:
            try:
                self._rebuilder.run_now()
            except Exception as error:
                self.log(
                    "error",
                    f"could not rebuild the metrics: {type(error).__name__}: {error}. The old "
                    "rows stay; start the lab to retry",
                )
            self._waiters.fail(self._ended)

    async def _live(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stream = self._asked_stream
            feed = await open_feed(self.source, self.pair, stream, stack, clock=self.clock)
            take_saved_settings(feed, self.pipeline, self.log)
            info, self._feed = feed.info, feed
            self._name, self._real_money, self.stream = info.name, info.real_money, info.stream
            stack.enter_context(feed_events(feed, self.event_log.add, self.clock))
            self.pipeline.measures_latency = not info.replay
            if self.pipeline.next_tick and not info.replay:  # that one resets
                self.pipeline.on_gap(None)  # a second start: what came in between was never seen
            self._klines = KlineLoader(self.pipeline, self.log)  # its events belong to one loop
            async with asyncio.TaskGroup() as group:
                self._group = group
                try:
                    heartbeat = group.create_task(self._heartbeat(), name="pairlab heartbeat")
                    klines = group.create_task(self._klines.run(feed), name="pairlab klines")
                    engine_started = group.create_task(self._start_engine(), name="pairlab engine")
                    if info.replay:
                        await engine_started  # it can wait: no tick of it need be missed
                    if info.checks_times:
                        await feed.run(self._sink)
                    else:
                        self._guarded = GuardedSink(self._sink, feed)
                        await feed.run(self._guarded)
                        self._guarded.flush()
                    await engine_started
                    klines.cancel()
                    heartbeat.cancel()
                finally:
                    self._group = None
            self._set_terminal_state("stopped", feed.health().detail)
            self.log("info", self._state.detail)

    def _ended(self) -> PairlabError:
        """Return the error for somebody who waits for rows that cannot come."""
        if self._state.state == "failed":
            return FeedError(self._state.detail)
        return PairlabError(f"no more rows will come: {self._state.detail}")

    def _set_terminal_state(self, state: FeedState, detail: str) -> None:
        """Keep the feed's counters and replace its state."""
        self._state = replace(self.feed_health(), state=state, detail=detail)
        self._decimals = self.price_decimals()
        self._feed = None

    async def _heartbeat(self) -> None:
        """Measure the loop's own lateness, and the rate of ticks."""
        while True:
            before_s = self.clock.monotonic_s()
            await asyncio.sleep(_HEARTBEAT_S)
            self._log_warnings(self._load.sample(self.pipeline.next_tick, before_s))
            self.listeners.call(self._look_at_feed)

    def _look_at_feed(self) -> None:
        if self._feed is not None:
            self._stalled.look(self._feed.health())

    def _log_warnings(self, now_s: float) -> None:
        """Put a warning about the numbers on the screen, again only after a quiet minute."""
        warnings = self.pipeline.warnings()
        if warnings:
            if now_s - self._warned_s > _REPEAT_WARNING_S:
                for warning in warnings:
                    self.log("warning", warning)
            self._warned_s = now_s

    # -- ticks to rows --------------------------------------------------------------------------

    async def _start_engine(self) -> None:
        """Compile off the loop; the pipeline then catches up with the ticks that came meanwhile."""
        if self.pipeline.engine is not None:
            if self.pipeline.needs_rebuild:
                self._rebuild_wanted()  # the last run ended before its rebuild did
            return
        loop = asyncio.get_running_loop()

        def progress(text: str) -> None:
            loop.call_soon_threadsafe(self.log, "info", text)

        await asyncio.to_thread(compile_kernel, progress)
        if self.settings.timeframe in KLINE_TIMEFRAMES:
            await self._klines.tried()  # warm from the first row
        self.pipeline.start_engine()
        self._sink.tell()

    def _rebuild_wanted(self) -> None:
        self._rebuilder.request(self._group)

    async def wait_closed(self) -> None:
        """Wait until the feed has ended, by itself or by `stop`."""
        if self.running:
            await run_on(self.loop, self._wait_closed)

    async def _wait_closed(self) -> None:
        if self._main is not None:
            await asyncio.wait({self._main})

    async def wait_async(self, rows: int = 1, timeout_s: float = 30.0) -> None:
        """Do as `wait`, for code that awaits.

        Parameters
        ----------
        rows : int
            How many, counted since the lab was made.
        timeout_s : float
            How long to wait at most.

        Raises
        ------
        SettingError, WaitTimeoutError, FeedError, PairlabError
            As `wait` does.
        """
        check_wait(rows, timeout_s)
        if self.pipeline.row_count >= rows and self._state.state != "failed":
            return
        if not self.running:
            raise self._ended()
        try:
            await run_on(self.loop, lambda: self._waiters.wait(rows, timeout_s))
        except TimeoutError:
            feed = self.feed_health()
            raise WaitTimeoutError(
                f"{self.pipeline.row_count:,} of {rows:,} rows after {timeout_s:g} s; the feed is "
                f"{feed.state}: {feed.detail}"
            ) from None

    # -- displays, listeners, log ---------------------------------------------------------------

    def call_on_loop(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the lab's loop, from whatever thread a widget's message came on.

        Parameters
        ----------
        function : callable
            Called at once where there is no loop yet.
        *args
            Its arguments.
        """
        if self.loop is None or self.loop.is_closed():
            function(*args)
        else:
            self.loop.call_soon_threadsafe(function, *args)

    def log(self, level: LogLevel, message: str) -> None:
        """Add a line to the event log.

        Parameters
        ----------
        level : {"info", "warning", "error"}
            How much it matters.
        message : str
            What happened, and what to do.
        """
        self.event_log.add(LogEntry(self.clock.time_ns(), level, message))

    def _refresh_displays(self) -> None:
        for display in tuple(self._displays):
            self.listeners.call(display.refresh)

    def attach(self, display: DisplayListener) -> None:
        """Notify a display when the lab starts, stops, logs something, or is replaced."""
        self._displays.append(display)

    def add_service(self, service: Service) -> None:
        """Stop `service` when the lab stops."""
        self._services.append(service)

    async def wait_replaced(self) -> None:
        """Wait until the lab that this one replaces is closed: it may still hold a port."""
        if before := {task for task in self._before if not task.done()}:
            await asyncio.wait(before)

    def price_decimals(self) -> tuple[int, int] | None:
        """Return the decimals of both symbols' tick sizes.

        Returns
        -------
        tuple of int or None
            Of y and of x; None while they are not known.
        """
        return self._feed.price_decimals() if self._feed is not None else self._decimals

    def feed_health(self) -> FeedHealth:
        """Return how the feed is, or was when it ended."""
        return self._feed.health() if self._feed is not None else self._state

    @property
    def feed_info(self) -> FeedInfo:
        """What the feed is, as far as known before it runs."""
        return FeedInfo(self._name, self._real_money, self.stream)

    def health(self) -> Health:
        """Return how feed, engine and loop are.

        Returns
        -------
        Health
            At this moment.
        """
        return health_report(
            self.feed_info,
            self.feed_health(),
            self.pipeline,
            self._load,
            running=self._main is not None and not self._main.done(),
            stamped_ahead=0 if self._guarded is None else self._guarded.count,
        )
