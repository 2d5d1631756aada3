"""The time axis that all charts of a lab share."""

from __future__ import annotations

from typing import Any, Final

from pairlab.schema import NS_PER_S
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.widget_utils import set_ticks, set_traits
from pairlab.widgets.style.formats import clock, day
from pairlab.widgets.style.theme import SIZES, var
from pairlab.widgets.transport.bqplot_marks import Axis, LinearScale

__all__ = ["TimeAxis", "label_step_ms"]

_STEPS_S: Final = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600,
    43_200, 86_400, 172_800, 604_800,
)  # fmt: skip
_DAY_MS: Final = 86_400_000
_LABEL_PX: Final = 110  # room that one clock label wants
_POINTER_PX: Final = {False: 78, True: 92}  # from its time to a label, without and with the day
_ALONE_PX: Final = 140  # to a label that a chart half as wide shows too, without its neighbours
_DAY_PX: Final = 62  # from the plot's left edge, beside which the day stands: half as wide, too


class TimeAxis:
    """Scales and axes of the time in view.

    Attributes
    ----------
    offset_scale : bqplot.LinearScale
        ms before the right edge. Lines hang on it: they are sent again whenever the view moves, and
        so the scale never changes.
    time_scale : bqplot.LinearScale
        ms since 1970. What stands still in time hangs on it: axis, markers, pointer.
    unit_scale : bqplot.LinearScale
        0 to 1 from bottom to top, for what spans a chart's height.
    axes : list of bqplot.Axis
        Every other clock label each.
    """

    def __init__(self) -> None:
        self.offset_scale = LinearScale(min=-1.0, max=0.0, allow_padding=False)
        self.time_scale = LinearScale(min=0.0, max=1.0, allow_padding=False)
        self.unit_scale = LinearScale(min=0.0, max=1.0, allow_padding=False)
        style = {"fill": var("muted")}
        self.axes = [
            Axis(
                scale=self.time_scale,
                grid_color=var("grid"),
                tick_values=[],
                tick_style=extra,
                visible=False,
            )
            for extra in (style, {**style, "--pairlab-minor": "1"})
        ]
        self._ticks: tuple[tuple[int, ...], frozenset[int]] = ((), frozenset())

    def _ticks_changed(self, ticks: tuple[int, ...], hidden: set[int]) -> bool:
        before, self._ticks = self._ticks, (ticks, frozenset(hidden))
        return before != self._ticks

    def widgets(self) -> list[Any]:
        """Return the widgets."""
        return [self.offset_scale, self.time_scale, self.unit_scale, *self.axes]

    def place(self, frame: Frame) -> None:
        """Move both scales to the view, and the labels that changed."""
        pad_ms = frame.pad_ms
        set_traits(self.offset_scale, min=-frame.span_ns / 1e6, max=pad_ms)
        if not len(frame.rows):
            return
        edge_ms = frame.edge_ns / 1e6
        set_traits(self.time_scale, min=edge_ms - frame.span_ns / 1e6, max=edge_ms + pad_ms)
        step_ms = label_step_ms(frame.span_ns / NS_PER_S)
        first = int((edge_ms - frame.span_ns / 1e6) // step_ms) + 1
        ticks = tuple(n * step_ms for n in range(first, int(edge_ms // step_ms) + 1))
        px_ms = frame.span_ns / 1e6 / SIZES.plot_width
        apart_px = (_ALONE_PX, _POINTER_PX[frame.days])
        hidden = {
            t
            for t in ticks
            if abs(t - frame.time_read_ms) < apart_px[t // step_ms % 2] * px_ms
            or t - edge_ms + frame.span_ns / 1e6 < _DAY_PX * px_ms
        }
        if not self._ticks_changed(ticks, hidden):
            return
        fine = step_ms < 1000  # at whole seconds the milliseconds are always .000
        for parity, axis in enumerate(self.axes):
            # Two axes, every other tick each: in a narrow layout one of them hides its labels.
            mine = [t for t in ticks if t // step_ms % 2 == parity]
            set_ticks(
                axis,
                {t: "" if t in hidden else _label(t, fine=fine, days=frame.days) for t in mine},
            )


def _label(at_ms: int, *, fine: bool, days: bool) -> str:
    """Return the time of day, or the day itself where one begins in a view of several."""
    if days and at_ms % _DAY_MS == 0:
        return day(at_ms * 1_000_000)
    return clock(at_ms * 1_000_000, milliseconds=fine)


def label_step_ms(span_s: float) -> int:
    """Return the distance between clock labels, ms."""
    least_s = span_s * _LABEL_PX / SIZES.plot_width
    return int(1000 * next((s for s in _STEPS_S if s >= least_s), _STEPS_S[-1]))
