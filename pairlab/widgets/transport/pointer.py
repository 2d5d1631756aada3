"""The position of the mouse over a chart, reported without a click."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final

from anywidget import AnyWidget
from ipywidgets import Layout

__all__ = ["Pointer"]

# Read when the module is imported, not when a view is made: that may happen on a running loop.
_SCRIPT: Final = files("pairlab.widgets.transport").joinpath("pointer.js").read_text("utf-8")


class Pointer(AnyWidget):
    """An invisible widget in every chart that reports where in its plot the mouse is.

    Parameters
    ----------
    moved : callable
        Is given the share of the plot's width, 0 to 1, or None when the mouse leaves.
    """

    _esm = _SCRIPT

    def __init__(self, moved: Callable[[float | None], Any]) -> None:
        super().__init__(layout=Layout(display="none"))
        self.on_msg(lambda _widget, content, _buffers: moved(content.get("share")))
