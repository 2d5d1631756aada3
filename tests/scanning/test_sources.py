"""Prices of files and of an exchange: what is read is what was traded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pairlab import DataError, FeedError, PairLab, SettingError, scan, scan_live
from pairlab.cli import main
from pairlab.local_exchange import LocalExchange, UniverseMarket
from pairlab.scanning.sources.files import prices_of_files
from tests.backtesting.test_inputs import archived, frame_of
from tests.lab.test_runner import ScriptedFeed, some_ticks
from tests.scanning.test_scan import walks

SYMBOLS = ["SOLUSDT", "AVAXUSDT", "ETHUSDT", "BTCUSDT"]


def bars_of(ticks: pd.DataFrame, length: str) -> pd.DataFrame:
    """Closes by pandas: an oracle."""
    closes = {
        str(name): part["price"].resample(length, closed="left", label="right").last()
        for name, part in ticks.groupby("symbol", observed=True)
    }
    return pd.DataFrame(closes).dropna(how="all")


def same(found: pd.DataFrame, want: pd.DataFrame) -> None:
    want = want[list(found.columns)]
    assert len(found) >= 3
    np.testing.assert_array_equal(found.index.asi8, want.index.as_unit("ns").asi8)
    np.testing.assert_array_equal(found.to_numpy(), want.to_numpy())


def test_closes_of_archives_are_those_of_pandas(tmp_path: Path) -> None:
    frame = frame_of()
    folder = archived(frame, tmp_path / "archive")
    milliseconds = frame.set_axis(frame.index.floor("ms"))
    want = bars_of(milliseconds, "1s")
    same(prices_of_files(folder, "1s"), want)
    same(prices_of_files(sorted(folder.iterdir()), "1s"), want)
    with pytest.raises(SettingError, match="timeframe = 'tick' is invalid"):
        prices_of_files(folder, "tick")


def test_closes_of_klines_are_what_they_say(tmp_path: Path) -> None:
    prices = walks(3, 120)
    for name in prices:
        opens = prices.index.as_unit("ns").asi8 // 10**6 - 3_600_000
        rows = pd.DataFrame(dict.fromkeys(range(12), 1), index=range(len(opens)))
        rows[0], rows[4], rows[6] = opens, prices[name].to_numpy(), opens + 3_599_999
        for month, part in rows.groupby(pd.to_datetime(opens, unit="ms").strftime("%Y-%m")):
            path = tmp_path / f"{name}-1h-{month}.zip"
            part.to_csv(path, index=False, header=False, compression="zip")
    found = prices_of_files(tmp_path, "1h")
    same(found, prices)
    daily = prices_of_files(tmp_path, "1d")
    assert daily["S000USDT"]["2026-01-03"] == prices["S000USDT"]["2026-01-03 00:00"]
    assert scan(tmp_path, timeframe="1h", placebo=0).pairs_tested == 3


async def test_closes_of_a_recording_are_those_of_its_ticks(tmp_path: Path) -> None:
    feed = ScriptedFeed()
    async with PairLab(feed=feed, window=20) as lab:
        recording = lab.record(tmp_path / "one")
        await feed.give(some_ticks(3_000))
        await lab.wait_async(2_900, 60)
        await recording.stop()
        ticks = lab.ticks()
    found = await asyncio.to_thread(prices_of_files, [tmp_path / "one"], "1s")
    same(found, bars_of(ticks, "1s"))


def test_what_is_no_source_is_told(tmp_path: Path) -> None:
    (tmp_path / "prices.txt").write_text("a")
    (tmp_path / "X-1h-2026-01.csv").write_text("a,b\n1,2\n")
    for given, says in (
        (tmp_path / "none", "No such file or folder"),
        (tmp_path / "prices.txt", "a file of Binance's archive with its own name"),
        (tmp_path / "X-1h-2026-01.csv", "cannot be read as klines"),
        (3, "paths of recordings, archives or a table, not int"),
        ([], "not list"),
    ):
        with pytest.raises(DataError, match=says):
            scan(given)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="no recording and no file"):
        scan(tmp_path / "folder")


@pytest.fixture(scope="module")
def market() -> UniverseMarket:
    return UniverseMarket(hours=400)


async def test_candles_are_fetched_within_the_budget_and_faults_are_told(
    market: UniverseMarket,
) -> None:
    async with LocalExchange(market) as exchange:
        asked = [*SYMBOLS, "btc/usdt", "BTCUDST", "a symbol!", "no&symbol"]
        found = await scan_live(asked, "1h", 300, feed=exchange.url, placebo=0)
        assert set(found.symbols) == set(SYMBOLS)
        assert len(found.universe.index) == 300
        assert found.set_aside["BTCUSDT (again)"].startswith("named twice")
        assert "did you mean BTCUSDT" in found.set_aside["BTCUDST"]
        assert "expected a symbol" in found.set_aside["no&symbol"]
        closes = {
            k[6] + 1: float(k[4]) for k in market.klines("SOLUSDT", 3_600_000, None, None, 400)
        }
        got = found.universe.prices[found.symbols.index("SOLUSDT")]
        times = found.universe.index.as_unit("ns").asi8 // 10**6
        np.testing.assert_array_equal(got, [closes[at] for at in times.tolist()])
        with pytest.raises(SettingError, match="bars = 5 is invalid"):
            await scan_live(SYMBOLS, "1h", 5, feed=exchange.url)
        with pytest.raises(SettingError, match="timeframe = '7m' is invalid"):
            await scan_live(SYMBOLS, "7m", feed=exchange.url)
        with pytest.raises(SettingError, match="expected two symbols or more"):
            await scan_live("BTCUSDT", feed=exchange.url)
        with pytest.raises(DataError, match="0 of 2 symbols have candles"):
            await scan_live(["NOPEUSDT", "NONEUSDT"], feed=exchange.url)


async def test_more_bars_than_an_answer_holds_are_paged(market: UniverseMarket) -> None:
    async with LocalExchange(market) as exchange:
        found = await scan_live(["SOLUSDT", "AVAXUSDT"], "1m", 1_000, feed=exchange.url, placebo=0)
        every = await scan_live(["SOLUSDT", "AVAXUSDT"], "1h", 2_000, feed=exchange.url, placebo=0)
    assert len(every.universe.index) == 400
    assert len(found.universe.index) <= 1_000


async def test_an_exchange_that_is_not_there_is_told(market: UniverseMarket) -> None:
    async with LocalExchange(market) as exchange:
        pass
    with pytest.raises(FeedError, match="cannot be reached"):
        await scan_live(SYMBOLS, feed=exchange.url)


async def test_the_command_asks_the_exchange(
    market: UniverseMarket, capsys: pytest.CaptureFixture[str]
) -> None:
    async with LocalExchange(market) as exchange:
        command = ["scan", "--symbols", *SYMBOLS, "BTCUDST", "--feed", exchange.url,
                   "--bars", "300", "--placebo", "0"]  # fmt: skip
        await asyncio.to_thread(main, command)
    captured = capsys.readouterr()
    assert "6 pairs of 4 symbols tested" in captured.out
    assert "pairlab: BTCUDST was set aside: the exchange does not list" in captured.err


def test_the_command_wants_one_of_both() -> None:
    with pytest.raises(SystemExit, match="give either DATA or --symbols"):
        main(["scan"])


def test_planted_pairs_are_what_they_say(market: Any) -> None:
    from pairlab.local_exchange.market.universe import _paths

    paths, planted = _paths(np.random.default_rng(3), 40_000)
    assert len(paths) == 52 == len(market.names)
    for pair in planted:
        spread = paths[pair.y] - pair.hedge_ratio * paths[pair.x]
        gamma = np.corrcoef(spread[1:], spread[:-1])[0, 1] - 1
        assert -np.log(2) / np.log1p(gamma) == pytest.approx(pair.half_life, rel=0.15)
    steps = np.diff(np.log([paths[name] for name in market.common_factor]))
    assert np.corrcoef(steps)[np.triu_indices(12, 1)].min() > 0.7
