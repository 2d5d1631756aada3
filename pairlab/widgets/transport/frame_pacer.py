"""When to paint: paced by what browsers acknowledge."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = ["FramePacer"]

AHEAD: Final = 2
"""Frames that may be on their way to the slowest page: one is drawn while the next one travels."""

EVERY: Final = 4
"""One frame in so many asks for an answer, which costs the kernel as much as a small frame."""

CAREFUL: Final = 8
"""Frames that ask one by one after a page did not keep up."""

SILENT_S: Final = 5.0
"""A page that has not answered for this long is hidden or gone."""

FORGET_S: Final = 600.0
"""After this a silent page is dropped; if it wakes up later, its answer adds it again."""

ANY: Final = frozenset({"*"})
"""The widgets of a page that did not tell which it shows."""

ASK_S: Final = 1.0
"""How often silent pages are asked whether they are looked at again."""


@dataclass
class _Page:
    drawn: int  # the newest frame that it answered
    owes_s: float = math.inf  # when it was sent the oldest one that it did not
    shows: frozenset[str] = ANY  # ids of the parts


class FramePacer:
    """When to paint: as fast as asked for, as fast as the slowest page draws, or not at all.

    Pages that draw slowly are painted less often, and pages that nobody looks at are not painted;
    no row waits for either. Where no page ever spoke (a front end without anywidget), nothing is
    known, and painting goes on as asked for.
    """

    def __init__(self) -> None:
        self._pages: dict[str, _Page] = {}
        self._known = False
        self._muted = False
        self._frame = 0
        self._asked = 0  # the newest frame that asked
        self._careful = CAREFUL
        self._sent_s = -math.inf

    @property
    def answers(self) -> bool:
        """Whether pages are known to answer, and can just now."""
        return self._known and not self._muted

    @property
    def may_have_pages(self) -> bool:
        """Whether a page spoke, or may have and waits behind a cell."""
        return self._known or self._muted

    def looking(self, now_s: float) -> int | None:
        """Return how many pages are looked at; None where that cannot be known."""
        return len(self._awake(now_s)) if self._known else None

    def shown(self, now_s: float) -> frozenset[str] | None:
        """Return the ids of the parts that are looked at; None where that may be any."""
        if not self.answers:
            return None
        shown = frozenset[str]().union(*(page.shows for page in self._awake(now_s)))
        return None if shown & ANY else shown

    def pages_showing(self, part: str, now_s: float) -> list[str]:
        """Return the pages that are looked at and show a part, or may."""
        return [
            name
            for name, page in self._pages.items()
            if (self._muted or now_s - page.owes_s < SILENT_S) and page.shows & {part, *ANY}
        ]

    def decide(self, now_s: float) -> Literal["paint", "ask", "wait"]:
        """Return what to do now: paint a frame, only ask who is there, or neither."""
        if not self.answers:
            return "paint"
        awake = self._awake(now_s)
        if not awake:
            return "ask" if now_s - self._sent_s >= ASK_S else "wait"
        if max(self._frame - page.drawn for page in awake) < AHEAD:
            return "paint"
        self._careful = CAREFUL
        return "wait"

    def send(self, now_s: float, *, ask: bool = False) -> int | None:
        """Count a frame, or a mere question, as sent; return the number to ask for, if any.

        While pages keep up, most frames ask for nothing, and count as drawn where none is owed.
        """
        ask = ask or self._careful > 0 or self._frame + 1 - self._asked >= EVERY
        for name, page in list(self._pages.items()):
            if now_s - page.owes_s > FORGET_S:
                del self._pages[name]
            elif page.drawn == self._frame:
                page.drawn += not ask
                page.owes_s = now_s if ask else math.inf
        self._frame += 1
        self._careful = max(self._careful - 1, 0)
        self._sent_s = now_s
        if ask:
            self._asked = self._frame
        return self._frame if ask else None

    def on_ack(self, content: Mapping[str, Any], now_s: float) -> bool:
        """Process what a page said; return whether it shows a part that it never showed before."""
        name, shows = str(content.get("page")), content.get("shows")
        if content.keys() & {"saved", "pressed", "hand"}:
            return False
        self._known = True
        more = isinstance(shows, list) and self._on_shows(name, frozenset(map(str, shows)))
        drawn = content.get("drawn")
        if isinstance(shows, list) and (drawn is None or not shows):
            return more and not content.get("seen")
        if not isinstance(drawn, int) or drawn >= self._asked:
            drawn = self._frame  # whatever came after that asked for nothing
        new = name not in self._pages
        page = self._pages.setdefault(name, _Page(drawn))
        page.drawn = max(drawn, page.drawn)  # an answer can be late
        page.owes_s = math.inf if page.drawn == self._frame else now_s
        return new or more

    def _on_shows(self, name: str, shows: frozenset[str]) -> bool:
        page = self._pages.get(name)
        if not shows:
            self._pages.pop(name, None)
        elif page is None:
            self._pages[name] = _Page(self._frame, shows=shows)
        else:
            new, page.shows = shows - page.shows, shows
            return bool(new)
        return bool(shows)

    def mute(self) -> None:
        """Expect no answers: a cell runs, and they queue behind it."""
        self._muted = True

    def unmute(self, now_s: float) -> None:
        """Expect answers again, as if they had been asked for now."""
        self._muted = False
        for page in self._pages.values():
            page.owes_s = math.inf if page.drawn == self._frame else now_s

    def _awake(self, now_s: float) -> list[_Page]:
        return [page for page in self._pages.values() if now_s - page.owes_s < SILENT_S]
