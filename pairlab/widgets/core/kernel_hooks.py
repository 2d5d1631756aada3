"""Hooks of the kernel: while a cell runs, what front ends say may wait behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython import get_ipython

__all__ = ["CellHooks"]


class CellHooks:
    """Reports when a cell begins and ends, in a kernel; elsewhere there are none.

    IPython's events ``pre_execute`` and ``post_execute`` would not do: the comm package triggers
    both around every message of a widget, too.

    Parameters
    ----------
    begins, ends : callable
        Called without arguments, on the main thread.
    """

    def __init__(self, begins: Callable[[], None], ends: Callable[[], None]) -> None:
        self._begins = begins
        self._ends = ends
        self._hooks = {"pre_run_cell": self._on_begin, "post_run_cell": self._on_end}
        self._shell: Any = None

    def start(self) -> None:
        """Begin to watch. The first call comes from a cell, which ends later."""
        shell = get_ipython()
        if shell is None or self._shell is not None:
            return
        self._shell = shell  # when the interpreter ends it cannot be asked for any more
        for event, hook in self._hooks.items():
            shell.events.register(event, hook)
        self._begins()

    def stop(self) -> None:
        """Watch no longer."""
        shell, self._shell = self._shell, None
        if shell is not None:
            for event, hook in self._hooks.items():
                shell.events.unregister(event, hook)

    def _on_begin(self, _info: Any) -> None:
        self._begins()

    def _on_end(self, _result: Any) -> None:
        self._ends()
