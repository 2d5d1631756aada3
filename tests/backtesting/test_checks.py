"""`check_lookahead` and `check_warmup`: silent on the engine, loud on planted faults."""

import numpy as np
import pandas as pd
import pytest

from pairlab import DataError, Pair, SettingError, check_lookahead, check_warmup
from pairlab.backtesting import checks
from pairlab.data.frames import ticks_frame
from pairlab.research import past
from tests.engine import worlds

# How times are read, and filters: tests of their own ask for these warnings.
pytestmark = pytest.mark.filterwarnings("ignore::pairlab.PairlabWarning")

PAIR = Pair("BTCUSDT", "ETHUSDT")


@pytest.fixture(scope="module")
def frame():
    return ticks_frame(worlds.trades(4, 3_000, silence=0.005), PAIR)


@pytest.fixture(scope="module")
def series():
    y, x = worlds.cointegrated(5, 900, noise=4.0)
    minutes = pd.date_range("2024-08-08", periods=900, freq="min", tz="UTC")
    keep = np.random.default_rng(5).random((2, 900)) < 0.9
    return tuple(pd.Series(leg, minutes)[k] for leg, k in zip((y, x), keep, strict=True))


@pytest.mark.parametrize("timeframe", ["tick", "1s", "1m"])
@pytest.mark.parametrize("hedge", ["ols", "kalman"])
def test_no_row_of_ticks_knows_of_the_future(frame, timeframe, hedge):
    given = {"window": 10, "kalman_half_life": 10.0, "min_correlation": -1.0}
    found = check_lookahead(frame, prefixes=5, timeframe=timeframe, hedge=hedge, **given)
    assert found.ok, str(found)
    assert found.prefixes == 5
    assert found.rows > {"tick": 5_000, "1s": 400, "1m": 5}[timeframe]
    assert "no look-ahead" in str(found)


@pytest.mark.parametrize("timeframe", ["tick", "5m"])
def test_no_row_of_series_knows_of_the_future(series, timeframe):
    found = check_lookahead(series, timeframe=timeframe, window=20, hedge="ols")
    assert found.ok, str(found)


def planted(monkeypatch, change):
    """Let something of the data path know of all the data."""
    real = past.past_of

    def past_of(given, settings, label, limit_ns, take=None):
        found = real(given, settings, label, limit_ns)
        change(found.rows)
        return found

    monkeypatch.setattr("pairlab.backtesting.run.past_of", past_of)


def test_a_column_that_knows_of_the_end_is_found(frame, monkeypatch):
    def demean(rows):
        rows["zscore"] -= np.nansum(rows["zscore"]) / max(len(rows), 1)

    planted(monkeypatch, demean)
    found = check_lookahead(frame, window=20, hedge="ols")
    assert not found.ok
    assert found.column == "zscore"
    assert found.time == frame.index[20].floor("us") or found.time > frame.index[0]
    assert "another zscore" in str(found)


def test_a_row_that_knows_of_the_next_one_is_found_in_the_last_bit(frame, monkeypatch):
    def peek(rows):
        rows["spread"][:-1] = np.nextafter(rows["spread"][:-1], rows["spread"][1:])

    planted(monkeypatch, peek)
    found = check_lookahead(frame, window=20, hedge="ols", prefixes=3)
    assert (found.ok, found.column) == (False, "spread")


def test_a_silence_that_is_judged_by_all_data_is_found():
    """What ``max_silence="auto"`` does, and why it is not the default here."""
    y, x = worlds.cointegrated(5, 2_000, noise=4.0)
    steps = np.where(np.arange(2_000) < 1_000, 1.0, 40.0)
    steps[[300, 600]] = 350.0  # longer than five minutes, and shorter than ten steps of 40 s
    times = pd.to_datetime(1_723_000_000 + np.cumsum(steps), unit="s", utc=True)
    legs = pd.Series(y, times), pd.Series(x, times + pd.Timedelta("300ms"))
    given = {"window": 20, "hedge": "ols"}
    assert check_lookahead(legs, **given).ok
    found = check_lookahead(legs, max_silence="auto", **given)
    assert not found.ok, "or the docstring's warning is out of date"


@pytest.mark.parametrize("hedge", ["fixed", "ols"])
def test_a_window_is_warm_once_it_is_full(frame, hedge):
    found = check_warmup(frame, window=40, hedge=hedge, hedge_ratio=25.0)
    assert found.ok, str(found)
    assert found.rows <= found.warm_up_rows == 39
    assert found.largest_difference < 1e-6


def test_a_kalman_filter_takes_longer_and_it_says_so(series):
    found = check_warmup(series, window=20, hedge="kalman", kalman_half_life=15.0)
    assert not found.ok
    assert found.rows > found.warm_up_rows
    assert "still depends on where the data begin" in str(found)


def test_what_cannot_be_compared_is_refused(frame):
    for check in (check_lookahead, check_warmup):
        with pytest.raises(DataError, match="fewer than two"):
            check(frame.iloc[:1], pair=PAIR)
    for bad in (0, 1_001, 2.5, True):
        with pytest.raises(SettingError, match="prefixes"):
            check_lookahead(frame, prefixes=bad)
        with pytest.raises(SettingError, match="starts"):
            check_warmup(frame, starts=bad)
    assert checks.__all__


def test_nothing_compared_is_no_clean_bill():
    index = pd.date_range("2024-08-08", periods=50, freq="s", tz="UTC")
    prices = tuple(pd.Series(np.linspace(100.0, end, 50), index) for end in (101.0, 102.0))
    with pytest.raises(DataError, match="nothing was compared"):
        check_lookahead(prices, hedge="ols", timeframe="1h", max_silence=None)
    with pytest.raises(DataError, match="nothing was compared"):
        check_warmup(prices, hedge="ols", window=50, max_silence=None)
