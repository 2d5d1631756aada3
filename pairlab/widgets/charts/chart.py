"""The base of all charts on the shared time axis: header, figure, markers, pointer, end value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from ipywidgets import HBox, Layout, VBox

from pairlab.alerts import Alert
from pairlab.protocols import LabView
from pairlab.schema import AlertKind
from pairlab.widgets.charts.decimation import trim
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.render_loop import RenderLoop
from pairlab.widgets.core.widget_utils import set_ticks, set_traits
from pairlab.widgets.style.formats import MISSING, day, safe
from pairlab.widgets.style.theme import SIZES, TYPE, var
from pairlab.widgets.transport.bqplot_marks import Axis, Figure, Label, LinearScale, Lines, Scatter
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["MARKERS", "Chart", "Marker", "legend", "nice_ticks", "value", "why_empty"]

_CLOCK_HEIGHT: Final = 20

_DENSE: Final = (800, 1_000)
"""Points from which a line of more than 1 px becomes that thin, and below which it does not stay
so: browsers draw up to 1 px several times as fast, and so many points look the same."""

_FADED: Final = 0.35
"""Opacity of a marker that was decided under other thresholds than those in force."""


@dataclass(frozen=True, slots=True)
class Marker:
    """How a kind of alert looks: shape, area in px², fill, stroke."""

    kind: AlertKind
    side: int  # 0: either
    shape: str
    icon: str
    size: int
    fill: str
    stroke: str
    stroke_width: float = 1.0


MARKERS: Final = (
    Marker(AlertKind.ENTRY, 1, "triangle-up", "up", 56, "y", "panel"),
    Marker(AlertKind.ENTRY, -1, "triangle-down", "down", 56, "x", "panel"),
    Marker(AlertKind.EXIT, 0, "circle", "circle", 34, "panel", "text", 1.75),
    Marker(AlertKind.STOP, 0, "square", "square", 52, "stop", "panel"),
    Marker(AlertKind.SUPPRESSED, 0, "diamond", "diamond", 46, "panel", "text2", 1.5),
    Marker(AlertKind.DECOUPLED, 0, "cross", "cross", 52, "text", "panel"),
)
"""The kinds of alerts, as the charts, the table and the legend draw them."""


def legend(name: str, colour: str, shown: str, *, style: str = "line", title: str = "") -> str:
    """Return one entry of a chart's header: a sample of the line, its name, its value."""
    return (
        f'<span class="pairlab-key" title="{safe(title)}">'
        f'<i class="pairlab-{style}" style="color:{var(colour)}"></i>{safe(name)}'
        f"{value(shown, 'text' if style == 'dashed' else colour)}</span>"
    )


def value(shown: str, colour: str = "text") -> str:
    """Return a number of a header in the colour of its line."""
    return f'<b style="color:{var(colour)}">{safe(shown)}</b>'


def nice_ticks(low: float, high: float, most: int) -> tuple[list[float], int]:
    """Return at most `most` round values between `low` and `high`, and the decimals they need."""
    span = high - low
    if not math.isfinite(span) or span <= 0 or most < 1:
        return [], 0
    magnitude = math.floor(math.log10(span / most))
    for power in (magnitude, magnitude + 1):
        for base in (1, 2, 5):
            step = base * 10.0**power
            first, last = math.ceil(low / step), math.floor(high / step)
            if last - first + 1 <= most:
                ticks = [round(n * step, max(-power, 0) + 2) for n in range(first, last + 1)]
                return ticks, max(-power, 0)
    return [], 0


def why_empty(frame: Frame) -> str:
    """Return why there are no rows to draw, what to do, and what comes next; empty if there are."""
    health, past = frame.health, frame.past
    if frame.end is None and past.words:
        return past.words.capitalize() if past.words.startswith("reading") else past.words
    if frame.end is None and past.number:
        return "Nothing was recorded at this time."
    if frame.end is not None or health.rows or health.state in ("live", "stopped"):
        return ""
    return f"No data yet. {health.feed} is {health.state}: {health.detail}"


class Chart(LabWidget, VBox):  # type: ignore[misc]
    """One figure with a header; subclasses say what it draws.

    Parameters
    ----------
    lab : LabView
        Whose rows.
    clock : bool
        Label the time axis, with the day beside it (in the dashboard only the lowest chart does).
    """

    plot_px = 100
    """Height of the plot; the figure adds its margins."""

    margins_px = (2, 4)
    """Above and below the plot; the clock takes more below."""

    column = ""
    """The column of the history that the chart is about: markers and pointer stand on it."""

    tools: Any = None
    """Buttons in the header, if any: made before the chart is."""

    joins: tuple[Any, ...] = ()
    """Marks that join markers with each other."""

    marked: tuple[Marker, ...] = MARKERS
    marker_scale = 0.8
    ring_area = 314

    def __init__(self, lab: LabView, *, clock: bool = True) -> None:
        loop = RenderLoop.of(lab)
        time_axis, interaction = loop.time_axis, loop.interaction
        top, bottom = self.margins_px
        self._clock = clock
        self._widths: dict[str, float] = {}
        self.offsets, self.times = time_axis.offset_scale, time_axis.time_scale
        self.scale = LinearScale(min=0.0, max=1.0, allow_padding=False)
        self.head = HTML().add_class("pairlab-head-text")
        self._markers = [
            Scatter(
                x=[], y=[], scales={"x": self.times, "y": self.scale}, marker=m.shape,
                default_size=round(m.size * self.marker_scale), colors=[var(m.fill)],
                stroke=var(m.stroke), stroke_width=m.stroke_width,
            )
            for m in self.marked
        ]  # fmt: skip
        self._ring = Scatter(
            x=[], y=[], scales={"x": self.times, "y": self.scale}, marker="circle", fill=False,
            default_size=self.ring_area, colors=[var("focus")], stroke=var("focus"),
            stroke_width=1.5,
        )  # fmt: skip
        self._pointer_dots = Scatter(
            x=[], y=[], scales={"x": self.times, "y": self.scale}, marker="circle",
            default_size=20, colors=[var("text")], stroke=var("panel"), stroke_width=1,
        )  # fmt: skip
        self._pointer_time = Label(
            x=[], y=[], text=[], scales={"x": self.times, "y": self.scale}, colors=[var("text")],
            default_size=TYPE.caption, font_weight="bold", align="middle", y_offset=12,
            apply_clip=False,
        )  # fmt: skip
        self._selected = Lines(
            x=[], y=[], scales={"x": self.times, "y": time_axis.unit_scale}, colors=[var("focus")],
            fill="inside", fill_colors=[var("focus")], fill_opacities=[0.12], stroke_width=1,
        )  # fmt: skip
        bottom = _CLOCK_HEIGHT if clock else bottom
        self.figure = Figure(
            marks=[
                self._selected, *self.draw(), *self._markers, self._ring, self._pointer_dots,
                self._pointer_time,
            ],
            axes=[*time_axis.axes, *self.axes()],
            fig_margin={
                "top": top, "bottom": bottom, "left": SIZES.axis_left, "right": SIZES.axis_right,
            },
            padding_x=0, padding_y=0, min_aspect_ratio=0.001, max_aspect_ratio=1000,
            animation_duration=0, display_toolbar=False, interaction=interaction.pointer_selector,
            layout=Layout(width="auto", height=f"{self.plot_px + top + bottom}px", min_width="0"),
        )  # fmt: skip
        tools = [] if self.tools is None else [self.tools]
        self._why_empty = HTML().add_class("pairlab-why-empty")
        header = HBox([self.head, *tools]).add_class("pairlab-head")
        super().__init__([header, self.figure, self._why_empty, interaction.mouse])
        for style in ("pairlab", "pairlab-panel", "pairlab-chart", f"pairlab-{self.chart_name}"):
            self.add_class(style)
        if clock:
            self.add_class("pairlab-clock").add_class("pairlab-dated")
        self.join(lab)

    # -- for subclasses -------------------------------------------------------------------------

    def draw(self) -> Iterable[Any]:
        """Return the marks below the alert markers."""
        raise NotImplementedError

    def axes(self) -> list[Axis]:
        """Return the axes beside the shared time axis."""
        raise NotImplementedError

    def paint_lines(self, frame: Frame) -> None:
        """Send what the lines show of `frame`."""
        raise NotImplementedError

    def head_text(self, frame: Frame) -> str:
        """Return the header's text, as HTML."""
        raise NotImplementedError

    def marked_value(self, alert: Alert) -> float:
        """Return where on the y axis an alert is drawn: the number that it was decided on."""
        return float(getattr(alert.at, self.column))

    def dots_at(self, frame: Frame) -> list[float]:
        """Return the values on which the pointer puts a dot."""
        return [] if frame.pointed is None else [float(getattr(frame.pointed, self.column))]

    def line(self, colour: str, width: float = 1.25, scale: Any = None, **extra: Any) -> Lines:
        """Return a line of rows."""
        return Lines(
            x=[], y=[], scales={"x": self.offsets, "y": scale or self.scale},
            colors=[var(colour)], stroke_width=width, **extra,
        )  # fmt: skip

    def zone(self, colour: str, opacity: float) -> Lines:
        """Return a filled area between two lines that are not drawn."""
        zone = self.line(colour, fill="between", fill_colors=[var(colour)],
                         fill_opacities=[opacity])  # fmt: skip
        zone.colors = ["transparent", "transparent"]
        return zone

    def across(self, frame: Frame, *at: float) -> dict[str, Any]:
        """Return x and y of level lines from edge to edge of the view."""
        x = np.array([-frame.span_ns / 1e6, frame.pad_ms])
        return {"x": x, "y": np.array([[a, a] for a in at]) if len(at) > 1 else np.full(2, at[0])}

    def axis(
        self, colour: str = "muted", side: str = "left", scale: Any = None, **extra: Any
    ) -> Axis:
        """Return an axis whose ticks are set by hand."""
        return Axis(
            scale=scale or self.scale, side=side, grid_lines="none",
            tick_values=[], visible=False, **{"tick_style": {"fill": var(colour)}, **extra},
        )  # fmt: skip

    def end_marks(self, colour: str) -> tuple[Scatter, Label]:
        """Return the dot at a line's end and the value in the right margin."""
        scales = {"x": self.offsets, "y": self.scale}
        dot = Scatter(
            x=[], y=[], scales=scales, marker="circle", default_size=20, colors=[var(colour)],
            stroke=var(colour), stroke_width=0, apply_clip=False,
        )  # fmt: skip
        label = Label(
            x=[], y=[], text=[], scales=scales, colors=[var(colour)], default_size=TYPE.body,
            font_weight="bold", align="start", x_offset=12, apply_clip=False,
        )  # fmt: skip
        return dot, label

    # -- painting -------------------------------------------------------------------------------

    def paint(self, frame: Frame) -> None:
        """Show `frame`; send nothing that is already on the screen."""
        values = frame.values
        self.show_staleness(frame)
        # The numbers at the lines' ends are texts, and of the row that the other texts show.
        ends = self.changed("ends", (frame.chart_version, values)) if frame.text_due else False
        if self.changed("lines", (frame.chart_version, values)) or ends:
            self.paint_lines(frame)
            self._paint_selection(frame)
        self._paint_markers(frame)
        # What it reads may change while it stands still: a row comes, the metrics, the scale.
        if self.changed("pointer", (frame.view.pointer_ns, frame.pointed, self.scale.min)):
            self._paint_pointer(frame)
        if frame.text_due and self.changed("head", (frame.chart_version, frame.read, values)):
            self.paint_head(frame)
        if frame.text_due:
            words = why_empty(frame)
            if self.changed("why empty", words):
                self._why_empty.value = f"<div>{safe(words)}</div>" if words else ""

    def show_line(self, mark: Lines, x: Any, y: Any) -> tuple[float, float]:
        """Send a line and return its last point (x, y), NaN if it has none."""
        x, y = trim(x, y)
        wide = self._widths.setdefault(mark.model_id, mark.stroke_width)
        dense = len(x) > _DENSE[mark.stroke_width == wide]
        set_traits(mark, x=x, y=y, stroke_width=min(wide, 1.0) if dense else wide)
        if not len(x) or y.ndim == 2:
            return math.nan, math.nan
        return float(x[-1]), float(y[-1])

    def show_curve(
        self, frame: Frame, mark: Lines, end: tuple[Scatter, Label], text: Callable[[float], str]
    ) -> None:
        """Send the chart's own column as a line, and the value at its end.

        The dot moves in every frame; the number is a text, and changes with the texts: it is the
        row's that the headers show.
        """
        last = self.show_line(mark, *frame.thinned.extremes(self.column))
        row, shown = frame.end, end[1].text
        if frame.text_due or not len(shown):
            shown = [MISSING if row is None else text(getattr(row, self.column))]
        self.show_end(end, last, str(shown[0]))

    def show_end(self, marks: tuple[Scatter, Label], end: tuple[float, float], text: str) -> None:
        """Put the dot and the value at a line's last point."""
        dot, label = marks
        known = math.isfinite(end[1])
        set_traits(dot, x=[end[0]] if known else [], y=[end[1]] if known else [])
        set_traits(
            label, x=[0.0] if known else [], y=[end[1]] if known else [],
            text=[text] if known else [],
        )  # fmt: skip

    def show_ticks(self, axis: Axis, labels: dict[float, str]) -> None:
        """Set the ticks of an axis and their labels."""
        set_ticks(axis, labels)

    def _paint_markers(self, frame: Frame) -> None:
        # At the text's rate: nobody misses an alert for a tenth of a second.
        if frame.text_due and self.changed("markers", frame.alerts_key):
            values = np.array([self.marked_value(a) for a in frame.alerts], dtype=np.float64)
            (kinds, sides), known = frame.alerts_of, np.isfinite(values)
            for marker, mark in zip(self.marked, self._markers, strict=True):
                mine = known & (kinds == marker.kind)
                if marker.side:
                    mine &= sides == marker.side
                faded = np.where(frame.decided_as_now[mine], 1.0, _FADED).tolist()
                set_traits(
                    mark, x=frame.alerts_ms[mine], y=values[mine],
                    opacities=faded if min(faded, default=1.0) < 1.0 else [1.0],
                )  # fmt: skip
        selected = frame.view.selected
        if self.changed("ring", selected and selected.number):
            at = math.nan if selected is None else self.marked_value(selected)
            known_at = selected is not None and math.isfinite(at)
            time_ms = selected.time_ns / 1e6 if selected is not None else 0.0
            set_traits(self._ring, x=[time_ms] if known_at else [], y=[at] if known_at else [])

    def paint_head(self, frame: Frame) -> None:
        """Set the header's text and, beside a labelled time axis, the day."""
        beside = ""
        if self._clock and len(frame.rows):
            # A view of several days has them in its labels.
            today = "" if frame.days else f"{day(frame.edge_ns)} "
            beside = f'<small class="pairlab-day">{today}UTC</small>'
        if frame.past.words and frame.end is not None:
            beside = f'<small class="pairlab-past">{safe(frame.past.words)}</small>{beside}'
        self.head.value = self.head_text(frame) + beside

    # -- pointer and selection ------------------------------------------------------------------

    def _paint_pointer(self, frame: Frame) -> None:
        row = frame.pointed
        dots = [] if row is None else [v for v in self.dots_at(frame) if math.isfinite(v)]
        time_ms = 0.0 if row is None else row.time_ns / 1e6
        if self._clock:
            text = "" if row is None else frame.when(row.time_ns)
            set_traits(
                self._pointer_time, x=[frame.time_read_ms] if row else [],
                y=[self.scale.min] if row else [], text=[text] if row else [],
            )  # fmt: skip
        set_traits(
            self._pointer_dots, x=np.full(len(dots), time_ms), y=np.array(dots, dtype=np.float64)
        )

    def _paint_selection(self, frame: Frame) -> None:
        wanted = self.render_loop.interaction.selector(frame.view)
        if self.figure.interaction is not wanted:
            self.figure.interaction = wanted
        # While the mouse drags, the browser itself shows the span, in all charts.
        chosen = None if frame.view.brushing else frame.selected_ns
        if self.changed("selection", chosen):
            ends = [] if chosen is None else [ns / 1e6 for ns in chosen]
            corners = np.array([0.0, 1.0, 1.0, 0.0][: 2 * len(ends)])
            set_traits(self._selected, x=np.repeat(ends, 2), y=corners)
