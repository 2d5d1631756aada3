"""What a sweep computes: sets that share their metrics, and so one run of the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import pandas as pd

from pairlab.backtesting.costs import Costs
from pairlab.backtesting.inputs import Source
from pairlab.backtesting.market import Market, market_of
from pairlab.backtesting.result import BacktestResult
from pairlab.backtesting.run import evaluated, run_of
from pairlab.backtesting.sweeping.score import Score, Scorer
from pairlab.backtesting.terms import terms_of
from pairlab.research.silence import MaxSilence
from pairlab.settings import SettingValues

__all__ = ["Job", "Span", "Trading", "in_threads", "scored"]

_SETS_AT_ONCE: Final = 16

Span = tuple[int, int]
"""Times of the first and the last row, ns since 1970 UTC."""


@dataclass(frozen=True)
class Trading:
    """Settings of all sets, and the terms on which they trade.

    Attributes
    ----------
    costs, label, max_silence
        As `pairlab.backtest` takes them.
    terms : dict
        capital, latency_s, max_wait_s, lots and mark.
    settings : dict
        Of all sets.
    purged : bool
        Whether a position that is open at the end of the data is left out.
    """

    costs: Costs
    terms: dict[str, Any]
    label: str | None
    max_silence: MaxSilence
    settings: dict[str, Any]
    purged: bool = False

    def market(self, source: Source, settings: Mapping[str, object]) -> Market:
        """Run the engine over data, under settings beside those of all sets."""
        given = {**self.settings, **settings}
        return market_of(run_of(source, self.label, self.max_silence, given))

    def scorer(self, source: Source, settings: Mapping[str, object]) -> tuple[Scorer, Span | None]:
        """Return what scores the sets of a job, and the span of its rows."""
        market = self.market(source, settings)
        terms = terms_of(market, source.given.pair, self.costs, **self.terms)
        times = market.time_ns
        span = (int(times[0]), int(times[-1])) if len(times) else None
        return Scorer(market, terms, purged=self.purged), span

    def backtest(
        self,
        source: Source,
        settings: Mapping[str, object],
        selected_on: tuple[pd.Timestamp, pd.Timestamp] | None,
    ) -> BacktestResult:
        """Return the whole result of one set."""
        given = {**self.settings, **settings}
        return evaluated(
            source, self.label, self.max_silence, given, self.costs, **self.terms,
            selected_on=selected_on,
        )  # fmt: skip


class Job(NamedTuple):
    """Sets that share their metrics.

    Attributes
    ----------
    settings : dict
        Of one of them, those that define the metrics among them.
    sets : dict of int to SettingValues
        By number in the grid.
    """

    settings: dict[str, Any]
    sets: dict[int, SettingValues]


def scored(
    source: Source, trading: Trading, settings: Mapping[str, object], sets: Sequence[SettingValues]
) -> tuple[list[Score], Span | None]:
    """Score some sets, one after another; in whatever process."""
    scorer, span = trading.scorer(source, settings)
    return [scorer.score(values) for values in sets], span


def in_threads(
    source: Source,
    trading: Trading,
    jobs: Sequence[Job],
    threads: int,
    take: Callable[[int, Score], None],
    tell_span: Callable[[Span], None],
) -> None:
    """Score all sets in threads of this process; an interrupt keeps what is done.

    Parameters
    ----------
    source : Source
        What is traded.
    trading : Trading
        Under which terms.
    jobs : sequence of Job
        The sets.
    threads : int
        How many.
    take : callable
        Called with the number of each set and its score.
    tell_span : callable
        Called with the span of each job's rows.

    Raises
    ------
    KeyboardInterrupt
        After what was done has been taken.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: dict[tuple[int, ...], tuple[Future[None], list[Score]]] = {}
        try:
            for job in jobs:
                scorer, span = trading.scorer(source, job.settings)
                if span is not None:
                    tell_span(span)
                every = tuple(job.sets)
                # Not one by one: to hand over a set takes a tenth of what it takes to score it.
                length = max(1, min(_SETS_AT_ONCE, len(every) // (4 * threads)))
                for first in range(0, len(every), length):
                    numbers = every[first : first + length]
                    sets = [job.sets[number] for number in numbers]
                    scores: list[Score] = []
                    waiting[numbers] = pool.submit(_score_all, scorer, sets, scores), scores
                for numbers, (future, scores) in list(waiting.items()):
                    future.result()
                    for number, score in zip(numbers, scores, strict=True):
                        take(number, score)
                    del waiting[numbers]
        except KeyboardInterrupt:
            pool.shutdown(wait=True, cancel_futures=True)
            for numbers, (_, scores) in waiting.items():
                for number, score in zip(numbers, scores, strict=False):  # some were not begun
                    take(number, score)
            raise


def _score_all(scorer: Scorer, sets: Sequence[SettingValues], scores: list[Score]) -> None:
    """Append the score of each set, so that an interrupt keeps those before it."""
    for values in sets:
        scores.append(scorer.score(values))
