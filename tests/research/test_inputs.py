"""What `analyze` takes of what people bring, and what it refuses with the recipe."""

import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pairlab.data.frames import bars_frame, ticks_frame
from pairlab.engine import PairEngine
from pairlab.errors import DataError, PairlabWarning, SettingError
from pairlab.research import analyze
from pairlab.schema import NS_PER_S, TICK, AlertKind, Pair
from tests.engine import worlds

# How times are read, and filters: tests of their own ask for these warnings.
pytestmark = pytest.mark.filterwarnings("ignore::pairlab.PairlabWarning")

PAIR = Pair("BTCUSDT", "ETHUSDT")
GIVEN = {"hedge_ratio": 25.0, "window": 20}


def legs(n=300, step="min", start="2024-08-08", tz=None):
    y, x = worlds.cointegrated(61, n)
    times = pd.date_range(start, periods=n, freq=step, tz=tz)
    return pd.Series(y, times, name="BTCUSDT"), pd.Series(x, times, name="ETHUSDT")


def same(got, want):
    assert len(want) > 100
    pd.testing.assert_frame_equal(got, want, check_freq=False)


# -- a stamp on the boundary --------------------------------------------------------------------


def four_hours_of_trades():
    r = np.random.default_rng(3)
    y, x = worlds.cointegrated(3, 30_000)
    ticks = np.zeros(30_000, TICK)
    ticks["time_ns"] = 1_723_161_600 * NS_PER_S + np.sort(r.integers(0, 14_330 * NS_PER_S, 30_000))
    ticks["received_ns"] = ticks["time_ns"]
    ticks["leg"] = r.random(30_000) < 0.5
    ticks["price"] = np.where(ticks["leg"] == 0, y, x)
    ticks["quantity"] = 1.0
    return ticks


def test_our_own_minutes_make_our_own_five_minutes():
    engine = PairEngine(**GIVEN)
    engine.update(four_hours_of_trades())
    minutes, fives = (bars_frame(engine.bars(t)).dropna() for t in ("1m", "5m"))
    y, x = minutes["y_close"], minutes["x_close"]
    y.attrs, x.attrs = {}, {}
    for got in (
        analyze(y, x, timeframe="5m", label="close", **GIVEN),
        analyze(minutes, timeframe="5m", **GIVEN),  # they know what their times are
        analyze(minutes["y_close"], minutes["x_close"], timeframe="5m", **GIVEN),
        analyze(y.shift(freq="-1min"), x.shift(freq="-1min"), timeframe="5m", label="open",
                **GIVEN),
    ):  # fmt: skip
        assert len(got) == len(fives) == 47
        assert_array_equal(got.index, fives.index)
        assert_array_equal(got["y"], fives["y_close"])
        assert_array_equal(got["x"], fives["x_close"])
        assert (got[["y_age_s", "x_age_s"]] == 0.0).all(axis=None)
    as_trades = analyze(y, x, timeframe="5m", label="trade", **GIVEN)
    assert (as_trades["y"].to_numpy() != fives["y_close"].iloc[: len(as_trades)]).all()


@pytest.mark.parametrize("label", ["close", "open", "trade", None])
def test_bars_of_their_own_length(label):
    y, x = legs(200, "h")
    got = analyze(y, x, timeframe="1h", label=label, **GIVEN)
    shift = 0 if label == "close" else 1
    count = 200 if label in ("close", "open") else 199
    assert_array_equal(got.index, (y.index[:count] + shift * y.index.freq).tz_localize("UTC"))
    assert_array_equal(got["y"], y.iloc[:count])


def test_it_warns_how_a_boundary_is_read_and_checks_a_label():
    y, x = legs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        analyze(y, x, timeframe="5m", label="trade", **GIVEN, min_correlation=-1.0)
    with pytest.warns(PairlabWarning, match="label='close'") as told:
        analyze(y, x, timeframe="5m", **GIVEN)
    assert {warning.filename for warning in told} == {__file__}, "the line that called analyze"
    with pytest.raises(SettingError, match="label = 'left' is invalid: expected 'trade'"):
        analyze(y, x, label="left", **GIVEN)
    with pytest.raises(DataError, match="no regular steps"):
        analyze(y.iloc[[0, 1, 4, 9, 20]], x, label="open", **GIVEN)


# -- ages where data are bars -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "timeframe"), [("1min", "5m"), ("1min", "1h"), ("15min", "1h"), ("1h", "1d")]
)
def test_klines_make_entries(step, timeframe):
    y, x = legs(20_000, step)
    got = analyze(y, x, timeframe=timeframe, min_correlation=-1.0, entry_z=1.5, **GIVEN)
    assert (got["position"] != 0).any()
    assert got["y_age_s"].max() == 0.0


def thin_trades():
    ticks = worlds.trades(31, 12_000)
    ticks["time_ns"] = ticks["time_ns"][0] + (ticks["time_ns"] - ticks["time_ns"][0]) * 2_000
    return ticks


def test_thin_symbols_enter_at_an_hour():
    engine = PairEngine(timeframe="1h", min_correlation=-1.0, entry_z=1.5, **GIVEN)
    rows = engine.update(thin_trades()).copy()
    entered = rows[engine.events["row"][engine.events["kind"] == int(AlertKind.ENTRY)]]
    ages = np.maximum(entered["y_age_s"], entered["x_age_s"])
    assert len(ages) > 5
    assert (ages > 10.0).any()
    assert (ages <= 3600.0).all()


def test_it_warns_of_a_filter_that_held_everything_back():
    y, x = legs()
    with pytest.warns(PairlabWarning, match=r"held back every.*min_edge_bps = 9000\.0") as told:
        analyze(y, x, **GIVEN, min_edge_bps=9_000.0, min_correlation=-1.0)
    assert [warning.filename for warning in told] == [__file__], "the line that called analyze"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = analyze(y, x, **GIVEN, min_correlation=-1.0, entry_z=1.5)
    assert (got["position"] != 0).any()


def test_it_warns_of_a_cache_that_cannot_be_written(monkeypatch):
    monkeypatch.setattr("pairlab.engine.jit._PROBLEMS", {"it cannot be kept": None})
    y, x = legs()
    with pytest.warns(PairlabWarning, match="it cannot be kept"):
        analyze(y, x, **GIVEN, min_correlation=-1.0, entry_z=1.5)


# -- what is no number, no time -----------------------------------------------------------------

INDEX = pd.date_range("2024-08-08", periods=3, freq="min")


@pytest.mark.parametrize(
    "values",
    [
        pd.date_range("2024", periods=3), pd.to_timedelta([1, 2, 3], unit="s"),
        [True, True, True], [1 + 2j, 2 + 0j, 3 + 0j], ["1.5", "2.5", "3.5"],
        pd.array([True, False, None], "boolean"), pd.Categorical([1.0, 2.0, 3.0]),
        pd.Series([1.0, "2", 3.0], dtype=object).array,
        pd.Series([1.0, True, 3.0], dtype=object).array,
        pd.Series([np.timedelta64(1, "s")] * 3, dtype=object).array,
        pd.array(["1", "2", "3"], "string"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_no_price(values):
    good = pd.Series([1.0, 2.0, 3.0], INDEX)
    with pytest.raises(DataError, match="must hold numbers"):
        analyze(pd.Series(values, INDEX), good)
    ticks = pd.DataFrame({"symbol": ["A", "B", "A"], "price": values}, INDEX)
    with pytest.raises(DataError, match="price must hold numbers"):
        analyze(ticks, pair=("A", "B"), **GIVEN)


def test_numbers_of_every_kind_are_prices():
    y, x = legs()
    y, x = (y * 10).round(), x.round(2)
    want = analyze(y, x, **GIVEN)
    for kind in ("Float64", "float64", "Int64", "int64", "uint32"):
        same(analyze(y.astype(kind), x, **GIVEN), want)
    same(analyze(y.map(lambda v: Decimal(int(v))).astype(object), x, **GIVEN), want)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (pd.to_datetime(["1600-01-01", "1600-01-02", "1600-01-03"]).as_unit("s"), "1677"),
        (pd.to_datetime(["2300-01-01", "2300-01-02", "2300-01-03"]).as_unit("s"), "2262"),
        (pd.period_range("2024", periods=3, freq="D"), "to_timestamp"),
        (pd.Index([1_723_161_600_000, 1_723_161_660_000, 1_723_161_720_000]), "unit='ms'"),
        (pd.Index(["2024-01-01", "2024-01-02", "2024-01-03"]), "to_datetime"),
    ],
)  # fmt: skip
def test_indexes_that_are_no_times(index, message):
    prices = pd.Series([1.0, 2.0, 3.0], index)
    with pytest.raises(DataError, match=message):
        analyze(prices, prices, **GIVEN)


@pytest.mark.parametrize("step", ["1min", "5min", "15min", "30min"])
def test_local_times_over_a_change_of_clocks(step):
    aware = pd.date_range("2024-11-02", "2024-11-05", freq=step, tz="America/New_York")
    prices = pd.Series(np.linspace(1.0, 2.0, len(aware)), aware)
    local = prices.tz_localize(None)
    with pytest.raises(DataError, match=r"tz_localize.*ambiguous='infer'") as told:
        analyze(local, local, **GIVEN)
    assert "sort_index" not in str(told.value)
    named = local.tz_localize("America/New_York", ambiguous="infer")
    assert len(analyze(named, named * 2, **GIVEN)) == len(aware)
    with pytest.raises(DataError, match="sort_index"):
        analyze(prices.iloc[::-1], prices, **GIVEN)


def test_a_doubled_hour_of_hourly_local_times():
    aware = pd.date_range("2024-11-02", "2024-11-05", freq="h", tz="America/New_York")
    local = pd.Series(1.0, aware).tz_localize(None)
    with pytest.raises(DataError, match=r"duplicate.*ambiguous='infer'"):
        analyze(local, local, **GIVEN)


def test_a_time_zone_beside_none():
    y, x = legs()
    with pytest.raises(DataError, match=r"y has a time zone \(UTC\) and x has none"):
        analyze(y.tz_localize("UTC"), x, **GIVEN)


# -- silent assumptions -------------------------------------------------------------------------


def test_the_ratio_of_bitcoin_is_not_that_of_other_pairs():
    y, x = legs()
    assert len(analyze(y, x)) == 300
    for a, b in ((y.rename("SOLUSDT"), x), (x, y), (y.rename(None), x.rename(None))):
        with pytest.raises(SettingError, match="hedge_ratio"):
            analyze(a, b)
        assert len(analyze(a, b, hedge="OLS")) == 300


def test_bars_finer_than_the_prices_are_refused():
    y, x = legs(100, "D")
    for timeframe in ("1s", "1m", "1h"):
        with pytest.raises(DataError, match=r"expected '1d' or 'tick', as prices of y come every"):
            analyze(y, x, timeframe=timeframe, **GIVEN)
    assert len(analyze(y, x, timeframe="1d", label="close", **GIVEN)) == 100
    business = y[y.index.day_of_week < 5], x[x.index.day_of_week < 5]
    with pytest.raises(DataError, match="'1d'"):
        analyze(*business, timeframe="1h", **GIVEN)


def tick_frame():
    frame = ticks_frame(worlds.trades(57, 2_000), PAIR)
    return frame.astype({"symbol": object})


def test_which_leg_is_y_is_known_or_asked():
    frame = tick_frame()
    want = analyze(frame, **GIVEN)
    frame.attrs = {}
    for ticks in (frame, frame.astype({"symbol": "category"})):
        with pytest.raises(DataError, match=r"which of .* is y\? pair=\('BTCUSDT', 'ETHUSDT'\)"):
            analyze(ticks, **GIVEN)
        same(analyze(ticks, pair=PAIR, **GIVEN), want)


def test_ticks_in_no_order_are_refused():
    frame = tick_frame()[["symbol", "price"]]
    legs_apart = pd.concat([frame[frame.symbol == s] for s in PAIR])
    for wrong in (frame.sample(frac=1.0, random_state=1), frame.iloc[::-1], legs_apart):
        wrong.attrs = dict(frame.attrs)
        with pytest.raises(DataError, match="sort_index"):
            analyze(wrong, **GIVEN)


# -- what people bring --------------------------------------------------------------------------


def test_a_frame_of_two_columns():
    y, x = legs()
    want = analyze(y, x, **GIVEN)
    frame = pd.DataFrame({"BTC": y, "ETH": x})
    same(analyze(frame, **GIVEN), want)
    more = frame.assign(SOL=1.0)[["SOL", "ETH", "BTC"]]
    same(analyze(more, pair=("BTC", "ETH"), **GIVEN), want)
    same(analyze(frame[["BTC"]], frame[["ETH"]], **GIVEN), want)
    with pytest.raises(DataError, match="two columns, y and then x, not 3"):
        analyze(more, **GIVEN)
    with pytest.raises(DataError, match="no column 'DOGE'"):
        analyze(more, pair=("DOGE", "ETH"), **GIVEN)
    with pytest.raises(DataError, match="several levels"):
        analyze(pd.concat({"Close": frame}, axis=1), **GIVEN)


def test_polars_frames_and_series():
    pl = pytest.importorskip("polars")
    y, x = legs()
    want = analyze(y, x, **GIVEN)
    frame = pl.DataFrame({"BTC": y.to_numpy(), "time": y.index.to_numpy(), "ETH": x.to_numpy()})
    same(analyze(frame, **GIVEN), want)
    zoned = frame.with_columns(pl.col("time").dt.replace_time_zone("UTC").dt.cast_time_unit("us"))
    same(analyze(zoned, **GIVEN), want)
    same(analyze(frame["BTC"], frame["ETH"], times=frame["time"], **GIVEN), want)
    same(analyze(frame[["time", "BTC"]], frame[["time", "ETH"]], **GIVEN), want)
    same(analyze(y.to_numpy(), x.to_numpy(), times=y.index, **GIVEN), want)
    with pytest.raises(DataError, match="times"):
        analyze(frame["BTC"], frame["ETH"], **GIVEN)
    with pytest.raises(DataError, match="collect"):
        analyze(frame.lazy(), **GIVEN)
    with pytest.raises(DataError, match="numbers"):
        analyze(frame.with_columns(pl.col("BTC").cast(pl.String)), **GIVEN)
    ticks = tick_frame()
    brought = pl.DataFrame(
        {"time": ticks.index.tz_localize(None).to_numpy(), "symbol": list(ticks["symbol"]),
         "price": ticks["price"].to_numpy()}
    )  # fmt: skip
    got = analyze(brought, pair=PAIR, **GIVEN)
    assert_allclose(got["zscore"], analyze(ticks, **GIVEN)["zscore"])


@pytest.mark.parametrize(
    ("step", "timeframe", "fits"),
    [("1h", "1m", "1h"), ("1h", "5s", "1h"), ("5min", "1s", "5m"), ("1min", "5s", "1m"),
     ("2h", "1h", "1d")],
)  # fmt: skip
def test_bars_shorter_than_the_steps_of_the_prices_are_refused(step, timeframe, fits):
    times = pd.date_range("2024-08-05", periods=300, freq=step)
    y, x = pd.Series(np.arange(300.0) + 50, times), pd.Series(np.arange(300.0) + 20, times)
    words = rf"timeframe = '{timeframe}' is invalid: expected '{fits}' or 'tick'.*copies"
    for given in ((y, x), (y[times.minute % 7 != 3] if step == "1min" else y.drop(times[5:9]), x)):
        with pytest.raises(DataError, match=words):
            analyze(*given, hedge_ratio=2.0, timeframe=timeframe)
    assert len(analyze(y, x, hedge_ratio=2.0, timeframe=fits)) >= 20


def test_trades_that_are_seldom_still_make_bars():
    rng = np.random.default_rng(3)
    at = np.sort(rng.choice(50_000, 600, replace=False))  # one in 83 s on average
    times = pd.Timestamp("2024-08-05") + pd.to_timedelta(at, "s")
    y, x = pd.Series(rng.normal(50, 1, 600), times), pd.Series(rng.normal(20, 1, 600), times)
    assert len(analyze(y, x, hedge_ratio=2.0, timeframe="1m")) > 600


def test_columns_of_arrow_are_prices():
    pa = pytest.importorskip("pyarrow")
    times = pd.date_range("2024-08-05", periods=80, freq="min", tz="UTC")
    rng = np.random.default_rng(4)
    y, x = pd.Series(rng.normal(50, 1, 80), times), pd.Series(rng.normal(20, 1, 80), times)
    y.iloc[7] = np.nan
    want = analyze(y, x, hedge_ratio=2.0, window=10)
    arrow_index = pd.Index(times.astype("timestamp[us, tz=UTC][pyarrow]"))
    for index in (times, arrow_index):
        for dtype in (pd.ArrowDtype(pa.float64()), "float64[pyarrow]"):
            legs = [pd.Series(leg.array, index).astype(dtype) for leg in (y, x)]
            pd.testing.assert_frame_equal(analyze(*legs, hedge_ratio=2.0, window=10), want)
    exact = pd.ArrowDtype(pa.decimal128(12, 6))
    legs = [leg.round(6).astype(exact) for leg in (y.ffill(), x)]
    same = analyze(y.ffill().round(6), x.round(6), hedge_ratio=2.0, window=10)
    pd.testing.assert_frame_equal(analyze(*legs, hedge_ratio=2.0, window=10), same)
    for wrong in ("bool[pyarrow]", "string[pyarrow]", "timestamp[ns][pyarrow]"):
        bad = pd.Series([1] * 80, times).astype(str if wrong.startswith("str") else "int64")
        with pytest.raises(DataError, match="y must hold numbers"):
            analyze(bad.astype(wrong), x, hedge_ratio=2.0)


def test_ticks_whose_columns_are_of_arrow_are_ticks():
    pytest.importorskip("pyarrow")
    times = pd.date_range("2024-08-05", periods=200, freq="s", tz="UTC")
    frame = pd.DataFrame(
        {"symbol": ["A", "B"] * 100, "price": np.arange(200.0) % 7 + 50, "id": np.arange(200)},
        index=times,
    )
    want = analyze(frame, pair=("A", "B"), hedge_ratio=1.0, window=10)
    arrow = frame.convert_dtypes(dtype_backend="pyarrow")
    got = analyze(arrow, pair=("A", "B"), hedge_ratio=1.0, window=10)
    pd.testing.assert_frame_equal(got, want)
