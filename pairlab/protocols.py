"""Protocols for objects that a lab notifies: displays and services."""

from __future__ import annotations

from typing import Protocol

__all__ = ["DisplayListener", "Service"]


class DisplayListener(Protocol):
    """Something on the screen that shows a lab."""

    def start(self) -> None:
        """Paint from now on: the lab runs, maybe again."""

    def finish(self) -> None:
        """Paint once more and rest: the lab has stopped."""

    def refresh(self) -> None:
        """Show what has changed, if nothing is painted now: a note, a setting."""

    def close(self) -> None:
        """Leave nothing behind: the lab was replaced."""


class Service(Protocol):
    """Something that serves a lab to others, and ends with it."""

    async def stop(self) -> None:
        """Serve no longer, and leave nothing on the loop."""
