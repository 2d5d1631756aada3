"""Many pairs on one local exchange, and what each of them should get."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import numpy as np

from pairlab.feeds import FeedGroup, PairFeed
from pairlab.feeds.binance.messages import WireDecoder
from pairlab.feeds.config import Retry
from pairlab.local_exchange import MarketGroup, SyntheticMarket
from pairlab.schema import TICK, Pair, Records
from tests.feeds.scripted import Catcher, quick, run, wait_until

FIELDS = tuple(name for name in TICK.names or () if name not in ("received_ns", "leg"))


def pairs(count: int) -> list[Pair]:
    return [Pair(f"Y{i}USDT", f"X{i}USDT") for i in range(count)]


def stream(symbol: str) -> str:
    return f"{symbol.lower()}@aggTrade"


def market(number: int, rate_per_s: float) -> SyntheticMarket:
    y, x = pairs(number + 1)[number]
    return SyntheticMarket(seed=number, symbols=(y, x), rate_per_s=rate_per_s, history_s=0)


def markets(count: int, rate_per_s: float, begins: Iterable[str] = ()) -> MarketGroup:
    """One market for each pair of `pairs`; it begins when these symbols, or all, are subscribed."""
    wanted = list(begins) or [symbol for pair in pairs(count) for symbol in pair]
    return MarketGroup(
        [market(i, rate_per_s) for i in range(count)],
        speed=1.0,
        begins=[stream(symbol) for symbol in wanted],
    )


class Truths:
    """Every tick of every symbol, from markets of one's own."""

    def __init__(self, count: int, rate_per_s: float) -> None:
        self._markets = [market(i, rate_per_s) for i in range(count)]
        for one in self._markets:
            one.open()
        self._of = {symbol: i for i, pair in enumerate(pairs(count)) for symbol in pair}
        self._ticks: dict[str, list[tuple]] = {symbol: [] for symbol in self._of}

    def first(self, symbol: str, count: int) -> Records:
        """Return a symbol's first ticks."""
        self._take(symbol, lambda ticks: len(ticks) >= count)
        return np.array(self._ticks[symbol][:count], dtype=TICK)

    def through(self, symbol: str, last_id: int) -> Records:
        """Return a symbol's ticks from the market's first through this id."""
        self._take(symbol, lambda ticks: bool(ticks) and ticks[-1][2] >= last_id)
        ticks = np.array(self._ticks[symbol], dtype=TICK)
        return ticks[ticks["id"] <= last_id]

    def _take(self, symbol: str, enough: Callable[[list[tuple]], bool]) -> None:
        number = self._of[symbol]
        pair = pairs(number + 1)[number]
        decoder = WireDecoder(pair, "aggTrade")
        while not enough(self._ticks[symbol]):
            for _, frame in self._markets[number].take(None, {stream(s) for s in pair}, 256):
                tick = decoder.decode(frame, 0)
                assert tick is not None
                self._ticks[pair[tick[3]]].append(tick)

    def check(self, pair: Pair, ticks: Records) -> None:
        """Fail unless each leg has every tick from its first to its last, once, in order."""
        for leg, symbol in enumerate(pair):
            got = ticks[ticks["leg"] == leg]
            assert len(got), f"{symbol} has no tick"
            truth = self.through(symbol, int(got["id"][-1]))
            truth = truth[truth["id"] >= got["id"][0]]
            for name in FIELDS:
                assert got[name].tobytes() == truth[name].tobytes(), f"{symbol}: {name}"


class Counter(Catcher):
    """A catcher that knows at once how many ticks each leg has."""

    def __init__(self, news: asyncio.Event) -> None:
        super().__init__()
        self.of_leg = [0, 0]
        self._news = news

    @property
    def warnings(self) -> list[str]:
        return [entry.message for entry in self.log if entry.level != "info"]

    def on_ticks(self, ticks: Records) -> None:
        of_x = int(ticks["leg"].sum())
        self.of_leg[0] += len(ticks) - of_x
        self.of_leg[1] += of_x
        super().on_ticks(ticks)


class Crowd:
    """A group's feeds as they run, each with a catcher of its own."""

    def __init__(self, group: FeedGroup) -> None:
        self.group = group
        self.catchers: dict[Pair, Counter] = {}
        self.tasks: dict[Pair, asyncio.Task[None]] = {}
        self._news = asyncio.Event()

    def __getitem__(self, pair: Pair) -> Counter:
        return self.catchers[pair]

    def feed(self, pair: Pair) -> PairFeed:
        return self.group.pair(*pair)

    def run(self, these: Iterable[Pair]) -> None:
        for pair in these:
            catcher = self.catchers[pair] = Counter(self._news)
            feed = self.feed(pair)
            task = asyncio.create_task(run(feed, catcher))
            task.add_done_callback(lambda _: self._news.set())
            self.tasks[pair] = task

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until it holds; ticks, words and ends of any feed make it look again."""
        await wait_until(true, self._news, lambda: str(self.group.health()))

    async def grow(self, these: Iterable[Pair], by: int) -> None:
        """Wait until each of these has so many ticks more on either leg."""
        goal = {(pair, leg): self[pair].of_leg[leg] + by for pair in these for leg in (0, 1)}
        for (pair, leg), many in goal.items():
            await self.until(lambda: self[pair].of_leg[leg] >= many)  # noqa: B023 - awaited here

    async def stop(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


@asynccontextmanager
async def crowd(url: str, these: Iterable[Pair], **more: object) -> AsyncIterator[Crowd]:
    """Run these pairs on one group, and stop them."""
    # At once would use up the attempts of five minutes while a handshake is refused.
    retry = Retry(delays=lambda: itertools.repeat(0.1))
    settings: dict[str, object] = {"timeouts": quick(), "retry": retry, **more}
    them = Crowd(FeedGroup(url=url, **settings))  # type: ignore[arg-type]
    them.run(these)
    try:
        yield them
    finally:
        await them.stop()
