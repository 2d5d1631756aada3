"""Request weights, connection attempts and the delays between them."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pairlab.feeds.rate_limit import ConnectThrottle, SlidingWindowLimiter, full_jitter


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic_s(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return round(self.now * 1e9)


@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 20), st.integers(1, 10)), min_size=1, max_size=100),
)
def test_no_window_ever_holds_more_than_its_limit(
    limit: int, asked: list[tuple[float, int]]
) -> None:
    clock = Clock()
    budget = SlidingWindowLimiter(limit, 60.0, clock=clock)
    spent: list[tuple[float, int]] = []
    for pause_s, weight in asked:
        clock.now += pause_s
        wait_s = budget.wait_s(weight)
        if budget.take(weight):
            assert wait_s == 0.0
            spent.append((clock.now, weight))
    for start, _ in spent:
        inside = sum(weight for at, weight in spent if start <= at < start + 60.0)
        assert inside <= max(limit, max(weight for _, weight in spent))


def test_waiting_as_told_is_enough() -> None:
    clock = Clock()
    budget = SlidingWindowLimiter(100, 60.0, clock=clock)
    for pause_s in (0.0, 10.0, 10.0, 10.0, 10.0):
        clock.now += pause_s
        assert budget.take(20)
    assert not budget.take(30)
    assert budget.wait_s(30) == 30.0  # two of the five have to leave
    clock.now += 30.0
    assert budget.take(30)


def test_the_exchange_s_own_count_is_adopted() -> None:
    budget = SlidingWindowLimiter(100, 60.0, clock=Clock())
    assert budget.take(20)
    budget.learn(95)
    assert not budget.take(10)
    budget.learn(10)
    assert budget.take(5)


async def test_spend_waits_until_there_is_room() -> None:
    budget = SlidingWindowLimiter(1, 0.05)
    await budget.spend(1)
    assert budget.wait_s(1) > 0
    await budget.spend(1)
    assert not budget.take(1)


def test_delays_grow_to_their_cap_and_are_spread_from_zero() -> None:
    runs = [list(itertools.islice(full_jitter(), 12)) for _ in range(400)]
    for n, limit in enumerate((1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30, 30)):
        drawn = [run[n] for run in runs]
        assert all(0 <= delay <= limit for delay in drawn)
        assert max(drawn) > limit * 0.95
        assert min(drawn) < limit * 0.05


def test_what_leaves_something_to_others_waits_for_it() -> None:
    budget = SlidingWindowLimiter(10, 60.0, clock=Clock())
    assert budget.take(5, reserve=5)
    assert not budget.take(1, reserve=5)
    assert budget.wait_s(1, reserve=5) == 60.0
    assert budget.take(5)
    assert not budget.take(1)


def test_a_pause_that_the_exchange_asks_for_holds_for_every_connection() -> None:
    clock = Clock()
    throttle = ConnectThrottle(2, clock=clock)
    assert throttle.wait_s() == 0.0
    throttle.pause(30.0)
    assert throttle.wait_s() == 30.0
    clock.now += 30.0
    assert throttle.wait_s() == 0.0
    assert throttle.limiter.take(1)
    assert throttle.limiter.take(1)
    assert throttle.wait_s() == 300.0
