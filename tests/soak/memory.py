"""Memory after every ring is full, over many ticks and many reconnects: it must stay flat."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import psutil

from pairlab import PairLab
from pairlab.feeds import BinanceFeed
from pairlab.feeds.config import Timeouts
from pairlab.local_exchange import LocalExchange, SyntheticMarket
from pairlab.local_exchange.server.faults import Fault
from tests.soak.run import LIMITS, PAIR, RETRY

__all__ = ["MemoryReport", "measure_memory"]

_ALLOWED_MB = 10.0
_SAMPLE_INTERVAL_S = 0.25
_ALERTS = 10_000  # capacity of the alert log
_TICKS_HELD = 100_000  # the lab's default of a million only takes longer to fill
_TRADES_KEPT_S = 60.0  # by the exchange


@dataclass
class Phase:
    """Resident memory of this process during one phase.

    Attributes
    ----------
    name : str
        Name of the phase.
    first_mb, last_mb : float
        At the beginning and at the end.
    samples_mb : list of float
        Samples, four times a second.
    ticks, reconnects : int
        During the phase.
    seconds : float
        Duration.
    """

    name: str
    first_mb: float
    last_mb: float = float("nan")
    samples_mb: list[float] = field(default_factory=list)
    ticks: int = 0
    reconnects: int = 0
    seconds: float = 0.0

    @property
    def flat(self) -> bool:
        """Whether it ended, and was 95 % of the time, within 10 MB of where it began.

        Ticks that wait for a gap are released within seconds; a leak is not.
        """
        low, high = np.quantile(self.samples_mb, (0.025, 0.975))
        return all(abs(mb - self.first_mb) <= _ALLOWED_MB for mb in (low, high, self.last_mb))

    def __str__(self) -> str:
        return (
            f"{'flat' if self.flat else 'NOT FLAT'}  {self.name}: {self.first_mb:.1f} MB first, "
            f"{self.last_mb:.1f} finally ({self.last_mb - self.first_mb:+.1f}), "
            f"{np.median(self.samples_mb):.1f} median, {min(self.samples_mb):.1f} to "
            f"{max(self.samples_mb):.1f} range; {self.ticks:,} ticks, {self.reconnects:,} "
            f"reconnects in {self.seconds:.0f} s"
        )


@dataclass
class MemoryReport:
    """Result of `measure_memory`: a phase without reconnects, and one with."""

    filled: str
    steady: Phase
    reconnecting: Phase
    missing: int

    @property
    def passed(self) -> bool:
        """Whether memory was flat in both, and no trade is missing."""
        flat = self.steady.flat and self.reconnecting.flat
        return flat and not self.steady.reconnects and not self.missing

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{'PASSED' if self.passed else 'FAILED'} memory, once the rings were full",
                f"  {self.filled}",
                f"  {self.steady}",
                f"  {self.reconnecting}",
                f"  {self.missing:,} trades missing",
            ]
        )


async def measure_memory(
    *,
    seed: int,
    ticks: int = 1_000_000,
    reconnects: int = 500,
    rate_per_s: float = 3_000.0,
    progress: Callable[[str], None] = lambda line: None,
) -> MemoryReport:
    """Run a lab until its rings are full, then for a number of ticks, then of reconnects.

    The exchange runs in the same process, so its memory counts, too.

    Parameters
    ----------
    seed : int
        Of the market.
    ticks, reconnects : int
        Length of the two phases.
    rate_per_s : float
        Trades per second of both symbols.
    progress : callable
        Called with a line of text every ten seconds.
    """
    market = SyntheticMarket(
        seed=seed,
        symbols=(PAIR.y, PAIR.x),
        rate_per_s=rate_per_s,
        start_condition="subscribed",
        history_s=0,
        keep_trades=int(rate_per_s * _TRADES_KEPT_S),
    )
    process = psutil.Process()

    def rss_mb() -> float:
        return process.memory_info().rss / 2**20

    async with LocalExchange(market, weight_limit=10**9) as exchange:
        feed = BinanceFeed(
            PAIR,
            url=exchange.url,
            timeouts=Timeouts(healthy_after_s=0.0),
            limits=LIMITS,
            retry=RETRY,
        )
        async with PairLab(PAIR.y, PAIR.x, feed=feed, ticks_held=_TICKS_HELD) as lab:

            async def watch(name: str, over: Callable[[], bool]) -> Phase:
                gc.collect()
                phase = Phase(name, rss_mb())
                before, started_s = lab.health(), time.monotonic()
                reported_s = started_s
                while not over():
                    await asyncio.sleep(_SAMPLE_INTERVAL_S)
                    phase.samples_mb.append(rss_mb())
                    now = lab.health()
                    if now.state == "failed":
                        raise RuntimeError(now.detail)
                    if time.monotonic() - reported_s > 10:
                        reported_s = time.monotonic()
                        progress(
                            f"{reported_s - started_s:6.0f} s  {name:12}  {now.ticks:>12,} ticks  "
                            f"{now.reconnects:>5,} reconnects  {len(lab.alert_log):>6,} alerts  "
                            f"{phase.samples_mb[-1]:6.1f} MB"
                        )
                gc.collect()
                after = lab.health()
                phase.last_mb = rss_mb()
                phase.ticks = after.ticks - before.ticks
                phase.reconnects = after.reconnects - before.reconnects
                phase.seconds = time.monotonic() - started_s
                return phase

            full = lab.settings.history_rows + lab.settings.ticks_held
            filling = await watch(
                "filling",
                lambda: lab.health().ticks > full and len(lab.alert_log) >= _ALERTS,
            )
            start = lab.health().ticks
            steady = await watch("no reconnect", lambda: lab.health().ticks >= start + ticks)
            dropping = asyncio.create_task(_drop(exchange, feed, reconnects))
            reconnecting = await watch("reconnects", dropping.done)
            await dropping
            missing = lab.health().missing
    return MemoryReport(
        filled=f"rings full after {filling.ticks:,} ticks, {filling.seconds:.0f} s",
        steady=steady,
        reconnecting=reconnecting,
        missing=missing,
    )


async def _drop(exchange: LocalExchange, feed: BinanceFeed, times: int) -> None:
    """Drop the connection each time it delivers again."""
    for _ in range(times):
        before = feed.health()
        await exchange.inject(Fault("drop")).wait()
        while True:
            now = feed.health()
            if now.reconnects > before.reconnects and now.state == "live" and not now.held:
                break
            await asyncio.sleep(0.02)
