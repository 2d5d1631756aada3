"""PairLab: the facade of one live lab."""

from __future__ import annotations

import asyncio
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, Unpack

import pandas as pd

from pairlab.clock import Clock, SystemClock
from pairlab.data.alert_log import AlertLog
from pairlab.data.journal import Journal
from pairlab.data.row_store import RowStore
from pairlab.errors import PairlabError, SettingError
from pairlab.feeds.base import Feed
from pairlab.formatting import signed
from pairlab.lab.event_log import EventLog
from pairlab.lab.feed.feed_factory import Source, require_source
from pairlab.lab.forwarding import forwarder
from pairlab.lab.listeners import Listeners
from pairlab.lab.nested_loop import run_inside
from pairlab.lab.pipeline import Pipeline
from pairlab.lab.queries import Queries, Table
from pairlab.lab.record.recording import Recording
from pairlab.lab.record.recordings import Recordings
from pairlab.lab.runner import LabRunner
from pairlab.lab.serving import Serving
from pairlab.lab.session.session_files import SessionFiles, open_session
from pairlab.lab.waiters import check_wait
from pairlab.limits.symbols import exchange_symbol
from pairlab.protocols import PastView, Playback, SessionView, WhatIfView
from pairlab.schema import Pair, Records
from pairlab.settings import SETTINGS, SettingKwargs, Settings, SettingValues, unknown_setting

if TYPE_CHECKING:
    from pairlab.backtesting.live.ledger import Ledger, PaperTerms
    from pairlab.widgets.dashboard import Dashboard, LayoutSpec, ThemeName

__all__ = ["PairLab", "Table"]

_DEFAULT_PAIR: Final = Pair("BTCUSDT", "ETHUSDT")
_STREAMS: Final = ("aggTrade", "trade", "bookTicker")


_forward = forwarder(__name__, "PairLab")


class PairLab:
    """Live analytics of one pair: stream in; dashboard, DataFrames and alerts out.

    Parameters
    ----------
    y, x : str
        Symbols; ``btcusdt`` and ``BTC/USDT`` are BTCUSDT. ``y`` is bought when the spread is
        bought.
    feed : str, os.PathLike, sequence of paths or Feed
        ``"binance"`` (live), ``"demo"`` (the embedded exchange with a synthetic market), a
        ``ws://`` or ``wss://`` URL that speaks Binance's protocol, the path or paths of what
        `pairlab.Replay` plays, or an object with the methods of `pairlab.feeds.base.Feed`, such
        as a `pairlab.Replay` itself.
    stream : {"aggTrade", "trade", "bookTicker"}, optional
        What a tick is. By default ``aggTrade``; for a recording, what it holds.
    clock : Clock, optional
        Where the time is read; by default this machine's clocks.
    **settings
        Any setting, see `pairlab.settings.SETTINGS`.

    Raises
    ------
    SettingError
        If a setting is unknown, out of range or contradicts another, a symbol is none, or `feed`
        is nothing that a feed can be.

    Examples
    --------
    In a notebook::

        lab = PairLab("BTCUSDT", "ETHUSDT", feed="demo")
        lab.start()
        lab
    """

    def __init__(
        self,
        y: str = _DEFAULT_PAIR.y,
        x: str = _DEFAULT_PAIR.x,
        *,
        feed: Source = "binance",
        stream: str | None = None,
        clock: Clock | None = None,
        **settings: Unpack[SettingKwargs],
    ) -> None:
        for name in settings:
            if name not in SETTINGS:
                raise unknown_setting(name, ("feed", "stream", "clock"))
        if isinstance(feed, Feed):  # of the user's: its symbols are its own
            for name, symbol in (("y", y), ("x", x)):
                if not isinstance(symbol, str) or not symbol.strip():
                    raise SettingError(name, symbol, "expected a symbol such as 'BTCUSDT'")
        else:
            y, x = exchange_symbol("y", y), exchange_symbol("x", x)
        if y == x:
            raise SettingError("x", x, "the legs of a pair must be two different symbols")
        if stream is not None:
            same = [s for s in _STREAMS if s.casefold() == str(stream).casefold()]
            if not same:
                raise SettingError("stream", stream, "expected 'aggTrade', 'trade' or 'bookTicker'")
            stream = same[0]
        require_source(feed)
        self.pair: Final = Pair(y, x)
        self.settings: Final = Settings(**settings)
        if self.pair != _DEFAULT_PAIR:
            self.settings.require_explicit_hedge_ratio()
        self._runner: Final = LabRunner(
            self.pair, self.settings, feed, stream, clock or SystemClock()
        )
        self._recordings: Final = Recordings(self._runner)
        self._queries: Final = Queries(
            self._pipeline, self.pair, self._runner.health, self._recordings.past
        )
        self._files: Final = SessionFiles(self._runner, self._queries, self)
        self._serving: Final = Serving(self, self._runner)

    def __setattr__(self, name: str, value: object) -> None:
        if name in SETTINGS:  # an attribute of that name would change nothing, in silence
            raise AttributeError(f"settings are of lab.settings: lab.settings.{name} = {value!r}")
        super().__setattr__(name, value)

    @property
    def _pipeline(self) -> Pipeline:
        return self._runner.pipeline

    # -- start and stop -------------------------------------------------------------------------

    def start(self) -> Self:
        """Begin on the running loop and return at once; a second call does nothing.

        A lab on the same pair, feed and stream that runs already is replaced: its tasks, sockets
        and widgets end first.

        Raises
        ------
        PairlabError
            Outside a running event loop (a plain script: use ``async with PairLab(…)``).
        """
        self._runner.start()
        return self

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._runner.running

    stop = _forward("_runner", LabRunner.stop)
    wait_async = _forward("_runner", LabRunner.wait_async)
    wait_closed = _forward("_runner", LabRunner.wait_closed)

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

    def wait(self, rows: int = 1, timeout_s: float = 30.0) -> None:
        """Block this cell, or this thread, but not the stream, until there are rows.

        The notebook's stop button ends the waiting and nothing else.

        Parameters
        ----------
        rows : int
            How many, counted since the lab was made.
        timeout_s : float
            How long to wait at most.

        Raises
        ------
        SettingError
            If `rows` is no whole number, or `timeout_s` no number of seconds, 0 or more.
        WaitTimeoutError
            After `timeout_s` seconds, saying how many there are.
        FeedError
            If the feed fails meanwhile.
        PairlabError
            If the lab is not started; or where its loop cannot run inside itself (uvloop): await
            `wait_async` there, or call this from another thread.
        """
        check_wait(rows, timeout_s)
        if self.loop is None or not self._runner.started:
            raise PairlabError("wait() needs a started lab: call start() first")
        run_inside(self.loop, lambda: self.wait_async(rows, timeout_s), timeout_s)

    # -- rows, ticks, alerts, files -------------------------------------------------------------

    @property
    def rows(self) -> RowStore:
        """The rows as records of `pairlab.ROW`, by number; `history` is the DataFrame of them."""
        return self._pipeline.rows

    @property
    def held_ticks(self) -> Records:
        """The ticks held as records of `pairlab.TICK`; `ticks` is the DataFrame of them."""
        return self._pipeline.ticks.view()

    @property
    def newest_ns(self) -> int:
        """Exchange time of the newest tick, ns since 1970 UTC; `NO_TIME_NS` before the first."""
        return self._pipeline.newest_ns

    @property
    def row_settings(self) -> SettingValues:
        """Every setting by name, those that define a metric as the rows were made with them."""
        return self._pipeline.values()

    @property
    def alert_log(self) -> AlertLog:
        """Alerts and setting changes as objects; `alerts` is the DataFrame of them."""
        return self._pipeline.alert_log

    @property
    def journal(self) -> Journal:
        """Engine start, gaps, setting changes, rebuilds: each with the tick before which it was."""
        return self._pipeline.journal

    @property
    def stream(self) -> str:
        """The stream in use."""
        return self._runner.stream

    @property
    def selection(self) -> pd.DataFrame:
        """The rows selected with the mouse on a chart, or with `select`; none: an empty frame.

        The columns are those of `history`; rows that have left the history are not in it.
        """
        return self._queries.selection

    @property
    def selected_ns(self) -> tuple[int, int] | None:
        """Both ends of the selected span, ns since 1970 UTC; None: nothing is selected."""
        return self._queries.selected_ns

    latest = _forward("_pipeline", Pipeline.latest)
    history = _forward("_queries", Queries.history)
    between = _forward("_queries", Queries.between)
    at = _forward("_queries", Queries.at)
    select = _forward("_queries", Queries.select)
    ticks = _forward("_queries", Queries.ticks)
    bars = _forward("_queries", Queries.bars)
    alerts = _forward("_queries", Queries.alerts)
    to_csv = _forward("_queries", Queries.to_csv)
    csv_bytes = _forward("_queries", Queries.csv_bytes)
    csv_pieces = _forward("_queries", Queries.csv_pieces)
    health = _forward("_runner", LabRunner.health)
    save = _forward("_files", SessionFiles.save)
    save_async = _forward("_files", SessionFiles.save_async)
    to_html = _forward("_files", SessionFiles.to_html)
    open = classmethod(open_session)
    record = _forward("_recordings", Recordings.record)
    verify = _forward("_recordings", Recordings.verify)
    verify_async = _forward("_recordings", Recordings.verify_async)
    reconcile = _forward("_recordings", Recordings.reconcile)
    reconcile_async = _forward("_recordings", Recordings.reconcile_async)

    @property
    def recordings(self) -> Recordings:
        """What begins recordings, and the newest of them."""
        return self._recordings

    @property
    def past(self) -> PastView | None:
        """Where rows are that have left the memory, for the charts; None: nowhere."""
        return self._recordings.past()

    @property
    def recording(self) -> Recording | None:
        """The newest recording, under way or ended; None if there was none."""
        return self._recordings.newest

    # -- dashboard and REST ---------------------------------------------------------------------

    serve = _forward("_serving", Serving.serve)
    webhook = _forward("_serving", Serving.webhook)

    def dashboard(self, layout: LayoutSpec = "auto", theme: ThemeName = "dark") -> Dashboard:
        """Return the dashboard of a layout and theme; every call with the same gives the same one.

        Parameters
        ----------
        layout : str or sequence
            ``"auto"``, ``"compact"``, ``"wide"``, or rows of part names, as
            `pairlab.widgets.Dashboard` takes them.
        theme : {"dark", "light", "jupyterlab"}
            Colours.

        Returns
        -------
        Dashboard
            All of a lab share their parts: each is painted and sent once, however many show it.

        Raises
        ------
        SettingError
            If there is no such layout, part or theme.
        """
        from pairlab.widgets.dashboard import Dashboard

        return Dashboard.shared(self, layout, theme)

    def _repr_mimebundle_(self, **kwargs: object) -> object:
        """Show the dashboard where a notebook displays the lab."""
        return self.dashboard()._repr_mimebundle_(**kwargs)

    def __repr__(self) -> str:
        health, row = self.health(), self.latest()
        where = "no row yet" if row is None else f"{health.rows:,} rows, z {signed(row.zscore)}"
        return (
            f"<PairLab {self.pair.y}/{self.pair.x}: {health.feed} {health.state}, "
            f"{self.settings.timeframe}, {where}>"
        )

    # -- for widgets, services and user code ----------------------------------------------------

    @property
    def playback(self) -> Playback | None:
        """Play, pause, step and seek of a replay, on the lab's loop; None for any other feed."""
        return self._runner.playback

    def paper_trade(self, **terms: Unpack[PaperTerms]) -> Ledger:
        """Trade each decision from now on, on paper: filled and paid for as `backtest` does it.

        Parameters
        ----------
        **terms
            costs, capital, latency_s, max_wait_s, lots: as `pairlab.backtest` takes them.

        Returns
        -------
        Ledger
            Its ``trades()``, ``missed()``, ``money``, ``curve()`` and ``stop()``; to be used on the
            lab's loop.

        Raises
        ------
        SettingError, DataError
            As `pairlab.backtest` does.
        """
        from pairlab.backtesting.live.ledger import Ledger

        return Ledger(self._pipeline, self.pair, **terms)

    @cached_property
    def session_pnl(self) -> SessionView:
        """What decisions make on paper, from the first call on."""
        return self.paper_trade()

    @cached_property
    def what_if(self) -> WhatIfView:
        """What thresholds would have made of the rows held, while they are moved."""
        from pairlab.backtesting.what_if import LiveWhatIf

        return LiveWhatIf(self)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop on which it was started; None before."""
        return self._runner.loop

    @property
    def event_log(self) -> EventLog:
        """The newest messages about feed, engine and screen, oldest first."""
        return self._runner.event_log

    @property
    def event_log_total(self) -> int:
        """How many messages there ever were: the log forgets the oldest."""
        return self._runner.event_log.total

    @property
    def listener_errors(self) -> int:
        """How often functions given to `on_update` and `on_alert` raised, or took too long."""
        return self._listeners.errors

    @property
    def _listeners(self) -> Listeners:
        return self._runner.listeners

    on_update = _forward("_listeners", Listeners.on_update)
    on_alert = _forward("_listeners", Listeners.on_alert)
    listen = on_update  # its former name
    log = _forward("_runner", LabRunner.log)
    call_on_loop = _forward("_runner", LabRunner.call_on_loop)
    attach = _forward("_runner", LabRunner.attach)
    price_decimals = _forward("_runner", LabRunner.price_decimals)
