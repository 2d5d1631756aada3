"""`sweep`: many settings over the same past; metrics once, decisions often."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Unpack

import numpy as np
import pandas as pd

from pairlab.backtesting.costs import Costs
from pairlab.backtesting.inputs import Source, source_of
from pairlab.backtesting.result import BacktestResult
from pairlab.backtesting.sweeping.cluster import on_cluster
from pairlab.backtesting.sweeping.grid import Point, axes_of, points_of, threads_of, values_of
from pairlab.backtesting.sweeping.jobs import Job, Trading, in_threads
from pairlab.backtesting.sweeping.overfitting import deflated_sharpe, probability_of_overfitting
from pairlab.backtesting.sweeping.score import Score
from pairlab.errors import DataError, MissingExtraError, SettingError
from pairlab.research.silence import MaxSilence
from pairlab.settings import METRIC_SETTINGS, SettingKwargs, SettingValues

if TYPE_CHECKING:
    from pairlab.widgets.report.heat_map import SweepHeatmap
    from pairlab.widgets.style.theme import ThemeName

__all__ = ["OBJECTIVES", "SweepPlan", "SweepResult", "sweep", "swept"]

OBJECTIVES: Final = ("net_profit", "sharpe", "expectancy", "win_rate", "max_drawdown")
"""What the best set may be the largest of."""

_FIGURES: Final = (
    "net_profit", "sharpe", "trades", "win_rate", "expectancy", "max_drawdown", "gross", "fees",
    "slippage", "funding", "missed_entries",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class SweepResult:
    """What every set of settings would have made, and how much of the best one is luck.

    Attributes
    ----------
    frame : pandas.DataFrame
        A row per set, in the order of the grid: the settings that vary, and net_profit, sharpe (per
        stretch of time, 512 of equal length; not annualised), trades, win_rate, expectancy,
        max_drawdown (at the ends of the stretches), gross, fees, slippage, funding, missed_entries.
    objective : str
        The column that the best set has the largest of.
    best : dict
        The settings of the best set that vary; empty where none traded.
    n_trials : int
        Sets that were tried.
    skipped : int
        Sets whose settings contradict each other, such as an exit above the entry.
    complete : bool
        False: it was interrupted, and has what was done until then.
    deflated_sharpe : float
        Probability that the best set's Sharpe ratio is above what the best of so many has by luck
        (`pairlab.backtesting.sweeping.overfitting.deflated_sharpe`).
    pbo : float
        Probability of overfitting: share of ways to halve the time in which the set that is best in
        one half is below the median in the other.
    span : tuple of pandas.Timestamp or None
        What it was chosen on: `backtest` warns where a test overlaps it.
    """

    frame: pd.DataFrame
    objective: str
    best: dict[str, object]
    n_trials: int
    skipped: int
    complete: bool
    deflated_sharpe: float
    pbo: float
    span: tuple[pd.Timestamp, pd.Timestamp] | None
    _points: tuple[Point, ...] = field(init=False, compare=False)
    _again: Callable[[Point], BacktestResult] = field(init=False, compare=False)

    def backtest(self, number: int | None = None) -> BacktestResult:
        """Return the whole result of one set.

        Parameters
        ----------
        number : int, optional
            Its row in `frame`; by default the best.

        Returns
        -------
        BacktestResult
            Of the same data and terms.

        Raises
        ------
        DataError
            If there is no such row, or no best one.
        """
        if number is None:
            if not self.best:
                raise DataError("no set traded: there is no best one")
            return self._again(dict(self.best))
        if not 0 <= number < len(self._points):
            raise DataError(f"there is no set {number}: expected 0 to {len(self.frame) - 1}")
        return self._again(self._points[number])

    def __repr__(self) -> str:
        """Say what is best, of how many, and what it is worth."""
        ways = f"{self.n_trials:,} sets tried" + ("" if self.complete else " (interrupted)")
        if self.skipped:
            ways += f", {self.skipped:,} contradictory ones left out"
        lines = [f"Sweep: {ways}"]
        if self.best:
            shown = ", ".join(f"{name} = {value}" for name, value in self.best.items())
            top = self.frame[self.objective].max()
            lines.append(f"  best by {self.objective}: {shown} ({top:,.4g})")
        else:
            lines.append("  none of them traded")
        for label, value in (
            ("probability that its Sharpe ratio is no luck (deflated)", self.deflated_sharpe),
            ("probability of overfitting (PBO)", self.pbo),
        ):
            lines.append(f"  {label}: {'–' if math.isnan(value) else f'{value:.2f}'}")
        lines.append("  chosen in sample: test it on other data before believing it")
        return "\n".join(lines)

    def heatmap(
        self, x: str | None = None, y: str | None = None, theme: ThemeName = "dark"
    ) -> SweepHeatmap:
        """Return a heat map of the objective, in which a click opens that backtest's report.

        Parameters
        ----------
        x, y : str, optional
            The settings across and down; by default the first two that vary. Where more vary, a
            cell shows the best of its sets.
        theme : {"dark", "light", "jupyterlab"}
            Colours.

        Returns
        -------
        SweepHeatmap
            A widget.

        Raises
        ------
        SettingError
            If a setting does not vary, or there is no such theme.
        DataError
            If there are too many cells.
        """
        from pairlab.widgets.report.heat_map import SweepHeatmap

        return SweepHeatmap(self, x, y, theme)

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write `frame` to a CSV file.

        Parameters
        ----------
        path : str or os.PathLike
            The file.

        Returns
        -------
        Path
            The same.

        Raises
        ------
        DataError
            If it cannot be written.
        """
        try:
            self.frame.to_csv(path, index_label="set")
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None
        return Path(path)

    def to_dict(self) -> dict[str, object]:
        """Return the table and what it is worth as plain values, for JSON; NaN is None."""
        sets: list[dict[Hashable, object]] = self.frame.to_dict("records")
        return {
            "objective": self.objective,
            "best": dict(self.best),
            "n_trials": self.n_trials,
            "skipped": self.skipped,
            "complete": self.complete,
            "deflated_sharpe": _finite(self.deflated_sharpe),
            "pbo": _finite(self.pbo),
            "span": None if self.span is None else [moment.isoformat() for moment in self.span],
            "sets": [{str(k): _finite(v) for k, v in row.items()} for row in sets],
        }


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sweep(
    data: object,
    grid: Mapping[str, Iterable[object]],
    *,
    objective: str = "net_profit",
    constraint: Callable[[dict[str, object]], bool] | None = None,
    max_tries: int | None = None,
    seed: int = 0,
    n_jobs: int = -1,
    progress: bool = False,
    client: object = None,
    pair: tuple[str, str] | None = None,
    costs: Costs | None = None,
    capital: float = 10_000.0,
    latency_s: float = 0.0,
    max_wait_s: float | None = None,
    lots: object = None,
    mark: object = None,
    label: str | None = None,
    max_silence: MaxSilence = "auto",
    **settings: Unpack[SettingKwargs],
) -> SweepResult:
    """Backtest every combination of settings, and tell how much of the best is luck.

    The engine runs once for each combination of settings that define a metric (window, hedge,
    timeframe, …); thresholds are decided on its rows by the kernel's own `decide`. The result does
    not depend on the number of threads.

    Parameters
    ----------
    data, pair, costs, capital, latency_s, max_wait_s, lots, mark, label, max_silence
        As `pairlab.backtest` takes them.
    grid : mapping
        Values by name of setting, such as ``{"entry_z": [1.5, 2.0], "window": [50, 100]}``.
    objective : str
        One of net_profit, sharpe, expectancy, win_rate and max_drawdown.
    constraint : callable, optional
        Called with the settings of a set that vary; False leaves it out.
    max_tries : int, optional
        How many sets are tried, drawn without replacement; by default all, a million at most.
    seed : int
        Of that draw.
    n_jobs : int
        Threads; -1: one for each core.
    progress : bool
        Show a progress bar (tqdm).
    client : dask.distributed.Client, optional
        Whose workers do it, instead of threads (extra ``cluster``). A path is read where they run,
        if all of them can; other data are sent, again if the worker that held them is lost.
    **settings
        Settings of all sets, as for `PairLab`.

    Returns
    -------
    SweepResult
        A row per set, the best one, and what it is worth. Ctrl-C keeps what is done.

    Raises
    ------
    SettingError
        For a name that is no setting, a value out of range, or a grid that is too large.
    DataError
        As `pairlab.backtest`, and for an empty grid.
    MissingExtraError
        For a client without ``pip install "pairlab[cluster]"``.
    """
    costs = Costs() if costs is None else costs
    terms: dict[str, Any] = {
        "capital": capital, "latency_s": latency_s, "max_wait_s": max_wait_s, "lots": lots,
        "mark": mark,
    }  # fmt: skip
    plan = SweepPlan(objective, constraint, max_tries, seed, n_jobs, progress)
    trading = Trading(costs, terms, label, max_silence, dict(settings))
    return swept(source_of(data, pair), data, grid, plan, trading, client)


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep tries, and in how many threads; as `sweep` takes them."""

    objective: str
    constraint: Callable[[dict[str, object]], bool] | None
    max_tries: int | None
    seed: int
    n_jobs: int
    progress: bool


def swept(
    source: Source,
    data: object,
    grid: Mapping[str, Iterable[object]],
    plan: SweepPlan,
    trading: Trading,
    client: object = None,
) -> SweepResult:
    """Do as `sweep`, with data that are sorted out.

    Parameters
    ----------
    source : Source
        What is traded.
    data : object
        What it was made of: workers read a path by themselves.
    grid : mapping
        Values by name of setting.
    plan : SweepPlan
        What is tried.
    trading : Trading
        Under which terms.
    client : dask.distributed.Client, optional
        Whose workers do it.
    """
    points = points_of(axes_of(grid), plan.constraint, plan.max_tries, plan.seed)
    objective = plan.objective
    if objective not in OBJECTIVES:
        raise SettingError("objective", objective, f"expected one of {', '.join(OBJECTIVES)}")
    threads = threads_of(plan.n_jobs)
    groups: dict[tuple[object, ...], dict[int, SettingValues]] = {}
    refused: SettingError | None = None
    for number, point in enumerate(points):
        try:
            values = values_of({**source.settings, **trading.settings}, point)
        except SettingError as error:
            refused = error
            continue
        key = tuple(getattr(values, name) for name in sorted(METRIC_SETTINGS))
        groups.setdefault(key, {})[number] = values
    jobs = [
        Job({**trading.settings, **points[next(iter(group))]}, group) for group in groups.values()
    ]
    scores: dict[int, Score] = {}
    spans: list[tuple[int, int]] = []
    complete = True
    with _bar(sum(map(len, groups.values())), plan.progress) as bar:

        def take(number: int, score: Score) -> None:
            scores[number] = score
            bar.update()

        try:
            if client is None:
                in_threads(source, trading, jobs, threads, take, spans.append)
            else:
                on_cluster(client, source, data, trading, jobs, take, spans.append)
        except KeyboardInterrupt:
            complete = False
    if not scores and refused is not None:
        raise refused
    ends = None
    if spans:
        first, last = min(span[0] for span in spans), max(span[1] for span in spans)
        ends = pd.Timestamp(first, tz="UTC"), pd.Timestamp(last, tz="UTC")

    def again(point: dict[str, object]) -> BacktestResult:
        return trading.backtest(source, point, ends)

    skipped = len(points) - sum(map(len, groups.values()))
    return _result(points, scores, objective, complete, skipped, ends, again)


class _NoBar:
    """A progress bar that shows nothing."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self) -> None:
        """Count one set."""


def _bar(total: int, progress: bool) -> Any:
    if not progress:
        return _NoBar()
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise MissingExtraError("tqdm", "storage") from None
    return tqdm(total=total, unit="set")


def _result(
    points: list[Point],
    scores: dict[int, Score],
    objective: str,
    complete: bool,
    skipped: int,
    span: tuple[pd.Timestamp, pd.Timestamp] | None,
    again: Callable[[dict[str, object]], BacktestResult],
) -> SweepResult:
    """Return the table of all sets, the best one, and how much of it is luck."""
    done = sorted(scores)
    rows = [{**points[n], **{name: getattr(scores[n], name) for name in _FIGURES}} for n in done]
    columns = [*points[0], *_FIGURES]
    frame = pd.DataFrame(rows, columns=columns)
    ranked = frame[objective].where(frame["trades"] > 0)
    best: dict[str, object] = {}
    deflated = overfitting = math.nan
    if ranked.notna().any():
        at = int(ranked.to_numpy(np.float64, na_value=-np.inf).argmax())
        best = dict(points[done[at]])
        deflated = deflated_sharpe(
            scores[done[at]].returns, frame["sharpe"].to_numpy(np.float64, na_value=np.nan)
        )
        overfitting = probability_of_overfitting(np.column_stack([scores[n].returns for n in done]))
    found = SweepResult(
        frame=frame, objective=objective, best=best, n_trials=len(done), skipped=skipped,
        complete=complete, deflated_sharpe=deflated, pbo=overfitting, span=span,
    )  # fmt: skip
    object.__setattr__(found, "_points", tuple(points[n] for n in done))  # it is frozen
    object.__setattr__(found, "_again", again)
    return found
