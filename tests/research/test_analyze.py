"""`analyze`: the live kernel on the past, and clear words for what cannot be used."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from pairlab.data.frames import rows_frame, ticks_frame
from pairlab.engine import PairEngine
from pairlab.errors import DataError, SettingError
from pairlab.research import analyze
from pairlab.schema import HISTORY_COLUMNS, Pair
from tests.engine import oracles, worlds

# How times are read, and filters: tests of their own ask for these warnings.
pytestmark = pytest.mark.filterwarnings("ignore::pairlab.PairlabWarning")


def minutes(n, start="2024-08-08", tz=None):
    return pd.date_range(start, periods=n, freq="min", tz=tz)


def two_series(seed, n):
    """A pair whose legs have prices at different times."""
    y, x = worlds.cointegrated(seed, n)
    r = np.random.default_rng(seed)
    keep = r.random((2, n)) < 0.8
    return tuple(pd.Series(leg, minutes(n))[k] for leg, k in zip((y, x), keep, strict=True))


@pytest.mark.parametrize("hedge", ["fixed", "ols", "kalman"])
def test_one_observation_per_timestamp_of_the_union(hedge):
    y, x = two_series(51, 900)
    given = {"hedge": hedge, "hedge_ratio": 25.0, "window": 30, "kalman_half_life": 20.0}
    got = analyze(y, x, max_leg_age_s=1e6, **given)
    both = pd.concat([y, x], axis=1, keys=["y", "x"], sort=True).ffill().dropna()
    assert list(got.columns) == list(HISTORY_COLUMNS)
    assert_array_equal(got.index, both.index.tz_localize("UTC"))
    assert_array_equal(got["y"], both["y"])
    assert_array_equal(got["x"], both["x"])
    times = both.index.as_unit("ns").asi8
    engine = PairEngine(max_leg_age_s=1e6, **given)
    y_at, x_at = (leg.index.as_unit("ns").asi8 for leg in (y, x))
    rows = engine.observe(
        times, both["y"], both["x"],
        y_at[np.searchsorted(y_at, times, side="right") - 1],
        x_at[np.searchsorted(x_at, times, side="right") - 1],
    )  # fmt: skip
    pd.testing.assert_frame_equal(got, rows_frame(rows))
    assert got["y_age_s"].max() >= 60
    assert set(got["position"]) == {-1, 0, 1}
    beta, _, e = oracles.least_squares(both["y"], both["x"], 30)
    if hedge == "ols":
        oracles.assert_close("β", got["hedge_ratio"], oracles.padded(beta, 30), 1e-8)
        oracles.assert_close("spread", got["spread"], oracles.padded(e[:, -1], 30), 1e-8)


@pytest.mark.parametrize("share", [1.0, 0.95])
def test_returns_of_observations_of_both_legs_correlate(share):
    """At the tick timeframe, too: a row of two Series is an observation, not a tick."""
    y, x = (pd.Series(leg, minutes(900)) for leg in worlds.cointegrated(51, 900, noise=1.0))
    x = x[np.random.default_rng(1).random(900) < share]
    got = analyze(y, x, hedge="ols", correlation_of="returns", max_leg_age_s=1e6)
    assert got["correlation"].iloc[60:].median() > 0.8


@pytest.mark.parametrize("overlap", [0.0, 0.1])
def test_returns_of_legs_that_take_turns_are_refused_with_the_reason(overlap):
    y, x = (pd.Series(leg, minutes(900)) for leg in worlds.cointegrated(51, 900, noise=1.0))
    late_s = (np.random.default_rng(2).random(900) >= overlap).astype(int)
    x.index += pd.to_timedelta(late_s, unit="s")
    with pytest.raises(DataError, match=r"new price of both legs.*Epps effect.*timeframe of bars"):
        analyze(y, x, hedge="ols", correlation_of="returns", max_leg_age_s=1e6)
    got = analyze(y, x, hedge="ols", correlation_of="returns", timeframe="1m", max_leg_age_s=1e6)
    assert got["correlation"].iloc[60:].median() > 0.8
    assert analyze(y, x, hedge="ols", max_leg_age_s=1e6)["correlation"].iloc[60:].median() > 0.8


def test_returns_per_tick_are_refused_of_a_frame_of_ticks():
    frame = ticks_frame(worlds.trades(1, 500), Pair("BTCUSDT", "ETHUSDT"))
    with pytest.raises(SettingError, match="the correlation of returns per tick is 0"):
        analyze(frame, hedge="ols", correlation_of="returns")
    analyze(frame, hedge="ols", correlation_of="returns", timeframe="1s")


def test_bars_are_made_of_the_series_first():
    y, x = two_series(52, 2_000)
    got = analyze(y, x, timeframe="5m", hedge_ratio=25.0, window=20)
    both = pd.concat(
        [s.resample("5min").last() for s in (y, x)], axis=1, keys=["y", "x"], sort=True
    )
    both = both.ffill().dropna().iloc[:-1]
    assert_array_equal(got.index, both.index.tz_localize("UTC") + pd.Timedelta("5min"))
    assert_array_equal(got["y"], both["y"])
    assert_array_equal(got["x"], both["x"])


@pytest.mark.parametrize("timeframe", ["tick", "1s"])
def test_a_frame_of_ticks_gives_what_live_gave(timeframe):
    ticks = worlds.trades(53, 5_000)
    want = rows_frame(PairEngine(hedge_ratio=25.0, timeframe=timeframe).update(ticks))
    frame = ticks_frame(ticks, Pair("BTCUSDT", "ETHUSDT"))
    got = analyze(frame, timeframe=timeframe, hedge_ratio=25.0)
    pd.testing.assert_frame_equal(got, want)
    plain = frame[["symbol", "price"]].astype({"symbol": object})
    pair = ("BTCUSDT", "ETHUSDT")
    pd.testing.assert_frame_equal(
        analyze(plain, pair=pair, timeframe=timeframe, hedge_ratio=25.0), want
    )


def test_nan_is_no_price():
    y, x = two_series(54, 300)
    holes = y.copy()
    holes.iloc[[5, 6, 100]] = np.nan
    want = analyze(y.drop(y.index[[5, 6, 100]]), x, hedge_ratio=25.0)
    pd.testing.assert_frame_equal(analyze(holes, x, hedge_ratio=25.0), want)


def test_time_zones_meet_in_utc_and_units_do_not_matter():
    y, x = two_series(55, 300)
    want = analyze(y, x, hedge_ratio=25.0)
    moved = y.tz_localize("UTC").tz_convert("Asia/Tokyo")
    pd.testing.assert_frame_equal(analyze(moved, x.tz_localize("UTC"), hedge_ratio=25.0), want)
    coarse = y.copy()
    coarse.index = coarse.index.as_unit("s")
    pd.testing.assert_frame_equal(analyze(coarse, x, hedge_ratio=25.0), want)


def test_nothing_in_common_gives_no_rows():
    empty = pd.Series([], pd.DatetimeIndex([]), dtype=float)
    y, x = two_series(56, 50)
    for pair in ((empty, x), (y, empty), (empty, empty)):
        got = analyze(*pair, hedge_ratio=25.0)
        assert len(got) == 0
        assert list(got.columns) == list(HISTORY_COLUMNS)


GOOD = pd.Series([1.0, 2.0, 3.0], minutes(3))


@pytest.mark.parametrize(
    ("y", "x", "message"),
    [
        (GOOD.iloc[::-1], GOOD, "ascend"),
        (GOOD, pd.concat([GOOD, GOOD]).sort_index(), "duplicate"),
        (GOOD.reset_index(drop=True), GOOD, "DatetimeIndex"),
        (GOOD.to_numpy(), GOOD, "Series"),
        ([1.0, 2.0], [1.0, 2.0], "Series"),
        (GOOD, None, "x must be a pandas Series"),
        (GOOD, GOOD.astype(str) + "?", "numbers"),
        (GOOD.replace(2.0, np.inf), GOOD, "finite"),
        (GOOD, GOOD.replace(2.0, 0.0), "above 0"),
        (GOOD, GOOD.replace(2.0, -37.63), "-37.63"),
        (pd.Series([1.0, 2.0], pd.DatetimeIndex(["2024-01-01", None])), GOOD, "NaT"),
    ],
)
def test_series_that_cannot_be_used(y, x, message):
    with pytest.raises(DataError, match=message):
        analyze(y, x, hedge_ratio=25.0)


FRAME = ticks_frame(worlds.trades(57, 100), Pair("BTCUSDT", "ETHUSDT"))


@pytest.mark.parametrize(
    ("frame", "given", "message"),
    [
        (FRAME.drop(columns="symbol"), {}, "'symbol'"),
        (FRAME.drop(columns="price"), {}, "'price'"),
        (FRAME.reset_index(drop=True), {}, "DatetimeIndex"),
        (FRAME, {"x": GOOD}, "either two Series or one frame"),
        (FRAME, {"pair": ("BTCUSDT", "SOLUSDT")}, "ETHUSDT"),
        (FRAME, {"pair": ("BTCUSDT", "BTCUSDT")}, "two symbols"),
        (FRAME.assign(symbol="BTCUSDT"), {}, "not of 1"),
        (FRAME.assign(price="a lot"), {}, "numbers"),
    ],
)
def test_frames_that_cannot_be_used(frame, given, message):
    with pytest.raises(DataError, match=message):
        analyze(frame, **given)


def test_settings_are_checked():
    with pytest.raises(SettingError, match="window"):
        analyze(GOOD, GOOD, windw=50)
    with pytest.raises(SettingError, match="10"):
        analyze(GOOD, GOOD, window=9)
    with pytest.raises(DataError, match="pair"):
        analyze(GOOD, GOOD, pair=("A", "B"))


def test_bad_ticks_in_a_frame_are_dropped_as_live():
    ticks = worlds.trades(58, 1_000)
    ticks["price"][[10, 500]] = np.nan, -3.0
    want = rows_frame(PairEngine(hedge_ratio=25.0).update(ticks))
    got = analyze(ticks_frame(ticks, Pair("BTCUSDT", "ETHUSDT")), hedge_ratio=25.0)
    pd.testing.assert_frame_equal(got, want)


@pytest.mark.data
def test_crude_oil(recorded):
    frame = worlds.crude(recorded)
    last = analyze(
        frame.iloc[:, 0], frame.iloc[:, 1], window=len(frame), hedge="ols", price_scale="log"
    ).iloc[-1]
    assert last["stationary"] == 1
    assert last["p_value"] < 1e-3
