"""`scan` against statsmodels on every pair, against chance, and on what nobody should give it."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.tsa.adfvalues import mackinnonp
from statsmodels.tsa.stattools import coint

from pairlab import DataError, SettingError, scan
from pairlab.cli import main
from pairlab.scanning.correction import corrected, p_values
from pairlab.scanning.placebo import broken
from pairlab.scanning.tiles import every_pair, from_residuals
from pairlab.scanning.universe import underlying


def walks(symbols: int, rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        1_000.0 + rng.normal(size=(rows, symbols)).cumsum(axis=0),
        columns=[f"S{n:03}USDT" for n in range(symbols)],
        index=pd.date_range("2026-01-01", periods=rows, freq="1h", tz="UTC"),
    )


def market(rows: int = 300) -> pd.DataFrame:
    """Walks, and symbols that follow one of them, with noise from 1 down to 1e-5."""
    prices = walks(40, rows)
    rng = np.random.default_rng(1)
    for at in range(11):
        noise = rng.normal(size=rows) * 10.0 ** (-at / 2)
        prices.iloc[:, at] = 500.0 + (0.5 + at / 8) * prices["S039USDT"] + noise
    return prices


def with_holes(prices: pd.DataFrame) -> pd.DataFrame:
    """Late listings, a silence, and single rows that are missing."""
    rng = np.random.default_rng(2)
    holed = prices.copy()
    holed.iloc[:50, 3:15] = np.nan
    holed.iloc[100:120, 20] = np.nan
    holed.iloc[rng.random(len(prices)) < 0.1, 21] = np.nan
    return holed


def coint_of(y: pd.Series, x: pd.Series, lags: int, autolag: str | None) -> float:
    both = np.isfinite(y) & np.isfinite(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "(almost) perfectly colinear"
        return float(coint(y[both], x[both], maxlag=lags, autolag=autolag)[0])


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize(("lags", "choose", "step"), [(1, False, 1), (0, False, 7), (12, True, 11)])
@pytest.mark.slow
def test_it_is_coint_on_every_ordered_pair(lags: int, choose: bool, step: int, holes: bool) -> None:
    prices = with_holes(market()) if holes else market()
    table = np.ascontiguousarray(prices.to_numpy().T)
    tests = every_pair(
        table, None, np.triu(np.ones((40, 40), bool), 1), lags, choose=choose, n_jobs=2
    )
    infinite = compared = 0
    for at, (a, b) in enumerate(np.argwhere(~np.eye(40, dtype=bool))):
        if at % step:
            continue
        want = coint_of(prices.iloc[:, a], prices.iloc[:, b], lags, "aic" if choose else None)
        got = tests.forward[a, b] if a < b else tests.backward[b, a]
        assert math.isfinite(got), (a, b)
        if math.isinf(want):  # hardly anything is left of y: coint does not try
            infinite += 1
            continue
        compared += 1
        assert abs(got - want) <= 1e-6, (a, b)
        assert abs(p_values(np.array([got]))[0] - mackinnonp(got, "c", 2)) <= 1e-6
    assert infinite > 0 or step > 1
    assert compared > 1_000 / step


def test_from_the_residuals_it_is_the_same() -> None:
    """Products and residuals say the same; where coint gives up they are all there is."""
    table = np.ascontiguousarray(market().to_numpy().T)
    wanted = np.triu(np.ones((40, 40), bool), 1)
    tests = every_pair(table, None, wanted, 3, choose=False, n_jobs=1)
    pairs = np.argwhere(wanted)
    found = from_residuals(table, pairs, 3, choose=False, n_jobs=1)
    np.testing.assert_allclose(found[:, 3], tests.forward[wanted], rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_jobs", [2, -1])
@pytest.mark.slow
def test_the_same_bytes_on_any_number_of_threads(n_jobs: int) -> None:
    prices = with_holes(market())
    one, more = (scan(prices, placebo=2, n_jobs=jobs) for jobs in (1, n_jobs))
    pd.testing.assert_frame_equal(one.frame, more.frame, check_exact=True)
    pd.testing.assert_frame_equal(one.placebo, more.placebo, check_exact=True)
    assert one.p_matrix.tobytes() == more.p_matrix.tobytes()


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=50), st.sampled_from(["bh", "by"]))
def test_corrections_are_statsmodels(p: list[float], method: Any) -> None:
    want = multipletests(p, method=f"fdr_{method}")[1]
    np.testing.assert_allclose(corrected(np.array(p), method), want, rtol=1e-12, atol=1e-15)


@pytest.mark.slow
def test_of_walks_a_family_has_a_discovery_as_often_as_it_may() -> None:
    families = [
        scan(walks(40, 300, seed), placebo=0, rows=1).frame["q"].iloc[0] <= 0.05
        for seed in range(400)
    ]
    assert abs(np.mean(families) - 0.05) <= 0.022


def garch(symbols: int, rows: int, seed: int) -> pd.DataFrame:
    """Walks with clusters of volatility and a common factor: no pair reverts."""
    rng = np.random.default_rng(seed)
    steps = np.empty((rows, symbols))
    variance = np.ones(symbols)
    for t in range(rows):
        steps[t] = np.sqrt(variance) * rng.normal(size=symbols)
        variance = 0.02 + 0.18 * steps[t] ** 2 + 0.8 * variance
    steps += 0.5 * rng.normal(size=(rows, 1))
    return pd.DataFrame(1_000.0 + steps.cumsum(axis=0))


@pytest.mark.slow
def test_the_placebo_expects_what_nulls_show() -> None:
    """Over many nulls the count by chance is the count found, within its own error.

    MacKinnon's surface alone expects too few.
    """
    results = [scan(garch(30, 300, seed), placebo=5, rows=1, seed=seed) for seed in range(60)]
    for level in ("p ≤ 0.05", "p ≤ 0.01"):
        excess = [
            r.placebo.loc[level, "found"] - r.placebo.loc[level, "by_chance"] for r in results
        ]
        assert abs(np.mean(excess)) < 3.0 * np.std(excess, ddof=1) / math.sqrt(len(excess))
        found = [r.placebo.loc[level, "found"] for r in results]
        beyond = np.mean(found) - 435 * results[0].placebo.loc[level, "p"]
        assert beyond > 3.0 * np.std(found, ddof=1) / math.sqrt(len(found))


def test_a_broken_series_keeps_its_steps_and_its_missing_rows() -> None:
    prices = with_holes(market()).to_numpy().T
    mixed = broken(prices, np.random.default_rng(0))
    assert (np.isfinite(mixed) == np.isfinite(prices)).all()
    for before, after in zip(prices, mixed, strict=True):
        there = np.isfinite(before)
        steps, others = np.diff(before[there]), np.diff(after[there])
        assert not np.allclose(steps, others)
        np.testing.assert_allclose(np.sort(steps), np.sort(others), atol=1e-9)


def planted() -> pd.DataFrame:
    prices = walks(30, 800, seed=1)
    rng = np.random.default_rng(3)
    spread = np.zeros(len(prices))
    for t in range(1, len(prices)):
        spread[t] = 0.9 * spread[t - 1] + rng.normal() * 3.0
    prices["PAIRUSDT"] = 1.5 * prices["S000USDT"] + spread
    prices["S001USDC"] = prices["S001USDT"] + rng.normal(size=len(prices))
    stale = prices["S002USDT"].to_numpy().copy()
    stale[np.arange(len(stale)) % 5 != 0] = np.nan
    prices["SLOWUSDT"] = pd.Series(stale).ffill().to_numpy() + 50.0
    return prices


def reverting() -> pd.DataFrame:
    """Walks, one of which is none: with any other it seems to be cointegrated."""
    prices = walks(10, 800, seed=1)
    rng = np.random.default_rng(4)
    own = np.zeros(len(prices))
    for t in range(1, len(prices)):
        own[t] = 0.8 * own[t - 1] + rng.normal()
    prices["PEGUSDT"] = 1_000.0 + own
    return prices


def test_a_planted_pair_is_found_and_decoys_are_named() -> None:
    found = scan(planted(), fee_bps=1.0)
    frame = found.frame.set_index(
        frozenset(p) for p in zip(found.frame.y, found.frame.x, strict=True)
    )
    pair = frame.loc[[frozenset({"PAIRUSDT", "S000USDT"})]].iloc[0]
    assert pair["verdict"] == "candidate"
    assert abs(pair["half_life"] - math.log(2) / -math.log(0.9)) < 2.0
    assert pair["q"] < 0.01
    assert (
        abs((pair["hedge_ratio"] if pair["y"] == "PAIRUSDT" else 1 / pair["hedge_ratio"]) - 1.5)
        < 0.1
    )
    same = frame.loc[[frozenset({"S001USDT", "S001USDC"})]].iloc[0]
    assert same["verdict"] == "same underlying"
    stale = frame.loc[[frozenset({"S002USDT", "SLOWUSDT"})]].iloc[0]
    assert stale["verdict"].startswith("stale price: 80%")
    assert "one leg reverts by itself" in set(scan(reverting(), placebo=0).frame["verdict"])
    cut = found.placebo.loc["q ≤ 0.05"]
    assert cut["found"] >= 3 > cut["by_chance"]
    assert found.frame["p"].is_monotonic_increasing
    assert "found" in repr(found)
    assert "by chance" in found.summary()


def test_columns_are_what_pandas_says() -> None:
    prices = planted()
    row = scan(prices, placebo=0).frame.iloc[0]
    y, x = prices[row["y"]], prices[row["x"]]
    beta = np.polyfit(x, y, 1)
    spread = y - np.polyval(beta, x)
    assert row["hedge_ratio"] == pytest.approx(beta[0])
    assert row["intercept"] == pytest.approx(beta[1])
    assert row["zscore"] == pytest.approx(spread.iloc[-1] / spread.std())
    assert row["correlation"] == pytest.approx(y.corr(x))
    assert row["return_correlation"] == pytest.approx(y.pct_change().corr(x.pct_change()))
    assert row["crossings"] == (np.diff(spread > 0)).sum()
    assert row["deviation_bps"] == pytest.approx(spread.std() / y.iloc[-1] * 1e4)
    assert row["unchanged"] == max((y.diff() == 0).sum(), (x.diff() == 0).sum()) / (len(y) - 1)
    gamma = np.polyfit(spread.shift().dropna(), spread.diff().dropna(), 1)[0]
    if gamma > -1:
        assert row["half_life"] == pytest.approx(-math.log(2) / math.log1p(gamma))


def test_the_last_third_is_tested_with_what_was_known_before() -> None:
    from statsmodels.tsa.stattools import adfuller

    prices = planted()
    row = next(r for r in scan(prices, placebo=0).frame.itertuples() if "PAIRUSDT" in (r.y, r.x))
    y, x = prices[row.y], prices[row.x]
    first = len(prices) - int(len(prices) / 3)
    slope, intercept = np.polyfit(x[:first], y[:first], 1)
    last = (y - slope * x - intercept)[first:]
    want = adfuller(last, maxlag=1, autolag=None, regression="c", result_object=False)
    assert row.p_last == pytest.approx(want[1], rel=1e-6)


def test_filters_leave_the_family_as_it_was() -> None:
    prices = planted()
    whole = scan(prices, placebo=0).frame
    kept = scan(prices, placebo=0, filters={"half_life": (2.0, 20.0)}).frame
    assert kept["half_life"].between(2.0, 20.0).all()
    merged = kept.merge(whole, on=["y", "x"])
    assert 0 < len(merged) == len(kept) < len(whole)
    assert (merged["q_x"] == merged["q_y"]).all()


def test_what_cannot_be_tested_is_set_aside_and_the_others_go_on() -> None:
    prices = planted()
    prices["WORDS"] = "a"
    prices["STILL"] = 5.0
    prices["NEGATIVE"] = -prices["S003USDT"]
    prices["YOUNG"] = prices["S003USDT"].where(np.arange(len(prices)) > 790)
    prices["LATE"] = prices["S003USDT"].where(np.arange(len(prices)) > 600)
    found = scan(prices, placebo=0)
    assert set(found.set_aside) == {"WORDS", "STILL", "NEGATIVE", "YOUNG"}
    assert "not str ('a')" in found.set_aside["WORDS"]
    assert found.set_aside["STILL"] == "its price is 5 in every row"
    assert "LATE" in found.symbols
    assert "LATE" not in {*found.frame["y"], *found.frame["x"]}  # shares too few rows
    assert found.pairs_skipped == len(found.symbols) - 1
    assert found.matrix("rows").loc["LATE", "S000USDT"] == 199


@pytest.mark.parametrize(
    ("prices", "says"),
    [
        ([1, 2], "must be a pandas DataFrame with a column a symbol, or the path.*, not list"),
        (walks(1, 100), "1 column that can be tested, expected at least 2"),
        (walks(3, 10), "10 prices, expected at least 22"),
        (pd.DataFrame(), "0 columns that can be tested"),
        (walks(3, 100).iloc[::-1], "must ascend"),
        (pd.concat([walks(2, 100), walks(2, 100)], axis=1), "'S000USDT' twice"),
    ],
)
def test_what_is_no_universe_is_refused(prices: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        scan(prices)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"lags": 13}, "lags = 13 is invalid: expected 0 to 12, or 'aic'"),
        ({"lags": "bic"}, "lags = 'bic'"),
        ({"direction": "min"}, "direction = 'min' is invalid: expected one of 'both', 'dearer'"),
        ({"correction": "fdr"}, "correction = 'fdr'"),
        ({"placebo": -1}, "placebo = -1 is invalid: expected a whole number from 0 to 10,000"),
        ({"split": 0.9}, "split = 0.9 is invalid: expected 0.1 to 0.5"),
        ({"min_overlap": math.nan}, "min_overlap = nan"),
        ({"placebo": 1.5}, "placebo = 1.5 is invalid: expected a whole number"),
        ({"placebo": True}, "placebo = True"),
        ({"split": "1/3"}, "split = '1/3' is invalid: expected 0.1 to 0.5"),
        ({"min_overlap": None}, "min_overlap = None"),
        ({"rows": [1]}, "rows = "),
        ({"fee_bps": "4"}, "fee_bps = '4'"),
        ({"seed": -1}, "seed = -1"),
        ({"n_jobs": 0}, "n_jobs = 0"),
        ({"n_jobs": "all"}, "n_jobs = 'all'"),
        ({"n_jobs": None}, "n_jobs = None"),
        ({"n_jobs": 10**12}, "n_jobs = 1000000000000 is invalid: expected 1 to 1,000 threads"),
        ({"filters": 5}, "filters = 5 is invalid"),
        ({"filters": {"p": 0.05}}, "filters = .'p': 0.05. is invalid: expected the least"),
        ({"filters": {"p": (0, "a")}}, "expected the least and the largest"),
        ({"filters": {"halflife": (1, 2)}}, "filters = 'halflife' is invalid: expected one of n, "),
    ],
)
def test_arguments_out_of_range_are_named(options: Any, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        scan(walks(3, 100), **options)


@pytest.mark.parametrize(
    ("symbol", "of"),
    [("BTCUSDT", "BTC"), ("BTCUSDC", "BTC"), ("1000SHIBUSDT", "SHIB"), ("1INCHUSDT", "1INCH"),
     ("1MBABYDOGEUSDT", "BABYDOGE"), ("ETHUSDT_260327", "ETH"), ("eth/usdt", "ETH"),
     ("USDT", "USDT")],
)  # fmt: skip
def test_what_a_symbol_is_a_price_of(symbol: str, of: str) -> None:
    assert underlying(symbol) == of


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prices = planted()
    prices.to_csv(tmp_path / "prices.csv")
    prices.assign(WORDS="a").to_parquet(tmp_path / "prices.parquet")
    out = tmp_path / "out.csv"
    main(["scan", str(tmp_path / "prices.csv"), "--placebo", "3", "--csv", str(out)])
    printed = capsys.readouterr().out
    assert "528 pairs of 33 symbols tested; found" in printed
    assert "candidate" in printed
    read = pd.read_csv(out, comment="#")
    want = scan(prices, placebo=0).frame
    pd.testing.assert_series_equal(read["p"], want["p"])
    main(["scan", str(tmp_path / "prices.parquet"), "--placebo", "0", "--lags", "aic"])
    captured = capsys.readouterr()
    assert "pairlab: WORDS was set aside: WORDS must hold numbers" in captured.err
    with pytest.raises(SystemExit, match="No such file"):
        main(["scan", str(tmp_path / "none.csv")])
    with pytest.raises(SystemExit, match="lags = 'bic' is invalid"):
        main(["scan", str(tmp_path / "prices.csv"), "--lags", "bic"])
