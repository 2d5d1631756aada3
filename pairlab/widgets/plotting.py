"""What is used of bqplot, imported without the warnings that its dependencies give.

bqscales 0.3 passes metadata to traitlets in a way that traitlets deprecates; whoever turns warnings
into errors could otherwise not import the dashboard.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "metadata .* was set from the constructor")
    from bqplot import Axis, Bars, Figure, Label, LinearScale, Lines, Scatter
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
