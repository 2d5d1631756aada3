"""The Kalman hedge: it follows a moving ratio, and leaves the spread to be traded."""

import math
import re
from decimal import Context, Decimal, localcontext

import numpy as np
import pytest

from pairlab.engine import PairEngine
from pairlab.schema import AlertKind, RowFlag, Stationary
from pairlab.settings import Settings
from tests.engine import oracles, worlds


def test_it_follows_the_ratio_and_keeps_the_spread_at_default_settings():
    errors, kept, kept_by_ols = [], [], []
    for seed in range(10):
        y, x, beta, s = worlds.moving_ratio(seed)
        engine = PairEngine(timeframe="1s", hedge="kalman")
        learnt = slice(1_300, None)
        kalman = oracles.observe(engine, y, x)[learnt]
        ols = oracles.observe(PairEngine(timeframe="1s", hedge="ols"), y, x)[learnt]
        miss = [np.abs(rows["hedge_ratio"] - beta[learnt]).mean() for rows in (kalman, ols)]
        errors.append(miss[0] / miss[1])
        kept.append(np.corrcoef(kalman["zscore"], s[learnt])[0, 1])
        kept_by_ols.append(np.corrcoef(ols["zscore"], s[learnt])[0, 1])
        assert engine.kalman_warning is None
        assert 0.9 < kalman["zscore"].std() < 1.1  # a z-score in units of its own deviation
    assert np.mean(errors) <= 0.2
    assert np.mean(kept) >= 0.8
    assert np.mean(kept) > np.mean(kept_by_ols) + 0.2


def written_out(y, x, half_life, log=False, prior=10**40):
    """The filter of [α, β] as textbooks write it, in decimals of 120 digits: rows before R moves.

    Level and slope are walks of variance q·R, prices are in units of the first, and nothing is
    known before: the covariance is subtracted from the prior, of which 80 digits are left.
    """
    rows = []
    with localcontext(Context(prec=120)):
        one = Decimal(1)
        weight = Decimal(math.log(2) / half_life)
        q = Decimal((math.log(2) / half_life) ** 2 / 2)
        ys, xs = ([Decimal(float(v)) for v in (np.log(leg) if log else leg)] for leg in (y, x))
        y0, x0 = (one, one) if log else (ys[0], xs[0])
        alpha, beta, noise, count = Decimal(0), one, Decimal(0), 0
        p00, p01, p11 = Decimal(prior), Decimal(0), Decimal(prior)
        for a, b in zip(ys, xs, strict=True):
            a, b = a / y0, b / x0
            p00, p11 = p00 + q, p11 + q
            error = a - alpha - beta * b
            t0, t1 = p00 + p01 * b, p01 + p11 * b
            size = one + t0 + b * t1
            deviation = (noise * size).sqrt()
            alpha, beta = alpha + error * t0 / size, beta + error * t1 / size
            p00, p01, p11 = p00 - t0 * t0 / size, p01 - t0 * t1 / size, p11 - t1 * t1 / size
            if size < 10**8 and (count or a != ys[0] / y0):
                count += 1
                grows = weight * count < 3
                share = min(Decimal(3) / count, one) if grows else weight
                noise += share * (error * error / size * (Decimal(4) / 3 if grows else 1) - noise)
                noise = max(noise, Decimal("1e-24"))
            rows.append((
                float(error / deviation) if deviation else math.nan, float(error * y0),
                float(deviation * y0), float(beta * y0 / x0), float(alpha * y0), count,
            ))  # fmt: skip
    return dict(zip(("zscore", "spread", "spread_std", "hedge_ratio", "intercept", "count"),
                    np.array(rows).T, strict=True))  # fmt: skip


def stands_still(legs, count, seed=3):
    """A pair of which legs stand still for so long from the start, then both move."""
    y, x, _, _ = worlds.moving_ratio(seed, count + 1_500)
    if "x" in legs:
        x[:count] = x[0]
    if "y" in legs:
        y[:count] = y[0]
    return y, x


def stands_still_later():
    y, x, _, _ = worlds.moving_ratio(5, 34_000)
    x[2_000:32_000] = x[2_000]
    x[32_000:] += x[2_000] - x[32_000]
    return y, x


def tight():
    _, x, _, _ = worlds.moving_ratio(6, 3_000)
    return x * (1 + np.random.default_rng(6).normal(0, 1e-7, 3_000)), x


def jump():
    y, x, _, _ = worlds.moving_ratio(9, 3_000)
    x[1_500:] *= 1.4
    y[1_500:] *= 1.4
    return y, x


WORLDS = {
    "plain": (lambda: worlds.moving_ratio(3, 2_500)[:2], {"kalman_half_life": 40}),
    "logarithms": (
        lambda: worlds.moving_ratio(3, 2_500)[:2],
        {"kalman_half_life": 300, "price_scale": "log"},
    ),
    "x stands still": (lambda: stands_still("x", 30_000), {"kalman_half_life": 1e5}),
    "x stands still, default memory": (lambda: stands_still("x", 4_000), {}),
    "x stands still later": (stands_still_later, {"kalman_half_life": 1e5}),
    "y stands still": (lambda: stands_still("y", 4_000), {"kalman_half_life": 1e7}),
    "x moves by one tick first": (
        lambda: (lambda y, x: (y, np.where(np.arange(len(x)) == 17, x[0] * (1 + 1e-9), x)))(
            *stands_still("x", 5_000, 4)
        ),
        {"kalman_half_life": 1e5},
    ),
    "a tight pair": (tight, {"kalman_half_life": 1e4}),
    "prices rise by two fifths at once": (jump, {"kalman_half_life": 1e5}),
    "a ratio below zero": (
        lambda: (lambda y, x: (2 * y[0] - y, x))(*worlds.moving_ratio(8, 2_500)[:2]), {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WORLDS)
def test_its_rows_are_a_filter_written_out_in_120_digits(name):
    make, settings = WORLDS[name]
    y, x = make()
    half_life = settings.get("kalman_half_life", 300)
    rows = oracles.observe(PairEngine(timeframe="1s", hedge="kalman", **settings), y, x)
    want = written_out(y, x, half_life, settings.get("price_scale") == "log")
    shown = np.isfinite(rows["zscore"])
    assert shown[-400:].all()
    assert not shown[: np.searchsorted(want["count"], min(3 * half_life, 1_000))].any()
    for column in ("zscore", "spread", "spread_std", "hedge_ratio", "intercept"):
        got, there = rows[column][shown], want[column][shown]
        # what may be zero has the scale of its deviation, or of the prices
        scale = {
            "zscore": 1.0,
            "spread": np.median(want["spread_std"][shown]),
            "hedge_ratio": max(np.median(np.abs(there)), 1e-6 * y[0] / x[0]),
        }.get(column)
        oracles.assert_close(column, got, there, 1e-8, scale=scale)


def test_a_hedge_is_shown_when_it_and_its_noise_are_learnt_and_not_before():
    y, x, _, _ = worlds.moving_ratio(3, 2_000)
    for settings, first in (
        ({}, 900), ({"kalman_half_life": 40}, 120), ({"kalman_half_life": 10, "window": 200}, 197),
        ({"kalman_half_life": 5_000}, 1_000), ({"window": 1_500}, 1_497),
    ):  # fmt: skip
        rows = oracles.observe(PairEngine(timeframe="1s", hedge="kalman", **settings), y, x)
        warming = rows["flags"] & RowFlag.WARMING > 0
        learnt = np.flatnonzero(~warming)[0]
        want = written_out(y[: learnt + 1], x[: learnt + 1], settings.get("kalman_half_life", 300))
        within = np.abs(want["zscore"][first + 1 :]) <= 1  # no excursion that began unseen
        assert learnt == first + 1 + np.flatnonzero(within)[0]
        assert not warming[learnt:].any()
        for column in ("hedge_ratio", "intercept", "spread", "spread_std", "zscore", "half_life"):
            assert np.isnan(rows[column][:learnt]).all(), column
            if column != "half_life":
                assert np.isfinite(rows[column][learnt:]).all(), column
        full = rows[settings.get("window", 50) - 1 :]
        assert np.isfinite(full["correlation"]).all()  # it needs no filter
        assert (full["stationary"] != Stationary.NOT_ENOUGH_DATA).all()


@pytest.mark.parametrize("move", [0.0, 1e-9])
def test_a_slope_is_not_learnt_while_x_stands_still(move):
    y, x = stands_still("x", 3_000)
    x[1_000] *= 1 + move
    rows = oracles.observe(PairEngine(timeframe="1s", hedge="kalman", kalman_half_life=50), y, x)
    assert (rows["flags"][:3_000] & RowFlag.WARMING > 0).all()
    assert np.isnan(rows["hedge_ratio"][:3_000]).all()
    known = np.flatnonzero(np.isfinite(rows["hedge_ratio"]))
    assert 3_000 < known[0] < 3_050
    assert np.abs(rows["zscore"][known]).max() < 6


@pytest.mark.parametrize("half_life", [10, 30, 300])
@pytest.mark.parametrize("count", [20, 45, 90, 700])
@pytest.mark.parametrize("silent", ["y", "both"])
def test_a_silence_at_the_start_is_not_taken_for_the_noise(silent, count, half_life):
    y, x, _, _ = worlds.moving_ratio(14, 3_000)
    for leg in (y, x) if silent == "both" else (y,):
        leg[count:] += leg[count - 1] - leg[count]
        leg[:count] = leg[count]
    given = {"timeframe": "1s", "hedge": "kalman", "kalman_half_life": half_life}
    z = oracles.observe(PairEngine(**given), y, x)["zscore"]
    shown = np.flatnonzero(np.isfinite(z))
    assert shown[0] >= count + 3 * half_life
    assert np.abs(z[shown]).max() < 6


def test_rows_on_which_y_stands_still_say_little_of_its_noise():
    y, x, _, _ = worlds.moving_ratio(15, 4_000)
    y = np.repeat(y[::20], 20)  # one row in twenty moves it
    rows = oracles.observe(PairEngine(timeframe="1s", hedge="kalman", kalman_half_life=10), y, x)
    assert 580 <= np.flatnonzero(np.isfinite(rows["zscore"]))[0] <= 640  # thirty moves, not 30 rows


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("price_scale", ["linear", "log"])
def test_the_first_z_is_no_matter_of_the_prices_units(scale, price_scale):
    y, x, _, _ = worlds.moving_ratio(12, 3_000)
    given = {"timeframe": "1s", "hedge": "kalman", "price_scale": price_scale}
    z, want = (oracles.observe(PairEngine(**given), a, x)["zscore"] for a in (y * scale, y))
    np.testing.assert_array_equal(np.isnan(z), np.isnan(want))
    np.testing.assert_allclose(z, want, rtol=0, atol=1e-6)


def test_a_switch_to_it_learns_from_the_ticks_held_and_waits_for_the_rest():
    ticks = worlds.trades(17, 4_000)
    for held, shown in ((600, False), (3_000, True)):
        engine = PairEngine(window=50, hedge_ratio=25.0)
        engine.update(ticks[:held])
        values = Settings(window=50, hedge="kalman").values()
        fresh, rows = engine.rebuilt(values, ticks[:held])
        fresh.adopt_signal(engine)
        warming = rows["flags"] & RowFlag.WARMING > 0
        assert warming[-1] != shown
        assert np.isnan(rows["zscore"][warming]).all()
        assert warming[:900].all()
        later = fresh.update(ticks[held:]).copy()
        assert np.isfinite(later["zscore"][1_000:]).all()
        alone = PairEngine(window=50, hedge="kalman").update(ticks)
        np.testing.assert_array_equal(later["zscore"], alone["zscore"][-len(later) :])


@pytest.mark.slow
@pytest.mark.parametrize("given", [{}, {"min_correlation": -1.0}], ids=["default", "no filter"])
def test_entries_are_no_denser_after_a_start_than_later(recorded, given):
    ticks = worlds.recorded_trades(recorded)
    early_rows = late_rows = early = late = 0
    shown = ([], [])  # z² before row 1,200, and later
    for start in np.linspace(0, len(ticks) - 6_000, 200).astype(int):
        engine = PairEngine(hedge="kalman", bars=False, **given)
        rows = engine.update(ticks[start:].copy())
        entered = engine.events["row"][engine.events["kind"] == AlertKind.ENTRY]
        early, late = early + (entered < 1_200).sum(), late + (entered >= 1_200).sum()
        early_rows, late_rows = early_rows + 1_200, late_rows + len(rows) - 1_200
        for found, z in zip(shown, np.split(rows["zscore"], [1_200]), strict=True):
            found.append(z[np.isfinite(z)] ** 2)
        assert not (np.abs(rows["zscore"][:250]) > 6).any()
    first, then = (np.concatenate(found).mean() for found in shown)
    assert first < 1.05 * then  # 1.3 if R lags behind the innovations
    assert late > 300
    assert early / early_rows < 1.5 * late / late_rows


@pytest.mark.slow
@pytest.mark.parametrize("half_life", [50.0, 200.0, 2_000.0])
def test_the_first_z_shown_are_those_of_an_engine_of_long_standing(recorded, half_life):
    """Row by row, of 200 starts: the same market, so that none of its excursions counts."""
    ticks = worlds.recorded_trades(recorded)
    given = {"hedge": "kalman", "kalman_half_life": half_life, "bars": False}
    known = PairEngine(**given).update(ticks.copy())["zscore"].copy()
    stretches = len(ticks) // 1_000 + 1
    counts = np.zeros((stretches, 4))  # entries and rows with a z before row 1,200; and later
    fresh, old = [], []
    for start in np.linspace(4_000, len(ticks) - 6_000, 200).astype(int):
        engine = PairEngine(**given)
        z = engine.update(ticks[start:].copy())["zscore"].copy()
        entered = engine.events["row"][engine.events["kind"] == AlertKind.ENTRY]
        place = (len(ticks) - len(z) + np.arange(len(z))) // 1_000
        shown = np.isfinite(z)
        early = np.arange(len(z)) < 1_200
        fresh.append(z[shown & early] ** 2)
        old.append(known[-len(z) :][shown & early] ** 2)
        for at, rows in ((0, early), (2, ~early)):
            counts[:, at] += np.bincount(place[entered[rows[entered]]], minlength=stretches)
            counts[:, at + 1] += np.bincount(place[shown & rows], minlength=stretches)
    assert len(np.concatenate(fresh)) > 20_000
    assert 0.8 < np.concatenate(fresh).mean() / np.concatenate(old).mean() < 1.1
    early, early_rows, late, late_rows = counts.sum(axis=0)
    assert late > 50
    assert early / (1_200 * 200) < 1.5 * late / late_rows
    # Per row that shows a z entries are few, and of a few excursions of the market, which many
    # starts see: what the stretches of the market leave open includes that nothing is different.
    drawn = np.random.default_rng(1).multinomial(
        stretches, np.full(stretches, 1 / stretches), 4_000
    )
    early, early_rows, late, late_rows = (drawn @ counts).T
    told = (early_rows > 0) & (late > 0)
    ratio = (early / early_rows)[told] / (late / late_rows)[told]
    assert np.quantile(ratio, 0.025) < 1.5 and np.quantile(ratio, 0.975) > 1.0  # noqa: PT018


def warning(y, x, **settings):
    engine = PairEngine(timeframe="1s", hedge="kalman", **{"window": 300, **settings})
    seen = []
    for part in np.array_split(np.arange(len(y)), 4):
        if not seen:
            oracles.observe(engine, y[part], x[part])
        else:
            times = oracles.T0 + 10**12 + part * 10**9
            engine.observe(times, y[part], x[part], times, times)
        seen.append(engine.kalman_warning)
    return seen[-1]


def test_health_is_silent_where_the_memory_is_long_enough():
    y, x, _, _ = worlds.moving_ratio(5, 12_000)
    assert warning(y, x) is None


def test_health_warns_when_the_filter_eats_the_spread():
    r = np.random.default_rng(8)
    x = 3000 + np.cumsum(r.normal(0, 0.5, 12_000))
    y = 10_000 + 25 * x + worlds.ou(r, 12_000, 1_000, 60.0)
    assert "tenth of its variance" in warning(y, x, kalman_half_life=10, window=4_000)
    assert warning(y, x, kalman_half_life=5_900, window=4_000) is None


def test_health_warns_when_the_spread_outlives_the_memory():
    y, x, _, _ = worlds.moving_ratio(5, 12_000)
    said = warning(y, x, kalman_half_life=15)
    assert "spread half-life (" in said
    assert "is too close to kalman_half_life (15): the hedge adapts" in said


@pytest.mark.parametrize("half_life", [60, 300, 1_000])
@pytest.mark.parametrize("memory", [24, 57.5, 300])
def test_the_advice_is_three_half_lives_of_the_spread_itself(half_life, memory):
    r = np.random.default_rng(1)
    x = 3000 + np.cumsum(r.normal(0, 0.5, 40_000))
    y = 10_000 + 25 * x + worlds.ou(r, 40_000, half_life, 20.0)
    said = warning(y, x, kalman_half_life=memory)
    if 3 * half_life < 0.9 * memory:
        assert said is None
        return
    told, least = (float(n.replace(",", "")) for n in re.search(ADVICE, said).groups())
    assert told == pytest.approx(half_life, rel=0.25)
    assert memory < least == pytest.approx(3 * told, abs=3)
    assert least >= 3 * half_life * 0.75
    assert warning(y, x, kalman_half_life=1.5 * least) is None, "which is followed in vain"


ADVICE = r"half-life \(([\d,]+)\) is too close .* raise kalman_half_life to ([\d,]+) or more"


@pytest.mark.parametrize("memory", [20, 30, 45, 55, 57, 57.5, 60])
def test_the_advice_is_above_what_is_set(memory):
    """Also where it is close, and where the spread's own half-life was not the reason."""
    r = np.random.default_rng(4)
    x = 3000 + np.cumsum(r.normal(0, 0.5, 12_000))
    said = warning(10_000 + 25 * x + worlds.ou(r, 12_000, 20, 20.0), x, kalman_half_life=memory)
    if said is not None:
        assert int(re.search(r" to ([\d,]+) or more", said).group(1)) > memory


def test_a_half_life_that_the_rows_cannot_tell_is_told_as_the_least_that_it_is():
    r = np.random.default_rng(2)
    x = 3000 + np.cumsum(r.normal(0, 0.5, 4_000))
    y = 10_000 + 25 * x + worlds.ou(r, 4_000, 20_000, 20.0)
    said = warning(y, x, kalman_half_life=100)
    found = re.search(r"half-life \(at least ([\d,]+)\)|raise it to ([\d,]+) or more", said)
    assert found, said
    least = int((found[1] or found[2]).replace(",", ""))
    assert least > 700


def test_health_waits_for_twice_the_memory():
    y, x, _, _ = worlds.moving_ratio(5, 500)
    engine = PairEngine(timeframe="1s", hedge="kalman", kalman_half_life=300)
    oracles.observe(engine, y, x)
    assert engine.kalman_warning is None
    assert PairEngine().kalman_warning is None


def test_silence_does_not_shrink_the_noise_until_the_next_move_is_enormous():
    y, x, _, _ = worlds.moving_ratio(7, 8_000)
    y[4_000:7_000], x[4_000:7_000] = y[4_000], x[4_000]
    y[7_000:] += y[4_000] - y[7_000]
    x[7_000:] += x[4_000] - x[7_000]
    rows = oracles.observe(PairEngine(timeframe="1s", hedge="kalman"), y, x)
    assert np.isnan(rows["zscore"][4_060:7_000]).all()
    assert np.nanmax(np.abs(rows["zscore"][7_000:7_100])) < 8
