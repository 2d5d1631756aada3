"""Every ordered pair of a universe, tile by tile: the same bytes on any number of cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pairlab.scanning.engle_granger import (
    Floats,
    direct_tests,
    moment_pairs,
    pair_statistics,
    variables_of,
)

__all__ = [
    "Elsewhere",
    "Statistics",
    "Tests",
    "Tile",
    "every_pair",
    "from_residuals",
    "pairs_of",
    "tile_statistics",
]

_TILE: Final = 128
"""Symbols a side: fixed, because the order of a product's sums depends on its shape."""

_FEW: Final = 64
"""Pairs below which matrix products cost more than the residuals themselves."""

_CHUNK: Final = 512

Numbers = NDArray[np.int64]


class Tile(NamedTuple):
    """A block of pairs: numbers of the symbols i, of the symbols j, and the rows that all have."""

    one: Numbers
    two: Numbers
    rows: NDArray[np.bool_]


class Statistics(NamedTuple):
    """Of a tile's pairs, of i on j and of j on i, each with the lags used; shape (i, j)."""

    forward: Floats
    forward_lags: NDArray[np.int8]
    backward: Floats
    backward_lags: NDArray[np.int8]


Elsewhere = Callable[[Sequence[Tile]], Iterable[tuple[int, Statistics]]]
"""Computes tiles on other machines: yields the number of each, in any order, and its results."""


class Tests:
    """Statistics of every pair of a symbol i of one table and a symbol j of another.

    Attributes
    ----------
    forward, backward : array, shape (symbols, symbols)
        The t-value of γ at (i, j), of i on j and of j on i; NaN where it was not tested, or there
        is none.
    forward_lags, backward_lags : array of int8, shape (symbols, symbols)
        Lagged differences used.
    """

    def __init__(self, symbols: int) -> None:
        shape = symbols, symbols
        self.forward, self.backward = np.full(shape, np.nan), np.full(shape, np.nan)
        self.forward_lags, self.backward_lags = np.zeros(shape, np.int8), np.zeros(shape, np.int8)


def workers_of(n_jobs: int) -> int:
    """Return how many threads are meant: −1 is one a core."""
    return max(os.cpu_count() or 1, 1) if n_jobs < 0 else n_jobs


def pairs_of(wanted: NDArray[np.bool_]) -> Numbers:
    """Return the numbers (y, x) of the pairs that a mask names, shape (pairs, 2)."""
    return np.argwhere(wanted).astype(np.int64)


def from_residuals(
    prices: Floats,
    pairs: Numbers,
    lags: int,
    *,
    choose: bool,
    n_jobs: int,
    rows: tuple[int, int] | None = None,
) -> Floats:
    """Test pairs from their residuals; see `engle_granger.direct_tests` for the columns."""
    first, last = rows or (0, prices.shape[1])
    pairs = np.ascontiguousarray(pairs, np.int64)
    results = np.empty((len(pairs), 9))

    def some(start: int) -> None:
        end = start + _CHUNK
        direct_tests(prices, pairs[start:end], first, last, lags, choose, results[start:end])

    with ThreadPoolExecutor(workers_of(n_jobs)) as threads:
        list(threads.map(some, range(0, len(pairs), _CHUNK)))
    return results


def every_pair(
    prices: Floats,
    others: Floats | None,
    wanted: NDArray[np.bool_],
    lags: int,
    *,
    choose: bool,
    n_jobs: int,
    elsewhere: Elsewhere | None = None,
) -> Tests:
    """Test every pair that is wanted, in both directions.

    Parameters
    ----------
    prices : array, shape (symbols, rows)
        A row a symbol; NaN is missing.
    others : array, shape (symbols, rows), optional
        The second symbols where they are not the same series (a placebo's), missing in the same
        rows.
    wanted : array of bool, shape (symbols, symbols)
        Which (i, j) to test, i below j.
    lags, choose, n_jobs
        As `scan` takes them.
    elsewhere : callable, optional
        What computes the tiles, in place of threads here.
    """
    tests = Tests(len(prices))
    second = prices if others is None else others
    groups = _groups_of(np.isfinite(prices))
    works = [work for work in _tiles(groups) if wanted[np.ix_(work.one, work.two)].any()]
    if elsewhere is not None:
        for number, found in elsewhere(works):
            _keep(tests, works[number], found)
    else:
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(workers_of(n_jobs)) as threads:

            def run(work: Tile) -> None:
                _keep(tests, work, tile_statistics(prices, second, work, lags, choose))

            list(threads.map(run, works))
    # What lost its digits, and pairs of symbols that few others share their rows with.
    table = prices if others is None else np.concatenate([prices, others])
    shift = 0 if others is None else len(prices)
    for order, statistic, used in (
        (slice(None), tests.forward, tests.forward_lags),
        (slice(None, None, -1), tests.backward, tests.backward_lags),
    ):
        left = wanted & np.isnan(statistic)
        pairs = (pairs_of(left) + np.array([0, shift]))[:, order]
        again = from_residuals(table, pairs, lags, choose=choose, n_jobs=n_jobs)
        statistic[left] = again[:, 3]
        used[left] = np.nan_to_num(again[:, 4]).astype(np.int8)
        statistic[~wanted] = np.nan
    return tests


def _groups_of(there: NDArray[np.bool_]) -> list[tuple[Numbers, NDArray[np.bool_]]]:
    """Return symbols by the rows that they have: (numbers, mask of rows)."""
    groups: dict[bytes, list[int]] = {}
    for number, row in enumerate(there):
        groups.setdefault(row.tobytes(), []).append(number)
    return [(np.array(numbers), there[numbers[0]]) for numbers in groups.values()]


def _tiles(groups: list[tuple[Numbers, NDArray[np.bool_]]]) -> Iterator[Tile]:
    """Yield tiles; of two groups, both orders hold pairs with i below j."""
    for one, one_rows in groups:
        for two, two_rows in groups:
            if len(one) * len(two) < _FEW:
                continue
            rows = one_rows & two_rows
            for i in range(0, len(one), _TILE):
                for j in range(0, len(two), _TILE):
                    yield Tile(one[i : i + _TILE], two[j : j + _TILE], rows)


def _keep(tests: Tests, work: Tile, found: Statistics) -> None:
    where = np.ix_(work.one, work.two)
    tests.forward[where], tests.forward_lags[where] = found.forward, found.forward_lags
    tests.backward[where], tests.backward_lags[where] = found.backward, found.backward_lags


def tile_statistics(
    prices: Floats, others: Floats, work: Tile, lags: int, choose: bool
) -> Statistics:
    """Test the pairs of one tile; NaN where digits are lost, or rows are too few.

    Parameters
    ----------
    prices, others : array, shape (symbols, rows)
        Of the symbols i and of the symbols j.
    work : Tile
        Which pairs.
    lags, choose
        As `engle_granger.pair_statistics` takes them.
    """
    one, two, rows = work
    count = int(rows.sum())
    shape = len(one), len(two)
    results = Statistics(
        np.full(shape, np.nan), np.zeros(shape, np.int8),
        np.full(shape[::-1], np.nan), np.zeros(shape[::-1], np.int8),
    )  # fmt: skip
    if count < 2 * lags + 6:
        return Statistics(*results[:2], results.backward.T, results.backward_lags.T)
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = _levels(prices[one], rows), _levels(others[two], rows)
    own, their = variables_of(a, lags), variables_of(b, lags)
    pairs = moment_pairs(lags)
    products = np.empty((len(pairs), *shape))
    own_a, own_b = np.empty((len(pairs), len(one))), np.empty((len(pairs), len(two)))
    for at, (i, j) in enumerate(pairs):
        np.matmul(own[i].T, their[j], out=products[at])
        products[at] += products[at] if i == j else own[j].T @ their[i]
        own_a[at] = np.einsum("ts,ts->s", own[i], own[j])
        own_b[at] = np.einsum("ts,ts->s", their[i], their[j])
    left = own_a, np.einsum("ts,ts->s", a, a), np.ascontiguousarray(a[: lags + 1])
    right = own_b, np.einsum("ts,ts->s", b, b), np.ascontiguousarray(b[: lags + 1])
    cross = a.T @ b
    pair_statistics(products, cross, *left, *right, count, lags, choose, *results[:2])
    products = np.ascontiguousarray(products.transpose(0, 2, 1))
    cross = np.ascontiguousarray(cross.T)
    pair_statistics(products, cross, *right, *left, count, lags, choose, *results[2:])
    return Statistics(*results[:2], results.backward.T, results.backward_lags.T)


def _levels(prices: Floats, rows: NDArray[np.bool_]) -> Floats:
    """Return centred prices of unit deviation, shape (rows, symbols): the tests have no units."""
    levels = np.ascontiguousarray(prices[:, rows].T)
    for _ in range(2):
        levels -= levels.mean(axis=0)
    deviation = levels.std(axis=0)
    levels /= np.where(deviation > 0.0, deviation, np.nan)  # a constant has no pair
    return levels
