"""Nights, weekends, holes and stalled legs: no observation of what was not seen."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from pairlab.data.frames import ticks_frame
from pairlab.engine import PairEngine
from pairlab.errors import DataError, SettingError
from pairlab.research import analyze
from pairlab.schema import NS_PER_S, TIMEFRAMES_NS, Pair, RowFlag
from tests.engine import worlds

# How times are read, and filters: tests of their own ask for these warnings.
pytestmark = pytest.mark.filterwarnings("ignore::pairlab.PairlabWarning")

GIVEN = {"hedge_ratio": 25.0, "window": 20, "min_correlation": -1.0, "max_leg_age_s": 1e6}
PAIR = Pair("BTCUSDT", "ETHUSDT")
HOUR_NS = 3_600 * NS_PER_S


def sessions(days, opens, closes, freq="min"):
    """Prices of both legs at each minute of some days' trading hours."""
    parts = [
        pd.date_range(day + pd.Timedelta(opens), day + pd.Timedelta(closes), freq=freq,
                      inclusive="left")
        for day in days
    ]  # fmt: skip
    index = parts[0].append(parts[1:])
    return tuple(pd.Series(leg, index) for leg in worlds.cointegrated(61, len(index)))


DAYS = pd.date_range("2024-08-05", periods=5)  # a Monday
WEEKS = {
    "nights": sessions(DAYS, "9h30min", "16h"),
    "weekend": sessions(pd.date_range("2024-08-01", periods=6).delete([2, 3]), "0h", "24h"),
    "hourly": sessions(pd.date_range("2024-08-05", periods=30), "9h", "16h", "h"),
}


@pytest.mark.parametrize(
    ("name", "timeframe"),
    [("hourly", "1h")]
    + [(name, frame) for name in ("nights", "weekend") for frame in ("1m", "5m", "15m", "1h")],
)
@pytest.mark.parametrize("hedge", ["fixed", "ols"])
def test_nights_and_weekends_are_no_bars(name, timeframe, hedge):
    y, x = WEEKS[name]
    length = pd.Timedelta(TIMEFRAMES_NS[timeframe])
    got = analyze(y, x, timeframe=timeframe, hedge=hedge, **GIVEN)
    both = pd.concat([leg.resample(length).last() for leg in (y, x)], axis=1).dropna().iloc[:-1]
    assert_array_equal(got.index, both.index.tz_localize("UTC") + length)
    assert_array_equal(got["y"], both.iloc[:, 0])
    times = got.index.as_unit("ns").asi8
    traded = [times - np.round(got[f"{leg}_age_s"] * 1e9).astype(np.int64) for leg in "yx"]
    want = PairEngine(hedge=hedge, **GIVEN).observe(times, got["y"], got["x"], *traded)
    for column in ("zscore", "spread_std", "correlation", "p_value", "position"):
        assert_array_equal(got[column], want[column], column)
    assert (np.diff(got["y"]) != 0).mean() > 0.99  # nothing is a copy of what was before
    after = np.flatnonzero(np.diff(times) > length.value) + 1
    assert len(after) > 0
    assert_array_equal(np.flatnonzero(got["flags"] & int(RowFlag.GAP_BEFORE)), after)


@pytest.mark.parametrize("timeframe", ["tick", "1m", "5m"])
@pytest.mark.parametrize("leg", ["y", "x", "both"])
@pytest.mark.parametrize("absent", [False, True])
def test_a_stretch_of_nan_is_no_observation(timeframe, leg, absent):
    index = pd.date_range("2024-08-08", periods=900, freq="min")
    y, x = (pd.Series(prices, index) for prices in worlds.cointegrated(62, 900))
    for series in {"y": [y], "x": [x], "both": [y, x]}[leg]:
        series.iloc[400:445] = np.nan
        series.iloc[[100, 101, 200]] = np.nan  # some that are short
    pair = [series.dropna() if absent else series for series in (y, x)]
    got = analyze(*pair, timeframe=timeframe, entry_z=1.0, **GIVEN)
    length = pd.Timedelta(TIMEFRAMES_NS[timeframe])
    begin, end = (index[k].tz_localize("UTC") for k in (399, 445))
    inside = got.loc[(got.index > begin.ceil("5min")) & (got.index < end)]
    assert len(inside) == 0
    position = got["position"]
    assert position[: begin.ceil("5min")].iloc[-1] in (-1, 0, 1)
    assert got.loc[:begin, "y"].notna().all()
    flagged = got.index[(got["flags"] & int(RowFlag.GAP_BEFORE)) != 0]
    assert got.index[got.index >= end][0] in flagged
    if leg != "both" or timeframe == "tick":
        assert len(flagged) == 1
    count = 445 - 400 if timeframe == "tick" else 45 * 60_000_000_000 // length.value
    whole = analyze(*pair, timeframe=timeframe, max_silence=None, entry_z=1.0, **GIVEN)
    if leg == "both":
        assert len(whole) >= len(got)
    else:
        assert len(whole) == len(got) + count
    # Short holes of one leg are quiet: its last price counts, and its age says so.
    if leg != "both":
        assert got[f"{leg}_age_s"].max() == pytest.approx(0 if timeframe == "5m" else 120)
        assert len(got[: begin - pd.Timedelta("1h")]) == len(whole[: begin - pd.Timedelta("1h")])


def test_trades_may_be_quiet_for_minutes_but_not_for_a_night():
    ticks = worlds.trades(63, 6_000, silence=0.003)
    ticks["time_ns"][3_000:] += 17 * HOUR_NS
    ticks = ticks[np.argsort(ticks["time_ns"], kind="stable")]
    before_ns, after_ns = ticks["time_ns"][2_999], ticks["time_ns"][3_000]
    frame = ticks_frame(ticks, PAIR)
    legs = [frame.loc[frame["symbol"] == name, "price"] for name in PAIR]
    legs = [leg[~leg.index.duplicated(keep="last")] for leg in legs]
    for timeframe in ("1s", "1m"):
        length = TIMEFRAMES_NS[timeframe]
        for got in (
            analyze(*legs, timeframe=timeframe, **GIVEN),
            analyze(frame, timeframe=timeframe, **GIVEN),
        ):
            times = got.index.as_unit("ns").asi8
            steps = np.diff(times)
            assert steps.max() > 16 * HOUR_NS
            assert np.sort(steps)[-2] <= 2 * length  # what was quiet for 40 s has all its rows
            assert not ((times > before_ns + length) & (times <= after_ns)).any()
            assert got["y_age_s"].max() > 30
    live = PairEngine(**GIVEN, timeframe="1s").update(ticks)
    quiet = analyze(frame, timeframe="1s", max_silence=None, **GIVEN)
    assert_array_equal(quiet["zscore"], live["zscore"])


@pytest.mark.parametrize("timeframe", ["tick", "1s", "1m"])
def test_a_stalled_leg_is_not_seen(timeframe):
    ticks = worlds.trades(64, 30_000, silence=0)
    ticks["time_ns"] += (ticks["time_ns"] - ticks["time_ns"][0]) * 2
    ticks = ticks[np.argsort(ticks["time_ns"], kind="stable")]
    begin_ns = int(ticks["time_ns"][10_000])
    end_ns = begin_ns + HOUR_NS // 2
    inside = (ticks["time_ns"] >= begin_ns) & (ticks["time_ns"] < end_ns)
    stalled = ticks[~(inside & (ticks["leg"] == 1))]
    got = analyze(ticks_frame(stalled, PAIR), timeframe=timeframe, **GIVEN)
    times = got.index.as_unit("ns").asi8
    assert not ((times > begin_ns + 60 * NS_PER_S) & (times < end_ns)).any()
    assert got["x_age_s"].max() < 120
    assert times[-1] > end_ns + 10 * 60 * NS_PER_S


def test_a_frame_says_where_its_gaps_are():
    ticks = worlds.trades(65, 4_000)
    frame = ticks_frame(ticks, PAIR)
    marks = np.zeros(len(ticks), np.int8)
    marks[[1_000, 1_500, 2_500]] = 3, 1, 2
    want = analyze(frame.assign(gap_before=0), timeframe="1s", **GIVEN)
    got = analyze(frame.assign(gap_before=marks), timeframe="1s", **GIVEN)
    assert 0 < len(want) - len(got) < 100
    # The marks count the symbols in the order of the categories, whichever is y.
    swapped = analyze(
        frame.assign(gap_before=marks),
        pair=PAIR[::-1],
        timeframe="1s",
        **GIVEN | {"hedge_ratio": 0.04},
    )
    pd.testing.assert_index_equal(swapped.index, got.index)
    assert swapped["y_age_s"].tolist() == got["x_age_s"].tolist()
    for bad in (marks + 1, marks * 0.5, marks.astype(str), np.full(len(marks), np.nan)):
        if bad.dtype.kind in "Ui" and set(np.unique(bad.astype(int))) <= {0, 1, 2, 3}:
            continue
        with pytest.raises(DataError, match="gap_before"):
            analyze(frame.assign(gap_before=bad), **GIVEN)


@pytest.mark.parametrize("bad", [0, 5, True, 1.5, "soon", "-5min", pd.NaT, dt.timedelta(0)])
def test_what_is_no_length_of_time_is_refused(bad):
    y, x = WEEKS["nights"]
    with pytest.raises(SettingError, match="max_silence"):
        analyze(y, x, max_silence=bad)


@pytest.mark.parametrize("given", ["2h", dt.timedelta(hours=2), np.timedelta64(2, "h")])
def test_a_longest_silence_can_be_given(given):
    y, x = WEEKS["nights"]
    y = y.drop(y.index[100:190])  # 90 minutes: quiet now
    got = analyze(y, x, max_silence=given, **GIVEN)
    assert_array_equal(got.index, x.index.tz_localize("UTC"))
    assert analyze(y, x, **GIVEN).index.size == len(x) - 90
