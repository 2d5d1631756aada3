"""What widgets need of a board, and of each of its moments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pairlab.alerts import Alert, SettingChange
from pairlab.health import BoardHealth
from pairlab.protocols import DisplayListener, LabView
from pairlab.schema import LogEntry, LogLevel, Pair, Records

__all__ = [
    "BoardAlert",
    "BoardAlertCallback",
    "BoardSnapshot",
    "BoardView",
    "BreakAlert",
    "BreakKind",
]


BreakKind: TypeAlias = Literal["BREAK", "DRIFT"]


class BreakAlert(NamedTuple):
    """A pair is not what it was, as its monitoring at a rescan has found.

    Attributes
    ----------
    kind : {"BREAK", "DRIFT"}
        A structural break of the spread, or a drift of the hedge ratio.
    time_ns : int
        Close of the newest bar that was scanned, ns since 1970 UTC.
    ratio : float
        The largest CUSUM of the monitored bars, in boundaries (`pairlab.monitor_break`): 1 or more.
    """

    kind: BreakKind
    time_ns: int
    ratio: float

    @property
    def reason(self) -> str:
        """The deciding comparison, short enough for a table cell."""
        return f"CUSUM {self.ratio:.2f} ≥ 1"

    @property
    def sentence(self) -> str:
        """What happened and why, in one sentence."""
        what = {"BREAK": "structural break of the spread", "DRIFT": "drift of the hedge ratio"}
        return (
            f"{what[self.kind]}: its CUSUM reached {self.ratio:.2f} times the boundary, which 5 % "
            "of unchanged pairs ever do."
        )


class BoardAlert(NamedTuple):
    """An alert, or a change of a setting, of one pair of a board.

    Attributes
    ----------
    pair : Pair
        Whose.
    entry : Alert, BreakAlert or SettingChange
        What was decided, with every number, found by a rescan, or changed.
    """

    pair: Pair
    entry: Alert | BreakAlert | SettingChange

    @property
    def sentence(self) -> str:
        """What happened and why, with the pair's name."""
        return f"{self.pair.y} / {self.pair.x}: {self.entry.sentence}"


BoardAlertCallback: TypeAlias = Callable[[BoardAlert], object]
"""A plain or a coroutine function that takes an alert of a board."""


class BoardSnapshot(NamedTuple):
    """Every pair of a board at one moment, in the order in which they came to it.

    Attributes
    ----------
    pairs : tuple of Pair
        The pairs.
    rows : array of pairlab.ROW
        The newest row of each; NaN where there is none yet.
    round_trips : array
        What each deviation is worth, in costs of a round trip.
    y_age_s, x_age_s : array
        Since each leg has traded.
    states : list of (str, str)
        Of each pair's feeds, and why.
    order : array of int
        The pairs by what needs attention.
    """

    pairs: tuple[Pair, ...]
    rows: Records
    round_trips: NDArray[np.float64]
    y_age_s: NDArray[np.float64]
    x_age_s: NDArray[np.float64]
    states: list[tuple[str, str]]
    order: NDArray[np.int64]


class BoardView(Protocol):
    """What the widgets need of a board. All of it is read on the board's loop."""

    def snapshot(self) -> BoardSnapshot:
        """Return every pair at this moment."""

    def lab(self, pair: Pair) -> LabView:
        """Return a pair as a lab: what its dashboard shows."""

    def newest_alerts(self, most: int) -> list[BoardAlert]:
        """Return the newest alerts of all pairs, newest first."""

    @property
    def alert_total(self) -> int:
        """How many alerts there ever were."""

    @property
    def event_log(self) -> Sequence[LogEntry]:
        """The newest messages, oldest first."""

    def health(self) -> BoardHealth:
        """Return how feeds, kernel and loop are."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that it runs on, or ran on."""

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""

    def log(self, level: LogLevel, message: str) -> None:
        """Add an entry to the event log."""

    def call_on_loop(self, function: Callable[..., object], *args: object) -> None:
        """Run `function` on the board's loop, from any thread."""

    def attach(self, display: DisplayListener) -> None:
        """Notify `display` when the board starts, stops or logs something."""
