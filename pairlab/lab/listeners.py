"""User code that is called on updates: its exceptions are counted and reported, never passed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pairlab.clock import Clock

__all__ = ["Listeners"]

_REPEAT_S: Final = 60.0


class Listeners:
    """Functions of the user's, called in the order in which they were added.

    Parameters
    ----------
    report : callable
        Takes the message about one that raised.
    clock : Clock
        So that a listener that fails on every batch is reported once a minute.

    Attributes
    ----------
    errors : int
        Exceptions that listeners raised.
    """

    def __init__(self, report: Callable[[str], None], clock: Clock) -> None:
        self.errors = 0
        self._report = report
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []
        self._reported_s: dict[str, float] = {}

    def add(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` from now on; what is returned ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def notify(self) -> None:
        """Call every listener."""
        for listener in list(self._listeners):
            try:
                listener()
            except Exception as error:
                self._failed(listener, error)

    def _failed(self, listener: Callable[[], None], error: Exception) -> None:
        self.errors += 1
        name = str(getattr(listener, "__qualname__", listener))
        now_s = self._clock.monotonic_s()
        if now_s - self._reported_s.get(name, float("-inf")) > _REPEAT_S:
            self._reported_s[name] = now_s
            self._report(
                f"the listener {name} raised {error!r}; the stream continues "
                f"({self.errors:,} errors of listeners so far)"
            )
