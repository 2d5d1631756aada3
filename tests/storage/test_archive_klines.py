"""Klines of Binance's public archive, with every fault that its files are known to have."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from pairlab import DataError, Replay, analyze, backtest, read_archive
from pairlab.schema import Pair
from tests.storage.test_archive import one, refused, zipped

DAY = "2024-08-08"
T0_MS = int(pd.Timestamp(DAY).timestamp() * 1000)
MINUTE_MS = 60_000
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore"
)
NAMES = HEADER.split(",")
COLUMNS = ["open", "high", "low", "close", "volume", "quote_volume", "count", "taker_buy_volume"]


def klines(
    count: int, start_ms: int = T0_MS, level: float = 60_000, step_ms: int = MINUTE_MS
) -> pd.DataFrame:
    """Bars as the archive's columns have them."""
    random = np.random.default_rng(int(level))
    close = np.round(level * np.exp(np.cumsum(random.normal(0, 1e-3, count))), 2)
    open_ = np.r_[level, close[:-1]]
    opens = start_ms + step_ms * np.arange(count)
    volume = np.round(random.exponential(9, count) + 0.001, 3)
    bars = pd.DataFrame({
        "open_time": opens, "open": open_, "high": np.maximum(open_, close) + 0.5,
        "low": np.minimum(open_, close) - 0.5, "close": close, "volume": volume,
        "close_time": opens + step_ms - 1, "quote_volume": np.round(volume * close, 4),
        "count": random.integers(1, 900, count), "taker_buy_volume": np.round(volume / 2, 3),
        "taker_buy_quote_volume": 0.5, "ignore": 0,
    })  # fmt: skip
    return bars[NAMES]


def published(
    folder: Path, bars: pd.DataFrame, when: str = DAY, symbol: str = "BTCUSDT",
    interval: str = "1m", header: bool = True,
) -> Path:  # fmt: skip
    text = bars.to_csv(index=False, header=header).encode()
    return zipped(folder, text, f"{symbol}-{interval}-{when}.zip")


def expected(bars: pd.DataFrame) -> pd.DataFrame:
    """The same with pandas: sorted, each bar once, indexed by its end."""
    bars = bars.drop_duplicates("open_time").sort_values("open_time")
    ends = pd.to_datetime(bars["close_time"].to_numpy() + 1, unit="ms", utc=True).as_unit("ns")
    steps = bars["open_time"].diff().fillna(MINUTE_MS)
    found = pd.DataFrame(
        {"symbol": pd.Categorical(["BTCUSDT"] * len(bars)), **{n: bars[n] for n in COLUMNS}}
    ).rename(columns={"count": "trades"})
    found["gap_before"] = (steps > MINUTE_MS).astype(np.int64)
    return found.set_index(pd.DatetimeIndex(ends, name="time"))


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("unit", ["ms", "us"])
def test_a_day_as_published(tmp_path: Path, header: bool, unit: str) -> None:
    bars = klines(1_440)
    written = bars.copy()
    if unit == "us":
        written["open_time"] *= 1_000
        written["close_time"] = written["close_time"] * 1_000 + 999
    path = published(tmp_path, written, header=header)
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".CHECKSUM").write_text(f"{sha}  {path.name}\n")
    archive = read_archive(path)
    assert_frame_equal(archive.bars, expected(bars))
    assert archive.bars.attrs["label"] == "close"
    assert archive.bars.index[-1] == pd.Timestamp("2024-08-09", tz="UTC")
    assert len(archive.ticks) == 0
    first = T0_MS // MINUTE_MS
    assert one(archive.report) == {
        "symbol": "BTCUSDT", "kind": "klines", "interval": "1m", "rows": 1_440, "first_id": first,
        "last_id": first + 1_439, "missing": 0, "duplicates": 0, "conflicts": 0, "out_of_order": 0,
        "time_steps_back": 0, "zero_quantity": 0, "bad_price": 0, "off_grid": 0,
        "one_sided": False, "unit": unit, "header": header, "sha256": sha, "checksum": "verified",
    }  # fmt: skip
    assert "1,440 bars, 2024-08-08 00:01:00 to 2024-08-09 00:00:00 UTC" in repr(archive)


def test_rows_interleaved_twice_contradicting_and_missing(tmp_path: Path) -> None:
    bars = klines(600)
    kept = bars.drop(index=[100, 101, 102, 400])
    twice = kept.iloc[[7, 8, 9]].copy()
    twice.loc[8, "close"] += 0.01
    mixed = pd.concat([*(kept.iloc[k::27] for k in range(27)), twice])
    archive = read_archive(published(tmp_path, mixed))
    assert_frame_equal(archive.bars, expected(kept))
    report = one(archive.report)
    assert (report["missing"], report["duplicates"], report["conflicts"]) == (4, 3, 1)
    assert report["out_of_order"] > 20
    assert archive.bars["gap_before"].sum() == 2


def test_the_daily_file_is_right_where_the_monthly_one_says_otherwise(tmp_path: Path) -> None:
    bars = klines(3 * 1_440)
    month = bars.copy()
    month.loc[1_500, "close"] += 1.0  # of the second day
    month = month.drop(index=range(2_000, 2_010))
    paths = [
        published(tmp_path, month, "2024-08"),
        published(tmp_path, bars.iloc[1_440:2_880], "2024-08-09"),
    ]
    archive = read_archive(paths)
    assert_frame_equal(archive.bars, expected(bars))
    report = archive.report.loc[str(paths[0])]
    assert (report["duplicates"], report["conflicts"], report["missing"]) == (1_430, 1, 0)


def test_what_is_odd_in_the_rows_is_counted_and_kept(tmp_path: Path) -> None:
    bars = klines(50)
    bars.loc[3, "volume"] = 0.0
    bars.loc[4, "high"] = bars.loc[4, "low"] - 1
    bars.loc[5, "close"] = 0.0
    bars.loc[6, ["open_time", "close_time"]] += 7_000  # seven seconds late
    bars.loc[7, "close_time"] -= 30_000  # cut short
    archive = read_archive(published(tmp_path, bars))
    report = one(archive.report)
    assert (report["zero_quantity"], report["bad_price"], report["off_grid"]) == (1, 2, 2)
    assert report["missing"] == report["duplicates"] == 0
    whole = pd.date_range("2024-08-08 00:01", periods=50, freq="min", tz="UTC", name="time")
    assert archive.bars.index.equals(whole)
    assert archive.bars["close"].tolist() == bars["close"].tolist()


@pytest.mark.parametrize(
    ("interval", "opens", "end"),
    [
        ("1w", ["2024-07-29", "2024-08-05", "2024-08-19"], "2024-08-26"),  # of Mondays
        ("1mo", ["2023-12-01", "2024-01-01", "2024-03-01"], "2024-04-01"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_weeks_and_months(
    tmp_path: Path, interval: str, opens: list[str], end: str, named: bool
) -> None:
    bars = klines(3)
    starts = pd.DatetimeIndex(opens)
    ends = starts + (pd.offsets.MonthBegin() if interval == "1mo" else pd.Timedelta("7D"))
    bars["open_time"] = starts.as_unit("ms").asi8
    bars["close_time"] = ends.as_unit("ms").asi8 - 1
    path = published(tmp_path, bars, "2024-08", interval=interval)
    if not named:
        path = zipped(tmp_path, bars.to_csv(index=False).encode(), "bars.zip")
    archive = read_archive(path, symbol="BTCUSDT")
    report = one(archive.report)
    assert (report["interval"], report["missing"], report["off_grid"]) == (interval, 1, 0)
    assert archive.bars.index[-1] == pd.Timestamp(end, tz="UTC")
    assert archive.bars["gap_before"].tolist() == [0, 0, 1]


def test_a_pair_is_analyzed_and_backtested(tmp_path: Path) -> None:
    y, x = klines(1_440), klines(1_440, level=2_400).drop(index=range(700, 703))
    published(tmp_path, y)
    published(tmp_path, x, symbol="ETHUSDT")
    archive = read_archive(tmp_path)
    frame = archive.pair_bars("BTCUSDT", "ETHUSDT")
    assert list(frame.columns) == [
        f"{leg}_{part}" for leg in "yx" for part in ("open", "high", "low", "close", "volume")
    ]
    assert frame["x_close"].isna().sum() == 3
    assert archive.pair_bars("ETHUSDT", "BTCUSDT")["x_close"].equals(
        frame["y_close"].rename("x_close")
    )
    closes = [
        pd.Series(bars["close"].to_numpy(), pd.to_datetime(bars["close_time"] + 1, unit="ms"))
        for bars in (y, x)
    ]
    rows = analyze(frame, hedge="ols", window=50, timeframe="5m")
    assert_frame_equal(
        rows, analyze(*closes, hedge="ols", window=50, timeframe="5m", label="close")
    )
    assert np.isfinite(rows["zscore"]).sum() > 200
    given = {"hedge": "ols", "window": 50, "min_correlation": -1.0, "entry_z": 1.5}
    result = backtest(archive, pair=("BTCUSDT", "ETHUSDT"), **given)
    assert len(result.trades) > 3
    assert_frame_equal(result.trades, backtest(closes_of(frame), **given).trades)
    path = backtest(str(tmp_path), pair=("BTCUSDT", "ETHUSDT"), **given)
    assert_frame_equal(result.trades, path.trades)


def closes_of(frame: pd.DataFrame) -> pd.DataFrame:
    closes = frame[["y_close", "x_close"]].set_axis(["BTCUSDT", "ETHUSDT"], axis=1)
    closes.attrs["label"] = "close"
    return closes


def test_what_is_refused(tmp_path: Path) -> None:
    bars = klines(10)
    path = published(tmp_path, bars)
    hours = published(tmp_path, klines(10, step_ms=3_600_000), interval="1h")
    with pytest.raises(DataError, match="BTCUSDT: files of klines 1h and klines 1m"):
        read_archive([path, hours])
    with pytest.raises(DataError, match="x = None with bars of BTCUSDT: expected two symbols"):
        read_archive(path).pair_bars()
    other = published(tmp_path, klines(10, step_ms=3_600_000), symbol="ETHUSDT", interval="1h")
    with pytest.raises(DataError, match="different intervals"):
        read_archive([path, other]).pair_bars()
    strange = zipped(tmp_path, klines(9, step_ms=61_000).to_csv(index=False).encode(), "s.zip")
    refused(strange, "bars are 61 s long", symbol="BTCUSDT")
    bars["close_time"] *= 1_000
    refused(published(tmp_path, bars), "open times are in ms, close times in us")
    missing = klines(10).astype(object)
    missing.loc[4, "low"] = None
    refused(published(tmp_path, missing), "row 5 has no low")
    text = klines(10).to_csv(index=False).replace("count", "number").encode()
    refused(zipped(tmp_path, text, f"BTCUSDT-1m-{DAY}.zip"), "klines need one column trades")


async def test_bars_are_no_replay_and_that_is_said(tmp_path: Path) -> None:
    published(tmp_path, klines(10))
    published(tmp_path, klines(10), symbol="ETHUSDT")
    with pytest.raises(DataError, match=r"hold bars, not ticks: .*read_archive"):
        await Replay(tmp_path).open(Pair("BTCUSDT", "ETHUSDT"))
