"""Decimation: what a chart of a few hundred pixels may not lose."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairlab import schema
from pairlab.schema import ROW, Records, RowFlag
from pairlab.widgets.charts import decimation
from pairlab.widgets.charts.decimation import Decimated, MinMaxBuckets, trim

SPAN_NS = 30_000_000_000
START_NS = 1_732_285_900_000_000_000
WIDTH_NS = SPAN_NS // 50
FLOATS = [name for name in ROW.names if ROW[name] == np.float64]


def some_rows(n: int, seed: int) -> Records:
    """Rows whose every float column wanders by itself; z begins without numbers."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(n, ROW)
    rows["time_ns"] = START_NS + np.sort(rng.integers(0, SPAN_NS, n))
    for name in FLOATS:
        rows[name] = rng.standard_normal(n).cumsum()
    rows["zscore"][: n // 5] = np.nan
    rows["position"] = rng.integers(-1, 2, n).repeat(7)[:n]
    return rows


def thinned(rows: Records, columns: int = 50) -> Decimated:
    return Decimated.of(rows, int(rows["time_ns"][-1]), SPAN_NS, columns)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 1000))
def test_every_extreme_of_every_column_is_drawn_where_it_happened(n: int, seed: int) -> None:
    rows = some_rows(n, seed)
    time_ns, values = rows["time_ns"], rows["spread"]
    x, y = thinned(rows).extremes("spread")
    assert len(x) == len(y) <= max(2 * 52, 100)
    assert (np.diff(x) >= 0).all()
    assert (y.min(), y.max()) == (values.min(), values.max())
    assert thinned(rows).bounds("spread") == (values.min(), values.max())
    assert thinned(rows).mean("spread") == pytest.approx(values.mean(), rel=1e-12, abs=1e-12)
    if n > 100:
        column = time_ns // WIDTH_NS
        drawn = (x.astype(np.float64) * 1e6 + time_ns[-1]) // WIDTH_NS
        for which in np.unique(column):
            of_column = y[np.abs(drawn - which) <= 1]
            assert values[column == which].min() in of_column
            assert values[column == which].max() in of_column


@pytest.mark.parametrize("columns", [50, 2000])
def test_the_correlation_with_beta_times_x_is_drawn_with_the_sign_of_beta(columns: int) -> None:
    rows = some_rows(1000, 3)
    rows["hedge_ratio"] = -25.0
    opposed = thinned(rows, columns)
    low, high = opposed.bounds("correlation")
    assert opposed.bounds("hedged_correlation") == (-high, -low)
    x, y = opposed.extremes("hedged_correlation")
    assert (y.min(), y.max()) == (-high, -low)
    want = [schema.Snapshot.of(row).hedged_correlation for row in rows]
    assert {*y.tolist()} <= {*want}
    plain_x, plain_y = opposed.extremes("correlation")
    np.testing.assert_array_equal(x, plain_x)
    np.testing.assert_array_equal(np.sort(y), np.sort(-plain_y))
    rows["hedge_ratio"] = 25.0
    together = thinned(rows, columns)
    np.testing.assert_array_equal(together.extremes("hedged_correlation")[1], plain_y)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 1000))
def test_rows_taken_in_bit_by_bit_are_drawn_as_rows_taken_in_at_once(data, seed: int) -> None:
    rows = some_rows(3000, seed)
    rows["flags"][data.draw(st.lists(st.integers(0, 2999), max_size=5))] |= RowFlag.GAP_BEFORE
    cuts = sorted(data.draw(st.lists(st.integers(0, 3000), max_size=20)))
    forgotten = data.draw(st.integers(0, 2000))
    before_ns = int(rows["time_ns"][forgotten])
    kept, fresh = MinMaxBuckets(SPAN_NS, 50), MinMaxBuckets(SPAN_NS, 50)
    for part in np.split(rows, cuts):
        kept.add(part)
        if len(part):
            kept.forget(min(before_ns, int(part["time_ns"][-1])))
    fresh.add(rows)
    fresh.forget(before_ns)
    edge_ns = int(rows["time_ns"][-1])
    a, b = kept.seen_from(edge_ns), fresh.seen_from(edge_ns)
    for name in FLOATS:
        for mine, its in zip(a.extremes(name), b.extremes(name), strict=True):
            np.testing.assert_array_equal(mine, its)
        np.testing.assert_array_equal(a.last(name), b.last(name))
        np.testing.assert_array_equal(a.bounds(name), b.bounds(name))
        np.testing.assert_allclose(a.mean(name), b.mean(name), rtol=1e-12, atol=1e-12)
    for side in (1, -1):
        assert a.held(side) == b.held(side)


def test_few_rows_are_drawn_as_they_are() -> None:
    rows = some_rows(80, 1)
    x, y = thinned(rows).extremes("spread")
    assert np.array_equal(y, rows["spread"])
    assert np.allclose(x, (rows["time_ns"] - rows["time_ns"][-1]) / 1e6, atol=2e-3)
    assert x.dtype == np.float32


@pytest.mark.parametrize("n", [80, 2000])
def test_a_gap_breaks_the_line_and_hides_no_value(n: int) -> None:
    rows = some_rows(n, 2)
    values = rows["spread"]
    rows["flags"][[0, n // 3, n // 2]] |= RowFlag.GAP_BEFORE
    x, y = thinned(rows).extremes("spread")
    assert np.isnan(y).sum() == 2  # the first row has nothing before it to be cut from
    known = y[np.isfinite(y)]
    assert known.min() == values.min()
    assert known.max() == values.max()
    parts = np.split(y, np.flatnonzero(np.isnan(y)))
    assert np.nanmax(parts[0]) == values[: n // 3].max()
    assert np.nanmin(parts[1]) == values[n // 3 : n // 2].min()
    assert len(x) == len(y)


def test_columns_without_a_number_stay_empty_and_the_rest_is_whole() -> None:
    rows = some_rows(2000, 3)
    x, y = trim(*thinned(rows).extremes("zscore"))
    assert np.isfinite(y).all()
    assert len(x) == len(y) > 50
    known = (np.nanmin(rows["zscore"]), np.nanmax(rows["zscore"]))
    assert (y.min(), y.max()) == known == thinned(rows).bounds("zscore")


def test_where_no_row_has_a_number_nothing_has_one() -> None:
    rows = some_rows(2000, 3)
    rows["zscore"] = np.nan
    for drawn in (thinned(rows), thinned(rows[:50]), Decimated.of(rows[:0], 0, SPAN_NS)):
        assert np.isnan(drawn.bounds("zscore")).all()
        assert np.isnan(drawn.mean("zscore"))
        assert not len(trim(*drawn.extremes("zscore"))[0])


def test_columns_stand_still_while_the_view_moves_on() -> None:
    rows = some_rows(4000, 4)
    _, before = thinned(rows[:3900]).extremes("spread")
    _, after = thinned(rows).extremes("spread")
    # All but the last column of the shorter view: it was still filling.
    assert np.array_equal(before[:-2], after[: len(before) - 2])


def test_slow_lines_keep_each_columns_last_value() -> None:
    rows = some_rows(2000, 5)
    drawn = thinned(rows)
    mean, std = drawn.last("spread_mean", "spread_std")
    x, y = drawn.slow(mean - std, mean + std)
    assert y.shape == (2, len(x))
    assert y[0, -1] == rows["spread_mean"][-1] - rows["spread_std"][-1]


@pytest.mark.parametrize("n", [90, 2000])
def test_a_position_is_drawn_from_its_first_row_to_the_first_without_it(n: int) -> None:
    rows = some_rows(n, 6)
    rows["position"] = 0
    rows["position"][n // 3 : n // 2] = 1
    rows["position"][-n // 9 :] = -1
    drawn = thinned(rows)
    ms = (rows["time_ns"] - rows["time_ns"][-1]) / 1e6
    near = 2 * WIDTH_NS / 1e6 if n > 100 else 0
    ((start, end),) = drawn.held(1)
    assert start == pytest.approx(ms[n // 3], abs=near)
    assert end == pytest.approx(ms[n // 2], abs=near)
    ((start, end),) = drawn.held(-1)
    assert start == pytest.approx(ms[-n // 9], abs=near)
    assert end == 0
    assert Decimated.of(rows[:0], 0, SPAN_NS).held(1) == []


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


@pytest.mark.parametrize("after", ["time_ns", "zscore", "x_age_s", "flags", "filled"])
@pytest.mark.parametrize("kind", [np.int64, np.float64, np.int8, np.float32])
def test_a_column_added_anywhere_moves_no_other(
    after: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = [(name, ROW[name]) for name in ROW.names or ()]
    at = 1 + list(ROW.names or ()).index(after)
    monkeypatch.setattr(
        schema, "ROW", np.dtype([*fields[:at], ("more", kind), *fields[at:]], align=True)
    )
    spec = importlib.util.spec_from_file_location("decimation_again", decimation.__file__)
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    plain = some_rows(900, 3)
    rows = np.zeros(len(plain), schema.ROW)
    for name in ROW.names or ():
        rows[name] = plain[name]
    rows["more"] = np.arange(900)
    columns = 40
    for count in (columns, 900):  # row by row, and in pixel columns
        edge = int(plain["time_ns"][-1])
        want = Decimated.of(plain[-count:], edge, SPAN_NS, columns)
        got = again.Decimated.of(rows[-count:], edge, SPAN_NS, columns)
        for name in FLOATS:
            for ours, theirs in zip(got.extremes(name), want.extremes(name), strict=True):
                np.testing.assert_array_equal(ours, theirs, name)
            np.testing.assert_array_equal(got.bounds(name), want.bounds(name))
            np.testing.assert_array_equal(got.mean(name), want.mean(name))
            np.testing.assert_array_equal(got.last(name), want.last(name))
        if kind is np.float64:
            assert got.bounds("more") == (900 - count, 899)
