"""Keeps a still picture of a lab in the notebook that shows it, for whoever opens it later."""

from __future__ import annotations

import asyncio
import base64
import os
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from IPython import get_ipython
from IPython.display import publish_display_data

from pairlab.data.origin import Origin
from pairlab.protocols import LabView
from pairlab.schema import Records
from pairlab.settings import SettingValues
from pairlab.widgets.still.picture import still_picture, still_words

__all__ = ["StillOutput"]

_FIRST_S: Final = 2.0
_LATER_S: Final = 60.0
"""How old a saved picture is at most; JupyterLab saves every two minutes."""

_MOST_OUTPUTS: Final = 16
_ROWS: Final = 2_000


class StillOutput:
    """Puts a picture and a line of text before each view of a lab in a notebook.

    A notebook that is opened without its kernel, converted to HTML or shown by GitHub has no
    widgets: it shows the picture. While the dashboard is there, its page hides the picture. It is
    updated after 2 s, at ever longer intervals up to a minute, and when the lab stops.

    Parameters
    ----------
    lab : LabView
        Whose rows.
    """

    def __init__(self, lab: LabView) -> None:
        self._lab = lab
        self._ids: deque[str] = deque(maxlen=_MOST_OUTPUTS)
        self._timer: asyncio.TimerHandle | None = None
        self._wait_s = _FIRST_S
        self._drawing: asyncio.Task[None] | None = None
        self._shown: tuple[int, int] | None = None

    def show(self, bundle: Any) -> Any:
        """Publish a picture, and return the bundle of a view with words that people can read.

        Parameters
        ----------
        bundle : dict
            What `_repr_mimebundle_` of a widget returned.
        """
        if isinstance(bundle, dict) and "text/plain" in bundle:
            bundle = {**bundle, "text/plain": self.words()}
        if not _saves_outputs():
            return bundle
        name = f"pairlab-still-{uuid.uuid4().hex}"
        self._ids.append(name)
        self._publish(_bundle(*self._now()), [name], update=False)
        self._shown = None
        self._restart()
        return bundle

    def words(self) -> str:
        """Return the line of text."""
        return still_words(self._lab.rows.view(1), self._origin())

    def update(self) -> None:
        """Publish the picture of this moment in place of the older ones."""
        if self._ids and self._has_changed():
            self._publish(_bundle(*self._now()), list(self._ids), update=True)

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
        """Update from now on, while the lab runs."""
        loop = self._lab.loop
        running = self._lab.running and loop is not None and not loop.is_closed()
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
        made = await asyncio.to_thread(_bundle, *self._now())
        self._publish(made, list(self._ids), update=True)

    def _has_changed(self) -> bool:
        cursor = self._lab.rows.cursor
        before, self._shown = self._shown, (cursor.epoch, cursor.row)
        return before != self._shown

    def _origin(self) -> Origin:
        return Origin.of(self._lab.pair, self._lab.health(), self._lab.row_settings)

    def _now(self) -> tuple[Records, Origin, SettingValues]:
        return self._lab.rows.view(_ROWS), self._origin(), self._lab.row_settings

    @staticmethod
    def _publish(bundle: dict[str, str], names: list[str], *, update: bool) -> None:
        publish: Callable[..., object] = publish_display_data
        for name in names:
            publish(bundle, transient={"display_id": name}, update=update)


def _bundle(rows: Records, origin: Origin, values: SettingValues) -> dict[str, str]:
    picture = base64.b64encode(still_picture(rows, origin, values)).decode()
    return {"image/png": picture, "text/plain": still_words(rows, origin)}


def _saves_outputs() -> bool:
    """Return whether what is displayed here can be saved: in a kernel, but not of a Voila page."""
    shell = get_ipython()
    served = os.environ.get("SERVER_SOFTWARE", "").lower().startswith("voila")
    return getattr(shell, "kernel", None) is not None and not served
