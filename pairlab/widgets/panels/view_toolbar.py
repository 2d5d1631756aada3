"""The toolbar of the view: span, pan, zoom, select, reset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipywidgets import Button, Dropdown, HBox, ToggleButton

from pairlab.protocols import LabView
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.view_state import SPANS, ViewState
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.style.formats import number, span_label

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["ViewTools"]


def _label(seconds: float) -> str:
    """Return a span as text; one that was zoomed to has no round number."""
    if seconds in SPANS:
        return span_label(seconds)
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{number(seconds / unit, 1).removesuffix('.0')} {name}"
    return f"{number(seconds, 1).removesuffix('.0')} s"


class ViewTools(LabWidget, HBox):  # type: ignore[misc]
    """Span, pan, zoom and selection of all charts of a lab; every button works by keyboard.

    They change what is seen, never the feed, the signals or the history. A view that was moved
    away from the newest rows is frozen there until Reset zoom.

    Parameters
    ----------
    lab : LabView
        Whose charts.
    """

    after_input = "span"  # it may be set back in code before the next frame

    def __init__(self, lab: LabView) -> None:
        self._lab = lab
        self.span = Dropdown(
            options=[(span_label(s), float(s)) for s in SPANS], description="Span",
            tooltip="How much time the charts show",
        )  # fmt: skip
        self.on_frontend(self.span, "value", self._on_span)
        self.select = ToggleButton(
            description="Select",
            tooltip="Drag over a chart: the rows become lab.selection; a click there clears it. "
            "Off: the readout follows the pointer",
        )
        self.on_frontend(self.select, "value", lambda on: self.render_loop.view.set_select_mode(on))
        self.earlier = self._button("‹", "Half a view earlier", lambda view: view.pan(-0.5))
        self.later = self._button("›", "Half a view later", lambda view: view.pan(0.5))
        self.nearer = self._button("+", "Zoom in: less time", lambda view: view.zoom(0.5))
        self.wider = self._button("−", "Zoom out: more time", lambda view: view.zoom(2.0))
        for turn in (self.earlier, self.later, self.nearer, self.wider):
            turn.add_class("pairlab-icon")
        self.to_selection = self._button(
            "Zoom",
            "Zoom to the selection: show that span alone",
            lambda view: view.zoom_to_selection(),
        ).add_class("pairlab-to-selection")
        self.unselect = self._button(
            "×", "Select nothing: lab.selection becomes empty", lambda _: self._lab.select()
        ).add_class("pairlab-icon")
        self.reset = self._button(
            "Reset zoom",
            "Back to the newest rows, with those before Clear; again: to the usual span",
            lambda view: view.reset(),
        ).add_class("pairlab-reset")
        self.clear = self._button(
            "Clear",
            "Start the charts at the newest row; history stays, Reset zoom shows it again",
            lambda view: view.clear(),
        ).add_class("pairlab-clear")
        super().__init__(
            [
                self.span, self.earlier, self.later, self.wider, self.nearer, self.select,
                self.to_selection, self.unselect, self.reset, self.clear,
            ]
        )  # fmt: skip
        for style in ("pairlab", "pairlab-tools"):
            self.add_class(style)
        self.join(lab)

    def _button(self, face: str, tooltip: str, act: Callable[[ViewState], None]) -> Button:
        button = Button(description=face, tooltip=tooltip)
        self.on_frontend(button, "click", lambda _: act(self.render_loop.view))
        return button

    def _on_span(self, seconds: float) -> None:
        self.render_loop.view.set_span(seconds)

    def paint(self, frame: Frame) -> None:
        """Show the span in view and the buttons that apply."""
        width_s = frame.span_ns / 1e9 if frame.frozen else frame.view.following_span_s
        if self.changed("span", width_s):
            steps = sorted({*map(float, SPANS), width_s})
            options = tuple((_label(s), s) for s in steps)
            if self.span.options != options:
                set_traits(self.span, options=options, value=width_s)
            set_traits(self.span, value=width_s)
        if self.changed("frozen", frame.frozen):
            (self.reset.add_class if frame.frozen else self.reset.remove_class)("pairlab-on")
        if self.changed("selected", frame.selected_ns is not None):
            for button in (self.to_selection, self.unselect):
                button.layout.display = None if frame.selected_ns is not None else "none"
        set_traits(self.select, value=frame.view.select_mode)
