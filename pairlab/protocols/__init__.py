"""Protocols between a lab and what surrounds it: what displays read, and what it notifies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pairlab.alerts import Alert
from pairlab.data.alert_log import AlertLog
from pairlab.data.row_store import RowStore
from pairlab.data.time_selection import Moment
from pairlab.health import Health
from pairlab.protocols.outcomes import SessionMoney, WhatIfMap, WhatIfOutcome
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
    "SessionView",
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


class SessionView(Protocol):
    """What a display shows of the money that a session made. Called on the lab's loop."""

    @property
    def since_ns(self) -> int | None:
        """Exchange time of the first tick that counts, ns since 1970 UTC; None before it."""

    @property
    def money(self) -> SessionMoney:
        """What the decisions have made until now."""

    def curve(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return times (ns since 1970 UTC) and equity over the whole session, thinned out."""


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
    def session_pnl(self) -> SessionView | None:
        """What decisions make, from the first call on; None for what decides nothing any more."""

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
