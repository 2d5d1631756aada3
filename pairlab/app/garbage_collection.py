"""Garbage collection in the kernel of a page, which is pairlab's own."""

from __future__ import annotations

import gc
from collections.abc import Callable

__all__ = ["freeze_after_start"]


def freeze_after_start(on_update: Callable[[Callable[[], object]], Callable[[], None]]) -> None:
    """Exclude what is loaded and compiled from garbage collection once the first ticks came.

    A full collection goes through every object of the libraries (260,000: 0.15 s in which the loop
    stands still), again and again, and finds nothing there. In a notebook of the user's they are
    not pairlab's to freeze.

    Parameters
    ----------
    on_update : callable
        `PairLab.on_update` or `Board.on_update`.
    """

    def freeze() -> None:
        remove()
        gc.collect()
        gc.freeze()

    remove = on_update(freeze)
