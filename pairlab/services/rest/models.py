"""What a client reads, field by field, with units; the OpenAPI schema is made of these."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pairlab.feeds.base import FeedState
from pairlab.settings import SETTINGS

__all__ = [
    "Alert",
    "AlertPage",
    "HealthReport",
    "Latest",
    "Model",
    "Problem",
    "Row",
    "RowPage",
    "SettingChange",
    "StreamMessage",
    "settings_schema",
]

_TIME = "Exchange time, ISO 8601 UTC with the milliseconds (finer if the feed is)."
_NULL = "null until the window is full, or where it is not defined."


class Model(BaseModel):
    """A model that has no other fields."""

    model_config = ConfigDict(extra="forbid")


class Row(Model):
    """One observation and everything computed on it: the columns of `PairLab.history`."""

    time: datetime = Field(description=_TIME)
    y: float | None = Field(description="Last price of y, as traded.")
    x: float | None = Field(description="Last price of x, as traded.")
    hedge_ratio: float | None = Field(description="β: units of x per unit of y.")
    intercept: float | None = Field(description="α of the spread, in units of y.")
    spread: float | None = Field(description="y − β·x − α, in units of y (of ln y at log prices).")
    spread_mean: float | None = Field(description=f"Over the window, units of y; {_NULL}")
    spread_std: float | None = Field(description=f"Over the window, units of y; {_NULL}")
    zscore: float | None = Field(description=f"Standard deviations from the mean; {_NULL}")
    correlation: float | None = Field(description=f"Of the legs over the window, −1 to 1; {_NULL}")
    adf_stat: float | None = Field(description=f"Statistic of the stationarity test; {_NULL}")
    p_value: float | None = Field(description=f"Of the stationarity test, 0 to 1; {_NULL}")
    half_life: float | None = Field(
        description=f"Observations until a deviation has halved; {_NULL}"
    )
    stationary: Literal[-1, 0, 1] = Field(description="1 yes, 0 no, -1 not enough data.")
    position: Literal[-1, 0, 1] = Field(
        description="After this row: 1 long the spread, -1 short, 0 flat."
    )
    y_age_s: float | None = Field(description="How old the last trade of y was, seconds.")
    x_age_s: float | None = Field(description="How old the last trade of x was, seconds.")
    flags: int = Field(
        description="Bits: 1 window not full, 2 flat spread, 4 flat y, 8 flat x, 16 trades are "
        "missing before this row, 32 made from klines fetched at start."
    )
    filled: int = Field(description="Observations in the window.")


class Latest(Row):
    """The newest row, and whether it is final."""

    provisional: bool = Field(description="True for the bar that is still forming.")


_CURSOR = (
    "Give it as `cursor` for what comes after this page; also when there was nothing more, to ask "
    "again later. It stays good while old rows leave the history."
)


class RowPage(Model):
    """Part of the history, oldest first."""

    rows: list[Row]
    next_cursor: str = Field(description=_CURSOR)
    more: bool = Field(description="Whether there was more in the range when this was asked.")
    missed: int = Field(description="Rows after the given cursor that the history has forgotten.")


class Alert(Model):
    """One transition of the signal machine, and why."""

    number: int = Field(description="Counts up from 1.")
    time: datetime = Field(description=_TIME)
    kind: Literal["ENTRY", "EXIT", "STOP", "SUPPRESSED", "DECOUPLED"]
    side: Literal["long", "short"] = Field(
        description="Of the position entered, left, held or wanted."
    )
    reason: str = Field(description="The deciding comparison.")
    sentence: str = Field(description="What happened and why, for a person.")
    explanation: str = Field(description="The sentence and every number that decided it.")
    edge_bps: float | None = Field(
        description="What the distance from the mean was worth, basis points of y's notional."
    )
    withheld: int = Field(description="SUPPRESSED: excursions not reported since the last one.")
    row: Row = Field(description="The row that it was decided on.")
    thresholds: dict[str, float | bool | str | None] = Field(
        description="The settings that it was decided under."
    )


class SettingChange(Model):
    """A setting that was changed while the lab ran."""

    time: datetime = Field(description="Exchange time of the last row before it applied, UTC.")
    kind: Literal["SETTING"]
    setting: str
    old: float | bool | str | None
    new: float | bool | str | None
    sentence: str


class AlertPage(Model):
    """Part of the alert log, oldest first."""

    alerts: list[Alert | SettingChange]
    next_cursor: str = Field(description=_CURSOR)
    more: bool = Field(description="Whether there was more in the log when this was asked.")
    missed: int = Field(description="Entries after the given cursor that the log has forgotten.")


class Versions(Model):
    """What runs here."""

    pairlab: str
    python: str
    numpy: str
    numba: str


class HealthReport(Model):
    """The lab at this moment: `PairLab.health`, and whether it is ready."""

    ready: bool = Field(description="The feed is live and the window is full.")
    reason: str = Field(description="Why it is not ready; empty when it is.")
    time: datetime = Field(description="This machine's clock, UTC.")
    y: str = Field(description="Symbol that is bought when the spread is bought.")
    x: str = Field(description="Symbol that is sold against it.")
    state: FeedState
    detail: str = Field(description="Why the feed is in that state and what comes next.")
    feed: str
    real_money: bool = Field(description="False for everything but the live market.")
    stream: str = Field(description="What a tick is: aggTrade, trade or bookTicker.")
    ticks: int = Field(description="Ticks accepted from the feed.")
    rows: int = Field(description="Rows made of them since the start.")
    alerts: int = Field(description="Entries ever made in the alert log.")
    dropped: dict[str, int] = Field(description="What was not accepted, by reason.")
    reconnects: int
    gaps: int = Field(description="Holes in the ids that could not be filled.")
    missing: int = Field(description="Trades in those holes.")
    late_ticks: int = Field(description="Ticks older than the last closed bar.")
    lag_ms: float | None = Field(description="Exchange to receipt, last tick, milliseconds.")
    lag_p50_ms: float | None = Field(description="Its median, milliseconds.")
    lag_p99_ms: float | None = Field(description="Its 99th percentile, milliseconds.")
    row_p50_ms: float | None = Field(description="Receipt to row, median, milliseconds.")
    row_p99_ms: float | None = Field(description="Receipt to row, 99th percentile, milliseconds.")
    loop_lag_ms: float | None = Field(description="How late the event loop last came round.")
    ticks_per_s: float = Field(description="Over the last two seconds.")
    filled: int = Field(description="Progress of the warm-up: observations in the window …")
    window: int = Field(description="… of so many.")
    uptime_s: float = Field(description="Since the start, seconds.")
    memory_bytes: int = Field(description="Held by history and ticks.")
    stream_readers: int = Field(description="Clients of /stream now.")
    warnings: list[str] = Field(description="What a person should know about the numbers.")
    bad_frames: list[str] = Field(description="The last frames that could not be read, shortened.")
    versions: Versions


class StreamMessage(Model):
    """What /stream sends: everything since the message before it."""

    rows: list[Row] = Field(description="The newest rows, oldest first.")
    skipped_rows: int = Field(description="Rows left out before these: the reader was slow.")
    alerts: list[Alert | SettingChange]
    skipped_alerts: int = Field(description="Entries left out before these.")
    restated: bool = Field(
        description="The history was computed anew under other settings: fetch it again."
    )
    cursor: str = Field(description="Of /analytics/stats and of /stream, right after these rows.")


class Problem(Model):
    """Why a request was refused."""

    detail: str


def settings_schema(*, partial: bool) -> dict[str, Any]:
    """Return the JSON Schema of the settings: all of them, or any of them for a change."""
    properties = {
        name: {
            **knob.schema,
            "description": f"{knob.about} Allowed: {knob.allowed}.",
            "default": knob.default,
        }
        for name, knob in SETTINGS.items()
    }
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    if partial:
        # What a client sends to change one is not what it gets when it leaves one out.
        for words in properties.values():
            del words["default"]
        return schema
    return {**schema, "required": [*SETTINGS]}
