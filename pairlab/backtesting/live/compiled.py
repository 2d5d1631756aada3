"""The compiled passes that a ledger needs, made on a thread: a stream must not wait for them."""

from __future__ import annotations

import threading
from typing import Final

__all__ = ["are_compiled", "compile_on_a_thread", "wait_compiled"]

_LOCK: Final = threading.Lock()
_DONE: Final = threading.Event()


def are_compiled() -> bool:
    """Tell whether fills can be made without a wait."""
    return _DONE.is_set()


def compile_on_a_thread() -> None:
    """Begin to compile, or to load what was compiled before; once in a process."""
    if not _DONE.is_set() and not _LOCK.locked():
        threading.Thread(target=wait_compiled, name="pairlab ledger", daemon=True).start()


def wait_compiled() -> None:
    """Return once all is compiled."""
    with _LOCK:
        if not _DONE.is_set():
            from pairlab.backtesting.trade_kernels import fill_kernel, leg_kernel  # imports numba

            fill_kernel()
            leg_kernel()
            _DONE.set()
