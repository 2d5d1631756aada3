"""One randomized run: a market, random faults, a feed, and a report."""

from __future__ import annotations

import asyncio
import functools
import gc
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from pairlab.feeds.base import Feed, FeedHealth
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.config import Limits, Retry, Timeouts
from pairlab.feeds.rate_limit import full_jitter
from pairlab.lab.feed.feed_log import feed_events
from pairlab.local_exchange import LocalExchange, SyntheticMarket
from pairlab.local_exchange.server.faults import FAULT_KINDS, REPAIRABLE, Faults
from pairlab.schema import LogEntry, Pair, Records
from tests.soak.truth import Truth, Verdict

__all__ = ["Report", "parse_kinds", "run_feed", "soak", "until"]

PAIR = Pair("BTCUSDT", "ETHUSDT")
_SAMPLE_INTERVAL_S = 0.25
_RECOVERY_NS = 500_000_000  # of the market, after the last fault
_RECOVERY_TIMEOUT_S = 120.0

TIMEOUTS = Timeouts(
    open_s=3.0,
    close_s=0.2,
    first_data_s=1.5,
    idle_min_s=1.0,
    idle_busy_s=1.0,
    ping_after_s=0.4,
    pong_s=0.6,
    healthy_after_s=0.0,
    rest_s=3.0,
    repair_s=60.0,
    rotate_after_s=20.0,
    firewall_s=0.2,
)
LIMITS = Limits(
    attempts_per_5_min=1_000_000,
    firewall_attempts=1_000,
    max_frame_bytes=1 << 20,
)
RETRY = Retry(delays=functools.partial(full_jitter, first_s=0.02, most_s=0.5))


@dataclass
class Report:
    """Result of a run.

    Attributes
    ----------
    kinds : tuple of str
        Kinds of faults requested.
    verdict : Verdict
        Comparison with the fault-free market.
    faults : Counter of str
        Faults that happened.
    health : FeedHealth
        Of the feed, at the end of the run.
    seconds : float
        Duration.
    rss_mb : list of float
        Resident memory of the process, sampled four times a second.
    states : Counter of str
        Samples in each of the feed's states.
    errors : list of str
        Log entries of level error.
    """

    kinds: tuple[str, ...]
    verdict: Verdict
    faults: Counter[str]
    health: FeedHealth
    seconds: float
    rss_mb: list[float] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, repeated or out of order, and the feed is live again."""
        happened = bool(self.faults) or not self.kinds  # without a fault, nothing is proven
        return happened and self.verdict.clean and not self.errors and self.health.missing == 0

    def __str__(self) -> str:
        verdict, health = self.verdict, self.health
        faults = ", ".join(f"{kind} {n:,}" for kind, n in sorted(self.faults.items())) or "none"
        dropped = ", ".join(f"{why} {n:,}" for why, n in sorted(health.dropped.items())) or "none"
        states = ", ".join(f"{state} {n:,}" for state, n in self.states.most_common())
        rss = self.rss_mb or [float("nan")]
        idle = ", ".join(kind for kind in self.kinds if not self.faults[kind]) or "none"
        text = (
            f"{'PASSED' if self.passed else 'FAILED'} {self.faults.total():,} faults "
            f"in {self.seconds:.0f} s\n"
            f"  faults      {faults}\n"
            f"  not used    {idle}\n"
            f"  ticks       {verdict.ticks:,} compared: {verdict.lost:,} lost, "
            f"{verdict.repeated:,} repeated, {verdict.different:,} different\n"
            f"  repaired    {health.repaired:,} trades; {health.gaps:,} gaps left with "
            f"{health.missing:,} trades missing\n"
            f"  dropped     {dropped}\n"
            f"  connections {health.attempts:,} tried, {health.reconnects:,} reconnects\n"
            f"  states      {states}\n"
            f"  memory      {rss[0]:.0f} MB initially, {max(rss):.0f} MB maximum, "
            f"{rss[-1]:.0f} MB finally"
        )
        if verdict.first:
            text += f"\n  first       {verdict.first}"
        return "\n".join([text, *(f"  error       {line}" for line in self.errors[:5])])


def parse_kinds(text: str) -> tuple[str, ...]:
    """Return the kinds of faults for ``all``, ``repairable``, ``none`` or a list of kinds."""
    if text == "all":
        return FAULT_KINDS
    if text == "repairable":
        return REPAIRABLE
    kinds = tuple(word for word in text.split(",") if word and word != "none")
    for kind in kinds:
        if kind not in FAULT_KINDS:
            raise ValueError(f"unknown fault {kind!r}: expected {', '.join(FAULT_KINDS)}")
    return kinds


async def soak(
    kinds: tuple[str, ...],
    *,
    seed: int,
    seconds: float = 0.0,
    faults_wanted: int = 0,
    rate_per_s: float = 5_000.0,
    every: float = 500.0,
    on_ticks: Callable[[Records, Records], None] = lambda got, expected: None,
    progress: Callable[[str], None] = lambda line: None,
) -> Report:
    """Run a feed under random faults, then without until it has recovered, and report.

    Parameters
    ----------
    kinds : tuple of str
        Kinds of faults.
    seed : int
        Of the market and of the faults.
    seconds, faults_wanted : float, int
        Minimum duration and minimum number of the faults.
    rate_per_s : float
        Trades per second of both symbols.
    every : float
        Mean number of messages between two faults of a kind; those of connections are rarer.
    on_ticks : callable
        Called with each batch, and the batch expected.
    progress : callable
        Called with a line of text every ten seconds.
    """
    market = SyntheticMarket(
        seed=seed,
        rate_per_s=rate_per_s,
        symbols=(PAIR.y, PAIR.x),
        start_condition="subscribed",
        history_s=0,
        # Binance keeps 48 h; a feed far behind must still find its trades here.
        keep_trades=int(rate_per_s * 20 * TIMEOUTS.repair_s),
    )
    verdict = Verdict(Truth(seed, rate_per_s, PAIR))
    report = Report(kinds, verdict, Counter(), FeedHealth("connecting", ""), 0.0)
    process = psutil.Process()

    comparing = True  # until recovery: what stopping a feed discards is not part of the run

    def take(ticks: Records) -> None:
        if not comparing:
            return
        got, expected = verdict.take(ticks)
        if len(got):
            on_ticks(got, expected)

    def log(entry: LogEntry) -> None:
        if entry.level == "error":
            report.errors.append(entry.message)

    faults = Faults.random_faults(kinds, every=every, seed=seed)
    async with LocalExchange(market, weight_limit=10**9, faults=faults) as exchange:
        feed = BinanceFeed(
            PAIR,
            url=exchange.url,
            align_s=60.0,
            timeouts=TIMEOUTS,
            limits=LIMITS,
            retry=RETRY,
        )
        task = asyncio.create_task(run_feed(feed, take, log))
        try:
            started_s = time.monotonic()
            reported_s = started_s
            while (
                time.monotonic() - started_s < seconds or faults.counts.total() < faults_wanted
            ) and not task.done():
                await asyncio.sleep(_SAMPLE_INTERVAL_S)
                report.rss_mb.append(process.memory_info().rss / 2**20)
                report.states[feed.health().state] += 1
                if time.monotonic() - reported_s > 10:
                    reported_s = time.monotonic()
                    progress(
                        f"{reported_s - started_s:6.0f} s  {verdict.ticks:>12,} ticks  "
                        f"{faults.counts.total():>7,} faults  {report.rss_mb[-1]:5.0f} MB  "
                        f"{feed.health().state}: {feed.health().detail}"
                    )
            faults.clear()
            # No tick passes a gap: ticks from after the last fault prove that none is left.
            recovered_ns = exchange.now_ns() + _RECOVERY_NS
            async with asyncio.timeout(_RECOVERY_TIMEOUT_S):
                await until(
                    lambda: verdict.time_ns > recovered_ns and feed.health().state == "live",
                    lambda: not task.done(),
                )
            comparing = False
            report.seconds = time.monotonic() - started_s
        except TimeoutError:
            report.errors.append(
                f"not live again {_RECOVERY_TIMEOUT_S:.0f} s after the last fault: {feed.health()}"
            )
        finally:
            report.health = feed.health()
            report.faults = Counter(faults.counts)
            task.cancel()
            results = await asyncio.gather(task, return_exceptions=True)
    report.errors += [repr(e) for e in results if isinstance(e, Exception)]
    gc.collect()
    return report


class _Sink:
    """Hands ticks to a function."""

    def __init__(self, take: Callable[[Records], object]) -> None:
        self._take = take

    def on_ticks(self, ticks: Records) -> None:
        self._take(ticks)

    def on_gap(self, missing: int) -> None:
        pass  # the feed counts them


async def run_feed(
    feed: Feed, take: Callable[[Records], object], log: Callable[[LogEntry], None]
) -> None:
    """Run a feed as a lab does."""
    with feed_events(feed, log):
        await feed.run(_Sink(take))


async def until(true: Callable[[], bool], alive: Callable[[], bool]) -> None:
    """Wait until it holds, or nobody is left who could make it so."""
    while not true() and alive():  # noqa: ASYNC110 - what is waited for is a number
        await asyncio.sleep(0.05)
