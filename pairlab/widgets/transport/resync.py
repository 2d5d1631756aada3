"""State resync: what a page missed while it loaded is sent again, a few widgets at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import numpy as np
from ipywidgets import Box, Button

from pairlab.widgets.core.widget_utils import tree
from pairlab.widgets.transport.bqplot_marks import Axis, Bars, Label, LinearScale, Lines, Scatter
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["StateResync"]

_BATCH: Final = 8
"""Widgets sent at once: the some 150 of a dashboard take about four seconds."""

_ROUNDS: Final = 2
"""How often everything is sent again for a new page."""

_CURVE_POINTS: Final = 64
"""A line of more points is a curve: every new row sends its points anyway."""
_CURVE: Final = ("visible", "stroke_width")

# Only what the kernel alone decides: a slider's value may be under somebody's finger.
_RESENT: Final[tuple[tuple[Any, tuple[str, ...]], ...]] = (
    (HTML, ("value", "tooltip", "_dom_classes")),
    (Axis, ("visible", "tick_labels", "tick_values")),
    (LinearScale, ("min", "max")),
    (Scatter, ("visible", "x", "y")),
    (Lines, ("visible", "stroke_width", "x", "y")),
    (Bars, ("visible", "x", "y")),
    (Label, ("visible", "x", "y", "text")),
    (Button, ("description", "disabled", "tooltip", "_dom_classes")),
    (Box, ("_dom_classes",)),
)


class StateResync:
    """Sends the state of every widget again, in turn, for pages that did not get it.

    A page asks for the state of all widgets once, makes its models, and only then listens: what
    the kernel changed in between is lost, and a value that changes once, such as an axis that
    becomes visible, stays lost. A page cannot be asked what it has, so everything is said again
    once a view says that it is new; what a page has already changes nothing there. Until the
    first one says so, which a front end without anywidget never does, it is said all the time.
    """

    def __init__(self) -> None:
        self._round: Iterator[tuple[Any, list[str]]] = iter(())
        self._rounds_left: float = math.inf

    def restart(self) -> None:
        """Send everything again, to a page that is new."""
        self._round = iter(())
        self._rounds_left = _ROUNDS

    def send_next(self, roots: list[Any]) -> None:
        """Send the next few widgets below `roots` again."""
        few = list(islice(self._round, _BATCH))
        if not few and self._rounds_left > 0:
            self._rounds_left -= 1
            self._round = iter(list(_shown(roots)))
            few = list(islice(self._round, _BATCH))
        for widget, names in few:
            if widget.comm is not None:
                widget.send_state(names)


def _shown(roots: list[Any]) -> Iterator[tuple[Any, list[str]]]:
    for widget in tree(roots):
        for kind, names in _RESENT:
            if isinstance(widget, kind):
                curve = kind is Lines and np.size(widget.x) > _CURVE_POINTS
                yield widget, [n for n in (_CURVE if curve else names) if n in widget.keys]
                break
