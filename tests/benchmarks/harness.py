"""Registration, measurement and output of benchmarks.

A module ``bench_*.py`` of this folder registers functions::

    @benchmark("ours against theirs")
    def fast(rounds):
        return compare("thing", ours, peer, unit="ns per tick", per=n, peer_name="river",
                       wanted=Wanted(at_least=40), rounds=rounds)

Both sides alternate, so that a busy machine slows both, and their medians are compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["BENCHMARKS", "Result", "Wanted", "benchmark", "compare", "of_two", "seconds"]


@dataclass(frozen=True)
class Wanted:
    """Thresholds for the ratio (peer / ours) and for our own figure; None: no threshold."""

    ratio_at_least: float | None = None
    ratio_at_most: float | None = None
    ours_at_most: float | None = None
    ours_at_least: float | None = None

    def holds(self, ours: float, ratio: float) -> bool:
        """Return whether all thresholds are met."""
        return all(
            (
                self.ratio_at_least is None or ratio >= self.ratio_at_least,
                self.ratio_at_most is None or ratio <= self.ratio_at_most,
                self.ours_at_most is None or ours <= self.ours_at_most,
                self.ours_at_least is None or ours >= self.ours_at_least,
            )
        )

    def __str__(self) -> str:
        words = (
            ("ratio ≥", self.ratio_at_least),
            ("ratio ≤", self.ratio_at_most),
            ("ours ≤", self.ours_at_most),
            ("ours ≥", self.ours_at_least),
        )
        return ", ".join(f"{word} {value:g}" for word, value in words if value is not None)


@dataclass(frozen=True)
class Result:
    """Our figure and a peer's or a lower bound's, medians of `rounds`."""

    name: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    ratio: float
    ratio_of: str
    wanted: str
    holds: bool
    rounds: int

    def __str__(self) -> str:
        mark = "ok  " if self.holds else "MISS"
        return (
            f"{mark} {self.name:<34} ours {self.ours:>10,.4g}  {self.peer_name} {self.peer:>10,.4g}"
            f" {self.unit}  {self.ratio_of} {self.ratio:,.3g}  (wanted: {self.wanted})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return asdict(self)


Benchmark = Callable[[int], list[Result]]
BENCHMARKS: dict[str, tuple[str, Benchmark]] = {}
"""Registered benchmarks by name: description, and function of `rounds`."""


def benchmark(about: str) -> Callable[[Benchmark], Benchmark]:
    """Register a function under its own name."""

    def register(function: Benchmark) -> Benchmark:
        BENCHMARKS[function.__name__.replace("_", "-")] = (about, function)
        return function

    return register


def seconds(work: Callable[[], object]) -> float:
    """Return this thread's CPU time of one call, which excludes other processes."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def compare(
    name: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    peer_name: str,
    unit: str,
    wanted: Wanted,
    rounds: int,
    scale: tuple[float, float] = (1.0, 1.0),
    clock: Callable[[Callable[[], object]], float] = seconds,
    slower: bool = False,
) -> Result:
    """Measure both sides alternately.

    Parameters
    ----------
    scale : tuple of float
        Factors from seconds to `unit`, of ours and of the peer's.
    slower : bool
        Whether the ratio is ours / peer (how much slower we are) instead of peer / ours.
    """
    for warm in (ours, peer):
        warm()
    mine, its = [], []
    for _ in range(rounds):
        mine.append(clock(ours) * scale[0])
        its.append(clock(peer) * scale[1])
    a, b = statistics.median(mine), statistics.median(its)
    return of_two(name, a, b, peer_name, unit, wanted, rounds, slower=slower)


def of_two(
    name: str,
    ours: float,
    peer: float,
    peer_name: str,
    unit: str,
    wanted: Wanted,
    rounds: int,
    *,
    slower: bool = True,
) -> Result:
    """Return the result of two medians that were measured elsewhere."""
    ratio = ours / peer if slower else peer / ours
    ratio_of = "ours / its" if slower else "its / ours"
    holds = wanted.holds(ours, ratio)
    return Result(name, ours, peer, peer_name, unit, ratio, ratio_of, str(wanted), holds, rounds)
