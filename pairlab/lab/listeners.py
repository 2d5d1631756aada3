"""Callbacks of a lab's user, each isolated from the stream and from the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pairlab.clock import SYSTEM_CLOCK, Clock
from pairlab.schema import LogLevel

__all__ = ["Listeners"]

_REPEAT_S: Final = 10.0  # a callback that raises again and again is named so often


class Listeners:
    """Functions that are called after every batch of ticks and every rebuild.

    What one raises is counted and logged: the stream and the other listeners are not affected.

    Parameters
    ----------
    log : callable
        Takes a level and a message for the event log.
    clock : Clock
        Source of the time.

    Attributes
    ----------
    errors : int
        How often a listener raised.
    """

    def __init__(self, log: Callable[[LogLevel, str], None], clock: Clock = SYSTEM_CLOCK) -> None:
        self.errors = 0
        self._log = log
        self._clock = clock
        self._functions: dict[object, Callable[[], None]] = {}
        self._noted_s: dict[str, float] = {}  # when each was last named, by its name

    def __len__(self) -> int:
        return len(self._functions)

    def add(self, function: Callable[[], None]) -> Callable[[], None]:
        """Call a function from now on, and return what ends it; a second end does nothing."""
        key = object()  # the same function may be added twice
        self._functions[key] = function

        def remove() -> None:
            self._functions.pop(key, None)

        return remove

    def notify(self) -> None:
        """Call every function."""
        for function in tuple(self._functions.values()):
            try:
                function()
            except Exception as error:
                self._note_error(function, error)

    def _note_error(self, function: Callable[[], None], error: Exception) -> None:
        self.errors += 1
        name = str(getattr(function, "__qualname__", function))
        now_s = self._clock.monotonic_s()
        if now_s - self._noted_s.get(name, float("-inf")) >= _REPEAT_S:
            self._noted_s[name] = now_s
            self._log(
                "error",
                f"the callback {name} raised {error!r}; the stream continues "
                f"({self.errors:,} errors of callbacks so far)",
            )
