"""A folder as the place of a recording: live frames first, Parquet when a segment is full."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from pairlab.clock import SYSTEM_CLOCK, Clock
from pairlab.data.journal import JournalEvent
from pairlab.engine.gaps import Gap
from pairlab.errors import DataError
from pairlab.schema import LogLevel
from pairlab.storage.recording.background import Background
from pairlab.storage.recording.durable import Step, fsync_folder, make_folder, no_step
from pairlab.storage.recording.folder_lock import FolderLock
from pairlab.storage.recording.live_segment import LiveSegment, frames_of
from pairlab.storage.recording.manifest import LIVE, NAME, Manifest
from pairlab.storage.recording.retention import drop_oldest
from pairlab.storage.recording.sealing import (
    as_sealed,
    finish_dropping,
    live_segments,
    recover,
    remove_leftovers,
    seal_segment,
    segment_path,
)
from pairlab.storage.recording.sink import RecordBatch, RecordingInfo

__all__ = ["FolderSink"]

SEGMENT_BYTES: Final = 128 * 1024 * 1024
SEGMENT_S: Final = 3_600.0
_DAY_NS: Final = 86_400_000_000_000


class FolderSink:
    """Keeps a recording in a folder; a `RecordSink`.

    The folder goes on where an earlier recording of the same pair and stream has ended: its
    ordinals and epochs are continued. A session that is recorded in pieces is stored once.

    Parameters
    ----------
    folder : str or os.PathLike
        Made if it is not there.
    max_bytes : int, optional
        What the recording may take: its oldest sealed files are removed. None: no limit.
    max_age_s : float, optional
        Sealed files whose last record is older are removed.
    segment_bytes, segment_s : int, float
        A live segment is sealed when it is that large, that old, or a new UTC day begins.
    tell : callable
        Called, on any thread, with a level and a sentence about what happened to the folder.
    clock : Clock
        Of ages.
    lock_timeout_s : float
        How long to wait for another writer to end.
    step : callable
        Called after each step of sealing.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        max_bytes: int | None = None,
        max_age_s: float | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        segment_s: float = SEGMENT_S,
        tell: Callable[[LogLevel, str], None] = lambda level, text: None,
        clock: Clock = SYSTEM_CLOCK,
        lock_timeout_s: float = 5.0,
        step: Step = no_step,
    ) -> None:
        self.folder = Path(folder)
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        # A segment is dropped as a whole: a small limit needs small ones.
        self._segment_bytes = min(segment_bytes, (max_bytes or 8 * segment_bytes) // 8)
        self._segment_s = segment_s
        self._tell = tell
        self._clock = clock
        self._lock_timeout_s = lock_timeout_s
        self._step = step
        self._lock: FolderLock | None = None
        self._segment: LiveSegment | None = None
        self._sealing: Background | None = None
        self._syncing: Background | None = None
        self._sealed_bytes = 0
        self._seal_told = False
        self._session: str | None = None
        self._segment_day: int | None = None
        self._left_before: int | None = None  # a killed writer's segments have lower numbers

    @property
    def nbytes(self) -> int:
        """Bytes that its sealed files and the live segment take."""
        segment = self._segment
        return self._sealed_bytes + (0 if segment is None else segment.nbytes)

    # -- open and close -------------------------------------------------------------------------

    def open(self, info: RecordingInfo) -> None:
        """Begin, or go on; see `RecordSink.open`.

        Raises
        ------
        LockedError
            If somebody else writes to the folder.
        DataError
            If it holds a recording of another pair or stream, or one that cannot be read.
        OSError
            If it cannot be written to.
        """
        self._release()
        self.folder = folder = self.folder.absolute()  # a notebook may change its own later
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder} is a file: expected a folder to record to")
        (folder / LIVE).mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(folder, self._lock_timeout_s)
        try:
            self._begin(info)
        except BaseException:
            self._release()
            raise
        self._sealing = Background("pairlab seal")
        self._syncing = Background("pairlab sync")
        if self._left_before is not None:
            self._sealing.submit(self._seal_full)

    def _begin(self, info: RecordingInfo) -> None:
        folder = self.folder
        if (folder / NAME).exists():
            manifest = Manifest.load(folder)
            _require_same(folder, manifest, info)
            manifest = finish_dropping(folder, manifest, self._step)
            remove_leftovers(folder, manifest)
        else:
            if live_segments(folder):
                raise DataError(f"{folder} has live segments and no {NAME}: move them away first")
            manifest = Manifest.begin(info)
            if self._session == info.session:
                self._tell(
                    "warning",
                    f"{folder}: the recording was removed while it was written; a new one begins "
                    "there, in which what was stored before is a gap",
                )
        self._session = info.session
        # What a killed writer has left is sealed beside: until then, ticks would not be written.
        left = [n for n, _ in live_segments(folder)]
        self._number = max([manifest.sealed_through, *left])
        foreseen, parts = as_sealed(folder, manifest), list(manifest.parts)
        part = foreseen.part_for(info, self._number + 1)
        parts += foreseen.parts[len(parts) :]
        manifest = msgspec.structs.replace(manifest, parts=parts, status="recording")
        if manifest.price_decimals is None:
            manifest.price_decimals = info.price_decimals
        manifest.save(folder, self._step)
        self._manifest = manifest
        self._sealed_bytes = sum(file.nbytes for file in manifest.files)
        self._offset, self._epoch_offset = part.seq_offset, part.epoch_offset
        self._next_seq = max(foreseen.last_seq + 1, part.first_seq)
        self._next_row = foreseen.last_epoch, foreseen.last_row + 1
        self._events, self._alerts = part.events, part.alerts
        self._day = foreseen.last_ns // _DAY_NS
        self._left_before = self._number + 1 if left else None
        self._next_segment()

    def close(self) -> None:
        """Seal what is live, and let others write.

        Raises
        ------
        OSError
            If it cannot be sealed: it stays live, and can be read and recovered.
        """
        try:
            if self._segment is not None:
                segment, self._segment = self._segment, None
                segment.close()
                self._join()
                self._seal_left()
                self._seal_all()
                manifest = msgspec.structs.replace(self._manifest, status="sealed")
                manifest.save(self.folder, self._step)
                self._manifest = manifest
        finally:
            self._release()

    def _join(self) -> None:
        for background in (self._sealing, self._syncing):
            if background is not None:
                background.close()
        self._sealing = self._syncing = None

    def _join_sealing(self) -> None:
        """Wait until what is full is sealed."""
        if self._sealing is not None:
            self._sealing.wait()

    def _release(self) -> None:
        """Give back everything, sealed or not."""
        self._join()
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    # -- write ----------------------------------------------------------------------------------

    def write(self, batch: RecordBatch) -> None:
        """Append a batch to the live segment; see `RecordSink.write`."""
        segment = self._segment
        if segment is None:
            raise OSError(f"{self.folder} is not open")
        new = self._numbered(batch)
        if new:
            pieces = []
            for piece in frames_of(new, self._manifest.pair):
                pieces.append(piece)
                time.sleep(0)  # lets the loop go on: it would wait for the interpreter's lock
            segment.append(pieces)
            self._count(new)
        if segment.nbytes and self._is_full(segment):
            self._rotate(segment)

    def _numbered(self, batch: RecordBatch) -> RecordBatch:
        """Return what of a batch is not stored yet, numbered as the recording counts."""
        new = RecordBatch(
            first_event=max(batch.first_event, self._events), price_decimals=batch.price_decimals
        )
        next_seq, next_row = self._next_seq, self._next_row
        for ordinal, ticks in batch.ticks:
            first = ordinal + self._offset
            ticks = ticks[max(next_seq - first, 0) :]
            if len(ticks):
                first = max(first, next_seq)
                new.ticks.append((first, ticks))
                next_seq = first + len(ticks)
        for session_epoch, first, rows in batch.rows:
            epoch = session_epoch + self._epoch_offset
            if epoch < next_row[0]:
                continue
            if epoch == next_row[0]:
                rows, first = rows[max(next_row[1] - first, 0) :], max(first, next_row[1])
            if len(rows):
                new.rows.append((epoch, first, rows))
                next_row = epoch, first + len(rows)
        new.alerts += [alert for alert in batch.alerts if alert.number > self._alerts]
        events = batch.events[max(self._events - batch.first_event, 0) :]
        new.events += [_shifted(event, self._offset) for event in events]
        new.rebuilds += [
            rebuild._replace(
                epoch=rebuild.epoch + self._epoch_offset, seq=rebuild.seq + self._offset
            )
            for rebuild in batch.rebuilds
        ]
        return new

    def _count(self, new: RecordBatch) -> None:
        for first, ticks in new.ticks:
            self._next_seq = first + len(ticks)
            # A running maximum: around midnight the legs are a little apart.
            self._day = max(self._day, int(ticks["time_ns"][-1]) // _DAY_NS)
            if self._segment_day is None:
                self._segment_day = self._day
        for epoch, first, rows in new.rows:
            self._next_row = epoch, first + len(rows)
        self._events = max(self._events, new.first_event + len(new.events))
        if new.alerts:
            self._alerts = new.alerts[-1].number

    def _is_full(self, segment: LiveSegment) -> bool:
        age_s = self._clock.monotonic_s() - self._segment_began_s
        return (
            segment.nbytes >= self._segment_bytes
            or age_s >= self._segment_s
            or (self._segment_day is not None and self._day > self._segment_day)
        )

    def _next_segment(self) -> None:
        path = segment_path(self.folder, self._number + 1)
        make_folder(path.parent, self.folder)
        self._segment = LiveSegment(path)
        self._number += 1
        fsync_folder(path.parent)
        self._segment_began_s = self._clock.monotonic_s()
        self._segment_day = None

    def _rotate(self, full: LiveSegment) -> None:
        self._sync(full)
        self._next_segment()
        full.close()
        if self._sealing is not None:
            self._sealing.submit(self._seal_full)

    # -- seal and sync, beside the writer -------------------------------------------------------

    def _seal_full(self) -> None:
        """Seal every segment but the one that is written to; a full disk is told once."""
        try:
            _lower_priority()
            self._seal_left()
            self._seal_all(before=self._number)
            self._keep_limits()
            self._seal_told = False
        except (OSError, DataError) as error:
            if not self._seal_told:
                self._seal_told = True
                self._tell(
                    "warning",
                    f"{self.folder}: could not seal a full segment ({error}); its ticks are kept "
                    "as they are, and it is tried again",
                )

    def _seal_left(self) -> None:
        """Seal what a writer that was killed has left."""
        if self._left_before is None:
            return
        _, recovery = recover(
            self.folder, self._manifest, self._step, before=self._left_before, saved=self._take
        )
        self._left_before = None
        if recovery.segments:
            self._tell("warning" if recovery.losses else "info", f"{self.folder}: {recovery}")

    def _take(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._sealed_bytes = sum(file.nbytes for file in manifest.files)

    def _seal_all(self, before: int | None = None) -> None:
        for number, _ in live_segments(self.folder):
            if number > self._manifest.sealed_through and (before is None or number < before):
                self._take(seal_segment(self.folder, self._manifest, number, self._step))

    def _keep_limits(self) -> None:
        if self._max_bytes is None and self._max_age_s is None:
            return
        dropped = self._manifest.dropped.files
        manifest = drop_oldest(
            self.folder,
            self._manifest,
            max_bytes=None if self._max_bytes is None else self._max_bytes - self._segment_bytes,
            before_ns=None
            if self._max_age_s is None
            else self._clock.time_ns() - int(self._max_age_s * 1e9),
            step=self._step,
        )
        self._take(manifest)
        if count := self._manifest.dropped.files - dropped:
            self._tell("info", f"{self.folder}: {count} old files removed, as its limits ask")

    def sync(self) -> None:
        """Make durable what was written, on a thread beside; see `RecordSink.sync`."""
        if self._segment is not None:
            self._sync(self._segment)
        if self._sealing is not None and (self._seal_told or self._max_age_s is not None):
            self._sealing.submit(self._seal_full)

    def _sync(self, segment: LiveSegment) -> None:
        syncing = self._syncing
        if syncing is None:
            return
        syncing.check()  # what the last one raised
        syncing.submit(segment.syncing())


def _require_same(folder: Path, manifest: Manifest, info: RecordingInfo) -> None:
    for name, found, wanted in (
        ("pair", tuple(manifest.pair), tuple(info.pair)),
        ("stream", manifest.stream, info.stream),
        ("feed", manifest.feed, info.feed),
    ):
        if found != wanted:
            raise DataError(
                f"{folder} holds a recording whose {name} is {_told(found)}: expected "
                f"{_told(wanted)}, or another folder"
            )


def _told(value: Any) -> str:
    return "/".join(value) if isinstance(value, tuple) else str(value)


def _shifted(event: JournalEvent, offset: int) -> JournalEvent:
    """Return an event with its ordinals moved."""
    if not offset:
        return event
    changes: dict[str, Any] = {"tick": event.tick + offset}
    if gaps := getattr(event, "gaps", None):
        changes["gaps"] = tuple(Gap(gap.tick + offset, gap.legs) for gap in gaps)
    for name in ("first_tick", "asked_tick", "resumed_tick"):
        if hasattr(event, name):
            changes[name] = getattr(event, name) + offset
    return dataclasses.replace(event, **changes)


def _lower_priority() -> None:
    """Let the stream go first: sealing is in no hurry."""
    if sys.platform == "linux":  # which knows priorities of threads
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
