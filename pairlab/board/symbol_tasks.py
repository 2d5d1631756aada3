"""The feeds of a board's symbols, one task each: one that fails stands alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pairlab.board.core import BoardCore
from pairlab.errors import FeedError, PairlabError
from pairlab.feeds.base import FeedHealth, FeedState
from pairlab.feeds.group import FeedGroup
from pairlab.feeds.symbol import SymbolFeed
from pairlab.schema import LogLevel, Records

__all__ = ["SymbolTasks", "worst"]

_WORST_FIRST: Final[tuple[FeedState, ...]] = (
    "failed", "stalled", "reconnecting", "connecting", "live", "stopped",
)  # fmt: skip


def worst(*states: tuple[FeedState, str]) -> tuple[FeedState, str]:
    """Return the state that asks for most attention."""
    return min(states, key=lambda state: _WORST_FIRST.index(state[0]))


class _Sink:
    """Where one symbol's feed delivers: a `pairlab.feeds.CorrectedTimeSink`."""

    def __init__(self, tasks: SymbolTasks, number: int) -> None:
        self._tasks = tasks
        self._number = number
        self._corrected = False

    def on_ticks(self, ticks: Records) -> None:
        corrected, self._corrected = self._corrected, False
        self._tasks.core.on_ticks(self._number, ticks, corrected=corrected)
        self._tasks.arrived()

    def on_corrected_time(self) -> None:
        self._corrected = True

    def on_gap(self, missing: int) -> None:
        self._tasks.core.on_gap(self._number)


class SymbolTasks:
    """Runs the feed of each symbol that a pair of the board has.

    Parameters
    ----------
    core : BoardCore
        Where the ticks go.
    log : callable
        Takes a level and a message.
    arrived : callable
        Called after ticks.

    Attributes
    ----------
    failed : dict of str to str
        Symbols whose feeds have ended for good, and why.
    """

    def __init__(
        self,
        core: BoardCore,
        log: Callable[[LogLevel, str], None],
        arrived: Callable[[], None],
    ) -> None:
        self.core: Final = core
        self.arrived: Final = arrived
        self.failed: dict[str, str] = {}
        self._log = log
        self._group: FeedGroup | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._feeds: dict[str, SymbolFeed] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._final: dict[str, FeedHealth] = {}
        self.ended = asyncio.Event()

    def begin(self, group: FeedGroup, tasks: asyncio.TaskGroup) -> None:
        """Run feeds of this group from now on, in tasks of that."""
        self._group, self._tasks = group, tasks
        self.failed.clear()
        self._final.clear()
        self.ended = asyncio.Event()

    def end(self) -> None:
        """Keep the feeds' counters: they have ended."""
        for symbol, feed in self._feeds.items():
            self._final[symbol] = replace(feed.health(), state="stopped", detail="stopped")
        self._group = self._tasks = None
        self._feeds.clear()
        self._running.clear()

    def want(self, symbol: str) -> SymbolFeed | None:
        """Run a symbol's feed, unless it runs; None while the board does not run."""
        if self._group is None or self._tasks is None:
            return None
        if symbol not in self._feeds:
            feed = self._feeds[symbol] = self._group.symbol(symbol)
            number = self.core.number(symbol)
            if self.core.store.counts[number]:
                self.core.on_gap(number)  # what came since it was last on the board, nobody saw
            feed.on_wait = lambda since_ns: self.core.on_wait(number, since_ns)
            feed.on_resume = lambda at_ns: self._resume(number, at_ns)
            self._running[symbol] = self._tasks.create_task(
                self._run(symbol, feed, _Sink(self, number)), name=f"pairlab board {symbol}"
            )
        return self._feeds[symbol]

    def drop(self, symbol: str) -> None:
        """End a symbol's feed: no pair has it any more."""
        self._feeds.pop(symbol, None)
        self.failed.pop(symbol, None)
        task = self._running.pop(symbol, None)
        if task is not None:
            task.cancel()

    async def _run(self, symbol: str, feed: SymbolFeed, sink: _Sink) -> None:
        try:
            await feed.run(sink)
        except FeedError as error:
            self.failed[symbol] = str(error)
            self._log("error", f"{symbol}: {error}. Its pairs stand still; the others go on")
        finally:
            self._resume(self.core.number(symbol), feed.source.config.clock.time_ns())
            if self._running.get(symbol) is asyncio.current_task():
                del self._running[symbol]
            if not self._running:
                self.ended.set()

    def _resume(self, number: int, at_ns: int) -> None:
        self.core.on_resume(number, at_ns)
        self.arrived()

    # -- how they are -----------------------------------------------------------------------------

    def feed(self, symbol: str) -> SymbolFeed | None:
        """Return a symbol's feed, if it was run."""
        return self._feeds.get(symbol)

    def state(self, symbol: str) -> tuple[FeedState, str]:
        """Return the state of a symbol's feed, and why, in plain words."""
        if symbol in self.failed:
            return "failed", self.failed[symbol]
        feed = self._feeds.get(symbol)
        return ("stopped", "not running") if feed is None else feed.state()

    def pair_state(self, symbols: tuple[str, ...]) -> tuple[FeedState, str]:
        """Return the worst state of these symbols' feeds."""
        return worst(*(self.state(symbol) for symbol in symbols))

    def health(self, symbol: str) -> FeedHealth:
        """Return how a symbol's feed is, or was when it ended."""
        feed = self._feeds.get(symbol)
        if feed is None:
            return self._final.get(symbol, FeedHealth("stopped", "not running"))
        return feed.health()

    def states(self) -> dict[FeedState, list[str]]:
        """Return the symbols by the state of their feeds, the worst first."""
        found: dict[FeedState, list[str]] = {}
        for symbol in self._feeds:
            found.setdefault(self.state(symbol)[0], []).append(symbol)
        return {state: found[state] for state in _WORST_FIRST if state in found}

    def require_group(self) -> FeedGroup:
        """Return the group; raises PairlabError while the board does not run."""
        if self._group is None:
            raise PairlabError("the board does not run: start it")
        return self._group
