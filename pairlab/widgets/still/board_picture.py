"""A board as one still picture, and in one line of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.widgets.still.raster import Canvas
from pairlab.widgets.style.formats import clock
from pairlab.widgets.style.theme import DARK

__all__ = ["BoardMoment", "board_picture", "board_words"]

_WIDTH: Final = 880
_HEAD: Final = 44
_LINE: Final = 14
_CELL: Final = (30, 14)
_GAP: Final = 2
_FOOT: Final = 18
_COLUMNS: Final = (("pair", 8), ("signal", 190), ("z", 290), ("z, last 300 rows", 350),
                   ("corr", 480), ("p", 540), ("half-life", 620), ("deviation", 720))  # fmt: skip
_SPARK_WIDTH: Final = 110


@dataclass(frozen=True)
class BoardMoment:
    """What is drawn of a board.

    Attributes
    ----------
    source : str
        The market, without credentials; of what is not the live one, it says so.
    real_money : bool
        Whether it is the live market.
    time_ns : int
        Of the newest row; 0 if there is none.
    names : sequence of str
        Every pair.
    z : array
        Of every pair.
    lines : sequence of mapping
        Lines of the table, as the page is sent them.
    """

    source: str
    real_money: bool
    time_ns: int
    names: Sequence[str]
    z: NDArray[np.float64]
    lines: Sequence[Mapping[str, Any]]


def board_words(moment: BoardMoment) -> str:
    """Return in one line what a picture shows: pairs, market, time, and how many are far out."""
    pairs = len(moment.names)
    head = f"pairlab board: {pairs} pair{'' if pairs == 1 else 's'} · {moment.source}"
    if not moment.time_ns:
        return f"{head} · no rows yet"
    day = str(np.datetime64(moment.time_ns, "ns"))[:10]
    far = int((np.abs(moment.z) >= 2).sum())
    return f"{head} · {day} {clock(moment.time_ns)[:8]} UTC · {far} with z beyond 2"


def board_picture(moment: BoardMoment) -> bytes:
    """Return the table's first lines and a cell a pair, as PNG of 880 pixels' width."""
    columns = (_WIDTH - 16 + _GAP) // (_CELL[0] + _GAP)
    rows = -(-len(moment.names) // columns)
    table, cells = (len(moment.lines) + 1) * _LINE + 8, rows * (_CELL[1] + _GAP) + 22
    canvas = Canvas(_WIDTH, _HEAD + table + 4 + cells + _FOOT, DARK.page)
    title, _, rest = board_words(moment).partition(" · ")
    canvas.text(8, 6, title, DARK.text, 2)
    badge = moment.source.upper()
    colour = DARK.corr if moment.real_money else DARK.sim
    canvas.text(_WIDTH - 8 - canvas.text_width(badge, 2), 6, badge, colour, 2)
    canvas.text(8, 28, rest.removeprefix(moment.source).removeprefix(" · "), DARK.text2)
    canvas.rectangle(0, _HEAD, _WIDTH, table, DARK.panel)
    for name, left in _COLUMNS:
        canvas.text(left, _HEAD + 5, name, DARK.muted)
    for at, line in enumerate(moment.lines, 1):
        _line(canvas, _HEAD + 5 + at * _LINE, line)
    top = _HEAD + table + 4
    canvas.rectangle(0, top, _WIDTH, cells, DARK.panel)
    canvas.text(8, top + 5, "z of every pair", DARK.muted)
    for at, z in enumerate(moment.z.tolist()):
        left, y = 8 + at % columns * (_CELL[0] + _GAP), top + 18 + at // columns * (_CELL[1] + _GAP)
        canvas.rectangle(left, y, *_CELL, DARK.raised if z != z else _shade(z))
        canvas.text(
            left + 3, y + 4, "-" if z != z else f"{np.clip(z, -99, 99):+.1f}"[:4], DARK.text
        )
    foot = "saved picture, run the cell for the live board"
    if len(moment.lines) < len(moment.names):
        foot = f"{len(moment.lines)} lines of {len(moment.names)} | {foot}"
    canvas.text(8, top + cells + 4, foot, DARK.muted)
    return canvas.png(Software="pairlab", pairlab=f"{moment.source}; board")


def _line(canvas: Canvas, top: float, line: Mapping[str, Any]) -> None:
    texts = (
        f"{line['y']} / {line['x']}"[:29], line["word"], line["z"], "", line["corr"],
        line["p"], line["half"], line["dev"],
    )  # fmt: skip
    for text, (_, left) in zip(texts, _COLUMNS, strict=True):
        canvas.text(left, top, text, DARK.text)
    heights = np.array([np.nan if h is None else h for h in line["spark"]], float)
    if len(heights) > 1:
        x = np.linspace(_COLUMNS[3][1], _COLUMNS[3][1] + _SPARK_WIDTH, len(heights))
        canvas.line(x, top + 8 - heights / 10, DARK.z)


def _shade(z: float) -> str:
    """Return the colour of a cell: the further from 0, the more of the side's colour."""
    part = min(abs(z) / 4, 1.0) * 0.6
    mixed = [
        round((1 - part) * int(DARK.raised[n : n + 2], 16) + part * int(side[n : n + 2], 16))
        for side in (DARK.y if z < 0 else DARK.x,)
        for n in (1, 3, 5)
    ]
    return "#" + "".join(f"{value:02x}" for value in mixed)
