"""What lives between start and stop: feed, engine and waiters on the notebook's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar, Final, Self
from weakref import WeakValueDictionary

from pairlab.engine import compile_kernel
from pairlab.errors import FeedError, PairlabError, SettingError, WaitTimeoutError
from pairlab.feeds.base import Feed, FeedHealth
from pairlab.feeds.binance.klines import KLINE_TIMEFRAMES
from pairlab.lab.event_log import feed_events
from pairlab.lab.feed_factory import Source, open_feed, source_info, source_key
from pairlab.lab.listeners import Listeners
from pairlab.lab.pipeline import Pipeline
from pairlab.protocols import DisplayListener, Service
from pairlab.schema import LogEntry, LogLevel, Pair, Records
from pairlab.settings import SETTINGS, Settings, unknown_setting

__all__ = ["LabRunner"]

_DEFAULT_PAIR: Final = Pair("BTCUSDT", "ETHUSDT")
_PULSE_S: Final = 0.25
_WARN_AGAIN_S: Final = 60.0


class _FeedSink:
    """Takes a feed's ticks and gaps for a lab; raises only what the pipeline raises."""

    def __init__(self, lab: LabRunner) -> None:
        self._lab = lab

    def on_ticks(self, ticks: Records) -> None:
        lab = self._lab
        lab._pipeline.take(ticks)
        if lab._waiters:
            lab._wake()
        lab._listeners.notify()

    def on_gap(self, missing: int) -> None:
        self._lab._pipeline.mark_gap()


class LabRunner:
    """The life of a lab: its tasks from start to stop, and what they bring together.

    See `pairlab.lab.pair_lab.PairLab`, which is this with everything that a user asks of it.
    """

    _labs: ClassVar[WeakValueDictionary[tuple[str, ...], LabRunner]] = WeakValueDictionary()
    _closing: ClassVar[dict[tuple[str, ...], set[asyncio.Task[None]]]] = {}

    def __init__(
        self,
        y: str = _DEFAULT_PAIR.y,
        x: str = _DEFAULT_PAIR.x,
        *,
        feed: Source = "binance",
        stream: str | None = None,
        **settings: Any,
    ) -> None:
        for name in settings:
            if name not in SETTINGS:
                raise unknown_setting(name, ("feed", "stream"))
        if y == x:
            raise SettingError("x", x, "the legs of a pair must be two different symbols")
        if stream not in (None, "aggTrade", "trade", "bookTicker"):
            raise SettingError("stream", stream, "one of 'aggTrade', 'trade', 'bookTicker'")
        self.pair: Final = Pair(y, x)
        self.settings: Final = Settings(**settings)
        if self.pair != _DEFAULT_PAIR:
            self.settings.need_own_ratio()
        self._source: Final = feed
        self._asked_stream: Final = stream
        info = source_info(feed, stream)
        self._name, self._real_money, self._stream = info.name, info.real_money, info.stream
        self._key: Final = (y, x, self._stream, source_key(feed))
        self._feed: Feed | None = None
        self._decimals: tuple[int, int] | None = None
        self._pipeline: Final = Pipeline(self.settings, self._rebuild_wanted)
        self.event_log: Final[deque[LogEntry]] = deque(maxlen=1000)
        self.event_log_total = 0
        self._rates: deque[tuple[float, int]] = deque(maxlen=int(2 / _PULSE_S) + 1)
        self._loop_lag_s = 0.0
        self._warned_s = float("-inf")
        self.loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None  # while the feed runs
        self._rebuilding: asyncio.Task[None] | None = None
        self._before: set[asyncio.Task[None]] = set()  # what must end before a run begins
        self._ending: set[asyncio.Task[None]] = set()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._views: list[DisplayListener] = []
        self._services: list[Service] = []
        self._listeners: Final = Listeners(self.note)
        self._state: FeedHealth = FeedHealth("stopped", "not started")
        self._started_s = float("nan")

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> Self:
        """Begin on the running loop and return at once; a second call does nothing.

        A lab on the same pair, feed and stream that runs already is replaced: its tasks, sockets
        and widgets end first.

        Raises
        ------
        PairlabError
            Outside a running event loop (a plain script: use ``async with PairLab(…)``).
        """
        if self.running:
            return self
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            raise PairlabError(
                "start() needs a running event loop: a notebook has one; in a script write "
                "'async with PairLab(...) as lab:' inside asyncio.run(...)"
            ) from None
        closing = LabRunner._closing.setdefault(self._key, set())
        before = LabRunner._labs.get(self._key)
        LabRunner._labs[self._key] = self
        if before is not None and before is not self:
            # A task of its own: it must come to its end even if this lab is stopped at once.
            task = self.loop.create_task(before._retire(), name="pairlab retire")
            closing.add(task)
            task.add_done_callback(closing.discard)
        self._state = FeedHealth("connecting", "starting")
        self._started_s = time.monotonic()
        self._rates.clear()
        self._rates.append((self._started_s, self._pipeline.ticks.total))
        name = f"pairlab {self.pair.y}/{self.pair.x}"
        self._before = {*closing, *self._ending}
        self._main = self.loop.create_task(self._run(self._before), name=name)
        return self

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        main = self._main
        return main is not None and not main.done() and not main.get_loop().is_closed()

    async def stop(self) -> None:
        """End the feed and every task; what was gathered stays. A second call does nothing."""
        await self._stop_run()
        if self._before:  # stopped so soon that the lab it replaces is still closing
            await asyncio.wait(self._before)

    async def _stop_run(self) -> None:
        main, self._main = self._main, None
        if main is not None and not main.get_loop().is_closed():
            main.cancel()
            services, self._services = self._services, []
            end = self._end(main, services)
            task = asyncio.get_running_loop().create_task(end, name="pairlab stop")
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        if self._ending:
            await asyncio.wait(set(self._ending))

    async def _end(self, main: asyncio.Task[None], services: list[Service]) -> None:
        await asyncio.wait({main})
        if self._main is None and self._state.state != "failed":  # not started again meanwhile
            self._settle("stopped", "stopped")
        for view in self._views:
            view.finish()
        for service in services:
            await service.stop()

    async def _retire(self) -> None:
        """Make room for another lab on the same pair, feed and stream."""
        await self._stop_run()
        views, self._views = self._views, []
        for view in views:
            view.close()

    async def __aenter__(self) -> Self:
        """Start, and stop at the end of the block."""
        return self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _run(self, before: set[asyncio.Task[None]]) -> None:
        """Live from start to stop, once what was here before has ended."""
        try:
            if before:
                await asyncio.wait(before)
            self._state = FeedHealth("connecting", "starting")
            for view in self._views:
                view.start()
            await self._live()
        except asyncio.CancelledError:
            self._settle("stopped", "stopped")
            raise
        except Exception as error:
            # The last line of defence: a background error belongs on the screen, never in a
            # task that nobody looks at.
            leaf = error
            while isinstance(leaf, ExceptionGroup):
                leaf = leaf.exceptions[0]
            words = f"{type(leaf).__name__}: {leaf}. Stop and start the lab to try again."
            self._settle("failed", str(leaf) if isinstance(leaf, PairlabError) else words)
            self.note("error", self._state.detail)
        finally:
            try:
                self._rebuild_now()
            except Exception as error:
                self.note(
                    "error",
                    f"the metrics could not be computed anew: {type(error).__name__}: {error}. "
                    "The old rows stay; start the lab to try again",
                )
            for _, waiter in self._waiters:
                if not waiter.done():
                    waiter.set_exception(self._ended())
            self._waiters.clear()

    async def _live(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            feed = await open_feed(self._source, self.pair, self._asked_stream, stack)
            info, self._feed = feed.info, feed
            self._name, self._real_money, self._stream = info.name, info.real_money, info.stream
            stack.enter_context(feed_events(feed, self._log))
            if self._pipeline.engine is not None:
                self._pipeline.mark_gap()  # a second start: what came in between was never seen
            async with asyncio.TaskGroup() as group:
                self._group = group
                try:
                    pulse = group.create_task(self._pulse(), name="pairlab pulse")
                    klines = group.create_task(self._fetch_klines(feed), name="pairlab klines")
                    engaged = group.create_task(self._engage(klines), name="pairlab engine")
                    await feed.run(_FeedSink(self))
                    await engaged
                    klines.cancel()
                    pulse.cancel()
                finally:
                    self._group = None
            self._settle("stopped", feed.health().detail)
            self.note("info", self._state.detail)

    def _ended(self) -> PairlabError:
        """Return the error for somebody who waits for rows that cannot come."""
        if self._state.state == "failed":
            return FeedError(self._state.detail)
        return PairlabError(f"no more rows will come: {self._state.detail}")

    def _settle(self, state: Any, detail: str) -> None:
        """Keep the feed's counters and replace its state."""
        last = self._feed.health() if self._feed is not None else self._state
        self._state = replace(last, state=state, detail=detail)
        self._decimals = self.price_decimals()
        self._feed = None

    async def _pulse(self) -> None:
        """Measure the loop's own lateness, and the rate of ticks."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(_PULSE_S)
            now = time.monotonic()
            self._loop_lag_s = now - before - _PULSE_S
            self._rates.append((now, self._pipeline.ticks.total))
            self._tell_warnings(now)

    def _tell_warnings(self, now_s: float) -> None:
        """Put a warning about the numbers on the screen, again only after a quiet minute."""
        warnings = self._pipeline.warnings()
        if warnings:
            if now_s - self._warned_s > _WARN_AGAIN_S:
                for warning in warnings:
                    self.note("warning", warning)
            self._warned_s = now_s

    # -- ticks to rows --------------------------------------------------------------------------

    async def _engage(self, klines: asyncio.Task[None]) -> None:
        """Compile off the loop; the pipeline then catches up with the ticks that came meanwhile."""
        if self._pipeline.engine is not None:
            if not self._pipeline.fits_settings():
                self._rebuild_wanted()  # what broke off the last run left its rebuild undone
            return
        loop = asyncio.get_running_loop()

        def progress(text: str) -> None:
            loop.call_soon_threadsafe(self.note, "info", text)

        await asyncio.to_thread(compile_kernel, progress)
        if self.settings.timeframe in KLINE_TIMEFRAMES:
            await klines  # warm from the first row
        self._pipeline.engage()
        self._wake()
        self._listeners.notify()

    async def _fetch_klines(self, feed: Feed) -> None:
        """Get the bars before the first tick, for whatever timeframe will be asked for."""
        wanted = sorted(KLINE_TIMEFRAMES, key=lambda name: name != self.settings.timeframe)
        try:
            for timeframe in wanted:
                count = max(500, self.settings.window)
                closes = await feed.seed_closes(timeframe, count)
                if closes is not None:
                    self._pipeline.klines[timeframe] = closes
        except FeedError as error:
            self.note(
                "warning",
                f"could not load historical klines: {error} Bar timeframes fill from live ticks; "
                "re-create the lab (run its cell again) to retry",
            )

    def _wake(self) -> None:
        for waiter in [w for w in self._waiters if self._pipeline.made >= w[0]]:
            self._waiters.remove(waiter)
            if not waiter[1].done():
                waiter[1].set_result(None)

    def _rebuild_wanted(self) -> None:
        if self._group is None:
            self._rebuild_now()  # nothing streams: nothing can be blocked
        elif self._rebuilding is None or self._rebuilding.done():
            self._rebuilding = self._group.create_task(self._rebuild(), name="pairlab rebuild")

    def _rebuild_now(self) -> None:
        pipeline = self._pipeline
        if not pipeline.fits_settings():
            pipeline.rebuild_finish(*pipeline.rebuild_compute(pipeline.rebuild_start()))
            self._listeners.notify()

    async def _rebuild(self) -> None:
        """Compute the metrics anew, off the loop, until they fit the settings."""
        pipeline = self._pipeline
        while not pipeline.fits_settings():
            work = pipeline.rebuild_start()
            pipeline.rebuild_finish(*await asyncio.to_thread(pipeline.rebuild_compute, work))
        self._listeners.notify()

    async def over(self) -> None:
        """Wait until the feed has ended, by itself or by `stop`."""
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
        WaitTimeoutError, FeedError, PairlabError
            As `wait` does.
        """
        if self._pipeline.made >= rows and self._state.state != "failed":
            return
        if not self.running:
            raise self._ended()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (rows, waiter)
        self._waiters.append(entry)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            feed = self._feed.health() if self._feed is not None else self._state
            raise WaitTimeoutError(
                f"{self._pipeline.made:,} of {rows:,} rows after {timeout_s:g} s; the feed is "
                f"{feed.state}: {feed.detail}"
            ) from None
        finally:
            if entry in self._waiters:
                self._waiters.remove(entry)

    # -- the screen -----------------------------------------------------------------------------

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Run `function` on the lab's loop, from whatever thread a widget's message came on."""
        if self.loop is None or self.loop.is_closed():
            function(*args)
        else:
            self.loop.call_soon_threadsafe(function, *args)

    def note(self, level: LogLevel, message: str) -> None:
        """Add a line to the event log.

        Parameters
        ----------
        level : {"info", "warning", "error"}
            How much it matters.
        message : str
            What happened, and what to do.
        """
        self._log(LogEntry(time.time_ns(), level, message))

    def _log(self, entry: LogEntry) -> None:
        self.event_log.append(entry)
        self.event_log_total += 1
        for view in self._views:
            view.refresh()

    def attach(self, view: DisplayListener) -> None:
        """Tell `view` when this lab starts, stops, says something, or is replaced."""
        self._views.append(view)

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have a function called after every batch of ticks and every rebuild.

        Parameters
        ----------
        listener : callable
            Called on the lab's loop, between two ticks: it must return at once. What it raises is
            counted in `listener_errors` and named in the event log; the stream continues.

        Returns
        -------
        callable
            Ends it.
        """
        return self._listeners.add(listener)

    @property
    def listener_errors(self) -> int:
        """How often a function given to `listen` has raised."""
        return self._listeners.errors

    def price_decimals(self) -> tuple[int, int] | None:
        """Return the decimals of both symbols' tick sizes.

        Returns
        -------
        tuple of int or None
            Of y and of x; None while they are not known.
        """
        return self._feed.price_decimals() if self._feed is not None else self._decimals
