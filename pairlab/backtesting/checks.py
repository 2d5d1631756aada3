"""Checks that users run on their own settings: of look-ahead, and of the warm-up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Unpack

import numpy as np
import pandas as pd

from pairlab.backtesting.inputs import source_of
from pairlab.backtesting.run import run_of
from pairlab.errors import DataError, SettingError
from pairlab.research.inputs import Given
from pairlab.research.silence import MaxSilence
from pairlab.schema import HISTORY_COLUMNS, Records, RowFlag
from pairlab.settings import SettingKwargs

__all__ = ["LookaheadReport", "WarmupReport", "check_lookahead", "check_warmup"]

_METRICS: Final = ("hedge_ratio", "spread", "spread_std", "zscore", "correlation", "p_value")
_WARMING: Final = int(RowFlag.WARMING)


@dataclass(frozen=True)
class LookaheadReport:
    """What `check_lookahead` found.

    Attributes
    ----------
    ok : bool
        Whether every row of every prefix is the same, to the last bit, as that of the whole.
    prefixes : int
        That were compared.
    rows : int
        That were compared, over all prefixes.
    time : pandas.Timestamp or None
        The first row that differs, UTC.
    column : str or None
        In which column, or ``"time"`` where there is another row.
    cut : pandas.Timestamp or None
        Where the prefix ended.
    """

    ok: bool
    prefixes: int
    rows: int
    time: pd.Timestamp | None = None
    column: str | None = None
    cut: pd.Timestamp | None = None

    def __str__(self) -> str:
        """Say what was found, in one sentence."""
        if self.ok:
            return (
                f"no look-ahead: {self.rows:,} rows of {self.prefixes} prefixes are those of the "
                "whole, to the last bit"
            )
        return (
            f"look-ahead: the row of {self.time} has another {self.column} when the data end at "
            f"{self.cut}"
        )


@dataclass(frozen=True)
class WarmupReport:
    """What `check_warmup` found.

    Attributes
    ----------
    ok : bool
        Whether every row that a result counts is the same wherever the data begin.
    rows : int
        How many rows from the begin differ by more than the tolerance.
    warm_up_rows : int
        How many rows a result leaves out.
    column : str or None
        The one that takes longest.
    largest_difference : float
        Of z-scores, in rows that a result counts.
    """

    ok: bool
    rows: int
    warm_up_rows: int
    column: str | None
    largest_difference: float

    def __str__(self) -> str:
        """Say what was found, in one sentence."""
        if self.ok:
            text = f"{self.warm_up_rows:,} rows are left out, {self.rows:,} differ"
            return f"warm-up suffices: {text}"
        return (
            f"{self.column} still depends on where the data begin after {self.rows:,} rows, and "
            f"{self.warm_up_rows:,} are left out; z-scores differ by up to "
            f"{self.largest_difference:.3g}"
        )


def check_lookahead(
    data: object,
    *,
    pair: tuple[str, str] | None = None,
    prefixes: int = 8,
    label: str | None = None,
    max_silence: MaxSilence = None,
    **settings: Unpack[SettingKwargs],
) -> LookaheadReport:
    """Compare every row of prefixes of the data with the same rows of the whole, to the last bit.

    The data path is part of it: gathering into bars, forward fill, silences. ``max_silence="auto"``
    judges silences by all of the data, so that the default here is None.

    Parameters
    ----------
    data, pair, label, max_silence, **settings
        As `pairlab.backtest` takes them.
    prefixes : int
        How many, 1 to 1,000, evenly spread; no two end at the same place.

    Returns
    -------
    LookaheadReport
        Falsy attributes say where it failed; ``str()`` says it in words.

    Raises
    ------
    SettingError, DataError
        As `pairlab.backtest` does, and for data too short to be cut.
    """
    _check_count("prefixes", prefixes)
    source = source_of(data, pair)
    whole = run_of(source, label, max_silence, dict(settings)).rows
    compared = 0
    cuts = list(_prefixes(source.given, prefixes))
    for cut, given in cuts:
        part = run_of(source._replace(given=given), label, max_silence, dict(settings)).rows
        compared += len(part)
        found = _difference(part, whole)
        if found is not None:
            at, column = found
            return LookaheadReport(
                False, len(cuts), compared, pd.Timestamp(int(part["time_ns"][at]), tz="UTC"),
                column, cut,
            )  # fmt: skip
    if not compared:
        raise DataError("no prefix of the data gives a row: nothing was compared; give more data")
    return LookaheadReport(True, len(cuts), compared)


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000:
        raise SettingError(name, value, "expected a whole number from 1 to 1,000")


def _prefixes(given: Given, count: int) -> Iterator[tuple[pd.Timestamp, Given]]:
    """Yield prefixes of the data, and the time at which each ends."""
    index = _index(given)
    if len(index) < 2:
        raise DataError("there are fewer than two prices: nothing to compare")
    ends = np.unique(np.linspace(1, len(index) - 1, count + 1).astype(np.int64))[:count]
    for end in ends:
        cut = index[end - 1]
        if given.ticks is not None:
            yield cut, given._replace(ticks=given.ticks.iloc[:end])
        else:
            yield (
                cut,
                given._replace(y=given.y[given.y.index <= cut], x=given.x[given.x.index <= cut]),
            )


def _index(given: Given) -> pd.Index[Any]:
    if given.ticks is not None:
        return given.ticks.index
    return given.y.index.union(given.x.index)


def _difference(part: Records, whole: Records) -> tuple[int, str] | None:
    """Return the first row of a prefix, and its column, that is not that of the whole."""
    same = whole[: len(part)]
    if len(same) < len(part):
        return len(same), "time"
    first: tuple[int, str] | None = None
    for name in ("time_ns", *HISTORY_COLUMNS):
        a, b = (np.ascontiguousarray(rows[name]) for rows in (part, same))
        bits = a.view(f"u{a.dtype.itemsize}") != b.view(f"u{b.dtype.itemsize}")
        if a.dtype.kind == "f":
            bits &= ~(np.isnan(a) & np.isnan(b))
        at = np.flatnonzero(bits)
        if len(at) and (first is None or at[0] < first[0]):
            first = int(at[0]), "time" if name == "time_ns" else name
    return first


def check_warmup(
    data: object,
    *,
    pair: tuple[str, str] | None = None,
    starts: int = 4,
    tolerance: float = 1e-6,
    label: str | None = None,
    max_silence: MaxSilence = None,
    **settings: Unpack[SettingKwargs],
) -> WarmupReport:
    """Begin the data later, and tell after how many rows the metrics no longer depend on it.

    Rolling metrics forget what left the window, but for rounding; a Kalman filter forgets slowly.
    Positions are not compared: they depend on the first entry for as long as it is held.

    Parameters
    ----------
    data, pair, label, max_silence, **settings
        As `pairlab.backtest` takes them.
    starts : int
        How many later begins are tried, 1 to 1,000, within the first half.
    tolerance : float
        What counts as the same: of the larger of 1 and the number, for z, correlation and p-value;
        for prices and ratios of the number.

    Returns
    -------
    WarmupReport
        ``str()`` says it in words.

    Raises
    ------
    SettingError, DataError
        As `pairlab.backtest` does, and for data too short to be cut.
    """
    _check_count("starts", starts)
    source = source_of(data, pair)
    whole = run_of(source, label, max_silence, dict(settings)).rows
    index = _index(source.given)
    if len(index) < 2:
        raise DataError("there are fewer than two prices: nothing to compare")
    needed, left_out, compared, slowest, worst = 0, 0, 0, None, 0.0
    for begin in np.unique(np.linspace(1, len(index) // 2, starts).astype(np.int64)):
        given = _suffix(source.given, index, int(begin))
        part = run_of(source._replace(given=given), label, max_silence, dict(settings)).rows
        warm = np.flatnonzero((part["flags"] & _WARMING) == 0)
        skipped = int(warm[0]) if len(warm) else len(part)
        left_out, compared = max(left_out, skipped), compared + len(part) - skipped
        part, same = _common(part, whole)
        for name in _METRICS:
            differs = ~_close(part[name], same[name], tolerance, name)
            at = np.flatnonzero(differs)
            if len(at) and at[-1] + 1 > needed:
                needed, slowest = int(at[-1]) + 1, name
        gap = np.abs(part["zscore"][skipped:] - same["zscore"][skipped:])
        worst = max(worst, float(np.nanmax(gap)) if np.isfinite(gap).any() else 0.0)
    if not compared:
        raise DataError("no run has a row past its warm-up: nothing was compared; give more data")
    return WarmupReport(needed <= left_out, needed, left_out, slowest, worst)


def _suffix(given: Given, index: pd.Index[Any], begin: int) -> Given:
    if given.ticks is not None:
        return given._replace(ticks=given.ticks.iloc[begin:])
    start = index[begin]
    return given._replace(y=given.y[given.y.index >= start], x=given.x[given.x.index >= start])


def _common(part: Records, whole: Records) -> tuple[Records, Records]:
    """Return rows of two runs that end together: of one observation each."""
    count = min(len(part), len(whole))
    part, whole = part[len(part) - count :], whole[len(whole) - count :]
    if not np.array_equal(part["time_ns"], whole["time_ns"]):
        raise DataError("rows lie at other times when the data begin later: nothing to compare")
    return part, whole


def _close(a: Any, b: Any, tolerance: float, name: str) -> Any:
    scale = np.abs(b)
    if name in ("zscore", "correlation", "p_value"):
        scale = np.maximum(scale, 1.0)
    elif name == "spread":
        scale = np.maximum(scale, np.nanmax(np.abs(b), initial=0.0))
    return (np.abs(a - b) <= tolerance * scale) | (np.isnan(a) & np.isnan(b))
