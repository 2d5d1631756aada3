"""The classes of bqplot that are used, imported without its dependencies' warnings.

bqscales 0.3 passes metadata to traitlets in a way that traitlets deprecates; whoever turns warnings
into errors could otherwise not import the dashboard.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from pairlab.widgets.transport.compat import set_directly
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
    "numbers_to_json",
]


_DTYPE_NAMES: Final = {np.dtype(name): name for name in ("float64", "float32", "int32")}


def numbers_to_json(array: np.ndarray[Any, Any]) -> Any:
    """Return what bqplot's `array_to_json` does; the arrays of a frame take a tenth of the time."""
    # numpy composes the name of a dtype anew each time that it is asked for.
    name = _DTYPE_NAMES.get(array.dtype)
    if name is None or not array.flags.c_contiguous:
        return array_to_json(array)
    return {"value": array.data, "dtype": name, "shape": array.shape, "type": None}


class Plotted(Batched):
    """Mixin of bqplot's widgets, which are set again with every frame."""

    def set_directly(self, state: Mapping[str, Any]) -> bool:
        """Do as `compat.set_directly`."""
        return set_directly(self, state, numbers_to_json)


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
