"""The mouse over any chart of a lab: pointer and brush, which all its charts share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pairlab.widgets.core.time_axis import TimeAxis
from pairlab.widgets.core.view import View
from pairlab.widgets.core.view_state import ViewState
from pairlab.widgets.core.widget_utils import programmatic_update
from pairlab.widgets.style.theme import var
from pairlab.widgets.transport.bqplot_marks import BrushIntervalSelector, IndexSelector
from pairlab.widgets.transport.pointer import Pointer

__all__ = ["ChartInteraction"]

_FAR: Final = 1e3  # widths of a chart: no mouse goes so far


class ChartInteraction:
    """One pointer, one brush and one mouse for all charts: the browser moves them together.

    Parameters
    ----------
    time_axis : TimeAxis
        That they share.
    view : ViewState
        What they change.
    hand_over : callable
        Wraps a function so that it runs on the lab's loop, from whatever thread it is called.
    """

    def __init__(
        self,
        time_axis: TimeAxis,
        view: ViewState,
        hand_over: Callable[[Callable[..., Any]], Callable[[Any], None]],
    ) -> None:
        self._view = view
        self._hand_over = hand_over
        self.pointer_selector = IndexSelector(
            scale=time_axis.time_scale, line_width=1, color=var("muted"), marks=[]
        )
        self.brush_selector = BrushIntervalSelector(
            scale=time_axis.time_scale, color=var("focus"), marks=[]
        )
        self.mouse = Pointer(
            hand_over(self._on_mouse),
            hand_over(self._on_drag),
            hand_over(self._on_zoom),
            hand_over(self._on_reset),
        )
        self.pointer_selector.observe(hand_over(self._on_pointer), "selected")
        self.brush_selector.observe(self._on_brush, ["selected", "brushing"])

    def selector(self, view: View) -> Any:
        """Return the selector that a drag over a chart moves."""
        return self.brush_selector if view.select_mode else self.pointer_selector

    def widgets(self) -> list[Any]:
        """Return the widgets."""
        return [self.pointer_selector, self.brush_selector, self.mouse]

    def place_pointer(self, pointer_ns: int | None) -> None:
        """Draw the pointer's line."""
        drawn = self.pointer_selector.selected
        if pointer_ns is None:
            if drawn is not None and len(drawn):
                self.pointer_selector.selected = None
        elif drawn is None or not len(drawn) or round(float(drawn[0]) * 1e6) != pointer_ns:
            self.pointer_selector.selected = np.array([pointer_ns / 1e6])

    def _on_pointer(self, change: Any) -> None:
        if self._view.pointer_follows_mouse:
            return  # the mouse reports the same, as a place that does not move
        chosen = change["new"]
        self._view.set_pointer(float(chosen[0]) if chosen is not None and len(chosen) else None)

    def _on_mouse(self, share: float | None) -> None:
        if share is None or self._view.select_mode:
            self._view.set_pointer(None)
        elif isinstance(share, int | float) and 0 <= share <= 1 and len(self._view.rows()):
            self._view.set_pointer_share(share)

    def _on_drag(self, drag: Any) -> None:
        """Move the view: the mouse took a chart along by a share of its width."""
        share, phase = (drag.get(name) for name in ("by", "phase"))
        if isinstance(share, int | float) and abs(share) < _FAR and not self._view.select_mode:
            self._view.drag(share, begins=phase == "begin", ends=phase == "end")

    def _on_zoom(self, zoom: Any) -> None:
        """Show more or less time: the wheel was turned, or two fingers moved, over a chart."""
        factor, share = (zoom.get(name) for name in ("by", "at"))
        numbers = isinstance(factor, int | float) and isinstance(share, int | float)
        if numbers and 1 / _FAR < factor < _FAR and 0 <= share <= 1:
            self._view.zoom_at(share, factor)

    def _on_reset(self, _: Any) -> None:
        """Follow the newest rows over the usual span: a chart was clicked twice."""
        if not self._view.select_mode:
            self._view.reset()
            self._view.reset()  # the first leaves a part of the history, the second the span

    def _on_brush(self, _: Any) -> None:
        # Read here, when the message comes: by the time that the loop turns, another may have come.
        brushing, chosen = self.brush_selector.brushing, self.brush_selector.selected
        known = chosen is not None and len(chosen) == 2
        ends_ms = (float(chosen[0]), float(chosen[1])) if known else None
        self._hand_over(lambda _: self._brushed(brushing, ends_ms))(None)

    def _brushed(self, brushing: bool, ends_ms: tuple[float, float] | None) -> None:
        self._view.brush(brushing, ends_ms)
        if not self.brush_selector.brushing:
            # From now on a mark shows the span: it is clipped at the edges of the view.
            with programmatic_update():
                self.brush_selector.selected = None
