"""A small chart as SVG with its own labels: bars, dots and lines on two linear scales."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pairlab.widgets.charts.chart import nice_ticks
from pairlab.widgets.still.page_data import plain
from pairlab.widgets.style.formats import number
from pairlab.widgets.style.theme import var

__all__ = ["Figure", "panel"]

WIDTH: Final = 420
HEIGHT: Final = 172
_LEFT, _RIGHT, _TOP, _FOOT = 58, 14, 8, 20


def panel(name: str, about: str, body: str, *, note: str = "", tip: str = "") -> str:
    """Return a titled panel of a report.

    Parameters
    ----------
    name, about : str
        Its title, and what stands beside it.
    body : str
        HTML.
    note : str
        At the right of the title.
    tip : str
        How it is computed, shown under the pointer.
    """
    far = f'<small class="pairlab-far">{plain(note)}</small>' if note else ""
    return (
        f'<section class="pairlab-figure"><header title="{plain(tip)}"><h3>{plain(name)}</h3>'
        f"<small>{plain(about)}</small>{far}</header>{body}</section>"
    )


@dataclass
class Figure:
    """Marks on two linear scales.

    Attributes
    ----------
    about : str
        What it shows, for screen readers.
    x, y : tuple of float
        Both ends of the scales.
    left : int
        Room for labels at the left, px.
    """

    about: str
    x: tuple[float, float]
    y: tuple[float, float]
    left: int = _LEFT
    _shapes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.x, self.y = _apart(*self.x), _apart(*self.y)

    def across(self, x: float) -> float:
        """Return where a value of x is, px."""
        low, high = self.x
        return self.left + (WIDTH - self.left - _RIGHT) * (x - low) / (high - low)

    def down(self, y: float) -> float:
        """Return where a value of y is, px."""
        low, high = self.y
        return _TOP + (HEIGHT - _TOP - _FOOT) * (high - y) / (high - low)

    def bar(self, left: float, right: float, low: float, high: float, tone: str, tip: str) -> None:
        """Add a bar between two values of x and of y; it is never thinner than a pixel."""
        x1, x2 = sorted((self.across(left), self.across(right)))
        y1, y2 = sorted((self.down(low), self.down(high)))
        self._shapes.append(
            f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{max(x2 - x1, 1.0):.1f}" '
            f'height="{max(y2 - y1, 1.0):.1f}" fill="{var(tone)}">'
            f"<title>{plain(tip)}</title></rect>"
        )

    def dot(self, x: float, y: float, tone: str, tip: str, *, hollow: bool = False) -> None:
        """Add a dot."""
        fill = "none" if hollow else var(tone)
        self._shapes.append(
            f'<circle cx="{self.across(x):.1f}" cy="{self.down(y):.1f}" r="2.6" fill="{fill}" '
            f'stroke="{var(tone)}" stroke-width="1.2" fill-opacity=".75" pointer-events="all">'
            f"<title>{plain(tip)}</title></circle>"
        )

    def line(self, points: Sequence[tuple[float, float]], tone: str, dash: str = "") -> None:
        """Add a line through points; where y is no number it is interrupted."""
        path, pen = "", "M"
        for x, y in points:
            if not math.isfinite(y):
                pen = "M"
                continue
            path += f"{pen}{self.across(x):.1f} {self.down(y):.1f}"
            pen = "L"
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        width = 1 if dash else 1.5
        self._shapes.append(
            f'<path d="{path}" fill="none" stroke="{var(tone)}" stroke-width="{width}"{dashes} '
            'stroke-linejoin="round"/>'
        )

    def level(self, y: float, tone: str = "axis", dash: str = "") -> None:
        """Add a line across the whole width."""
        self.line([(self.x[0], y), (self.x[1], y)], tone, dash)

    def upright(self, x: float, tone: str, label: str, dash: str = "4 3") -> None:
        """Add a line from top to bottom, named at its top."""
        at = self.across(x)
        right = at > WIDTH - 110
        self._shapes.append(
            f'<path d="M{at:.1f} {_TOP}V{HEIGHT - _FOOT}" stroke="{var(tone)}" '
            f'stroke-width="1" stroke-dasharray="{dash}"/>'
        )
        self.text(at + (-4 if right else 4), _TOP + 9, label, tone, "end" if right else "start")

    def text(
        self, x: float, y: float, words: str, tone: str = "muted", anchor: str = "end"
    ) -> None:
        """Add words at a place, px."""
        self._shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{var(tone)}">'
            f"{plain(words)}</text>"
        )

    def ticks_left(self, unit: str = "", most: int = 5, scale: float = 1.0) -> None:
        """Label round values of y, with a grid line each."""
        found, decimals = nice_ticks(self.y[0] * scale, self.y[1] * scale, most)
        for tick in found:
            at = self.down(tick / scale)
            tone = "axis" if tick == 0 else "grid"
            self._shapes.insert(
                0,
                f'<path d="M{self.left} {at:.1f}H{WIDTH - _RIGHT}" stroke="{var(tone)}"/>',
            )
            self.text(self.left - 7, at + 3.5, number(tick, decimals) + unit)

    def ticks_foot(self, most: int = 7, told: Callable[[float], str] | None = None) -> None:
        """Label round values of x."""
        found, decimals = nice_ticks(*self.x, most)
        for tick in found:
            words = number(tick, decimals) if told is None else told(tick)
            self.label_foot(tick, words)

    def label_foot(self, x: float, words: str) -> None:
        """Add a label below a value of x."""
        at = min(max(self.across(x), self.left), WIDTH - _RIGHT)
        self.text(at, HEIGHT - 6, words, "muted", "middle")

    def html(self) -> str:
        """Return the figure."""
        return (
            f'<svg class="pairlab-plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{plain(self.about)}">{"".join(self._shapes)}</svg>'
        )


def _apart(low: float, high: float) -> tuple[float, float]:
    if not (math.isfinite(low) and math.isfinite(high)):
        return -1.0, 1.0
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-12):
        reach = abs(low) * 0.1 or 1.0
        return low - reach, high + reach
    return low, high
