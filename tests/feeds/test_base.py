"""The protocol of a feed: its docstring's example is a feed that a lab can run."""

from __future__ import annotations

import asyncio
import inspect
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from pairlab import PairLab
from pairlab.feeds.base import Closes, Feed, FeedHealth, FeedInfo, FeedState, TickSink
from pairlab.feeds.log import concerning, feed_logger
from pairlab.schema import TICK, Pair, RowFlag
from tests.lab.test_runner import some_ticks

pytestmark = pytest.mark.usefixtures("no_task_left")


class Exchange:
    """What the example leaves to its author: `connect`, `decode` and `refetch`."""

    def __init__(self) -> None:
        self.connections = 0
        self.frames: asyncio.Queue[list[int] | OSError] = asyncio.Queue()

    @asynccontextmanager
    async def connect(self, pair: Pair) -> AsyncIterator[AsyncIterator[list[int]]]:
        self.connections += 1
        yield self._read()

    async def _read(self) -> AsyncIterator[list[int]]:
        while True:
            frame = await self.frames.get()
            if isinstance(frame, OSError):
                raise frame
            yield frame

    def decode(self, frame: list[int]) -> Any:
        return np.array(some_ticks(max(frame) + 1)[frame], TICK)

    async def refetch(self, batch: Any) -> int:
        return 7 if batch["id"][0] == 200 else 0


def example(exchange: Exchange) -> Feed:
    """Make the feed of the docstring's example."""
    words = inspect.getdoc(Feed) or ""
    code = textwrap.dedent(words[words.index("    logger = feed_logger") :])
    names: dict[str, Any] = {
        "Closes": Closes, "FeedHealth": FeedHealth, "FeedInfo": FeedInfo, "FeedState": FeedState,
        "Pair": Pair, "TickSink": TickSink, "asyncio": asyncio, "concerning": concerning,
        "connect": exchange.connect, "decode": exchange.decode, "feed_logger": feed_logger,
        "full_jitter": lambda: iter([0.0] * 9), "refetch": exchange.refetch,
    }  # fmt: skip
    exec(code, names)
    feed: Feed = names["BybitFeed"](Pair("BTCUSDT", "ETHUSDT"))
    return feed


async def test_the_example_of_the_docstring_runs_in_a_lab() -> None:
    exchange = Exchange()
    feed = example(exchange)
    assert isinstance(feed, Feed)
    async with PairLab(feed=feed) as lab:
        assert lab.health().feed == "BYBIT"
        exchange.frames.put_nowait([*range(100)])
        await lab.wait_async(99, 150)
        exchange.frames.put_nowait(OSError("the cable is out"))
        exchange.frames.put_nowait([*range(200, 300)])
        await lab.wait_async(198, 60)  # one tick after the gap is of y alone: x is not known yet
        assert (lab.health().state, lab.health().ticks) == ("live", 200)
        assert lab.health().real_money
        flags = lab.rows.view()["flags"]
        assert np.flatnonzero(flags & RowFlag.GAP_BEFORE).tolist() == [99]
        (told,) = [e for e in lab.event_log if "cable" in e.message]
        assert (told.level, told.message) == (
            "warning",
            "disconnected: the cable is out; reconnecting",
        )
    assert exchange.connections == 2


@pytest.mark.parametrize("member", ["info", "run", "health", "price_decimals", "seed_closes"])
def test_what_lacks_a_member_is_no_feed(member: str) -> None:
    members: dict[str, Any] = dict.fromkeys(
        ("info", "run", "health", "price_decimals", "seed_closes"), lambda self: None
    )
    assert isinstance(type("Whole", (), members)(), Feed)
    del members[member]
    assert not isinstance(type("Part", (), members)(), Feed)
