"""A board on a real exchange on localhost, beside a lab on the same connections."""

from __future__ import annotations

import asyncio
import io
import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import pytest

from pairlab import Board, PairLab
from pairlab.board_protocol import BoardAlert, BreakAlert
from pairlab.engine import PairEngine, compile_kernel
from pairlab.errors import PairlabError, SettingError, WaitTimeoutError
from pairlab.feeds import FeedGroup
from pairlab.feeds.config import Retry
from pairlab.local_exchange import Fault, LocalExchange
from pairlab.protocols import LabView
from pairlab.widgets.board.board_words import alerts_html
from tests.feeds.many import markets, pairs
from tests.feeds.scripted import quick

pytestmark = pytest.mark.usefixtures("no_task_left")

(A, B), (C, D) = pairs(2)


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_kernel(many_pairs=True)


def group_of(url: str) -> FeedGroup:
    retry = Retry(delays=lambda: itertools.repeat(0.1))
    return FeedGroup(url=url, timeouts=quick(), retry=retry)


async def until(board: Board, true: Callable[[], bool], within_s: float = 120.0) -> None:
    """Wait until it holds, looked at after each batch."""
    news = asyncio.Event()
    remove = board.on_update(news.set)
    try:
        async with asyncio.timeout(within_s):
            while not true():
                news.clear()
                await news.wait()
    finally:
        remove()


def rows_of(board: Board, y: str, x: str) -> np.ndarray:
    return board[y, x].rows.view()


async def test_rows_are_those_of_a_lab_through_a_broken_connection() -> None:
    async with LocalExchange(markets(2, 300.0)) as exchange:
        group = group_of(exchange.url)
        board = Board([(A, B), (C, D), (A, D)], feed=group, window=30)
        lab = PairLab(A, B, feed=group.pair(A, B), hedge="ols", window=30)
        async with board, lab:
            await until(board, lambda: all(len(pair.rows) > 200 for pair in board))
            assert exchange.stats().streams == 4
            exchange.inject(Fault("drop"))
            exchange.inject(Fault("gap", stream=f"{A.lower()}@aggTrade", count=5))
            was = board[A, B].pipeline.row_count
            await until(board, lambda: board.health().reconnects > 0)
            await until(board, lambda: board[A, B].pipeline.row_count > was + 400)
            await lab.wait_async(was + 400, 30)
            health = board.health()
            assert (health.state, health.missing, health.pairs, health.symbols) == ("live", 0, 3, 4)
            assert health.ticks_per_s > 0
            assert health.row_p99_ms == health.row_p99_ms
            ours, theirs = rows_of(board, A, B), lab.rows.view()
            common = min(len(ours), len(theirs))
            fields = [n for n in ours.dtype.names if n != "received_ns"]  # REST answers are stamped
            for name in fields:
                assert ours[name][:common].tobytes() == theirs[name][:common].tobytes(), name
            assert common > 600
            # and of the engine, on what is held
            for pair in board:
                want = PairEngine(hedge="ols", window=30).update(pair.pipeline.ticks.view())
                assert pair.rows.view().tobytes() == want.tobytes()
    assert board.health().state == "stopped"


async def test_what_cannot_be_had_is_told_and_the_others_go_on() -> None:
    asked = [(A, B), ("NOSUCHUSDT", B), (C, C), ("?", D), (A, 7)]
    async with LocalExchange(markets(2, 200.0, begins=[A, B])) as exchange:
        board = Board(asked, feed=group_of(exchange.url))
        words = [entry.message for entry in board.event_log]
        assert len(words) == 3
        assert any("two different symbols" in text for text in words)
        async with board:
            await until(board, lambda: len(board[A, B].rows) > 60)
            await until(board, lambda: "NOSUCHUSDT" in board.health().failed)
            assert "does not list 'NOSUCHUSDT'" in board.health().failed["NOSUCHUSDT"]
            table = board.latest
            assert table.loc[("NOSUCHUSDT", B), "state"] == "failed"
            assert np.isnan(table.loc[("NOSUCHUSDT", B), "zscore"])
            assert table.loc[(A, B), "state"] == "live"
            assert board.health().state == "live"
            assert board["NOSUCHUSDT", B].health().state == "failed"
            was = len(board[A, B].rows)
            await until(board, lambda: len(board[A, B].rows) > was + 20)


async def test_pairs_come_warm_and_leave_while_it_runs() -> None:
    async with LocalExchange(markets(2, 200.0, begins=[A, B, C])) as exchange:
        board = Board([(A, B), (C, B)], feed=group_of(exchange.url), window=20)
        async with board:
            await until(board, lambda: all(len(pair.rows) > 100 for pair in board))
            new = board.add((A, C), entry_z=1.0, min_correlation=-1.0)
            assert isinstance(new, LabView)
            await until(board, lambda: len(new.rows) > 150)
            first = new.rows.view()[0]["time_ns"]
            # its first row is as old as the symbols' ticks are
            assert first <= rows_of(board, A, B)[0]["time_ns"] + 2e9
            gone = board.remove((C, B))
            rows = len(gone.rows)
            assert (C, B) not in board
            assert exchange.stats().streams == 3  # C has a pair still
            board.remove((A, C))
            await until(board, lambda: exchange.stats().streams == 2)
            assert len(gone.rows) == rows
            assert not gone.running
            was = len(board[A, B].rows)
            await until(board, lambda: len(board[A, B].rows) > was + 50)
            with pytest.raises(SettingError, match="did you mean"):
                board[B, A]


async def test_settings_of_one_pair_alone_change_while_it_runs() -> None:
    async with LocalExchange(markets(1, 300.0)) as exchange:
        board = Board({(A, B): {"window": 40}, (B, A): {}}, feed=group_of(exchange.url), window=20)
        async with board:
            await until(board, lambda: all(len(pair.rows) > 60 for pair in board))
            assert int(rows_of(board, A, B)[-1]["filled"]) == 40
            board[A, B].settings.window = 25
            await until(board, lambda: board[A, B].rows.epoch == 1)
            was = board[A, B].rows.end
            await until(board, lambda: board[A, B].rows.end > was + 20)
            assert int(rows_of(board, A, B)[-1]["filled"]) == 25
            assert int(rows_of(board, B, A)[-1]["filled"]) == 20
            pair = board[A, B]
            want = PairEngine(hedge="ols", window=25).update(pair.pipeline.ticks.view())
            for name in ("time_ns", "zscore", "hedge_ratio", "p_value"):
                assert pair.rows.view()[name].tobytes() == want[name].tobytes()
            log = board.alerts()
            changes = log[log["kind"] == "SETTING"]
            assert changes["pair"].tolist() == [f"{A} / {B}"]
            assert changes["setting"].tolist() == ["window"]
            pair.settings.update(entry_z=0.6, exit_z=0.2, min_correlation=-1.0)
            await until(board, lambda: (board.alerts()["kind"] == "ENTRY").any())
            out = io.StringIO()
            board.to_csv(out, "alerts")
            assert "ENTRY" in out.getvalue()
            out = io.StringIO()
            board.to_csv(out)
            read = pd.read_csv(io.StringIO(out.getvalue()), index_col=["leg_y", "leg_x"])
            assert set(read.index) == {(A, B), (B, A)}


async def test_bars_are_warm_from_klines_that_each_symbol_is_asked_for_once() -> None:
    from pairlab.local_exchange import MarketGroup, SyntheticMarket

    market = MarketGroup([SyntheticMarket(seed=3, symbols=(A, B), history_s=7_200.0)])
    async with LocalExchange(market) as exchange:
        asked = [(A, B), (B, A)]
        async with Board(asked, feed=group_of(exchange.url), timeframe="1m", window=30) as board:
            await board.wait_async(100, 30)
            await until(board, lambda: all(len(pair.rows) > 60 for pair in board))
            rows = rows_of(board, A, B)
            assert (rows["flags"] & 32 != 0).all()
            assert not np.isnan(rows["zscore"][-1])
            latest = board[A, B].latest()
            assert latest is None or latest.provisional


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([], "one pair at least"),
        ([("AUSDT", "AUSDT")], "two different symbols"),
        ("AUSDT", "expected symbols or pairs"),
        (["AUSDT"], "one pair at least"),
        (pd.DataFrame({"a": [1]}), "columns 'y' and 'x'"),
    ],
)
async def test_nothing_to_show_is_refused(asked: object, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Board(asked, feed="demo")  # type: ignore[arg-type]


async def test_arguments_out_of_range_are_refused_and_too_many_pairs_told() -> None:
    two = [("AUSDT", "BUSDT")]
    for given, words in (
        ({"feed": "binanc"}, "feed = 'binanc'"),
        ({"rescan": "tick"}, "'bar' or 'off'"),
        ({"rescan": "bar"}, "give symbols"),
        ({"windw": 3}, "window"),
        ({"hedge": "fixed"}, "hedge_ratio"),
        ({"scan_bars": 5}, "60 to 5,000"),
        ({"max_q": 0}, "max_q"),
        ({"stream": "trades"}, "stream"),
    ):
        with pytest.raises(SettingError, match=words):
            Board(two, **{"feed": "demo", **given})  # type: ignore[arg-type]
    symbols = [f"S{k}USDT" for k in range(100)]
    asked = list(itertools.islice(itertools.permutations(symbols, 2), 9_900))
    board = Board(asked, feed="demo", history_rows=100)
    assert len(board) == 2_000
    assert "9,900 pairs were asked for, a board has at most 2,000" in board.event_log[-1].message
    with pytest.raises(SettingError, match="the board is full"):
        board.add(("XUSDT", "YUSDT"))
    with pytest.raises(PairlabError, match="start"):
        board.wait()


async def test_a_wait_in_vain_says_how_many_rows_there_are() -> None:
    async with (
        LocalExchange(markets(1, 100.0)) as exchange,
        Board([(A, B)], feed=group_of(exchange.url)) as board,
    ):
        await board.wait_async(5, 30)
        with pytest.raises(WaitTimeoutError, match=r"rows after 0.05 s; the feed is live"):
            await board.wait_async(10**9, 0.05)


async def test_symbols_are_scanned_and_pairs_come_and_leave() -> None:
    from pairlab.local_exchange import MarketGroup, SyntheticMarket

    market = MarketGroup(
        [
            SyntheticMarket(seed=k, symbols=pair, history_s=80_000.0, rate_per_s=60.0)
            for k, pair in enumerate(pairs(3))
        ]
    )
    symbols = [symbol for pair in pairs(3) for symbol in pair]
    async with LocalExchange(market) as exchange:
        board = Board(symbols, feed=group_of(exchange.url), scan_bars=1_000, scan_pairs=5)
        async with board:
            await until(board, lambda: len(board) >= 3)
            rescan = board._rescan
            assert rescan is not None
            found = {frozenset(pair) for pair in board.pairs}
            assert {frozenset(pair) for pair in pairs(3)} <= found
            assert board.health().rescans == 1
            assert not [e for e in board.event_log if "could not be processed" in e.message]
            words = [entry.message for entry in board.event_log]
            assert sum("comes to the board: q = " in text for text in words) == len(board)
            await until(board, lambda: all(len(pair.rows) > 60 for pair in board))
            # the first pair falls apart, the second too but its position is open
            first, second, third = board.pairs[:3]
            heard = asyncio.Event()

            async def listen(alert: BoardAlert) -> None:
                if isinstance(alert.entry, BreakAlert) and alert.pair == third:
                    heard.set()

            board.on_alert(listen)
            # the third's spread moves to another mean; as if a person had added it, it stays
            rescan.own.discard(third)
            moved = rescan.bars.symbols.index(third.y)
            rescan.bars.closes[-200:, moved] *= 1.05
            r = np.random.default_rng(1)
            for y, _ in (first, second):
                at = rescan.bars.symbols.index(y)
                closes = rescan.bars.closes
                closes[:, at] = closes[0, at] * np.exp(r.normal(0, 2e-3, len(closes)).cumsum())
            own = board.add(("Y0USDT", "X1USDT"))
            rescan.close_bar(int(rescan.bars.times[-1]) // rescan.bars.length_ns + 1)
            rescan.bars.closes[-1] = rescan.bars.closes[-2]
            for pair, position in ((first, 0), (second, 1)):  # whatever their signals say now
                newest = partial(held, board[pair].rows.newest, position)
                board[pair].rows.newest = newest  # type: ignore[method-assign]
            await rescan._scan()
            assert first not in board
            assert second in board
            assert own.pair in board
            words = [entry.message for entry in board.event_log]
            assert f"{first.y} / {first.x} leaves the board" in "".join(words)
            assert f"{second.y} / {second.x} stays" in "".join(words)
            broken = f"{third.y} / {third.x}: structural break of the spread: its CUSUM reached"
            assert sum(broken in text for text in words) == 1
            alerts = [a for a in board.alert_log if isinstance(a.entry, BreakAlert)]
            [found] = [a for a in alerts if a.pair == third and a.entry.kind == "BREAK"]
            assert found.entry.ratio >= 1.0
            assert found.entry.time_ns == rescan.bars.times[-1]
            assert broken in found.sentence
            frame = board.alerts()
            row = frame[frame["kind"] == "BREAK"]
            assert row["pair"].tolist() == [f"{third.y} / {third.x}"]
            assert row["reason"].item() == f"CUSUM {found.entry.ratio:.2f} ≥ 1"
            await asyncio.wait_for(heard.wait(), 30)
            assert "structural break" in alerts_html(board.newest_alerts(50), board.alert_total)
            assert not any(f"{own.pair.y} / {own.pair.x}: structural" in text for text in words)
            await rescan._scan()
            assert sum(broken in entry.message for entry in board.event_log) == 1  # it lasts
            assert exchange.stats().streams == 6  # what is scanned stays subscribed


def held(newest: Callable[[], np.ndarray], position: int) -> np.ndarray:
    """The newest row, with a position that is given."""
    row = newest().copy()
    row["position"] = position
    return row
