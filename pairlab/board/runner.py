"""Runs a board's background tasks on the notebook's loop: feeds, engines, rebuilds, rescans."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from pairlab.board.board_alerts import BoardAlerts
from pairlab.board.board_klines import BoardKlines
from pairlab.board.board_pair import BoardPair, goes_on
from pairlab.board.core import BoardCore
from pairlab.board.group_source import BoardSource, group_info, open_group
from pairlab.board.record.board_recording import BoardRecording
from pairlab.board.symbol_tasks import SymbolTasks
from pairlab.clock import Clock
from pairlab.engine import compile_kernel
from pairlab.errors import FeedError, PairlabError, WaitTimeoutError, first_leaf
from pairlab.feeds.base import FeedHealth, FeedState
from pairlab.lab.event_log import EventLog
from pairlab.lab.feed.feed_log import feed_events
from pairlab.lab.listeners import Listeners
from pairlab.lab.load_meter import LoadMeter
from pairlab.lab.nested_loop import guard_cells, run_on
from pairlab.lab.rebuilder import Rebuilder
from pairlab.lab.waiters import RowWaiters, check_wait
from pairlab.protocols import DisplayListener, Service
from pairlab.schema import LogEntry, LogLevel, Pair
from pairlab.settings import Settings

__all__ = ["BoardRunner"]

_HEARTBEAT_S: Final = 0.25
_BATCH_S: Final = 0.005
"""While ticks come faster, they are gathered for so long: a call a batch, not one a tick."""

_AT_A_TIME: Final = 10  # engines that are started before others may use the loop


class BoardRunner:
    """Starts and stops what a board does in the background, and keeps its state.

    Parameters
    ----------
    source, stream
        As the board was given them.
    ticks_held : int
        Of all symbols together.
    clock : Clock
        Source of the time.

    Attributes
    ----------
    pairs : dict of Pair to BoardPair
        Those on the board.
    core : BoardCore
        Their rows.
    alerts : BoardAlerts
        Of all of them.
    """

    def __init__(
        self, source: BoardSource, stream: str | None, ticks_held: int, clock: Clock
    ) -> None:
        self.source: Final = source
        self.stream: Final = stream
        self.clock: Final = clock
        self.info = group_info(source, stream)
        self.core: Final = BoardCore(ticks_held, clock)
        self.pairs: dict[Pair, BoardPair] = {}
        self.alerts: Final = BoardAlerts()
        self.event_log: Final = EventLog(self._refresh_displays)
        self.listeners: Final = Listeners(self.log, clock, "board")
        self.tasks: Final = SymbolTasks(self.core, self.log, self._schedule)
        self.load: Final = LoadMeter(clock, _HEARTBEAT_S)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.background: Callable[[], Any] | None = None  # a coroutine function: the rescans
        self.recorders: list[BoardRecording] = []  # which record pairs that come, too
        self.services: list[Service] = []
        self.klines: BoardKlines | None = None
        self._displays: list[DisplayListener] = []
        self._waiters = RowWaiters(lambda: self.row_count)
        self._main: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None
        self._due: asyncio.TimerHandle | None = None
        self._flushed_s = 0.0
        self._compiled = False
        self._faults = 0
        self._rows_gone = 0  # of pairs that were removed
        self._state: tuple[FeedState, str] = ("stopped", "not started")
        self._counts = FeedHealth("stopped", "not started")

    # -- pairs ------------------------------------------------------------------------------------

    def add(self, pair: Pair, settings: Settings) -> BoardPair:
        """Put a pair on the board; while it runs its engine starts soon, warm from ticks held."""
        rebuilders: list[Rebuilder] = []

        def rebuild_wanted() -> None:
            rebuilders[0].request(self._group)

        pipeline = self.core.add(pair, settings, rebuild_wanted)
        rebuilders.append(Rebuilder(pipeline, self.listeners.notify))
        pipeline.latency_ms = self.core.latency_ms
        pipeline.on_alerts = lambda of: self._take_alerts(pair)
        settings.observe(lambda _: self._take_alerts(pair))
        view = self.pairs[pair] = BoardPair(self, pair, settings, pipeline)
        if self._group is not None:
            for symbol in pair:
                self.tasks.want(symbol)
            pipeline.candles_wanted = lambda: self._load_klines(pair)
            work = self._start_engine(pair, late=self._compiled)
            self._group.create_task(work, name="pairlab board engine")
        for recorder in self.recorders:
            recorder.take(view)
        return view

    def remove(self, pair: Pair) -> BoardPair:
        """Take a pair off the board; symbols that no other pair has are subscribed no more."""
        view = self.pairs.pop(pair)
        self._rows_gone += view.pipeline.row_count
        self.core.remove(pair)
        self.alerts.forget(pair)
        for symbol in pair:
            if not self.core.pairs_of(self.core.number(symbol)) and symbol not in self.kept:
                self.tasks.drop(symbol)
        view.leave()
        self.services = [*filter(goes_on, self.services), *filter(goes_on, view.services)]
        return view

    kept: frozenset[str] = frozenset()
    """Symbols that are subscribed whether a pair has them or not: they are scanned."""

    def has(self, view: BoardPair) -> bool:
        """Return whether a pair is on the board."""
        return self.pairs.get(view.pair) is view

    def _take_alerts(self, pair: Pair) -> None:
        if pair in self.pairs:
            self.alerts.take(pair, self.pairs[pair].alert_log)

    # -- start and stop ---------------------------------------------------------------------------

    def start(self) -> None:
        """Begin on the running loop and return at once; a second call does nothing."""
        if self.running:
            return
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            raise PairlabError(
                "start() needs a running event loop: a notebook has one; in a script write "
                "'async with Board(...) as board:' inside asyncio.run(...)"
            ) from None
        guard_cells()
        self._state = "connecting", "starting"
        self.load.start(self.core.store.total)
        self._main = self.loop.create_task(self._run(), name="pairlab board")

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        main = self._main
        return main is not None and not main.done() and not main.get_loop().is_closed()

    async def stop(self) -> None:
        """End every feed and task; what was gathered stays. A second call does nothing."""
        await run_on(self.loop if self._main is not None else None, self._stop)

    async def _stop(self) -> None:
        main, self._main = self._main, None
        if main is None or main.get_loop().is_closed():
            return
        main.cancel()
        await asyncio.wait({main})
        for display in tuple(self._displays):
            self.listeners.call(display.finish)
        await self._stop_services()
        await self.listeners.finish(asyncio.current_task())

    async def _stop_services(self) -> None:
        """Stop what ends with the board, all at once."""
        self.recorders.clear()
        services, self.services = self.services, []
        for view in self.pairs.values():
            view.request_stop()
            services += view.services
        ended = await asyncio.gather(*(one.stop() for one in services), return_exceptions=True)
        for error in filter(None, ended):
            self.log("error", f"a service could not be stopped: {error!r}")

    async def _run(self) -> None:
        try:
            for display in tuple(self._displays):
                self.listeners.call(display.start)
            await self._live()
        except asyncio.CancelledError:
            self._state = "stopped", "stopped"
            raise
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            leaf = first_leaf(error)
            detail = str(leaf)
            if not isinstance(leaf, PairlabError):
                detail = f"{type(leaf).__name__}: {leaf}. Stop and start the board to try again."
            self._state = "failed", detail
            self.log("error", detail)
        finally:
            self._flush()
            self._waiters.fail(self._ended)

    async def _live(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            symbols = [*self.kept, *(symbol for pair in self.pairs for symbol in pair)]
            group = await open_group(self.source, symbols, self.stream, stack, self.clock)
            self.info = group.venue.info
            stack.enter_context(feed_events(group, self.event_log.add, self.clock))
            self.klines = BoardKlines(self.tasks, self.log)
            stack.push_async_callback(self.klines.close)
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._group = tasks
                    self.tasks.begin(group, tasks)
                    for symbol in dict.fromkeys(symbols):
                        self.tasks.want(symbol)
                    for pair, view in self.pairs.items():
                        view.pipeline.candles_wanted = lambda pair=pair: self._load_klines(pair)  # type: ignore[misc]
                    helpers = [
                        tasks.create_task(self._heartbeat(), name="pairlab heartbeat"),
                        tasks.create_task(self._start_engines(), name="pairlab board engines"),
                    ]
                    if self.background is not None:
                        work = self.background()
                        helpers.append(tasks.create_task(work, name="pairlab rescan"))
                    await self.tasks.ended.wait()
                    await helpers[1]
                    for helper in helpers:
                        helper.cancel()
            finally:
                self._group = None
                self._flush()
                self._counts = group.health()
                failed = dict(self.tasks.failed)
                self.tasks.end()
            if failed and len(failed) == len(set(symbols)):
                raise FeedError(next(iter(failed.values())))
            self._state = "stopped", "every feed has ended"
            self.log("info", self._state[1])

    async def _heartbeat(self) -> None:
        while True:
            before_s = self.clock.monotonic_s()
            await asyncio.sleep(_HEARTBEAT_S)
            self.load.sample(self.core.store.total, before_s)
            if self.core.has_pending:
                self._flush()

    # -- ticks to rows ----------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Have the kernel run soon, for all that comes until then."""
        if self._due is None and self.loop is not None:
            due_s = max(self._flushed_s + _BATCH_S, self.loop.time())
            self._due = self.loop.call_at(due_s, self._flush)

    def _flush(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        try:
            count = self.core.flush()
        except Exception as error:  # the streams must outlive a fault, and the fault be seen
            self._count_fault(error)
            return
        if count:
            self._tell()
        if self.loop is not None:
            self._flushed_s = self.loop.time()

    def _count_fault(self, error: Exception) -> None:
        self._faults += 1
        if self._faults & (self._faults - 1) == 0:  # the first, the second, the fourth …
            self.log(
                "error",
                f"a batch could not be processed ({self._faults:,} so far): "
                f"{type(error).__name__}: {error}. The streams continue",
            )

    async def _start_engines(self) -> None:
        """Compile off the loop; every pair then catches up with the ticks that came meanwhile."""
        if not self._compiled:
            loop = asyncio.get_running_loop()

            def progress(text: str) -> None:
                loop.call_soon_threadsafe(self.log, "info", text)

            await asyncio.to_thread(compile_kernel, progress, many_pairs=True)
            self._compiled = True
        self.core.begin()
        pairs = tuple(self.pairs)
        for at in range(0, len(pairs), _AT_A_TIME):
            await asyncio.gather(*map(self._start_engine, pairs[at : at + _AT_A_TIME]))
            await asyncio.sleep(0)

    def _tell(self) -> None:
        """Wake who waits for rows, notify listeners, deliver alerts."""
        if self._waiters:
            self._waiters.wake(self.row_count)
        self.listeners.notify()
        self.listeners.deliver(self.alerts)

    async def _start_engine(self, pair: Pair, *, late: bool = False) -> None:
        """Start a pair's engine; of one that comes late, what it decides on the past is no news."""
        view = self.pairs.get(pair)
        if view is None or not self._compiled or view.pipeline.engine is not None:
            return
        if self.klines is not None:
            await self.klines.load(pair, view.pipeline)  # warm from the first row
        if self.has(view):
            self._flush()  # others' alerts are news
            self.core.start_engine(pair)
            if late:
                self.listeners.skip(self.alerts)
            self._tell()

    def _load_klines(self, pair: Pair) -> None:
        view = self.pairs.get(pair)
        if self._group is not None and self.klines is not None and view is not None:
            self._group.create_task(
                self.klines.load(pair, view.pipeline), name="pairlab board klines"
            )

    @property
    def row_count(self) -> int:
        """Rows ever made, of pairs that were removed, too."""
        return self.core.row_count + self._rows_gone

    def _ended(self) -> PairlabError:
        state, detail = self.state()
        return (
            FeedError(detail)
            if state == "failed"
            else PairlabError(f"no more rows will come: {detail}")
        )

    async def wait_async(self, rows: int = 1, timeout_s: float = 30.0) -> None:
        """Wait until the pairs have so many rows together.

        Parameters
        ----------
        rows : int
            How many, counted since the board was made.
        timeout_s : float
            How long to wait at most.

        Raises
        ------
        SettingError, WaitTimeoutError, FeedError, PairlabError
            As `Board.wait` does.
        """
        check_wait(rows, timeout_s)
        if self.row_count >= rows:
            return
        if not self.running:
            raise self._ended()
        try:
            await run_on(self.loop, lambda: self._waiters.wait(rows, timeout_s))
        except TimeoutError:
            state, detail = self.state()
            raise WaitTimeoutError(
                f"{self.row_count:,} of {rows:,} rows after {timeout_s:g} s; the feed is "
                f"{state}: {detail}"
            ) from None

    async def wait_closed(self) -> None:
        """Wait until the board has ended, by itself or by `stop`."""
        if self.running:
            await run_on(self.loop, self._wait_closed)

    async def _wait_closed(self) -> None:
        if self._main is not None:
            await asyncio.wait({self._main})

    # -- how it is --------------------------------------------------------------------------------

    def state(self) -> tuple[FeedState, str]:
        """Return the feeds' state in one word, and the others in plain words.

        It is live as long as a symbol is: those that are not are named.
        """
        if not self.running or self._group is None:
            return self._state
        states = self.tasks.states()
        if not states:
            return "connecting", "no symbol is subscribed"
        if "live" not in states:
            worst = next(iter(states))
            first = states[worst][0]
            return worst, f"{first}: {self.tasks.state(first)[1]}"
        total = sum(map(len, states.values()))
        live = states.pop("live")
        rest = "; ".join(
            f"{len(those)} {state}: {', '.join(those[:3])}{' …' if len(those) > 3 else ''}"
            for state, those in states.items()
        )
        return "live", f"{len(live):,} of {total:,} symbols are live{'; ' if rest else ''}{rest}"

    def counts(self) -> FeedHealth:
        """Return the counters of all feeds together."""
        return self._counts if self._group is None else self.tasks.require_group().health()

    def price_decimals(self, pair: Pair) -> tuple[int, int] | None:
        """Return the decimals of a pair's tick sizes, None while they are not known."""
        feeds = [self.tasks.feed(symbol) for symbol in pair]
        found = [None if feed is None else feed.decimals() for feed in feeds]
        if found[0] is None or found[1] is None:
            return None
        return found[0][0], found[1][0]

    # -- displays, log ----------------------------------------------------------------------------

    def log(self, level: LogLevel, message: str) -> None:
        """Add a line to the event log."""
        self.event_log.add(LogEntry(self.clock.time_ns(), level, message))

    def call_on_loop(self, function: Callable[..., object], *args: object) -> None:
        """Run a function on the board's loop, from any thread; at once where there is none."""
        if self.loop is None or self.loop.is_closed():
            function(*args)
        else:
            self.loop.call_soon_threadsafe(function, *args)

    def _refresh_displays(self) -> None:
        for display in tuple(self._displays):
            self.listeners.call(display.refresh)

    def attach(self, display: DisplayListener) -> None:
        """Notify a display when the board starts, stops or logs something."""
        self._displays.append(display)

    def detach(self, display: DisplayListener) -> None:
        """Notify it no more."""
        if display in self._displays:
            self._displays.remove(display)
