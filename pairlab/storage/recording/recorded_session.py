"""A recording, read: sealed, running, or left behind by a process that was killed."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from pairlab.alerts import Alert
from pairlab.data.journal import GapMarked, JournalEvent
from pairlab.errors import DataError
from pairlab.schema import Pair, Records
from pairlab.settings import SettingValues
from pairlab.storage.journal_table import events_of
from pairlab.storage.recording.folder_lock import is_locked
from pairlab.storage.recording.live_segment import (
    Frame,
    FrameKind,
    TornFrame,
    read_note,
    read_table,
    scan,
)
from pairlab.storage.recording.manifest import Hole, Loss, Manifest, Part, SealedFile
from pairlab.storage.recording.parquet_files import sha256_of
from pairlab.storage.recording.sealed_ticks import (
    RowSpan,
    blocks_of,
    meets,
    ordered_ticks,
    read_sealed,
    row_runs,
    seq_in_sealed,
)
from pairlab.storage.recording.sealing import (
    holes_of,
    live_segments,
    price_decimals_of,
    rebuilds_of,
)
from pairlab.storage.recording.sink import RebuiltRows
from pairlab.storage.tables import alerts_of, column, ticks_of

__all__ = ["RecordedPart", "RecordedSession"]

RecordingStatus = Literal["recording", "sealed", "interrupted"]
_END: Final = 2**63 - 1


class RecordedPart(NamedTuple):
    """One session of a lab within a recording: its engine began anew with it.

    Attributes
    ----------
    first_seq, last_seq : int
        Ordinals of its ticks in the recording.
    seq_offset, epoch_offset : int
        Ordinals and epochs of the recording minus those of the lab.
    settings : SettingValues
        In force before its first tick and event.
    started_ns : int
        Wall clock at which it began, ns since 1970 UTC.
    complete : bool
        Whether everything that decides its rows is recorded, but for `RecordedSession.holes`.
    versions : dict of str
        Of what computed its rows.
    alerts : int
        Number of its last alert that is sealed; 0: none.
    """

    first_seq: int
    last_seq: int
    seq_offset: int
    epoch_offset: int
    settings: SettingValues
    started_ns: int
    complete: bool
    versions: dict[str, str]
    alerts: int


class _Live(NamedTuple):
    """The whole frames of a live segment, and the file, open: sealing may remove it."""

    number: int
    path: Path
    file: int
    frames: list[Frame]
    torn: list[TornFrame]


class RecordedSession:
    """A recording as it is at this moment; nothing is written to it.

    Parameters
    ----------
    path : str or os.PathLike
        The folder.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    pair : Pair
        The symbols of legs 0 and 1.
    stream, feed : str
        What a tick is, and the market's name.
    real_money : bool
        Whether it was the live market.
    price_decimals : tuple of int or None
        Of y and x.
    status : {"recording", "sealed", "interrupted"}
        ``interrupted``: whoever wrote it is gone and has not sealed it; all is readable, and the
        next recorder on the folder seals it.
    started_ns : int
        Wall clock at its beginning, ns since 1970 UTC.
    first_seq, last_seq : int
        Ordinals of the first and the last tick that are there; without any, the last is the
        first less one.
    time_span_ns : tuple of int
        Least and greatest time of the ticks, ns since 1970 UTC; (0, 0) without any.
    parts : tuple of RecordedPart
        Sessions of a lab, in order: more than one where the folder was recorded to again.
    holes : tuple of Hole
        Ticks that the lab had and the recording has not.
    losses : tuple of Loss
        What recoveries found torn.
    rebuilds : tuple of RebuiltRows
        Digests of the rows that rebuilds made.

    Raises
    ------
    DataError
        If it is no recording of this version's.
    MissingExtraError
        Without pyarrow.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Final = Path(path)
        self.refresh()

    def __repr__(self) -> str:
        count = max(self.last_seq - self.first_seq + 1, 0)
        return (
            f"<RecordedSession {self.pair.y}/{self.pair.x} {self.stream} {self.feed}, "
            f"{self.status}, {count:,} ticks>"
        )

    def refresh(self) -> None:
        """Read what has been recorded since."""
        self._manifest, self._live = self._snapshot()
        manifest = self._manifest
        self.pair: Pair = manifest.pair
        self.stream, self.feed = manifest.stream, manifest.feed
        self.real_money = manifest.real_money
        self.started_ns = manifest.started_ns
        self.status: RecordingStatus = manifest.status
        if manifest.status == "recording" and not is_locked(self.path):
            self.status = "interrupted"
        ticks = [frame for _, frame in self._frames(FrameKind.TICKS)]
        frames = [
            (live.number, [frame for frame in live.frames if frame.kind is FrameKind.TICKS])
            for live in self._live
        ]
        self.holes: tuple[Hole, ...] = (*manifest.holes, *holes_of(manifest, frames))
        self.losses: tuple[Loss, ...] = tuple(manifest.losses)
        notes = [
            read_note(live.path, frame, live.file) for live, frame in self._frames(FrameKind.NOTE)
        ]
        self.price_decimals = price_decimals_of(notes, manifest.price_decimals)
        self.rebuilds: tuple[RebuiltRows, ...] = (*manifest.rebuilds, *rebuilds_of(notes))
        spans = [(f.first, f.last, f.first_ns, f.last_ns) for f in self._files("ticks")]
        spans += [(frame.first, frame.last, frame.low, frame.high) for frame in ticks]
        begin = manifest.parts[0].first_seq if manifest.parts else 0
        self.first_seq: int = min((span[0] for span in spans), default=begin)
        self.last_seq: int = max((span[1] for span in spans), default=begin - 1)
        self.time_span_ns: tuple[int, int] = (
            min((span[2] for span in spans), default=0),
            max((span[3] for span in spans), default=0),
        )
        self.parts: tuple[RecordedPart, ...] = self._parts()

    def _snapshot(self) -> tuple[Manifest, list[_Live]]:
        """Return the manifest and the live segments that it does not name, of one moment."""
        while True:
            manifest = Manifest.load(self.path)
            live: list[_Live] = []
            for number, path in live_segments(self.path):
                if number <= manifest.sealed_through:
                    continue
                try:
                    file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
                except FileNotFoundError:  # sealed meanwhile: the manifest read again says so
                    break
                weakref.finalize(self, os.close, file)
                live.append(_Live(number, path, file, *scan(path, file)[:2]))
            else:
                if Manifest.load(self.path).sealed_through == manifest.sealed_through:
                    return manifest, live

    @property
    def settings(self) -> SettingValues:
        """The settings in force before the first tick."""
        if not self.parts:
            raise DataError(f"{self.path} has not begun")
        return self.parts[0].settings

    @property
    def sealed_files(self) -> int:
        """How many files are sealed, each with its checksum."""
        return len(self._manifest.files)

    @property
    def versions(self) -> dict[str, str]:
        """Of what computed the first rows: pairlab, numba, numpy, the processor."""
        return self.parts[0].versions if self.parts else {}

    @property
    def complete(self) -> bool:
        """Whether everything that decides the rows is there, from the first tick to the last."""
        gone = self._manifest.dropped.files or self.holes or self.losses
        return not gone and all(part.complete for part in self.parts)

    def _parts(self) -> tuple[RecordedPart, ...]:
        parts = self._manifest.parts
        found = []
        for at, part in enumerate(parts):
            last = at + 1 == len(parts)
            found.append(
                RecordedPart(
                    part.first_seq,
                    self.last_seq if last else self._last_before(parts[at + 1]),
                    part.seq_offset,
                    part.epoch_offset,
                    part.setting_values,
                    part.started_ns,
                    part.complete,
                    part.versions,
                    part.alerts,
                )
            )
        return tuple(found)

    def _last_before(self, part: Part) -> int:
        """Return the last ordinal before a part: none is used twice, some not at all."""
        lasts = [file.last for file in self._files("ticks")]
        lasts += [frame.last for _, frame in self._frames(FrameKind.TICKS)]
        return max((last for last in lasts if last < part.first_seq), default=part.first_seq - 1)

    def _files(self, kind: str) -> list[SealedFile]:
        return [file for file in self._manifest.files if file.kind == kind]

    def _segments(self, kind: str) -> Iterator[list[SealedFile]]:
        """Return the files of a kind, those of a segment together, in order."""
        segments: dict[int, list[SealedFile]] = {}
        for file in self._files(kind):
            segments.setdefault(file.segment, []).append(file)
        return iter(segments.values())

    def _frames(self, kind: FrameKind) -> Iterator[tuple[_Live, Frame]]:
        for live in self._live:
            yield from ((live, frame) for frame in live.frames if frame.kind is kind)

    def _tables(self, kind: FrameKind) -> Iterator[Any]:
        for live, frame in self._frames(kind):
            yield read_table(live.path, frame, live.file)

    # -- what it holds --------------------------------------------------------------------------

    def ticks(
        self, first_seq: int | None = None, last_seq: int | None = None, *, block: int = 65_536
    ) -> Iterator[tuple[int, Records]]:
        """Go through the ticks in the order in which the lab took them.

        Parameters
        ----------
        first_seq, last_seq : int, optional
            Ordinals of the first and the last one, both included; by default all.
        block : int
            Most ticks of an item.

        Yields
        ------
        int
            Ordinal of the first tick of a block.
        numpy.ndarray
            `pairlab.TICK` records, shape (n,); their ordinals count up by one. Between two blocks
            ordinals are left out where `holes` or the end of a part say so.

        Raises
        ------
        DataError
            If a file is missing or damaged, naming it.
        """
        first = -_END if first_seq is None else first_seq
        last = _END - 1 if last_seq is None else last_seq
        for files in self._segments("ticks"):
            if max(f.last for f in files) < first or min(f.first for f in files) > last:
                continue
            for seq, ticks in ordered_ticks(self.path, files, self.pair, first, last):
                yield from blocks_of(seq, ticks, block)
        for live, frame in self._frames(FrameKind.TICKS):
            if first <= frame.last and frame.first <= last:
                seq, ticks = ticks_of(read_table(live.path, frame, live.file), self.pair)
                begin, end = np.searchsorted(seq, (first, last + 1))
                yield from blocks_of(seq[begin:end], ticks[begin:end], block)

    def row_spans(self) -> list[RowSpan]:
        """Return what each file and frame of rows begins and ends with, in order."""
        found = []
        for files in self._segments("rows"):
            for f in sorted(files, key=lambda file: (file.first_epoch, file.first)):
                begin = f.first_epoch, f.first, f.first_ns
                found.append(RowSpan(*begin, f.last_epoch, f.last, f.last_ns))
        for _, frame in self._frames(FrameKind.ROWS):
            epoch = frame.epoch
            found.append(RowSpan(epoch, frame.first, frame.low, epoch, frame.last, frame.high))
        return found

    def rows(
        self, since_ns: int | None = None, until_ns: int | None = None
    ) -> Iterator[tuple[int, int, Records]]:
        """Go through the rows as they were first shown.

        Parameters
        ----------
        since_ns, until_ns : int, optional
            Exchange times, ns since 1970 UTC: files and frames that end before the first or begin
            after the second are left out, not each row.

        Yields
        ------
        int
            Epoch.
        int
            Number of the first row within the epoch.
        numpy.ndarray
            `pairlab.ROW` records, shape (n,), whose numbers count up by one.

        Raises
        ------
        DataError
            If a file is missing or damaged, naming it.
        """
        for files in self._segments("rows"):
            wanted = [f for f in files if meets(f.first_ns, f.last_ns, since_ns, until_ns)]
            ordered = sorted(wanted, key=lambda file: (file.first_epoch, file.first))
            for table in read_sealed(self.path, ordered):
                yield from row_runs(table)
        for live, frame in self._frames(FrameKind.ROWS):
            if meets(frame.low, frame.high, since_ns, until_ns):
                yield from row_runs(read_table(live.path, frame, live.file))

    def events(self, *, recording_gaps: bool = True) -> list[JournalEvent]:
        """Return the journal's events, in order, with the ordinals of the recording.

        Parameters
        ----------
        recording_gaps : bool
            Whether ticks that the recording has not (`holes`, and the time between two `parts`)
            are among them as `GapMarked`. The lab that was recorded marked no gap there.

        Raises
        ------
        DataError
            If a file is missing or damaged, naming it.
        """
        found: list[JournalEvent] = []
        for table in (
            *read_sealed(self.path, self._files("journal")),
            *self._tables(FrameKind.EVENTS),
        ):
            found += events_of(table)
        if recording_gaps:
            marks = [
                GapMarked(hole.last_seq + 1, hole.last_seq - hole.first_seq + 1)
                for hole in self.holes
            ]
            marks += [GapMarked(part.first_seq, None) for part in self.parts[1:]]
            for mark in marks:
                at = next((i for i, e in enumerate(found) if e.tick >= mark.tick), len(found))
                found.insert(at, mark)
        return found

    def alerts(self, since_ns: int | None = None, until_ns: int | None = None) -> list[Alert]:
        """Return the alerts in order; their numbers begin anew with each part.

        Parameters
        ----------
        since_ns, until_ns : int, optional
            As `rows` takes them.

        Raises
        ------
        DataError
            If a file is missing or damaged, naming it.
        """
        found: list[Alert] = []
        files = self._files("alerts")
        wanted = [f for f in files if meets(f.first_ns, f.last_ns, since_ns, until_ns)]
        for table in read_sealed(self.path, wanted):
            found += alerts_of(table)
        for live, frame in self._frames(FrameKind.ALERTS):
            if meets(frame.low, frame.high, since_ns, until_ns):
                found += alerts_of(read_table(live.path, frame, live.file))
        return found

    def seq_at(self, time_ns: int) -> int:
        """Return the ordinal of the first tick at or after a time; without one, the next after all.

        Parameters
        ----------
        time_ns : int
            Exchange time, ns since 1970 UTC. Where times step back, the first tick that reached it
            counts.
        """
        for files in self._segments("ticks"):
            if max(file.last_ns for file in files) >= time_ns:
                found = seq_in_sealed(self.path, files, time_ns)
                if found is not None:
                    return found
        for live, frame in self._frames(FrameKind.TICKS):
            if frame.high >= time_ns:
                table = read_table(live.path, frame, live.file)
                at = np.flatnonzero(column(table, "time", np.int64) >= time_ns)
                return frame.first + int(at[0])
        return self.last_seq + 1

    def damaged_files(self) -> list[str]:
        """Return the names of files that are missing or not as they were sealed, to the last bit.

        A live segment is named where bytes before its last whole frame are no frame.
        """
        found = []
        for file in self._manifest.files:
            path = self.path / file.path
            if not path.is_file() or sha256_of(path) != file.sha256:
                found.append(file.path)
        for live in self._live:
            end = max((frame.offset for frame in live.frames), default=0)
            if any(torn.offset < end for torn in live.torn):
                found.append(str(live.path.relative_to(self.path)))
        return found
