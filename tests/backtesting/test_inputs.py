"""Whatever a backtest is given: the same result of the same prices, or a clear refusal."""

import asyncio

import numpy as np
import pandas as pd
import polars as pl
import pytest

from pairlab import Costs, DataError, Pair, PairLab, SettingError, backtest, read_archive
from pairlab.data.frames import ticks_frame
from pairlab.schema import AlertKind
from tests.engine import worlds
from tests.lab.test_runner import ScriptedFeed, some_ticks

PAIR = Pair("BTCUSDT", "ETHUSDT")
GIVEN = {"window": 20, "entry_z": 1.5, "hedge_ratio": 25.0, "max_silence": None}


def frame_of(n=3_000, seed=4):
    return ticks_frame(worlds.trades(seed, n, silence=0.0), PAIR)


def same(a, b):
    pd.testing.assert_frame_equal(a.trades, b.trades)
    pd.testing.assert_frame_equal(a.equity, b.equity)
    assert a.metrics.trades == b.metrics.trades > 10


def archived(frame, folder):
    """The ticks as two files of the archive's aggTrades, in whole milliseconds."""
    folder.mkdir()
    for symbol in PAIR:
        part = frame[frame["symbol"] == symbol].reset_index()
        part = part.sort_values("time", kind="stable").reset_index(drop=True)
        ids = np.arange(1, len(part) + 1)
        pd.DataFrame({
            "agg_trade_id": ids, "price": part["price"], "quantity": part["quantity"],
            "first_trade_id": ids, "last_trade_id": ids,
            "transact_time": part["time"].astype("int64") // 10**6,
            "is_buyer_maker": part["buyer_is_maker"],
        }).to_csv(folder / f"{symbol}-aggTrades-2024-08-08.csv", index=False)  # fmt: skip
    return folder


def test_an_archive_its_ticks_and_its_path_are_the_same(tmp_path):
    folder = archived(frame_of(), tmp_path / "archive")
    archive = read_archive(folder)
    of_archive = backtest(archive, pair=PAIR, **GIVEN)
    same(of_archive, backtest(archive.ticks, pair=PAIR, **GIVEN))
    of_path = backtest(folder, pair=PAIR, **GIVEN)
    same(of_archive, of_path)
    same(of_path, backtest(sorted(folder.iterdir()), pair=tuple(PAIR), **GIVEN))
    assert of_archive.data_report.source == "archive"
    assert of_path.data_report.source == str(folder)
    with pytest.raises(DataError, match="which of"):
        backtest(archive, **GIVEN)


def test_two_series_a_frame_of_two_and_polars_are_the_same():
    y, x = worlds.cointegrated(3, 600, noise=4.0)
    seconds = pd.date_range("2024-08-08", periods=600, freq="s", tz="UTC")
    both = pd.DataFrame({"y": y, "x": x}, seconds)
    want = backtest((both["y"], both["x"]), **GIVEN)
    same(want, backtest(both, **GIVEN))
    same(want, backtest(pl.DataFrame({"time": seconds, "y": y, "x": x}), **GIVEN))


async def test_a_recording_gives_its_ticks_its_gaps_and_its_settings(tmp_path):
    feed = ScriptedFeed()
    settings = {"window": 20, "entry_z": 1.2, "hedge": "ols", "min_correlation": -1.0}
    async with PairLab(feed=feed, **settings) as lab:
        recording = lab.record(tmp_path)
        await feed.give(some_ticks(1_000))
        lab._runner.pipeline.on_gap(3, 1)
        await feed.give(some_ticks(2_000)[1_000:])
        await lab.wait_async(1_500, 60)
        await recording.stop()
        of_lab = backtest(lab, entry_z=1.0)
        ticks = lab.ticks()
    assert ticks["gap_before"].sum() == 1
    of_recording = await asyncio.to_thread(backtest, tmp_path, entry_z=1.0)
    same(of_lab, of_recording)
    assert of_recording.data_report.source == str(tmp_path)
    assert of_recording.settings.window == 20


async def test_a_lab_gives_its_ticks_and_its_settings():
    feed = ScriptedFeed()
    settings = {"window": 20, "entry_z": 1.2, "hedge": "ols", "min_correlation": -1.0}
    async with PairLab(feed=feed, **settings) as lab:
        await feed.give(some_ticks(3_000))
        await lab.wait_async(2_999, 60.0)
        result = backtest(lab, max_silence=None)
        same(result, backtest(lab.ticks(), max_silence=None, **settings))
        assert result.settings.window == 20
        assert result.data_report.source == "lab"
        assert backtest(lab, entry_z=3.0).settings.entry_z == 3.0
        decided = [a.time_ns for a in lab.alert_log.alerts() if a.kind == AlertKind.ENTRY]
        found = [*result.trades["entry_decided"], *result.missed.index]
        assert sorted(t.value for t in found) == decided


@pytest.mark.parametrize("n", [0, 1, 2, 19])
def test_too_few_ticks_are_an_empty_result(n):
    result = backtest(frame_of(40).iloc[:n], pair=PAIR, **GIVEN)
    assert len(result.equity) == len(result.trades) == len(result.missed) == 0
    assert result.metrics.cumulative_return == 0.0
    assert "no row with a full window" in repr(result)
    assert "nan" not in repr(result)
    assert result.to_dict()["metrics"]["trades"] == 0


def test_no_prices_and_one_price_are_an_empty_result():
    nothing = pd.Series([], pd.DatetimeIndex([]), dtype=float)
    one = pd.Series([3.0], pd.to_datetime(["2024-08-08"]))
    for given in ((nothing, nothing), (one, one), (one, nothing)):
        assert len(backtest(given, hedge_ratio=1.0).equity) == 0


def test_ticks_without_a_price_are_dropped_and_counted():
    frame = frame_of()
    want = backtest(frame.drop(frame.index[[7]]), **GIVEN)
    broken = frame.copy()
    price = broken["price"].to_numpy(copy=True)
    double = broken.index == broken.index[7]
    for bad in (0.0, np.nan, -1.0, np.inf):
        price[double] = bad
        got = backtest(broken.assign(price=price), **GIVEN)
        same(want, got)
        assert got.data_report.dropped == double.sum()


def test_nan_is_no_price_and_zero_is_refused_in_series():
    y, x = worlds.cointegrated(3, 600, noise=4.0)
    seconds = pd.date_range("2024-08-08", periods=600, freq="s", tz="UTC")
    y, x = pd.Series(y, seconds), pd.Series(x, seconds)
    holes = y.copy()
    holes.iloc[100:140] = np.nan
    same(backtest((holes, x), **GIVEN), backtest((holes.dropna(), x), **GIVEN))
    holes.iloc[100] = 0.0
    with pytest.raises(DataError, match="above 0"):
        backtest((holes, x), **GIVEN)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"capital": 0.0}, "capital"), ({"capital": -1}, "capital"),
        ({"capital": float("nan")}, "capital"), ({"latency_s": -1}, "latency_s"),
        ({"max_wait_s": -0.1}, "max_wait_s"), ({"max_wait_s": "10"}, "max_wait_s"),
        ({"entri_z": 2.0}, "entry_z"), ({"fee_bps": -1.0}, "fee_bps"),
        ({"latency_s": 1e12}, "latency_s = .* from 0 to 100,000,000"),
        ({"max_wait_s": 10**12}, "max_wait_s"), ({"costs": 4.0}, "costs = 4.0 is invalid"),
        ({"costs": None}, "costs = None is invalid: expected such as pairlab.Costs"),
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_named(given, says):
    with pytest.raises(SettingError, match=says):
        backtest(frame_of(100), **{**GIVEN, **given})


@pytest.mark.parametrize("data", [3, None, {"y": 1}, np.zeros(3), ("a.zip",), []])
def test_what_is_no_data_is_refused(data):
    with pytest.raises(DataError):
        backtest(data)


def test_marks_must_be_two_series_from_before_the_first_row():
    frame = frame_of()
    late = pd.Series([1.0], frame.index[-1:])
    costs = Costs(funding=(None, None))
    for mark, says in (((late, late), "begin before"), (late, "tuple"), ((1, 2), "Series")):
        with pytest.raises(DataError, match=says):
            backtest(frame, mark=mark, costs=costs, **GIVEN)


def test_a_fee_of_the_setting_is_the_default():
    frame = frame_of()
    default = backtest(frame, **GIVEN)
    assert default.costs["fee_bps"] == 4.0
    assert default.metrics.fees > 0
    same(default, backtest(frame, costs=Costs(fee_bps=4.0), **GIVEN))
    assert backtest(frame, **GIVEN, fee_bps=2.0).metrics.fees == pytest.approx(
        default.metrics.fees / 2
    )
    assert backtest(frame, costs=Costs(fee_bps=0.0), **GIVEN).metrics.fees == 0.0


def test_no_wait_shorter_than_a_bar_or_two_steps_is_the_default():
    assert backtest(frame_of(), **GIVEN).costs["max_wait_s"] == 10.0
    slow = {**GIVEN, "timeframe": "1m", "window": 10}
    assert backtest(frame_of(), **slow).costs["max_wait_s"] == pytest.approx(60.0)
    days = pd.date_range("2024-01-01", periods=100, freq="D", tz="UTC")
    y, x = worlds.cointegrated(3, 100, noise=4.0)
    result = backtest((pd.Series(y, days), pd.Series(x, days)), **GIVEN)
    assert result.costs["max_wait_s"] == 2 * 86_400
    assert len(result.trades) > 0
    assert len(result.missed) == 0
