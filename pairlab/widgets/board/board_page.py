"""The page of a board."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from ipywidgets import Button, HBox, VBox

from pairlab.board_protocol import BoardView
from pairlab.schema import Pair
from pairlab.widgets.board.board_still import BoardStill
from pairlab.widgets.board.board_table import BoardTable
from pairlab.widgets.board.board_words import alerts_html, strip_html
from pairlab.widgets.core.frame_meter import next_frame_s
from pairlab.widgets.core.widget_utils import close_tree, set_traits
from pairlab.widgets.dashboard import Dashboard
from pairlab.widgets.still.output import StillOutput
from pairlab.widgets.style.formats import clock, safe
from pairlab.widgets.style.theme import ThemeName, apply_theme, read_theme
from pairlab.widgets.transport.frontend_channel import FrontendChannel
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["BoardPage"]

_FRAMES_PER_S: Final = 5.0
_ROWS: Final = 24
_ALERTS: Final = 14
_BUSY: Final = 4
"""How many times as long as a frame takes the loop is left to feeds and signals."""


class BoardPage(VBox):  # type: ignore[misc]
    """Every pair of a board on one screen; a click on one opens its dashboard below.

    Parameters
    ----------
    board : BoardView
        What to show, such as a `pairlab.Board`.
    theme : {"dark", "light", "jupyterlab"}
        Colours.

    Attributes
    ----------
    table : BoardTable
        A line a pair, and the heat map.
    opened : Pair or None
        Whose dashboard is open.

    Raises
    ------
    SettingError
        If there is no such theme.
    """

    def __init__(self, board: BoardView, theme: ThemeName = "dark") -> None:
        read_theme(theme)
        self._board = board
        self._theme: ThemeName = theme
        self._timer: asyncio.TimerHandle | None = None
        self._alerts_shown = -1
        self._due_s = 0.0
        self._refreshing = False
        self.opened: Pair | None = None
        self._still = StillOutput(BoardStill(board, _ROWS))
        self._channel = FrontendChannel(self._hand_over, self)
        self.table = BoardTable(board, self.open_pair, _ROWS)
        self._strip = HTML().add_class("pairlab-board-strip")
        self._alerts = HTML().add_class("pairlab-board-alerts")
        self._event = HTML().add_class("pairlab-board-event")
        self._name = HTML().add_class("pairlab-head-text")
        self._close = Button(description="Close", tooltip="Close this pair's dashboard")
        self._close.on_click(lambda _: board.call_on_loop(self.close_pair))
        self._detail = VBox([]).add_class("pairlab-board-detail")
        super().__init__(
            [
                self._strip, self.table, self._alerts, self._event, self._detail,
                self._channel.widget,
            ]
        )  # fmt: skip
        apply_theme(self, theme)
        # By its model's id the page's script knows whose view it is when a notebook is saved.
        self.add_class("pairlab").add_class("pairlab-board").add_class(f"pairlab-{self.model_id}")
        board.attach(self)
        self._paint(everything=True)
        self.start()

    # -- as the board's display -------------------------------------------------------------------

    def start(self) -> None:
        """Paint from now on, if the board runs."""
        loop = self._board.loop
        if self._timer is None and self._board.running and loop is not None:
            self._due_s = loop.time() + 1 / _FRAMES_PER_S
            self._timer = loop.call_at(self._due_s, self._tick)
            self._channel.heartbeat.start(loop)
            self._still.start()

    def finish(self) -> None:
        """Paint a final time, and no more."""
        self._stop_clock()
        self._paint(everything=True)
        self._channel.heartbeat.tell()
        self._still.update()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self._still.show(super()._repr_mimebundle_(**kwargs))

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._channel.heartbeat.stop()
        self._still.stop()

    def refresh(self) -> None:
        """Show what was logged while nothing is painted."""
        if self._timer is None and not self._refreshing and self.comm is not None:
            self._refreshing = True
            self._board.call_on_loop(self._refresh)

    def _refresh(self) -> None:
        self._refreshing = False
        if self._timer is None:
            self._paint(everything=True)

    def close(self) -> None:
        """Close it, and the dashboard that it opened."""
        if getattr(self, "_detail", None) is not None:
            self._stop_clock()
            self.close_pair()
        close_tree(self)

    # -- what pages report -------------------------------------------------------------------------

    def _hand_over(self, handler: Callable[..., Any]) -> Callable[[Any], None]:
        return lambda message: self._board.call_on_loop(handler, message)

    def page_opened(self) -> None:
        """Do nothing: the table asks for what it needs."""

    def control_touched(self, setting: str) -> None:
        """Do nothing: the dashboard that is open has a channel of its own."""

    def file_saved(self, token: str, error: str | None) -> None:
        """Do nothing: the board's page saves no file."""

    def frame_drawn(self, number: int) -> None:
        """Do nothing: the table tells."""

    # -- one pair ---------------------------------------------------------------------------------

    def open_pair(self, pair: Pair) -> None:
        """Show the dashboard of a pair below the table, in place of another's; it is warm."""
        if self.opened == pair:
            return
        lab = self._board.lab(pair)
        self._forget_pair()
        self.opened = pair
        self._name.value = f"<h3>{safe(pair.y)} / {safe(pair.x)}</h3>"
        head = HBox([self._name, self._close]).add_class("pairlab-head")
        self._detail.children = (head, Dashboard(lab, "auto", self._theme))

    def close_pair(self) -> None:
        """Close the dashboard that is open."""
        self._forget_pair()
        self._detail.children = ()
        self.opened = None

    def _forget_pair(self) -> None:
        for child in self._detail.children:
            if isinstance(child, Dashboard):
                child.close()

    # -- painting ---------------------------------------------------------------------------------

    def _tick(self) -> None:
        started_s = time.perf_counter()
        try:
            self._paint(everything=False)
        except Exception as error:
            # The screen is where errors are shown; feeds and signals go on.
            self._board.log("error", f"the board could not paint: {type(error).__name__}: {error}")
        spent_s = time.perf_counter() - started_s
        loop = self._board.loop
        if self._timer is not None and loop is not None and not loop.is_closed():
            self._due_s = next_frame_s(self._due_s, loop.time(), spent_s, _FRAMES_PER_S, _BUSY)
            self._timer = loop.call_at(self._due_s, self._tick)

    def _paint(self, *, everything: bool) -> None:
        if not (everything or self.table.wanted):
            return
        set_traits(self._strip, value=strip_html(self._board.health()))
        if self._board.alert_total != self._alerts_shown:
            self._alerts_shown = self._board.alert_total
            set_traits(
                self._alerts,
                value=alerts_html(self._board.newest_alerts(_ALERTS), self._alerts_shown),
            )
        log = self._board.event_log
        if len(log):
            last = log[-1]
            set_traits(
                self._event,
                value=f'<div class="pairlab-board-{last.level}">{clock(last.time_ns)} '
                f"{safe(last.message)}</div>",
            )
        self.table.show(self._board.snapshot())
