"""`scan`: every pair of a universe tested for cointegration, and what that is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.errors import DataError, SettingError
from pairlab.scanning.correction import Correction, both_directions, corrected, p_values
from pairlab.scanning.details import DETAILS, pair_details
from pairlab.scanning.engle_granger import Floats
from pairlab.scanning.placebo import broken
from pairlab.scanning.result import COLUMNS, ScanResult, verdict
from pairlab.scanning.tiles import Numbers, Tests, every_pair, from_residuals
from pairlab.scanning.universe import Universe, underlying, universe_of

__all__ = ["Direction", "scan"]

Direction = Literal["both", "dearer"]

_MOST_LAGS: Final = 12
_MOST_SYMBOLS: Final = 20_000
_LEVELS: Final = (0.1, 0.05, 0.01, 1e-3, 1e-4)
_WINDOWS: Final = 5
_COLLINEAR: Final = 100.0 * math.sqrt(np.finfo(float).eps)
"""statsmodels' `coint` answers −inf where less than this share of y's variance is left."""


def scan(
    prices: pd.DataFrame,
    *,
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
) -> ScanResult:
    """Test every pair of a universe for cointegration (Engle and Granger 1987).

    Parameters
    ----------
    prices : pandas.DataFrame
        A column a symbol, a row a bar, in time; NaN where there is no price. A pair is tested over
        the rows that both symbols have. Columns that cannot be tested are set aside, with the
        reason, in `ScanResult.set_aside`.
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
        lags, direction, correction, placebo, split, min_overlap, filters, rows, fee_bps, n_jobs
    )
    choose = lags == "aic"
    universe = universe_of(prices, least_rows=2 * most + 20)
    wanted, counts = _wanted(universe, min_overlap, 2 * most + 20)
    tests = every_pair(universe.prices, None, wanted, most, choose=choose, n_jobs=n_jobs)
    first = _first_is_y(universe.prices, tests, direction)
    p = _p_of(tests, first, direction)
    tested = np.isfinite(p)
    if not tested.any():
        raise DataError("no pair has a test statistic: every spread is a constant or a jump")
    q = np.full(p.shape, np.nan)
    q[tested] = corrected(p[tested], correction)
    chance = _placebo(
        universe,
        wanted,
        p[tested],
        q[tested],
        first,
        direction,
        most,
        choose,
        placebo,
        seed,
        n_jobs,
    )
    order = np.argsort(p[tested], kind="stable")[:rows]
    shown = np.argwhere(tested)[order]
    pairs = np.where(first[tested][order][:, None], shown, shown[:, ::-1]).astype(np.int64)
    frame = _frame(universe, pairs, most, choose, split, fee_bps, n_jobs)
    frame.insert(COLUMNS.index("p"), "p", p[tested][order])
    frame.insert(COLUMNS.index("q"), "q", q[tested][order])
    frame["verdict"] = [verdict(row) for row in frame.itertuples(index=False)]
    for name, (least, largest) in (filters or {}).items():
        frame = frame[frame[name].between(least, largest)]
    return ScanResult(
        frame=frame.reset_index(drop=True),
        placebo=chance,
        set_aside=universe.set_aside,
        symbols=universe.symbols,
        pairs_tested=int(tested.sum()),
        pairs_skipped=len(universe.symbols) * (len(universe.symbols) - 1) // 2 - int(tested.sum()),
        correction=correction,
        p_matrix=p,
        rows_in_common=counts,
        universe=universe,
    )


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
    n_jobs: int,
) -> int:
    """Refuse what is out of range; return the most lags."""
    if lags != "aic" and (
        not isinstance(lags, int) or isinstance(lags, bool) or not 0 <= lags <= _MOST_LAGS
    ):
        raise SettingError("lags", lags, f"expected 0 to {_MOST_LAGS}, or 'aic'")
    for name, value, among in (
        ("direction", direction, ("both", "dearer")),
        ("correction", correction, ("bh", "by", "none")),
    ):
        if value not in among:
            raise SettingError(name, value, f"expected one of {', '.join(map(repr, among))}")
    for name, number, least, largest in (
        ("placebo", placebo, 0, 10_000),
        ("split", split, 0.1, 0.5),
        ("min_overlap", min_overlap, 0.0, 1.0),
        ("rows", rows, 1, 10_000_000),
        ("fee_bps", fee_bps, 0.0, 1_000.0),
    ):
        if not least <= number <= largest:
            raise SettingError(name, number, f"expected {least:,} to {largest:,}")
    if n_jobs == 0 or n_jobs < -1:
        raise SettingError("n_jobs", n_jobs, "expected a number of threads, or -1: one a core")
    for name in filters or {}:
        if name not in COLUMNS or name in ("y", "x", "verdict"):
            numbers = [c for c in COLUMNS if c not in ("y", "x", "verdict")]
            raise SettingError("filters", name, f"expected one of {', '.join(numbers)}")
    return _MOST_LAGS if lags == "aic" else int(lags)


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


def _first_is_y(prices: Floats, tests: Tests, direction: Direction) -> NDArray[np.bool_]:
    """Return at (i, j) whether i is y."""
    if direction == "dearer":
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
    universe: Universe,
    wanted: NDArray[np.bool_],
    p: Floats,
    q: Floats,
    first: NDArray[np.bool_],
    direction: Direction,
    most: int,
    choose: bool,
    times: int,
    seed: int,
    n_jobs: int,
) -> pd.DataFrame:
    """Return, for each level of p, how many pairs were found and how many are by chance."""
    cut = float(p[q <= 0.05].max()) if (q <= 0.05).any() else 0.0
    levels = {f"p ≤ {level:g}": level for level in _LEVELS}
    levels["q ≤ 0.05"] = cut
    limits = np.array([*levels.values()])
    found = [int((p <= limit).sum()) if limit > 0.0 else 0 for limit in limits]
    counts = np.empty((times, len(limits)))
    for at in range(times):
        rng = np.random.default_rng([seed, at])
        tests = every_pair(
            universe.prices, broken(universe.prices, rng), wanted, most, choose=choose,
            n_jobs=n_jobs,
        )  # fmt: skip
        chance = _p_of(tests, first, direction)
        chance = np.sort(chance[np.isfinite(chance)])
        counts[at] = np.searchsorted(chance, limits, side="right")
    counts[:, limits == 0.0] = 0.0
    frame = pd.DataFrame({"level": [*levels], "p": limits, "found": found})
    frame["by_chance"] = counts.mean(axis=0) if times else np.nan
    error = counts.std(axis=0, ddof=1) / math.sqrt(times) if times > 1 else np.nan
    frame["standard_error"] = error
    return frame.set_index("level")


def _frame(
    universe: Universe,
    pairs: Numbers,
    most: int,
    choose: bool,
    split: float,
    fee_bps: float,
    n_jobs: int,
) -> pd.DataFrame:
    """Return the columns of some pairs, but for p, q and the verdict."""
    prices, symbols = universe.prices, np.array(universe.symbols, object)
    found = from_residuals(prices, pairs, most, choose=choose, n_jobs=n_jobs)
    n, beta, intercept, statistic, used, gamma, deviation, _, left = found.T
    details = np.empty((len(pairs), len(DETAILS)))
    pair_details(prices, pairs, np.ascontiguousarray(found[:, [1, 2, 6]]), split, details)
    more = dict(zip(DETAILS, details.T, strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        half_life = np.where(
            (gamma > -1.0) & (gamma < -1e-12), -math.log(2) / np.log1p(gamma), np.nan
        )
    y, x = symbols[pairs[:, 0]], symbols[pairs[:, 1]]
    last = [np.flatnonzero(np.isfinite(prices[a]) & np.isfinite(prices[b]))[-1] for a, b in pairs]
    y_price, x_price = prices[pairs[:, 0], last], prices[pairs[:, 1], last]
    deviation_bps = deviation / y_price * 1e4
    round_trip = 2.0 * fee_bps * (1.0 + np.abs(beta) * x_price / y_price)
    with np.errstate(divide="ignore"):
        trips = np.where(round_trip > 0.0, deviation_bps / round_trip, np.inf)
    columns: dict[str, Any] = {
        "y": y,
        "x": x,
        "n": n.astype(np.int64),
        "coverage": n / len(universe.index),
        "correlation": more["correlation"],
        "return_correlation": more["return_correlation"],
        "hedge_ratio": beta,
        "intercept": intercept,
        "statistic": statistic,
        "lags": used.astype(np.int64),
        "half_life": half_life,
        "variance_ratio": more["variance_ratio"],
        "crossings": more["crossings"].astype(np.int64),
        "zscore": more["zscore"],
        "half_life_last": more["half_life_last"],
        "p_last": p_values(more["statistic_last"], 1),
        "p_leg": p_values(more["statistic_leg"], 1),
        "stability": _stability(prices, pairs, most, choose, n_jobs),
        "deviation_bps": deviation_bps,
        "deviation_round_trips": trips,
        "unchanged": more["unchanged"],
        "same_underlying": [underlying(a) == underlying(b) for a, b in zip(y, x, strict=True)],
        "collinear": left < _COLLINEAR,
    }
    return pd.DataFrame(columns)


def _stability(
    prices: Floats, pairs: Numbers, most: int, choose: bool, n_jobs: int
) -> NDArray[np.float64]:
    """Return the share of sub-windows, each a third of the rows, in which p ≤ 0.1."""
    count = prices.shape[1]
    length = count // 3
    stable = np.zeros(len(pairs))
    for start in np.linspace(0, count - length, _WINDOWS).astype(int):
        rows = int(start), int(start) + length
        found = from_residuals(prices, pairs, most, choose=choose, n_jobs=n_jobs, rows=rows)
        stable += p_values(found[:, 3]) <= 0.1
    return stable / _WINDOWS
