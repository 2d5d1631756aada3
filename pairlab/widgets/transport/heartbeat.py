"""A sign of life for pages, whenever nothing else has told them for a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

__all__ = ["EVERY_S", "Heartbeat"]

EVERY_S: Final = 1.0
"""How long nothing is sent at most while the lab runs; `watch.js` waits a few times as long."""


class Heartbeat:
    """Tells pages that the kernel lives, by which they notice by themselves when it does not.

    Frames do so, too: a beat goes only where none went for a second, because a page is slow or
    frames are rare.

    Parameters
    ----------
    send : callable
        Sends ``{"beat": …}`` to every page: whether others follow.
    sent_s : callable
        Returns when pages were sent anything last, in `time.monotonic`'s seconds.
    """

    def __init__(self, send: Callable[[dict[str, bool]], None], sent_s: Callable[[], float]):
        self._send = send
        self._sent_s = sent_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Beat from now on."""
        self.stop()
        self._timer = loop.call_later(EVERY_S, self._beat, loop)

    def stop(self) -> None:
        """Beat no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def tell(self) -> None:
        """Tell pages now whether beats follow: without them they would take the kernel for dead."""
        self._send({"beat": self._timer is not None})

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        # Before anything that can fail, so that one failure is not the last beat.
        self._timer = loop.call_later(EVERY_S, self._beat, loop)
        if time.monotonic() - self._sent_s() >= 0.9 * EVERY_S:
            self.tell()
