"""Ticks of all symbols to rows of all pairs, by one call of the kernel a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from pairlab.board.pair_pipeline import PairPipeline
from pairlab.board.tick_store import TickStore
from pairlab.clock import Clock
from pairlab.engine.many.many_pairs import ManyPairs
from pairlab.engine.state import SYMBOL_TICK
from pairlab.health import RecentQuantiles
from pairlab.schema import TICK, Pair, Records, opaque
from pairlab.settings import Settings

__all__ = ["BoardCore"]


class BoardCore:
    """Holds what the symbols' feeds bring, and advances every pair with it.

    A symbol whose feed waits for missing trades holds back the pairs that it is a leg of, and no
    others; once it has gone on, or given up, what they missed comes out by time.

    Parameters
    ----------
    ticks_held : int
        Ticks of all symbols together that are kept.
    clock : Clock
        Read for latencies alone: no row depends on it.

    Attributes
    ----------
    pipelines : dict of Pair to PairPipeline
        The pairs.
    symbols : dict of str to int
        Number of each symbol that ever was on the board.
    store : TickStore
        The ticks.
    latency_ms : RecentQuantiles
        From a tick's receipt to its rows.
    """

    def __init__(self, ticks_held: int, clock: Clock) -> None:
        self.pipelines: dict[Pair, PairPipeline] = {}
        self.symbols: dict[str, int] = {}
        self.store: Final = TickStore(ticks_held)
        self.latency_ms = RecentQuantiles()
        self.many: Final = ManyPairs(self._make_room)
        self._clock = clock
        self._by_slot: dict[int, PairPipeline] = {}
        self._of_symbol: dict[int, list[PairPipeline]] = {}
        self._pending: list[tuple[int, Records, bool]] = []
        self._turns: list[tuple[int, int, bool]] = []  # when a symbol begins and ceases to wait
        self._waiting: set[int] = set()
        self._tapped: dict[PairPipeline, None] = {}  # those that somebody listens to
        self._ready = False

    # -- pairs ------------------------------------------------------------------------------------

    def number(self, symbol: str) -> int:
        """Return a symbol's number, a new one if need be."""
        if symbol not in self.symbols:
            self.flush()
            self.symbols[symbol] = number = self.store.add_symbol()
            self._of_symbol[number] = []
            self.many.know_symbols(number + 1)
        return self.symbols[symbol]

    def add(
        self, pair: Pair, settings: Settings, rebuild_wanted: Callable[[], None]
    ) -> PairPipeline:
        """Add a pair; what is held of its symbols' ticks makes its first rows."""
        y, x = self.number(pair.y), self.number(pair.x)
        self.flush()
        pipeline = PairPipeline(
            settings, rebuild_wanted, self._clock, self.many, self.store, y, x
        )  # fmt: skip
        pipeline.on_taps = self._note_taps
        self.pipelines[pair] = self._by_slot[pipeline.slot] = pipeline
        for symbol in (y, x):
            self._of_symbol[symbol].append(pipeline)
        if self._waiting & {y, x}:
            pipeline.hold()
        return pipeline

    def remove(self, pair: Pair) -> PairPipeline:
        """Remove a pair; its rows stay where they are."""
        self.flush()
        pipeline = self.pipelines.pop(pair)
        del self._by_slot[pipeline.slot]
        for symbol in pipeline.symbols:
            self._of_symbol[symbol].remove(pipeline)
        self._tapped.pop(pipeline, None)
        pipeline.close()
        return pipeline

    def _note_taps(self, pipeline: PairPipeline) -> None:
        self._tapped.pop(pipeline, None)
        if pipeline.taps:
            self._tapped[pipeline] = None

    def start_engine(self, pair: Pair) -> None:
        """Make a pair's engine, the kernel being compiled, and catch up with the ticks held."""
        pipeline = self.pipelines.get(pair)
        if pipeline is not None and pipeline.engine is None:
            self.flush()
            pipeline.start_engine()
            if pipeline.alert_log.total:
                pipeline.on_alerts(pipeline)

    def begin(self) -> None:
        """Have the kernel make rows from now on: it is compiled."""
        self.flush()
        self._ready = True

    def pairs_of(self, symbol: int) -> list[PairPipeline]:
        """Return the pairs that a symbol is a leg of."""
        return self._of_symbol[symbol]

    # -- what the feeds bring ---------------------------------------------------------------------

    def on_ticks(self, symbol: int, ticks: Records, *, corrected: bool = False) -> None:
        """Take ticks of a symbol, to be made rows of by the next `flush`.

        Parameters
        ----------
        symbol : int
            Its number.
        ticks : numpy.ndarray
            `pairlab.TICK` records.
        corrected : bool
            Whether the first of them was stamped ahead of the clock, and corrected.
        """
        self._pending.append((symbol, ticks, corrected))

    def on_gap(self, symbol: int) -> None:
        """Mark that trades of a symbol are missing before its next tick."""
        self.flush()
        gap = self.store.mark(symbol)
        for pipeline in self._of_symbol[symbol]:
            pipeline.mark(gap)

    def on_wait(self, symbol: int, since_ns: int) -> None:
        """Note that a symbol's feed waits for trades: others' are held back from its pairs.

        Parameters
        ----------
        symbol : int
            Its number.
        since_ns : int
            Receive time of the first item that has to wait: what came before it has not.
        """
        self._turns.append((since_ns, symbol, True))

    def on_resume(self, symbol: int, at_ns: int) -> None:
        """Note that a symbol's feed waits no more: what its pairs have missed comes out by time.

        Parameters
        ----------
        symbol : int
            Its number.
        at_ns : int
            Receive time of the last item that had to wait.
        """
        self._turns.append((at_ns, symbol, False))

    @property
    def waiting(self) -> frozenset[int]:
        """The symbols that hold back their pairs."""
        return frozenset(self._waiting)

    @property
    def has_pending(self) -> bool:
        """Whether `flush` has anything to do."""
        return bool(self._pending or self._turns)

    def flush(self) -> int:
        """Make rows of what has come; return how many ticks it was."""
        batch, arrived_ns, corrected = self._joined()
        turns, self._turns = sorted(self._turns, key=lambda turn: turn[0]), []
        start = 0
        for at_ns, symbol, begins in turns:
            side: Literal["left", "right"] = "left" if begins else "right"
            stop = max(int(np.searchsorted(arrived_ns, at_ns, side)), start)
            self._take(batch, start, stop, corrected)
            start = stop
            (self._hold_pairs_of if begins else self._release_pairs_of)(symbol)
        self._take(batch, start, len(batch), corrected)
        if len(batch):
            self.latency_ms.add((self._clock.time_ns() - batch["received_ns"]) / 1e6)
        return len(batch)

    def _joined(self) -> tuple[Records, NDArray[np.int64], NDArray[np.int64]]:
        """Return what has come, in the order of its arrival, when it did, and which is corrected.

        A feed's share of what was read together comes at once, so that receive times tell the
        order; trades that were fetched later go before those of their symbol that waited for them,
        and one whose time was corrected has waited for the next of its symbol.
        """
        pending, self._pending = self._pending, []
        count = sum(len(ticks) for _, ticks, _ in pending)
        batch, arrived_ns = np.empty(count, SYMBOL_TICK), np.empty(count, np.int64)
        room = batch.view((np.void, TICK.itemsize))  # a symbol's number is all it has beside
        newest_ns: dict[int, int] = {}
        waited: dict[int, list[int]] = {}
        corrected: list[int] = []
        at = 0
        for symbol, ticks, is_corrected in pending:
            end = at + len(ticks)
            room[at:end] = opaque(ticks)
            batch["leg"][at:end] = symbol
            own = arrived_ns[at:end]
            np.maximum(ticks["received_ns"], newest_ns.get(symbol, 0), out=own)
            np.maximum.accumulate(own, out=own)
            newest_ns[symbol] = int(own[-1])
            if is_corrected:
                corrected.append(at)
                waited.setdefault(symbol, []).append(at)
            if waited and symbol in waited and at + is_corrected < end:
                arrived_ns[waited.pop(symbol)] = arrived_ns[at + is_corrected]
            at = end
        places = np.array(corrected, np.int64)
        if len(pending) > 1:
            order = np.argsort(arrived_ns, kind="stable")
            batch, arrived_ns = batch[order], arrived_ns[order]
            places = np.flatnonzero(np.isin(order, places)) if corrected else places
        return batch, arrived_ns, places

    def _take(self, batch: Records, start: int, stop: int, corrected: NDArray[np.int64]) -> None:
        """Take a part of a batch, and mark what is corrected in it."""
        for place in corrected[(corrected >= start) & (corrected < stop)].tolist():
            self._take_plain(batch[start:place])
            start, symbol = place, int(batch["leg"][place])
            mark = self.store.mark(symbol, corrected=True)
            for pipeline in self._of_symbol[symbol]:
                pipeline.mark(mark)
        self._take_plain(batch[start:stop])

    def _take_plain(self, batch: Records) -> None:
        if not len(batch):
            return
        tapped = [(one, one.next_tick) for one in self._tapped if not one.held]
        self.store.append(batch)
        for pipeline, first in tapped:
            pipeline.hand_on_ticks(first, batch)
        if self._ready:
            self._make_rows(batch)
        for pipeline, _ in tapped:
            pipeline.hand_on_rows()

    def _hold_pairs_of(self, symbol: int) -> None:
        self._waiting.add(symbol)
        for pipeline in self._of_symbol[symbol]:
            pipeline.hold()

    def _release_pairs_of(self, symbol: int) -> None:
        self._waiting.discard(symbol)
        for pipeline in self._of_symbol[symbol]:
            if not self._waiting & set(pipeline.symbols):
                pipeline.release()

    def _make_rows(self, batch: Records) -> None:
        for events, slots in self.many.update(batch):
            for slot in dict.fromkeys(slots.tolist()):
                pipeline = self._by_slot[slot]
                pipeline.hand_on_rows()
                pipeline.take_events(events[slots == slot])
        gaps = self.many.slots["gaps"]
        if gaps.any():
            for slot in np.flatnonzero(gaps).tolist():
                gaps[slot] = 0
                if slot in self._by_slot:
                    self._by_slot[slot].candles_wanted()

    def _make_room(self, slot: int) -> None:
        pipeline = self._by_slot[slot]
        pipeline.hand_on_rows()
        pipeline.rows.make_room()

    # -- together ---------------------------------------------------------------------------------

    @property
    def row_count(self) -> int:
        """Rows of all pairs that are on the board, since each was added."""
        return int(self.many.slots["made"][list(self._by_slot)].sum())

    @property
    def newest_ns(self) -> int:
        """Exchange time of the newest tick of any symbol; `NO_TIME_NS` before the first."""
        times = self.store.newest_ns
        return int(times.max()) if len(times) else np.iinfo(np.int64).min

    @property
    def nbytes(self) -> int:
        """Bytes reserved for rows and ticks."""
        return self.store.nbytes + sum(p.rows.nbytes for p in self.pipelines.values())
