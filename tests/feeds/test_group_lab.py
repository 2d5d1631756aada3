"""Several labs on one group of feeds."""

from __future__ import annotations

import pytest

from pairlab import PairLab
from pairlab.feeds import FeedGroup
from pairlab.local_exchange import LocalExchange
from tests.feeds.many import markets, pairs

pytestmark = pytest.mark.usefixtures("no_task_left")


async def test_labs_share_a_connection_and_end_one_by_one() -> None:
    (first, base), (second, _) = pairs(2)
    async with LocalExchange(markets(2, 200.0, begins=[first, second, base])) as exchange:
        group = FeedGroup(url=exchange.url)
        one = PairLab(first, base, feed=group.pair(first, base), hedge="ols")
        two = PairLab(second, base, feed=group.pair(second, base), hedge="ols")
        async with one, two:
            await one.wait_async(100, 150)
            await two.wait_async(100, 150)
            stats = exchange.stats()
            assert (stats.connections, stats.streams) == (1, 3)
            assert (one.health().state, two.health().state) == ("live", "live")
            assert one.health().feed == group.pair(first, base).name
            await one.stop()
            rows = len(two.history())
            await two.wait_async(rows + 100, 60)
            assert (one.health().state, two.health().state) == ("stopped", "live")
            assert exchange.stats().streams == 2
            assert group.health().detail == "one pair is live"
        assert group.connections() == ()
    assert len(one.history()) >= 100
