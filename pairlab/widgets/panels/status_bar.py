"""The status bar: pair, feed, rates, ages, gaps, stationarity, signal."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ipywidgets import Button, HBox

from pairlab.alerts import Alert, AlertLog
from pairlab.formatting import compared, decimals_apart
from pairlab.limits.consistency import leg_age_limit_s
from pairlab.limits.stationarity import largest_p
from pairlab.protocols import LabView
from pairlab.schema import NS_PER_S, AlertKind, RowFlag, kalman_rows
from pairlab.settings import SettingValues
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.panels.export import ExportButton
from pairlab.widgets.panels.filter_text import entry_filters, p_words
from pairlab.widgets.panels.record_button import RecordButton, recording_words
from pairlab.widgets.style.formats import (
    MISSING,
    age,
    count,
    duration,
    exact,
    number,
    p_value,
    quantity_ms,
    safe,
    signed,
)  # fmt: skip
from pairlab.widgets.style.theme import icon, var
from pairlab.widgets.transport.message_batching import HTML

if TYPE_CHECKING:
    from pairlab.health import Health

__all__ = ["StatusBar"]

_ALIVE: Final = ("live", "stalled", "reconnecting")
_OLD_LEG_SHARE: Final = 0.5
"""From this share of the limit on, a leg's age is shown as a warning."""

_PAUSE: Final = ("Freeze charts and tables; the feed continues", "Continue with the newest rows")

_BADGES: Final = {
    "stalled": ("warn", "up", "STALLED"),
    "reconnecting": ("warn", "reload", "RECONNECTING"),
    "failed": ("fail", "times", "FAILED"),
    "stopped": ("calm", "square", "STOPPED"),
    "connecting": ("calm", "clock", "CONNECTING"),
}


def _two(first: str, second: str) -> str:
    return f'<div class="pairlab-one">{first}</div><div class="pairlab-two">{second}</div>'


def _caption(name: str, shown: str, unit: str = "", *, warn: bool = False) -> str:
    sign = icon("warning", var("warn"), 12) if warn else ""
    unit = f"<small> {safe(unit)}</small>" if unit else ""
    kind = "pairlab-number pairlab-warn" if warn else "pairlab-number"
    return (
        f'<div class="pairlab-caption">{safe(name)}</div>'
        f'<div class="{kind}">{sign}{safe(shown)}{unit}</div>'
    )


class StatusBar(LabWidget, HBox):  # type: ignore[misc]
    """Pair, feed, rates, ages, gaps, stationarity, signal; Pause, Record and Export.

    Every state has a word and a shape beside its colour, and its reasons in the tooltip.

    Parameters
    ----------
    lab : LabView
        Whose state.
    """

    def __init__(self, lab: LabView) -> None:
        names = ("pair", "feed", "rate", "lag", "ages", "gaps", "test", "signal")
        self._cells = {n: HTML(description=n).add_class(f"pairlab-cell-{n}") for n in names}
        for cell in self._cells.values():
            cell.add_class("pairlab-cell")
        self._pause = Button(description="Pause", tooltip=_PAUSE[False])
        self._pause.add_class("pairlab-button-pause")
        self.on_frontend(self._pause, "click", self._on_pause)
        self.export = ExportButton(lab)
        record = [] if lab.recordings is None else [RecordButton(lab)]
        buttons = HBox([self._pause, *record, self.export]).add_class("pairlab-buttons")
        self._newest: Alert | None = None
        self._left_ns: int | None = None
        super().__init__([*self._cells.values(), buttons])
        for style in ("pairlab", "pairlab-panel", "pairlab-status-bar"):
            self.add_class(style)
        self.join(lab)

    def _on_pause(self, _: Any) -> None:
        view = self.render_loop.view
        view.pause(not view.paused)

    def _paint_pause(self, paused: bool) -> None:
        if self.changed("paused", paused):
            set_traits(
                self._pause, description="Resume" if paused else "Pause", tooltip=_PAUSE[paused]
            )
            (self._pause.add_class if paused else self._pause.remove_class)("pairlab-on")

    def paint(self, frame: Frame) -> None:
        """Update the cells that have changed."""
        self._paint_pause(frame.view.paused)
        if not frame.text_due:
            return
        self._paint_pair(frame)
        self._paint_feed(frame.health)
        self._paint_numbers(frame)
        self._paint_test(frame)
        self._paint_signal(frame)

    def _set(self, name: str, text: str, tooltip: str) -> None:
        set_traits(self._cells[name], value=text, tooltip=tooltip)

    def _paint_pair(self, frame: Frame) -> None:
        pair, v = self.render_loop.lab.pair, frame.values
        hedge = {"fixed": "fixed β", "ols": "OLS β", "kalman": "Kalman β"}[v.hedge]
        self._set(
            "pair",
            _two(
                f'<span style="color:{var("y")}">{safe(pair.y)}</span>'
                f'<i> / </i><span style="color:{var("x")}">{safe(pair.x)}</span>',
                safe(f"{v.timeframe} · {hedge} · {v.window:,} rows"),
            ),
            f"y = {pair.y}, bought when the spread is bought; x = {pair.x}, sold against it",
        )

    def _paint_feed(self, health: Health) -> None:
        recordings = self.render_loop.lab.recordings
        recording = "" if recordings is None else recording_words(recordings.newest)
        source = recording or f"{health.stream} · up {_uptime(health.uptime_s)}"
        replay = self.render_loop.lab.playback
        if health.state == "live" and replay is not None:
            # Not "live": what the screen shows was recorded, and when.
            date = f"{datetime.fromtimestamp(replay.position_ns / NS_PER_S, UTC):%Y-%m-%d}"
            badge = ("replay", "play" if replay.playing else "pause", f"{health.feed} · {date}")
            source = f"{health.stream} · {health.detail}"
        elif health.state == "live":
            kind, sign = ("live", "dot") if health.real_money else ("sim", "diamond")
            badge = (kind, sign, f"{health.feed} · live")
        else:
            badge = _BADGES[health.state]
            source = f"{health.feed} · {health.detail}"
            if health.state == "failed" and "HTTP " in health.detail:
                status = health.detail.split("HTTP ", 1)[1][:3]
                badge = ("fail", "times", f"FAILED · HTTP {status}")
                source = f"{health.feed} · not retried"
        kind, sign, words = badge
        self._set(
            "feed",
            f'<div class="pairlab-badge pairlab-badge-{kind}">{icon(sign, size=11)}<span>'
            f"{safe(words)}</span>"
            f'</div><div class="pairlab-two">{safe(source)}</div>',
            f"{health.feed}: {health.state}. {health.detail}. {health.reconnects} reconnects, "
            f"{count(health.ticks)} ticks of {health.stream}. "
            + ("Real market." if health.real_money else "Not real money: no live market."),
        )

    def _paint_numbers(self, frame: Frame) -> None:
        h, row, v = frame.health, frame.live, frame.values
        known = h.state in ("live", "stalled") or (h.state == "stopped" and h.ticks > 0)
        rate = number(h.ticks_per_s, 0 if h.ticks_per_s >= 9.5 else 1) if known else MISSING
        self._set(
            "rate", _caption("ticks/s", rate), f"{count(h.ticks)} ticks accepted, {_drops(h)}"
        )
        lag = MISSING
        if known and math.isfinite(h.lag_p50_ms):
            lag = f"{quantity_ms(h.lag_p50_ms)} / {quantity_ms(h.lag_p99_ms)}"
        self._set(
            "lag",
            _caption("lag p50 / p99", lag, "" if lag == MISSING else "ms"),
            self._way_words(h),
        )
        ages, old = (math.nan, math.nan), False
        if row is not None:
            # Rows carry ages at trade time; while nothing comes, both grow by the silence.
            silence_s = self._silence_s(frame)
            ages = (row.y_age_s + silence_s, row.x_age_s + silence_s)
            old = max(ages) >= _OLD_LEG_SHARE * leg_age_limit_s(v)
        pair = self.render_loop.lab.pair
        text = MISSING if row is None else f"{age(ages[0])} / {age(ages[1])}"
        self._set(
            "ages",
            _caption("age y / x", text, "" if row is None else "s", warn=old),
            f"Since the last trade: {pair.y} {age(ages[0])} s, {pair.x} {age(ages[1])} s; "
            f"no entry from {leg_age_limit_s(v):g} s on",
        )
        gaps = MISSING if h.state == "failed" and not h.ticks else count(h.gaps)
        self._set(
            "gaps",
            _caption("gaps", gaps, warn=h.gaps > 0),
            f"Gaps in the trade ids that could not be filled: {count(h.missing)} trades missing",
        )

    def _way_words(self, h: Health) -> str:
        """Return how long every stretch of the way to the screen takes."""
        drawn = self.render_loop.latency.p50_p99_ms()
        ways = [
            ("From the exchange's event to its receipt here, corrected by the clocks' offset",
             h.lag_p50_ms, h.lag_p99_ms),
            ("Receipt to row", h.row_p50_ms, h.row_p99_ms),
            ("Receipt until the browser has drawn the row first", *drawn),
        ]  # fmt: skip
        lines = [f"{name}: {quantity_ms(p50)} / {quantity_ms(p99)} ms" for name, p50, p99 in ways]
        return "Median / 99 %.\n" + "\n".join(lines)

    def _silence_s(self, frame: Frame) -> float:
        """Seconds since the newest tick; 0 for pauses that an ordinary frame rate explains."""
        if self.changed("tick", (frame.newest_ns, frame.cursor)):
            self._tick_came_ns = frame.now_ns
        quiet_s = (frame.now_ns - self._tick_came_ns) / NS_PER_S
        alive = frame.health.state in _ALIVE and self.render_loop.lab.playback is None
        return quiet_s if quiet_s > 1 and alive else 0.0

    def _paint_test(self, frame: Frame) -> None:
        row, h, v = frame.live, frame.health, frame.values
        filled, window = h.filled, v.window
        details = "no p-value yet"
        if row is not None and row.flags & RowFlag.FLAT_SPREAD and filled >= window:
            sign, colour, words = "times", "text", "FLAT SPREAD"
            details = f"zero variance in {window:,} rows"
        elif row is not None and row.stationary >= 0:
            sign, colour, words = (
                ("check", "corr", "STATIONARY") if row.stationary
                else ("times", "warn", "NOT STATIONARY")
            )  # fmt: skip
            details = f"p {p_value(row.p_value)} · half-life {number(row.half_life, 1)}"
        else:
            sign, colour, words = "clock", "text2", "NOT ENOUGH DATA"
        text = f'<div class="pairlab-state" style="color:{var(colour)}">{icon(sign)}{words}</div>'
        if words == "NOT ENOUGH DATA" and filled < window:
            left_s = (window - filled) / h.ticks_per_s if h.ticks_per_s > 0 else math.nan
            bars = v.timeframe != "tick"
            left = f", {duration(left_s)} left" if math.isfinite(left_s) and not bars else ""
            details = f"{filled:,} of {window:,} rows{left}"
            text += (
                f'<div class="pairlab-bar"><i style="width:{100 * filled / window:.0f}%"></i></div>'
            )
        verdict = ""
        if words == "FLAT SPREAD":
            verdict = "Every spread of the window is the same: no z, no test, no alerts. "
        elif row is not None and row.stationary >= 0:
            sign = "≤" if row.stationary else ">"
            verdict = f"{p_words(row.p_value, sign, largest_p(v))}. "
        what = "ADF on the spread" if v.hedge == "fixed" else "Engle-Granger on the residual"
        self._set(
            "test",
            f'{text}<div class="pairlab-two">{safe(details)}</div>',
            f"{verdict}{what} over the window, {v.adf_lags} lag: stationary when "
            f"p ≤ {compared(math.nan, largest_p(v), 4)[1]}, which {window:,} rows need for a level "
            f"of {exact(v.max_p_value, 3)} (MacKinnon 2010). "
            f"{_half_life_words(v)}",
        )

    def _paint_signal(self, frame: Frame) -> None:
        row, h = frame.live, frame.health
        position = 0 if row is None else row.position
        quiet = h.state != "live" or row is None
        if position:
            name, sign, kind = (
                ("LONG SPREAD", "up", "long") if position > 0 else ("SHORT SPREAD", "down", "short")
            )
        else:
            name, sign, kind = "FLAT", "dash", "flat"
        self._find_last_alerts(frame.alert_log)
        lines = self._reasons(frame, position)
        outline = " pairlab-outline" if quiet or not position else ""
        self._set(
            "signal",
            f'<div class="pairlab-chip pairlab-chip-{kind}{outline}">{icon(sign)}{name}</div>'
            f'<div class="pairlab-why">{"<br>".join(safe(line) for line in lines if line)}</div>',
            self._signal_words(frame, position),
        )

    def _reasons(self, frame: Frame, position: int) -> list[str]:
        """Return the two lines beside the signal."""
        row, h, v = frame.live, frame.health, frame.values
        if row is None:
            return ["no data"]
        if position:
            entry = frame.alert_log.opened
            out = f"out at z {'≥' if position > 0 else '≤'} {signed(-position * v.exit_z)}"
            since = ""
            if entry is not None and entry.side == position:
                held_s = (frame.live_ns - entry.time_ns) / NS_PER_S + self._silence_s(frame)
                since = f"in at z {signed(entry.at.zscore)} · {duration(held_s)}"
            return [since, out if h.state == "live" else "no new rows"]
        if h.filled < v.window:
            return ["no signals before", f"{v.window:,} rows"]
        if row.flags & RowFlag.WARMING:
            return ["no signals before", f"{kalman_rows(v.kalman_half_life):,} rows"]
        if not math.isfinite(row.zscore):
            return ["z is –", "zero variance"]
        reach, entry_z = abs(row.zscore), v.entry_z
        decimals = decimals_apart(reach, entry_z)
        sign = "<" if reach < entry_z else "≥"
        lines = [f"|z| {number(reach, decimals)} {sign} {number(entry_z, decimals)}"]
        held_back = [words for passed, words in entry_filters(row, v, self._left_ns) if not passed]
        if held_back:
            lines.append(held_back[0])
        else:
            lines.append("filters pass" if h.state == "live" else "no new rows")
        return lines

    def _signal_words(self, frame: Frame, position: int) -> str:
        """Return the whole of the signal's reasons: what it waits for, and what came last."""
        row, v = frame.live, frame.values
        latest = self._newest
        last = "No alert yet." if latest is None else f"Last alert: {latest.sentence}"
        if row is None:
            return last
        if position:
            side = "≥" if position > 0 else "≤"
            words = f"Out when z {side} {signed(-position * v.exit_z)}"
            if v.stop_z is not None:
                against = "≤" if position > 0 else "≥"
                words += f", stopped when z {against} {signed(-position * v.stop_z)}"
            if v.max_hold_s:
                words += f", stopped after {v.max_hold_s:,g} s"
            return f"{words}; z is {_signed_apart(row.zscore, -position * v.exit_z)}.\n{last}"
        filters = entry_filters(row, v, self._left_ns)
        listed = "; ".join(f"{'✓' if passed else '✕'} {words}" for passed, words in filters)
        z = _signed_apart(row.zscore, math.copysign(v.entry_z, row.zscore))
        return (
            f"In when |z| ≥ {number(v.entry_z)} and every filter passes; z is {z}.\n"
            f"{listed}\n{last}"
        )

    def _find_last_alerts(self, log: AlertLog) -> None:
        if self.changed("alerts", log.total):
            self._newest = next(log.newest_first(), None)
            left = (a for a in log.newest_first() if a.kind in (AlertKind.EXIT, AlertKind.STOP))
            self._left_ns = next((a.time_ns for a in left), None)


def _half_life_words(v: SettingValues) -> str:
    """Return what a half-life is worth: how long it reads where nothing reverts at all."""
    if v.hedge == "kalman":
        return "Half-life in rows, of what the filter leaves of the spread: its own is longer."
    median, tenth = (6.7, 1.8) if v.hedge == "fixed" else (12.0, 4.1)
    return (
        f"Half-life in rows. Where nothing reverts, half of the windows of {v.window:,} rows still "
        f"read below {v.window / median:,.0f}, and nine in ten below {v.window / tenth:,.0f}."
    )


def _signed_apart(value: float, limit: float) -> str:
    return signed(value, decimals_apart(value, limit))


def _uptime(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}"


def _drops(health: Health) -> str:
    dropped = {reason: n for reason, n in health.dropped.items() if n}
    if not dropped:
        return "none dropped"
    return "dropped: " + ", ".join(f"{n:,} {reason}" for reason, n in dropped.items())
