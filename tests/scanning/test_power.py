"""How often planted pairs are found, beside the formula that says so beforehand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pairlab import SettingError, scan
from pairlab.scanning.correction import detection_power, p_values
from pairlab.scanning.tiles import from_residuals
from tests.scanning.test_scan import walks

PAIRS = 300
LEVEL = 0.05 / 124_750 / 2  # of one direction, the first of 500 symbols by Benjamini-Hochberg


@pytest.mark.slow
def test_planted_pairs_are_found_where_the_formula_says_so() -> None:
    """y = 1.5 x + OU; x a walk of unit steps, the spread's deviation 3."""
    rng = np.random.default_rng(11)
    told, compared = [], 0
    for rows in (500, 1_000, 2_000):
        for half_life in (3, 6, 10, 20, 40):
            phi = 2.0 ** (-1.0 / half_life)
            x = 1_000.0 + rng.normal(size=(PAIRS, rows)).cumsum(axis=1)
            spread = np.empty((PAIRS, rows))
            value = 3.0 * rng.normal(size=PAIRS)
            for t in range(rows):
                value = phi * value + 3.0 * np.sqrt(1 - phi**2) * rng.normal(size=PAIRS)
                spread[:, t] = value
            table = np.ascontiguousarray(np.concatenate([1.5 * x + spread, x]))
            pairs = np.stack([np.arange(PAIRS), PAIRS + np.arange(PAIRS)], axis=1)
            found = from_residuals(table, pairs, 1, choose=False, n_jobs=2)
            power = float((p_values(found[:, 3]) <= LEVEL).mean())
            formula = detection_power(half_life, rows, LEVEL)
            told.append(f"{rows:5} rows, half-life {half_life:2}: {power:6.1%} ({formula:6.1%})")
            if formula >= 0.95:
                compared += 1
                assert power >= 0.9, told[-1]
    print("\n".join(told))
    assert compared >= 4


def test_a_scan_says_what_it_could_have_found() -> None:
    found = scan(walks(10, 300), placebo=0)
    powers = [found.power(half_life) for half_life in (1, 5, 10, 50)]
    assert powers == sorted(powers, reverse=True)
    assert powers[0] > 0.99
    assert powers[-1] < 0.2
    assert found.power(10) == detection_power(10, 300, 0.05 / 45 / 2)
    with pytest.raises(SettingError, match="half_life = 0 is invalid"):
        found.power(0)


def test_ten_thousand_pairs_that_are_asked_for_are_there() -> None:
    prices = walks(150, 120)
    found = scan(prices, placebo=0, rows=10_000)
    assert len(found.frame) == 10_000
    assert found.pairs_tested == 11_175
    assert found.frame["p"].is_monotonic_increasing
    assert not found.frame.duplicated(["y", "x"]).any()


def test_a_series_under_two_names_is_collinear_and_the_others_go_on() -> None:
    prices = walks(5, 200)
    prices["AGAINUSDT"] = prices["S000USDT"]
    found = scan(pd.DataFrame(prices), placebo=0)
    assert found.pair("AGAINUSDT", "S001USDT")["n"] == 200
    same = [row for row in found.frame.itertuples() if {row.y, row.x} == {"AGAINUSDT", "S000USDT"}]
    assert all(row.verdict.startswith("collinear") for row in same)
    assert found.pairs_tested >= 14
