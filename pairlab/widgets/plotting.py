"""What is used of bqplot, imported without the warnings that its dependencies give.

bqscales 0.3 passes metadata to traitlets in a way that traitlets deprecates; whoever turns warnings
into errors could otherwise not import the dashboard.
"""

from __future__ import annotations

import warnings

from pairlab.widgets.bundle import Bundled

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "metadata .* was set from the constructor")
    import bqplot
    from bqplot import Figure
    from bqplot.interacts import BrushIntervalSelector, IndexSelector

__all__ = [
    "Axis",
    "Bars",
    "BrushIntervalSelector",
    "Figure",
    "IndexSelector",
    "Label",
    "LinearScale",
    "Lines",
    "Scatter",
]


class Axis(Bundled, bqplot.Axis):  # type: ignore[misc]
    """An axis whose updates travel with the frame's."""


class Bars(Bundled, bqplot.Bars):  # type: ignore[misc]
    """Bars whose updates travel with the frame's."""


class Label(Bundled, bqplot.Label):  # type: ignore[misc]
    """Labels whose updates travel with the frame's."""


class LinearScale(Bundled, bqplot.LinearScale):  # type: ignore[misc]
    """A scale whose updates travel with the frame's."""


class Lines(Bundled, bqplot.Lines):  # type: ignore[misc]
    """Lines whose updates travel with the frame's."""


class Scatter(Bundled, bqplot.Scatter):  # type: ignore[misc]
    """Dots whose updates travel with the frame's."""
