"""A process may be killed between any two steps: the next start repairs, to the same result."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from pairlab.storage.recording.durable import Step, no_step
from pairlab.storage.recording.folder_sink import FolderSink
from pairlab.storage.recording.live_segment import FrameKind, scan
from pairlab.storage.recording.manifest import Manifest
from pairlab.storage.recording.recorded_session import RecordedSession
from pairlab.storage.recording.sealing import recover, segment_path
from tests.storage.recording.sessions import (
    World,
    assert_holds,
    batches,
    bits,
    files_of,
    info,
    ticks_of,
    world,
)


class Killed(BaseException):
    """The process ends here: nothing that it would have done afterwards is done."""


def killed_at(number: int) -> Step:
    """Return a step callback that ends it after so many steps."""
    left = [number]

    def step(name: str) -> None:
        left[0] -= 1
        if not left[0]:
            raise Killed(name)

    return step


def interrupted(folder: Path, segments: int = 2, of: World | None = None) -> Path:
    """A recording whose writer is gone, with so many live segments."""
    of = of or world()
    sink = FolderSink(folder)
    sink.open(info())
    sealing, sink._sealing = sink._sealing, None  # nobody seals what is full
    assert sealing is not None
    sealing.close()
    sink._day = sink._segment_day = 10**6  # no midnight
    for at, batch in enumerate(batches(of, range(100, len(of.ticks), 300))):
        sink.write(batch)
        if segments == 2 and at == 1:
            assert sink._segment is not None
            sink._rotate(sink._segment)
    sink._release()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        name: (folder / name).read_bytes() for name in files_of(folder) if name != "manifest.json"
    }


def test_an_interrupted_recording_is_whole_before_and_after_recovery(tmp_path: Path) -> None:
    interrupted(tmp_path)
    session = RecordedSession(tmp_path)
    assert session.status == "interrupted"
    assert_holds(session, world())
    manifest, done = recover(tmp_path, Manifest.load(tmp_path))
    assert str(done) == "recovered a recording that was not sealed: 2 live segments, nothing torn"
    assert manifest == Manifest.load(tmp_path)
    session.refresh()
    assert session.status == "interrupted"  # nobody has written to it since
    assert session.complete
    assert_holds(session, world())
    assert recover(tmp_path, manifest)[1].segments == 0


@pytest.mark.slow
def test_a_kill_after_every_step_of_sealing(tmp_path: Path) -> None:
    few = world(600)
    template = interrupted(tmp_path / "template", of=few)
    names: list[str] = []
    whole = tmp_path / "whole"
    shutil.copytree(template, whole)
    want, _ = recover(whole, Manifest.load(whole), names.append)
    assert len(names) > 40
    assert {name.split()[0] for name in names} == {"wrote", "synced", "renamed", "named", "removed"}
    for number in range(1, len(names) + 1):
        folder = tmp_path / str(number)
        shutil.copytree(template, folder)
        with pytest.raises(Killed, match=names[number - 1]):
            recover(folder, Manifest.load(folder), killed_at(number))
        assert_holds(RecordedSession(folder), few)
        with contextlib.suppress(Killed):  # again, and only then left in peace
            recover(folder, Manifest.load(folder), killed_at(2))
        for _ in range(2):
            manifest, _ = recover(folder, Manifest.load(folder))
            assert manifest == want
            assert contents(folder) == contents(whole)
        assert_holds(RecordedSession(folder), few)
        shutil.rmtree(folder)


PROGRAM = """
import os, signal, sys
from pathlib import Path
from pairlab.storage.recording.live_segment import FrameKind, scan
from pairlab.storage.recording.manifest import Manifest
from pairlab.storage.recording.sealing import recover
left = int(sys.argv[2])
def step(name):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
recover(Path(sys.argv[1]), Manifest.load(Path(sys.argv[1])), step)
"""


@pytest.mark.slow
def test_a_process_killed_while_it_seals(tmp_path: Path) -> None:
    """The same with the system's own kill, at steps of each kind."""
    template = interrupted(tmp_path / "template")
    whole = tmp_path / "whole"
    shutil.copytree(template, whole)
    want, _ = recover(whole, Manifest.load(whole))
    for number in (2, 11, 24):
        folder = tmp_path / str(number)
        shutil.copytree(template, folder)
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder), str(number)], check=False
        )
        assert ended.returncode == -signal.SIGKILL
        manifest, _ = recover(folder, Manifest.load(folder))
        assert manifest == want
        assert contents(folder) == contents(whole)


def test_a_torn_tail_is_told_in_ticks_and_seconds(tmp_path: Path) -> None:
    interrupted(tmp_path, segments=1)
    path = segment_path(tmp_path, 1)
    torn = [frame for frame in scan(path).frames if frame.kind is FrameKind.TICKS][8]
    os.truncate(path, torn.offset + torn.length - 1)
    manifest, done = recover(tmp_path, Manifest.load(tmp_path))
    (loss,) = manifest.losses
    session = RecordedSession(tmp_path)
    assert session.losses == (loss,)
    assert not session.complete
    text = str(done)
    assert f"{loss.ticks:,} ticks ({loss.seconds:.3g} s) lost in {loss.nbytes:,} torn bytes" in text
    assert_holds(session, world(), session.last_seq + 1)
    lost = world().ticks[torn.first : torn.last + 1]
    assert session.last_seq == torn.first - 1
    assert loss.ticks == len(lost)
    assert (loss.first_ns, loss.last_ns) == (lost["time_ns"].min(), lost["time_ns"].max())


def test_a_frame_lost_in_the_middle_is_a_gap(tmp_path: Path) -> None:
    interrupted(tmp_path, segments=1)
    path = segment_path(tmp_path, 1)
    frames = [f for f in scan(path).frames if f.kind is FrameKind.TICKS]
    raw = bytearray(path.read_bytes())
    raw[frames[3].offset + 100] ^= 1
    path.write_bytes(raw)
    before = RecordedSession(tmp_path)
    assert before.damaged_files() == ["live/000001.frames"]
    manifest, _ = recover(tmp_path, Manifest.load(tmp_path))
    (hole,) = manifest.holes
    assert (hole.first_seq, hole.last_seq) == (frames[3].first, frames[3].last)
    (loss,) = manifest.losses
    assert loss.ticks == frames[3].records
    assert before.holes == RecordedSession(tmp_path).holes == (hole,)


def test_the_next_writer_recovers_and_goes_on(tmp_path: Path) -> None:
    interrupted(tmp_path)
    told: list[str] = []
    sink = FolderSink(tmp_path, tell=lambda level, text: told.append(f"{level} {text}"))
    sink.open(info("two"))
    sink.close()  # by then it is sealed, on a thread beside
    assert told == [
        f"info {tmp_path}: recovered a recording that was not sealed: 2 live segments, nothing torn"
    ]
    session = RecordedSession(tmp_path)
    assert (session.status, len(session.parts)) == ("sealed", 2)
    recover(tmp_path, Manifest.load(tmp_path), no_step)
    assert RecordedSession(tmp_path).status == "sealed"


def test_what_was_left_is_sealed_while_the_next_session_is_written(tmp_path: Path) -> None:
    """Readers see both, and so does a start after a kill at that moment."""
    folder = interrupted(tmp_path / "recording")
    sealing, go_on = threading.Event(), threading.Event()

    def step(name: str) -> None:
        if name.startswith("wrote ticks"):
            sealing.set()
            assert go_on.wait(60)

    of = world()
    sink = FolderSink(folder, step=step)
    sink.open(info("two"))
    try:
        assert sealing.wait(60)
        for batch in batches(of, range(100, len(of.ticks), 300)):
            sink.write(batch)
        session = RecordedSession(folder)
        assert [part.last_seq - part.first_seq + 1 for part in session.parts] == [len(of.ticks)] * 2
        assert session.status == "recording"
        assert session.sealed_files == 0
        killed = shutil.copytree(folder, tmp_path / "killed")
    finally:
        go_on.set()
        sink.close()
    third = FolderSink(killed)
    third.open(info("three"))
    third.close()
    killed_session = RecordedSession(killed)
    for sealed in (RecordedSession(folder), killed_session):
        assert sealed.holes == session.holes == ()
        assert sealed.complete
        assert sealed.damaged_files() == []
        assert [part[:4] for part in sealed.parts[:2]] == [part[:4] for part in session.parts]
        assert bits(ticks_of(sealed)) == bits(ticks_of(session)) == bits(np.tile(of.ticks, 2))
        gaps = sealed is not killed_session  # a third part, without a tick, is behind one
        assert repr(sealed.events(recording_gaps=gaps)) == repr(session.events(recording_gaps=gaps))
        assert repr(sealed.alerts()) == repr(session.alerts())
        numbers = [
            [(e, first, len(rows)) for e, first, rows in s.rows()] for s in (sealed, session)
        ]
        assert numbers[0][0] == (0, 0, numbers[0][0][2])
        assert sum(n[2] for n in numbers[0]) == sum(n[2] for n in numbers[1]) == 2 * len(of.rows)


def test_a_disk_that_fills_while_what_was_left_is_sealed(tmp_path: Path) -> None:
    """One of two old segments is sealed, the other is tried again: neither is forgotten."""
    interrupted(tmp_path)
    told: list[str] = []
    fails = [True]

    def step(name: str) -> None:
        if fails[0] and name.startswith("renamed") and "000002" in name:
            fails[0] = False
            raise OSError(errno.ENOSPC, "No space left on device")

    sink = FolderSink(tmp_path, tell=lambda level, text: told.append(f"{level} {text}"), step=step)
    sink.open(info("two"))
    sink._join_sealing()
    assert [text.split()[0] for text in told] == ["warning"]
    assert "could not seal a full segment" in told[0]
    assert bits(ticks_of(RecordedSession(tmp_path))) == bits(world().ticks)
    sink.sync()
    sink.close()
    session = RecordedSession(tmp_path)
    assert session.damaged_files() == []
    assert not list((tmp_path / "live").glob("*.frames"))
    assert bits(ticks_of(session)) == bits(world().ticks)
    assert sum(len(rows) for _, _, rows in session.rows()) == len(world().rows)
    assert "recovered a recording that was not sealed: 1 live segments" in told[1]
