"""Keeps a still picture of what a notebook shows in it, for whoever opens it later."""

from __future__ import annotations

import asyncio
import base64
import os
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from IPython import get_ipython
from IPython.display import publish_display_data

from pairlab.data.origin import Origin
from pairlab.protocols import LabView
from pairlab.widgets.still.picture import still_picture, still_words

__all__ = ["LabStill", "ResultStill", "StillOutput", "StillSubject"]

_FIRST_S: Final = 2.0
_LATER_S: Final = 60.0
"""How old a saved picture is at most; JupyterLab saves every two minutes."""

_MOST_OUTPUTS: Final = 16
_ROWS: Final = 2_000


class StillSubject(Protocol):
    """What a picture is of. All of it is called on the subject's loop."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that it runs on, or ran on."""

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""

    def version(self) -> object:
        """Return what differs once there is something new to draw."""

    def words(self) -> str:
        """Return it in one line of text."""

    def capture(self) -> Callable[[], tuple[bytes, str]]:
        """Take what is to be drawn; the function, on whatever thread, makes PNG and words of it."""


class LabStill:
    """The newest rows of a lab, as a `StillSubject`.

    Parameters
    ----------
    lab : LabView
        Whose rows.
    """

    def __init__(self, lab: LabView) -> None:
        self._lab = lab

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The lab's loop."""
        return self._lab.loop

    @property
    def running(self) -> bool:
        """Whether the lab runs."""
        return self._lab.running

    def version(self) -> object:
        """Return the position of the newest row."""
        cursor = self._lab.rows.cursor
        return cursor.epoch, cursor.row

    def words(self) -> str:
        """Return pair, market, time and the newest numbers."""
        return still_words(self._lab.rows.view(1), self._origin())

    def capture(self) -> Callable[[], tuple[bytes, str]]:
        """Take the newest rows."""
        rows, origin, values = self._lab.rows.view(_ROWS), self._origin(), self._lab.row_settings
        return lambda: (still_picture(rows, origin, values), still_words(rows, origin))

    def _origin(self) -> Origin:
        return Origin.of(self._lab.pair, self._lab.health(), self._lab.row_settings)


class ResultStill:
    """A result, which never changes, as a `StillSubject`.

    Parameters
    ----------
    words : str
        It in one line.
    draw : callable
        Makes the PNG.
    """

    loop = None
    running = False

    def __init__(self, words: str, draw: Callable[[], bytes]) -> None:
        self._words, self._draw = words, draw

    def version(self) -> object:
        """Return what is always the same."""
        return None

    def words(self) -> str:
        """Return the words."""
        return self._words

    def capture(self) -> Callable[[], tuple[bytes, str]]:
        """Return the function that draws it."""
        return lambda: (self._draw(), self._words)


class StillOutput:
    """Puts a picture and a line of text before each view of its subject in a notebook.

    A notebook that is opened without its kernel, converted to HTML or shown by GitHub has no
    widgets: it shows the picture. While the dashboard is there, its page hides the picture. It is
    updated after 2 s, at ever longer intervals up to a minute, and when the subject stops.

    Parameters
    ----------
    subject : StillSubject
        What is drawn.
    """

    def __init__(self, subject: StillSubject) -> None:
        self._subject = subject
        self._ids: deque[str] = deque(maxlen=_MOST_OUTPUTS)
        self._timer: asyncio.TimerHandle | None = None
        self._wait_s = _FIRST_S
        self._drawing: asyncio.Task[None] | None = None
        self._shown: object = None

    def show(self, bundle: Any) -> Any:
        """Publish a picture, and return the bundle of a view with words that people can read.

        Parameters
        ----------
        bundle : dict
            What `_repr_mimebundle_` of a widget returned.
        """
        if isinstance(bundle, dict) and "text/plain" in bundle:
            bundle = {**bundle, "text/plain": self._subject.words()}
        if not _saves_outputs():
            return bundle
        name = f"pairlab-still-{uuid.uuid4().hex}"
        self._ids.append(name)
        self._publish(_bundle(self._subject.capture()), [name], update=False)
        self._shown = None
        self._restart()
        return bundle

    def update(self) -> None:
        """Publish the picture of this moment in place of the older ones."""
        if self._ids and self._has_changed():
            self._publish(_bundle(self._subject.capture()), list(self._ids), update=True)

    def stop(self) -> None:
        """Update no longer by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._drawing is not None:
            self._drawing.cancel()

    def _restart(self) -> None:
        self.stop()
        self._wait_s = _FIRST_S
        self.start()

    def start(self) -> None:
        """Update from now on, while the subject runs."""
        loop = self._subject.loop
        running = self._subject.running and loop is not None and not loop.is_closed()
        if self._ids and self._timer is None and running and loop is not None:
            self._timer = loop.call_later(self._wait_s, self._later, loop)

    def _later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._wait_s = min(2 * self._wait_s, _LATER_S)
        self.start()
        if self._has_changed() and (self._drawing is None or self._drawing.done()):
            self._drawing = loop.create_task(self._draw(), name="pairlab still picture")

    async def _draw(self) -> None:
        # On a thread: the tick that comes meanwhile does not wait for it.
        made = await asyncio.to_thread(_bundle, self._subject.capture())
        self._publish(made, list(self._ids), update=True)

    def _has_changed(self) -> bool:
        before, self._shown = self._shown, self._subject.version()
        return before != self._shown

    @staticmethod
    def _publish(bundle: dict[str, str], names: list[str], *, update: bool) -> None:
        publish: Callable[..., object] = publish_display_data
        for name in names:
            publish(bundle, transient={"display_id": name}, update=update)


def _bundle(draw: Callable[[], tuple[bytes, str]]) -> dict[str, str]:
    picture, words = draw()
    return {"image/png": base64.b64encode(picture).decode(), "text/plain": words}


def _saves_outputs() -> bool:
    """Return whether what is displayed here can be saved: in a kernel, but not of a Voila page."""
    shell = get_ipython()
    served = os.environ.get("SERVER_SOFTWARE", "").lower().startswith("voila")
    return getattr(shell, "kernel", None) is not None and not served
