"""What a lab does is recorded so that a replay makes the same rows, whenever it was asked for."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairlab import PairLab, PairlabError, SettingError
from pairlab.clock import SYSTEM_CLOCK
from pairlab.data.alert_log import AlertLog
from pairlab.data.journal import EngineStarted, Rebuilt
from pairlab.engine import compile_kernel
from pairlab.feeds.base import FeedInfo
from pairlab.lab.pipeline import Pipeline
from pairlab.lab.record.recording import Recording
from pairlab.lab.record.target import Target
from pairlab.lab.verification.journal_replay import JournalReplay
from pairlab.schema import Pair, Records
from pairlab.storage.recording.recorded_session import RecordedSession
from pairlab.storage.recording.sink import RebuiltRows
from tests.lab.test_journal import STEPS, TICKS, Live
from tests.storage.recording.conftest import folder_in_memory
from tests.storage.recording.sessions import bits, ticks_of

PAIR = Pair("BTCUSDT", "ETHUSDT")


class Shown:
    """A tap that keeps the rows by their numbers, and each rebuild's digest."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int], bytes] = {}
        self.rebuilds: list[RebuiltRows] = []

    def on_ticks(self, first: int, ticks: Records) -> None:
        """Ticks are known."""

    def on_alerts(self, alerts: AlertLog) -> None:
        """Alerts are compared at the end."""

    def on_rows(self, epoch: int, first: int, rows: Records) -> None:
        self.rows |= {(epoch, first + at): row.tobytes() for at, row in enumerate(rows)}

    def on_rebuilt(self, epoch: int, tick: int, count: int, held: Records) -> None:
        self.on_rows(epoch, count - len(held), held)
        digest = hashlib.sha256(held.tobytes()).hexdigest()
        self.rebuilds.append(RebuiltRows(epoch, tick, count, len(held), digest))


def record(pipeline: Pipeline, folder: Path, told: list[str] | None = None) -> Recording:
    told = [] if told is None else told
    return Recording(
        pipeline, Target(folder), rows=True, pair=PAIR, info=FeedInfo("SIMULATED", False, "trade"),
        price_decimals=lambda: (1, 2), tell=lambda level, text: told.append(text),
        clock=SYSTEM_CLOCK,
    )  # fmt: skip


def proved(session: RecordedSession, until: Pipeline | None = None) -> int:
    """Replay a recording; return how many of its rows were made again, to the last bit."""
    (part,) = session.parts
    assert part.complete
    replay, shown = JournalReplay(part.settings, session.events()), Shown()
    replay.pipeline.taps = (shown,)
    for _, ticks in session.ticks(block=311):
        replay.on_ticks(ticks)
    replay.finish()
    count = 0
    for epoch, first, rows in session.rows():
        for at, row in enumerate(rows):
            assert shown.rows[epoch, first + at] == row.tobytes()
        count += len(rows)
    assert list(session.rebuilds) == shown.rebuilds[len(shown.rebuilds) - len(session.rebuilds) :]
    assert repr(session.alerts()) == repr(replay.pipeline.alert_log.alerts())
    if until is not None:
        assert replay.pipeline.rows.view().tobytes() == until.rows.view().tobytes()
    return count


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    compile_kernel()


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(steps=STEPS, begin=st.integers(0, 24), stops=st.lists(st.integers(0, 24), max_size=2))
def test_a_recording_gives_the_rows_again(
    steps: list[tuple[str, Any]], begin: int, stops: list[int]
) -> None:
    """Asked for at any time, ended and asked for again, it is one session and holds the whole."""
    live, folder = Live(), folder_in_memory()
    live.settings.ticks_held = 5_000  # nothing is forgotten before it begins
    recording: Recording | None = None
    for at, (what, value) in enumerate(steps):
        if at >= begin and recording is None:
            recording = record(live.pipeline, folder)
        if at in stops and recording is not None:
            asyncio.run(recording.stop())
            recording = None
        if what != "reset" or recording is not None:  # what was reset before is not recorded
            live.step(what, value)
    live.finish()
    recording = recording or record(live.pipeline, folder)
    live.give(300)
    asyncio.run(recording.stop())
    session = RecordedSession(folder)
    assert bits(ticks_of(session)) == bits(live.ticks())
    assert repr(session.events()) == repr(list(live.pipeline.journal))
    kept = live.pipeline.alert_log.alerts()  # since the last reset
    assert repr(session.alerts()[-len(kept) or len(session.alerts()) :]) == repr(kept)
    proved(session, live.pipeline)
    shutil.rmtree(folder)


def test_rows_and_rebuilds_are_as_they_were_first_shown() -> None:
    """Rings of 1,000 overflow, a rebuild races the ticks, a queue is emptied in between."""
    live, folder = Live(), folder_in_memory()
    recording = record(live.pipeline, folder)
    live.give(300)
    live.pipeline.start_engine()
    for name, value, count in (("window", 20, 1_500), ("hedge", "ols", 700), ("entry_z", 1.0, 600)):
        live.settings.update(**{name: value})
        live.give(count)
        live.finish()
    live.give(900)
    asyncio.run(recording.stop())
    session = RecordedSession(folder)
    (part,) = session.parts
    replay, shown = JournalReplay(part.settings, session.events()), Shown()
    replay.pipeline.taps = (shown,)
    replay.on_ticks(ticks_of(session))
    recorded = {
        (e, f + i): r.tobytes() for e, f, rows in session.rows() for i, r in enumerate(rows)
    }
    assert recorded.items() <= shown.rows.items()
    assert {epoch for epoch, _ in recorded} == {0, 1, 2}
    assert len(recorded) >= 3_900  # one a tick, but for those before both legs had traded
    assert session.rebuilds == tuple(shown.rebuilds)
    assert len(session.rebuilds) == 2
    assert [type(e) for e in session.events()].count(Rebuilt) == 2
    assert repr(recording).startswith(f"<Recording to {folder}: stopped, 4,000 ticks, 3,9")
    shutil.rmtree(folder)


def test_what_the_lab_has_forgotten_cannot_be_proved(tmp_path: Path) -> None:
    live, folder = Live(), folder_in_memory()
    live.give(300)
    live.pipeline.start_engine()
    live.settings.entry_z = 1.5
    live.give(1_700)
    live.settings.fee_bps = 1.0
    recording = record(live.pipeline, folder)
    live.settings.fee_bps = 2.0
    live.give(100)
    asyncio.run(recording.stop())
    session = RecordedSession(folder)
    assert not session.complete
    assert (session.first_seq, session.last_seq) == (1_000, 2_099)
    assert bits(ticks_of(session)) == bits(TICKS[1_000:2_100])
    assert (session.settings.entry_z, session.settings.fee_bps) == (1.5, 4.0)
    assert [event.tick for event in session.events()] == [2_000, 2_000]
    assert not any(isinstance(event, EngineStarted) for event in session.events())
    shutil.rmtree(folder)


def test_a_queued_view_is_not_written_to(tmp_path: Path) -> None:
    """The thread may be slow: what it was given stays, though the rings go round."""
    live = Live()
    live.pipeline.start_engine()
    shown, copies = Shown(), []
    kept: list[tuple[Records, bytes]] = []
    shown.on_rows = lambda epoch, first, rows: kept.append((rows, rows.tobytes()))  # type: ignore[method-assign]
    live.pipeline.taps = (shown,)
    for _ in range(40):
        live.give(97)
    for rows, was in kept:
        copies.append(rows.tobytes() == was)
    assert all(copies)
    assert len(copies) == 40


# -- a lab's own -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_task_left")
@pytest.mark.slow
async def test_a_lab_is_recorded_until_it_stops(tmp_path: Path) -> None:
    lab = PairLab(feed="demo", entry_z=1.0, min_correlation=-1.0)
    async with lab:
        recording = lab.record(tmp_path / "one")
        assert recording.state == "opening"
        assert await recording.wait_opened() == "recording"
        await lab.wait_async(50)
        lab.settings.window = 20
        await lab.wait_async(100)
        assert lab.recording is recording
    assert recording.state == "stopped"
    assert recording.duration_s > 0
    session = await asyncio.to_thread(RecordedSession, tmp_path / "one")
    assert (session.status, session.feed, session.stream) == ("sealed", "SIMULATED", "aggTrade")
    assert session.price_decimals == lab.price_decimals()
    held = lab._pipeline.ticks.view()
    assert bits(ticks_of(session)) == bits(held)
    assert (recording.ticks, recording.events) == (len(held), len(list(lab.journal)))
    assert session.versions["numpy"] == np.__version__
    assert await asyncio.to_thread(proved, session, lab._pipeline) > 90
    assert recording.nbytes == sum(p.stat().st_size for p in (tmp_path / "one").rglob("*.parquet"))


@pytest.mark.slow
@pytest.mark.usefixtures("no_task_left")
async def test_two_recordings_of_one_lab(tmp_path: Path) -> None:
    async with PairLab(feed="demo") as lab:
        first = lab.record(tmp_path / "one")
        second = lab.record(tmp_path / "two", rows=False)
        await lab.wait_async(30)
        same = lab.record(tmp_path / "one")
        assert await same.wait_opened() == "failed"
        assert "is being recorded to by process" in same.error
        assert [e.level for e in lab.event_log if "is being recorded to" in e.message] == ["error"]
        await second.stop()
        await second.stop()
        assert (second.state, first.state) == ("stopped", "recording")
        before = second.ticks
        await lab.wait_async(lab.health().rows + 10)
    assert second.ticks == before < first.ticks
    one = await asyncio.to_thread(RecordedSession, tmp_path / "one")
    two = await asyncio.to_thread(RecordedSession, tmp_path / "two")
    assert bits(ticks_of(two)) == bits(ticks_of(one)[:before])
    assert list(two.rows()) == []


@pytest.mark.usefixtures("no_task_left")
async def test_a_lab_that_replaces_another_goes_on_in_its_folder(tmp_path: Path) -> None:
    """The cell run again: the first lab seals, the second waits for that and continues."""
    for _ in range(2):
        lab = PairLab(feed="demo")
        lab.start()
        recording = lab.record(tmp_path)
        await lab.wait_async(20)
    await lab.stop()
    assert recording.state == "stopped"
    session = await asyncio.to_thread(RecordedSession, tmp_path)
    assert (session.status, len(session.parts)) == ("sealed", 2)
    assert session.parts[1].seq_offset == session.parts[0].last_seq + 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"path_or_url": ""}, "path_or_url = ''"),
        ({"path_or_url": 3}, "path_or_url = 3"),
        ({"path_or_url": "s3://bucket/x"}, "expected a folder or postgresql"),
        ({"fsync_s": 0}, "fsync_s = 0 is invalid: expected a number from 0.1 to 3,600 seconds"),
        ({"fsync_s": True}, "fsync_s = True"),
        ({"max_bytes": 1e9}, "max_bytes = 1000000000.0"),
        ({"max_bytes": 1000}, "expected a whole number from 1,048,576"),
        ({"max_age": "a while"}, "max_age = 'a while'"),
        ({"max_age": 5}, "a minute at least"),
        ({"path_or_url": "postgresql://x/y", "max_age": "7D"}, "its own retention"),
    ],
)
def test_what_cannot_be_asked_for(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    lab = PairLab(feed="demo")
    with pytest.raises(SettingError, match=said):
        lab.record(**({"path_or_url": tmp_path / "x"} | given))
    assert lab.recording is None
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
async def test_a_lab_verifies_its_own_recording_while_it_goes_on(tmp_path: Path) -> None:
    async with PairLab(feed="demo") as lab:
        with pytest.raises(PairlabError, match=r"lab\.record"):
            await lab.verify_async()
        lab.record(tmp_path)
        await lab.wait_async(300, 60.0)
        lab.settings.window = 30
        await lab.wait_async(600, 60.0)
        found = await lab.verify_async()
        rows = lab.health().rows
        assert found.equal, found
        assert 600 <= found.rows <= rows  # what was made before is written first
        inside = await asyncio.to_thread(lab.verify)  # as from another thread's cell
        assert inside.equal
    assert lab.recording is not None
    whole = await lab.verify_async()
    assert whole.equal
    assert whole.rows >= found.rows
    assert (whole.settings_changes, whole.rebuilds) == (1, 1)
