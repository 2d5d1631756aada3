"""Protocols between a lab and what surrounds it: what displays read, and what it notifies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pairlab.alerts import Alert
from pairlab.data.alert_log import AlertLog
from pairlab.data.row_store import RowStore
from pairlab.data.time_selection import Moment
from pairlab.health import Health
from pairlab.schema import LogEntry, LogLevel, Pair, Records, Snapshot
from pairlab.settings import Settings, SettingValues

__all__ = [
    "DisplayListener",
    "LabView",
    "PastPieces",
    "PastView",
    "Playback",
    "RecordingView",
    "RecordingsView",
    "Service",
    "SessionMoney",
    "Table",
    "WhatIfMap",
    "WhatIfOutcome",
    "WhatIfView",
]

Table = Literal["history", "ticks", "alerts"]
"""What can be written to a file."""


class DisplayListener(Protocol):
    """Something on the screen that shows a lab."""

    def start(self) -> None:
        """Paint from now on: the lab runs, maybe again."""

    def finish(self) -> None:
        """Paint a final time and stop painting: the lab has stopped."""

    def refresh(self) -> None:
        """Show what has changed, if nothing is painted now: a log entry, a setting."""

    def close(self) -> None:
        """Release all resources: the lab was replaced."""


class Service(Protocol):
    """Something that serves a lab to others, and ends with it."""

    async def stop(self) -> None:
        """Stop serving, and release all resources."""


class Playback(Protocol):
    """What a transport bar needs of a replay. Everything is called on the lab's loop.

    After the recording's end, or before the lab's start, `play` and `seek` start the lab.
    """

    @property
    def playing(self) -> bool:
        """Whether it goes on by itself; else it is paused, and steps."""

    @property
    def speed(self) -> float:
        """Seconds of the recording per second; infinity: as fast as it goes."""

    @speed.setter
    def speed(self, speed: float) -> None: ...

    @property
    def position_ns(self) -> int:
        """Exchange time up to which it was played, ns since 1970 UTC; 0 before it is open."""

    @property
    def time_span_ns(self) -> tuple[int, int] | None:
        """Exchange times of the first and last tick; None before it is open."""

    @property
    def resets(self) -> int:
        """How often rows were forgotten, because it was started or sent to another time."""

    def play(self) -> None:
        """Go on; after the end, from the beginning."""

    def pause(self) -> None:
        """Stay where it is."""

    def step_tick(self) -> None:
        """Pause, and deliver the next tick alone."""

    def step_row(self) -> None:
        """Pause, and deliver ticks until there is one more row."""

    def seek(self, time_ns: int) -> None:
        """Go to a time, forward or back, ns since 1970 UTC; rows are warm there."""


class RecordingView(Protocol):
    """What a display shows of a recording, under way or ended."""

    @property
    def target(self) -> str:
        """Where it goes."""

    @property
    def state(self) -> str:
        """``opening``, ``recording``, ``waiting``, ``sealing``, ``stopped`` or ``failed``."""

    @property
    def active(self) -> bool:
        """Whether it has not ended."""

    @property
    def error(self) -> str:
        """Why it waits or has failed; empty otherwise."""

    @property
    def ticks(self) -> int:
        """Ticks stored."""

    @property
    def lost_ticks(self) -> int:
        """Ticks left out because they could not be stored for too long."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""

    @property
    def duration_s(self) -> float:
        """Seconds since it was asked for, until it ended."""

    def request_stop(self) -> None:
        """Have it end and seal, without waiting for that."""

    async def stop(self) -> None:
        """End it, and wait until it is sealed."""


class RecordingsView(Protocol):
    """The recordings of a lab."""

    @property
    def newest(self) -> RecordingView | None:
        """The last one that was begun; None if there was none."""

    def record(self, path_or_url: str, /) -> RecordingView:
        """Begin one; raises `PairlabError` for a place that is none."""


class PastPieces(NamedTuple):
    """What was recorded of a span of time.

    Attributes
    ----------
    begins_ns, ends_ns : int or None
        Times of the first and the last row of the whole recording; None without rows.
    complete : bool
        Whether no more of the span will be recorded.
    rows : iterator of numpy.ndarray
        `pairlab.ROW` records in order, read as they are asked for.
    alerts : list of Alert
        Decided within the span.
    """

    begins_ns: int | None
    ends_ns: int | None
    complete: bool
    rows: Iterator[Records]
    alerts: list[Alert]


class PastView(Protocol):
    """Rows that have left a lab's memory and are recorded. Reading is for a thread."""

    @property
    def key(self) -> object:
        """Differs from that of another recording."""

    def read(self, start_ns: int, end_ns: int) -> PastPieces:
        """Return what was recorded between two times, both included, ns since 1970 UTC.

        Raises `DataError` where it cannot be read, or does not belong before the lab's rows.
        """


@dataclass(frozen=True)
class SessionMoney:
    """What the decisions of a session have made, in the quote currency.

    Attributes
    ----------
    capital : float
        Notional of y of every trade, and equity at the start.
    trades, wins : int
        Positions that were left, and those of them that made a profit after all costs.
    net, costs : float
        Of the positions that were left: profit after fees and slippage, and these.
    open_net : float
        Of the position that is held, at the newest trades, after the costs of its entry; 0 if none.
    side : int
        Of the position that is held: 1 long the spread, -1 short, 0 none.
    quantities : tuple of float
        Units of y and x that are held; below 0 is short.
    drawdown : float
        Largest fall of the equity from a peak; at least 0.
    """

    capital: float
    trades: int
    wins: int
    net: float
    costs: float
    open_net: float
    side: int
    quantities: tuple[float, float]
    drawdown: float

    @classmethod
    def nothing(cls, capital: float) -> SessionMoney:
        """Return the start of a session."""
        return cls(capital, 0, 0, 0.0, 0.0, 0.0, 0, (0.0, 0.0), 0.0)

    @property
    def equity(self) -> float:
        """Capital and the profit of all positions."""
        return self.capital + self.net + self.open_net

    def plus(self, later: SessionMoney, drawdown: float = 0.0) -> SessionMoney:
        """Return it with what came later: of which the position held is."""
        return replace(
            later, trades=self.trades + later.trades, wins=self.wins + later.wins,
            net=self.net + later.net, costs=self.costs + later.costs, drawdown=drawdown,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class WhatIfOutcome:
    """What the thresholds of this moment would have made of the rows held.

    Attributes
    ----------
    number : int
        Counts up from 1.
    values : SettingValues
        The settings.
    trades, last_trades : int
        Positions that were filled: all, and those entered in the last third of the time.
    net, costs, last_net : float
        In the quote currency, for `capital` a trade: after costs, the costs, and the last third's.
    capital : float
        Notional of y of every trade.
    span_s : float
        Time that the rows cover.
    tried : int
        How many settings were tried so far: the more, the less the best of them is worth.
    at_trades : bool
        Whether each leg was filled at its own next trade, as a backtest does it; False: at the
        prices of the next bar, as the trades of the rows are not held any more.
    entry_ns, entry_z, entry_side, exit_ns, exit_z : array
        Time, z-score and side (1 long, -1 short) of every entry; time and z-score of every exit.
    """

    number: int
    values: SettingValues
    trades: int
    last_trades: int
    net: float
    costs: float
    last_net: float
    capital: float
    span_s: float
    tried: int
    at_trades: bool
    entry_ns: NDArray[np.int64]
    entry_z: NDArray[np.float64]
    entry_side: NDArray[np.int64]
    exit_ns: NDArray[np.int64]
    exit_z: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WhatIfMap:
    """What every entry z at every timeframe would have made of the ticks held.

    Attributes
    ----------
    number : int
        Counts up from 1.
    timeframes : tuple of str
        Of the rows of `net`.
    entry_z : array, shape (k,)
        Of its columns.
    net : array, shape (len(timeframes), k)
        Net profit in the quote currency; NaN where the window was never full, or where such an
        entry contradicts the other settings.
    trades : array of int, shape (len(timeframes), k)
        Closed ones.
    values : SettingValues
        The other settings, with the costs of that moment.
    span_s : float
        Time that the ticks cover.
    """

    number: int
    timeframes: tuple[str, ...]
    entry_z: NDArray[np.float64]
    net: NDArray[np.float64]
    trades: NDArray[np.int64]
    values: SettingValues
    span_s: float


class WhatIfView(Protocol):
    """Tells, while thresholds are moved, what they would have made."""

    def prepare(self) -> None:
        """Compile what it needs, beside the loop, so that the first outcome comes at once.

        From the second call on nothing happens.
        """

    @property
    def outcome(self) -> WhatIfOutcome | None:
        """The newest; None when no threshold was moved for some seconds."""

    @property
    def map(self) -> WhatIfMap | None:
        """The newest map; None before the first."""

    @property
    def mapping(self) -> bool:
        """Whether a map is being computed."""

    def ask_map(self) -> None:
        """Compute a map, beside the loop; while one is computed, nothing."""


@runtime_checkable
class LabView(Protocol):
    """What the widgets need of a lab, and nothing else: a live one, a replay, or a result.

    All of it is read on the lab's loop. Something that never runs (the result of a backtest) has
    ``running`` False and ``loop`` None; its widgets are painted once and whenever they are used.
    """

    # -- what is shown --------------------------------------------------------------------------

    @property
    def pair(self) -> Pair:
        """Both symbols."""

    @property
    def settings(self) -> Settings:
        """The settings as they are asked for; the controls change them."""

    @property
    def row_settings(self) -> SettingValues:
        """Every setting, those that define a metric as the rows were computed with them."""

    @property
    def rows(self) -> RowStore:
        """The rows, by number; a new epoch begins when the metrics are redefined."""

    @property
    def newest_ns(self) -> int:
        """Exchange time of the newest tick, ns since 1970 UTC; `NO_TIME_NS` before the first."""

    @property
    def alert_log(self) -> AlertLog:
        """Alerts and changes of settings."""

    @property
    def event_log(self) -> Sequence[LogEntry]:
        """The newest entries of the event log, oldest first."""

    @property
    def event_log_total(self) -> int:
        """How many entries there ever were: the log forgets the oldest."""

    def latest(self) -> Snapshot | None:
        """Return the newest row; at bar timeframes the forming bar, provisional."""

    def health(self) -> Health:
        """Return how feed, engine and loop are, at this moment."""

    def price_decimals(self) -> tuple[int, int] | None:
        """Return the decimals of the tick sizes of y and x; None while they are not known."""

    def csv_pieces(
        self, what: Table = "history", start: Moment | None = None, end: Moment | None = None
    ) -> Iterator[str]:
        """Return a table of this moment as CSV, piece by piece, to be consumed on any thread."""

    @property
    def playback(self) -> Playback | None:
        """The transport of a replay; None for what has none: a live lab, a result."""

    @property
    def recordings(self) -> RecordingsView | None:
        """Its recordings; None for what cannot be recorded: a result."""

    @property
    def past(self) -> PastView | None:
        """Where rows are that have left its memory; None: nowhere."""

    @property
    def what_if(self) -> WhatIfView | None:
        """What thresholds would have made while they are moved; None for a result."""

    # -- what a person does ---------------------------------------------------------------------

    @property
    def selected_ns(self) -> tuple[int, int] | None:
        """Both ends of the selected span, ns since 1970 UTC; None: nothing is selected."""

    def select(self, start: Moment | None = None, end: Moment | None = None) -> None:
        """Select a span of time; without arguments, none."""

    def log(self, level: LogLevel, message: str) -> None:
        """Add an entry to the event log."""

    # -- life -----------------------------------------------------------------------------------

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that the lab runs on, or ran on; None before the first start."""

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""

    def call_on_loop(self, function: Callable[..., object], *args: object) -> None:
        """Run `function` on the lab's loop, from any thread; at once where there is no loop."""

    def attach(self, display: DisplayListener) -> None:
        """Notify `display` when the lab starts, stops, logs something, or is replaced."""
