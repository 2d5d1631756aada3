"""Order and continuity of two series of ids, without any I/O.

Ticks go in as they arrive, from one connection, from two that overlap, or from REST. They come out
once each and in the order of their ids. A gap holds back what follows it on both legs until it is
filled or given up; what was held back comes out by (time, y before x, id).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from pairlab.clock import SYSTEM_CLOCK, Clock
from pairlab.feeds.binance.messages import ConsumedId, TickTuple
from pairlab.feeds.sequencing.leg_state import Gap, LegState

__all__ = ["Gap", "Sequencer"]

_Key = tuple[int, int, int]
_NEVER: Final[_Key] = (2**63, 2, 0)  # after every tick
_OUTLIERS: Final = 3  # ids in a row, far from those expected, that prove a new series


class Sequencer:
    """Hands on each id once and in order, and knows the gaps.

    Parameters
    ----------
    contiguous : bool
        Ids count up by one, as those of trades do. If False (quotes), they only have to grow.
    repairable : bool
        Whether anyone can fill a gap; otherwise other legs need not wait for one.
    align_ns : int
        Hold each tick until the other leg has passed its time, at most this long; 0 hands ticks on
        as they arrive. Only then does the order across legs not depend on which trades were late.
    max_held_ticks : int
        Ticks held back; those beyond are dropped, counted as ``overflow``, and become a gap.
    max_gap_trades : int
        A larger jump is no gap: with three ids in a row it is a new series.
    on_wait : callable
        Called when something begins to wait: for a gap, or for the first id after an interruption.
    clock : Clock
        Source of the time.

    Attributes
    ----------
    out : list of tuple
        Ticks that are due, in order; `take` empties it.
    dropped : Counter of str
        ``duplicate``, ``overflow`` and ``stray id``.
    gaps, missing, repaired : int
        Gaps given up, the trades in them, and trades fetched for them.

    Examples
    --------
    >>> ids = Sequencer()
    >>> for n in (7, 8, 8, 10):
    ...     ids.accept((n, n, n, 0, 1.0, 1.0, False))
    >>> [tick[2] for tick in ids.out], ids.held, dict(ids.dropped)
    ([7, 8], 1, {'duplicate': 1})
    >>> ids.accept((9, 9, 9, 0, 1.0, 1.0, False))
    >>> [tick[2] for tick in ids.out], ids.held
    ([7, 8, 9, 10], 0)
    """

    def __init__(
        self,
        *,
        contiguous: bool = True,
        repairable: bool = True,
        align_ns: int = 0,
        max_held_ticks: int = 100_000,
        max_gap_trades: int = 100_000,
        on_wait: Callable[[], None] = lambda: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.out: list[TickTuple] = []
        self.dropped: Counter[str] = Counter()
        self.gaps = 0
        self.missing = 0
        self.repaired = 0
        self._repairable = repairable
        self._align_ns = align_ns
        self._max_held = max_held_ticks
        self._max_gap = max_gap_trades
        self._on_wait = on_wait
        self._clock = clock
        self._legs = (LegState(), LegState())
        self._next = [-1, -1]  # the id expected; -1 before the first
        self._time = [0, 0]  # of the last id in order
        self._marks: list[tuple[int, int]] = []  # (index into out, trades missing before it)
        self._slow = bool(align_ns)
        self._contiguous = contiguous

    @property
    def held(self) -> int:
        """Ticks held back now."""
        return sum(len(leg.ready) + len(leg.buffered) for leg in self._legs)

    @property
    def full(self) -> bool:
        """Whether no more ticks can be held back."""
        return self.held >= self._max_held

    def accept(self, item: TickTuple | ConsumedId) -> None:
        """Take a tick from a connection, or an id that no tick has."""
        self.accept_many([item])

    def accept_many(self, items: Iterable[TickTuple | ConsumedId]) -> None:
        """Take ticks and consumed ids in the order in which they arrived."""
        if not self._contiguous:
            self._accept_newer(items)
            return
        expected, times = self._next, self._time
        for item in items:
            leg = item[3]
            if item[2] == expected[leg] and not self._slow:
                expected[leg] = item[2] + 1
                times[leg] = item[0]
                if not isinstance(item, ConsumedId):
                    self.out.append(item)
            else:
                self._accept_slowly(item, leg, item[2])

    def fill(self, leg: int, ticks: Iterable[TickTuple]) -> int:
        """Take trades that were fetched for a gap, and return how many were news.

        Ids outside the gaps are left to the stream, unless the leg is unconfirmed.
        """
        state = self._legs[leg]
        unconfirmed = state.unconfirmed
        if not state.gaps:
            state.max_id = self._next[leg] - 1  # the fast path does not keep it
        news = 0
        for tick in ticks:
            id_ = tick[2]
            if id_ < self._next[leg] or id_ in state.buffered:
                continue
            if id_ > state.max_id:
                if not unconfirmed:
                    break
                self._note_gap(leg, state.max_id + 1, id_ - 1)
                state.max_id = id_
            state.buffered[id_] = tick
            self.repaired += 1
            news += 1
        self._advance(leg)
        self._release()
        return news

    def note_interruption(self, legs: Iterable[int] = (0, 1)) -> None:
        """Note that these legs may have a gap: wait for the next id of each."""
        if not (self._repairable and self._contiguous):
            return
        for leg in legs:
            state = self._legs[leg]
            if self._next[leg] >= 0 and not state.unconfirmed:
                state.unconfirmed = True
                self._slow = True
                self._on_wait()

    def unconfirmed(self) -> list[tuple[int, int]]:
        """Return (leg, next id) of the legs that have been silent since an interruption."""
        return [(leg, self._next[leg]) for leg, state in enumerate(self._legs) if state.unconfirmed]

    def confirm(self, leg: int) -> None:
        """Stop waiting for a silent leg: it has no gap, as far as anyone can tell."""
        self._legs[leg].unconfirmed = False
        self._release()

    def open_gaps(self) -> list[Gap]:
        """Return the first gap of each leg, the one that holds back most first.

        Its `first` is the next id missing.
        """
        found = []
        for leg in sorted((0, 1), key=self._barrier):
            if gaps := self._legs[leg].gaps:
                found.append(
                    Gap(leg, self._next[leg], gaps[0].last, gaps[0].since_s, gaps[-1].last)
                )
        return found

    def give_up(self, leg: int, through: int | None = None) -> int:
        """Pass over the first gap of a leg, mark it, and return how many trades it lacks.

        With `through`, only up to that id: the rest can still be filled.
        """
        gap = self._legs[leg].gaps[0]
        if through is not None and through < gap.last:
            self._legs[leg].gaps.appendleft(Gap(leg, gap.first, through, gap.since_s))
            gap.first = through + 1
        missing = self._give_up(leg)
        self._advance(leg)
        self._release()
        return missing

    def finish(self) -> None:
        """Give up every gap and hand on all that is held."""
        for leg, state in enumerate(self._legs):
            state.unconfirmed = False
            self._drop_outliers(state)
            while state.gaps:
                self._give_up(leg)
            self._advance(leg)
        self._release(2**63)

    def release_older(self, received_ns: int) -> None:
        """Release what has waited for the other leg's time since before `received_ns`."""
        self._release(received_ns)

    def take(self) -> list[tuple[int, list[TickTuple]]]:
        """Return what is due, as (trades missing before it, ticks), and forget it."""
        out, marks = self.out, self._marks
        self.out = []
        if not marks:
            return [(0, out)] if out else []
        self._marks = []
        parts = []
        start, missing = 0, 0
        for index, count in marks:
            if index > start:
                parts.append((missing, out[start:index]))
                missing = 0
            start = index
            missing += count
        parts.append((missing, out[start:]))
        return parts

    def _accept_newer(self, items: Iterable[TickTuple | ConsumedId]) -> None:
        for item in items:
            leg = item[3]
            if item[2] <= self._next[leg]:
                self.dropped["duplicate"] += 1
                continue
            self._next[leg] = item[2]
            if not isinstance(item, ConsumedId):
                self.out.append(item)

    def _accept_slowly(self, item: TickTuple | ConsumedId, leg: int, id_: int) -> None:
        state = self._legs[leg]
        expected = self._next[leg]
        if expected < 0:
            self._next[leg] = expected = id_
            state.max_id = id_ - 1
        elif not state.gaps:
            state.max_id = expected - 1  # the fast path does not keep it
        if not expected - self._max_gap <= id_ <= state.max_id + self._max_gap:
            self._hold_outlier(item, leg, id_)
            return
        self._drop_outliers(state)
        if id_ < expected or id_ in state.buffered:
            self.dropped["duplicate"] += 1
            state.unconfirmed = state.unconfirmed and id_ != expected - 1
            self._release()
            return
        self._note_gap(leg, state.max_id + 1, id_ - 1)
        state.unconfirmed = False
        self._slow = True
        if id_ == expected and (state.gaps or self.held < self._max_held):
            # What a gap waits for is taken however much is held: it lets go of more.
            state.max_id = max(state.max_id, id_)
            self._place(item, leg)
            self._advance(leg)
        elif self.held < self._max_held:
            state.max_id = max(state.max_id, id_)
            state.buffered[id_] = item
        else:
            self._overflow(state, leg, id_)
        self._release()

    def _overflow(self, state: LegState, leg: int, id_: int) -> None:
        self.dropped["overflow"] += 1
        if id_ <= state.max_id:
            return  # inside a gap that is still open
        state.max_id = id_
        if state.gaps and state.gaps[-1].last == id_ - 1:
            state.gaps[-1].last = id_
        else:
            self._note_gap(leg, id_, id_)

    def _note_gap(self, leg: int, first: int, last: int) -> None:
        if last >= first:
            self._legs[leg].gaps.append(Gap(leg, first, last, self._clock.monotonic_s()))
            self._on_wait()

    def _hold_outlier(self, item: TickTuple | ConsumedId, leg: int, id_: int) -> None:
        """Hold an id that fits nothing until it is clear whether a new series has begun."""
        state = self._legs[leg]
        if isinstance(item, ConsumedId):
            self.dropped["stray id"] += 1
            return
        if state.outliers and state.outliers[-1][2] != id_ - 1:
            self._drop_outliers(state)
        state.outliers.append(item)
        if len(state.outliers) < _OUTLIERS:
            return
        while state.gaps:
            self._give_up(leg)
        self._advance(leg)
        outliers, state.outliers = state.outliers, []
        first = outliers[0][2]
        self._count_gap(leg, first - self._next[leg])
        self._next[leg] = first
        state.max_id = outliers[-1][2]
        state.unconfirmed = False
        for item in outliers:
            self._place(item, leg)
        self._release()

    def _drop_outliers(self, state: LegState) -> None:
        if state.outliers:
            self.dropped["stray id"] += len(state.outliers)
            state.outliers.clear()

    def _place(self, item: TickTuple | ConsumedId, leg: int) -> None:
        """Append the next item in order to what is ready."""
        if isinstance(item, ConsumedId):
            self._next[leg] = item.id + 1
            self._time[leg] = item.time_ns
            return
        state = self._legs[leg]
        self._next[leg] = item[2] + 1
        self._time[leg] = item[0]
        if state.unreported:
            state.missing_before[item[2]] = state.unreported
            state.unreported = 0
        state.ready.append(item)

    def _advance(self, leg: int) -> None:
        state = self._legs[leg]
        buffered = state.buffered
        while (item := buffered.pop(self._next[leg], None)) is not None:
            self._place(item, leg)
        while state.gaps and self._next[leg] > state.gaps[0].last:
            state.gaps.popleft()

    def _give_up(self, leg: int) -> int:
        state = self._legs[leg]
        gap = state.gaps.popleft()
        missing = 0
        first = self._next[leg]
        for id_ in range(first, gap.last + 1):
            item = state.buffered.pop(id_, None)
            if item is None:
                missing += 1
                state.unreported += 1
                self._next[leg] = id_ + 1
            else:
                self._place(item, leg)
        if missing:
            self._count_gap(leg, missing, report=False)
        return missing

    def _count_gap(self, leg: int, missing: int, *, report: bool = True) -> None:
        self.gaps += 1
        self.missing += max(0, missing)
        if report:
            # A new series at a lower id lacks an unknown number of trades: report one at least.
            self._legs[leg].unreported += max(1, missing)
        self._slow = True

    def _barrier(self, leg: int) -> _Key:
        """Return a key that everything still to come on this leg is not before."""
        if self._align_ns or self._waits(leg):
            return (self._time[leg], leg, self._next[leg])
        return _NEVER

    def _waits(self, leg: int) -> bool:
        """Return whether a trade of this leg may be on its way that others must wait for."""
        state = self._legs[leg]
        return self._repairable and (bool(state.gaps) or state.unconfirmed)

    def _release(self, older_ns: int = 0) -> None:
        """Hand on, merged, what no missing tick can come before."""
        y, x = self._legs
        barrier = min(self._barrier(0), self._barrier(1))
        hard = min(
            (self._time[leg], leg, self._next[leg]) if older_ns and self._waits(leg) else _NEVER
            for leg in (0, 1)
        )
        out = self.out
        while y.ready or x.ready:
            first = y if not x.ready or (y.ready and y.ready[0][0] <= x.ready[0][0]) else x
            tick = first.ready[0]
            key = (tick[0], tick[3], tick[2])
            if key >= barrier and not (key < hard and tick[1] <= older_ns):
                break
            first.ready.popleft()
            if first.missing_before and (count := first.missing_before.pop(tick[2], 0)):
                self._marks.append((len(out), count))
            out.append(tick)
        if not self._align_ns and not (y.ready or x.ready):
            waiting = any(s.gaps or s.unreported or s.unconfirmed for s in self._legs)
            self._slow = waiting
