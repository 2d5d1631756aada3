"""One leg's stream stalls while the other goes on: REST is asked, and nothing is made up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pairlab.feeds.sequencing import gap_filler
from tests.feeds.scripted import Catcher, Market, local, nothing_more, playing, quick, running

pytestmark = [pytest.mark.usefixtures("no_task_left"), pytest.mark.slow]  # real timeouts

Y, X = 0, 1
STALLING = quick(idle_min_s=0.8, idle_busy_s=0.9, rest_s=2.0, repair_s=2.0)


class LegCatcher(Catcher):
    """Is told whose trades are missing."""

    def __init__(self) -> None:
        super().__init__()
        self.legs: list[tuple[int, int]] = []  # (ticks before it, legs)

    def on_leg_gap(self, missing: int, legs: int) -> None:
        self.legs.append((self.count, legs))


@pytest.fixture(autouse=True)
def _polls_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gap_filler, "_STALL_POLL_S", 0.2)
    monkeypatch.setattr(gap_filler, "_MAX_STALL_POLL_S", 0.4)


class Stall:
    """Withholds y from every connection, once it is told to."""

    def __init__(self) -> None:
        self.on = False

    def __call__(self, connection: int, leg: int, number: int) -> bool:
        return self.on and leg == Y


def said(catcher: Catcher, words: str) -> Callable[[], bool]:
    return lambda: any(words in entry.message for entry in catcher.log)


async def test_what_a_stalled_leg_trades_comes_from_rest_in_order() -> None:
    stall = Stall()
    async with playing(nothing_more) as script, Market(script, frozen=stall).trading():
        feed = local(script, timeouts=STALLING)
        async with running(feed) as catcher:
            await catcher.until(lambda: feed.health().state == "live" and catcher.count > 50)
            stall.on = True
            before = len(catcher.ids(Y))
            await catcher.until(said(catcher, "stalled"))
            await catcher.until(lambda: len(catcher.ids(Y)) > before)
            caught_up = catcher.count
            await catcher.until(lambda: len(catcher.ids(Y)) > before + 150)
            stall.on = False
            await catcher.until(said(catcher, "data resumed"))
            resumed = len(catcher.ids(X))
            await catcher.until(lambda: len(catcher.ids(X)) > resumed + 50)
    for leg in (Y, X):
        ids = catcher.ids(leg)
        assert ids == [*range(ids[0], ids[-1] + 1)]
    # From when the stall was known no trade of x came with a price of y that was not y's own then.
    order = [(t["time_ns"], t["leg"]) for t in catcher.ticks[caught_up:]]
    assert order == sorted(order)
    assert feed.health().gaps == 0
    assert catcher.gaps == []


async def test_a_stalled_leg_that_rest_cannot_tell_of_is_marked_once() -> None:
    def rest(path: str, query: dict[str, str]) -> tuple[int, bytes] | None:
        down = stall.on and path.endswith("aggTrades")
        return (503, b"") if down else None

    stall = Stall()
    async with playing(nothing_more, rest=rest) as script, Market(script, frozen=stall).trading():
        feed = local(script, timeouts=STALLING)
        catcher = LegCatcher()
        async with running(feed, catcher):
            await catcher.until(lambda: feed.health().state == "live" and catcher.count > 50)
            stall.on = True
            await catcher.until(lambda: bool(catcher.legs))
            marked = catcher.legs[0][0]
            await catcher.until(lambda: catcher.count > marked + 200)
            assert catcher.legs == [(marked, 1 << Y)]
            # What was held back while REST was asked came after the mark.
            assert set(catcher.ticks[marked:]["leg"]) == {X}
            assert said(catcher, "cannot tell whether BTCUSDT traded")()
            stall.on = False
            before = len(catcher.ids(Y))
            await catcher.until(lambda: len(catcher.ids(Y)) > before)
    ids = catcher.ids(X)
    assert ids == [*range(ids[0], ids[-1] + 1)]


async def test_a_leg_whose_market_is_quiet_too_holds_nothing_back() -> None:
    stall = Stall()

    async with playing(nothing_more) as script, Market(script, frozen=stall).trading():
        feed = local(script, timeouts=STALLING)
        catcher = LegCatcher()
        async with running(feed, catcher):
            await catcher.until(lambda: feed.health().state == "live" and catcher.count > 50)
            stall.on = True
            script.rest = lambda path, query: (
                (200, b"[]") if query.get("symbol") == "BTCUSDT" and "aggTrades" in path else None
            )
            await catcher.until(said(catcher, "stalled"))
            before = len(catcher.ids(X))
            await catcher.until(lambda: len(catcher.ids(X)) > before + 150)
            assert catcher.legs == []
            assert feed.health().state == "stalled"
