"""Charts whose y axis fits their data, in round steps."""

from __future__ import annotations

import math
from typing import Any

from pairlab.formatting import resolved
from pairlab.widgets.charts.chart import Chart, nice_ticks
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.style.formats import number
from pairlab.widgets.transport.bqplot_marks import Axis

__all__ = ["AutoChart", "label_range"]


def label_range(low: float, high: float) -> tuple[float, float]:
    """Return the part of an axis where a label is not cut off at the plot's ends."""
    edge = 0.07 * (high - low)
    return low + edge, high - edge


class AutoChart(Chart):
    """A chart whose y axis fits its data, in round steps."""

    _most_ticks = 4

    def fit(
        self, frame: Frame, axis: Axis, low: float, high: float, decimals: int, scale: Any = None
    ) -> None:
        """Fit a scale and its ticks, moving them only when data leaves them or shrinks by far."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return
        if high - low < 1e-12 * max(abs(low), abs(high), 1e-6):
            reach = min(1.0, 0.1 * abs(low)) or 1.0
            low, high = low - reach, high + reach
        scale = self.scale if scale is None else scale
        have_low, have_high = scale.min, scale.max
        moved = self.changed(f"view {axis.side}", frame.view.window_key)
        fits = not moved and have_low <= low and high <= have_high
        if not fits or (high - low) < 0.55 * (have_high - have_low):
            margin = 0.1 * (high - low)
            set_traits(scale, min=low - margin, max=high + margin)
        if self.changed(f"fit {axis.side}", (scale.min, scale.max, decimals)):
            ticks, need = nice_ticks(*label_range(scale.min, scale.max), self._most_ticks)
            places = max(decimals, need)
            # Of a range of millionths and less about zero the powers of ten have room, zeros not.
            tiny = need > 6 and all(abs(t) < 1e-3 for t in ticks)
            write = resolved if tiny else number
            self.show_ticks(axis, {t: write(t, places) for t in ticks})

    def forget_fit(self, axis: Axis) -> None:
        """Refit at the next `fit`, as if nothing had been shown: something else moved it."""
        for what in ("view", "fit"):
            self.forget(f"{what} {axis.side}")
