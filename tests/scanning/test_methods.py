"""Johansen's trace against statsmodels, distances against pandas, clusters against scipy."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from statsmodels.tsa.coint_tables import c_sjt
from statsmodels.tsa.vector_ar.vecm import coint_johansen

from pairlab import MissingExtraError, SettingError, scan
from pairlab.scanning import methods
from tests.scanning.test_scan import market, planted, walks, with_holes


def triangle(count: int) -> np.ndarray:
    return np.triu(np.ones((count, count), bool), 1)


@pytest.mark.parametrize("lags", [1, 3])
def test_the_trace_is_statsmodels(lags: int) -> None:
    table = np.ascontiguousarray(with_holes(market()).to_numpy().T)[10:24]
    found = methods.johansen_traces(table, table, triangle(14), lags, 2)
    for i, j in np.argwhere(triangle(14)):
        both = np.isfinite(table[i]) & np.isfinite(table[j])
        want = coint_johansen(table[[i, j]][:, both].T, 0, lags).trace_stat[0]
        assert found[i, j] == pytest.approx(want, rel=1e-6, abs=1e-6), (i, j)


def test_its_p_values_have_the_critical_values_of_statsmodels() -> None:
    """Two of them make the distribution; the third is a check of its shape."""
    found = methods.trace_p_values(c_sjt(2, 0))
    np.testing.assert_allclose(found, [0.1, 0.05, 0.01], rtol=0.01)


def test_of_walks_that_drift_as_many_are_found_as_should_be() -> None:
    drifting = walks(80, 400, seed=4) + np.arange(400)[:, None] * np.linspace(0.5, 1.5, 80)
    table = np.ascontiguousarray(drifting.to_numpy().T)
    wanted = np.zeros((80, 80), bool)
    wanted[np.arange(0, 80, 2), np.arange(1, 80, 2)] = True  # independent pairs
    p = methods.trace_p_values(methods.johansen_traces(table, table, wanted, 1, 2))[wanted]
    assert abs((p <= 0.5).mean() - 0.5) < 3 * 0.5 / np.sqrt(40)


@pytest.mark.parametrize("method", ["johansen", "distance"])
def test_a_scan_by_another_method(method: str) -> None:
    prices = planted()
    found = scan(prices, method=method, placebo=2)  # type: ignore[arg-type]
    first = [{row.y, row.x} for row in found.frame.head(3).itertuples()]
    assert {"PAIRUSDT", "S000USDT"} in first
    assert found.frame["statistic"].is_monotonic_increasing == (method == "distance")
    if method == "johansen":
        assert found.placebo.loc["p ≤ 0.1", "by_chance"] > 0
        row = found.frame.iloc[0]
        want = coint_johansen(prices[[row["y"], row["x"]]], 0, 1).trace_stat[0]
        assert row["statistic"] == pytest.approx(want)
        return
    assert found.frame["p"].isna().all()
    row = found.frame.iloc[5]
    ratio = (
        prices[row["y"]] / prices[row["y"]].iloc[0] - prices[row["x"]] / prices[row["x"]].iloc[0]
    )
    assert row["statistic"] == pytest.approx((ratio**2).mean())
    assert found.placebo.loc["closest 1", "by_chance"] < 1
    assert "the closest 100, by chance" in found.summary()


def test_clusters_are_scipys() -> None:
    found = scan(planted(), placebo=0)
    order = found.ordered()
    assert sorted(order) == sorted(found.symbols)
    correlation = found.matrix("return_correlation")
    apart = np.sqrt(0.5 * (1 - correlation.to_numpy().clip(-1, 1)))
    np.fill_diagonal(apart, 0.0)
    links = hierarchy.linkage(squareform(apart, checks=False), "average", optimal_ordering=True)
    assert [found.symbols[n] for n in hierarchy.leaves_list(links)] == list(order)
    assert abs(order.index("S001USDC") - order.index("S001USDT")) == 1


def test_arguments_that_do_not_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    prices = walks(3, 100)
    with pytest.raises(SettingError, match="method = 'phillips' is invalid"):
        scan(prices, method="phillips")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="lags = 'aic' is invalid: expected a number"):
        scan(prices, method="johansen", lags="aic")
    with pytest.raises(SettingError, match="client"):
        scan(prices, method="distance", client=pd.DataFrame())
    methods._trace_gamma.cache_clear()
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(MissingExtraError, match=r"pairlab\[research\]"):
        scan(prices, method="johansen", placebo=0)
