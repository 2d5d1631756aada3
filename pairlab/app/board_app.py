"""The board notebook's board: from the command line's options and the page's query."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from pairlab.app.garbage_collection import freeze_after_start
from pairlab.board import Board
from pairlab.board.group_source import DEMO_SYMBOLS
from pairlab.errors import SettingError

if TYPE_CHECKING:
    from pairlab.widgets.board.board_page import BoardPage

__all__ = ["BoardOptions", "board_for_page", "is_board_app", "page_for_board"]

_VARIABLE: Final = "PAIRLAB_BOARD"
_MAX_FIELDS: Final = 50


@dataclass(frozen=True)
class BoardOptions:
    """Options of the command line, passed to the notebook's kernel through its environment.

    Attributes
    ----------
    feed : str
        As in `Board`.
    pairs : list of [str, str]
        The pairs; none: `symbols` are scanned.
    symbols : list of str
        All pairs of them are scanned at each bar.
    stream : str or None
        The stream; None for the default.
    settings : dict
        Settings by name.
    """

    feed: str = "demo"
    pairs: list[list[str]] = field(default_factory=list)
    symbols: list[str] = field(default_factory=lambda: list(DEMO_SYMBOLS))
    stream: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def to_environment(self) -> dict[str, str]:
        """Return the environment variables with these options."""
        return {_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> BoardOptions:
        """Return the options of `to_environment`, or the defaults."""
        return cls(**json.loads(environ.get(_VARIABLE, "{}")))


def is_board_app(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the app that runs here shows a board."""
    return _VARIABLE in environ


def board_for_page(environ: Mapping[str, str] = os.environ) -> Board:
    """Return the board of one page, not started."""
    options = BoardOptions.from_environment(environ)
    pairs = [(y, x) for y, x in options.pairs]
    return Board(
        pairs or options.symbols, feed=options.feed, stream=options.stream, **options.settings
    )


def page_for_board(board: Board, environ: Mapping[str, str] = os.environ) -> BoardPage:
    """Return the board's page in the theme of the page's query: ``?theme=light``.

    What is none is reported in the event log.
    """
    freeze_after_start(board.on_update)
    try:
        query = dict(parse_qsl(environ.get("QUERY_STRING", ""), max_num_fields=_MAX_FIELDS))
        return board.page(query.get("theme", "dark")[:40])  # type: ignore[arg-type]  # checked there
    except (SettingError, ValueError) as error:
        board.log("warning", f"page address: {error}")
        return board.page()
