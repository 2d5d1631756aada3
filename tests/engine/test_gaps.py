"""Time that was not seen: no row in it, and a row after it only of prices seen since."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from pairlab.engine import PairEngine, compile_kernel
from pairlab.engine.gaps import Gap, update_over_gaps
from pairlab.errors import DataError
from pairlab.schema import NS_PER_S, TICK, TIMEFRAMES_NS, RowFlag
from tests.engine import oracles, worlds

MINUTE = TIMEFRAMES_NS["1m"]
GIVEN = {"hedge_ratio": 25.0, "window": 20, "min_correlation": -1.0, "max_leg_age_s": 1e6}


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    compile_kernel()


def trades_with_gaps(seed, n=3_000):
    """Trades of which stretches were lost: of one leg, of both, short and long."""
    r = np.random.default_rng(seed)
    ticks = worlds.trades(seed, n)
    lost = np.zeros(n, bool)
    marks = {}
    for start in np.sort(r.choice(np.arange(200, n - 200), 12, replace=False)):
        stop = start + int(r.integers(2, 120))
        legs = int(r.integers(1, 4))
        lost[start:stop] |= (legs >> ticks["leg"][start:stop]) & 1 > 0
        marks[start] = marks.get(start, 0) | legs
        ticks["time_ns"][stop:] += int(r.choice([0, 5, 2_700])) * NS_PER_S * (legs == 3)
    kept = np.flatnonzero(~lost)
    gaps = {}
    for start, legs in marks.items():
        at = int(np.searchsorted(kept, start))
        gaps[at] = gaps.get(at, 0) | legs
    return ticks[~lost], [Gap(at, gaps[at]) for at in sorted(gaps)]


def plain_observations(ticks, gaps, length):
    """(time, y, x, their times, first after a gap), by the definition, tick by tick."""
    legs_of = {gap.tick: gap.legs for gap in gaps}
    price, traded, seen = [0.0, 0.0], [0, 0], [False, False]
    out, now, end, after_gap = [], 0, None, False

    def observe(at):
        nonlocal after_gap
        if all(seen):
            out.append((at, *price, *traded, after_gap))
            after_gap = False

    for number, tick in enumerate(ticks):
        for leg in (0, 1):
            if legs_of.get(number, 0) >> leg & 1:
                seen[leg], after_gap = False, True
        time_ns, leg = int(tick["time_ns"]), int(tick["leg"])
        if length:
            end = (time_ns // length + 1) * length if end is None else end
            while time_ns >= end:
                observe(end)
                end += length
        now = max(now, time_ns)
        price[leg], traded[leg], seen[leg] = float(tick["price"]), max(traded[leg], time_ns), True
        if not length:
            observe(now)
    return [np.array(column) for column in zip(*out, strict=True)]


@pytest.mark.parametrize("timeframe", ["tick", "1s", "5s", "1m"])
@pytest.mark.parametrize("hedge", ["fixed", "ols", "kalman"])
def test_rows_are_those_of_the_prices_seen(timeframe, hedge):
    given = {**GIVEN, "hedge": hedge, "timeframe": timeframe}
    for seed in (1, 2):
        ticks, gaps = trades_with_gaps(seed)
        engine = PairEngine(**given)
        rows = update_over_gaps(engine, ticks, gaps)
        times, y, x, y_times, x_times, after = plain_observations(
            ticks, gaps, TIMEFRAMES_NS[timeframe]
        )
        assert_array_equal(rows["time_ns"], times)
        assert_array_equal(rows["flags"] & RowFlag.GAP_BEFORE > 0, after)
        assert 1 <= after.sum() <= len(gaps)
        assert_array_equal(rows["y"], y)
        assert_array_equal(rows["x"], x)
        if timeframe != "tick":  # observations of one moment are ticks' alone
            # The window holds nothing else: the same observations give the same numbers.
            plain = PairEngine(**given)
            want = plain.observe(times, y, x, y_times, x_times)
            for name in ("zscore", "spread_mean", "correlation", "p_value", "position", "y_age_s"):
                assert_array_equal(rows[name], want[name], name)
            assert_array_equal(engine.events["row"], plain.events["row"])
            assert_array_equal(engine.events["kind"], plain.events["kind"])


def test_nothing_is_decided_before_both_legs_have_traded_again():
    ticks = worlds.trades(5, 4_000)
    for leg in (0, 1):
        for start in range(500, 3_500, 50):
            engine = PairEngine(**GIVEN, entry_z=1.0)
            engine.update(ticks[:start])
            position = engine.signal_state["position"]
            engine.mark_gap()
            later = ticks[start:].copy()
            later["time_ns"] += 2_700 * NS_PER_S
            alone = later[later["leg"] == leg][:40]
            assert len(engine.update(alone)) == 0
            assert engine.signal_state["position"] == position
            rows = engine.update(later[later["leg"] != leg][:1])
            assert rows["flags"].tolist() == [RowFlag.GAP_BEFORE]
            assert max(rows["y_age_s"][0], rows["x_age_s"][0]) < 600


def test_a_quiet_leg_is_seen():
    ticks = worlds.trades(6, 2_000)
    ticks["leg"][500:1_500] = 0
    engine = PairEngine(**GIVEN)
    rows = engine.update(ticks)
    assert len(rows) == len(ticks) - max(np.argmax(ticks["leg"] == 0), np.argmax(ticks["leg"] == 1))
    assert rows["x_age_s"].max() > 100
    # Trades of y alone are missing: x is as quiet as before, and rows go on with y's next trade.
    engine.mark_gap(1)
    assert len(engine.update(ticks[:1][ticks[:1]["leg"] == 1])) == 0
    tick = ticks[1_400:1_401].copy()
    assert engine.update(tick)["flags"].tolist() == [RowFlag.GAP_BEFORE]


@pytest.mark.parametrize("timeframe", ["1s", "5s", "1m", "5m"])
def test_bars_that_nobody_saw_have_no_prices(timeframe):
    ticks = worlds.trades(7, 8_000, silence=0)
    length = TIMEFRAMES_NS[timeframe]
    cut = 4_000
    before_ns = int(ticks["time_ns"][:cut].max())
    ticks["time_ns"][cut:] += 2_700 * NS_PER_S
    after_ns = int(ticks["time_ns"][cut:].min())
    engine = PairEngine(**GIVEN)
    engine.update(ticks[:cut])
    engine.mark_gap()
    engine.update(ticks[cut:])
    bars = engine.bars(timeframe)
    assert (np.diff(bars["time_ns"]) == length).all()
    unseen = (bars["time_ns"] > before_ns) & (bars["time_ns"] <= after_ns)
    assert unseen.sum() >= 2_700 * NS_PER_S // length - 1
    for leg in "yx":
        closes = bars[f"{leg}_close"]
        assert np.isnan(closes[unseen]).all()
        assert np.isnan(bars[f"{leg}_high"][unseen][1:]).all()  # of the first one, a part was seen
        assert (bars[f"{leg}_volume"][unseen][1:] == 0).all()
        begun = np.flatnonzero(np.isfinite(closes))[0]
        assert np.isfinite(closes[begun:][~unseen[begun:]]).all()


def candles_of(ticks, length):
    """Closes of all bars, by the trades that there were."""
    whole = PairEngine(**GIVEN)
    whole.update(ticks)
    name = next(name for name, ns in TIMEFRAMES_NS.items() if ns == length)
    bars = whole.bars(name)
    bars = bars[np.isfinite(bars["y_close"]) & np.isfinite(bars["x_close"])]
    return bars["time_ns"], bars["y_close"], bars["x_close"]


def test_candles_fill_a_gap_and_nothing_else():
    ticks = worlds.trades(8, 20_000)
    ticks["time_ns"] += (ticks["time_ns"] - ticks["time_ns"][0]) * 4
    ticks = ticks[np.argsort(ticks["time_ns"], kind="stable")]
    candles = candles_of(ticks, MINUTE)
    whole = PairEngine(**GIVEN, timeframe="1m")
    want = whole.update(ticks).copy()
    lost = slice(8_000, 12_000)
    kept = np.delete(ticks, lost)
    engine = PairEngine(**GIVEN, timeframe="1m")
    rows = update_over_gaps(engine, kept, [Gap(8_000)], candles)
    assert_array_equal(rows["time_ns"], want["time_ns"])
    for name in ("y", "x", "zscore", "spread_mean", "correlation", "p_value"):
        assert_array_equal(rows[name], want[name], name)
    seeded = rows["flags"] & RowFlag.SEEDED > 0
    inside = (rows["time_ns"] > ticks["time_ns"][lost][0]) & (
        rows["time_ns"] <= ticks["time_ns"][lost][-1]
    )
    assert_array_equal(seeded, inside)
    after = np.flatnonzero(rows["flags"] & RowFlag.GAP_BEFORE).tolist()
    assert after == [np.flatnonzero(seeded)[-1] + 1]
    assert not seeded[engine.events["row"]].any()
    assert len(set(rows["position"][seeded])) == 1


def test_bars_between_the_seeds_and_the_first_tick_are_not_copies():
    y, x = worlds.cointegrated(24, 100)
    times = oracles.T0 // MINUTE * MINUTE + MINUTE * np.arange(1, 101)
    engine = PairEngine(**GIVEN, timeframe="1m")
    engine.seed(times, y, x)
    ticks = oracles.ticks_of(y[:4], x[:4], step_ns=0)
    ticks["time_ns"] = np.repeat(times[-1] + MINUTE * np.array([10, 11, 12, 13]) + 1, 2)
    rows = engine.update(ticks)
    assert_array_equal(rows["time_ns"], times[-1] + MINUTE * np.array([11, 12, 13]))
    assert (rows["flags"] & RowFlag.GAP_BEFORE > 0).tolist() == [True, False, False]


def test_a_gap_can_be_filled_at_bar_timeframes_alone():
    with pytest.raises(DataError, match="'tick'"):
        PairEngine().fill_gap([MINUTE], [1.0], [1.0])
    engine = PairEngine(timeframe="1m")
    assert len(engine.fill_gap([MINUTE], [1.0], [1.0])) == 0  # before the first tick: no gap
    with pytest.raises(DataError, match="finite"):
        engine.fill_gap([MINUTE], [np.nan], [1.0])


@pytest.mark.parametrize("timeframe", ["1s", "5s", "1m", "5m", "15m", "1h"])
def test_the_bar_that_closes_at_the_epoch_is_a_bar(timeframe):
    length = TIMEFRAMES_NS[timeframe]
    closes = length * np.arange(-3, 4)
    ticks = np.zeros(2 * len(closes), TICK)
    ticks["time_ns"] = np.repeat(closes - length // 2, 2)
    ticks["leg"] = np.arange(len(ticks)) % 2
    ticks["price"] = 100.0 + np.arange(len(ticks))
    ticks["quantity"] = 1.0
    engine = PairEngine(**GIVEN, timeframe=timeframe)
    rows = engine.update(ticks)
    assert_array_equal(rows["time_ns"], closes[:-1])
    assert_array_equal(rows["y"], ticks["price"][:-2:2])
    np.testing.assert_allclose(rows["y_age_s"], length // 2 / 1e9)
    assert_array_equal(engine.bars(timeframe)["time_ns"], closes[:-1])
    per_tick = PairEngine(**GIVEN).update(ticks)
    assert_array_equal(per_tick["time_ns"], ticks["time_ns"][1:])
