"""Batches a frame's updates into one message: most of a small message's cost is being one.

`message_batching.js` takes the message apart, and gives each model in the browser its own update.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import ipywidgets

from pairlab.widgets.transport.compat import intercepts_send

__all__ = ["HTML", "Batched", "bundled"]

_OPEN = threading.local()


class _Carrier(Protocol):
    def send(self, content: dict[str, Any], buffers: list[Any]) -> None: ...


class Batched:
    """Mixin of widgets whose updates may travel together with others'."""

    def _send(self, msg: dict[str, Any], buffers: list[Any] | None = None) -> None:
        """Send a message, or put an update with the others of this frame."""
        updates = getattr(_OPEN, "updates", None)
        if updates is None or not intercepts_send(msg):
            super()._send(msg, buffers=buffers)  # type: ignore[misc]
        else:
            updates.append((self.model_id, msg, buffers or []))  # type: ignore[attr-defined]


class HTML(Batched, ipywidgets.HTML):  # type: ignore[misc]
    """Text whose updates travel with the frame's."""


@contextmanager
def bundled(carrier: _Carrier | None, **also: Any) -> Iterator[None]:
    """Send the updates of this thread's `Batched` widgets as one custom message of `carrier`.

    Inside of another bundle their updates travel with that one's.

    Parameters
    ----------
    carrier : widget or None
        Stands in every page, and knows what to do with the message; None: each says it itself.
    **also
        What the message says besides.
    """
    if carrier is None or getattr(_OPEN, "updates", None) is not None:
        yield
        return
    updates: list[tuple[str, dict[str, Any], list[Any]]] = []
    _OPEN.updates = updates
    try:
        yield
    finally:
        # Also after an error: what the kernel believes to be on the screen has to get there.
        _OPEN.updates = None
        if updates or also:
            content = [
                {"id": id_, "state": m["state"], "paths": m["buffer_paths"], "buffers": len(own)}
                for id_, m, own in updates
            ]
            carrier.send({"updates": content, **also}, [b for _, _, own in updates for b in own])
