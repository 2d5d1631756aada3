"""Curves as SVG that fits any width; labels and markers stand beside them and stay readable."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.alerts import Alert
from pairlab.schema import NS_PER_S
from pairlab.widgets.charts.chart import MARKERS, nice_ticks
from pairlab.widgets.charts.decimation import Decimated
from pairlab.widgets.core.time_axis import label_step_ms
from pairlab.widgets.still.page_data import plain
from pairlab.widgets.style.formats import clock, day, number
from pairlab.widgets.style.theme import icon, var

__all__ = ["SvgChart", "TimeSpan"]

Floats = NDArray[np.float64]

_WIDTH: Final = 1_000.0
_HEIGHT: Final = 300.0
_TICK_PX: Final = 26  # room that a label of the value axis wants
_DAY_MS: Final = 86_400_000
_MOST_MARKS: Final = 150


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """The time that all charts of a page show.

    Attributes
    ----------
    first_ns, last_ns : int
        Both ends; the last is after the first.
    """

    first_ns: int
    last_ns: int

    @classmethod
    def of(cls, first_ns: int, last_ns: int) -> TimeSpan:
        """Return a span; of one moment, a second around it."""
        return cls(first_ns, last_ns) if last_ns > first_ns else cls(first_ns - NS_PER_S, last_ns)

    def across(self, before_end_ms: Floats) -> Floats:
        """Return where moments are: ms before the end become 0 to 1,000."""
        return _WIDTH * (1.0 + before_end_ms * 1e6 / (self.last_ns - self.first_ns))

    def share(self, time_ns: int) -> float:
        """Return where a moment is, 0 to 1."""
        return (time_ns - self.first_ns) / (self.last_ns - self.first_ns)

    def labels(self) -> list[tuple[float, str]]:
        """Return where round times are, 0 to 1, and how they are told."""
        step = label_step_ms((self.last_ns - self.first_ns) / NS_PER_S)
        found = []
        at_ms = (self.first_ns // 1_000_000 // step + 1) * step
        while at_ms * 1_000_000 <= self.last_ns:
            several_days = self.last_ns - self.first_ns > 43_200 * NS_PER_S
            midnight = several_days and at_ms % _DAY_MS == 0
            at_ns = at_ms * 1_000_000
            told = day(at_ns) if midnight else clock(at_ns, milliseconds=step < 1_000)
            if not midnight and step >= 60_000:
                told = told[:5]
            found.append((self.share(at_ns), told))
            at_ms += step
        return found


@dataclass
class SvgChart:
    """One chart: lines and areas from back to front, then labels and marks.

    Attributes
    ----------
    title, unit : str
        Its head; `unit` is smaller.
    px : int
        Height of the plot.
    span : TimeSpan
        What it shows.
    low, high : float
        Ends of the value axis.
    keys : list of str
        Legend, HTML.
    """

    title: str
    unit: str
    px: int
    span: TimeSpan
    low: float
    high: float
    keys: list[str] = field(default_factory=list)
    _shapes: list[str] = field(default_factory=list)
    _labels: list[str] = field(default_factory=list)
    _marks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        room = max(abs(self.high), abs(self.low), 1e-9) * 1e-6
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            self.low, self.high = -1.0, 1.0
        elif self.high - self.low < room:
            self.low, self.high = self.low - room, self.high + room

    def _down(self, values: Floats) -> Floats:
        with np.errstate(invalid="ignore", over="ignore"):
            down = _HEIGHT * (self.high - values) / (self.high - self.low)
        # A value far outside is drawn at the edge: numbers of a path must stay small.
        return np.clip(down, -_HEIGHT, 2 * _HEIGHT)

    def key(self, name: str, colour: str, shown: str, *, dashed: bool = False) -> None:
        """Add an entry to the legend."""
        style = "dashed" if dashed else "solid"
        self.keys.append(
            f'<span class="key"><i class="{style}" style="color:{var(colour)}"></i>{plain(name)}'
            f'<b style="color:{var("text" if dashed else colour)}">{plain(shown)}</b></span>'
        )

    def line(self, x: Floats, y: Floats, colour: str, width: float = 1.4, dash: str = "") -> None:
        """Add a line through points; what is no number interrupts it."""
        path = _path(self.span.across(x), self._down(y))
        kind = "" if dash or width == 1 else ' class="curve"'
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        if path:
            self._shapes.append(
                f'<path{kind} d="{path}" fill="none" stroke="{var(colour)}" stroke-width="{width}"'
                f'{dashes} stroke-linejoin="round" vector-effect="non-scaling-stroke"/>'
            )

    def curve(self, drawn: Decimated, name: str, colour: str, width: float = 1.4) -> None:
        """Add a column of the rows, with every extreme."""
        x, y = drawn.extremes(name)
        self.line(x.astype(float), y, colour, width)

    def band(self, x: Floats, low: Floats, high: Floats, colour: str) -> None:
        """Fill the area between two lines."""
        across, top, bottom = self.span.across(x), self._down(high), self._down(low)
        known = np.isfinite(top) & np.isfinite(bottom)
        for run in _runs(known):
            edge = np.concatenate([across[run], across[run][::-1]])
            around = np.concatenate([top[run], bottom[run][::-1]])
            path = _path(edge, around)
            if path:
                self._shapes.append(f'<path d="{path}Z" fill="{var(colour)}" fill-opacity=".15"/>')

    def zone(self, low: float, high: float, colour: str, opacity: float = 0.09) -> None:
        """Fill the whole width between two values."""
        top, bottom = self._down(np.array([max(low, high), min(low, high)])).tolist()
        top, bottom = max(top, 0.0), min(bottom, _HEIGHT)
        if bottom > top:
            self._shapes.append(
                f'<path d="M0 {top:.1f}H1000V{bottom:.1f}H0Z" fill="{var(colour)}" '
                f'fill-opacity="{opacity}"/>'
            )

    def level(
        self, value: float, colour: str, label: str = "", dash: str = "", tone: str = ""
    ) -> None:
        """Add a line across the whole width, and its label at the left."""
        if not self.low <= value <= self.high:
            return
        self.line(np.array([-1e18, 0.0]), np.array([value, value]), colour, 1, dash)
        if label:
            self._label(value, label, tone or colour)

    def held(self, drawn: Decimated, side: int, colour: str) -> None:
        """Show at the foot when a position was held."""
        for start, end in drawn.held(side):
            left, right = self.span.across(np.array([start, end])).tolist()
            self._shapes.append(
                f'<path d="M{left:.1f} 293H{max(right, left + 1):.1f}V300H{left:.1f}Z" '
                f'fill="{var(colour)}"/>'
            )

    def axis(self, decimals: int = 0, colour: str = "muted") -> None:
        """Label round values at the left, with a grid line each."""
        ticks, needed = nice_ticks(self.low, self.high, max(self.px // _TICK_PX, 2))
        for tick in ticks:
            self._shapes.insert(
                0,
                f'<path d="M0 {float(self._down(np.array([tick]))[0]):.1f}H1000" stroke="'
                f'{var("grid")}" stroke-width="1" vector-effect="non-scaling-stroke"/>',
            )
            self._label(tick, number(tick, max(needed, decimals)), colour)

    def axis_at_right(self, low: float, high: float, decimals: int, colour: str) -> None:
        """Label round values of another scale at the right."""
        ticks, needed = nice_ticks(low, high, max(self.px // _TICK_PX, 2))
        decimals = max(needed, decimals)
        for tick in ticks:
            top = 100 * (high - tick) / (high - low)
            self._labels.append(
                f'<span class="right" style="top:{top:.2f}%;color:{var(colour)}">'
                f"{plain(number(tick, decimals))}</span>"
            )

    def overlay(self, other: SvgChart) -> None:
        """Draw another chart's lines over this one's, on that one's scale."""
        self._shapes.extend(other._shapes)

    def _label(self, value: float, text: str, colour: str) -> None:
        top = float(self._down(np.array([value]))[0]) / _HEIGHT * 100
        self._labels.append(
            f'<span class="left" style="top:{top:.2f}%;color:{var(colour)}">{plain(text)}</span>'
        )

    def marks(self, alerts: tuple[Alert, ...], name: str) -> None:
        """Mark the newest alerts at their values."""
        seen = [a for a in alerts if self.span.first_ns <= a.time_ns <= self.span.last_ns]
        for alert in seen[-_MOST_MARKS:]:
            value = getattr(alert.at, name)
            if not self.low <= value <= self.high:
                continue
            mark = next(m for m in MARKERS if m.kind == alert.kind and m.side in (0, alert.side))
            colour = mark.fill if mark.fill != "panel" else mark.stroke
            top = float(self._down(np.array([value]))[0]) / _HEIGHT * 100
            self._marks.append(
                f'<span class="mark" style="left:{100 * self.span.share(alert.time_ns):.3f}%;'
                f'top:{top:.2f}%" title="{plain(alert.sentence)}">'
                f"{icon(mark.icon, var(colour), 11)}</span>"
            )

    def html(self, *, clock: bool) -> str:
        """Return the chart; with `clock` the time axis is labelled."""
        labels = self.span.labels()
        lines = "".join(
            f'<path d="M{1000 * at:.1f} 0V300" stroke="{var("grid")}" stroke-width="1" '
            'vector-effect="non-scaling-stroke"/>'
            for at, _ in labels
        )
        times = ""
        if clock:
            times = "".join(
                f'<span class="time{" minor" if n % 2 else ""}" style="left:{100 * at:.3f}%">'
                f"{plain(told)}</span>"
                for n, (at, told) in enumerate(labels)
            )
            times = f'<div class="times">{times}</div>'
        return (
            f'<section class="chart"><header><h2>{plain(self.title)}</h2>'
            f"<small>{plain(self.unit)}</small>{''.join(self.keys)}</header>"
            f'<div class="plot" style="height:{self.px}px">'
            f'<svg viewBox="0 0 1000 300" preserveAspectRatio="none" role="img" '
            f'aria-label="{plain(self.title)} over time">{lines}{"".join(self._shapes)}</svg>'
            f"{''.join(self._labels)}{''.join(self._marks)}</div>{times}</section>"
        )


def _runs(known: NDArray[np.bool_]) -> list[slice]:
    edges = np.flatnonzero(np.diff(known, prepend=False, append=False))
    return [slice(a, b) for a, b in zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True)]


def _path(x: Floats, y: Floats) -> str:
    """Return the path through points, in tenths of a unit."""
    x = np.clip(x, 0.0, _WIDTH)
    parts = []
    for run in _runs(np.isfinite(x) & np.isfinite(y)):
        points = [f"{a:.1f} {b:.1f}" for a, b in zip(x[run].tolist(), y[run].tolist(), strict=True)]
        if len(points) == 1:
            points.append(points[0])
        parts.append("M" + "L".join(points))
    return "".join(parts)
