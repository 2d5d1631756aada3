"""A torn or damaged frame costs that frame, and never the file."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairlab.errors import DataError
from pairlab.storage.recording.live_segment import (
    MAX_RECORDS,
    FrameKind,
    LiveSegment,
    frames_of,
    note_frame,
    read_note,
    read_table,
    scan,
)
from pairlab.storage.recording.sink import RecordBatch
from pairlab.storage.tables import ticks_of
from tests.storage.recording.sessions import PAIR, batches, bits, world


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / "000001.frames"
    live = LiveSegment(path)
    for batch in batches(world(), range(100, 4_000, 400)):
        live.append(frames_of(batch, PAIR))
    live.close()
    return path


def test_a_thousand_cuts_leave_every_whole_frame(segment: Path) -> None:
    whole, found = segment.read_bytes(), scan(segment)
    assert found.torn == []
    assert found.end == len(whole)
    ends = np.array([frame.offset + frame.length for frame in found.frames])
    assert len(ends) > 30
    cut_file = segment.with_name("cut")
    for cut in np.random.default_rng(1).integers(0, len(whole), 1_000).tolist():
        cut_file.write_bytes(whole[:cut])
        after = scan(cut_file)
        left = int((ends <= cut).sum())
        assert after.frames == found.frames[:left]
        assert after.end == (ends[left - 1] if left else 0)
        lost = sum(torn.length for torn in after.torn)
        assert after.end + lost == cut
        if lost >= 60:  # its header is whole: what it held can be told
            (torn,) = after.torn
            frame = found.frames[left]
            assert (torn.kind, torn.records) == (frame.kind, frame.records)
            assert (torn.low, torn.high) == (frame.low, frame.high)


def test_a_flipped_bit_costs_one_frame(segment: Path) -> None:
    whole, found = segment.read_bytes(), scan(segment)
    damaged = segment.with_name("damaged")
    random = np.random.default_rng(2)
    for at in random.integers(0, len(whole), 300).tolist():
        flipped = bytes([whole[at] ^ 1 << int(random.integers(8))])
        damaged.write_bytes(whole[:at] + flipped + whole[at + 1 :])
        after = scan(damaged)
        hit = [f for f in found.frames if f.offset - 60 <= at < f.offset + f.length]
        assert after.frames == [frame for frame in found.frames if frame not in hit]
        assert [torn.offset for torn in after.torn] == [hit[0].offset - 60]


def test_frames_say_what_they_hold(segment: Path) -> None:
    ticks = world().ticks
    at = 0
    for frame in scan(segment).frames:
        if frame.kind is FrameKind.TICKS:
            assert (frame.first, frame.last) == (at, at + frame.records - 1)
            seq, held = ticks_of(read_table(segment, frame), PAIR)
            assert seq.tolist() == list(range(frame.first, frame.last + 1))
            assert bits(held) == bits(ticks[at : at + frame.records])
            assert (frame.low, frame.high) == (held["time_ns"].min(), held["time_ns"].max())
            at += frame.records
    assert at == len(ticks)


def test_large_batches_become_several_frames(tmp_path: Path) -> None:
    ticks = np.resize(world().ticks, MAX_RECORDS + 10)
    live = LiveSegment(tmp_path / "a")
    live.append(frames_of(RecordBatch(ticks=[(5, ticks)]), PAIR))
    live.close()
    spans = [(frame.first, frame.last) for frame in scan(tmp_path / "a").frames]
    assert spans == [(5, MAX_RECORDS + 4), (MAX_RECORDS + 5, MAX_RECORDS + 14)]


def test_what_is_no_frame_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a"
    frame = b"".join(note_frame({"rebuild": 1}))
    for text in (b"", b"PLf1", b"PLf1" * 100, b"\0" * 500, os.urandom(500)):
        path.write_bytes(text + frame + text + frame)
        found = scan(path)
        assert [read_note(path, note) for note in found.frames] == [{"rebuild": 1}] * 2
        assert sum(torn.length for torn in found.torn) == 2 * len(text)
    path.write_bytes(b"".join(note_frame([1])))  # type: ignore[arg-type]
    (note,) = scan(path).frames
    with pytest.raises(DataError, match="is no note"):
        read_note(path, note)
    with pytest.raises(DataError, match="is no table"):
        read_table(path, note)


def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    live = LiveSegment(path)
    batch = RecordBatch(ticks=[(0, world().ticks[:500])])
    live.append(frames_of(batch, PAIR))
    before = path.read_bytes()
    write = os.write

    def half(file: int, data: Any) -> int:
        if len(data) < 20_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space left"):
        live.append(frames_of(batch, PAIR))
    monkeypatch.undo()
    assert path.read_bytes() == before
    live.append(frames_of(RecordBatch(ticks=[(500, world().ticks[500:600])]), PAIR))
    live.close()
    assert [(f.first, f.last) for f in scan(path).frames] == [(0, 499), (500, 599)]


def test_writing_into_a_file_that_is_gone_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    live = LiveSegment(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        live.append(note_frame({}))
    path.write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="another file"):
        live.append(note_frame({}))
    live.close()
