"""Delisted, misspelt and never-trading symbols, one with itself, pairs by the thousand: told."""

from __future__ import annotations

import asyncio
import itertools
import json

import numpy as np
import pandas as pd
import pytest
from websockets.asyncio.server import ServerConnection

from pairlab import Board, DataError, SettingError, scan, scan_live
from pairlab.engine import compile_kernel
from pairlab.feeds import FeedGroup
from tests.board.test_board import until
from tests.feeds.scripted import NOW_MS, PAIR, Script, agg, at_once, playing, quick
from tests.scanning.test_scan import walks

pytestmark = pytest.mark.usefixtures("no_task_left")

HOUR_MS = 3_600_000
LISTED = {
    "BTCUSDT": "TRADING", "ETHUSDT": "TRADING", "NEVERUSDT": "TRADING", "GONEUSDT": "SETTLING",
    "NEWUSDT": "PENDING_TRADING",
}  # fmt: skip
BARS = 200


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_kernel(many_pairs=True)


async def trades(ws: ServerConnection) -> None:
    """Two symbols trade, the others are silent."""
    id_ = 0
    while True:
        id_ += 1
        for leg in (0, 1):
            await ws.send(agg(leg, id_, ms=10 * id_, price=f"{100 + (7 * id_ + leg) % 5}"))
        await asyncio.sleep(0.002)


def answers(path: str, query: dict[str, str]) -> tuple[int, bytes] | None:
    """What this exchange says of its symbols and their candles; the rest is the script's."""
    if path.endswith("/exchangeInfo"):
        symbols = [
            {
                "symbol": symbol, "status": status,
                "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.10"}],
            }
            for symbol, status in LISTED.items()
        ]  # fmt: skip
        return 200, json.dumps({"symbols": symbols}).encode()
    if path.endswith("/klines"):
        if query["symbol"] not in PAIR:
            return 200, b"[]"
        r = np.random.default_rng(PAIR.index(query["symbol"]))
        closes = 100 + r.normal(size=BARS).cumsum() / 10
        first = NOW_MS // HOUR_MS * HOUR_MS - BARS * HOUR_MS
        opens = [first + at * HOUR_MS for at in range(BARS)]
        body = [
            [at, "1", "1", "1", f"{close:.4f}", "1", at + HOUR_MS - 1, "1", 1, "1", "1", "0"]
            for at, close in zip(opens, closes, strict=True)
        ]
        return 200, json.dumps(body).encode()
    return None


def group_of(script: Script) -> FeedGroup:
    timeouts = quick(idle_min_s=90.0, idle_busy_s=99.0)
    return FeedGroup(url=script.url, timeouts=timeouts, retry=at_once())


async def test_a_board_tells_why_and_the_others_go_on() -> None:
    (y, x), asked = PAIR, [
        PAIR, (PAIR.y, "GONEUSDT"), (PAIR.y, "NEWUSDT"), ("NEVERUSDT", PAIR.x), ("BTCUDST", PAIR.x),
        (PAIR.y, PAIR.y),
    ]  # fmt: skip
    async with playing(trades) as script:
        script.rest = answers
        board = Board(asked, feed=group_of(script))
        assert len(board) == 5  # all but the symbol with itself
        assert any("two different symbols" in entry.message for entry in board.event_log)
        async with board:
            await until(board, lambda: len(board[y, x].rows) > 60)
            await until(board, lambda: bool(board.health().failed))
            words = [entry.message for entry in board.event_log]
            assert any("GONEUSDT does not trade" in text for text in words), words
            assert any("NEWUSDT does not trade" in text for text in words)
            assert "did you mean BTCUSDT" in board.health().failed["BTCUDST"]
            table = board.latest
            assert table.loc[(y, x), "state"] == "live"
            assert table.loc[("BTCUDST", x), "state"] == "failed"
            for pair in ((y, "GONEUSDT"), (y, "NEWUSDT"), ("NEVERUSDT", x)):
                assert table.loc[pair, "time"] is pd.NaT
                assert len(board[pair].rows) == 0
            assert np.isnan(table.loc[("NEVERUSDT", x), "y_age_s"])  # it has never traded
            assert board.health().state == "live"
            with pytest.raises(SettingError, match="two different symbols"):
                board.add((y, y))
            late = board.add(("ETHUDST", y))
            await until(board, lambda: "ETHUDST" in board.health().failed)
            assert late.health().state == "failed"
            was = board[y, x].pipeline.row_count
            await until(board, lambda: board[y, x].pipeline.row_count > was + 50)


async def test_a_scan_of_the_exchange_tells_why_and_the_others_go_on() -> None:
    asked = [*LISTED, "BTCUDST", "BTCUSDT"]
    async with playing(trades) as script:
        script.rest = answers
        found = await scan_live(asked, "1h", BARS, feed=script.url, placebo=0)
        assert found.symbols == PAIR
        assert found.pairs_tested == 1
        aside = found.set_aside
        assert "GONEUSDT does not trade" in aside["GONEUSDT"]
        assert "NEWUSDT does not trade" in aside["NEWUSDT"]
        assert "never traded" in aside["NEVERUSDT"]
        assert "did you mean BTCUSDT" in aside["BTCUDST"]
        assert "no pair with itself" in aside["BTCUSDT (again)"]
        assert len(aside) == 5
        with pytest.raises(DataError, match="1 of 2 symbols have candles"):
            await scan_live(["BTCUSDT", "GONEUSDT"], "1h", BARS, feed=script.url)


def test_ten_thousand_pairs_are_scanned_and_a_board_says_how_many_it_has() -> None:
    prices = walks(142, 120, seed=5)
    found = scan(prices, placebo=0, rows=10)
    assert found.pairs_tested == 142 * 141 // 2 == 10_011
    assert len(found.frame) == 10
    symbols = [f"S{k}USDT" for k in range(142)]
    asked = [*itertools.combinations(symbols, 2)][:10_000]
    board = Board([*asked[:5], ("S1USDT", "S1USDT"), *asked[5:]], feed="demo", history_rows=100)
    words = [entry.message for entry in board.event_log]
    assert len(board) == 2_000
    assert board.pairs == tuple(asked[:2_000])
    assert any("two different symbols" in text for text in words)
    assert any("10,000 pairs were asked for, a board has at most 2,000" in text for text in words)
    every = Board(symbols, feed="demo", rescan="off", history_rows=100)
    assert len(every) == 2_000
    assert "10,011 pairs were asked for" in every.event_log[-1].message
    with pytest.raises(SettingError, match="two different symbols"):
        Board([("AUSDT", "ausdt")] * 10_000, feed="demo")
