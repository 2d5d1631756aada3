"""Layouts of a dashboard: which parts it has, and in what order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from pairlab.errors import SettingError

__all__ = ["LAYOUTS", "PARTS", "TIMED", "TRANSPORT", "Layout", "LayoutSpec", "read_layout"]

TIMED: Final = ("zscore", "spread", "correlation", "hedge", "prices")
"""Charts on the shared time axis; the lowest one of a layout labels it."""

PARTS: Final = (
    "strip", "zscore", "spread", "correlation", "hedge", "prices", "settings", "latest", "signal",
    "alerts", "rows", "histogram", "session", "event", "what_if", "transport",
)  # fmt: skip
"""Every part that a layout can have.

``"transport"``, the bar of a replay, is above the others in a named layout; a lab that plays
nothing has none.
"""

TRANSPORT: Final = "transport"


@dataclass(frozen=True, slots=True)
class Layout:
    """A composition.

    Attributes
    ----------
    name : str
        Of the CSS class that arranges it.
    rows : tuple of tuple of str
        Part names from top to bottom and left to right. A named layout has one row: its style
        sheet places the parts.
    table_rows : tuple of (str, int)
        Tables that have room for more rows than by default, and for how many.
    """

    name: str
    rows: tuple[tuple[str, ...], ...]
    table_rows: tuple[tuple[str, int], ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts' names, in reading order."""
        return tuple(name for row in self.rows for name in row)

    def labels_time(self, name: str) -> bool:
        """Return whether a chart shows the clock: those of the lowest row that has charts."""
        rows = [row for row in self.rows if set(row) & set(TIMED)]
        if self.name != "own":
            return name == "prices"
        return bool(rows) and name in rows[-1]


LayoutSpec = str | Sequence[str | Sequence[str]] | Layout
"""The name of a layout, or rows of part names from top to bottom."""

_GRID: Final = tuple(name for name in PARTS if name not in (TRANSPORT, "what_if"))
_USUAL: Final = tuple(name for name in _GRID if name not in ("hedge", "histogram", "session"))

LAYOUTS: Final = {
    # A low window has fewer rows and a narrow one none: the style sheet hides what has no room.
    "auto": Layout("auto", (_USUAL,), (("alerts", 12), ("rows", 11))),
    "compact": Layout("compact", (tuple(name for name in _USUAL if name != "rows"),)),
    "wide": Layout("wide", (_GRID,), (("alerts", 30), ("rows", 32))),
}


def read_layout(spec: LayoutSpec) -> Layout:
    """Return the layout that was asked for.

    Parameters
    ----------
    spec : str or sequence
        ``"auto"``, ``"compact"`` or ``"wide"``, or rows: each a part's name, or the names of
        parts side by side, such as ``["strip", ["zscore", "settings"], "prices"]``.

    Raises
    ------
    SettingError
        If a name is unknown or used twice.
    """
    if isinstance(spec, Layout):
        return spec
    if isinstance(spec, str):
        if spec not in LAYOUTS:
            near = f"; did you mean {spec!r} as a row: [{spec!r}]" if spec in PARTS else ""
            names = ", ".join(map(repr, LAYOUTS))
            raise SettingError("layout", spec, f"expected {names}, or rows of parts{near}")
        return LAYOUTS[spec]
    try:
        rows = tuple((row,) if isinstance(row, str) else tuple(row) for row in spec)
    except TypeError:
        raise SettingError("layout", spec, "expected a name, or rows of part names") from None
    layout = Layout("own", tuple(row for row in rows if row))
    for name in layout.parts:
        if name not in PARTS:
            like = get_close_matches(str(name), PARTS, 1)
            hint = f"; did you mean {like[0]!r}?" if like else ""
            raise SettingError("layout", name, f"parts are {', '.join(PARTS)}{hint}")
        if layout.parts.count(name) > 1:
            raise SettingError("layout", name, "a layout has each part once")
    if not layout.parts:
        raise SettingError("layout", spec, f"a layout has at least one of {', '.join(PARTS)}")
    return layout
