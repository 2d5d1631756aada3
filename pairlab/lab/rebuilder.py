"""Rebuilds of the metrics, off the event loop while a feed runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pairlab.lab.pipeline import Pipeline

__all__ = ["Rebuilder"]


class Rebuilder:
    """Recomputes a pipeline's metrics until they fit the settings and what is known.

    Parameters
    ----------
    pipeline : Pipeline
        Whose metrics.
    on_done : callable
        Called after a rebuild.

    Attributes
    ----------
    task : asyncio.Task or None
        The rebuild under way, or the last one.
    """

    def __init__(self, pipeline: Pipeline, on_done: Callable[[], None]) -> None:
        self.task: asyncio.Task[None] | None = None
        self._pipeline = pipeline
        self._on_done = on_done

    def request(self, group: asyncio.TaskGroup | None) -> None:
        """Rebuild in a task of the group; without one nothing streams, so rebuild at once."""
        if group is None:
            self.run_now()
        elif self.task is None or self.task.done():
            self.task = group.create_task(self._run(), name="pairlab rebuild")

    def run_now(self) -> None:
        """Rebuild, if the pipeline needs it."""
        pipeline = self._pipeline
        if pipeline.needs_rebuild:
            pipeline.rebuild_finish(*pipeline.rebuild_compute(pipeline.rebuild_start()))
            self._on_done()

    async def _run(self) -> None:
        pipeline = self._pipeline
        while pipeline.needs_rebuild:
            work = pipeline.rebuild_start()
            pipeline.rebuild_finish(*await asyncio.to_thread(pipeline.rebuild_compute, work))
        self._on_done()
