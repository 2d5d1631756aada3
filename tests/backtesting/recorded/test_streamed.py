"""A recording is read piece by piece, and what is kept lies in files: the same result."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from pairlab import Costs, DataError, SettingError, StorageError, backtest
from pairlab.backtesting import legs
from pairlab.backtesting.inputs import source_of
from pairlab.backtesting.recorded import streamed
from pairlab.data import spooled_array
from pairlab.data.journal import GapMarked, TimeCorrected
from pairlab.data.spooled_array import SpooledArray, empty_spooled
from pairlab.schema import BOTH_LEGS
from pairlab.storage.recording.folder_sink import FolderSink
from pairlab.storage.recording.sink import RecordBatch
from tests.storage.recording.sessions import PAIR, info, world

SETTINGS = {"window": 30, "entry_z": 1.2, "exit_z": 0.3, "min_correlation": -1.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two parts, the first with ticks left out; gaps of either leg, and times that were corrected.

    The second was never sealed.
    """
    folder = tmp_path_factory.mktemp("streamed") / "recording"
    ticks = world(9_000, seed=11).ticks
    marks = [(200, 1), (201, 2), (3_000, BOTH_LEGS), (3_500, 2), (7_000, 1)]
    events = [GapMarked(at, 4, legs) for at, legs in marks]
    events += [TimeCorrected(at) for at in (50, 201, 2_950, 4_100, 6_999, 8_000)]
    events.sort(key=lambda event: event.tick)
    sink = FolderSink(folder)
    sink.open(info())
    early = [event for event in events if event.tick < 5_000]
    sink.write(RecordBatch(ticks=[(0, ticks[:2_900])], events=early, first_event=0))
    sink.write(RecordBatch(ticks=[(3_100, ticks[3_100:5_000])]))
    sink.close()
    late = [dataclasses.replace(e, tick=e.tick - 5_000) for e in events if e.tick >= 5_000]
    second = FolderSink(folder)
    second.open(info("two"))
    second.write(RecordBatch(ticks=[(0, ticks[5_000:])], events=late, first_event=0))
    second.sync()
    yield folder
    second.close()


def same(a, b):
    for name in ("trades", "equity", "missed"):
        pd.testing.assert_frame_equal(getattr(a, name), getattr(b, name), check_exact=True)
    pd.testing.assert_series_equal(a.daily, b.daily, check_exact=True)
    assert repr(a.metrics) == repr(b.metrics)
    told = {"source": "", "market": "", "simulated": False}  # of which a frame knows nothing
    assert dataclasses.replace(a.data_report, **told) == dataclasses.replace(b.data_report, **told)
    np.testing.assert_array_equal(a.events, b.events)
    assert a.settings == b.settings


def test_gaps_and_corrected_times_are_where_the_frame_has_them(folder):
    frame = source_of(folder, None).given.ticks
    session = source_of(folder, None, stream=True).recording
    for block in (3, 1_000, 65_536):
        start, gaps, corrected = 0, {}, set()
        for ticks, marks in streamed.marked_ticks(session, PAIR, block=block):
            gaps |= {start + g.tick: g.legs & BOTH_LEGS for g in marks if g.legs & BOTH_LEGS}
            corrected |= {start + g.tick for g in marks if not g.is_gap or g.legs > BOTH_LEGS}
            start += len(ticks)
        assert start == len(frame) == 8_800
        found = frame["gap_before"].to_numpy()
        assert gaps == {int(at): int(found[at]) for at in np.flatnonzero(found)}
        assert corrected == set(np.flatnonzero(frame["time_corrected"].to_numpy()).tolist())
    # 2,900 ticks, 200 left out: the gap of 3,000 and the hole are before the same tick, and the
    # time that was corrected among them is of none that is there.
    assert gaps == {200: 1, 201: 2, 2_900: 3, 3_300: 2, 4_800: 3, 6_800: 1}
    assert corrected == {50, 201, 3_900, 6_799, 7_800}


@pytest.mark.parametrize("max_silence", ["auto", None])
@pytest.mark.parametrize("given", [
    {"hedge": "fixed", "hedge_ratio": 25.0},
    {"hedge": "ols", "timeframe": "1s"},
    {"hedge": "kalman", "kalman_half_life": 300, "stop_z": 4.0, "max_hold_s": 20.0},
    {"hedge": "ols", "timeframe": "5s", "window": 20, "price_scale": "log"},
])  # fmt: skip
def test_it_is_the_frame_s_backtest(folder, monkeypatch, given, max_silence):
    settings = SETTINGS | given
    frame = source_of(folder, None).given.ticks
    costs = Costs(slippage_bps=0.5)
    from_memory = backtest(frame, costs=costs, latency_s=0.2, max_silence=max_silence, **settings)
    monkeypatch.setattr(streamed, "PIECE_TICKS", 100)
    from_disk = backtest(folder, costs=costs, latency_s=0.2, max_silence=max_silence, **settings)
    assert len(from_disk.trades) > 10
    same(from_disk, from_memory)
    assert from_disk.rows.tobytes() == from_memory.rows.tobytes()  # bits: NaN is not NaN


def test_legs_can_be_exchanged(folder):
    other = (PAIR.x, PAIR.y)
    frame = source_of(folder, None).given.ticks
    settings = SETTINGS | {"hedge": "ols"}
    same(backtest(folder, pair=other, **settings), backtest(frame, pair=other, **settings))
    with pytest.raises(DataError, match=r"there are ticks of ETHUSDT, which is not in"):
        backtest(folder, pair=("BTCUSDT", "SOLUSDT"), hedge="ols")


def test_funding_is_paid(folder):
    frame = source_of(folder, None).given.ticks
    first, last = frame.index.min(), frame.index.max()
    times = pd.date_range(first - pd.Timedelta("1min"), last + pd.Timedelta("1min"), periods=30)
    rates = pd.Series(np.linspace(-0.001, 0.002, 30), times)
    costs = Costs(funding={PAIR.y: rates, PAIR.x: -rates})
    settings = SETTINGS | {"hedge": "ols", "entry_z": 2.0, "exit_z": 0.0}
    from_disk = backtest(folder, costs=costs, **settings)
    same(from_disk, backtest(frame, costs=costs, **settings))
    assert from_disk.equity["funding"].iloc[-1] != 0.0


def test_its_arrays_lie_in_files_and_those_of_a_frame_do_not(folder, monkeypatch):
    made = []

    class Watched(SpooledArray):
        def __init__(self, dtype, *, on_disk=False):
            super().__init__(dtype, on_disk=on_disk)
            made.append(on_disk)

    monkeypatch.setattr(legs, "SpooledArray", Watched)
    result = backtest(folder, hedge="ols", **SETTINGS)
    assert made == [True] * 9
    owner = result.equity["equity"].to_numpy()
    while getattr(owner, "base", None) is not None:
        owner = owner.base
    assert type(owner).__name__ == "mmap"
    made.clear()
    backtest(source_of(folder, None).given.ticks, hedge="ols", **SETTINGS)
    assert made == [False] * 9


def test_a_length_of_silence_is_judged_of_all_ticks(folder):
    frame = source_of(folder, None).given.ticks
    settings = SETTINGS | {"hedge": "ols", "max_silence": "3s"}
    result = backtest(folder, **settings)
    same(result, backtest(frame, **settings))
    assert result.data_report.gaps > 6


def test_bad_settings_are_refused_before_anything_is_read(folder):
    with pytest.raises(SettingError, match="label"):
        backtest(folder, label="close", hedge="ols")
    with pytest.raises(SettingError, match="window"):
        backtest(folder, window=1)


@pytest.mark.parametrize("on_disk", [False, True])
def test_an_array_grows(on_disk):
    array = SpooledArray(np.int64, on_disk=on_disk)
    assert array.array().tolist() == []
    array.append(np.arange(3))
    array.append(np.arange(0))
    array.append(np.arange(20)[::4])
    first = array.array()
    assert first.tolist() == [0, 1, 2, 0, 4, 8, 12, 16]
    array.append(np.array([7]))
    assert len(array) == 9
    assert array.array().tolist() == [*first.tolist(), 7]
    del array
    assert first.sum() == 43


def test_a_full_or_missing_folder_of_temporary_files_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(spooled_array.tempfile, "tempdir", str(tmp_path / "none"))
    for make in (
        lambda: SpooledArray(np.int64, on_disk=True),
        lambda: empty_spooled((5,), on_disk=True),
    ):
        with pytest.raises(StorageError, match=r"none \(No such file or directory\).*TMPDIR"):
            make()
    monkeypatch.setattr(spooled_array.tempfile, "tempdir", None)
    with pytest.raises(StorageError, match="TMPDIR"):
        empty_spooled((1 << 50,), on_disk=True)
