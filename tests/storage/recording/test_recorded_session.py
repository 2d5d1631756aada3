"""What is written to a folder is read again, sealed and live, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairlab.data.journal import EngineStarted, GapMarked, Rebuilt, SettingChanged
from pairlab.engine.gaps import Gap
from pairlab.errors import DataError
from pairlab.storage.recording.folder_sink import FolderSink
from pairlab.storage.recording.recorded_session import RecordedSession
from pairlab.storage.recording.sink import RebuiltRows, RecordBatch
from tests.storage.recording.conftest import folder_in_memory
from tests.storage.recording.sessions import (
    PAIR,
    SETTINGS,
    assert_holds,
    batches,
    bits,
    files_of,
    info,
    ticks_of,
    world,
)


def record(folder: Path, ends: list[int], **options: Any) -> FolderSink:
    """Return an open sink to which the whole session was written."""
    sink = FolderSink(folder, **options)
    sink.open(info())
    for batch in batches(world(), ends):
        sink.write(batch)
    return sink


@settings(max_examples=10, deadline=None)
@given(
    ends=st.lists(st.integers(1, 4_000), max_size=8).map(sorted),
    segment_bytes=st.integers(50_000, 2_000_000),
)
def test_what_was_written_is_read_live_and_sealed(ends: list[int], segment_bytes: int) -> None:
    folder = folder_in_memory()
    try:
        sink = record(folder, ends, segment_bytes=segment_bytes)
        live = RecordedSession(folder)
        assert live.status == "recording"
        assert_holds(live, world())
        sink.close()
        assert_holds(live, world())  # what it has open, it can read to the end
        sealed = RecordedSession(folder)
        assert sealed.status == "sealed"
        assert sealed.complete
        assert sealed.damaged_files() == []
        assert_holds(sealed, world())
        assert not list((folder / "live").iterdir())
    finally:
        shutil.rmtree(folder)


def test_it_says_what_was_recorded(tmp_path: Path) -> None:
    record(tmp_path, [500, 3_000]).close()
    session = RecordedSession(tmp_path)
    ticks = world().ticks
    assert (session.pair, session.stream, session.feed) == (PAIR, "aggTrade", "SIMULATED")
    assert (session.real_money, session.price_decimals) == (False, (1, 2))
    assert session.settings == SETTINGS.values()
    assert session.started_ns == info().started_ns
    assert session.versions == {"numpy": np.__version__}
    assert session.time_span_ns == (ticks["time_ns"].min(), ticks["time_ns"].max())
    assert (
        repr(session) == "<RecordedSession BTCUSDT/ETHUSDT aggTrade SIMULATED, sealed, 4,000 ticks>"
    )
    days = {path.split("/")[-2] for path in files_of(tmp_path) if path.startswith("ticks")}
    assert days == {"date=2024-08-08", "date=2024-08-09"}


@pytest.mark.parametrize("sealed", [False, True])
def test_a_part_of_the_ticks(tmp_path: Path, sealed: bool) -> None:
    sink = record(tmp_path, list(range(0, 4_000, 300)), segment_bytes=200_000)
    if sealed:
        sink.close()
    session = RecordedSession(tmp_path)
    ticks = world().ticks
    for first, last in ((0, 0), (5, 1_700), (2_000, 2_300), (3_999, 9_999), (-5, 3)):
        found = list(session.ticks(first, last, block=512))
        assert found[0][0] == max(first, 0)
        assert max(len(block) for _, block in found) <= 512
        assert bits(np.concatenate([b for _, b in found])) == bits(ticks[max(first, 0) : last + 1])
    assert list(session.ticks(4_000, 5_000)) == []
    if not sealed:
        sink.close()


@pytest.mark.parametrize("sealed", [False, True])
def test_the_ordinal_at_a_time(tmp_path: Path, sealed: bool) -> None:
    sink = record(tmp_path, list(range(0, 4_000, 300)), segment_bytes=200_000)
    if sealed:
        sink.close()
    session = RecordedSession(tmp_path)
    highest = np.maximum.accumulate(world().ticks["time_ns"])
    for at in (0, 1, 1_234, 2_140, 2_150, 3_998, 3_999):
        for moved in (-1, 0, 1):
            time_ns = int(highest[at]) + moved
            assert session.seq_at(time_ns) == np.searchsorted(highest, time_ns, "left")
    if not sealed:
        sink.close()


def test_a_session_recorded_in_pieces_is_there_once(tmp_path: Path) -> None:
    """Stopped and asked for again, the lab offers all that it holds."""
    whole, *_ = batches(world(), [])
    first, *_ = batches(world(), [1_500])
    for batch in (first, whole, whole):
        sink = FolderSink(tmp_path)
        sink.open(info())
        sink.write(batch)
        sink.close()
    session = RecordedSession(tmp_path)
    assert_holds(session, world())
    assert len(session.parts) == 1


def test_another_session_goes_on_behind_the_first(tmp_path: Path) -> None:
    record(tmp_path, [900]).close()
    sink = FolderSink(tmp_path)
    sink.open(info("two", first_seq=40))
    later = Rebuilt(60, 70, 45, 60, SETTINGS.values(), None, (Gap(50, 1),))
    ticks, rows = world().ticks[:100], world().rows[:50]
    sink.write(
        RecordBatch(
            ticks=[(40, ticks)],
            rows=[(0, 0, rows)],
            events=[EngineStarted(40, 40, SETTINGS.values(), None), later],
            rebuilds=[RebuiltRows(1, 70, 30, 30, "aa")],
        )
    )
    sink.write(RecordBatch(rows=[(1, 30, rows[:5])], alerts=world().alerts[:1], first_event=2))
    for _ in range(2):
        session = RecordedSession(tmp_path)
        assert (session.first_seq, session.last_seq) == (0, 4_099)
        assert bits(ticks_of(session)) == bits(np.concatenate([world().ticks, ticks]))
        assert [(e, f, len(r)) for e, f, r in session.rows()][-2:] == [(1, 0, 50), (2, 30, 5)]
        one, two = session.parts
        assert (one.first_seq, one.last_seq, two.first_seq, two.last_seq) == (
            0,
            3_999,
            4_000,
            4_099,
        )
        assert (two.seq_offset, two.epoch_offset) == (3_960, 1)
        gap, started, rebuilt = session.events()[-3:]
        assert gap == GapMarked(4_000, None)
        assert session.events(recording_gaps=False)[-2:] == [started, rebuilt]
        assert (started.tick, rebuilt.asked_tick, rebuilt.tick) == (4_000, 4_020, 4_030)  # type: ignore[union-attr]
        assert (rebuilt.first_tick, rebuilt.gaps) == (4_005, (Gap(4_010, 1),))  # type: ignore[union-attr]
        assert session.rebuilds == (RebuiltRows(2, 4_030, 30, 30, "aa"),)
        assert len(session.alerts()) == len(world().alerts) + 1
        sink.close()


def test_events_at_the_end_belong_to_the_part_that_ended(tmp_path: Path) -> None:
    """Its ticks were torn off, or it was stopped by a rebuild behind the last tick."""
    sink = FolderSink(tmp_path)
    sink.open(info())
    sink.write(RecordBatch(ticks=[(0, world().ticks[:10])], events=[GapMarked(14, None)]))
    sink.close()
    sink.open(info("two"))
    sink.write(RecordBatch(ticks=[(0, world().ticks[:10])], events=[GapMarked(0, 2)]))
    sink.close()
    session = RecordedSession(tmp_path)
    assert [part.first_seq for part in session.parts] == [0, 15]
    assert [event.tick for event in session.events()] == [14, 15, 15]
    assert (session.parts[0].last_seq, session.holes) == (9, ())


def test_ticks_that_could_not_be_stored_are_a_marked_gap(tmp_path: Path) -> None:
    ticks = world().ticks
    sink = FolderSink(tmp_path)
    sink.open(info())
    sink.write(RecordBatch(ticks=[(0, ticks[:100])], events=[SettingChanged(130, "fee_bps", 1, 2)]))
    sink.write(RecordBatch(ticks=[(150, ticks[150:200]), (250, ticks[250:300])]))
    marks = [GapMarked(150, 50), GapMarked(250, 50)]
    for _ in range(2):
        session = RecordedSession(tmp_path)
        spans = [(hole.first_seq, hole.last_seq) for hole in session.holes]
        assert spans == [(100, 149), (200, 249)]
        assert session.holes[0].last_ns == ticks["time_ns"][150:200].min()
        assert session.events() == [SettingChanged(130, "fee_bps", 1, 2), *marks]
        assert [first for first, _ in session.ticks()] == [0, 150, 250]
        assert [first for first, _ in session.ticks(120, 260)] == [150, 250]
        assert not session.complete
        sink.close()


def test_events_that_the_journal_had_forgotten(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    sink.open(info())
    sink.write(RecordBatch(events=[GapMarked(0, 2)], first_event=0))
    sink.write(RecordBatch(events=[GapMarked(0, 2)], first_event=3))
    sink.close()
    assert not RecordedSession(tmp_path).complete


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stream": "trade"}, "whose stream is aggTrade: expected trade"),
        ({"feed": "BINANCE"}, "whose feed is SIMULATED"),
        ({"pair": PAIR[::-1]}, "whose pair is BTCUSDT/ETHUSDT: expected ETHUSDT/BTCUSDT"),
    ],
)
def test_another_market_in_the_same_folder_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    record(tmp_path, [900]).close()
    before = {path: (tmp_path / path).read_bytes() for path in files_of(tmp_path)}
    with pytest.raises(DataError, match=said):
        FolderSink(tmp_path).open(info(**change))
    for path, content in before.items():
        assert path == "lock" or (tmp_path / path).read_bytes() == content


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no recording"):
        RecordedSession(tmp_path)
    with pytest.raises(DataError, match="is no recording"):
        RecordedSession(tmp_path / "nowhere")
    record(tmp_path, []).close()
    path = tmp_path / "manifest.json"
    good = json.loads(path.read_text())
    for change, said in (
        ({"format": 99}, "format 99 cannot be read"),
        ({"y": 5}, "cannot be read: Expected `str`"),
        ({"dropping": ["../../etc/passwd"]}, "names '../../etc/passwd'"),
        ({"files": [{**good["files"][0], "path": "ticks/symbol=a/../../x.parquet"}]}, "names"),
    ):
        path.write_text(json.dumps(good | change))
        with pytest.raises(DataError, match=said):
            RecordedSession(tmp_path)
    path.write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        RecordedSession(tmp_path)
    path.write_text(
        json.dumps(good | {"parts": [{**good["parts"][0], "settings": {"window": "x"}}]})
    )
    with pytest.raises(DataError, match="window"):
        RecordedSession(tmp_path)
    with pytest.raises(DataError, match="is a file"):
        FolderSink(path).open(info())


def test_a_flipped_bit_is_named(tmp_path: Path) -> None:
    record(tmp_path, []).close()
    session = RecordedSession(tmp_path)
    random = np.random.default_rng(0)
    for name in [path for path in files_of(tmp_path) if path.endswith(".parquet")]:
        path = tmp_path / name
        good = path.read_bytes()
        for at in random.integers(0, len(good), 5).tolist():
            path.write_bytes(
                good[:at] + bytes([good[at] ^ 1 << int(random.integers(8))]) + good[at + 1 :]
            )
            assert session.damaged_files() == [name]
        path.write_bytes(good)
    ticks = next(path for path in files_of(tmp_path) if path.startswith("ticks"))
    good = (tmp_path / ticks).read_bytes()
    middle = len(good) // 2
    (tmp_path / ticks).write_bytes(good[:middle] + bytes([good[middle] ^ 4]) + good[middle + 1 :])
    with pytest.raises(DataError, match=f"{ticks}.* is damaged"):
        list(session.ticks())
    (tmp_path / ticks).unlink()
    assert session.damaged_files() == [ticks]
    with pytest.raises(DataError, match=f"{ticks} is missing"):
        list(session.ticks())


def test_ticks_of_neither_leg_keep_their_place(tmp_path: Path) -> None:
    """A feed of the user's may deliver them: the engine counts and drops them."""
    ticks = world().ticks[:50].copy()
    ticks["leg"][[3, 20]] = -1
    sink = FolderSink(tmp_path)
    sink.open(info())
    sink.write(RecordBatch(ticks=[(0, ticks)]))
    assert bits(ticks_of(RecordedSession(tmp_path))) == bits(ticks)
    sink.close()
    session = RecordedSession(tmp_path)
    assert bits(ticks_of(session)) == bits(ticks)
    assert session.holes == ()
