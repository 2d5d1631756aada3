"""Board: many pairs on one feed, in one table."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Literal, Self, Unpack

import pandas as pd

from pairlab.board.asked_pairs import (
    MOST_PAIRS,
    PairName,
    PairsOrSymbols,
    asked_pairs,
    read_pair,
)
from pairlab.board.board_alerts import BoardAlerts
from pairlab.board.board_pair import BoardPair
from pairlab.board.board_table import board_frame, board_health, board_snapshot
from pairlab.board.group_source import BoardSource, require_group_source
from pairlab.board.record.board_recording import BoardRecorder, BoardRecording
from pairlab.board.record.board_serving import BoardServing
from pairlab.board.rescan import Rescan, check_scan
from pairlab.board.runner import BoardRunner
from pairlab.board_protocol import BoardAlert, BoardAlertCallback, BoardSnapshot
from pairlab.clock import Clock, SystemClock
from pairlab.data.time_selection import Moment
from pairlab.errors import PairlabError, SettingError
from pairlab.health import BoardHealth
from pairlab.lab.event_log import EventLog
from pairlab.lab.forwarding import forwarder
from pairlab.lab.nested_loop import run_inside
from pairlab.lab.queries import require_text_target
from pairlab.lab.waiters import check_wait
from pairlab.protocols import LabView
from pairlab.schema import Pair
from pairlab.settings import SETTINGS, SettingKwargs, Settings, unknown_setting

if TYPE_CHECKING:
    from pairlab.widgets.board.board_page import BoardPage
    from pairlab.widgets.style.theme import ThemeName

__all__ = ["Board"]

_HISTORY_ROWS: Final = 10_000
_DEFAULT_PAIR: Final = Pair("BTCUSDT", "ETHUSDT")
_forward = forwarder(__name__, "Board")
_STREAMS: Final = ("aggTrade", "trade", "bookTicker")


class Board:
    """Many pairs at once: one feed in, one table and one log of alerts out.

    Parameters
    ----------
    pairs : iterable, mapping or DataFrame
        Pairs of symbols; or a mapping of pairs to settings of their own; or what `pairlab.scan`
        found; or symbols: all pairs of them are then scanned at each bar, and those that are
        cointegrated are on the board (with ``rescan="off"``, all pairs of them).
    feed : str, Market or FeedGroup
        ``"binance"`` (live), ``"demo"``, a ``ws://`` or ``wss://`` URL that speaks Binance's
        protocol, a market of `pairlab.local_exchange`, or a `pairlab.feeds.FeedGroup`. Each symbol
        is subscribed once.
    rescan : {"bar", "off"}, optional
        Whether all pairs of the symbols are scanned again at each bar; by default "bar" where
        symbols were given.
    scan_timeframe : str, optional
        Of the bars that are scanned; by default the pairs' own, or 1m at the tick timeframe.
    scan_bars : int
        How many of the newest bars are scanned, 60 to 5,000.
    scan_pairs : int
        The most pairs that the rescan keeps on the board, 1 to 500.
    max_q : float
        Corrected p-value at which a pair comes to the board, 0 to 1; it leaves above twice that.
    stream : {"aggTrade", "trade", "bookTicker"}, optional
        What a tick is.
    clock : Clock, optional
        Where the time is read.
    **settings
        Settings of every pair, as `pairlab.PairLab` takes them. By default ``hedge="ols"`` and
        ``history_rows=10_000``; ``ticks_held`` counts the ticks of all symbols together.

    Raises
    ------
    SettingError
        If there is no pair to show, or an argument is out of range. Of several pairs, those that
        cannot be had are told in the event log, and the others go on.

    Examples
    --------
    In a notebook::

        board = pairlab.Board([("BTCUSDT", "ETHUSDT"), ("SOLUSDT", "AVAXUSDT")], feed="demo")
        board.start()
        board
    """

    def __init__(
        self,
        pairs: PairsOrSymbols,
        *,
        feed: BoardSource = "binance",
        rescan: Literal["bar", "off"] | None = None,
        scan_timeframe: str | None = None,
        scan_bars: int = 1_000,
        scan_pairs: int = 50,
        max_q: float = 0.05,
        stream: str | None = None,
        clock: Clock | None = None,
        **settings: Unpack[SettingKwargs],
    ) -> None:
        for name in settings:
            if name not in SETTINGS:
                raise unknown_setting(name, ("feed", "rescan", "stream", "clock"))
        require_group_source(feed)
        if stream is not None and stream not in _STREAMS:
            raise SettingError("stream", stream, f"expected one of {', '.join(_STREAMS)}")
        check_scan(rescan, scan_timeframe, scan_bars, scan_pairs, max_q)
        self._given: Final[dict[str, Any]] = {
            "hedge": "ols", "history_rows": _HISTORY_ROWS, **settings,
        }  # fmt: skip
        defaults = Settings(**self._given)
        asked = asked_pairs(pairs, all_pairs=rescan == "off")
        self._runner: Final = BoardRunner(
            feed, stream, defaults.ticks_held, clock or SystemClock()
        )  # fmt: skip
        self._recorder: Final = BoardRecorder(self._runner)
        self._serving: Final = BoardServing(self, self._runner)
        self._rescan: Rescan | None = None
        self._pages: dict[str, BoardPage] = {}
        for why in asked.refused:
            self._runner.log("warning", why)
        for pair, own in asked.pairs.items():
            self._put(pair, own)
        if asked.symbols and rescan != "off":
            own_timeframe = defaults.timeframe if defaults.timeframe != "tick" else "1m"
            self._rescan = Rescan(
                self._runner, asked.symbols, scan_timeframe or own_timeframe, scan_bars,
                scan_pairs, max_q, self._put, self.remove,
            )  # fmt: skip
            self._runner.kept = frozenset(asked.symbols)
            self._runner.background = self._rescan.run
        elif rescan == "bar":
            raise SettingError("rescan", rescan, "it scans symbols: give symbols, not pairs")

    # -- pairs --------------------------------------------------------------------------------

    def _put(self, pair: Pair, own: Mapping[str, Any] = MappingProxyType({})) -> BoardPair:
        settings = Settings(**{**self._given, **own})
        if pair != _DEFAULT_PAIR:
            settings.require_explicit_hedge_ratio()
        return self._runner.add(pair, settings)

    def add(self, pair: PairName, **settings: Unpack[SettingKwargs]) -> BoardPair:
        """Put a pair on the board, also while it runs; it is warm at once where ticks are held.

        Parameters
        ----------
        pair : two symbols
            As ``("BTCUSDT", "ETHUSDT")``.
        **settings
            Of this pair alone, on top of the board's.

        Returns
        -------
        BoardPair
            The same one if it is there already; its settings are then changed.

        Raises
        ------
        SettingError
            For what is no pair, a setting out of range, or one pair too many.
        """
        chosen = read_pair(pair)
        if chosen in self._runner.pairs:
            there = self._runner.pairs[chosen]
            there.settings.update(**settings)
            return there
        if len(self._runner.pairs) >= MOST_PAIRS:
            raise SettingError("pair", pair, f"the board is full: it has {MOST_PAIRS:,} pairs")
        return self._put(chosen, settings)

    def remove(self, pair: PairName) -> BoardPair:
        """Take a pair off the board; a symbol that no other pair has is subscribed no more.

        Returns
        -------
        BoardPair
            With the rows and alerts that it had.

        Raises
        ------
        SettingError
            If it is not on the board.
        """
        return self._runner.remove(self[pair].pair)

    def __getitem__(self, pair: PairName) -> BoardPair:
        """Return a pair of the board: its rows, its alerts, its settings, its dashboard's lab."""
        chosen = read_pair(pair)
        if chosen not in self._runner.pairs:
            turned = Pair(chosen.x, chosen.y)
            hint = f"did you mean {turned!r}? " if turned in self._runner.pairs else ""
            raise SettingError("pair", pair, f"{hint}it is not on the board")
        return self._runner.pairs[chosen]

    def __contains__(self, pair: object) -> bool:
        try:
            return read_pair(pair) in self._runner.pairs
        except SettingError:
            return False

    def __len__(self) -> int:
        return len(self._runner.pairs)

    def __iter__(self) -> Iterator[BoardPair]:
        return iter(list(self._runner.pairs.values()))

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs on the board, in the order in which they came."""
        return tuple(self._runner.pairs)

    # -- start and stop -----------------------------------------------------------------------

    def start(self) -> Self:
        """Begin on the running loop and return at once; a second call does nothing.

        Raises
        ------
        PairlabError
            Outside a running event loop (a plain script: use ``async with Board(…)``).
        """
        self._runner.start()
        return self

    stop = _forward("_runner", BoardRunner.stop)
    wait_async = _forward("_runner", BoardRunner.wait_async)
    wait_closed = _forward("_runner", BoardRunner.wait_closed)

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._runner.running

    def wait(self, rows: int = 1, timeout_s: float = 30.0) -> None:
        """Block this cell, but not the stream, until all pairs together have so many rows.

        Raises
        ------
        SettingError
            If `rows` is no whole number, or `timeout_s` no number of seconds, 0 or more.
        WaitTimeoutError
            After `timeout_s` seconds, saying how many there are.
        FeedError
            If every feed fails meanwhile.
        PairlabError
            If the board is not started.
        """
        check_wait(rows, timeout_s)
        if self.loop is None or not self.running:
            raise PairlabError("wait() needs a started board: call start() first")
        run_inside(self.loop, lambda: self.wait_async(rows, timeout_s), timeout_s)

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

    # -- rows, alerts, files ------------------------------------------------------------------

    @property
    def latest(self) -> pd.DataFrame:
        """One line a pair, what needs attention first.

        Columns: those of `PairLab.history`, then ``deviation_round_trips`` (what the deviation is
        worth, in costs of a round trip), ``state`` and ``detail`` of its feeds. Indexed by y and x.
        """
        return board_frame(board_snapshot(self._runner))

    def history(
        self, pair: PairName, last: int | None = None, since: Moment | None = None
    ) -> pd.DataFrame:
        """Return the newest rows of a pair, as `PairLab.history` does."""
        return self[pair].history(last, since)

    def alerts(self) -> pd.DataFrame:
        """Return the alerts and setting changes of all pairs, oldest first, indexed by time."""
        return self._runner.alerts.frame()

    @property
    def alert_log(self) -> BoardAlerts:
        """The same as objects, each with its pair."""
        return self._runner.alerts

    @property
    def scanned(self) -> pd.DataFrame | None:
        """What the newest rescan found, as `pairlab.ScanResult.frame`; None before the first."""
        return None if self._rescan is None else self._rescan.frame

    def to_csv(
        self,
        target: str | os.PathLike[str] | IO[str],
        what: Literal["latest", "alerts"] = "latest",
    ) -> None:
        """Write the table or the alerts to a file; `Board[pair]` writes its own history.

        Raises
        ------
        SettingError, DataError
            If there is no such table, or the name is that of another format.
        OSError
            If the file cannot be written.
        """
        require_text_target(target)
        tables: dict[str, Callable[[], pd.DataFrame]] = {
            "latest": lambda: self.latest, "alerts": self.alerts,
        }  # fmt: skip
        if what not in tables:
            raise SettingError("what", what, "expected 'latest' or 'alerts'")
        frame = tables[what]()
        frame["source"] = self._runner.info.name
        frame.to_csv(target, lineterminator="\n")

    record = _forward("_recorder", BoardRecorder.record)
    serve = _forward("_serving", BoardServing.serve)

    @property
    def recording(self) -> BoardRecording | None:
        """The newest recording, under way or ended; None if there was none."""
        return self._recorder.newest

    # -- how it is ----------------------------------------------------------------------------

    def health(self) -> BoardHealth:
        """Return how feeds, kernel and loop are, at this moment."""
        return board_health(self._runner, self._rescan)

    @property
    def event_log(self) -> EventLog:
        """The newest messages about feeds, pairs and screen, oldest first."""
        return self._runner.event_log

    log = _forward("_runner", BoardRunner.log)
    call_on_loop = _forward("_runner", BoardRunner.call_on_loop)
    attach = _forward("_runner", BoardRunner.attach)

    def on_update(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Have a function called after each batch, as `PairLab.on_update` does."""
        return self._runner.listeners.on_update(listener)

    def on_alert(self, callback: BoardAlertCallback) -> Callable[[], None]:
        """Have a function called with each new alert of any pair, as `PairLab.on_alert` does.

        What a pair that is added while the board runs decided before is in the log alone.

        Parameters
        ----------
        callback : callable
            Takes a `BoardAlert`: its ``pair``, its ``entry`` (a `pairlab.alerts.Alert`, or a
            `pairlab.board_protocol.BreakAlert` of a rescan) and, with
            the pair's name, its ``sentence``. A coroutine function is awaited on the board's loop,
            for 60 s at most; a plain one runs on a thread of its own. What it raises is counted
            (`listener_errors`), told in the event log, and stops nothing.

        Returns
        -------
        callable
            Ends it: nothing more is delivered. A second call does nothing.

        Raises
        ------
        SettingError
            If `callback` cannot be called.
        """
        return self._runner.listeners.subscribe(callback)

    @property
    def listener_errors(self) -> int:
        """How often functions given to `on_update` and `on_alert` raised, or took too long."""
        return self._runner.listeners.errors

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop on which it was started; None before."""
        return self._runner.loop

    # -- on the screen ------------------------------------------------------------------------

    def snapshot(self) -> BoardSnapshot:
        """Return every pair at this moment: what the page shows."""
        return board_snapshot(self._runner)

    def lab(self, pair: Pair) -> LabView:
        """Return a pair as a lab: what its dashboard shows."""
        return self[pair]

    def newest_alerts(self, most: int) -> list[BoardAlert]:
        """Return the newest alerts of all pairs, newest first."""
        return list(itertools.islice(reversed(self._runner.alerts), most))

    @property
    def alert_total(self) -> int:
        """How many alerts and changes of settings there ever were."""
        return self._runner.alerts.total

    def page(self, theme: ThemeName = "dark") -> BoardPage:
        """Return the table, the heat map and the log of alerts as a widget; each call the same.

        Parameters
        ----------
        theme : {"dark", "light", "jupyterlab"}
            Colours.
        """
        from pairlab.widgets.board.board_page import BoardPage

        page = self._pages.get(theme)
        if page is None or page.comm is None:
            page = self._pages[theme] = BoardPage(self, theme)
        return page

    def _repr_mimebundle_(self, **kwargs: object) -> object:
        """Show the page where a notebook displays the board."""
        return self.page()._repr_mimebundle_(**kwargs)
