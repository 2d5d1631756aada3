"""A feed that says it is stalled: nothing is decided on the price of a leg that nobody sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from pairlab import PairLab
from pairlab.engine import compile_kernel
from pairlab.feeds.base import FeedHealth, FeedInfo, FeedState, TickSink
from pairlab.schema import NS_PER_S, TICK, AlertKind, Records, RowFlag

pytestmark = pytest.mark.usefixtures("no_task_left")

BEGIN_NS = 1_770_000_000 * NS_PER_S
WARM = 60  # seconds in which both legs trade


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    compile_kernel()


class OneLegStops:
    """A feed whose y stops trading while x goes on, and that says whatever a test wants."""

    info = FeedInfo("SCRIPT", real_money=False, stream="trade")

    def __init__(self) -> None:
        self.state: FeedState = "live"
        self.stalled_legs: int | None = None
        self.sink: TickSink | None = None
        self.opened = asyncio.Event()
        self.id = 0

    async def run(self, sink: TickSink) -> None:
        self.sink = sink
        self.opened.set()
        await asyncio.Event().wait()

    def health(self) -> FeedHealth:
        return FeedHealth(self.state, "as told", stalled_legs=self.stalled_legs)

    def price_decimals(self) -> None:
        return None

    async def seed_closes(self, timeframe: str, count: int) -> None:
        return None

    def trade(self, leg: int, at_s: float, price: float) -> None:
        self.id += 1
        tick: Records = np.zeros(1, TICK)
        time_ns = BEGIN_NS + int(at_s * NS_PER_S)
        tick[0] = (time_ns, time_ns, self.id, leg, price, 1.0, False)
        assert self.sink is not None
        self.sink.on_ticks(tick)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def with_a_position(feed: OneLegStops) -> PairLab:
    """Start a lab and open a position on the last tick that y trades."""
    lab = PairLab(feed=feed, window=50, hedge_ratio=1.0, entry_z=3.0, min_correlation=-1.0).start()
    await feed.opened.wait()
    await until(lambda: lab._pipeline.engine is not None)
    rng = np.random.default_rng(7)
    for second in range(WARM):
        feed.trade(1, second, 100.0 + rng.normal(0.0, 0.05))
        feed.trade(0, second + 0.5, 100.0 + rng.normal(0.0, 0.1))
    feed.trade(0, WARM, 101.0)
    assert [alert.kind for alert in lab.alert_log.alerts()] == [AlertKind.ENTRY]
    return lab


def x_follows(feed: OneLegStops, first_s: int, last_s: int) -> None:
    """Let x go where y went: with the old price of y "the spread is back"."""
    for second in range(first_s, last_s):
        feed.trade(1, second, 101.0)


@pytest.mark.parametrize("names_legs", [False, True])
async def test_no_exit_on_the_price_of_a_stalled_leg(names_legs: bool) -> None:
    feed = OneLegStops()
    lab = await with_a_position(feed)
    feed.state, feed.stalled_legs = "stalled", 1 if names_legs else None
    await until(lambda: lab._runner._stalled.active)
    rows = lab.health().rows
    x_follows(feed, WARM + 11, WARM + 60)
    assert lab.health().rows == rows
    assert [alert.kind for alert in lab.alert_log.alerts()] == [AlertKind.ENTRY]
    assert [e.message for e in lab.event_log if e.level == "warning"] == [
        "BTCUSDT: the stream is stalled; there are no rows until it trades again"
    ]
    # It trades again, and had moved on: what was open is still open, and decided on what is seen.
    feed.trade(0, WARM + 61, 102.2)
    assert lab.health().rows == rows + 1
    assert lab.rows.view(1)["flags"][0] & RowFlag.GAP_BEFORE
    assert [alert.kind for alert in lab.alert_log.alerts()] == [AlertKind.ENTRY]
    feed.state, feed.stalled_legs = "live", None
    await until(lambda: not lab._runner._stalled.active)
    feed.trade(0, WARM + 62, 101.0)
    kinds = [alert.kind for alert in lab.alert_log.alerts()]
    assert kinds == [AlertKind.ENTRY, AlertKind.EXIT]
    await lab.stop()


@pytest.mark.parametrize(
    ("state", "stalled_legs"), [("live", None), ("live", 0), ("stalled", 0), ("reconnecting", None)]
)
async def test_a_leg_that_did_not_trade_was_seen(
    state: FeedState, stalled_legs: int | None
) -> None:
    feed = OneLegStops()
    lab = await with_a_position(feed)
    feed.state, feed.stalled_legs = state, stalled_legs
    await until(lambda: lab.health().state == state)
    await asyncio.sleep(0.3)  # a heartbeat
    x_follows(feed, WARM + 60, WARM + 80)
    kinds = [alert.kind for alert in lab.alert_log.alerts()]
    assert kinds == [AlertKind.ENTRY, AlertKind.EXIT]
    await lab.stop()


async def test_a_stalled_leg_within_the_age_limit_still_counts() -> None:
    feed = OneLegStops()
    lab = await with_a_position(feed)
    feed.state = "stalled"
    await until(lambda: lab._runner._stalled.active)
    rows = lab.health().rows
    x_follows(feed, WARM + 1, WARM + 30)
    assert lab.health().rows == rows + 9
    assert lab.rows.view(1)["y_age_s"][0] < 10.0
    await lab.stop()
