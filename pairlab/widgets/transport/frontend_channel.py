"""Messages between the kernel and the pages that show a lab's widgets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib.resources import files
from typing import Any, Final, Protocol

from anywidget import AnyWidget
from ipywidgets import Layout

from pairlab.widgets.style.stylesheet import stylesheet
from pairlab.widgets.transport.compat import COMPAT_SCRIPT
from pairlab.widgets.transport.frame_pacer import FramePacer
from pairlab.widgets.transport.heartbeat import Heartbeat
from pairlab.widgets.transport.message_batching import bundled

__all__ = ["FrontendChannel", "PageEvents", "PageScript", "StaticPageScript"]

# Read when the module is imported, not when a view is made: that may happen on a running loop.
_PARTS: Final = ("labels", "message_batching", "export", "watch", "still", "frontend_channel")
_SCRIPT: Final = COMPAT_SCRIPT + "".join(
    files("pairlab.widgets.transport").joinpath("js", f"{name}.js").read_text("utf-8")
    for name in _PARTS
)


class PageScript(AnyWidget):
    """An invisible widget that is part of every other one and brings what a page needs to show it.

    That is the style sheet, once for each page; an answer when a frame has been drawn; and names
    for screen readers where ipywidgets gives controls none.
    """

    _esm = _SCRIPT
    _css = stylesheet()

    def __init__(self, on_message: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__(layout=Layout(display="none"))
        self.on_msg(lambda _widget, content, _buffers: on_message(content))

    @property
    def carrier(self) -> Layout:
        """What takes the kernel's messages to every page: `frontend_channel.js` says why."""
        return self.layout


class StaticPageScript(PageScript):
    """The same for what has no lab: it tells pages that ask for a sign of life that none follows.

    Unanswered, they would take the kernel for dead.
    """

    def __init__(self) -> None:
        super().__init__(self._answer)

    def _answer(self, content: Mapping[str, Any]) -> None:
        if content.get("asks"):
            self.carrier.send({"beat": False}, [])


class PageEvents(Protocol):
    """What pages report."""

    def page_opened(self) -> None:
        """Handle a page that shows a widget that it did not show before."""

    def control_touched(self, setting: str) -> None:
        """Handle a person's hand on the control of a setting, before what it does there."""

    def file_saved(self, token: str, error: str | None) -> None:
        """Handle that a page has saved a file, or why it has not."""

    def frame_drawn(self, number: int) -> None:
        """Handle that a page has drawn a frame."""


class FrontendChannel:
    """Receives the messages of the pages that show a lab, and sends theirs.

    Parameters
    ----------
    hand_over : callable
        Wraps a function so that it runs on the lab's loop, from whatever thread it is called.
    events : PageEvents
        Handles what pages report.

    Attributes
    ----------
    widget : PageScript
        Carries the messages.
    pacer : FramePacer
        Knows which pages are looked at, and how fast they draw.
    heartbeat : Heartbeat
        Tells pages that the kernel lives.
    """

    def __init__(
        self, hand_over: Callable[[Callable[..., Any]], Callable[[Any], None]], events: PageEvents
    ) -> None:
        self.widget = PageScript(hand_over(self._on_message))
        self.pacer = FramePacer()
        self.heartbeat = Heartbeat(self._beat, lambda: self._sent_s)
        self._sent_s = -math.inf
        self._events = events
        self._pressed_page = ""  # in which the export's buttons were used last

    def _on_message(self, content: Mapping[str, Any]) -> None:
        if content.get("asks"):
            self.heartbeat.tell()
            return
        if content.get("back"):
            self._events.page_opened()  # it has missed what was sent meanwhile
            return
        if self.pacer.on_ack(content, time.monotonic()):
            self._events.page_opened()
            self.heartbeat.tell()
        if content.get("pressed"):
            self._pressed_page = str(content.get("page"))
        if isinstance(setting := content.get("hand"), str):
            self._events.control_touched(setting)
        if isinstance(token := content.get("saved"), str):
            failed = content.get("failed")
            self._events.file_saved(token, None if failed is None else str(failed))
        if isinstance(drawn := content.get("drawn"), int):
            self._events.frame_drawn(drawn)

    def _beat(self, beat: dict[str, Any]) -> None:
        if self.pacer.may_have_pages:
            self.send(beat, [])

    def send(self, content: dict[str, Any], buffers: list[Any]) -> None:
        """Send a message to every page."""
        self._sent_s = time.monotonic()
        self.widget.carrier.send(content, buffers)

    def batch(self, **also: Any) -> AbstractContextManager[None]:
        """Send the updates made inside the block as one message, with `also` in it."""
        # Until a page has said that it takes bundles apart, none is sent.
        known = self.pacer.looking(time.monotonic()) is not None
        return bundled(self if known else None, **also)

    def save_file(self, widget_id: str, job: dict[str, Any], buffers: list[bytes]) -> bool:
        """Ask the page in which a widget's button was pressed to save a file.

        Returns
        -------
        bool
            False if no page shows the widget.
        """
        pages = self.pacer.pages_showing(widget_id, time.monotonic())
        if self._pressed_page in pages:
            pages = [self._pressed_page]
        if pages:
            self.send({"job": {**job, "pages": pages}}, buffers)
        return bool(pages)
