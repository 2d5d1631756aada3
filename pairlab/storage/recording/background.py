"""One thread that does one thing after another."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final

__all__ = ["Background"]


class Background:
    """Runs functions on a thread of its own, in order; what one raises is kept for `check`.

    Parameters
    ----------
    name : str
        Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._work: Final[queue.SimpleQueue[Callable[[], object] | None]] = queue.SimpleQueue()
        self._error: Exception | None = None
        # A daemon: at the interpreter's exit the recorder ends it, not an endless join.
        self._thread: Final = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], object]) -> None:
        """Run a function after those that are waiting."""
        self._work.put(work)

    def check(self) -> None:
        """Raise what a function has raised since the last call."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def wait(self) -> None:
        """Wait until all is done that was submitted before."""
        done = threading.Event()
        self._work.put(done.set)
        done.wait()

    def close(self) -> None:
        """Wait until all is done, and end the thread."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception as error:
                self._error = error
