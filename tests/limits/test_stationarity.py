"""Critical values of the stationarity test: MacKinnon (2010), and a line between its levels."""

from __future__ import annotations

import doctest
import math
from statistics import NormalDist

import numpy as np
import pytest
from statsmodels.tsa.adfvalues import mackinnoncrit, mackinnonp

from pairlab.limits import stationarity
from pairlab.limits.stationarity import asymptotic_p, critical_value, largest_p
from pairlab.settings import Settings


def test_examples_in_the_docstrings() -> None:
    result = doctest.testmod(stationarity)
    assert result.attempted == 1
    assert result.failed == 0


@pytest.mark.parametrize("variables", [1, 2])
@pytest.mark.parametrize("observations", [8, 19, 49, 299, 49_999])
def test_at_its_levels_it_is_the_paper(variables: int, observations: int) -> None:
    theirs = mackinnoncrit(N=variables, regression="c", nobs=observations)
    if variables == 2:  # the paper's coefficient of 1/T² at 1 % is −22.527: theirs is a misprint
        theirs[0] += 11.0 / observations**2
    ours = [critical_value(level, variables, observations) for level in (0.01, 0.05, 0.10)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("variables", [1, 2])
@pytest.mark.parametrize("observations", [8, 49, 49_999])
def test_it_grows_with_the_level_without_a_jump(variables: int, observations: int) -> None:
    levels = np.concatenate([np.geomspace(1e-9, 1e-3, 500), np.linspace(0.0011, 0.999, 5_000)])
    values = np.array([critical_value(level, variables, observations) for level in levels])
    slopes = np.diff(values) / np.diff([NormalDist().inv_cdf(level) for level in levels])
    assert slopes.min() > 0.7  # standard deviations of the statistic, roughly
    assert slopes.max() < 2.1
    assert critical_value(1.0, variables, observations) == math.inf


def test_one_percent_of_an_engle_granger_test_is_not_where_the_misprint_has_it() -> None:
    """1 % of 100,000 simulated pairs of walks of 10 rows lie below it; of the misprint 0.7 %."""
    r = np.random.default_rng(5)
    y, x = np.cumsum(r.normal(size=(2, 100_000, 10)), axis=2)
    y -= y.mean(axis=1, keepdims=True)
    x -= x.mean(axis=1, keepdims=True)
    e = y - ((y * x).sum(axis=1) / (x * x).sum(axis=1))[:, None] * x
    level, step = e[:, :-1], np.diff(e, axis=1)
    own = (level * level).sum(axis=1)
    gamma = (level * step).sum(axis=1) / own
    rest = ((step - gamma[:, None] * level) ** 2).sum(axis=1)
    statistic = gamma / np.sqrt(rest / 8 / own)
    share = (statistic <= critical_value(0.01, 2, 9)).mean()
    assert share == pytest.approx(0.01, abs=0.0012)


def test_the_largest_p_is_the_level_of_long_windows_and_less_of_short_ones() -> None:
    def most(**given: object) -> float:
        return largest_p(Settings(history_rows=100_000, **given).values())  # type: ignore[arg-type]

    for hedge, variables in (("fixed", 1), ("ols", 2), ("kalman", 2)):
        shares = [most(window=n, hedge=hedge) for n in (10, 20, 50, 300, 50_000)]
        assert shares == sorted(shares)
        assert shares[0] < 0.02
        assert shares[-1] == pytest.approx(0.05, rel=0.02)
        level = 10 - 2 if variables == 1 else 10 - 1
        want = mackinnonp(critical_value(0.05, variables, level), "c", variables)
        assert shares[0] == pytest.approx(want, rel=1e-9)
    assert most(max_p_value=1.0) == 1.0
    assert 0.0 < most(max_p_value=1e-9, window=10) < 1e-9


def test_the_p_value_of_a_row_stays_the_asymptotic_one() -> None:
    for variables in (1, 2):
        for t in (-25.0, -2.62, -1.61, *np.linspace(-20.0, 4.0, 1_201).tolist()):
            want = mackinnonp(t, "c", variables)
            assert asymptotic_p(t, variables) == pytest.approx(want, rel=1e-12, abs=1e-300)
    assert math.isnan(asymptotic_p(math.nan, 1))
