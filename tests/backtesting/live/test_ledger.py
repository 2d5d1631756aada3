"""A ledger of a session: trade for trade, to the bit, what a backtest of its ticks makes."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pairlab import AlertKind, Costs, LotRule, SettingError, backtest
from pairlab.backtesting.live import compiled as compiled_module
from pairlab.backtesting.live import ledger as ledger_module
from pairlab.backtesting.live.compiled import wait_compiled
from pairlab.backtesting.live.equity_curve import EquityCurve
from pairlab.backtesting.live.ledger import Ledger
from pairlab.data.frames import ticks_frame
from pairlab.lab.pipeline import Pipeline
from pairlab.schema import Pair, Records
from pairlab.settings import Settings
from tests.engine import worlds

PAIR = Pair("BTCUSDT", "ETHUSDT")
GIVEN: dict[str, Any] = {
    "hedge_ratio": 25.0, "window": 20, "min_correlation": -1.0, "entry_z": 1.2, "exit_z": 0.3,
}  # fmt: skip
UNSEEN = ["mae", "mfe", "rows"]


def session(**settings: Any) -> Pipeline:
    pipeline = Pipeline(Settings(**{**GIVEN, **settings}), lambda: None)
    pipeline.start_engine()
    return pipeline


def play(pipeline: Pipeline, ticks: Records, seed: int, most: int = 40) -> None:
    """Give it the ticks in batches of any size."""
    r, at = np.random.default_rng(seed), 0
    while at < len(ticks):
        size = int(r.integers(1, most))
        pipeline.on_ticks(ticks[at : at + size])
        at += size


def frame(ticks: Records) -> pd.DataFrame:
    return ticks_frame(ticks, PAIR, np.zeros(len(ticks), np.int8))


def same_trades(ledger: Ledger, want: Any) -> None:
    got, expected = ledger.trades(), want.trades.drop(columns=UNSEEN)
    assert len(expected) > 5, "the test is of something"
    if (expected["reason"] == "open").any():
        # Of bars, a backtest ends at the last close: the ticks after it fill nothing any more. And
        # what is held is valued at prices that the last row knows of.
        got, expected = got[: len(expected) - 1], expected[:-1]
    pd.testing.assert_frame_equal(got[: len(expected)], expected, check_exact=True)
    assert len(got) - len(expected) <= 1


@pytest.fixture(autouse=True, scope="module")
def compiled() -> None:
    wait_compiled()


def bad(seed: int, count: int) -> Any:
    return np.random.default_rng(seed).random(count) < 0.01


@pytest.fixture(params=[4, 16], ids=lambda count: f"settled at {count}")
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few decisions are settled for good together."""
    monkeypatch.setattr(ledger_module, "_AT_ONCE", request.param)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("timeframe", ["tick", "1s", "5s"])
@pytest.mark.parametrize("latency_s", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(3))
def test_its_trades_are_those_of_a_backtest(timeframe: str, latency_s: float, seed: int) -> None:
    ticks = worlds.trades(seed, 6_000)
    ticks["price"][bad(seed, len(ticks))] = np.nan  # which nobody can trade at
    terms: dict[str, Any] = {
        "costs": Costs(fee_bps=2.0, slippage_bps=0.5), "capital": 5_000.0,
        "latency_s": latency_s, "max_wait_s": 1.0,
    }  # fmt: skip
    settings = {"timeframe": timeframe, "max_leg_age_s": 1e6}
    want = backtest(frame(ticks), pair=PAIR, max_silence=None, **terms, **GIVEN, **settings)
    pipeline = session(**settings)
    ledger = Ledger(pipeline, PAIR, **terms)
    play(pipeline, ticks, seed)
    same_trades(ledger, want)
    missed = ledger.missed()
    known = want.missed[want.missed["reason"] != "the data ended before it was filled"]
    assert len(known) > 0, "some entries wait in vain"
    pd.testing.assert_frame_equal(missed[: len(known)], known, check_exact=True)
    assert len(missed) - len(known) <= 1


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("lots", [None, {"y": LotRule(0.01, 0.01, 5.0), "x": LotRule(0.5, 0.5)}])
def test_its_money_is_what_its_trades_made(lots: object) -> None:
    ticks = worlds.trades(5, 5_000)
    pipeline = session(fee_bps=3.0)
    ledger = Ledger(pipeline, PAIR, lots=lots, capital=40_000.0)
    for at in range(0, len(ticks), 50):
        pipeline.on_ticks(ticks[at : at + 50])
        if at % 1_000 == 0:
            money, trades = ledger.money, ledger.trades()
            left = trades["reason"] != "open"
            assert money.trades == left.sum()
            assert money.wins == (trades["net"][left] > 0).sum()
            assert money.net == pytest.approx(trades["net"][left].sum(), abs=1e-6)
            paid = trades["fees"] + trades["slippage"]
            assert money.costs == pytest.approx(paid[left].sum(), abs=1e-6)
            assert money.open_net == pytest.approx(trades["net"][~left].sum(), abs=1e-6)
            held = trades[~left]
            assert money.side == (held["side"].iloc[0] if len(held) else 0)
            for leg, units in zip("yx", money.quantities, strict=True):
                # A leg may have been left before the other.
                still = held[f"{leg}_quantity"].where(held[f"exit_{leg}_time"].isna(), 0.0)
                assert units == still.sum()
    assert money.trades > 20
    want = backtest(frame(ticks), pair=PAIR, lots=lots, capital=40_000.0, fee_bps=3.0, **GIVEN)
    over = want.missed["reason"] != "the data ended before it was filled"
    assert over.sum() == len(ledger.missed())


def test_its_curve_is_the_equity_of_a_backtest() -> None:
    ticks = worlds.trades(6, 4_000)
    want = backtest(frame(ticks), pair=PAIR, max_silence=None, **GIVEN)
    pipeline = session()
    ledger = Ledger(pipeline, PAIR)
    assert ledger.since_ns is None
    play(pipeline, ticks, 0, most=2)  # tick by tick, as rows are
    assert ledger.since_ns == ticks["time_ns"][0]
    times, equity = ledger.curve()
    assert len(times) > 100
    assert (np.diff(times) > 0).all()
    # At a time with several rows, the last one.
    of_row = want.equity["equity"].groupby(level=0).last()
    at = pd.DatetimeIndex(times, tz="UTC")
    known = at.isin(of_row.index)
    # Whether an entry is filled at all is not known before the second leg has traded.
    for y, x in want.trades[["entry_y_time", "entry_x_time"]].itertuples(index=False):
        known &= (at < min(y, x)) | (at >= max(y, x))
    assert known.sum() > 100
    np.testing.assert_allclose(equity[known], of_row.reindex(at[known]), rtol=0, atol=1e-6)
    fall = (want.equity["equity"].cummax().clip(lower=10_000.0) - want.equity["equity"]).max()
    assert ledger.money.drawdown == pytest.approx(fall, rel=0.02)


def test_fees_are_those_of_the_entry_s_settings() -> None:
    ticks = worlds.trades(7, 4_000)
    pipeline = session(fee_bps=0.0)
    ledger = Ledger(pipeline, PAIR)
    play(pipeline, ticks[:2_000], 0)
    pipeline.settings.fee_bps = 10.0
    play(pipeline, ticks[2_000:], 1)
    trades = ledger.trades()
    dear = trades["entry_decided"] > pd.Timestamp(ticks["time_ns"][:2_000].max(), tz="UTC")
    left = trades["reason"] != "open"
    assert (trades["fees"][~dear] == 0.0).all()
    turned = sum(
        trades[f"{leg}_quantity"].abs()
        * (trades[f"{leg}_entry_price"] + trades[f"{leg}_exit_price"])
        for leg in "yx"
    )
    assert (dear & left).sum() > 5
    np.testing.assert_allclose(trades["fees"][dear & left], 1e-3 * turned[dear & left])


@pytest.mark.parametrize("timeframe", ["tick", "1s"])
def test_ticks_that_came_while_the_engine_compiled_count(timeframe: str) -> None:
    ticks = worlds.trades(8, 4_000)
    given = {**GIVEN, "timeframe": timeframe, "max_leg_age_s": 1e6}
    want = backtest(frame(ticks), pair=PAIR, max_silence=None, **given)
    pipeline = Pipeline(Settings(**given), lambda: None)
    ledger = Ledger(pipeline, PAIR)
    play(pipeline, ticks[:1_500], 0)
    pipeline.on_ticks(ticks[1_500:2_500])  # more of them than bars
    assert ledger.money.trades == 0
    pipeline.start_engine()
    play(pipeline, ticks[2_500:], 1)
    same_trades(ledger, want)


def test_a_position_held_before_is_not_its_own_and_a_reset_begins_anew() -> None:
    ticks = worlds.trades(9, 6_000)
    pipeline = session()
    at = 0
    while pipeline.alert_log.opened is None:
        pipeline.on_ticks(ticks[at : at + 10])
        at += 10
    ledger = Ledger(pipeline, PAIR)
    held, number = pipeline.alert_log.opened, pipeline.alert_log.newest_number
    assert ledger.money.side == 0
    play(pipeline, ticks[at:4_000], 0)
    later = [a.time_ns for a in pipeline.alert_log.since(number) if a.kind == AlertKind.ENTRY]
    assert held.time_ns < later[0]
    decided = ledger.trades()["entry_decided"].astype("int64")
    assert decided.iloc[0] == later[0]
    assert ledger.money.trades > 3
    pipeline.reset()
    assert (ledger.money.trades, len(ledger.trades()), len(ledger.missed())) == (0, 0, 0)
    assert ledger.money.equity == 10_000.0
    play(pipeline, ticks[4_000:], 0)
    later = backtest(frame(ticks[4_000:]), pair=PAIR, max_silence=None, **GIVEN)
    same_trades(ledger, later)


def test_a_rebuild_decides_nothing_again() -> None:
    ticks = worlds.trades(10, 4_000)
    pipeline = session()
    ledger = Ledger(pipeline, PAIR)
    play(pipeline, ticks[:2_000], 0)
    before = ledger.trades()
    pipeline.settings.window = 30
    pipeline.rebuild_finish(*Pipeline.rebuild_compute(pipeline.rebuild_start()))
    pd.testing.assert_frame_equal(ledger.trades(), before)
    play(pipeline, ticks[2_000:], 1)
    entries = [a for a in pipeline.alert_log.alerts() if a.kind == AlertKind.ENTRY]
    assert 0 <= len(entries) - len(ledger.trades()) - len(ledger.missed()) <= 1  # one may wait


def test_ticks_that_are_no_trades_begin_nothing() -> None:
    ticks = worlds.trades(14, 3_000)
    ticks["price"][:3] = [np.nan, 0.0, -1.0]
    pipeline = session()
    ledger = Ledger(pipeline, PAIR)
    for at in range(3):
        pipeline.on_ticks(ticks[at : at + 1])
    assert ledger.since_ns is None
    assert len(ledger.curve()[0]) == 0
    play(pipeline, ticks[3:], 0)
    assert ledger.since_ns is not None
    assert ledger.since_ns > 0
    times, _ = ledger.curve()
    assert times[0] >= ledger.since_ns
    same_trades(ledger, backtest(frame(ticks), pair=PAIR, max_silence=None, **GIVEN))


def test_it_listens_no_longer_once_it_is_stopped() -> None:
    ticks = worlds.trades(11, 3_000)
    pipeline = session()
    ledger = Ledger(pipeline, PAIR)
    play(pipeline, ticks[:2_000], 0)
    ledger.stop()
    before = ledger.money
    play(pipeline, ticks[2_000:], 0)
    assert ledger.money == before
    assert pipeline.taps == ()


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"capital": 0.0}, "capital = 0.0 is invalid"),
        ({"latency_s": -1.0}, "latency_s = -1.0 is invalid"),
        ({"costs": Costs(funding=(None, None))}, "funding is not known of a session that goes on"),
        ({"costs": 4.0}, "costs = 4.0 is invalid"),
    ],
)
def test_bad_terms_are_named_and_nothing_listens(terms: dict[str, Any], words: str) -> None:
    pipeline = session()
    with pytest.raises(SettingError, match=words):
        Ledger(pipeline, PAIR, **terms)
    assert pipeline.taps == ()


def test_decisions_wait_for_the_compiler_and_are_lost_by_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiled_module, "_DONE", done := threading.Event())
    monkeypatch.setattr(compiled_module, "_LOCK", compiling := threading.Lock())
    ticks = worlds.trades(13, 4_000)
    want = backtest(frame(ticks), pair=PAIR, max_silence=None, **GIVEN)
    pipeline = session()
    ledger = Ledger(pipeline, PAIR)
    with compiling:  # a thread is at it
        play(pipeline, ticks[:2_000], 0)
        assert not done.is_set()
        assert (ledger.money.trades, ledger.money.equity) == (0, 10_000.0)
    play(pipeline, ticks[2_000:], 0)
    same_trades(ledger, want)
    assert done.is_set()
    assert ledger.money.trades == (want.trades["reason"] != "open").sum()


def test_its_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_AT_ONCE", 4)
    monkeypatch.setattr(ledger_module, "_PIECES", 3)
    ticks = worlds.trades(12, 6_000)
    pipeline = session()
    ledger = Ledger(pipeline, PAIR)
    play(pipeline, ticks, 0)
    assert len(ledger.trades()) < 20 < ledger.money.trades
    want = backtest(frame(ticks), pair=PAIR, max_silence=None, **GIVEN)
    assert ledger.money.equity == pytest.approx(want.equity["equity"].iloc[-1], abs=1e-6)


def test_a_long_latency_keeps_no_more_than_what_waits() -> None:
    ticks = worlds.trades(15, 6_000)
    terms: dict[str, Any] = {"latency_s": 100.0, "max_wait_s": 300.0}
    want = backtest(frame(ticks), pair=PAIR, max_silence=None, **terms, **GIVEN)
    pipeline = session()
    ledger = Ledger(pipeline, PAIR, **terms)
    kept = []
    for at in range(0, len(ticks), 20):
        pipeline.on_ticks(ticks[at : at + 20])
        kept.append(len(ledger._decisions))
    same_trades(ledger, want)
    made = len(ledger._decisions) + sum(len(decisions) for _, decisions in ledger._pieces)
    assert made > 400
    assert max(kept) < made / 3
    assert ledger.money.trades == (ledger.trades()["reason"] != "open").sum()


def test_a_curve_keeps_the_whole_session_in_bounded_room() -> None:
    curve, second = EquityCurve(100.0), 10**9
    for at in range(60_000):
        curve.add(at * second // 2, 100.0 + at % 1_000)
    curve.add(30_000 * second, np.nan)
    times, equity = curve.points()
    assert 2_000 < len(times) <= 8_192
    assert (times[0], times[-1]) == (0, 59_999 * second // 2)
    assert (np.diff(times) > 0).all()
    assert equity[-1] == 100.0 + 59_999 % 1_000
    assert curve.drawdown == 999.0
    steps = np.diff(times)
    assert steps.max() <= 4 * np.median(steps)
