"""The mouse over a chart: where it is, reported without a click; drags, wheel, double clicks."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final

from anywidget import AnyWidget
from ipywidgets import Layout

__all__ = ["Pointer"]

# Read when the module is imported, not when a view is made: that may happen on a running loop.
_SCRIPT: Final = files("pairlab.widgets.transport").joinpath("js", "pointer.js").read_text("utf-8")


class Pointer(AnyWidget):
    """An invisible widget in every chart that reports where in its plot the mouse is.

    Parameters
    ----------
    moved : callable
        Is given the share of the plot's width, 0 to 1, or None when the mouse leaves.
    dragged : callable
        Is given a dict: ``by``, how far to the right as a share of the plot's width, and
        ``phase``, ``"begin"``, ``"move"`` or ``"end"``.
    zoomed : callable
        Is given a dict: ``by``, how many times as much time is wanted, and ``at``, the share of
        the plot's width that stays where it is.
    reset : callable
        Is given True at a double click.
    """

    _esm = _SCRIPT

    def __init__(
        self,
        moved: Callable[[float | None], Any],
        dragged: Callable[[dict[str, Any]], Any],
        zoomed: Callable[[dict[str, Any]], Any],
        reset: Callable[[bool], Any],
    ) -> None:
        super().__init__(layout=Layout(display="none"))

        def on_message(_widget: Any, content: dict[str, Any], _buffers: Any) -> None:
            drag, zoom = content.get("drag"), content.get("zoom")
            if isinstance(drag, dict):
                dragged(drag)
            elif isinstance(zoom, dict):
                zoomed(zoom)
            elif content.get("reset") is True:
                reset(True)
            else:
                moved(content.get("share"))

        self.on_msg(on_message)
