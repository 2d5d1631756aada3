"""Protocols between a lab and what surrounds it: what displays read, and what it notifies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable

from pairlab.alerts import AlertLog
from pairlab.data.row_store import RowStore
from pairlab.data.time_selection import Moment
from pairlab.health import Health
from pairlab.schema import LogEntry, LogLevel, Pair, Snapshot
from pairlab.settings import Settings, SettingValues

__all__ = ["DisplayListener", "LabView", "Service", "Table"]

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
        """Exchange time of the newest tick, ns since 1970 UTC; 0 before the first."""

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
