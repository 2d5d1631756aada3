"""Time as a dependency: the system's clock, or a replay's."""

from __future__ import annotations

import time
from typing import Final, Protocol

__all__ = ["SYSTEM_CLOCK", "Clock", "SystemClock"]


class Clock(Protocol):
    """Source of the time.

    Whatever measures a duration uses `monotonic_s`; whatever is compared with an exchange's time,
    or shown to a person, uses `time_ns`.
    """

    def monotonic_s(self) -> float:
        """Return seconds that never go backwards; only differences mean anything."""

    def time_ns(self) -> int:
        """Return the wall clock, ns since 1970 UTC."""


class SystemClock:
    """The clock of this machine.

    Examples
    --------
    >>> clock = SystemClock()
    >>> clock.monotonic_s() <= clock.monotonic_s()
    True
    """

    # The functions themselves: asking the time costs no Python frame.
    monotonic_s = staticmethod(time.monotonic)
    time_ns = staticmethod(time.time_ns)


SYSTEM_CLOCK: Final = SystemClock()
"""The default of everything that takes a `Clock`."""
