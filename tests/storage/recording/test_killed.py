"""kill -9 at random instants, again and again in the same folder: a second is missing at most."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pairlab.storage.recording.folder_sink import FolderSink
from pairlab.storage.recording.recorded_session import RecordedSession
from pairlab.storage.recording.sink import RecordingInfo
from tests.storage.recording import killed
from tests.storage.recording.sessions import bits, ticks_of

KILLS = int(os.environ.get("PAIRLAB_KILLS", "10"))  # 50 take two minutes


def checked(session: RecordedSession, ended: dict[int, tuple[int, int]]) -> None:
    """Of each child: its ticks from the first one on, unbroken, and no second of them missing."""
    found: dict[int, list[np.ndarray]] = {}
    expected = 0
    for first, ticks in session.ticks():
        assert first >= expected  # none twice
        expected = first + len(ticks)
        for child in np.unique(ticks["id"] // 10**9).tolist():
            found.setdefault(child, []).append(ticks[ticks["id"] // 10**9 == child])
    for child, (put, last_ns) in ended.items():
        ticks = np.concatenate(found.get(child, [killed.ticks_of(child, 0, 0, 0)]))
        want = killed.ticks_of(child, 0, len(ticks), 0)
        for name in ("id", "leg", "price", "quantity", "buyer_is_maker"):
            assert (ticks[name] == want[name]).all()  # none torn, none left out
        assert len(ticks) <= put
        if len(ticks) < put:
            begun_ns = int(ticks["time_ns"][-1]) if len(ticks) else last_ns - 10**9
            # Nothing is stored before the folder is open: for that, children come too early.
            assert last_ns - begun_ns <= 1_000_000_000


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.timeout(400)
def test_a_second_is_missing_at_most(tmp_path: Path) -> None:
    folder, progress = tmp_path / "recording", tmp_path / "progress"
    ended: dict[int, tuple[int, int]] = {}
    command = [sys.executable, "-m", "tests.storage.recording.killed", folder, progress, str(KILLS)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        for line in driver.stdout:
            child, put, last_ns = killed.PROGRESS.unpack(progress.read_bytes())
            assert int(line) == child
            ended[child] = put, last_ns
            if (folder / "manifest.json").exists():
                checked(RecordedSession(folder), {child: ended[child]})
            driver.stdin.write("\n")
            driver.stdin.flush()
    assert driver.returncode == 0
    assert len(ended) == KILLS
    before = RecordedSession(folder)
    checked(before, ended)
    sink = FolderSink(folder)
    sink.open(
        RecordingInfo("end", before.pair, "trade", "TEST", False, None, before.settings, 0)
    )  # fmt: skip
    sink.close()
    sealed = RecordedSession(folder)
    assert sealed.damaged_files() == []
    checked(sealed, ended)
    assert sum(len(ticks) for _, ticks in sealed.ticks()) > KILLS * 1_000


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_while_it_seals_what_the_last_one_left(tmp_path: Path) -> None:
    """A start writes at once what comes in: it does not wait until old segments are sealed."""
    folder, progress = tmp_path / "recording", tmp_path / "progress"
    command = [sys.executable, "-m", "tests.storage.recording.killed", folder, progress]
    for count in ("1", "0"):
        ran = subprocess.run(
            [*command, count], stdout=subprocess.PIPE, text=True, check=True, timeout=120
        )
    assert ran.stdout.split() == ["sealing", "1000"]  # in vain, until it was killed
    child, put, last_ns = killed.PROGRESS.unpack(progress.read_bytes())
    session = RecordedSession(folder)
    assert (session.status, len(session.parts)) == ("interrupted", 2)
    ticks = ticks_of(session)
    assert (np.diff(ticks["id"] // 10**9) >= 0).all()
    stored = ticks[ticks["id"] // 10**9 == child]
    assert put > 5_000
    assert last_ns - int(stored["time_ns"][-1]) <= 1_000_000_000
    checked(session, {child: (put, last_ns)})
    sink = FolderSink(folder)
    sink.open(
        RecordingInfo("end", session.pair, "trade", "TEST", False, None, session.settings, 0)
    )  # fmt: skip
    sink.close()
    sealed = RecordedSession(folder)
    assert sealed.damaged_files() == []
    assert sealed.holes == ()
    assert bits(ticks) == bits(ticks_of(sealed))
