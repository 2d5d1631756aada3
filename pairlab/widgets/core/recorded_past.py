"""Rows before those in memory, read from the recording on a thread and thinned for the charts."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from pairlab.alerts import Alert
from pairlab.errors import PairlabError
from pairlab.protocols import LabView, PastView
from pairlab.schema import NO_TIME_NS, ROW, Records, RowFlag
from pairlab.widgets.charts.decimation import COLUMNS, Decimated, MinMaxBuckets

__all__ = ["NO_PAST", "Past", "PastSpan", "RecordedPast"]

_KEPT: Final = 8
"""Spans that are kept: 4 MB each at the most, that is 4,800 pixel columns and as many rows."""

_BESIDE: Final = 1
"""Views that are read on either side of the one in view: a drag finds its rows there."""

_ALERTS: Final = 1_000
"""The newest ones of a span that are kept."""

_AGAIN_S: Final = 0.5
_COST: Final = 10
"""A span whose end is still being recorded is read again after so many times what it took."""


@dataclass(frozen=True, eq=False)
class PastSpan:
    """What was recorded of a span of time, thinned.

    Attributes
    ----------
    start_ns, end_ns : int
        Both ends of it.
    width_ns : int
        Of the view that it was thinned for.
    rows : array of pairlab.ROW
        All of its rows, or the last one of every pixel column.
    exact : bool
        Whether `rows` are all.
    columns : array
        Its pixel columns.
    alerts : list of Alert
        Decided within it, as far as it is read.
    covered_ns : int
        Up to here nothing more will be recorded.
    ends_ns : int
        Time of the newest row of the whole recording, when it was read.
    """

    start_ns: int
    end_ns: int
    width_ns: int
    rows: Records
    exact: bool
    columns: Records
    alerts: list[Alert]
    covered_ns: int
    ends_ns: int


@dataclass(frozen=True, eq=False)
class Past:
    """The recorded rows of a view, before those in memory.

    Attributes
    ----------
    number : int
        Differs from another one's if other rows, or other words, are shown.
    rows : array of pairlab.ROW
        Those in view and one before; of a dense span the last one of every pixel column.
    columns : array
        Pixel columns of the same.
    exact : bool
        Whether `rows` are all.
    gap : bool
        Rows between these and those in memory were not recorded.
    alerts : list of Alert
        Of the recording, before those that the lab knows.
    words : str
        That it is being read, or why it cannot be; empty otherwise.
    """

    number: int
    rows: Records
    columns: Records
    exact: bool
    gap: bool
    alerts: list[Alert]
    words: str

    def joined(self, held: Records, thinned: Callable[[], Decimated], edge_ns: int) -> Decimated:
        """Return these rows and those in memory as the charts draw them.

        Parameters
        ----------
        held : array of pairlab.ROW
            Those in memory that are in view.
        thinned : callable
            Returns them grouped for drawing.
        edge_ns : int
            The view's right edge.
        """
        few = self.exact and len(self.rows) + len(held) <= 2 * COLUMNS
        own = Decimated.of(self.rows, edge_ns, 1).columns if few else self.columns
        later = thinned().columns
        if self.gap and len(later) and len(own):
            later = later.copy()
            later["gap"][0] = True
        return Decimated(np.concatenate([own, later]), edge_ns)


NO_PAST: Final = Past(
    0, np.empty(0, ROW), MinMaxBuckets(1).columns, True, False, [], ""
)  # fmt: skip


class _Thinner:
    """Thins rows as they are read: what it keeps does not depend on how many there are."""

    def __init__(self, start_ns: int, end_ns: int, width_ns: int) -> None:
        self._column_ns = max(width_ns // COLUMNS, 1)
        self._buckets = MinMaxBuckets(width_ns)
        self._most = 2 * COLUMNS * (2 * _BESIDE + 1)
        self._all: list[Records] | None = []
        self._count = 0
        self._last: list[Records] = []
        self._last_number = self._gap_number = NO_TIME_NS

    def take(self, rows: Records) -> None:
        number = rows["time_ns"] // self._column_ns
        rows = self._one_gap_a_column(rows, number)
        self._buckets.add(rows)
        self._count += len(rows)
        if self._all is not None:
            self._all = [*self._all, rows] if self._count <= self._most else None
        ends = np.append(np.flatnonzero(number[1:] != number[:-1]), len(rows) - 1)
        if self._last and self._last_number == number[0]:
            self._last[-1] = self._last[-1][:-1]
        self._last.append(rows[ends])
        self._last_number = int(number[-1])

    def _one_gap_a_column(self, rows: Records, number: np.ndarray) -> Records:
        """Clear the flags of gaps beyond a pixel column's first: each would begin a new one."""
        gaps = np.flatnonzero((rows["flags"] & RowFlag.GAP_BEFORE) != 0)
        if not len(gaps):
            return rows
        first = np.diff(number[gaps], prepend=self._gap_number) != 0
        self._gap_number = int(number[gaps[-1]])
        if first.all():
            return rows
        rows = rows.copy()
        rows["flags"][gaps[~first]] &= ~int(RowFlag.GAP_BEFORE)
        return rows

    @property
    def exact(self) -> bool:
        return self._all is not None

    def rows(self) -> Records:
        kept = self._last if self._all is None else self._all
        return np.concatenate([np.empty(0, ROW), *kept])

    def columns(self) -> Records:
        return self._buckets.columns.copy()


class RecordedPast:
    """Reads what the charts show of the time before the rows in memory.

    One span is read at a time, on a thread, and thinned as it is read. What was asked for is
    forgotten when the view has left it.

    Parameters
    ----------
    lab : LabView
        Whose recording.
    arrived : callable
        Called on the lab's loop when something was read, or could not be.

    Attributes
    ----------
    begins_ns : int or None
        Time of the recording's first row, once it is known.
    """

    def __init__(self, lab: LabView, arrived: Callable[[], None]) -> None:
        self._lab = lab
        self._arrived = arrived
        self._spans: OrderedDict[tuple[int, int, int], PastSpan] = OrderedDict()
        self._key: object = None
        self._wanted: tuple[int, int, int] | None = None
        self._busy = False
        self._not_before_s = 0.0
        self._problem = ""
        self._shown: tuple[object, ...] = ()
        self._past = NO_PAST
        self._number = 0
        self.begins_ns: int | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a recording."""
        return self._lab.past is not None

    def close(self) -> None:
        """Read no more."""
        self._wanted = None

    def of(
        self, rows: Records, start_ns: int, edge_ns: int, width_ns: int, *, frozen: bool
    ) -> Past:
        """Return what there is to show before `rows`, and begin to read what is missing.

        Parameters
        ----------
        rows : array of pairlab.ROW
            All that are held.
        start_ns, edge_ns, width_ns : int
            Both ends of the view, and its width.
        frozen : bool
            The view stands; else it follows the newest rows.
        """
        if not len(rows) or start_ns >= int(rows[0]["time_ns"]):
            self._wanted = None
            return NO_PAST
        source = self._lab.past
        if source is None:
            self._wanted = None
            return NO_PAST
        if source.key != self._key:
            self._spans.clear()
            self._key, self.begins_ns, self._problem = source.key, None, ""
        oldest_ns = int(rows[0]["time_ns"])
        if self.begins_ns is not None and self.begins_ns >= oldest_ns:
            self._wanted = None
            return NO_PAST  # all that is recorded is held
        need_ns = min(oldest_ns, edge_ns)
        # A ring turns over: read again before its oldest row is beyond what was read.
        soon_ns = need_ns if frozen else int(rows[len(rows) // 2]["time_ns"])
        span = self._find(start_ns, need_ns, width_ns)
        if span is None or span.covered_ns < min(soon_ns, span.end_ns):
            self._want(source, (start_ns, edge_ns, width_ns), again=span is not None)
        else:
            self._wanted = None
        return self._show(rows, start_ns, edge_ns, span, need_ns)

    def _find(self, start_ns: int, need_ns: int, width_ns: int) -> PastSpan | None:
        """Return a span with what is needed; without one, the best of what there is."""
        fitting = [
            span
            for span in reversed(self._spans.values())
            if span.width_ns == width_ns and span.start_ns <= start_ns and need_ns <= span.end_ns
        ]
        for span in fitting:
            if span.covered_ns >= need_ns:
                return span
        return fitting[0] if fitting else None

    def _show(
        self, rows: Records, start_ns: int, edge_ns: int, span: PastSpan | None, need_ns: int
    ) -> Past:
        behind = span is None or span.covered_ns < need_ns
        words = self._problem
        if not words and behind and self._wanted is not None:
            words = "reading the recording …"
        oldest_ns = int(rows[0]["time_ns"])
        tied = bisect_right(rows["time_ns"], oldest_ns)
        known_ns = next((e.time_ns for e in self._lab.alert_log), oldest_ns)
        shown = (id(span), start_ns, min(edge_ns, oldest_ns), tied, words, known_ns)
        if shown == self._shown:
            return self._past
        self._shown = shown
        self._number += 1
        if span is None:
            empty = NO_PAST
            self._past = Past(
                self._number, empty.rows, empty.columns, True, False, [], words
            )  # fmt: skip
            return self._past
        times = span.rows["time_ns"]
        begin = max(bisect_left(times, start_ns) - 1, 0)
        # Of the rows in memory's first time, those that are not there any more.
        end = bisect_right(times, min(edge_ns, oldest_ns))
        if oldest_ns <= edge_ns:
            end = max(end - tied, bisect_left(times, oldest_ns)) if span.exact else end
        first_ns, last_ns = span.columns["first_ns"], span.columns["last_ns"]
        left = max(bisect_left(last_ns, start_ns) - 1, 0)
        right = bisect_right(first_ns, min(edge_ns, oldest_ns - 1))
        self._past = Past(
            self._number, span.rows[begin:end], span.columns[left:right], span.exact,
            span.ends_ns < oldest_ns <= edge_ns,
            [a for a in span.alerts if a.time_ns < min(known_ns, oldest_ns)], words,
        )  # fmt: skip
        return self._past

    # -- reading --------------------------------------------------------------------------------

    def _want(self, source: PastView, view: tuple[int, int, int], *, again: bool) -> None:
        start_ns, edge_ns, width_ns = view
        beside = _BESIDE * width_ns
        wanted = (start_ns - beside, edge_ns + beside, width_ns)
        if self._busy:
            if self._wanted is None or not _covers(self._wanted, start_ns, edge_ns, width_ns):
                self._wanted = wanted  # what is being read was left: it ends, and this is next
            return
        if (again or self._problem) and time.monotonic() < self._not_before_s:
            return
        self._busy, self._wanted = True, wanted
        threading.Thread(
            target=self._read, args=(source, wanted), name="pairlab past", daemon=True
        ).start()

    def _read(self, source: PastView, wanted: tuple[int, int, int]) -> None:
        began_s, problem = time.monotonic(), ""
        span: PastSpan | None = None
        begins_ns: int | None = None
        try:
            start_ns, end_ns, width_ns = wanted
            found = source.read(start_ns, end_ns)
            begins_ns, thinner = found.begins_ns, _Thinner(*wanted)
            for piece in found.rows:
                if self._wanted != wanted:
                    break
                thinner.take(piece)
            else:
                ends_ns = found.ends_ns if found.ends_ns is not None else NO_TIME_NS
                span = PastSpan(
                    start_ns, end_ns, width_ns, thinner.rows(), thinner.exact, thinner.columns(),
                    found.alerts[-_ALERTS:], end_ns if found.complete else ends_ns, ends_ns,
                )  # fmt: skip
        except (PairlabError, OSError) as error:
            problem = str(error)
        took_s = time.monotonic() - began_s
        try:
            self._lab.call_on_loop(
                self._take, source.key, wanted, span, begins_ns, problem, took_s
            )  # fmt: skip
        except RuntimeError:  # the loop is being closed: nobody looks
            self._busy = False

    def _take(
        self,
        key: object,
        wanted: tuple[int, int, int],
        span: PastSpan | None,
        begins_ns: int | None,
        problem: str,
        took_s: float,
    ) -> None:
        self._busy = False
        if key == self._key:
            self.begins_ns = begins_ns if begins_ns is not None else self.begins_ns
            if self._wanted == wanted:
                self._problem = problem
                self._not_before_s = time.monotonic() + max(_AGAIN_S, _COST * took_s)
                if span is not None:
                    self._spans[wanted] = span
                    self._spans.move_to_end(wanted)
                    while len(self._spans) > _KEPT:
                        self._spans.popitem(last=False)
        self._arrived()


def _covers(wanted: tuple[int, int, int], start_ns: int, edge_ns: int, width_ns: int) -> bool:
    return wanted[0] <= start_ns and edge_ns <= wanted[1] and wanted[2] == width_ns
