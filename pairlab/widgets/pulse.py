"""Whether anybody looks, and how fast their browser draws: asked of the browser itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, Literal

from anywidget import AnyWidget
from ipywidgets import Layout

__all__ = ["Pace", "Pulse"]

AHEAD: Final = 2
"""Frames that may be on their way to the slowest view: one is drawn while the next one travels."""

SILENT_S: Final = 5.0
"""A view that owes an answer for so long is not looked at: its tab is hidden, or it is gone."""

FORGET_S: Final = 600.0
"""A page that was killed did not say so; one that wakes up later is known again by its answer."""

ASK_S: Final = 1.0
"""How often silent views are asked whether they are looked at again."""

# Read when the module is imported, not when a view is made: that may happen on a running loop.
_SCRIPT: Final = "".join(
    files("pairlab.widgets").joinpath(name).read_text("utf-8") for name in ("labels.js", "pulse.js")
)


class Pulse(AnyWidget):
    """An invisible widget that stands in every view and answers when a frame has been drawn.

    It also names the view's controls for screen readers, where ipywidgets gives them no name.
    """

    _esm = _SCRIPT

    def __init__(self, heard: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__(layout=Layout(display="none"))
        self.on_msg(lambda _widget, content, _buffers: heard(content))


@dataclass
class _View:
    drawn: int  # the newest frame that it answered
    owes_s: float = math.inf  # when it was sent the oldest one that it did not


class Pace:
    """When to paint: as fast as asked for, as fast as the slowest view draws, or not at all.

    Views that draw slowly are painted less often, and views that nobody looks at are not painted;
    no row waits for either. Where no view ever spoke (a front end without anywidget), nothing is
    known, and painting goes on as asked for.
    """

    def __init__(self) -> None:
        self._views: dict[str, _View] = {}
        self._known = False
        self._deaf = False
        self._frame = 0
        self._sent_s = -math.inf

    def looking(self, now_s: float) -> int | None:
        """Return how many views are looked at; None where that cannot be known."""
        return len(self._awake(now_s)) if self._known else None

    def decide(self, now_s: float) -> Literal["paint", "ask", "wait"]:
        """Return what to do now: paint a frame, only ask who is there, or neither."""
        if self._deaf or not self._known:
            return "paint"
        awake = self._awake(now_s)
        if not awake:
            return "ask" if now_s - self._sent_s >= ASK_S else "wait"
        behind = max(self._frame - view.drawn for view in awake)
        return "paint" if behind < AHEAD else "wait"

    def sent(self, now_s: float) -> int:
        """Count a frame, or a question, as sent; return the number that answers it."""
        for name, view in list(self._views.items()):
            if now_s - view.owes_s > FORGET_S:
                del self._views[name]
            elif view.drawn == self._frame:
                view.owes_s = now_s
        self._frame += 1
        self._sent_s = now_s
        return self._frame

    def heard(self, content: Mapping[str, Any], now_s: float) -> bool:
        """Take in what a view said; return whether it is a new one."""
        name = str(content.get("view"))
        self._known = True
        if content.get("closed"):
            self._views.pop(name, None)
            return False
        new = name not in self._views
        drawn = content.get("drawn", self._frame)
        drawn = min(drawn, self._frame) if isinstance(drawn, int) else self._frame
        self._views[name] = _View(drawn, math.inf if drawn == self._frame else now_s)
        return new

    def deafen(self) -> None:
        """Expect no answers: a cell runs, and they wait in the kernel's queue behind it."""
        self._deaf = True

    def listen(self, now_s: float) -> None:
        """Expect answers again: what is owed was asked now."""
        self._deaf = False
        for view in self._views.values():
            view.owes_s = math.inf if view.drawn == self._frame else now_s

    def _awake(self, now_s: float) -> list[_View]:
        return [view for view in self._views.values() if now_s - view.owes_s < SILENT_S]
