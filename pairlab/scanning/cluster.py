"""A scan's tiles on the workers of a Dask cluster."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from threadpoolctl import threadpool_limits

from pairlab.research.cluster import on_workers, require_client
from pairlab.scanning.engle_granger import Floats
from pairlab.scanning.placebo import broken
from pairlab.scanning.tiles import Elsewhere, Statistics, Tile, tile_statistics

__all__ = ["Cluster"]

_TILES_AT_ONCE: Final = 16
"""Of one future: a worker breaks the series of a placebo once for all of them."""

Placebo = tuple[int, int]
"""Seed and number of a placebo."""


class Cluster:
    """Workers that have the prices.

    Parameters
    ----------
    client : dask.distributed.Client
        Of the cluster.
    prices : array, shape (symbols, rows)
        NaN is missing.

    Raises
    ------
    DataError
        If it is no client.
    MissingExtraError
        Without ``pip install "pairlab[cluster]"``.
    """

    def __init__(self, client: object, prices: Floats) -> None:
        require_client(client)
        self._client: Any = client
        self._prices = prices

    def tiles(self, lags: int, choose: bool, placebo: Placebo | None) -> Elsewhere:
        """Return what computes tiles of these prices, or of those that a placebo breaks."""

        def compute(works: Sequence[Tile]) -> Iterable[tuple[int, Statistics]]:
            pieces, numbers = {}, {}
            for start in range(0, len(works), _TILES_AT_ONCE):
                some = list(works[start : start + _TILES_AT_ONCE])
                key = hashlib.sha256(pickle.dumps((some, lags, choose, placebo))).hexdigest()
                pieces[key] = some, lags, choose, placebo
                numbers[key] = range(start, start + len(some))
            found: list[tuple[int, Statistics]] = []
            on_workers(
                self._client, _tested, self._prices, pieces,
                lambda key, results: found.extend(zip(numbers[key], results, strict=True)),
                prefix="scan",
            )  # fmt: skip
            return found

        return compute


def _tested(
    prices: Floats, works: Sequence[Tile], lags: int, choose: bool, placebo: Placebo | None
) -> list[Statistics]:
    """Test some tiles; on a worker."""
    others = prices if placebo is None else broken(prices, np.random.default_rng(list(placebo)))
    with threadpool_limits(1, "blas"):
        return [tile_statistics(prices, others, work, lags, choose) for work in works]
