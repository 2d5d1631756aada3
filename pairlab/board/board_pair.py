"""One pair of a board, as a lab that every widget can show: warm at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import pandas as pd

from pairlab.board.board_table import pair_health
from pairlab.board.pair_pipeline import PairPipeline
from pairlab.clock import Clock
from pairlab.data.alert_log import AlertLog
from pairlab.data.row_store import RowStore
from pairlab.data.time_selection import Moment
from pairlab.feeds.base import FeedInfo
from pairlab.health import Health
from pairlab.lab.event_log import EventLog
from pairlab.lab.queries import Queries
from pairlab.lab.record.recording import Recording
from pairlab.lab.record.recordings import Recordings
from pairlab.protocols import (
    DisplayListener,
    PastView,
    Playback,
    Service,
    SessionView,
    Table,
    WhatIfView,
)
from pairlab.schema import LogLevel, Pair, Snapshot
from pairlab.settings import Settings, SettingValues

if TYPE_CHECKING:
    from pairlab.board.runner import BoardRunner

__all__ = ["BoardPair", "goes_on"]


class BoardPair:
    """One pair of a board: a `pairlab.protocols.LabView`.

    `pairlab.Board` makes it. Its settings are its own: change them as those of a `PairLab`.

    Parameters
    ----------
    runner : BoardRunner
        The board's.
    pair : Pair
        The symbols.
    settings : Settings
        Of the pair.
    pipeline : PairPipeline
        Its rows and alerts.

    Attributes
    ----------
    recordings : Recordings
        What begins recordings of this pair alone, and proves the newest of them.
    services : list of Service
        What ends with it.
    """

    def __init__(
        self, runner: BoardRunner, pair: Pair, settings: Settings, pipeline: PairPipeline
    ) -> None:
        self.pair: Final = pair
        self.settings: Final = settings
        self.pipeline: Final = pipeline
        self._runner = runner
        self.recordings: Final = Recordings(self)
        self.services: list[Service] = []
        self._queries: Final = Queries(pipeline, pair, self.health, self.recordings.past)
        self._displays: list[DisplayListener] = []

    # -- rows and alerts ------------------------------------------------------------------------

    @property
    def row_settings(self) -> SettingValues:
        """Every setting, those that define a metric as the rows were made with them."""
        return self.pipeline.values()

    @property
    def rows(self) -> RowStore:
        """The rows by number."""
        return self.pipeline.rows

    @property
    def newest_ns(self) -> int:
        """Exchange time of the newest tick of either leg, ns since 1970 UTC."""
        return self.pipeline.newest_ns

    @property
    def alert_log(self) -> AlertLog:
        """Alerts and setting changes of this pair alone."""
        return self.pipeline.alert_log

    def latest(self) -> Snapshot | None:
        """Return the newest row; at bar timeframes the forming bar, provisional."""
        return self.pipeline.latest()

    def history(self, last: int | None = None, since: Moment | None = None) -> pd.DataFrame:
        """Return the newest rows, as `PairLab.history` does."""
        return self._queries.history(last, since)

    def alerts(self) -> pd.DataFrame:
        """Return the pair's alerts, as `PairLab.alerts` does."""
        return self._queries.alerts()

    def ticks(self) -> pd.DataFrame:
        """Return the ticks held, as `PairLab.ticks` does."""
        return self._queries.ticks()

    def csv_pieces(
        self, what: Table = "history", start: Moment | None = None, end: Moment | None = None
    ) -> Iterator[str]:
        """Return a table of this moment as CSV, piece by piece."""
        return self._queries.csv_pieces(what, start, end)

    @property
    def selected_ns(self) -> tuple[int, int] | None:
        """Both ends of the selected span; None: nothing is selected."""
        return self._queries.selected_ns

    def select(self, start: Moment | None = None, end: Moment | None = None) -> None:
        """Select a span of time; without arguments, none."""
        self._queries.select(start, end)

    # -- the board's ----------------------------------------------------------------------------

    def health(self) -> Health:
        """Return how its two feeds, its engine and the board's loop are."""
        return pair_health(self._runner, self.pair, self.pipeline)

    def price_decimals(self) -> tuple[int, int] | None:
        """Return the decimals of both tick sizes; None while they are not known."""
        return self._runner.price_decimals(self.pair)

    @property
    def event_log(self) -> EventLog:
        """The board's messages."""
        return self._runner.event_log

    @property
    def event_log_total(self) -> int:
        """How many messages there ever were."""
        return self._runner.event_log.total

    def log(self, level: LogLevel, message: str) -> None:
        """Add a line to the board's event log."""
        self._runner.log(level, f"{self.pair.y} / {self.pair.x}: {message}")

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that the board runs on."""
        return self._runner.loop

    @property
    def running(self) -> bool:
        """Whether the board runs, and has this pair."""
        return self._runner.running and self._runner.has(self)

    def call_on_loop(self, function: Callable[..., object], *args: object) -> None:
        """Run a function on the board's loop, from any thread."""
        self._runner.call_on_loop(function, *args)

    def attach(self, display: DisplayListener) -> None:
        """Notify a display when the board starts, stops or logs something, or the pair leaves."""
        self._runner.attach(display)
        self._displays.append(display)

    def leave(self) -> None:
        """Have its displays finish: it is on the board no more."""
        for display in self._displays:
            self._runner.detach(display)
            self._runner.listeners.call(display.finish)
        self.request_stop()

    # -- what is recorded -------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """Source of the time."""
        return self._runner.clock

    @property
    def source(self) -> None:
        """None: a board plays no recording."""
        return

    @property
    def feed_info(self) -> FeedInfo:
        """Name of the market and the stream."""
        return self._runner.info

    @property
    def past(self) -> PastView | None:
        """Where rows are that have left the memory: in its recording. None: nowhere."""
        return self.recordings.past()

    def add_service(self, service: Service) -> None:
        """Stop `service` with the board, or when the pair leaves it."""
        self.services = [*(one for one in self.services if goes_on(one)), service]

    def request_stop(self) -> None:
        """Have its recordings end, without waiting for that."""
        for service in self.services:
            if isinstance(service, Recording):
                service.request_stop()

    # -- what a pair of a board has not ------------------------------------------------------------

    @property
    def playback(self) -> Playback | None:
        """None: a board is live."""
        return None

    @property
    def session_pnl(self) -> SessionView | None:
        """None: a `PairLab` has it."""
        return None

    @property
    def what_if(self) -> WhatIfView | None:
        """None: a `PairLab` has it."""
        return None


def goes_on(service: Service) -> bool:
    """Return whether a service has anything left to stop."""
    return not isinstance(service, Recording) or service.active
