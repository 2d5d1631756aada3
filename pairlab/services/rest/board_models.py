"""Response models of a board's REST API, beside those of a lab's."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from pairlab.board_protocol import BreakKind
from pairlab.feeds.base import FeedState
from pairlab.services.rest import models

__all__ = ["BoardAlertPage", "BoardHealthReport", "PairEntry", "PairList"]


class PairEntry(models.Model):
    """One line of the board's table."""

    y: str = Field(description="Symbol bought when the spread is bought.")
    x: str = Field(description="Symbol sold against it.")
    state: FeedState = Field(description="The worse of its two feeds.")
    detail: str = Field(description="Reason for that state, and what happens next.")
    y_age_s: float | None = Field(description="Since y has traded, seconds; null: never.")
    x_age_s: float | None = Field(description="Since x has traded, seconds; null: never.")
    deviation_round_trips: float | None = Field(
        description="Value of the deviation, in costs of a round trip of both legs."
    )
    row: models.Row | None = Field(description="The newest final row; null before the first.")


class PairList(models.Model):
    """All pairs of the board, what needs attention first."""

    pairs: list[PairEntry]


class _OfPair(models.Model):
    y: str = Field(description="Symbol bought when the spread is bought.")
    x: str = Field(description="Symbol sold against it.")


class BoardAlertEntry(models.AlertEntry, _OfPair):
    """An alert of one pair."""


class BoardSettingChangeEntry(models.SettingChangeEntry, _OfPair):
    """A setting of one pair that was changed while the board ran."""


class BreakEntry(_OfPair):
    """A pair that is not what it was, as its monitoring at a rescan has found."""

    time: datetime = Field(description="Close of the newest bar that was scanned, UTC.")
    kind: BreakKind
    ratio: float = Field(description="Largest CUSUM of the monitored bars, in boundaries.")
    reason: str = Field(description="The deciding comparison.")
    sentence: str = Field(description="What happened and why, in one sentence.")


class BoardAlertPage(models.Model):
    """Part of the log of all pairs' alerts, oldest first."""

    alerts: list[BoardAlertEntry | BoardSettingChangeEntry | BreakEntry]
    next_cursor: str = Field(description="Pass it as `cursor` to get what follows this page.")
    more: bool = Field(description="Whether there was more in the log at the time of the request.")
    missed: int = Field(description="Entries after the given cursor that have left the log.")


class BoardHealthReport(models.Model):
    """`Board.health` at this moment, and whether any symbol is live."""

    ready: bool = Field(description="A symbol at least is live.")
    reason: str = Field(description="Why it is not ready; empty when it is.")
    time: str = Field(description="Clock of the server, ISO 8601 UTC.")
    state: FeedState
    detail: str = Field(description="Reason for the feeds' state, and what happens next.")
    feed: str
    stream: str = Field(description="Source of ticks: aggTrade, trade or bookTicker.")
    real_money: bool = Field(description="False for everything but the live market.")
    pairs: int
    symbols: int = Field(description="Symbols that are subscribed.")
    failed: dict[str, str] = Field(description="Symbols whose feeds have failed, and why.")
    waiting: list[str] = Field(description="Symbols whose missing trades are being fetched.")
    ticks: int = Field(description="Ticks of all symbols.")
    rows: int = Field(description="Rows of all pairs since the start.")
    alerts: int = Field(description="Entries of the log of alerts since the start.")
    ticks_per_s: float = Field(description="Average of the last two seconds.")
    dropped: dict[str, int] = Field(description="Ticks not accepted, by reason.")
    reconnects: int
    gaps: int = Field(description="Gaps in the trade ids that could not be filled.")
    missing: int = Field(description="Trades missing in those gaps.")
    lag_ms: float | None = Field(description="Exchange to receipt, last tick, milliseconds.")
    lag_p50_ms: float | None = Field(description="Median of lag_ms, milliseconds.")
    lag_p99_ms: float | None = Field(description="99th percentile of lag_ms, milliseconds.")
    row_p50_ms: float | None = Field(description="Receipt to row, median, milliseconds.")
    row_p99_ms: float | None = Field(description="Receipt to row, 99th percentile, milliseconds.")
    loop_lag_ms: float | None = Field(
        description="Last measured delay of the event loop, milliseconds."
    )
    uptime_s: float = Field(description="Since the start, seconds.")
    memory_bytes: int = Field(description="Memory reserved for rows and ticks.")
    rescans: int = Field(description="Scans of all pairs so far.")
    rescan_s: float | None = Field(description="Time that the last one took, seconds.")
    versions: models.Versions
