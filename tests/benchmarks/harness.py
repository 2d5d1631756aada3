"""How a benchmark is written, measured and shown.

A module ``bench_*.py`` of this folder registers functions::

    @benchmark("ours against theirs")
    def fast(rounds):
        return compare("thing", ours, peer, unit="ns per tick", per=n, peer_name="river",
                       wanted=Wanted(at_least=40), rounds=rounds)

Both sides run in turn, so that a busy machine slows both, and the medians are compared.
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
    """What the ratio (peer / ours) or our own figure must reach; None asks nothing."""

    ratio_at_least: float | None = None
    ratio_at_most: float | None = None
    ours_at_most: float | None = None
    ours_at_least: float | None = None

    def holds(self, ours: float, ratio: float) -> bool:
        """Tell whether all that is asked is reached."""
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
    """Ours beside a peer's or a floor's figure, medians of `rounds`."""

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
        """Return the figures for JSON."""
        return asdict(self)


Benchmark = Callable[[int], list[Result]]
BENCHMARKS: dict[str, tuple[str, Benchmark]] = {}
"""Every registered benchmark by name: what it measures, and the function of `rounds`."""


def benchmark(about: str) -> Callable[[Benchmark], Benchmark]:
    """Register a function under its own name."""

    def register(function: Benchmark) -> Benchmark:
        BENCHMARKS[function.__name__.replace("_", "-")] = (about, function)
        return function

    return register


def seconds(work: Callable[[], object]) -> float:
    """Return this thread's CPU time of one call: what a neighbour takes does not count."""
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
    """Measure both sides in turn.

    Parameters
    ----------
    scale : tuple of float
        What one second of ours, and of the peer's, is in `unit`.
    slower : bool
        The ratio is ours / peer (how much slower we are), not peer / ours.
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
    """Return what two medians, measured elsewhere, make together."""
    ratio = ours / peer if slower else peer / ours
    ratio_of = "ours / its" if slower else "its / ours"
    holds = wanted.holds(ours, ratio)
    return Result(name, ours, peer, peer_name, unit, ratio, ratio_of, str(wanted), holds, rounds)
