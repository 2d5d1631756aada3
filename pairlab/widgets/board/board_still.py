"""What of a board is kept as a picture in the notebook that shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pairlab.board_protocol import BoardView
from pairlab.data.origin import source_name
from pairlab.widgets.board.board_lines import lines
from pairlab.widgets.still.board_picture import BoardMoment, board_picture, board_words

__all__ = ["BoardStill"]


class BoardStill:
    """A board's table and heat map, as a `pairlab.widgets.still.output.StillSubject`.

    Parameters
    ----------
    board : BoardView
        Which is drawn.
    rows : int
        Lines of the table.
    """

    def __init__(self, board: BoardView, rows: int) -> None:
        self._board = board
        self._rows = rows

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The board's loop."""
        return self._board.loop

    @property
    def running(self) -> bool:
        """Whether the board runs."""
        return self._board.running

    def version(self) -> object:
        """Return how many rows of how many pairs there are."""
        health = self._board.health()
        return health.rows, health.pairs

    def words(self) -> str:
        """Return the board in one line."""
        return board_words(self._moment(0))

    def capture(self) -> Callable[[], tuple[bytes, str]]:
        """Take the lines and the z of every pair."""
        moment = self._moment(self._rows)
        return lambda: (board_picture(moment), board_words(moment))

    def _moment(self, rows: int) -> BoardMoment:
        at, health = self._board.snapshot(), self._board.health()
        return BoardMoment(
            source=source_name(health.feed, health.real_money),
            real_money=health.real_money,
            time_ns=int(at.rows["time_ns"].max(initial=0)),
            names=[f"{pair.y} / {pair.x}" for pair in at.pairs],
            z=at.rows["zscore"].astype(float),
            lines=lines(self._board, at, 0, rows),
        )
