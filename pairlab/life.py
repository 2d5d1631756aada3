"""What lives between start and stop: feed, engine and waiters on the notebook's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, Self

from pairlab.engine import compile_kernel
from pairlab.errors import FeedError, PairlabError, SettingError, WaitTimeoutError
from pairlab.feeds.base import Feed, FeedHealth
from pairlab.feeds.binance import BinanceFeed
from pairlab.feeds.klines import KLINE_TIMEFRAMES
from pairlab.pipeline import Pipeline
from pairlab.settings import SETTINGS, Settings, unknown_setting
from pairlab.sources import Source, open_feed, source_key, source_name
from pairlab.ticks import LogEntry, LogLevel, Pair

__all__ = ["LabLife", "View"]

_DEFAULT_PAIR: Final = Pair("BTCUSDT", "ETHUSDT")
_PULSE_S: Final = 0.25


class View(Protocol):
    """Something on the screen that shows a lab."""

    def start(self) -> None:
        """Paint from now on: the lab runs, maybe again."""

    def finish(self) -> None:
        """Paint once more and rest: the lab has stopped."""

    def close(self) -> None:
        """Leave nothing behind: the lab was replaced."""


class LabLife:
    """The life of a lab: its tasks from start to stop, and what they bring together.

    See `pairlab.lab.PairLab`, which is this with everything that a user asks of it.
    """

    _running: ClassVar[dict[tuple[str, ...], LabLife]] = {}

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
        self._key: Final = (y, x, stream or "", source_key(feed))
        self._name, self._real_money = source_name(feed)
        self._feed: Feed | None = None
        self._decimals: tuple[int, int] | None = None
        self._pipeline: Final = Pipeline(self.settings, self._rebuild_wanted)
        self.event_log: Final[deque[LogEntry]] = deque(maxlen=1000)
        self.event_log_total = 0
        self._rates: deque[tuple[float, int]] = deque(maxlen=int(2 / _PULSE_S) + 1)
        self._loop_lag_s = 0.0
        self.loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._side_tasks: set[asyncio.Task[Any]] = set()
        self._rebuild_pending = False
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._views: list[View] = []
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
        if self._main is not None and not self._main.done():
            return self
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            raise PairlabError(
                "start() needs a running event loop: a notebook has one; in a script write "
                "'async with PairLab(...) as lab:' inside asyncio.run(...)"
            ) from None
        before = LabLife._running.get(self._key)
        LabLife._running[self._key] = self
        self._state = FeedHealth("connecting", "starting")
        self._started_s = time.monotonic()
        self._rates.clear()
        self._rates.append((self._started_s, self._pipeline.ticks.total))
        for view in self._views:
            view.start()
        name = f"pairlab {self.pair.y}/{self.pair.x}"
        self._main = self.loop.create_task(self._run(None if before is self else before), name=name)
        return self

    async def stop(self) -> None:
        """End the feed and every task; what was gathered stays. A second call does nothing."""
        if LabLife._running.get(self._key) is self:
            del LabLife._running[self._key]
        main, self._main, self._rebuild_pending = self._main, None, False
        tasks = [task for task in (main, *self._side_tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if main is not None and self._state.state != "failed":
            self._settle("stopped", "stopped")
        for _, waiter in self._waiters:
            waiter.cancel()
        self._waiters.clear()
        for view in self._views:
            view.finish()

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

    async def _run(self, before: LabLife | None) -> None:
        """Live from start to stop."""
        try:
            if before is not None:
                await before.stop()
                before._close_views()
            async with contextlib.AsyncExitStack() as stack:
                self._spawn(self._pulse(), "pulse")
                feed = await open_feed(self._source, self.pair, self._asked_stream, stack)
                self._feed, self._name, self._real_money = feed, feed.name, feed.real_money
                engaged = self._spawn(self._engage(feed), "engine")
                if hasattr(feed, "on_gap"):
                    feed.on_gap = self._on_gap
                await feed.run(self._take, self._log)
                await engaged
            self._settle("stopped", feed.health().detail)
            self.note("info", self._state.detail)
        except PairlabError as error:
            self._fail(str(error))
        except Exception as error:
            # The last line of defence: a background error belongs on the screen, never in a
            # task that nobody looks at.
            self._fail(f"{type(error).__name__}: {error}. Stop and start the lab to try again.")

    def _settle(self, state: Any, detail: str) -> None:
        """Keep the feed's counters and replace its state."""
        last = self._feed.health() if self._feed is not None else self._state
        values = {name: getattr(last, name) for name in last.__dataclass_fields__}
        self._state = FeedHealth(**{**values, "state": state, "detail": detail})
        self._decimals = self.price_decimals()
        self._feed = None

    def _fail(self, why: str) -> None:
        self._settle("failed", why)
        self.note("error", why)
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(FeedError(why))
        self._waiters.clear()

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work, name=f"pairlab {name}")
        self._side_tasks.add(task)
        task.add_done_callback(self._side_task_done)
        return task

    def _side_task_done(self, task: asyncio.Task[Any]) -> None:
        self._side_tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.note("error", f"{task.get_name()}: {type(error).__name__}: {error}")

    async def _pulse(self) -> None:
        """Measure the loop's own lateness, and the rate of ticks."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(_PULSE_S)
            now = time.monotonic()
            self._loop_lag_s = now - before - _PULSE_S
            self._rates.append((now, self._pipeline.ticks.total))

    # -- ticks to rows --------------------------------------------------------------------------

    async def _engage(self, feed: Feed) -> None:
        """Compile off the loop; the pipeline then catches up with the ticks that came meanwhile."""
        if self._pipeline.engine is not None:
            self._pipeline.mark_gap()  # a second start: what came in between was never seen
            await self._rebuild()
            return
        loop = asyncio.get_running_loop()
        klines = self._spawn(self._fetch_klines(feed), "klines")

        def progress(text: str) -> None:
            loop.call_soon_threadsafe(self.note, "info", text)

        await asyncio.to_thread(compile_kernel, progress)
        if self.settings.timeframe in KLINE_TIMEFRAMES:
            await klines  # warm from the first row
        self._pipeline.engage()
        self._wake()

    async def _fetch_klines(self, feed: Feed) -> None:
        """Get the bars before the first tick, for whatever timeframe will be asked for."""
        if not isinstance(feed, BinanceFeed):
            return
        wanted = sorted(KLINE_TIMEFRAMES, key=lambda name: name != self.settings.timeframe)
        try:
            for timeframe in wanted:
                count = max(500, self.settings.window)
                self._pipeline.klines[timeframe] = await feed.closes(timeframe, count)
        except FeedError as error:
            self.note("warning", f"no bars from before the start: {error}")

    def _take(self, ticks: Any) -> None:
        self._pipeline.take(ticks)
        if self._waiters:
            self._wake()

    def _wake(self) -> None:
        for waiter in [w for w in self._waiters if self._pipeline.made >= w[0]]:
            self._waiters.remove(waiter)
            if not waiter[1].done():
                waiter[1].set_result(None)

    def _on_gap(self, missing: int) -> None:
        self._pipeline.mark_gap()

    def _rebuild_wanted(self) -> None:
        if self._main is None or self._main.done() or self.loop is None:
            # Nothing streams: nothing can be blocked, and no task would run.
            self._pipeline.rebuild_finish(
                *self._pipeline.rebuild_compute(self._pipeline.rebuild_start())
            )
        elif not self._rebuild_pending:
            self._rebuild_pending = True
            self.loop.call_soon(lambda: self._spawn(self._rebuild(), "rebuild"))

    async def _rebuild(self) -> None:
        """Compute the metrics anew, off the loop, until they fit the settings."""
        pipeline = self._pipeline
        try:
            while not pipeline.fits_settings():
                work = pipeline.rebuild_start()
                pipeline.rebuild_finish(*await asyncio.to_thread(pipeline.rebuild_compute, work))
        finally:
            self._rebuild_pending = False

    async def wait_async(self, rows: int = 1, timeout_s: float = 30.0) -> None:
        """Do as `wait`, for code that awaits."""
        if self._state.state == "failed":
            raise FeedError(self._state.detail)
        if self._pipeline.made >= rows:
            return
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
        """Add a line to the event log."""
        self._log(LogEntry(time.time_ns(), level, message))

    def _log(self, entry: LogEntry) -> None:
        self.event_log.append(entry)
        self.event_log_total += 1

    def attach(self, view: View) -> None:
        """Tell `view` when this lab stops or is replaced."""
        self._views.append(view)

    def price_decimals(self) -> tuple[int, int] | None:
        """Return the decimals of both symbols' tick sizes, None while unknown."""
        return self._feed.price_decimals() if self._feed is not None else self._decimals

    def _close_views(self) -> None:
        views, self._views = self._views, []
        for view in views:
            view.close()
