"""The z-score with its thresholds, their zones, the alerts and the position."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from pairlab.costs import break_even_z
from pairlab.protocols import LabView, WhatIfOutcome, WhatIfView
from pairlab.schema import Snapshot
from pairlab.settings import SettingValues
from pairlab.widgets.charts.chart import Chart, legend, value
from pairlab.widgets.charts.decimation import trim
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.panels.view_toolbar import ViewTools
from pairlab.widgets.style.formats import (
    MISSING,
    count,
    currency,
    extent,
    number,
    safe,
    signed,
)
from pairlab.widgets.style.theme import SIZES, icon, var
from pairlab.widgets.transport.bqplot_marks import Axis, Lines, Scatter
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["ZScoreChart"]

_TICK_GAP_PX: Final = 10.5
_LOW_PLOT_PX: Final = 160
"""Height of the plot in a narrow layout, which decides which thresholds have room for a label."""
_GHOSTS: Final = 150
"""Marks of each kind that are drawn of what might have been."""
_POSITIONS: Final = {1: "LONG", -1: "SHORT", 0: "FLAT"}


def _time_text(frame: Frame, snapshot: Snapshot | None) -> str:
    if snapshot is None:
        return ""
    sign = icon("cursor", var("muted"), 11) if frame.pointed is not None else ""
    return f'<span class="pairlab-when">{sign}{frame.when(snapshot.time_ns)}</span>'


def _break_even(frame: Frame) -> float:
    """Return the |z| that pays a round trip, in tenths: the band stands while σ wanders."""
    row, v = frame.read, frame.values
    if row is None or v.fee_bps <= 0.0:
        return math.nan
    reach = break_even_z(row, v.fee_bps, v.price_scale)
    return math.ceil(10.0 * reach) / 10.0 if math.isfinite(reach) else math.nan


def _break_even_words(reach: float, high: float) -> str:
    """Return the |z| that pays a round trip, with its line's sample while that is in view."""
    words = f"break-even ±{number(reach, 1)}"
    if reach >= high:
        return f'<small>{words}<span class="pairlab-roomy">, above this chart</span></small>'
    line = f'<i class="pairlab-dashed" style="color:{var("warn")}"></i>'
    return f'<span class="pairlab-key">{line}</span><small>{words}</small>'


def _supposed_words(outcome: WhatIfOutcome, unit: str) -> str:
    """Return what thresholds would have made, in words that tell it from what was."""
    v = outcome.values
    stop = "off" if v.stop_z is None else number(v.stop_z)
    tone = "corr" if outcome.net > 0 else "stop"
    settings = (
        f"entry {number(v.entry_z)}, exit {number(v.exit_z)}, stop {stop}, ρ ≥ "
        f"{number(v.min_correlation)}, {v.fee_bps:g} bps a fill"
    )
    trades = "trade" if outcome.trades == 1 else "trades"
    tried = f"{count(outcome.tried)} setting{'' if outcome.tried == 1 else 's'} tried"
    if not outcome.at_trades:
        tried += ", filled at the next bar's prices as these trades are not held"
    return (
        f"<div><p><b class='pairlab-if'>WHAT IF</b> {count(outcome.trades)} {trades}, net "
        f'<b style="color:{var(tone)}">{signed(outcome.net)}</b> {safe(unit)}, of which costs '
        f"<b>{number(outcome.costs)}</b>, over the {extent(outcome.span_s)} held; last third "
        f"<b>{signed(outcome.last_net)}</b> on {count(outcome.last_trades)}</p>"
        f"<p>{safe(settings)} · {tried}, in sample · {count(int(outcome.capital))} "
        f"{safe(unit)} of y a trade</p></div>"
    )


def _segments(x: list[list[float]], y: list[list[float]]) -> dict[str, Any]:
    """Return x and y of one line that is broken after every second point."""
    ends = np.full((2, len(x), 3), np.nan)
    if x:
        ends[0, :, :2], ends[0, :, 2], ends[1, :, :2] = x, np.array(x)[:, 1], y
    return {"x": ends[0].ravel()[:-1], "y": ends[1].ravel()[:-1]}


class ZScoreChart(Chart):
    """z-score with its thresholds, their zones, the alerts, and a ribbon of the position.

    Parameters
    ----------
    lab : LabView
        Whose rows.
    clock : bool
        Label the time axis (in the dashboard only the lowest chart does).
    """

    chart_name = "zscore"
    plot_px, margins_px = SIZES.zscore_plot, (3, 7)
    column = "zscore"
    marker_scale = 1.0
    _ghosts_shown = False
    _what_if: WhatIfView | None = None  # at the first frame, which comes before it is whole

    def __init__(self, lab: LabView, *, clock: bool = True) -> None:
        self.tools = ViewTools(lab)
        super().__init__(lab, clock=clock)
        self._supposed = HTML().add_class("pairlab-supposed")
        self.children = (*self.children, self._supposed)
        self._what_if = lab.what_if

    def draw(self) -> list[Any]:
        """Return zones, thresholds, ribbon, line and end value, from back to front."""
        self._unpaid = self.zone("muted", 0.1)
        self._break_even = self.line("warn", 1, line_style="dash_dotted")
        self._zones = [self.zone(colour, 0.09) for colour in ("x", "y")]
        self._zero = self.line("axis", 1)
        self._exits = self.line("muted", 1, line_style="dotted")
        self._entries = self.line("x", 1, line_style="dashed")
        self._entries.colors = [var("x"), var("y")]
        self._stops = self.line("stop", 1)
        self._ribbons = {side: self.line(c, 5) for side, c in ((1, "y"), (-1, "x"))}
        self._curve = self.line("z")
        self._end = self.end_marks("z")
        scales = {"x": self.times, "y": self.scale}
        self._ghosts = [
            Scatter(
                x=[], y=[], scales=scales, marker=shape, default_size=size, fill=False,
                colors=[var("sim")], stroke=var("sim"), stroke_width=1.5,
            )
            for shape, size in (("triangle-up", 52), ("triangle-down", 52), ("circle", 34))
        ]  # fmt: skip
        self._losing = Scatter(
            x=[], y=[], scales=scales, marker="circle", default_size=150, fill=False,
            colors=[var("warn")], stroke=var("warn"), stroke_width=1.25,
        )  # fmt: skip
        self.joins = tuple(
            Lines(
                x=[], y=[], scales=scales, colors=[var(colour)], stroke_width=1.5,
                line_style="dashed", opacities=[0.8],
            )
            for colour in ("corr", "stop")
        )  # fmt: skip
        self._changes = Lines(
            x=[], y=[], scales=scales, colors=[var("text2")], stroke_width=1, line_style="dotted"
        )
        return [
            self._unpaid, self._break_even, *self._zones, self._zero, self._exits, self._entries,
            self._stops, *self._ribbons.values(), self._changes, self._curve, *self.joins,
            *self._end, *self._ghosts, self._losing,
        ]  # fmt: skip

    def axes(self) -> list[Axis]:
        """Return one axis per colour of the threshold labels."""
        self._labels = {c: self.axis(c) for c in ("muted", "text2", "stop")}
        # A low chart has no room for three labels around zero: style.css shows one or the other.
        self._exit_labels = {
            layout: self.axis(
                "muted", tick_style={"fill": var("muted"), f"--pairlab-{layout}": "1"}
            )
            for layout in ("wide", "narrow")
        }
        return [*self._labels.values(), *self._exit_labels.values()]

    def paint_lines(self, frame: Frame) -> None:
        """Send the curve, its end, the ribbon and, when they moved, the thresholds."""
        low, high = self._range(frame.thinned.bounds("zscore"), frame.values)
        self._place_thresholds(frame, low, high)
        self._paint_unpaid(frame, low, high)
        self.show_curve(frame, self._curve, self._end, signed)
        self._paint_ribbon(frame, low + (high - low) * 2.5 / SIZES.zscore_plot)

    @staticmethod
    def _range(z: tuple[float, float], values: SettingValues) -> tuple[float, float]:
        reach = values.stop_z or values.entry_z + 1
        low = float(np.fmin(-reach, z[0]))
        high = float(np.fmax(reach, z[1]))
        # Half steps, so that the scale stands still while the line wanders; room for the ribbon.
        return math.floor(low * 2 - 1.1) / 2, math.ceil(high * 2 + 0.5) / 2

    def _place_thresholds(self, frame: Frame, low: float, high: float) -> None:
        v = frame.values
        entry, exit_, stop = v.entry_z, v.exit_z, v.stop_z
        if not self.changed("levels", (entry, exit_, stop, low, high, frame.span_ns)):
            return
        set_traits(self.scale, min=low, max=high)
        set_traits(self._zones[0], **self.across(frame, entry, high))
        set_traits(self._zones[1], **self.across(frame, -entry, low))
        set_traits(self._zero, **self.across(frame, 0.0))
        set_traits(self._exits, **self.across(frame, exit_, -exit_))
        set_traits(self._entries, **self.across(frame, entry, -entry))
        if stop is None:
            set_traits(self._stops, x=[], y=[])
        else:
            set_traits(self._stops, **self.across(frame, stop, -stop))
        px = SIZES.zscore_plot / (high - low)
        zero = {0.0: f"±{number(exit_)} exit"}
        apart = {0.0: "0", exit_: f"{signed(exit_)} exit", -exit_: f"{signed(-exit_)} exit"}
        entries = {entry: f"{signed(entry)} entry", -entry: f"{signed(-entry)} entry"}
        stops = {} if stop is None else {s: f"{signed(s)} stop" for s in (stop, -stop)}
        low_px = _LOW_PLOT_PX / (high - low)
        if stop is not None and (stop - entry) * low_px < _TICK_GAP_PX:
            entries = {}
        elif 2 * entry * low_px < _TICK_GAP_PX:
            entries, zero, apart = {0.0: f"±{number(entry)} entry"}, {}, {}
        elif entry * low_px < _TICK_GAP_PX:
            zero = {}
        at_foot = {low + 2.5 / px: "position"}
        for colour, labels in (("muted", at_foot), ("text2", entries), ("stop", stops)):
            self.show_ticks(self._labels[colour], labels)
        crowded = (entry - exit_) * px < _TICK_GAP_PX
        wide = apart if exit_ * px >= _TICK_GAP_PX and not crowded else zero
        self.show_ticks(self._exit_labels["wide"], wide)
        self.show_ticks(self._exit_labels["narrow"], zero)

    def _paint_unpaid(self, frame: Frame, low: float, high: float) -> None:
        """Draw the |z| that pays for a round trip, and ring the entries that were below it.

        What lies below it is shaded where its edge is in view: a shade over the whole chart would
        not tell where it ends.
        """
        reach = _break_even(frame)
        if self.changed("unpaid", (reach, low, high, frame.span_ns)):
            nothing: dict[str, Any] = {"x": [], "y": []}
            seen = [at for at in (-reach, reach) if low < at < high]
            set_traits(self._break_even, **(self.across(frame, *seen) if seen else nothing))
            shade = self.across(frame, max(-reach, low), min(reach, high)) if seen else nothing
            set_traits(self._unpaid, **shade)
        if frame.text_due and self.changed("losing", frame.alerts_key):
            entries = [alert for alert in frame.alerts if alert.loses_by_construction]
            set_traits(
                self._losing,
                x=np.array([alert.time_ns / 1e6 for alert in entries]),
                y=np.array([self.marked_value(alert) for alert in entries], np.float64),
            )

    def _paint_trades(self, frame: Frame) -> None:
        """Join entries with their exits, by what they made; a line where thresholds changed."""
        key = frame.alerts_key, self.scale.min, self.scale.max
        if not (frame.text_due and self.changed("trades", key)):
            return
        for mark, paid in zip(self.joins, (True, False), strict=True):
            ends = [(a, b) for a, b, net_bps in frame.trades if (net_bps > 0.0) == paid]
            times = [[a.time_ns / 1e6, b.time_ns / 1e6] for a, b in ends]
            at = [[self.marked_value(a), self.marked_value(b)] for a, b in ends]
            set_traits(mark, **_segments(times, at))
        times = [[change.time_ns / 1e6] * 2 for change in frame.changes]
        set_traits(
            self._changes, **_segments(times, [[self.scale.min, self.scale.max]] * len(times))
        )

    def _paint_ribbon(self, frame: Frame, at: float) -> None:
        for side, mark in self._ribbons.items():
            # A segment, and a point without a value, which breaks the line.
            spans = [(start, end, end) for start, end in frame.thinned.held(side)]
            xs = np.array(spans, dtype=np.float32).ravel()
            ys = np.full(len(xs), at)
            ys[2::3] = np.nan
            xs, ys = trim(xs, ys)
            set_traits(mark, x=xs, y=ys)

    def paint(self, frame: Frame) -> None:
        """Show `frame`, and while thresholds are moved what they would have made."""
        super().paint(frame)
        if self._what_if is not None and len(frame.rows):
            self._what_if.prepare()  # the engine is compiled: there is time before a first drag
        self._paint_trades(frame)
        outcome = None if self._what_if is None else self._what_if.outcome
        if outcome is None and not self._ghosts_shown:
            return
        key = None if outcome is None else (outcome.number, frame.alerts_key[1:])
        if self.changed("ghosts", key):
            self._paint_ghosts(frame, outcome)

    def _paint_ghosts(self, frame: Frame, outcome: WhatIfOutcome | None) -> None:
        self._ghosts_shown = outcome is not None
        if outcome is None:
            for mark in self._ghosts:
                set_traits(mark, x=[], y=[])
            self._supposed.value = ""
            return
        _, _, since_ns, until_ns = frame.alerts_key
        up, down, left = self._ghosts
        for mark, times, z, which in (
            (up, outcome.entry_ns, outcome.entry_z, outcome.entry_side > 0),
            (down, outcome.entry_ns, outcome.entry_z, outcome.entry_side < 0),
            (left, outcome.exit_ns, outcome.exit_z, outcome.exit_ns >= 0),
        ):
            seen = np.flatnonzero(which & (times >= since_ns) & (times <= until_ns))[-_GHOSTS:]
            set_traits(mark, x=times[seen] / 1e6, y=z[seen])
        self._supposed.value = _supposed_words(outcome, currency(self.render_loop.lab.pair.y))

    def head_text(self, frame: Frame) -> str:
        """Return name, time, z and position."""
        row = frame.read
        shown = MISSING if row is None else signed(row.zscore)
        side = MISSING if row is None else _POSITIONS[row.position]
        words = "frozen, recorded rows" if len(frame.past.rows) else "frozen"
        frozen = f'<span class="pairlab-held">{words}</span>' if frame.frozen else ""
        when = _time_text(frame, row)
        reach = _break_even(frame)
        pays = _break_even_words(reach, self.scale.max) if math.isfinite(reach) else ""
        return (
            f"<h3>Z-score</h3><small>σ</small>{pays}{when}{frozen}{legend('z', 'z', shown)}"
            f'<span class="pairlab-key">position{value(side)}</span>'
        )
