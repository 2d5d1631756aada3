"""What `PairLab` and its accessors take, and what they refuse where it was written."""

import math

import numpy as np
import pandas as pd
import pytest

from pairlab import Board, PairLab, analyze
from pairlab.errors import DataError, SettingError


@pytest.mark.parametrize(
    ("y", "x"),
    [
        ("btcusdt", "ethusdt"), ("BTC/USDT", "ETH-USDT"), ("BTC/USDT:USDT", "BTCUSDT_240628"),
        (" BINANCE:BTCUSDT.P", "eth usdt"),
    ],
)  # fmt: skip
def test_symbols_as_people_write_them(y, x):
    lab = PairLab(y, x, hedge="OLS", stream="AggTrade")
    assert lab.pair.y == "BTCUSDT"
    assert lab.pair.x in ("ETHUSDT", "BTCUSDT_240628")
    assert lab.settings.hedge == "ols"
    assert lab.stream == "aggTrade"


@pytest.mark.parametrize("y", [None, 5, "", "BTC?", b"BTCUSDT", ["BTCUSDT"]])
def test_what_is_no_symbol(y):
    with pytest.raises(SettingError, match=r"y = .* is invalid: expected a symbol such as"):
        PairLab(y, "ETHUSDT")


def test_a_setting_is_not_an_attribute_of_the_lab():
    lab = PairLab(feed="demo")
    with pytest.raises(AttributeError, match=r"lab\.settings\.window = 12"):
        lab.window = 12
    lab.settings.window = 12
    assert lab.settings.window == 12


def test_one_series_twice_is_no_pair():
    index = pd.date_range("2024-01-01", periods=30, freq="min", tz="UTC")
    y = pd.Series(range(1, 31), index, name="close")
    with pytest.raises(DataError, match="the same 30 prices"):
        analyze(y, y.rename("other"), window=10, hedge="ols")
    assert len(analyze(y, y + 1.0, window=10, hedge_ratio=1.0)) == 30


def test_one_symbol_in_two_spellings_is_no_pair():
    with pytest.raises(SettingError, match="two different symbols"):
        PairLab("BTCUSDT", "btc/usdt", hedge="ols")


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        ("binanse", "did you mean 'binance'"), ("Demo", "did you mean 'demo'"),
        ("no/such/folder", "no/such/folder"), ("https://fstream.binance.com", "expected"),
        ([], "one path"), (["no/such"], "no/such"), ([None], "expected"), (5, "expected"),
    ],
)  # fmt: skip
def test_a_slip_in_the_feed_is_told_at_once(feed, message):
    with pytest.raises(SettingError, match=message):
        PairLab(feed=feed)


@pytest.mark.parametrize("timeframe", ["1M", "2m", "5min", "", None])
def test_months_are_no_minutes(timeframe):
    with pytest.raises(SettingError, match="timeframe"):
        PairLab(timeframe=timeframe)
    assert PairLab(timeframe="1D").settings.timeframe == "1d"


@pytest.mark.parametrize("name", ["x.parquet", "x.XLSX", "x.csv.gz", "x.json", "x.feather"])
def test_a_file_of_another_format_is_not_written_as_csv(tmp_path, name):
    path = tmp_path / name
    for target in (path, str(path)):
        with pytest.raises(DataError, match=r"expected a name that ends in \.csv"):
            PairLab().to_csv(target)
    assert not path.exists()


@pytest.mark.parametrize("later", ["1s", "5min", "900D"])
def test_the_future_has_no_row(later):
    with pytest.raises(DataError, match="still to come"):
        PairLab().at(pd.Timestamp.now("UTC") + pd.Timedelta("1h") + pd.Timedelta(later))


@pytest.mark.parametrize("last", ["5", 1.5, math.nan, [1], True, b"x"])
def test_what_is_no_number_of_rows_is_refused_by_name(last):
    with pytest.raises(SettingError, match=r"last = .* is invalid: expected a whole number"):
        PairLab().history(last)
    assert len(PairLab().history(np.int64(5))) == 0


@pytest.mark.parametrize("target", [3, None, b"x.csv", ["x.csv"], {}])
def test_what_is_no_place_for_text_is_refused(target):
    board = Board([("BTCUSDT", "ETHUSDT")], feed="demo")
    for one in (PairLab(), board):
        with pytest.raises(DataError, match="target must be a path or an open text file, not"):
            one.to_csv(target)
    with pytest.raises(DataError, match="to_parquet"):
        board.to_csv("x.parquet")


def test_a_message_repeats_no_more_of_a_value_than_one_can_read():
    with pytest.raises(SettingError) as refused:
        PairLab(stream="x" * 100_000)
    assert len(str(refused.value)) < 500
    assert len(str(refused.value.value)) == 100_000
