"""What can listen to a pipeline: every tick, row and rebuild, in order, by reference."""

from __future__ import annotations

from typing import Protocol

from pairlab.data.alert_log import AlertLog
from pairlab.schema import Records

__all__ = ["PipelineTap"]


class PipelineTap(Protocol):
    """Is called on the pipeline's thread, between two ticks, and must return at once.

    What it is given is never written to again, so that it may keep it. Events come from
    `Journal.observe`: each before the ticks and rows that it applies to.
    """

    def on_ticks(self, first: int, ticks: Records) -> None:
        """Take a batch whose first tick has this ordinal."""

    def on_rows(self, epoch: int, first: int, rows: Records) -> None:
        """Take rows that were appended, and the number of the first within their epoch."""

    def on_alerts(self, alerts: AlertLog) -> None:
        """Note that there are new alerts in the log."""

    def on_warm(self) -> None:
        """Note that what came since a reset lies before the time that a replay was sent to."""

    def on_rebuilt(self, epoch: int, tick: int, count: int, held: Records) -> None:
        """Note that a new epoch begins with `count` recomputed rows, of which `held` are kept."""
