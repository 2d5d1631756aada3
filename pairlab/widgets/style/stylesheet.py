"""The style sheet: the tokens of both themes and the rules that use them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from pairlab.widgets.style.theme import mask, theme_css

__all__ = ["stylesheet"]

_MASKS: Final = (
    "pause", "play", "download", "check", "up", "down", "circle", "square", "diamond", "dot",
    "cross", "backspace",
)  # fmt: skip
_SHEETS: Final = (
    "style.css",
    "layout.css",
    "view.css",
    "signal.css",
    "events.css",
    "transport.css",
    "report.css",
    "scan.css",
    "legend.css",
    "board.css",
)

# Read when the module is imported, not when a view is made: that may happen on a running loop.
_RULES: Final = "".join(
    files("pairlab.widgets.style").joinpath(name).read_text(encoding="utf-8") for name in _SHEETS
)


@cache
def stylesheet() -> str:
    """Return the tokens of both themes, the sizes, the shapes, and the rules that use them."""
    shapes = "".join(f"--pairlab-shape-{name}:{mask(name)};" for name in _MASKS)
    return f"{theme_css()}.pairlab{{{shapes}}}{_RULES}"
