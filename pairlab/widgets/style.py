"""The style sheet with the theme's tokens: what a view brings along to be shown right."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import Final

from pairlab.widgets.theme import DARK, LIGHT, SIZES, mask

__all__ = ["stylesheet"]

_MASKS: Final = (
    "pause", "play", "download", "check", "up", "down", "circle", "square", "diamond", "cross",
)  # fmt: skip

# Read when the module is imported, not when a view is made: that may happen on a running loop.
_RULES: Final = files("pairlab.widgets").joinpath("style.css").read_text(encoding="utf-8")


@cache
def stylesheet() -> str:
    """Return the tokens of both themes, the sizes, the shapes, and ``style.css``."""
    sizes = "".join(f"--pairlab-{name}-px:{size}px;" for name, size in asdict(SIZES).items())
    shapes = "".join(f"--pairlab-shape-{name}:{mask(name)};" for name in _MASKS)
    caret = f"--pairlab-shape-caret:{mask('caret', DARK.muted)};"
    pages = f"--pairlab-page-dark:{DARK.page};--pairlab-page-light:{LIGHT.page};"
    return (
        f":root{{{pages}}}.pairlab{{{DARK.css()}{sizes}{shapes}{caret}}}"
        f".pairlab-light,.pairlab-light .pairlab{{{LIGHT.css()}}}{_RULES}"
    )
