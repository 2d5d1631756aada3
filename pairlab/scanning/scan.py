"""`scan`: every pair of a universe tested for cointegration, and what that is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Final, Literal, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.errors import DataError, SettingError
from pairlab.scanning.cluster import Cluster
from pairlab.scanning.columns import columns_of
from pairlab.scanning.correction import Correction, both_directions, corrected, p_values
from pairlab.scanning.engle_granger import Floats
from pairlab.scanning.methods import Method, distances, johansen_traces, trace_p_values
from pairlab.scanning.placebo import broken
from pairlab.scanning.result import COLUMNS, ScanResult, verdict
from pairlab.scanning.sources.files import prices_of_files
from pairlab.scanning.tiles import Numbers, Tests, every_pair
from pairlab.scanning.universe import Universe, universe_of

__all__ = ["Direction", "ScanOptions", "scan"]

Direction = Literal["both", "dearer"]

_MOST_LAGS: Final = 12
_MOST_THREADS: Final = 1_000
_MOST_SYMBOLS: Final = 20_000
_LEVELS: Final = (0.1, 0.05, 0.01, 1e-3, 1e-4)
_CLOSEST: Final = (1, 5, 20, 100)
"""How many of the closest pairs a placebo of distances is compared with."""
_BINS: Final = 20


class ScanOptions(TypedDict, total=False):
    """Arguments of `scan` beside the prices."""

    method: Method
    lags: int | Literal["aic"]
    direction: Direction
    correction: Correction
    placebo: int
    split: float
    min_overlap: float
    filters: Mapping[str, tuple[float, float]] | None
    rows: int
    fee_bps: float
    seed: int
    n_jobs: int
    client: object


def scan(
    prices: object,
    *,
    method: Method = "engle-granger",
    lags: int | Literal["aic"] = 1,
    direction: Direction = "both",
    correction: Correction = "bh",
    placebo: int = 20,
    split: float = 1 / 3,
    min_overlap: float = 0.8,
    filters: Mapping[str, tuple[float, float]] | None = None,
    rows: int = 10_000,
    fee_bps: float = 4.0,
    seed: int = 0,
    n_jobs: int = -1,
    client: object = None,
    timeframe: str = "1m",
) -> ScanResult:
    """Test every pair of a universe for cointegration (Engle and Granger 1987).

    Parameters
    ----------
    prices : pandas.DataFrame, path or sequence of paths
        A column a symbol, a row a bar, in time; NaN where there is no price. A pair is tested over
        the rows that both symbols have. Columns that cannot be tested are set aside, with the
        reason, in `ScanResult.set_aside`. Of recordings of pairlab and of files of Binance's
        archive, the closes of bars of `timeframe` are taken; `pairlab.scan_live` asks the exchange.
    method : {"engle-granger", "johansen", "distance"}
        What ranks the pairs. "johansen": the trace test of no cointegration, in which no leg is y,
        with `lags` (a number) in the error correction model; its p-values are of series that drift.
        "distance": the mean squared deviation of prices that are divided by their first one
        (Gatev, Goetzmann and Rouwenhorst 2006): a rank without a p-value. The other columns are
        those of Engle and Granger's regression in each case.
    lags : int or "aic"
        Lagged differences of the spread in its Dickey-Fuller regression, 0 to 12; "aic" chooses
        among 0 to 12 by Akaike's criterion, as ``statsmodels.coint(maxlag=12)`` does.
    direction : {"both", "dearer"}
        "both" tests each leg on the other and takes twice the smaller p-value, for two tests of
        one hypothesis; "dearer" takes the leg of the higher mean price as y, beforehand.
    correction : {"bh", "by", "none"}
        Of p for the number of pairs tested, whatever `filters` keep of them: see
        `pairlab.scanning.correction.corrected`.
    placebo : int
        How often the same series are scanned again with each pair broken; 0 is not at all.
    split : float
        Share of the last rows in which the spread is tested out of sample, 0.1 to 0.5.
    min_overlap : float
        Pairs with fewer rows in common, as a share of all rows, are not tested.
    filters : mapping, optional
        Column → (least, most), both included: rows of the frame that lie outside, or have no
        value there, are left out.
    rows : int
        The most rows that the frame gets, the smallest p first; `ScanResult.matrix` has every pair.
    fee_bps : float
        Of one fill, for ``deviation_round_trips``.
    seed : int
        Of the placebo.
    n_jobs : int
        Threads; −1 is one a core. The result does not depend on it.
    client : dask.distributed.Client, optional
        Computes on the workers of its cluster, the same bytes; for Engle and Granger's test.
    timeframe : str
        Length of the bars of recordings and archives, such as "1s", "1m" or "1h".

    Returns
    -------
    ScanResult
        Its `frame` has a row a pair.

    Raises
    ------
    DataError
        If fewer than two columns can be tested, or no pair overlaps enough.
    SettingError
        For an argument out of its range.
    MissingExtraError
        For Johansen's test without ``pip install "pairlab[research]"``, files without
        ``"pairlab[storage]"``, a `client` without ``"pairlab[cluster]"``.

    Notes
    -----
    The statistic equals ``statsmodels.tsa.stattools.coint(y, x, maxlag=lags, autolag=None)`` to
    1e-6, and p its MacKinnon (1994) p-value, which is asymptotic. Where `coint` answers −inf,
    because hardly anything is left of y, the statistic is computed from the residuals, and the
    verdict is "collinear".

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> walks = pd.DataFrame(100 + rng.normal(size=(500, 3)).cumsum(axis=0), columns=list("ABC"))
    >>> walks["D"] = 2 * walks["A"] + rng.normal(size=500)
    >>> found = pairlab.scan(walks, placebo=0).frame
    >>> found.loc[found["q"] <= 0.05, ["y", "x"]].values.tolist()
    [['D', 'A']]
    """
    most = _checked(
        lags, direction, correction, placebo, split, min_overlap, filters, rows, fee_bps, seed,
        n_jobs, method, client,
    )  # fmt: skip
    frame_of = prices if isinstance(prices, pd.DataFrame) else prices_of_files(prices, timeframe)
    universe = universe_of(frame_of, least_rows=2 * most + 20)
    wanted, counts = _wanted(universe, min_overlap, 2 * most + 20)
    cluster = None if client is None else Cluster(client, universe.prices)
    scanner = _Scanner(
        universe, wanted, method, most, lags == "aic", direction, seed, n_jobs, cluster
    )
    key, first = scanner.keys()
    statistics = scanner.statistics
    tested = np.isfinite(key)
    if not tested.any():
        raise DataError("no pair has a test statistic: every spread is a constant or a jump")
    p = np.full(key.shape, np.nan) if method == "distance" else key
    q = np.full(p.shape, np.nan)
    if method != "distance":
        q[tested] = corrected(p[tested], correction)
    chance, histogram = _placebo(scanner, key[tested], q[tested], placebo)
    order = np.argsort(key[tested], kind="stable")[:rows]
    shown = np.argwhere(tested)[order]
    pairs = np.where(first[tested][order][:, None], shown, shown[:, ::-1]).astype(np.int64)
    frame = columns_of(universe, pairs, most, scanner.choose, split, fee_bps, n_jobs)
    frame.insert(COLUMNS.index("p"), "p", p[tested][order])
    frame.insert(COLUMNS.index("q"), "q", q[tested][order])
    if statistics is not None:
        frame["statistic"] = statistics[tested][order]
    frame["verdict"] = [verdict(row) for row in frame.itertuples(index=False)]
    for name, (least, largest) in (filters or {}).items():
        frame = frame[frame[name].between(least, largest)]
    return ScanResult(
        frame=frame.reset_index(drop=True),
        placebo=chance,
        histogram=histogram,
        set_aside=universe.set_aside,
        symbols=universe.symbols,
        pairs_tested=int(tested.sum()),
        pairs_skipped=len(universe.symbols) * (len(universe.symbols) - 1) // 2 - int(tested.sum()),
        correction=correction,
        method=method,
        direction=direction,
        split=split,
        lags=most,
        choose=scanner.choose,
        fee_bps=fee_bps,
        p_matrix=p,
        rows_in_common=counts,
        universe=universe,
    )


@dataclass
class _Scanner:
    """Ranks every pair, of the series as they are or of the broken ones of a placebo.

    Attributes
    ----------
    statistics : array or None
        Of the method, where it is not Engle and Granger's, at the last call of `keys`.
    """

    universe: Universe
    wanted: NDArray[np.bool_]
    method: Method
    most: int
    choose: bool
    direction: Direction
    seed: int
    n_jobs: int
    cluster: Cluster | None
    statistics: Floats | None = None

    def keys(self, placebo: int | None = None) -> tuple[Floats, NDArray[np.bool_]]:
        """Return what pairs are ranked by, the smallest first, and whether i is y of (i, j).

        Parameters
        ----------
        placebo : int, optional
            Number of the placebo whose broken series are the symbols j.
        """
        prices, others = self.universe.prices, None
        if placebo is not None:
            others = broken(prices, np.random.default_rng([self.seed, placebo]))
        if self.method != "engle-granger":
            second = prices if others is None else others
            dearer = _first_is_y(prices, None)
            if self.method == "distance":
                found = distances(prices, second, self.wanted, self.n_jobs)
                self.statistics = found
                return found, dearer
            found = johansen_traces(prices, second, self.wanted, self.most, self.n_jobs)
            self.statistics = found
            return trace_p_values(found), dearer
        elsewhere = None
        if self.cluster is not None:
            places = None if placebo is None else (self.seed, placebo)
            elsewhere = self.cluster.tiles(self.most, self.choose, places)
        tests = every_pair(
            prices, others, self.wanted, self.most, choose=self.choose, n_jobs=self.n_jobs,
            elsewhere=elsewhere,
        )  # fmt: skip
        first = _first_is_y(prices, None if self.direction == "dearer" else tests)
        return _p_of(tests, first, self.direction), first


def _checked(
    lags: object,
    direction: str,
    correction: str,
    placebo: int,
    split: float,
    min_overlap: float,
    filters: Mapping[str, tuple[float, float]] | None,
    rows: int,
    fee_bps: float,
    seed: int,
    n_jobs: int,
    method: str,
    client: object,
) -> int:
    """Refuse what is out of range; return the most lags."""
    if lags != "aic" and (
        not isinstance(lags, int) or isinstance(lags, bool) or not 0 <= lags <= _MOST_LAGS
    ):
        raise SettingError("lags", lags, f"expected 0 to {_MOST_LAGS}, or 'aic'")
    for name, value, among in (
        ("direction", direction, ("both", "dearer")),
        ("correction", correction, ("bh", "by", "none")),
        ("method", method, ("engle-granger", "johansen", "distance")),
    ):
        if value not in among:
            raise SettingError(name, value, f"expected one of {', '.join(map(repr, among))}")
    for name, number, least, largest in (
        ("placebo", placebo, 0, 10_000),
        ("split", split, 0.1, 0.5),
        ("min_overlap", min_overlap, 0.0, 1.0),
        ("rows", rows, 1, 10_000_000),
        ("fee_bps", fee_bps, 0.0, 1_000.0),
        ("seed", seed, 0, 2**63 - 1),
    ):
        kind = Integral if isinstance(least, int) else Real
        known = isinstance(number, kind) and not isinstance(number, bool | np.bool_)
        if not known or not least <= number <= largest:
            a = "a whole number from " if kind is Integral else ""
            raise SettingError(name, number, f"expected {a}{least:,} to {largest:,}")
    if n_jobs != -1 or isinstance(n_jobs, bool):
        known = isinstance(n_jobs, Integral) and not isinstance(n_jobs, bool)
        if not known or not 1 <= n_jobs <= _MOST_THREADS:
            raise SettingError(
                "n_jobs", n_jobs, f"expected 1 to {_MOST_THREADS:,} threads, or -1: one a core"
            )
    if filters is not None and not isinstance(filters, Mapping):
        raise SettingError("filters", filters, "expected {'half_life': (5, 200)} or the like")
    for name, bounds in (filters or {}).items():
        if name not in COLUMNS or name in ("y", "x", "verdict"):
            numbers = [c for c in COLUMNS if c not in ("y", "x", "verdict")]
            raise SettingError("filters", name, f"expected one of {', '.join(numbers)}")
        if not _are_bounds(bounds):
            raise SettingError(
                "filters", {name: bounds}, "expected the least and the largest, such as (5, 200)"
            )
    if method == "johansen" and lags == "aic":
        raise SettingError("lags", lags, "expected a number for method='johansen'")
    if method != "engle-granger" and client is not None:
        raise SettingError("client", client, "expected None but for method='engle-granger'")
    return _MOST_LAGS if lags == "aic" else int(lags)


def _are_bounds(bounds: object) -> bool:
    return (
        isinstance(bounds, tuple | list)
        and len(bounds) == 2
        and all(isinstance(bound, Real) for bound in bounds)
    )


def _wanted(
    universe: Universe, min_overlap: float, least_rows: int
) -> tuple[NDArray[np.bool_], Numbers]:
    """Return which pairs share enough rows, i below j, and how many rows they share."""
    if len(universe.symbols) > _MOST_SYMBOLS:
        raise DataError(
            f"prices has {len(universe.symbols):,} symbols, expected at most {_MOST_SYMBOLS:,}"
        )
    there = np.isfinite(universe.prices).astype(np.float32)
    counts = (there @ there.T).astype(np.int64)
    enough = max(min_overlap * len(universe.index), least_rows)
    wanted = np.triu(counts >= enough, 1)
    if not wanted.any():
        raise DataError(
            f"no two symbols share {enough:,.0f} rows (min_overlap = {min_overlap} of "
            f"{len(universe.index):,}, at least {least_rows})"
        )
    return wanted, counts


def _first_is_y(prices: Floats, tests: Tests | None) -> NDArray[np.bool_]:
    """Return at (i, j) whether i is y: by the tests, or because its mean price is higher."""
    if tests is None:
        mean = np.nanmean(prices, axis=1)
        chosen: NDArray[np.bool_] = mean[:, None] >= mean[None, :]
        return chosen
    lower: NDArray[np.bool_] = ~(tests.backward < tests.forward)
    return lower


def _p_of(tests: Tests, first: NDArray[np.bool_], direction: Direction) -> Floats:
    forward, backward = p_values(tests.forward), p_values(tests.backward)
    if direction == "both":
        return both_directions(forward, backward)
    return np.where(first, forward, backward)


def _placebo(
    scanner: _Scanner, key: Floats, q: Floats, times: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how many pairs were found and how many are by chance: at levels, and in bins of p."""
    if scanner.method == "distance":
        ranked = np.sort(key)
        levels = {f"closest {n:,}": ranked[n - 1] for n in _CLOSEST if n <= len(ranked)}
        edges = np.linspace(0.0, float(np.quantile(ranked, 0.9)), _BINS + 1)
    else:
        cut = float(key[q <= 0.05].max()) if (q <= 0.05).any() else 0.0
        levels = {f"p ≤ {level:g}": level for level in _LEVELS} | {"q ≤ 0.05": cut}
        edges = np.linspace(0.0, 1.0, _BINS + 1)
    limits = np.array([*levels.values()])
    found = [int((key <= limit).sum()) if limit > 0.0 else 0 for limit in limits]
    counts, bins = np.empty((times, len(limits))), np.empty((times, _BINS))
    for at in range(times):
        chance = scanner.keys(at)[0]
        chance = np.sort(chance[np.isfinite(chance)])
        counts[at] = np.searchsorted(chance, limits, side="right")
        bins[at] = np.histogram(chance, edges)[0]
    counts[:, limits == 0.0] = 0.0
    frame = pd.DataFrame({"level": [*levels], "p": limits, "found": found})
    frame["by_chance"] = counts.mean(axis=0) if times else np.nan
    error = counts.std(axis=0, ddof=1) / math.sqrt(times) if times > 1 else np.nan
    frame["standard_error"] = error
    histogram = pd.DataFrame(
        {"from": edges[:-1], "to": edges[1:], "found": np.histogram(key, edges)[0]}
    )
    histogram["by_chance"] = bins.mean(axis=0) if times else np.nan
    if scanner.method == "distance":
        frame = frame.rename(columns={"p": "distance"})
    return frame.set_index("level"), histogram
