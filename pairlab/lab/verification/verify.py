"""Replays a recording's journal and compares what comes out with what was recorded."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NoReturn, TypeAlias

import numpy as np

from pairlab.alerts import Alert
from pairlab.data.journal import GapMarked, JournalEvent, Rebuilt, SettingChanged
from pairlab.data.row_store import RowStore
from pairlab.engine import compile_kernel
from pairlab.errors import DataError
from pairlab.lab.verification.certificate import Certificate, Difference
from pairlab.lab.verification.journal_replay import JournalReplay
from pairlab.schema import ROW, Records
from pairlab.storage.recording.machine import machine_versions
from pairlab.storage.recording.recorded_session import RecordedPart, RecordedSession
from pairlab.storage.recording.sink import RebuiltRows

__all__ = ["verify"]

RowRun: TypeAlias = tuple[int, int, Records]
"""Epoch, number of the first row, rows."""

_BLOCK: Final = 16_384
"""Ticks replayed at once: fewer alerts than the log of alerts keeps."""
_LAST_EPOCH: Final = 2**31


def verify(path: str | os.PathLike[str]) -> Certificate:
    """Replay a recording and compare rows, alerts and rebuilds with those recorded, bit for bit.

    Nothing is written. A recording that still goes on is verified up to this moment.

    Parameters
    ----------
    path : str or os.PathLike
        The recording's folder.

    Returns
    -------
    Certificate
        Equal, or the first difference; or the reason why nothing can be proved.

    Raises
    ------
    DataError
        If it is no recording.
    MissingExtraError
        Without ``pip install "pairlab[storage]"``.
    """
    session = RecordedSession(path)
    damaged = session.damaged_files()
    if damaged:
        first = Difference("file", damaged[0], "as it was sealed", "another checksum, or gone")
        return _certificate(session, [], f"damaged: {', '.join(damaged)}", first)
    reason = _why_not(session)
    if reason:
        return _certificate(session, [], reason)
    compile_kernel()
    done: list[_Comparison] = []
    try:
        events = session.events(recording_gaps=False)
        rows, alerts = _Runs(session.rows()), deque(session.alerts())
        for at, part in enumerate(session.parts):
            later = session.parts[at + 1 :][:1]
            until_seq = later[0].first_seq if later else None
            until_epoch = later[0].epoch_offset if later else _LAST_EPOCH
            own = [e for e in events if until_seq is None or e.tick < until_seq]
            events = events[len(own) :]
            comparison = _Comparison(
                part, rows, until_epoch, _alerts_of_part(alerts, part.alerts if later else None),
                session.rebuilds, own,
                whole=session.status == "sealed",
            )  # fmt: skip
            done.append(comparison)
            comparison.run(session.ticks(part.first_seq, part.last_seq, block=_BLOCK))
    except _DifferenceFoundError as found:
        return _certificate(session, done, str(found.difference), found.difference)
    except DataError as error:
        return _certificate(session, done, f"it cannot be replayed: {error}")
    compared = sum(part.rows + part.alerts + part.rebuilds for part in done)
    reason = "" if compared else "no row, alert or rebuild is recorded: there is nothing to compare"
    return _certificate(session, done, reason)


def _why_not(session: RecordedSession) -> str:
    """Return why the rows of a recording cannot be proved, empty if they can."""
    if not session.parts:
        return "nothing has been recorded yet"
    if session.losses or session.holes:
        lost = sum(hole.last_seq - hole.first_seq + 1 for hole in session.holes)
        return (
            f"it lacks {lost:,} ticks that the lab had: rows after them depend on what is not there"
        )
    for part in session.parts:
        if not part.complete:
            return (
                "it was asked for after the lab had forgotten its first ticks or events: rows "
                "depend on them"
            )
    if not session.complete:
        return "its oldest files were dropped by max_bytes or max_age: rows depend on them"
    return ""


def _alerts_of_part(alerts: deque[Alert], last: int | None) -> deque[Alert]:
    """Take the next part's alerts from all: their numbers begin anew with each part.

    A part that ended says the last of its numbers, 0 for none; None: every alert that is left.
    """
    own: deque[Alert] = deque()
    while alerts and (last is None or alerts[0].number <= last):
        if own and alerts[0].number <= own[-1].number:
            break
        own.append(alerts.popleft())
    return own


class _DifferenceFoundError(Exception):
    """Ends the replay: one difference is enough, what follows it may follow from it."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference


class _Runs:
    """Recorded rows, run by run, to be taken piece by piece."""

    def __init__(self, runs: Iterator[RowRun]) -> None:
        self._runs = runs
        self.current: RowRun | None = next(runs, None)

    def take(self, count: int) -> Records:
        """Take the next rows of the current run."""
        if self.current is None:
            raise IndexError("no recorded rows are left")
        epoch, first, rows = self.current
        if count == len(rows):
            self.current = next(self._runs, None)
        else:
            self.current = (epoch, first + count, rows[count:])
        return rows[:count]


class _ComparedRows(RowStore):
    """The rows of a pipeline, handed on as they are made."""

    def __init__(
        self,
        capacity: int,
        on_rows: Callable[[int, int, Records], None],
        on_rebuilt: Callable[[int, int, Records], None],
    ) -> None:
        super().__init__(capacity)
        self._on_rows, self._on_rebuilt = on_rows, on_rebuilt

    def append(self, rows: Records) -> None:
        first = self.end
        super().append(rows)
        self._on_rows(self.epoch, first, rows)

    def replace(self, rows: Records) -> None:
        super().replace(rows)
        self._on_rebuilt(self.epoch, len(rows), self.view())


class _Comparison:
    """One part's replay beside what was recorded of it.

    Parameters
    ----------
    part : RecordedPart
        A lab's session.
    runs : _Runs
        Recorded rows; epochs as the recording counts them.
    until_epoch : int
        Recorded rows from this epoch on are a later part's.
    alerts : deque of Alert
        Recorded ones of this part.
    rebuilds : iterable of RebuiltRows
        Recorded digests, this part's among them.
    events : list of JournalEvent
        Of this part.
    whole : bool
        Whether no row at the end can be missing.
    """

    def __init__(
        self,
        part: RecordedPart,
        runs: _Runs,
        until_epoch: int,
        alerts: deque[Alert],
        rebuilds: Iterable[RebuiltRows],
        events: list[JournalEvent],
        *,
        whole: bool,
    ) -> None:
        self.ticks = self.rows = self.alerts = self.rebuilds = 0
        self.events = events
        self._part, self._runs, self._until_epoch, self._whole = part, runs, until_epoch, whole
        self._alerts, self._newest_alert = alerts, 0
        self._digests = {rebuilt.epoch: rebuilt for rebuilt in rebuilds}
        self._unrecorded: tuple[int, int, np.void] | None = None  # the first row not recorded
        store = _ComparedRows(part.settings.history_rows, self._on_rows, self._on_rebuilt)
        self._replay: Final = JournalReplay(part.settings, events, part.first_seq, store)

    def run(self, blocks: Iterator[tuple[int, Records]]) -> None:
        """Replay the part.

        Raises
        ------
        _DifferenceFoundError
            At the first difference.
        DataError
            If ticks, or what an event needs, are missing.
        """
        pipeline = self._replay.pipeline
        for first, ticks in blocks:
            if first != pipeline.next_tick:
                raise DataError(f"ticks {pipeline.next_tick:,} to {first - 1:,} are missing")
            self._replay.on_ticks(ticks)
            self.ticks += len(ticks)
            self._compare_alerts()
        self._replay.finish()
        self._compare_alerts()
        run = self._recorded()
        if run is not None:
            self._differ(run[0], run[1], run[2][0], "the row", "there", None)
        if self._unrecorded is not None and self.rows and self._whole:
            self._differ(*self._unrecorded, "the row", None, "there")
        if self._alerts and self._whole:
            self._differ_in_alert("the alert", self._alerts[0], self._alerts[0].number, None)

    # -- rows -----------------------------------------------------------------------------------

    def _recorded(self) -> RowRun | None:
        """Return the next recorded rows of this part."""
        run = self._runs.current
        return run if run is not None and run[0] < self._until_epoch else None

    def _on_rows(self, epoch: int, first: int, rows: Records) -> None:
        epoch += self._part.epoch_offset
        while len(rows):
            run = self._recorded()
            if run is None:
                self._unrecorded = self._unrecorded or (epoch, first, rows[0])
                return
            place = (run[0], run[1])
            if place > (epoch, first):
                if self.rows:
                    self._differ(epoch, first, rows[0], "the row", None, "there")
                # Made before the recording was asked for.
                skip = len(rows) if run[0] > epoch else min(len(rows), run[1] - first)
                rows, first = rows[skip:], first + skip
                continue
            if place < (epoch, first):
                self._differ(*place, run[2][0], "the row", "there", None)
            count = min(len(rows), len(run[2]))
            self._compare(epoch, first, self._runs.take(count), rows[:count])
            rows, first = rows[count:], first + count

    def _compare(self, epoch: int, first: int, recorded: Records, replayed: Records) -> None:
        unlike = np.zeros(len(recorded), bool)
        for name in ROW.names or ():
            unlike |= _bits(recorded[name]) != _bits(replayed[name])
        if not unlike.any():
            self.rows += len(recorded)
            return
        at = int(np.argmax(unlike))
        self.rows += at
        was, now = recorded[at], replayed[at]
        name = next(n for n in ROW.names or () if was[n].tobytes() != now[n].tobytes())
        self._differ(epoch, first + at, now, name, was[name].item(), now[name].item())

    def _differ(
        self, epoch: int, number: int, row: np.void, name: str, recorded: object, replayed: object
    ) -> NoReturn:
        ticks = self._replay.pipeline.ticks
        made = np.flatnonzero(ticks.view()["received_ns"] == row["received_ns"])
        seq = int(ticks.total - len(ticks) + made[-1]) if len(made) else None
        raise _DifferenceFoundError(
            Difference("row", name, recorded, replayed, seq, epoch, number, int(row["time_ns"]))
        )

    def _on_rebuilt(self, epoch: int, count: int, held: Records) -> None:
        recorded = self._digests.get(epoch + self._part.epoch_offset)
        if recorded is None:
            return  # torn with the end
        now = (count, len(held), hashlib.sha256(held.tobytes()).hexdigest())
        was = (recorded.rows, recorded.held, recorded.sha256)
        for name, a, b in zip(("rows", "rows held", "sha256"), was, now, strict=True):
            if a != b:
                raise _DifferenceFoundError(
                    Difference("rebuild", name, a, b, recorded.seq, recorded.epoch)
                )
        self.rebuilds += 1

    # -- alerts ---------------------------------------------------------------------------------

    def _compare_alerts(self) -> None:
        for alert in self._replay.pipeline.alert_log.since(self._newest_alert):
            self._newest_alert = alert.number
            if not self._alerts or self._alerts[0].number > alert.number:
                if self.alerts and (self._alerts or self._whole):
                    self._differ_in_alert("the alert", alert, None, alert.number)
                continue  # from before the recording was asked for, or torn with the end
            recorded = self._alerts.popleft()
            for name in alert.__dataclass_fields__:
                was, now = getattr(recorded, name), getattr(alert, name)
                if repr(was) != repr(now):  # a float by all its digits, and NaN equal to NaN
                    self._differ_in_alert(name, recorded, was, now)
            self.alerts += 1

    def _differ_in_alert(
        self, name: str, alert: Alert, recorded: object, replayed: object
    ) -> NoReturn:
        raise _DifferenceFoundError(
            Difference("alert", name, recorded, replayed, time_ns=alert.time_ns)
        )


def _bits(values: Records) -> Records:
    """Return integers that are equal where values are, to the last bit."""
    values = np.ascontiguousarray(values)
    return values.view(f"i{values.dtype.itemsize}")


def _certificate(
    session: RecordedSession,
    done: list[_Comparison],
    reason: str,
    difference: Difference | None = None,
) -> Certificate:
    events = [event for comparison in done for event in comparison.events]
    here, there = machine_versions(), session.versions
    return Certificate(
        equal=not reason,
        reason=reason,
        difference=difference,
        path=str(session.path),
        sessions=len(done),
        ticks=sum(comparison.ticks for comparison in done),
        rows=sum(comparison.rows for comparison in done),
        alerts=sum(comparison.alerts for comparison in done),
        first_seq=session.first_seq,
        last_seq=session.last_seq,
        settings_changes=sum(isinstance(event, SettingChanged) for event in events),
        rebuilds=sum(isinstance(event, Rebuilt) for event in events),
        gaps=sum(isinstance(event, GapMarked) for event in events),
        files=session.sealed_files,
        machine=here,
        recorded_machine=there,
    )
