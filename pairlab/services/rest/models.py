"""Response models, field by field, with units: the source of the OpenAPI schema."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from pairlab.feeds.base import FeedState
from pairlab.schema import COLUMN_TEXT, ROW
from pairlab.settings import SETTINGS

__all__ = [
    "AlertEntry",
    "AlertPage",
    "HealthReport",
    "Latest",
    "Model",
    "Problem",
    "Query",
    "Row",
    "RowPage",
    "SettingChangeEntry",
    "StreamMessage",
    "Versions",
    "settings_schema",
]

_TIME_TEXT = "Exchange time, ISO 8601 UTC with the milliseconds (finer if the feed is)."
_NULL_TEXT = "null until the window is full, or where undefined."


class Model(BaseModel):
    """A model in which unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class Query(Model):
    """A query in which unknown fields are errors."""


def _row_fields() -> dict[str, Any]:
    fields: dict[str, Any] = {"time": (datetime, Field(description=_TIME_TEXT))}
    for name, text in COLUMN_TEXT.items():
        # The integers of a row that are shown say yes, no, or neither, but for the flags' bits.
        kind = float | None if ROW[name].kind == "f" else Literal[-1, 0, 1]
        fields[name] = (int if name == "flags" else kind, Field(description=text))
    fields["filled"] = (int, Field(description="Observations in the window."))
    return fields


if TYPE_CHECKING:

    class Row(Model):
        """One observation and the analytics computed on it."""
else:
    Row = create_model(
        "Row",
        __base__=Model,
        __module__=__name__,
        __doc__="One observation and the analytics computed on it: the columns of "
        "`PairLab.history`.",
        **_row_fields(),
    )


class Latest(Row):
    """The newest row, and whether it is final."""

    provisional: bool = Field(description="True for the bar that is still forming.")


_CURSOR_TEXT = (
    "Pass it as `cursor` to get what follows this page, now or later, even if there was nothing "
    "more. It remains valid when old rows leave the history."
)


class RowPage(Model):
    """Part of the history, oldest first."""

    rows: list[Row]
    next_cursor: str = Field(description=_CURSOR_TEXT)
    more: bool = Field(
        description="Whether there was more in the range at the time of the request."
    )
    missed: int = Field(description="Rows after the given cursor that have left the history.")


class AlertEntry(Model):
    """One transition of the signal state machine, with its reason."""

    number: int = Field(description="Consecutive, from 1.")
    time: datetime = Field(description=_TIME_TEXT)
    kind: Literal["ENTRY", "EXIT", "STOP", "SUPPRESSED", "DECOUPLED"]
    side: Literal["long", "short"] = Field(
        description="Of the position entered, left, held or wanted."
    )
    reason: str = Field(description="The deciding comparison.")
    sentence: str = Field(description="What happened and why, in one sentence.")
    explanation: str = Field(description="The sentence, and every number in the decision.")
    edge_bps: float | None = Field(
        description="Value of the distance from the mean, basis points of y's notional."
    )
    withheld: int = Field(
        description="SUPPRESSED: further suppressed entries since the last one reported."
    )
    row: Row = Field(description="The row on which it was decided.")
    thresholds: dict[str, float | bool | str | None] = Field(
        description="The settings at that time."
    )


class SettingChangeEntry(Model):
    """A setting that was changed while the lab ran."""

    time: datetime | None = Field(
        description="Exchange time of the last row before it applied, UTC; null before the first."
    )
    kind: Literal["SETTING"]
    setting: str
    old: float | bool | str | None
    new: float | bool | str | None
    sentence: str


class AlertPage(Model):
    """Part of the alert log, oldest first."""

    alerts: list[AlertEntry | SettingChangeEntry]
    next_cursor: str = Field(description=_CURSOR_TEXT)
    more: bool = Field(description="Whether there was more in the log at the time of the request.")
    missed: int = Field(description="Entries after the given cursor that have left the log.")


class Versions(Model):
    """Versions of the server's software."""

    pairlab: str
    python: str
    numpy: str
    numba: str


class HealthReport(Model):
    """`PairLab.health` at this moment, and whether the lab is ready."""

    ready: bool = Field(description="The feed is live and the window is full.")
    reason: str = Field(description="Why it is not ready; empty when it is.")
    time: datetime = Field(description="Clock of the server, UTC.")
    y: str = Field(description="Symbol bought when the spread is bought.")
    x: str = Field(description="Symbol sold against it.")
    state: FeedState
    detail: str = Field(description="Reason for the feed's state, and what happens next.")
    feed: str
    real_money: bool = Field(description="False for everything but the live market.")
    stream: str = Field(description="Source of ticks: aggTrade, trade or bookTicker.")
    ticks: int = Field(description="Ticks accepted from the feed.")
    rows: int = Field(description="Rows computed since the start.")
    alerts: int = Field(description="Entries of the alert log since the start.")
    dropped: dict[str, int] = Field(description="Ticks not accepted, by reason.")
    reconnects: int
    gaps: int = Field(description="Gaps in the trade ids that could not be filled.")
    missing: int = Field(description="Trades missing in those gaps.")
    late_ticks: int = Field(description="Ticks older than the last closed bar.")
    lag_ms: float | None = Field(description="Exchange to receipt, last tick, milliseconds.")
    lag_p50_ms: float | None = Field(description="Median of lag_ms, milliseconds.")
    lag_p99_ms: float | None = Field(description="99th percentile of lag_ms, milliseconds.")
    row_p50_ms: float | None = Field(description="Receipt to row, median, milliseconds.")
    row_p99_ms: float | None = Field(description="Receipt to row, 99th percentile, milliseconds.")
    loop_lag_ms: float | None = Field(
        description="Last measured delay of the event loop, milliseconds."
    )
    ticks_per_s: float = Field(description="Average of the last two seconds.")
    filled: int = Field(description="Observations in the window so far.")
    window: int = Field(description="Observations in a full window.")
    uptime_s: float = Field(description="Since the start, seconds.")
    memory_bytes: int = Field(description="Memory reserved for history and ticks.")
    stream_readers: int = Field(description="Connected clients of /stream.")
    warnings: list[str] = Field(description="Warnings about the validity of the numbers.")
    bad_frames: list[str] = Field(
        description="The last messages that could not be decoded, shortened."
    )
    versions: Versions


class StreamMessage(Model):
    """A message of /stream: everything since the previous message."""

    rows: list[Row] = Field(description="The newest rows, oldest first.")
    skipped_rows: int = Field(description="Rows omitted before these, because the reader was slow.")
    alerts: list[AlertEntry | SettingChangeEntry]
    skipped_alerts: int = Field(description="Entries omitted before these.")
    restated: bool = Field(
        description="The history was recomputed under other settings: fetch it again."
    )
    cursor: str = Field(description="Cursor after these rows, for /analytics/stats and /stream.")


class Problem(Model):
    """Why a request was refused."""

    detail: str


def settings_schema(*, partial: bool) -> dict[str, Any]:
    """Return the JSON Schema of the settings: of all, or of any subset for a change."""
    properties = {
        name: {
            **spec.schema,
            "description": f"{spec.about} Allowed: {spec.allowed}.",
            "default": spec.default,
        }
        for name, spec in SETTINGS.items()
    }
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    if partial:
        # A setting left out of a change keeps its value instead of taking the default.
        for described in properties.values():
            del described["default"]
        return schema
    return {**schema, "required": [*SETTINGS]}
