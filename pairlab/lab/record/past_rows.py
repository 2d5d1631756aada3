"""Rows that have left a lab's memory, read from its recording."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from pairlab.data.journal import SettingChanged
from pairlab.errors import DataError
from pairlab.protocols import PastPieces
from pairlab.schema import Records, RowFlag
from pairlab.settings import METRIC_SETTINGS, SettingValues

if TYPE_CHECKING:
    from pairlab.storage.recording.recorded_session import RecordedSession

__all__ = ["Held", "PastRows"]

_METRICS: Final = tuple(sorted(METRIC_SETTINGS))
_PATIENCE_S: Final = 5.0
_LOOK_S: Final = 0.05
_UNKNOWN: Final = 2**63


class Held(NamedTuple):
    """Where the rows in memory begin.

    Attributes
    ----------
    epoch : int
        Of them all.
    first : int
        Number of the oldest within it.
    first_ns : int
        Its time, ns since 1970 UTC.
    """

    epoch: int
    first: int
    first_ns: int


class PastRows:
    """The rows of a recording, as they were first shown, each once.

    Where metrics were recomputed, they are those of before up to the first row of after. It reads
    files, so it is called on a thread.

    Parameters
    ----------
    folder : pathlib.Path
        The recording, which may be under way.
    played_with : SettingValues, optional
        Of a lab that plays the recording: only rows computed as its own belong before them. By
        default the recording is the lab's own.
    """

    def __init__(self, folder: Path, played_with: SettingValues | None = None) -> None:
        self._folder: Final = folder
        self._played_with: Final = played_with

    @property
    def key(self) -> object:
        """Differs from that of others."""
        values = self._played_with
        metrics = values and tuple(getattr(values, name) for name in _METRICS)
        return self._folder, metrics

    def older(self, held: Held, since_ns: int, until_ns: int | None = None) -> Iterator[Records]:
        """Go through the rows of a span that are older than those in memory.

        Parameters
        ----------
        held : Held
            Where the rows in memory begin. What is not written yet is waited for, for 5 s at most.
        since_ns, until_ns : int
            Exchange times, ns since 1970 UTC, both included; by default as far as there are any.

        Yields
        ------
        numpy.ndarray
            `pairlab.ROW` records, shape (n,), read as they are asked for; none where a recording
            that is played was made with other settings.

        Raises
        ------
        DataError
            If a file is missing or damaged, naming it.
        """
        session = _session(self._folder)
        end_ns = held.first_ns if until_ns is None else min(held.first_ns, until_ns)
        if self._played_with is not None:
            if not _other_settings(session, self._played_with):
                for run in _runs(session, since_ns, end_ns):
                    yield _up_to(run.rows, held.first_ns)
            return
        until_s = time.monotonic() + _PATIENCE_S
        while not _reaches(session, held) and time.monotonic() < until_s:
            time.sleep(_LOOK_S)  # the writer's thread flushes four times a second
            session.refresh()
        yield from _older(session, held, since_ns, end_ns)

    def read(self, start_ns: int, end_ns: int) -> PastPieces:
        """Return what was recorded of a span of time.

        Parameters
        ----------
        start_ns, end_ns : int
            Exchange times, ns since 1970 UTC, both included.

        Returns
        -------
        PastPieces
            Its rows are read as they are asked for. A row before which rows or trades are not
            recorded is flagged ``GAP_BEFORE``.

        Raises
        ------
        DataError
            If a file is missing or damaged, naming it; or if a recording that is played was made
            with other settings.
        """
        session = _session(self._folder)
        if self._played_with is not None:
            other = _other_settings(session, self._played_with)
            if other:
                raise DataError(f"the rows before these were recorded with {other}")
        spans = session.row_spans()
        newest = max((span.last_ns for span in spans), default=None)
        alerts = session.alerts(start_ns, end_ns)
        return PastPieces(
            begins_ns=min((span.first_ns for span in spans), default=None),
            ends_ns=newest,
            complete=session.status != "recording" or (newest is not None and newest > end_ns),
            rows=_marked(session, start_ns, end_ns),
            alerts=[alert for alert in alerts if start_ns <= alert.time_ns <= end_ns],
        )


def _session(folder: Path) -> RecordedSession:
    # A lab whose past nobody asks for starts sooner without what reads recordings.
    from pairlab.storage.recording.recorded_session import RecordedSession

    return RecordedSession(folder)


def _other_settings(session: RecordedSession, values: SettingValues) -> str:
    """Return a setting of the recording that makes other rows than these values; empty: none."""
    found = [(name, getattr(p.settings, name)) for p in session.parts for name in _METRICS]
    found += [
        (event.name, event.new)
        for event in session.events(recording_gaps=False)
        if isinstance(event, SettingChanged) and event.name in METRIC_SETTINGS
    ]
    for name, value in sorted(found, key=lambda pair: pair[0]):
        if value != getattr(values, name):
            return f"{name} = {value!r}, not {getattr(values, name)!r}"
    return ""


def _offset(session: RecordedSession) -> int:
    """Return the recording's epochs minus those of the lab that is recorded."""
    return session.parts[-1].epoch_offset if session.parts else 0


def _recomputed(session: RecordedSession) -> dict[int, int]:
    """Return how many rows of an epoch a rebuild made: they are not recorded again."""
    return {rebuilt.epoch: rebuilt.rows for rebuilt in session.rebuilds}


def _reaches(session: RecordedSession, held: Held) -> bool:
    """Tell whether the row before the oldest in memory is there, or never will be."""
    epoch = held.epoch + _offset(session)
    if held.first == 0 or held.first <= _recomputed(session).get(epoch, 0):
        return True
    if session.status != "recording":
        return True
    return any(s.last_epoch == epoch and s.last + 1 >= held.first for s in session.row_spans())


class _Run(NamedTuple):
    """Rows of an epoch whose numbers count up from `first`; `cut`: a later epoch has the next."""

    epoch: int
    first: int
    rows: Records
    cut: bool


def _up_to(rows: Records, time_ns: int) -> Records:
    return rows[: bisect_left(rows["time_ns"], time_ns)]


def _runs(session: RecordedSession, since_ns: int, until_ns: int) -> Iterator[_Run]:
    """Go through the rows of a span, both ends included, each once."""
    made = _recomputed(session)
    # Rows of a later epoch whose beginning is recomputed or held ones replace those of their time.
    limits = [
        (span.first_epoch, span.first_ns)
        for span in session.row_spans()
        if span.first < made.get(span.first_epoch, 0 if span.first_epoch == 0 else _UNKNOWN)
    ]
    for epoch, number, rows in session.rows(since_ns, until_ns):
        later = min((first_ns for of, first_ns in limits if of > epoch), default=until_ns + 1)
        begin = bisect_left(rows["time_ns"], since_ns)
        kept = _up_to(rows, min(later, until_ns + 1))[begin:]
        if len(kept):
            yield _Run(epoch, number + begin, kept, begin + len(kept) < len(rows))


def _older(session: RecordedSession, held: Held, since_ns: int, until_ns: int) -> Iterator[Records]:
    """Go through the rows that are older than those in memory."""
    last = held.epoch + _offset(session)
    recomputed = held.first < _recomputed(session).get(last, 0 if last == 0 else _UNKNOWN)
    for run in _runs(session, since_ns, until_ns):
        if run.epoch == last:
            yield run.rows[: max(held.first - run.first, 0)]
        elif run.epoch < last and recomputed:
            # The oldest in memory is a recomputed one: of the same time are rows of its ticks.
            yield _up_to(run.rows, held.first_ns)
        elif run.epoch < last:
            yield run.rows  # else recomputed after the rows in memory were looked at


def _marked(session: RecordedSession, since_ns: int, until_ns: int) -> Iterator[Records]:
    """Go through the rows of a span, and flag those before which rows are not recorded."""
    made = _recomputed(session)
    before: _Run | None = None
    for run in _runs(session, since_ns, until_ns):
        rows = run.rows
        if before is not None and not before.cut:
            due = before.first + len(before.rows) if run.epoch == before.epoch else None
            if run.first != (made.get(run.epoch) if due is None else due):
                rows = rows.copy()
                rows["flags"][0] |= RowFlag.GAP_BEFORE
        before = run
        yield rows
