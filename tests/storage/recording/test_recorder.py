"""The queue and its thread: what a place that cannot store costs, and what is told."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairlab.data.journal import GapMarked
from pairlab.errors import DataError, StorageError
from pairlab.schema import Records
from pairlab.storage.recording.folder_sink import FolderSink
from pairlab.storage.recording.recorded_session import RecordedSession
from pairlab.storage.recording.recorder import Recorder
from pairlab.storage.recording.sink import RecordBatch, RecordingInfo
from tests.storage.recording.sessions import assert_holds, batches, bits, info, ticks_of, world


class Place:
    """A sink in memory that fails when it is told to."""

    nbytes = 0

    def __init__(self) -> None:
        self.failing: Exception | None = None
        self.opened = self.synced = 0
        self.batches: list[RecordBatch] = []
        self.closed = False
        self.tried = threading.Event()

    def _try(self) -> None:
        self.tried.set()
        if self.failing is not None:
            raise self.failing

    def open(self, info: RecordingInfo) -> None:
        self._try()
        self.opened += 1

    def write(self, batch: RecordBatch) -> None:
        self._try()
        self.batches.append(batch)

    def sync(self) -> None:
        self._try()
        self.synced += 1

    def close(self) -> None:
        self.closed = True

    def ticks(self) -> Records:
        return np.concatenate([part for batch in self.batches for _, part in batch.ticks])


def started(sink: Any, **options: Any) -> tuple[Recorder, list[str]]:
    told: list[str] = []
    recorder = Recorder(
        sink, info(), target="there", tell=lambda level, text: told.append(f"{level}: {text}"),
        **({"flush_s": 0.01, "retry_s": 0.02} | options),
    )  # fmt: skip
    recorder.start()
    return recorder, told


def stopped(recorder: Recorder) -> None:
    recorder.request_stop()
    assert recorder.join(20.0)


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def test_pieces_that_belong_together_are_written_as_one() -> None:
    place = Place()
    recorder, told = started(place, flush_s=60.0)
    until(lambda: recorder.state == "recording")
    ticks, rows = world().ticks, world().rows
    for at in range(0, 900, 3):
        recorder.put_ticks(at, ticks[at : at + 3])
        recorder.put_rows(2, at, rows[at : at + 3])
    recorder.put_rows(3, 0, rows[:10])
    recorder.put_rows(3, 30, rows[30:40])
    recorder.put_event(7, GapMarked(900, None))
    recorder.put_event(8, GapMarked(901, None))
    recorder.put_rebuilt(3, 900, 12, rows[:10])
    recorder.put_price_decimals((1, 2))
    stopped(recorder)
    (batch,) = place.batches
    assert [(first, len(part)) for first, part in batch.ticks] == [(0, 900)]
    assert bits(batch.ticks[0][1]) == bits(ticks[:900])
    assert [(e, f, len(part)) for e, f, part in batch.rows] == [
        (2, 0, 900),
        (3, 0, 10),
        (3, 30, 10),
    ]
    assert batch.first_event == 7
    assert batch.rebuilds[0][:4] == (3, 900, 12, 10)
    assert batch.price_decimals == (1, 2)
    assert (recorder.ticks, recorder.rows, recorder.events) == (900, 920, 2)
    assert (recorder.state, place.closed, told) == ("stopped", True, [])


def test_nothing_falls_out_while_it_fits() -> None:
    place = Place()
    recorder, told = started(place)
    until(lambda: recorder.state == "recording")
    place.failing = StorageError("the server is away")
    ticks = world().ticks
    recorder.put_ticks(0, ticks[:10])
    until(lambda: recorder.state == "waiting")
    assert recorder.error == "the server is away"
    for at in range(10, 1_000, 10):
        recorder.put_ticks(at, ticks[at : at + 10])
    until(lambda: place.tried.wait(1.0))
    assert recorder.waiting_bytes == 1_000 * ticks.itemsize
    place.failing = None
    until(lambda: recorder.state == "recording")
    stopped(recorder)
    assert bits(place.ticks()) == bits(ticks[:1_000])
    assert place.opened >= 2  # it was not known whether the place was still what it was
    error, goes_on = told
    assert error == (
        "error: cannot record to there: the server is away. The stream goes on; up to 128 MiB "
        "wait in memory, and it is tried again every second"
    )
    assert goes_on == "info: recording to there goes on; nothing is missing"
    assert recorder.lost_ticks == recorder.waiting_bytes == 0


def test_what_does_not_fit_falls_out_and_is_told(tmp_path: Path) -> None:
    place = Place()
    ticks = world().ticks
    recorder, told = started(place, buffer_bytes=100 * ticks.itemsize)
    until(lambda: recorder.state == "recording")
    place.failing = OSError(5, "Input/output error", "/there")
    for at in range(0, 300, 10):
        recorder.put_ticks(at, ticks[at : at + 10])
    recorder.put_event(0, GapMarked(150, 3))
    until(lambda: recorder.state == "waiting")
    place.failing = None
    until(lambda: recorder.state == "recording")
    recorder.put_ticks(300, ticks[300:310])
    stopped(recorder)
    assert recorder.lost_ticks == 200
    assert bits(place.ticks()) == bits(np.concatenate([ticks[:100], ticks[300:310]]))
    assert [event for batch in place.batches for event in batch.events] == [GapMarked(150, 3)]
    seconds = (ticks["time_ns"][299] - ticks["time_ns"][100]) / 1e9
    assert told[-1] == (
        f"info: recording to there goes on; 200 ticks ({seconds:.3g} s) could not be kept "
        "meanwhile: a gap is marked in it"
    )
    assert "input/output error (/there)" in told[0]


def test_what_can_never_be_ends_it() -> None:
    place = Place()
    place.failing = DataError("it holds another pair")
    recorder, told = started(place)
    assert recorder.join(20.0)
    assert (recorder.state, recorder.error) == ("failed", "it holds another pair")
    assert told == ["error: nothing more is recorded to there: it holds another pair"]
    recorder.put_ticks(0, world().ticks[:10])  # harmless
    broken = Place()
    broken.failing = ZeroDivisionError("a fault of ours")
    recorder, told = started(broken)
    assert recorder.join(20.0)
    assert (recorder.state, recorder.error) == ("failed", "ZeroDivisionError: a fault of ours")


def test_stopped_while_the_place_is_away() -> None:
    place = Place()
    place.failing = StorageError("away")
    recorder, told = started(place)
    recorder.put_ticks(0, world().ticks[:10])
    until(lambda: recorder.state == "waiting")
    stopped(recorder)
    assert recorder.state == "stopped"
    assert (
        "ended while it could not be written to (away): the last 10 ticks are not in it" in told[-1]
    )


def test_it_is_made_durable_twice_as_often_as_promised() -> None:
    place = Place()
    recorder, _ = started(place, fsync_s=0.2)
    begin_s = time.monotonic()
    at = 0
    while place.synced < 3:
        recorder.put_ticks(at, world().ticks[at : at + 1])
        at += 1
        time.sleep(0.005)
    assert time.monotonic() - begin_s >= 0.3
    stopped(recorder)


@pytest.mark.slow
def test_at_the_interpreters_exit_it_is_sealed(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from tests.storage.recording.test_recorder import *\n"
        "recorder, told = started(FolderSink(sys.argv[1]), flush_s=60.0)\n"
        "recorder.put_ticks(0, world().ticks[:10])\n"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "x"], check=True, timeout=120)
    session = RecordedSession(tmp_path / "x")
    assert (session.status, session.last_seq) == ("sealed", 9)


def feed(recorder: Recorder, pieces: list[RecordBatch]) -> None:
    for batch in pieces:
        for number, event in enumerate(batch.events, batch.first_event):
            recorder.put_event(number, event)
        for first, ticks in batch.ticks:
            recorder.put_ticks(first, ticks)
        for epoch, first, rows in batch.rows:
            recorder.put_rows(epoch, first, rows)
        recorder.put_alerts(batch.alerts)


def test_the_folder_is_gone_and_comes_back(tmp_path: Path) -> None:
    folder, away = tmp_path / "x", tmp_path / "away"
    pieces = list(batches(world(), range(200, 4_000, 200)))
    recorder, told = started(FolderSink(folder))
    feed(recorder, pieces[:5])
    until(lambda: recorder.ticks == 1_000)
    folder.rename(away)
    folder.write_text("something else is mounted here")
    feed(recorder, pieces[5:10])
    until(lambda: recorder.state in ("waiting", "failed"))
    assert recorder.state == "waiting"
    assert told[-1].startswith("error: cannot record to there: not a directory")
    folder.unlink()
    away.rename(folder)
    until(lambda: recorder.state == "recording")
    feed(recorder, pieces[10:])
    stopped(recorder)
    session = RecordedSession(folder)
    assert (session.status, session.complete, len(session.parts)) == ("sealed", True, 1)
    assert_holds(session, world())


def test_the_folder_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    pieces = list(batches(world(), range(200, 4_000, 200)))
    sink = FolderSink(folder)
    recorder, told = started(sink)
    sink._tell = lambda level, text: told.append(f"{level}: {text}")
    feed(recorder, pieces[:5])
    until(lambda: recorder.ticks == 1_000)
    shutil.rmtree(folder)
    feed(recorder, pieces[5:])
    until(lambda: recorder.ticks == 4_000)
    stopped(recorder)
    session = RecordedSession(folder)
    (hole,) = session.holes
    assert (hole.first_seq, hole.last_seq) == (0, 999)
    assert bits(ticks_of(session)) == bits(world().ticks[1_000:])
    (gone,) = [text for text in told if "was removed" in text]
    assert gone.startswith(f"warning: {folder}: the recording was removed")


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, as small as asked for."""
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={size}".encode()
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options):
        pytest.skip(f"a disk cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield folder
    finally:
        assert libc.umount2(os.fsencode(folder), 2) == 0


@pytest.mark.slow
def test_a_disk_of_16_mib_fills_and_is_freed_again(tmp_path: Path) -> None:
    ticks, rows = np.tile(world().ticks, 60), np.tile(world().rows, 60)
    ticks["id"] = np.arange(len(ticks))

    def give(recorder: Recorder, first: int, last: int) -> None:
        for at in range(first, last, 2_000):
            recorder.put_ticks(at, ticks[at : at + 2_000])
            recorder.put_rows(0, at, rows[at : at + 2_000])
            until(lambda: recorder.waiting_bytes < 400_000 or recorder.state == "waiting")

    with small_disk(tmp_path / "disk", "16m") as disk:
        ballast = disk / "ballast"
        # Less is left than one live segment takes: nothing can be sealed, so that a slow giver
        # does not leave the recorder the time to make room.
        ballast.write_bytes(bytes(13 * 1024**2))
        recorder, told = started(
            FolderSink(disk / "x", segment_bytes=4 * 1024**2), buffer_bytes=2 * 1024**2
        )
        give(recorder, 0, 100_000)
        until(lambda: recorder.state == "waiting")
        errors = [text for text in told if text.startswith("error")]
        assert len(errors) == 1
        assert "cannot record to there: no space left on device" in errors[0]
        assert recorder.lost_ticks > 0
        read = RecordedSession(disk / "x")  # what is there can be read meanwhile
        assert bits(ticks_of(read)) == bits(ticks[: read.last_seq + 1])
        ballast.unlink()
        until(lambda: recorder.state == "recording")
        after = 100_000
        give(recorder, after, after + 6_000)
        stopped(recorder)
        session = RecordedSession(disk / "x")
        assert session.damaged_files() == []
        (hole,) = session.holes
        assert hole.last_seq - hole.first_seq + 1 == recorder.lost_ticks
        assert f"{recorder.lost_ticks:,} ticks" in told[-1] or any(
            f"{recorder.lost_ticks:,} ticks" in text for text in told
        )
        want = np.concatenate([ticks[: hole.first_seq], ticks[hole.last_seq + 1 : after + 6_000]])
        assert bits(ticks_of(session)) == bits(want)
        assert GapMarked(hole.last_seq + 1, recorder.lost_ticks) in session.events()
        shutil.rmtree(disk / "x")


@pytest.mark.slow
def test_a_disk_that_becomes_read_only(tmp_path: Path) -> None:
    pieces = list(batches(world(), range(200, 4_000, 200)))
    libc = ctypes.CDLL(None, use_errno=True)
    remount, read_only = 32, 1
    with small_disk(tmp_path / "disk", "64m") as disk:
        recorder, told = started(FolderSink(disk / "x"))
        feed(recorder, pieces[:5])
        until(lambda: recorder.ticks == 1_000)
        recorder._sink._segment.close()  # type: ignore[attr-defined]  # open for writing: no remount
        recorder._sink._lock.release()  # type: ignore[attr-defined]
        recorder._sink._lock = None  # type: ignore[attr-defined]
        recorder._sink._segment = None  # type: ignore[attr-defined]
        flags = remount | read_only
        assert libc.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", flags, b"size=64m") == 0
        feed(recorder, pieces[5:10])
        until(lambda: "read-only file system" in recorder.error)
        assert libc.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", remount, b"size=64m") == 0
        until(lambda: recorder.state == "recording")
        feed(recorder, pieces[10:])
        stopped(recorder)
        assert_holds(RecordedSession(disk / "x"), world())
        assert len([text for text in told if "read-only" in text]) == 1
