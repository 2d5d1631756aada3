"""Waiting inside a running event loop, for a notebook cell that must not return yet."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["run_inside"]


def run_inside(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` inside the running loop: the one place that does. The cell waits, tasks go on."""
    import nest_asyncio2

    nest_asyncio2.apply(loop)
    # The pass of the loop that runs this cell counted its handles beforehand. It may be asyncio's
    # own, begun before nest_asyncio2 came: it takes that many from the queue, found empty or not,
    # and the loop (in a notebook: the kernel) would die of an IndexError. Leave it as many.
    counted = len(loop._ready)  # type: ignore[attr-defined]
    try:
        loop.run_until_complete(work)
    finally:
        for _ in range(counted - len(loop._ready)):  # type: ignore[attr-defined]
            loop.call_soon(_nothing)


def _nothing() -> None:
    pass
