"""The mouse over a chart: where it is, reported without a click, and how far it drags."""

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
    """

    _esm = _SCRIPT

    def __init__(
        self, moved: Callable[[float | None], Any], dragged: Callable[[dict[str, Any]], Any]
    ) -> None:
        super().__init__(layout=Layout(display="none"))

        def on_message(_widget: Any, content: dict[str, Any], _buffers: Any) -> None:
            drag = content.get("drag")
            if isinstance(drag, dict):
                dragged(drag)
            else:
                moved(content.get("share"))

        self.on_msg(on_message)
