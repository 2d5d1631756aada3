"""The table and the heat map of a board: drawn by the browser from small messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final

import numpy as np
from anywidget import AnyWidget
from numpy.typing import NDArray

from pairlab.board_protocol import BoardSnapshot, BoardView
from pairlab.widgets.board.board_lines import lines

__all__ = ["BoardTable"]

# Read when the module is imported, not when a view is made: that may happen on a running loop.
_SCRIPT: Final = files("pairlab.widgets.board").joinpath("board.js").read_text("utf-8")
_LOST_S: Final = 3.0  # a page that has said nothing for so long is not there
_ANSWER_S: Final = 1.0  # for so long a frame waits until the one before has been drawn


class BoardTable(AnyWidget):
    """A line a pair, what needs attention first, and a cell a pair, coloured by z.

    It sends nothing unless a page shows it, and no frame before the last one has been drawn.

    Parameters
    ----------
    board : BoardView
        What to show.
    opened : callable
        Called with the pair that was clicked on.
    rows : int
        Lines on a page of the table.
    """

    _esm = _SCRIPT

    def __init__(self, board: BoardView, opened: Callable[[Any], None], rows: int) -> None:
        super().__init__()
        self._board = board
        self._opened = opened
        self._rows = rows
        self._page = 0
        self._seen_s = self._sent_s = float("-inf")
        self._drawn = True
        self._pairs: tuple[Any, ...] = ()
        self._held: NDArray[np.int64] | None = None  # the order while the mouse is over the lines
        self.frames = 0
        self.on_msg(lambda _widget, content, _buffers: board.call_on_loop(self.page_says, content))

    @property
    def wanted(self) -> bool:
        """Whether a page shows it and has drawn the last frame, or had time to."""
        now_s = time.monotonic()
        looked_at = now_s - self._seen_s < _LOST_S
        return looked_at and (self._drawn or now_s - self._sent_s > _ANSWER_S)

    def page_says(self, content: dict[str, Any]) -> None:
        """Take what a page says: that it is there, has drawn, turns the page, or opens a pair."""
        self._seen_s = time.monotonic()
        if content.get("drawn"):
            self._drawn = True
        if content.get("opened"):
            self._pairs = ()
            self._drawn = True
            self.show(self._board.snapshot())
        if isinstance(step := content.get("page"), int):
            self._page += step
            self.show(self._board.snapshot())
        if isinstance(hold := content.get("hold"), bool):
            self._held = self._board.snapshot().order if hold else None
        at = content.get("open")
        if isinstance(at, int) and 0 <= at < len(self._pairs):
            self._opened(self._pairs[at])

    def show(self, at: BoardSnapshot) -> None:
        """Send a frame."""
        if self._held is not None and len(self._held) == len(at.order) and at.pairs == self._pairs:
            at = at._replace(order=self._held)
        pages = max(-(-len(at.pairs) // self._rows), 1)
        self._page = min(max(self._page, 0), pages - 1)
        frame: dict[str, Any] = {
            "lines": lines(self._board, at, self._page * self._rows, self._rows),
            "page": self._page, "pages": pages, "total": len(at.pairs),
        }  # fmt: skip
        if at.pairs != self._pairs:
            self._pairs = at.pairs
            frame["pairs"] = [f"{y} / {x}" for y, x in at.pairs]
        self._sent_s, self._drawn = time.monotonic(), False
        self.frames += 1
        self.send(frame, [np.ascontiguousarray(at.rows["zscore"], np.float32)])
