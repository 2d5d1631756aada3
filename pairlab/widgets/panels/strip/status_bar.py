"""The status bar: pair, feed, z, signal, profit, stationarity."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

from ipywidgets import Button, HBox

from pairlab.alerts import Alert
from pairlab.costs import edge_bps, profit, round_trip_bps
from pairlab.data.alert_log import AlertLog
from pairlab.formatting import compared, decimals_apart
from pairlab.limits.stationarity import largest_p
from pairlab.protocols import LabView
from pairlab.schema import NS_PER_S, AlertKind, RowFlag, Snapshot, kalman_rows
from pairlab.settings import SettingValues
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.panels.export import ExportButton
from pairlab.widgets.panels.filter_text import entry_filters, p_words
from pairlab.widgets.panels.record_button import RecordButton
from pairlab.widgets.panels.strip.feed_health import FeedHealth
from pairlab.widgets.panels.strip.legend import legend_panel
from pairlab.widgets.style.formats import (
    MISSING,
    duration,
    exact,
    number,
    p_value,
    quote,
    safe,
    signed,
)  # fmt: skip
from pairlab.widgets.style.theme import icon, var
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["StatusBar"]

_PAUSE: Final = ("Freeze charts and tables; the feed continues", "Continue with the newest rows")

_VERDICT_STANDS_S: Final = 2.0
"""How long the verdict of the stationarity test is shown at least."""


def _two(first: str, second: str) -> str:
    return f'<div class="pairlab-one">{first}</div><div class="pairlab-two">{second}</div>'


class StatusBar(LabWidget, HBox):  # type: ignore[misc]
    """Pair, feed, z, signal, profit and stationarity; Pause, Record and Export.

    Every state has a word and a shape beside its colour, and its reasons in the tooltip. The feed
    opens to its figures: ticks a second, lag, ages of the legs, gaps.

    Parameters
    ----------
    lab : LabView
        Whose state.
    """

    def __init__(self, lab: LabView) -> None:
        own = {n: HTML(description=n) for n in ("pair", "z", "signal", "net", "test")}
        for name, cell in own.items():
            cell.add_class(f"pairlab-cell-{name}").add_class("pairlab-cell")
        self._feed = FeedHealth()
        self._cells = {**own, **self._feed.cells}
        self.on_frontend(self._feed.opener, "click", self._on_feed)
        self._pause = Button(description="Pause", tooltip=_PAUSE[False])
        self._pause.add_class("pairlab-button-pause")
        self.on_frontend(self._pause, "click", self._on_pause)
        self.export = ExportButton(lab)
        record = [] if lab.recordings is None else [RecordButton(lab)]
        self._help = Button(
            description="?", tooltip="Legend: what every word and sign means (key: ?)"
        ).add_class("pairlab-button-legend")
        self.on_frontend(self._help, "click", self._on_help)
        buttons = HBox([self._pause, *record, self.export, self._help])
        buttons.add_class("pairlab-buttons")
        self._opened = self._explained = False
        self._newest: Alert | None = None
        self._left_ns: int | None = None
        self._verdict: tuple[int | None, int, object] = (None, 0, None)
        pair, *rest = own.values()
        super().__init__([pair, self._feed.box, *rest, buttons, self._feed.detail, legend_panel()])
        for style in ("pairlab", "pairlab-panel", "pairlab-status-bar"):
            self.add_class(style)
        self.join(lab)

    def _on_pause(self, _: Any) -> None:
        view = self.render_loop.view
        view.pause(not view.paused)

    def _on_feed(self, _: Any) -> None:
        self._opened = not self._opened
        self.toggle_class("pairlab-open", self._opened)

    def _on_help(self, _: Any) -> None:
        self._explained = not self._explained
        self.toggle_class("pairlab-legend-open", self._explained)

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
        self._feed.paint(frame, self.render_loop, opened=self._opened)
        self._paint_z(frame.live)
        row = frame.live
        # Not the position: the signal's panel and the chart say it too, of the same row.
        if not self._verdict_stands(None if row is None else row.stationary, frame):
            self._paint_test(frame)
        self._paint_signal(frame)
        self._paint_net(frame)

    def _verdict_stands(self, state: int | None, frame: Frame) -> bool:
        """Return whether the test's verdict is kept: it came a moment ago.

        At the tick timeframe it may last for a few hundredths of a second, which nobody can read.
        What is decided is not touched by it; nor is what changes with a setting or the feed.
        """
        shown, since_ns, under = self._verdict
        around = (frame.values, frame.health.state)
        if shown == state and under == around:
            return False
        flickers = None not in (shown, state) and under == around
        if flickers and 0 <= frame.now_ns - since_ns < _VERDICT_STANDS_S * NS_PER_S:
            return True
        self._verdict = (state, frame.now_ns, around)
        return False

    def _set(self, name: str, text: str, tooltip: str) -> None:
        set_traits(self._cells[name], value=text, tooltip=tooltip)

    def _paint_pair(self, frame: Frame) -> None:
        pair, v = self.render_loop.lab.pair, frame.values
        hedge = {"fixed": "fixed β", "ols": "OLS β", "kalman": "Kalman β"}[v.hedge]
        self._set(
            "pair",
            # A heading above those of the parts: a page's h1 must not be followed by an h3.
            _two(
                f'<h2><span style="color:{var("y")}">{safe(pair.y)}</span>'
                f'<i> / </i><span style="color:{var("x")}">{safe(pair.x)}</span></h2>',
                safe(f"{v.timeframe} · {hedge} · {v.window:,} rows"),
            ),
            f"y = {pair.y}, bought when the spread is bought; x = {pair.x}, sold against it",
        )

    def _paint_z(self, row: Snapshot | None) -> None:
        z = MISSING if row is None else signed(row.zscore)
        self._set(
            "z",
            f'<span class="pairlab-hero-name">z</span><b class="pairlab-hero">{safe(z)}</b>',
            "z-score of the newest row: the spread's distance from its mean, in deviations",
        )

    def _paint_net(self, frame: Frame) -> None:
        """Show the open position's profit, and whether an entry could pay its costs."""
        row, v, entry = frame.live, frame.values, frame.alert_log.opened
        if entry is not None and (row is None or entry.side != row.position):
            entry = None  # its row is not the newest one yet
        currency = quote(self.render_loop.lab.pair)
        net, small, tone = MISSING, "no position", "text2"
        if entry is not None and row is not None and currency is not None:
            scale = entry.settings.price_scale
            made = profit(entry.side, entry.at, scale, row.y, row.x, v.fee_bps)
            if math.isfinite(made.net):
                net, tone = signed(made.net), "corr" if made.net >= 0 else "warn"
                small = f"{currency} net"
        pays, words, reason = self._pays(row, v)
        self._set(
            "net",
            f'<div class="pairlab-net" style="color:{var(tone)}"><b>{safe(net)}</b>'
            f'<small> {safe(small)}</small></div><div class="pairlab-two">'
            f"{pays}{safe(words)}</div>",
            "Net profit of one unit of y, at the last prices, after two fills at the entry and two "
            f"to close now.\n{reason}",
        )

    @staticmethod
    def _pays(row: Snapshot | None, v: SettingValues) -> tuple[str, str, str]:
        """Return whether an entry at the threshold is worth its costs: a sign, words, a reason."""
        if row is None or not math.isfinite(row.spread_std):
            return "", "cost not known yet", ""
        at_entry = edge_bps(replace(row, zscore=v.entry_z), v.price_scale)
        cost = round_trip_bps(v.fee_bps, row, v.price_scale)
        if not (math.isfinite(at_entry) and math.isfinite(cost)):
            return "", "cost not known yet", ""
        pays = at_entry >= cost
        places = decimals_apart(at_entry, cost)
        sign = icon("check", var("corr")) if pays else icon("warning", var("warn"))
        relation = "≥" if pays else "<"
        return (
            sign,
            f"entry {number(at_entry, places)} {relation} cost {number(cost, places)} bps",
            f"At |z| = {number(v.entry_z)} the spread is {number(at_entry, places)} bps of y's "
            f"notional from its mean: the most that an entry can earn. A round trip costs "
            f"{number(cost, places)} bps at a fee of {v.fee_bps:g} bps a fill."
            + ("" if pays else " An entry at this threshold loses even if it reverts in full."),
        )

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
                ("LONG", "up", "long") if position > 0 else ("SHORT", "down", "short")
            )
        else:
            name, sign, kind = "FLAT", "dash", "flat"
        self._find_last_alerts(frame.alert_log)
        lines = self._reasons(frame, position)
        word = f"{name} <i>SPREAD</i>" if position else name  # shortened where there is no room
        outline = " pairlab-outline" if quiet or not position else ""
        self._set(
            "signal",
            f'<div class="pairlab-chip pairlab-chip-{kind}{outline}">{icon(sign)}{word}</div>'
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
            away = -position * row.zscore - v.exit_z  # z goes back to 0 on its way out
            if math.isfinite(away) and away > 0:
                out += f" · {number(away)} away"
            elif row.provisional:
                out += " · at the bar's close"
            since = ""
            if entry is not None and entry.side == position:
                silence_s = self._feed.silence_s(frame, self.render_loop)
                held_s = (frame.live_ns - entry.time_ns) / NS_PER_S + silence_s
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
        to_go = f" · {number(entry_z - reach, decimals)} away" if reach < entry_z else ""
        lines = [f"|z| {number(reach, decimals)} {sign} {number(entry_z, decimals)}{to_go}"]
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
