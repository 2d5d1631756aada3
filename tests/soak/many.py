"""One randomized run of many pairs on shared connections."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pairlab.feeds import ConnectionHealth, FeedGroup, FeedHealth
from pairlab.local_exchange import LocalExchange, MarketGroup, SyntheticMarket
from pairlab.local_exchange.server.faults import Faults
from pairlab.schema import LogEntry, Pair, Records
from tests.soak.run import LIMITS, RETRY, TIMEOUTS, run_feed, until
from tests.soak.truth import Truth, Verdict

__all__ = ["GroupReport", "soak_many"]

# Each of many streams has fewer messages, so a second of silence is normal for it.
_TIMEOUTS = replace(TIMEOUTS, idle_min_s=3.0, idle_busy_s=6.0, first_data_s=4.0, repair_s=90.0)

_SAMPLE_INTERVAL_S = 0.25
_RECOVERY_NS = 1_000_000_000  # of the markets, after the last fault
_RECOVERY_TIMEOUT_S = 120.0
_TRADES_KEPT_S = 300.0  # for REST


@dataclass
class GroupReport:
    """Result of a run of many pairs.

    Attributes
    ----------
    kinds : tuple of str
        Kinds of faults requested.
    verdicts : dict of Pair to Verdict
        Comparison of each pair with its fault-free market.
    faults : Counter of str
        Faults that happened.
    health : FeedHealth
        Of the group, at the end of the run.
    connections : tuple of ConnectionHealth
        At the same time.
    seconds : float
        Duration.
    errors : list of str
        Log entries of level error.
    """

    kinds: tuple[str, ...]
    verdicts: dict[Pair, Verdict]
    faults: Counter[str] = field(default_factory=Counter)
    health: FeedHealth = field(default_factory=lambda: FeedHealth("connecting", ""))
    connections: tuple[ConnectionHealth, ...] = ()
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing of any pair was lost, repeated or out of order."""
        happened = bool(self.faults) or not self.kinds
        clean = all(verdict.clean for verdict in self.verdicts.values())
        return happened and clean and not self.errors and self.health.missing == 0

    def __str__(self) -> str:
        verdicts, health = self.verdicts.values(), self.health
        faults = ", ".join(f"{kind} {n:,}" for kind, n in sorted(self.faults.items())) or "none"
        word = "PASSED" if self.passed else "FAILED"
        lost, repeated = sum(v.lost for v in verdicts), sum(v.repeated for v in verdicts)
        text = (
            f"{word} {self.faults.total():,} faults with {len(verdicts):,} pairs "
            f"in {self.seconds:.0f} s\n"
            f"  faults      {faults}\n"
            f"  ticks       {sum(v.ticks for v in verdicts):,} compared: {lost:,} lost, "
            f"{repeated:,} repeated, {sum(v.different for v in verdicts):,} different\n"
            f"  repaired    {health.repaired:,} trades; {health.gaps:,} gaps left with "
            f"{health.missing:,} trades missing"
        )
        for one in self.connections:
            text += (
                f"\n  connection  {one.streams} streams, {one.attempts:,} tried, "
                f"{one.reconnects:,} reconnects, {one.state}: {one.detail}"
            )
        wrong = [(pair, v.first) for pair, v in self.verdicts.items() if v.first]
        more = [f"  first       {pair.y}/{pair.x}: {first}" for pair, first in wrong[:5]]
        return "\n".join([text, *more, *(f"  error       {line}" for line in self.errors[:5])])


async def soak_many(
    kinds: tuple[str, ...],
    *,
    pairs: int,
    seed: int,
    seconds: float = 0.0,
    faults_wanted: int = 0,
    rate_per_s: float = 2_000.0,
    every: float = 2_000.0,
    weight_per_min: int = 10**9,
    progress: Callable[[str], None] = lambda line: None,
) -> GroupReport:
    """Run many pairs under random faults, then without until they have recovered, and report.

    Parameters
    ----------
    kinds : tuple of str
        Kinds of faults.
    pairs : int
        Number of pairs, each with two symbols of its own.
    seed : int
        Of the first market and of the faults.
    seconds, faults_wanted : float, int
        Minimum duration and minimum number of the faults.
    rate_per_s : float
        Trades per second of all pairs together.
    every : float
        Mean number of messages between two faults of a kind; those of connections are rarer.
    weight_per_min : int
        REST budget; Binance's is 2,400.
    progress : callable
        Called with a line of text every ten seconds.
    """
    rate = rate_per_s / pairs
    names = [Pair(f"Y{i}USDT", f"X{i}USDT") for i in range(pairs)]
    markets = [
        SyntheticMarket(
            seed=seed + i,
            symbols=(pair.y, pair.x),
            rate_per_s=rate,
            history_s=0,
            keep_trades=max(1_000, int(rate * _TRADES_KEPT_S)),
        )
        for i, pair in enumerate(names)
    ]
    streams = [f"{symbol.lower()}@aggTrade" for pair in names for symbol in pair]
    verdicts = {pair: Verdict(Truth(seed + i, rate, pair)) for i, pair in enumerate(names)}
    report = GroupReport(kinds, verdicts)
    comparing = True  # until recovery: what stopping a feed discards is not part of the run

    def sink_of(verdict: Verdict) -> Callable[[Records], None]:
        return lambda ticks: comparing and verdict.take(ticks)

    def log(entry: LogEntry) -> None:
        if entry.level == "error":
            report.errors.append(entry.message)

    faults = Faults.random_faults(kinds, every=every, seed=seed)
    market = MarketGroup(markets, start_condition=streams)
    async with LocalExchange(market, weight_limit=weight_per_min, faults=faults) as exchange:
        group = FeedGroup(
            url=exchange.url, align_s=60.0, timeouts=_TIMEOUTS, limits=LIMITS, retry=RETRY
        )
        tasks = [
            asyncio.create_task(run_feed(group.pair(*pair), sink_of(verdict), log))
            for pair, verdict in verdicts.items()
        ]

        def alive() -> bool:
            return not any(task.done() for task in tasks)

        try:
            started_s = reported_s = time.monotonic()
            while (
                time.monotonic() - started_s < seconds or faults.counts.total() < faults_wanted
            ) and alive():
                await asyncio.sleep(_SAMPLE_INTERVAL_S)
                if time.monotonic() - reported_s > 10:
                    reported_s = time.monotonic()
                    ticks = sum(verdict.ticks for verdict in verdicts.values())
                    progress(
                        f"{reported_s - started_s:6.0f} s  {ticks:>12,} ticks  "
                        f"{faults.counts.total():>7,} faults  {group.health().detail}"
                    )
            faults.clear()
            recovered_ns = exchange.now_ns() + _RECOVERY_NS
            async with asyncio.timeout(_RECOVERY_TIMEOUT_S):
                await until(lambda: all(v.time_ns > recovered_ns for v in verdicts.values()), alive)
            comparing = False
        except TimeoutError:
            report.errors.append(
                f"not live {_RECOVERY_TIMEOUT_S:.0f} s after the last fault: {group.health()}"
            )
        finally:
            report.seconds = time.monotonic() - started_s
            report.health, report.connections = group.health(), group.connections()
            report.faults = Counter(faults.counts)
            await group.close()
            results = await asyncio.gather(*tasks, return_exceptions=True)
    report.errors += [repr(error) for error in results if isinstance(error, Exception)]
    return report
