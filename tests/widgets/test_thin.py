"""Decimation: what a chart of a few hundred pixels may not lose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairlab.widgets.thin import Thinned, trim

SPAN_NS = 30_000_000_000
START_NS = 1_732_285_900_000_000_000


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    time_ns = START_NS + np.sort(rng.integers(0, SPAN_NS, n))
    return time_ns, rng.standard_normal(n).cumsum()


def thinned(time_ns: np.ndarray, gap: np.ndarray | None = None, columns: int = 50) -> Thinned:
    gap = np.zeros(len(time_ns), bool) if gap is None else gap
    return Thinned(time_ns, gap, int(time_ns[-1]), SPAN_NS, columns)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 1000))
def test_every_extreme_of_every_column_is_drawn_where_it_happened(n: int, seed: int) -> None:
    time_ns, values = rows(n, seed)
    x, y = thinned(time_ns).extremes(values)
    assert len(x) == len(y) <= max(2 * 52, 100)
    assert (np.diff(x) >= 0).all()
    assert y.min() == values.min()
    assert y.max() == values.max()
    if n > 100:
        column = time_ns // (SPAN_NS // 50)
        drawn = (x.astype(np.float64) * 1e6 + time_ns[-1]) // (SPAN_NS // 50)
        for which in np.unique(column):
            of_column = y[np.abs(drawn - which) <= 1]
            assert values[column == which].min() in of_column
            assert values[column == which].max() in of_column


def test_few_rows_are_drawn_as_they_are() -> None:
    time_ns, values = rows(80, 1)
    x, y = thinned(time_ns).extremes(values)
    assert np.array_equal(y, values)
    assert np.allclose(x, (time_ns - time_ns[-1]) / 1e6, atol=2e-3)
    assert x.dtype == np.float32


@pytest.mark.parametrize("n", [80, 2000])
def test_a_gap_breaks_the_line_and_hides_no_value(n: int) -> None:
    time_ns, values = rows(n, 2)
    gap = np.zeros(n, bool)
    gap[[0, n // 3, n // 2]] = True
    x, y = thinned(time_ns, gap).extremes(values)
    assert np.isnan(y).sum() == 2  # the first row has nothing before it to be cut from
    known = y[np.isfinite(y)]
    assert known.min() == values.min()
    assert known.max() == values.max()
    parts = np.split(y, np.flatnonzero(np.isnan(y)))
    assert np.nanmax(parts[0]) == values[: n // 3].max()
    assert np.nanmin(parts[1]) == values[n // 3 : n // 2].min()
    assert len(x) == len(y)


def test_columns_without_a_number_stay_empty_and_the_rest_is_whole() -> None:
    time_ns, values = rows(2000, 3)
    values[:700] = np.nan
    x, y = trim(*thinned(time_ns).extremes(values))
    assert np.isfinite(y).all()
    assert len(x) == len(y) > 50
    assert y.min() == np.nanmin(values)
    assert y.max() == np.nanmax(values)


def test_columns_stand_still_while_the_view_moves_on() -> None:
    time_ns, values = rows(4000, 4)
    _, before = thinned(time_ns[:3900]).extremes(values[:3900])
    _, after = thinned(time_ns).extremes(values)
    # All but the last column of the shorter view: it was still filling.
    assert np.array_equal(before[:-2], after[: len(before) - 2])


def test_slow_lines_keep_each_columns_last_value() -> None:
    time_ns, values = rows(2000, 5)
    x, y = thinned(time_ns).last(values, -values)
    assert y.shape == (2, len(x))
    assert y[0, -1] == values[-1]
    assert np.array_equal(y[0], -y[1])


def test_trim_cuts_both_ends_and_nothing_between() -> None:
    x = np.arange(6, dtype=np.float32)
    y = np.array([np.nan, 1, np.nan, 3, 4, np.nan])
    cut_x, cut_y = trim(x, y)
    assert cut_x.tolist() == [1, 2, 3, 4]
    assert np.isnan(cut_y[1])
    assert cut_y[-1] == 4
    assert [len(part) for part in trim(x, np.full(6, np.nan))] == [0, 0]
    two = trim(x, np.vstack([y, np.ones(6)]))[1]
    assert two.shape == (2, 4)
