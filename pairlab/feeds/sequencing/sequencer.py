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
from pairlab.feeds.sequencing.leg_state import Gap, LegState, split_at_marks

__all__ = ["Gap", "Sequencer"]

_Key = tuple[int, int, int]
_Items = list[TickTuple | ConsumedId]
_NEVER: Final[_Key] = (2**63, 2, 0)  # after every tick
_OUTLIERS: Final = 3  # ids in a row that cannot be of the old series prove a new one


class Sequencer:
    """Hands on each id once and in order, and knows the gaps.

    Parameters
    ----------
    contiguous : bool
        Ids count up by one, as those of trades do. If False (quotes), they only have to grow.
    repairable : bool
        Whether anyone can fill a gap; otherwise other legs need not wait for one.
    align_ns : int
        Hold each tick until the other leg has passed its time, at most this long: the order across
        legs then does not depend on which trades were late. 0 hands ticks on as they arrive.
    max_held_ticks : int
        Ticks held back; those beyond are dropped, counted as ``overflow``, and become a gap.
    max_gap_trades : int
        A larger jump is no gap: three growing ids in a row are a new series, as are three below
        the expected one with newer trades. Fewer than so many from before those are fetched.
    on_new_series : callable
        Called with leg, id expected and first id seen when the exchange has begun to count anew.
    ahead_ns : callable
        Takes a leg; returns by how much a time must exceed the receive time to be no true one.
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
        on_new_series: Callable[[int, int, int], None] = lambda leg, expected, first: None,
        ahead_ns: Callable[[int], int] = lambda leg: 2**63,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.out: list[TickTuple] = []
        self.dropped: Counter[str] = Counter()
        self.gaps = self.missing = self.repaired = 0
        self._repairable = repairable
        self._align_ns = align_ns
        self._max_held = max_held_ticks
        self._max_gap = max_gap_trades
        self._on_wait = on_wait
        self._on_new_series = on_new_series
        self._ahead_ns = ahead_ns
        self._clock = clock
        self._legs = (LegState(), LegState())
        self._next = [-1, -1]  # the id expected; -1 before the first
        self._last: _Items = [ConsumedId(0, 0, -1, leg) for leg in (0, 1)]
        self._marks: list[tuple[int, int, int]] = []  # as `split_at_marks` takes them
        self._slow, self._contiguous = bool(align_ns), contiguous

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
        expected, last = self._next, self._last
        for item in items:
            leg = item[3]
            if item[2] == expected[leg] and not self._slow:
                expected[leg] = item[2] + 1
                last[leg] = item
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
            if state.old_series_ns is not None:
                if tick[0] <= state.old_series_ns:
                    continue  # an id of the old series
                # The first one of the new series: none before it exists.
                self._next[leg] = min(id_, state.gaps[0].last + 1)
                state.old_series_ns = None
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
        return [
            self._legs[leg].first_gap(self._next[leg])
            for leg in sorted((0, 1), key=self._barrier)
            if self._legs[leg].gaps
        ]

    def legs_with_gaps(self) -> int:
        """Return the legs whose next tick comes after a gap, or may: bits, 1 y, 2 x."""
        return sum(state.may_have_gap() << leg for leg, state in enumerate(self._legs))

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
            if state.outliers:
                self._drop_outliers(state)
            while state.gaps:
                self._give_up(leg)
            self._advance(leg)
        self._release(2**63)

    def release_older(self, received_ns: int) -> None:
        """Release what has waited for the other leg's time since before `received_ns`."""
        self._release(received_ns)

    def take(self) -> list[tuple[int, int, list[TickTuple]]]:
        """Return what is due, as `split_at_marks` does, and forget it."""
        out, marks = self.out, self._marks
        self.out = []
        if not marks:
            return [(0, 0, out)] if out else []
        self._marks = []
        return split_at_marks(out, marks)

    def _accept_newer(self, items: Iterable[TickTuple | ConsumedId]) -> None:
        newest, last = self._next, self._last
        for item in items:
            leg = item[3]
            if item[2] <= newest[leg]:
                self._accept_lower(item, leg)
                continue
            newest[leg], last[leg] = item[2], item
            if self._slow and self._legs[leg].outliers:
                self._drop_outliers(self._legs[leg], "duplicate")
            if not isinstance(item, ConsumedId):
                self.out.append(item)

    def _accept_lower(self, item: TickTuple | ConsumedId, leg: int) -> None:
        """Take a quote whose id is not above the last: a duplicate, or one of a new series."""
        state = self._legs[leg]
        if item[0] <= self._newest_ns(leg, item):
            self.dropped["duplicate"] += 1
            return
        if state.outliers and item[2] <= state.outliers[-1][2]:
            self._drop_outliers(state, "duplicate")
        state.outliers.append(item)
        self._slow = True
        if len(state.outliers) < _OUTLIERS:
            return
        outliers, state.outliers = state.outliers, []
        self._on_new_series(leg, self._next[leg] + 1, outliers[0][2])
        self._next[leg], self._last[leg] = outliers[-1][2], outliers[-1]
        # What was quoted in between is unknown.
        self.gaps += 1
        self._marks.append((len(self.out), 1, 1 << leg))
        self.out.extend(quote for quote in outliers if not isinstance(quote, ConsumedId))

    def _accept_slowly(self, item: TickTuple | ConsumedId, leg: int, id_: int) -> None:
        state = self._legs[leg]
        expected = self._next[leg]
        if expected < 0:
            self._next[leg] = expected = id_
            state.max_id = id_ - 1
        elif not state.gaps:
            state.max_id = expected - 1  # the fast path does not keep it
        if not expected - self._max_gap <= id_ <= state.max_id + self._max_gap or (
            # A duplicate is not newer than what followed it.
            id_ < expected and item[0] > self._newest_ns(leg, item)
        ):
            self._hold_outlier(item, leg, id_)
            return
        if state.outliers:
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
            state.newest_ns = max(state.newest_ns, item[0])
            state.buffered[id_] = item
        else:
            self._overflow(state, leg, id_)
        self._release()

    def _newest_ns(self, leg: int, item: TickTuple | ConsumedId) -> int:
        """Return the newest time of a leg, to which an item's is compared.

        Where that was stamped ahead of the clock, it is no later than when it came.
        """
        newest_ns = max(self._last[leg][0], self._legs[leg].newest_ns)
        if newest_ns - item[1] > self._ahead_ns(leg):
            return self._last[leg][1] + self._ahead_ns(leg)
        return newest_ns

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
            state, now_s = self._legs[leg], self._clock.monotonic_s()
            state.gaps.append(Gap(leg, first, last, now_s, unverified=state.unconfirmed))
            self._on_wait()

    def _hold_outlier(self, item: TickTuple | ConsumedId, leg: int, id_: int) -> None:
        """Hold an id that fits nothing until it is clear whether a new series has begun."""
        state = self._legs[leg]
        outliers = state.outliers
        if outliers and not 0 < id_ - outliers[-1][2] <= self._max_gap:
            self._drop_outliers(state)
        outliers.append(item)
        self._slow = True  # so that the next id in order takes these for strays
        if len(outliers) < _OUTLIERS:
            return
        state.outliers = []
        self._begin_series(leg, outliers)

    def _begin_series(self, leg: int, items: _Items, missing: int | None = None) -> None:
        """Go on with the first ids of a new series, after what is left of the old one."""
        state = self._legs[leg]
        while state.gaps:
            self._give_up(leg)
        self._advance(leg)
        expected, first = self._next[leg], items[0][2]
        self._on_new_series(leg, expected, first)
        self._count_gap(leg, first - expected if missing is None else missing)
        state.unconfirmed, state.newest_ns = False, 0
        newest_ns = self._newest_ns(leg, items[0])
        newer = items[0][0] > newest_ns
        start = first
        if self._repairable and newer and first < expected:
            # It began at about zero: what came before `first` can be had, if that is not too much.
            start = max(0, first - self._max_gap + 1)
            state.old_series_ns = newest_ns if start < first else None
        self._next[leg], state.max_id = start, start - 1
        for item in items:
            self._accept_slowly(item, leg, item[2])

    def _drop_outliers(self, state: LegState, reason: str = "stray id") -> None:
        self.dropped[reason] += len(state.outliers)
        state.outliers.clear()

    def _place(self, item: TickTuple | ConsumedId, leg: int) -> None:
        """Append the next item in order to what is ready."""
        self._next[leg] = item[2] + 1
        self._last[leg] = item
        if not isinstance(item, ConsumedId):
            self._legs[leg].place(item)

    def _advance(self, leg: int) -> None:
        state = self._legs[leg]
        buffered = state.buffered
        while (item := buffered.pop(self._next[leg], None)) is not None:
            self._place(item, leg)
        while state.gaps and self._next[leg] > state.gaps[0].last:
            state.gaps.popleft()
            state.old_series_ns = None

    def _give_up(self, leg: int) -> int:
        state = self._legs[leg]
        gap = state.gaps.popleft()
        if state.old_series_ns is not None:
            state.old_series_ns = None  # whether the ids exist is unknown: the break was counted
            self._next[leg] = max(self._next[leg], gap.last + 1)
            return 0
        missing = 0
        first = self._next[leg]
        for id_ in range(first, gap.last + 1):
            item = state.buffered.pop(id_, None)
            if item is None:
                missing += 1
                state.mark(1, self._last[leg][0])
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
            self._legs[leg].mark(max(1, missing), self._last[leg][0])
        self._slow = True

    def _barrier(self, leg: int) -> _Key:
        """Return a key that everything still to come on this leg is not before."""
        if self._align_ns or self._waits(leg):
            return (self._last[leg][0], leg, self._next[leg])
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
            (self._last[leg][0], leg, self._next[leg]) if older_ns and self._waits(leg) else _NEVER
            for leg in (0, 1)
        )
        out = self.out
        while y.ready or x.ready:
            first = y if not x.ready or (y.ready and y.ready[0][0] <= x.ready[0][0]) else x
            tick = first.ready[0]
            key = (tick[0], tick[3], tick[2])
            if key >= barrier and not (key < hard and tick[1] <= older_ns):
                break
            for leg, state in enumerate(self._legs):
                if state.marks and (missing := state.missing_before(tick, own=state is first)):
                    self._marks.append((len(out), missing, 1 << leg))
            first.ready.popleft()
            first.released += 1
            out.append(tick)
        if not self._align_ns and not (y.ready or x.ready):
            self._slow = any(map(LegState.waits, self._legs))
