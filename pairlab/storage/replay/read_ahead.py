"""Reads a source's blocks in threads, some blocks ahead of the loop that plays them."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from typing import Final

from pairlab.storage.replay.tick_source import Block

__all__ = ["ReadAhead"]

_DEPTH: Final = 16
"""Blocks that wait to be played: a million ticks, while the next row group is decoded."""


class ReadAhead:
    """The blocks of a source, each read in a thread before it is needed.

    Parameters
    ----------
    blocks : iterator of Block
        Read by one thread at a time.
    """

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks
        self._queue: asyncio.Queue[Block | BaseException | None] = asyncio.Queue(_DEPTH)
        self._reading: asyncio.Future[Block | None] | None = None
        self._task = asyncio.get_running_loop().create_task(self._read(), name="pairlab replay")

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._reading = loop.run_in_executor(None, next, self._blocks, None)
                block = await asyncio.shield(self._reading)
                await self._queue.put(block)
                if block is None:
                    return
        except Exception as error:
            await self._queue.put(error)

    async def next(self) -> Block | None:
        """Return the next block; None at the end.

        Raises
        ------
        DataError
            Where it could not be read.
        """
        got = await self._queue.get()
        if isinstance(got, BaseException):
            raise got
        return got

    async def close(self) -> None:
        """Stop reading; the block that is being read is waited for, and forgotten."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if self._reading is not None and not self._reading.done():
            await asyncio.wait({self._reading})
        if isinstance(self._blocks, Generator):
            self._blocks.close()
