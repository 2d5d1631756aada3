"""How often z was where: a histogram of the rows in view."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from ipywidgets import HBox, Layout, VBox
from numpy.typing import NDArray

from pairlab.protocols import LabView
from pairlab.widgets.charts.chart import legend, nice_ticks
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.widget_utils import set_ticks, set_traits
from pairlab.widgets.style.formats import MISSING, count, number, signed
from pairlab.widgets.style.theme import SIZES, var
from pairlab.widgets.transport.bqplot_marks import Axis, Bars, Figure, LinearScale, Lines, Scatter
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["ZHistogram", "binned"]

BIN: Final = 0.25
"""Width of a bar, σ."""

_MOST: Final = 10.0
"""A |z| beyond this is counted in the outermost bars."""

Floats = NDArray[np.float64]


def binned(z: Floats, entry_z: float, reach: float) -> tuple[Floats, Floats]:
    """Count z in bins of `BIN` from −reach to reach.

    Parameters
    ----------
    z : array of float, shape (n,)
        Finite; values beyond `reach` count in the outermost bins.
    entry_z : float
        Where an entry begins.
    reach : float
        A multiple of `BIN`.

    Returns
    -------
    centres : array, shape (k,)
    shares : array, shape (3, k)
        Percent of n: within ±entry_z, at or above it, at or below −entry_z.
    """
    edges = np.arange(-reach, reach + BIN / 2, BIN)
    held = np.clip(z, -reach, reach)
    parts = (np.abs(z) < entry_z, z >= entry_z, z <= -entry_z)
    counts = [np.histogram(held[part], edges)[0] for part in parts]
    return (edges[:-1] + edges[1:]) / 2, np.array(counts) * 100.0 / max(len(z), 1)


class ZHistogram(LabWidget, VBox):  # type: ignore[misc]
    """Histogram of z in view, the thresholds, and the share of rows beyond the entry.

    Beside it stands what a normal distribution would have there: far more means fat tails, or a
    spread that does not stand still.

    Parameters
    ----------
    lab : LabView
        Whose rows.
    """

    chart_name = "histogram"

    def __init__(self, lab: LabView) -> None:
        self._x = LinearScale(min=-3.0, max=3.0, allow_padding=False)
        self._y = LinearScale(min=0.0, max=10.0, allow_padding=False)
        scales = {"x": self._x, "y": self._y}
        self._bars = Bars(
            x=[], y=[], scales=scales, type="stacked", padding=0.08,
            colors=[var("muted"), var("x"), var("y")], stroke="transparent",
        )  # fmt: skip

        def lines(*colours: str, style: str) -> Lines:
            return Lines(
                x=[], y=[], scales=scales, colors=[var(c) for c in colours], stroke_width=1,
                line_style=style,
            )  # fmt: skip

        self._exits = lines("muted", style="dotted")
        self._entries = lines("x", "y", style="dashed")
        self._stops = lines("stop", style="solid")
        self._left, self._foot = (
            Axis(
                scale=scale, side=side, grid_lines="none", tick_values=[], visible=False,
                tick_style={"fill": var("muted")},
            )
            for scale, side in ((self._y, "left"), (self._x, "bottom"))
        )  # fmt: skip
        # An empty mark of the largest size insets the plot as in the other charts.
        inset = Scatter(x=[], y=[], scales=scales, default_size=56)
        self._head = HTML().add_class("pairlab-head-text")
        self.figure = Figure(
            marks=[self._bars, self._exits, self._entries, self._stops, inset],
            axes=[self._left, self._foot],
            fig_margin={
                "top": 2, "bottom": 20, "left": SIZES.axis_left, "right": SIZES.axis_right,
            },
            padding_x=0, padding_y=0, min_aspect_ratio=0.001, max_aspect_ratio=1000,
            animation_duration=0, display_toolbar=False,
            layout=Layout(width="auto", height="126px", min_width="0"),
        )  # fmt: skip
        super().__init__([HBox([self._head]).add_class("pairlab-head"), self.figure])
        for style in ("panel", "chart", "clock", "histogram"):
            self.add_class(f"pairlab-{style}")
        self.add_class("pairlab")
        self.join(lab)

    def paint(self, frame: Frame) -> None:
        """Recount, at the rate of texts."""
        self.show_staleness(frame)
        v = frame.values
        levels = (v.entry_z, v.exit_z, v.stop_z)
        if not frame.text_due or not self.changed("rows", (frame.chart_version, levels)):
            return
        z = np.asarray(frame.z_in_view, dtype=np.float64)
        z = z[np.isfinite(z)]
        entry, _, stop = levels
        far = float(np.abs(z).max()) if len(z) else 0.0
        reach = min(max(math.ceil(2 * far) / 2, math.ceil(2 * (stop or entry + 1)) / 2), _MOST)
        reach = max(reach, math.ceil(2 * entry + 1) / 2)
        centres, shares = binned(z, entry, reach)
        set_traits(self._bars, x=centres, y=shares)
        self._fit(float(shares.sum(axis=0).max()))
        if self.changed("levels", (levels, reach)):
            self._place(levels, reach)
        where = "in view" if frame.past.exact else "in view and in memory"
        self._paint_head(
            shares.sum(axis=1) if len(z) else None, f"{count(len(z))} rows {where}", entry
        )

    def _fit(self, highest: float) -> None:
        top = self._y.max
        if highest > top or 0 < highest < 0.5 * top:
            set_traits(self._y, max=1.15 * highest)
        if self.changed("fit", self._y.max):
            ticks, decimals = nice_ticks(0.0, 0.95 * self._y.max, 4)
            set_ticks(self._left, {t: f"{number(t, decimals)} %" for t in ticks})

    def _place(self, levels: tuple[float, float, float | None], reach: float) -> None:
        set_traits(self._x, min=-reach, max=reach)
        for mark, level in zip((self._entries, self._exits, self._stops), levels, strict=True):
            if level is None:
                set_traits(mark, x=[], y=[])
            else:
                x, tall = np.array([[level, level], [-level, -level]]), np.array([0.0, 1000.0])
                set_traits(mark, x=x, y=np.array([tall, tall]))
        ticks, decimals = nice_ticks(-reach, reach, 9)
        set_ticks(self._foot, {t: signed(t, decimals) if t else "0" for t in ticks})

    def _paint_head(self, shares: Floats | None, rows: str, entry: float) -> None:
        above, below, both = MISSING, MISSING, MISSING
        if shares is not None:
            above, below = (f"{number(float(s), 1)} %" for s in shares[1:])
            both = f"{number(float(shares[1:].sum()), 1)} %"
        normal = f"{number(100 * math.erfc(entry / math.sqrt(2)), 1)} %"
        self._head.value = (
            f"<h3>Z histogram</h3><small>{rows}</small>"
            f"{legend(f'z ≥ {signed(entry)}', 'x', above)}"
            f"{legend(f'z ≤ {signed(-entry)}', 'y', below)}"
            f'<small class="pairlab-far">beyond entry {both}; of a normal z {normal}</small>'
        )
