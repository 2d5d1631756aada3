"""From trades lost on the wire to a gap in a lab's rows, with nothing in between replaced."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pairlab import PairLab
from pairlab.feeds import FeedGroup
from pairlab.feeds.base import Feed
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.local_exchange import LocalExchange
from pairlab.local_exchange.server.faults import Fault, Faults
from pairlab.schema import Pair, RowFlag
from tests.ahead import Ahead
from tests.feeds.scripted import quick

pytestmark = pytest.mark.usefixtures("no_task_left")

PAIR = Pair("BTCUSDT", "ETHUSDT")
LOST = 3


def by_url(url: str) -> str:
    """What `PairLab` opens by itself."""
    return url


def given(url: str) -> Feed:
    return BinanceFeed(PAIR, stream="trade", url=url)


def of_a_group(url: str) -> Feed:
    return FeedGroup(stream="trade", url=url).pair(*PAIR)


def asked_in_vain(url: str) -> Feed:
    """A stream whose trades REST could bring, if it had them: they are given up in the end."""
    return BinanceFeed(PAIR, stream="aggTrade", url=url, timeouts=quick(repair_s=0.1))


async def lose(lab: PairLab, exchange: LocalExchange) -> int:
    """Keep a few trades of y from the lab; return the id of the first one after them."""
    stream = f"btcusdt@{lab.stream}"
    await exchange.inject(Fault("gap", stream=stream, count=LOST)).wait()
    while len(gone := exchange.faults.removed.get(stream, [])) < LOST:
        await lab.wait_async(lab.health().rows + 1, 30)
    assert gone == [*range(gone[0], gone[0] + LOST)]
    return gone[-1] + 1


def ticks_after_gaps(lab: PairLab) -> list[tuple[str, int]]:
    """Return symbol and id of the tick of each row that says that trades are missing before it."""
    rows, ticks = lab.rows.view(), lab.ticks()
    ticks = ticks.iloc[len(ticks) - len(rows) :]  # one row a tick, once both legs have a price
    # A leg that was held back brings older trades: its rows keep the time that was reached.
    reached_ns = np.maximum.accumulate(ticks.index.as_unit("ns").asi8)
    assert (reached_ns == rows["time_ns"]).all()
    marked = ticks[(rows["flags"] & RowFlag.GAP_BEFORE) != 0]
    return list(zip(marked["symbol"], marked["id"], strict=True))


@pytest.mark.parametrize("source", [by_url, given, of_a_group, asked_in_vain])
async def test_trades_that_stay_lost_are_a_gap_in_the_rows(
    source: Callable[[str], str | Feed],
) -> None:
    faults = Faults({Fault("rest_empty", path="aggTrades"): 1.0})
    stream = None if source is asked_in_vain else "trade"
    async with (
        LocalExchange(Ahead(200, seed=11, rate_per_s=1_000), faults=faults) as exchange,
        PairLab(*PAIR, feed=source(exchange.url), stream=stream, window=20) as lab,
    ):
        await lab.wait_async(200, 60)
        assert ticks_after_gaps(lab) == []
        first = await lose(lab, exchange)
        while not lab.health().gaps:
            await lab.wait_async(lab.health().rows + 1, 30)
        await lab.wait_async(lab.health().rows + 50, 30)
        health = lab.health()
    assert (health.gaps, health.missing) == (1, LOST)
    assert ticks_after_gaps(lab) == [("BTCUSDT", first)]
    assert "trades are missing" in "".join(e.message for e in lab.event_log if e.level != "info")


async def test_trades_that_rest_brings_are_no_gap() -> None:
    async with (
        LocalExchange(Ahead(200, seed=11, rate_per_s=1_000), faults=Faults()) as exchange,
        PairLab(*PAIR, feed=exchange.url, window=20) as lab,
    ):
        await lab.wait_async(200, 60)
        await lose(lab, exchange)
        while not lab._runner._feed.health().repaired:
            await lab.wait_async(lab.health().rows + 1, 30)
        await lab.wait_async(lab.health().rows + 50, 30)
        health = lab.health()
    assert (health.gaps, health.missing) == (0, 0)
    assert ticks_after_gaps(lab) == []
    ids = lab.ticks().groupby("symbol", observed=True)["id"]
    assert all((np.diff(of_leg) == 1).all() for _, of_leg in ids)
