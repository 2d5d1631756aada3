"""A folder as a place: rotation, limits, the lock, and what ends a segment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairlab.errors import DataError
from pairlab.storage.recording.durable import no_step
from pairlab.storage.recording.folder_lock import FolderLock, LockedError, is_locked
from pairlab.storage.recording.folder_sink import FolderSink
from pairlab.storage.recording.manifest import Manifest
from pairlab.storage.recording.recorded_session import RecordedSession
from pairlab.storage.recording.retention import drop_oldest
from pairlab.storage.recording.sealing import recover
from pairlab.storage.recording.sink import RecordBatch
from tests.storage.recording.sessions import (
    assert_holds,
    batches,
    bits,
    files_of,
    info,
    ticks_of,
    world,
)
from tests.storage.recording.test_sealing import Killed, killed_at


class Clock:
    """Time that passes when the test says so."""

    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def time_ns(self) -> int:
        return int(self.now_s * 1e9)


def opened(folder: Path, **options: Any) -> FolderSink:
    sink = FolderSink(folder, **options)
    sink.open(info())
    return sink


def segments(folder: Path) -> set[int]:
    return {file.segment for file in Manifest.load(folder).files}


def test_a_segment_ends_when_it_is_large_old_or_of_yesterday(tmp_path: Path) -> None:
    clock = Clock()
    day_ns = 86_400_000_000_000
    ticks = world().ticks[:100].copy()
    ticks["time_ns"] = 20_000 * day_ns + np.arange(100)
    for name, until in (
        ("large", {"segment_bytes": 2_000}),
        ("old", {"segment_s": 60.0}),
        ("day", {}),
    ):
        sink = opened(tmp_path / name, clock=clock, **until)
        sink.write(RecordBatch(ticks=[(0, ticks[:10])]))
        if name == "old":
            clock.now_s += 61
        if name == "day":
            ticks["time_ns"][50:] += day_ns
        sink.write(RecordBatch(ticks=[(10, ticks[10:60])]))
        sink.write(RecordBatch(ticks=[(60, ticks[60:])]))
        sink.close()
        assert len(segments(tmp_path / name)) == 2
        assert bits(ticks_of(RecordedSession(tmp_path / name))) == bits(ticks)


def test_sealed_files_are_of_bounded_size(tmp_path: Path) -> None:
    sink = opened(tmp_path, segment_bytes=300_000)
    for batch in batches(world(), range(50, 4_000, 50)):
        sink.write(batch)
        assert len(list((tmp_path / "live").glob("*.frames"))) >= 1
    sink.close()
    assert len(segments(tmp_path)) > 3
    assert sink.nbytes == sum(p.stat().st_size for p in tmp_path.rglob("*.parquet"))
    assert_holds(RecordedSession(tmp_path), world())


def test_one_writer_a_folder(tmp_path: Path) -> None:
    sink = opened(tmp_path)
    assert is_locked(tmp_path)
    other = FolderSink(tmp_path, lock_timeout_s=0.0)
    with pytest.raises(LockedError, match=f"by process {os.getpid()} on .*: expected a folder"):
        other.open(info())
    assert RecordedSession(tmp_path).status == "recording"
    sink.close()
    assert not is_locked(tmp_path)
    assert not is_locked(tmp_path / "nowhere")
    other.open(info())  # a lock file without a holder is no lock
    other.close()


def test_a_lock_of_a_dead_process_is_none(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("process 1 on this machine\n")
    lock = FolderLock(tmp_path, timeout_s=0.0)
    assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on ")
    lock.release()


# -- retention -------------------------------------------------------------------------------------


def small_segments(folder: Path, **options: Any) -> FolderSink:
    sink = opened(folder, segment_bytes=200_000, **options)
    for batch in batches(world(), range(200, 4_000, 200)):
        sink.write(batch)
    return sink


def test_the_oldest_files_go_and_nothing_else(tmp_path: Path) -> None:
    small_segments(tmp_path).close()
    strangers = dict.fromkeys(
        ("notes.txt", "ticks/symbol=BTCUSDT/date=2024-08-08/mine.parquet", "rows/x"), b"not ours"
    )
    for name, content in strangers.items():
        (tmp_path / name).write_bytes(content)
    manifest = Manifest.load(tmp_path)
    before, total = files_of(tmp_path), sum(file.nbytes for file in manifest.files)
    after = drop_oldest(tmp_path, manifest, max_bytes=total // 2)
    assert after == Manifest.load(tmp_path)
    gone = {file.path for file in manifest.files} - {file.path for file in after.files}
    assert set(before) - set(files_of(tmp_path)) == gone
    assert len(gone) == after.dropped.files >= 8
    assert sum(file.nbytes for file in after.files) <= total // 2
    assert {name: (tmp_path / name).read_bytes() for name in strangers} == strangers
    session = RecordedSession(tmp_path)
    assert session.first_seq == after.dropped.last_seq + 1
    assert bits(ticks_of(session)) == bits(world().ticks[session.first_seq :])
    assert not session.complete
    assert session.damaged_files() == []
    assert drop_oldest(tmp_path, after, max_bytes=total) is after


def test_a_kill_while_files_are_dropped(tmp_path: Path) -> None:
    for number in range(1, 12):
        folder = tmp_path / str(number)
        small_segments(folder).close()
        manifest = Manifest.load(folder)
        total = sum(file.nbytes for file in manifest.files)
        try:
            drop_oldest(folder, manifest, max_bytes=total // 2, step=killed_at(number))
        except Killed:
            pass
        else:
            pytest.fail("there are fewer steps than that")
        named = {file.path for file in Manifest.load(folder).files}
        manifest, _ = recover(folder, Manifest.load(folder), no_step)
        left = {name for name in files_of(folder) if name.endswith(".parquet")}
        assert left == {file.path for file in manifest.files} == named
        assert manifest.dropping == []


def test_limits_are_kept_while_it_runs(tmp_path: Path) -> None:
    told: list[str] = []
    clock = Clock()
    sink = FolderSink(
        tmp_path, max_age_s=3_600.0, segment_bytes=200_000, clock=clock,
        tell=lambda level, text: told.append(text),
    )  # fmt: skip
    sink.open(info())
    pieces = list(batches(world(), range(200, 4_000, 200)))
    for batch in pieces[:10]:
        sink.write(batch)
    sink._join_sealing()
    whole = len(Manifest.load(tmp_path).files)
    assert whole > 4
    assert told == []
    newest_s = max(file.written_ns for file in Manifest.load(tmp_path).files) / 1e9
    clock.now_s = newest_s + 3_601
    for batch in pieces[10:]:
        sink.write(batch)
    sink.sync()
    sink._join_sealing()
    assert any("old files removed, as its limits ask" in text for text in told)
    assert Manifest.load(tmp_path).dropped.files >= whole
    sink.close()
    assert RecordedSession(tmp_path).last_seq == 3_999


def test_max_bytes_bounds_what_the_folder_takes(tmp_path: Path) -> None:
    limit = 1_200_000
    sink = small_segments(tmp_path, max_bytes=limit)
    for again in range(4):
        ticks, rows = world().ticks, world().rows
        first = 4_000 * (again + 1)
        for at in range(0, 4_000, 250):
            sink.write(
                RecordBatch(
                    ticks=[(first + at, ticks[at : at + 250])],
                    rows=[(0, len(rows) + first + at, rows[at : at + 250])],
                )
            )
            sink._join_sealing()
            used = sum(path.stat().st_size for path in tmp_path.rglob("*.*"))
            assert used <= limit + 60_000  # and the manifest
    sink.close()
    assert Manifest.load(tmp_path).dropped.files > 0


# -- what cannot be -----------------------------------------------------------------------------


def test_live_segments_without_a_manifest_are_not_thrown_away(tmp_path: Path) -> None:
    sink = opened(tmp_path)
    sink.write(RecordBatch(ticks=[(0, world().ticks[:10])]))
    sink._release()
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"live segments and no manifest.json"):
        FolderSink(tmp_path).open(info())
    assert (tmp_path / "live" / "000001.frames").stat().st_size > 500


def test_a_file_that_the_recorder_did_not_write_is_not_overwritten(tmp_path: Path) -> None:
    sink = opened(tmp_path)
    sink.write(RecordBatch(ticks=[(0, world().ticks[:1])]))
    leg = "BTCUSDT" if world().ticks["leg"][0] == 0 else "ETHUSDT"
    other = tmp_path / "ticks" / f"symbol={leg}" / "date=2024-08-08" / "000001.parquet"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"somebody else's")
    with pytest.raises(OSError, match="not of this recording"):
        sink.close()
    assert other.read_bytes() == b"somebody else's"
    assert RecordedSession(tmp_path).last_seq == 0
    other.unlink()
    sink.open(info())
    sink.close()
    assert RecordedSession(tmp_path).status == "sealed"
