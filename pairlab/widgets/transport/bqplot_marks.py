"""What is used of bqplot, imported without the warnings that its dependencies give.

bqscales 0.3 passes metadata to traitlets in a way that traitlets deprecates; whoever turns warnings
into errors could otherwise not import the dashboard.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from traitlets import All

from pairlab.widgets.transport.message_batching import Batched

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "metadata .* was set from the constructor")
    import bqplot
    from bqplot import Figure
    from bqplot.interacts import BrushIntervalSelector, IndexSelector
    from bqplot.traits import array_to_json

__all__ = [
    "Axis",
    "Bars",
    "BrushIntervalSelector",
    "Figure",
    "IndexSelector",
    "Label",
    "LinearScale",
    "Lines",
    "Plotted",
    "Scatter",
]


class Plotted(Batched):
    """Mixin of bqplot's widgets, which are set anew with every frame."""

    _trait_values: dict[str, Any]
    _trait_notifiers: dict[Any, Any]
    comm: Any

    def put(self, state: Mapping[str, Any]) -> bool:
        """Set numbers and arrays and send what changed, as setting the traits would.

        traitlets, traittypes and ipywidgets between them take several times as long: most of what
        a frame cost. What they do besides, to coerce and to tell observers, these do not need.

        Returns
        -------
        bool
            False if a trait is none of these, or is observed: nothing was done.
        """
        values: dict[str, Any] = self._trait_values
        changed: dict[str, Any] = {}
        for name, value in state.items():
            old = values.get(name)
            if isinstance(old, np.ndarray):
                new = np.asarray(value)
                if old.shape != new.shape or (new.size and not (old == new).all()):
                    changed[name] = new
            elif type(old) is not float or type(value) is not float:
                return False
            elif old != value:
                changed[name] = value
        if any(name in self._trait_notifiers for name in (All, *changed)):
            return False
        values.update(changed)
        if changed and self.comm is not None:
            sent: dict[str, Any] = {}
            paths, buffers = [], []
            for name, value in changed.items():
                sent[name] = array_to_json(value) if isinstance(value, np.ndarray) else value
                if isinstance(sent[name], dict):
                    paths.append([name, "value"])
                    buffers.append(sent[name].pop("value"))
            self._send({"method": "update", "state": sent, "buffer_paths": paths}, buffers)
        return True


class Axis(Plotted, bqplot.Axis):  # type: ignore[misc]
    """An axis whose updates travel with the frame's."""


class Bars(Plotted, bqplot.Bars):  # type: ignore[misc]
    """Bars whose updates travel with the frame's."""


class Label(Plotted, bqplot.Label):  # type: ignore[misc]
    """Labels whose updates travel with the frame's."""


class LinearScale(Plotted, bqplot.LinearScale):  # type: ignore[misc]
    """A scale whose updates travel with the frame's."""


class Lines(Plotted, bqplot.Lines):  # type: ignore[misc]
    """Lines whose updates travel with the frame's."""


class Scatter(Plotted, bqplot.Scatter):  # type: ignore[misc]
    """Dots whose updates travel with the frame's."""
