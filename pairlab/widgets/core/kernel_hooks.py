"""When a cell runs: what front ends say then may wait in the kernel's queue behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython import get_ipython

__all__ = ["CellHooks"]


class CellHooks:
    """Tells when a cell begins and ends, in a kernel; elsewhere there are none.

    Parameters
    ----------
    begins, ends : callable
        Called on the main thread.
    """

    def __init__(self, begins: Callable[[], None], ends: Callable[[], None]) -> None:
        self._begins = begins
        self._ends = ends
        self._shell: Any = None

    def start(self) -> None:
        """Begin to watch. The first call comes from a cell, which ends later."""
        shell = get_ipython()
        if shell is None or self._shell is not None:
            return
        self._shell = shell  # when the interpreter ends it cannot be asked for any more
        shell.events.register("pre_execute", self._begins)
        shell.events.register("post_execute", self._ends)
        self._begins()

    def stop(self) -> None:
        """Watch no longer."""
        shell, self._shell = self._shell, None
        if shell is not None:
            shell.events.unregister("pre_execute", self._begins)
            shell.events.unregister("post_execute", self._ends)
