"""The synthetic market: reproducible, ordered, consistent, and suitable for a demo."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from pairlab.errors import SettingError
from pairlab.local_exchange import SyntheticMarket

TRADES = ("btcusdt@trade", "ethusdt@trade")
AGGS = ("btcusdt@aggTrade", "ethusdt@aggTrade")
QUOTES = ("btcusdt@bookTicker", "ethusdt@bookTicker")


def take(market: SyntheticMarket, streams: tuple[str, ...], seconds: float) -> list[dict]:
    """Everything that these streams say until then, decoded."""
    messages = market.take(market.start_ns + round(seconds * 1e9), set(streams), 10**9)
    for name, frame in messages:
        assert json.loads(frame)["stream"] == name
    return [json.loads(frame)["data"] for _, frame in messages]


def frame_of(trades: list[dict]) -> pd.DataFrame:
    """Last prices of both legs after each trade, once both have traded."""
    data = pd.DataFrame({"p": [float(t["p"]) for t in trades], "s": [t["s"] for t in trades]})
    legs = {
        leg: data["p"].where(data["s"] == symbol).ffill()
        for leg, symbol in (("y", "BTCUSDT"), ("x", "ETHUSDT"))
    }
    return pd.DataFrame(legs).dropna().reset_index(drop=True)


def test_the_same_seed_gives_the_same_market_at_every_speed() -> None:
    streams = {*TRADES, *AGGS, *QUOTES}
    whole = SyntheticMarket(seed=3, rate_per_s=500)
    at_once = whole.take(whole.start_ns + 30 * 10**9, streams, 10**9)

    rng = np.random.default_rng(0)
    pieces = SyntheticMarket(seed=3, rate_per_s=500)
    until, collected = pieces.start_ns, []
    while until < pieces.start_ns + 30 * 10**9:
        until = min(until + int(rng.integers(0, 200_000_000)), pieces.start_ns + 30 * 10**9)
        while pieces.next_ns() <= until:
            collected += pieces.take(until, streams, int(rng.integers(1, 50)))
    assert len(at_once) > 10_000
    assert collected == at_once

    fast = SyntheticMarket(seed=3, rate_per_s=500, speed=None)
    unpaced = []
    while len(unpaced) < len(at_once):
        unpaced += fast.take(None, streams, 512)
    assert unpaced[: len(at_once)] == at_once

    whole.open()
    assert whole.take(whole.start_ns + 30 * 10**9, streams, 10**9) == at_once
    other = SyntheticMarket(seed=4, rate_per_s=500)
    assert other.take(other.start_ns + 30 * 10**9, streams, 10**9) != at_once


@pytest.mark.parametrize("rate", [40, 5_000, 20_000])
@pytest.mark.parametrize(("streams", "id_"), [(TRADES, "t"), (AGGS, "a"), (QUOTES, "u")])
def test_emits_by_time_then_y_before_x_then_id(
    rate: float, streams: tuple[str, ...], id_: str
) -> None:
    market = SyntheticMarket(seed=11, rate_per_s=rate)
    data = take(market, streams, 8_000 / rate)
    keys = [(d["T"], d["s"] == "ETHUSDT", d[id_]) for d in data]
    assert keys == sorted(keys)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        ids = [d[id_] for d in data if d["s"] == symbol]
        assert len(ids) > 500
        assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_several_trades_share_a_millisecond_as_in_recordings() -> None:
    times = [t["T"] for t in take(SyntheticMarket(seed=5), TRADES, 600)]
    assert 0.5 < np.mean(np.diff(times) == 0) < 0.8


def test_aggregates_are_the_trades_joined() -> None:
    market = SyntheticMarket(seed=2, rate_per_s=1_000)
    data = take(market, (*TRADES, *AGGS), 20)
    raw = {(d["s"], d["t"]): d for d in data if d["e"] == "trade"}
    covered = {"BTCUSDT": [], "ETHUSDT": []}
    for agg in (d for d in data if d["e"] == "aggTrade"):
        parts = [raw[agg["s"], t] for t in range(agg["f"], agg["l"] + 1)]
        assert {(p["T"], p["p"], p["m"]) for p in parts} == {(agg["T"], agg["p"], agg["m"])}
        assert sum(round(float(p["q"]) * 1_000) for p in parts) == round(float(agg["q"]) * 1_000)
        covered[agg["s"]] += [p["t"] for p in parts]
    for symbol, ids in covered.items():
        assert ids == sorted(t for s, t in raw if s == symbol)
        assert len(ids) > 5_000


def test_trades_print_at_the_quotes_or_through_them() -> None:
    market = SyntheticMarket(seed=6, rate_per_s=300)
    quotes: dict[str, tuple[float, float]] = {}
    at_touch = trades = 0
    for d in take(market, (*TRADES, *QUOTES), 60):
        if d["e"] == "bookTicker":
            quotes[d["s"]] = float(d["b"]), float(d["a"])
            continue
        bid, ask = quotes[d["s"]]
        price = float(d["p"])
        assert price <= bid if d["m"] else price >= ask
        trades += 1
        at_touch += price in (bid, ask)
    assert at_touch > 0.7 * trades > 10_000


@pytest.mark.slow
def test_the_rate_is_kept() -> None:
    for rate in (40, 2_000):
        market = SyntheticMarket(seed=1, rate_per_s=rate)
        until = market.start_ns + 150_000 * 10**9 // rate
        count = len(market.take(until, set(TRADES), 10**9))
        assert count == pytest.approx(150_000, rel=0.07)


@pytest.mark.slow
def test_correlation_and_zscore_are_suitable_for_a_demo() -> None:
    """Over 50 ticks: mostly correlated, sometimes apart, and |z| passes 2 every few seconds."""
    for seed in (7, 8, 9):
        market = SyntheticMarket(seed=seed)
        legs = frame_of(take(market, TRADES, 900))
        spread = legs["y"] - market.ratio * legs["x"]
        rolling = spread.rolling(50)
        z = ((spread - rolling.mean()) / rolling.std())[49:]
        correlation = legs["y"].rolling(50).corr(legs["x"])[49:]
        assert (correlation >= 0.8).mean() > 0.7
        assert 0.03 < (correlation < 0.7).mean() < 0.25
        crossings = ((z.abs() >= 2) & (z.abs().shift() < 2)).sum()
        assert 900 / 10 < crossings < 900 * 5
        assert z.abs().max() < 7  # 6.93 is the most that a window of 50 allows
        assert spread.abs().max() < 150
        assert legs["x"].between(2_200, 2_700).all()


def test_the_legs_decouple_for_seconds() -> None:
    market = SyntheticMarket(seed=7)
    legs = frame_of(take(market, TRADES, 1_800))
    apart = legs["y"].rolling(100).corr(legs["x"]).rolling(60).max() < 0.7  # all of 60 ticks low
    episodes = int((apart & ~apart.shift(fill_value=False)).sum())
    assert 5 <= episodes <= 90  # in half an hour


def test_another_pair_follows_its_own_ratio() -> None:
    market = SyntheticMarket(symbols=("SOLUSDT", "WIFUSDT"), seed=3)
    data = take(market, ("solusdt@trade", "wifusdt@trade"), 120)
    prices = {s: [float(d["p"]) for d in data if d["s"] == s] for s in ("SOLUSDT", "WIFUSDT")}
    assert np.mean(prices["SOLUSDT"]) == pytest.approx(
        market.ratio * np.mean(prices["WIFUSDT"]), rel=0.002
    )
    assert [i.symbol for i in market.symbols()] == ["SOLUSDT", "WIFUSDT"]


class TestRestView:
    def test_answers_what_was_streamed_and_nothing_before_it_was(self) -> None:
        market = SyntheticMarket(seed=9, rate_per_s=400)
        streamed = [d for d in take(market, AGGS, 12.345) if d["s"] == "ETHUSDT"]
        first = streamed[0]["a"]
        answered: list[dict] = []
        while page := market.agg_trades("ETHUSDT", first + len(answered), None, None, 333):
            answered += page
        assert answered == [{k: d[k] for k in "apqflTm"} for d in streamed]
        assert len(answered) > 1_000

    def test_bounds_in_time_are_inclusive(self) -> None:
        market = SyntheticMarket(seed=9, rate_per_s=400)
        streamed = [d for d in take(market, AGGS, 60) if d["s"] == "BTCUSDT"]
        low, high = streamed[200]["T"], streamed[900]["T"]
        ids = [r["a"] for r in market.agg_trades("BTCUSDT", None, low, high, 1_000)]
        assert ids == [d["a"] for d in streamed if low <= d["T"] <= high]
        newest = market.agg_trades("BTCUSDT", None, None, None, 5)
        assert [r["a"] for r in newest] == [d["a"] for d in streamed[-5:]]

    def test_keeps_a_bounded_number_of_trades(self) -> None:
        market = SyntheticMarket(seed=9, rate_per_s=1_000, keep_trades=5_000)
        streamed = [d for d in take(market, AGGS, 30) if d["s"] == "BTCUSDT"]
        assert market.agg_trades("BTCUSDT", streamed[0]["a"], None, None, 10) == []
        recent = streamed[-800]["a"]
        assert market.agg_trades("BTCUSDT", recent, None, None, 10)[0]["a"] == recent

    def test_klines_are_made_of_the_trades(self) -> None:
        market = SyntheticMarket(seed=12, rate_per_s=100, history_s=0)
        trades = pd.DataFrame([d for d in take(market, TRADES, 200) if d["s"] == "BTCUSDT"])
        trades["minute"] = trades["T"] // 60_000 * 60_000
        trades[["p", "q"]] = trades[["p", "q"]].astype(float)
        expected = trades.groupby("minute").agg(
            o=("p", "first"), h=("p", "max"), l=("p", "min"), c=("p", "last"), v=("q", "sum"),
            n=("p", "size"),
        )  # fmt: skip
        klines = market.klines("BTCUSDT", 60_000, None, None, 100)
        assert [k[0] for k in klines] == expected.index.tolist()
        assert len(klines) == 4
        got = np.array([[float(v) for v in (*k[1:6], k[8])] for k in klines])
        np.testing.assert_allclose(got, expected.to_numpy(), rtol=1e-12)

    def test_the_kline_history_joins_the_present(self) -> None:
        market = SyntheticMarket(seed=13)
        first = next(d for d in take(market, TRADES, 90) if d["s"] == "ETHUSDT")
        start_ms = market.start_ns // 10**6
        minutes = market.klines("ETHUSDT", 60_000, None, None, 1_500)
        assert len(minutes) == 1_500
        assert np.diff([k[0] for k in minutes]).tolist() == [60_000] * 1_499
        before = [k for k in minutes if k[0] < start_ms]
        assert float(before[-1][4]) == pytest.approx(float(first["p"]), rel=1e-3)
        for k in minutes:
            o, h, low, c = (float(v) for v in k[1:5])
            assert low <= min(o, c) <= max(o, c) <= h
            assert float(k[9]) <= float(k[5])
        hours = market.klines("ETHUSDT", 3_600_000, None, None, 300)
        assert len(hours) == 300
        inside = [k for k in minutes if hours[-2][0] <= k[0] < hours[-1][0]]
        assert hours[-2][1] == inside[0][1]
        assert hours[-2][4] == inside[-1][4]
        assert float(hours[-2][2]) == max(float(k[2]) for k in inside)

    def test_the_kline_history_is_cointegrated_too(self) -> None:
        market = SyntheticMarket(seed=14)
        y, x = (
            np.array([float(k[4]) for k in market.klines(s, 60_000, None, None, 1_500)])
            for s in ("BTCUSDT", "ETHUSDT")
        )
        assert np.corrcoef(np.diff(y), np.diff(x))[0, 1] > 0.95
        assert np.std(y - market.ratio * x) < 20 < np.std(y) / 2


@pytest.mark.slow
def test_kline_streams_send_four_times_a_second() -> None:
    market = SyntheticMarket(seed=3, rate_per_s=200)
    candles = take(market, ("btcusdt@kline_1m",), 130)
    times = [c["E"] for c in candles]
    assert set(np.diff(times)) == {250}
    assert sum(c["k"]["x"] for c in candles) >= 2
    assert float(candles[-1]["k"]["c"]) > 0


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"seed": -1}, "seed"),
        ({"rate_per_s": 0}, "rate_per_s"),
        ({"symbols": ("BTCUSDT", "BTCUSDT")}, "symbols"),
        ({"symbols": "BTCUSDT"}, "symbols"),
        ({"speed": 0}, "speed"),
        ({"speed": float("nan")}, "speed"),
        ({"start_condition": "later"}, "start_condition"),
        ({"start_condition": ["btcusdt"]}, "start_condition"),
        ({"start_ns": 5}, "start_ns"),
        ({"prices": (0, 1)}, "prices"),
        ({"ratio": 0}, "ratio"),
        ({"keep_trades": 1}, "keep_trades"),
        ({"history_s": -1}, "history_s"),
    ],
)
def test_bad_arguments_are_named(values: dict, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        SyntheticMarket(**values)
