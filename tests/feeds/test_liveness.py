"""Who is silent, and who is only blocked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairlab.feeds.config import Timeouts
from pairlab.feeds.connection.liveness import LoopGauge, StreamRate


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_free_loop_s_time_is_all_awake() -> None:
    clock = Clock()
    gauge = LoopGauge(0.2, 1.0, clock=clock)
    for _ in range(10):
        clock.now += 0.25
        assert gauge.tick() == (pytest.approx(0.25), 0.0)
    assert gauge.lag_s() == pytest.approx(0.05)


def test_what_a_cell_took_is_not_awake_time() -> None:
    clock = Clock()
    gauge = LoopGauge(0.2, 1.0, clock=clock)
    clock.now += 60.0
    assert gauge.lag_s() == pytest.approx(59.8)  # seen while it lasts, too
    awake_s, blocked_s = gauge.tick()
    assert awake_s == 0.2
    assert blocked_s == pytest.approx(59.8)
    clock.now += 0.2
    assert gauge.tick()[1] == 0.0
    assert gauge.lag_s() == pytest.approx(59.8)
    clock.now += 10.5
    gauge.tick()
    clock.now += 0.2
    gauge.tick()
    assert gauge.lag_s() < 11


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=200))
def test_the_worst_lag_of_ten_seconds_is_exact(pauses: list[float]) -> None:
    clock = Clock()
    gauge = LoopGauge(0.2, 1.0, clock=clock)
    seen = []
    for pause_s in pauses:
        clock.now += pause_s
        gauge.tick()
        seen.append((clock.now, max(0.0, pause_s - 0.2)))
        worst = max(late for at, late in seen if at >= clock.now - 10.0)
        assert gauge.lag_s() == pytest.approx(worst, abs=1e-6)


def learned(per_s: float, seconds: float = 300.0) -> StreamRate:
    rate = StreamRate(Timeouts())
    due = 0.0
    for _ in range(int(seconds / 0.2)):
        due += per_s * 0.2
        rate.learn(int(due), 0.2)
        due -= int(due)
    return rate


@pytest.mark.parametrize(
    ("per_s", "limit_s"),
    [
        (1000.0, 5.0),
        (10.0, 5.0),
        (3.0, 20 / 3),
        (2.0, 10.0),
        (1.5, 10.0),
        (0.5, 40.0),
        (0.1, 200.0),
    ],
)
def test_patience_follows_the_stream_s_own_rate(per_s: float, limit_s: float) -> None:
    rate = learned(per_s)
    assert rate.per_s == pytest.approx(per_s, rel=0.1)
    assert rate.idle_limit_s == pytest.approx(limit_s, rel=0.1)


def test_a_rare_stream_s_patience_has_an_end() -> None:
    assert learned(0.01, 3000.0).idle_limit_s == 300.0


def test_silence_does_not_make_a_stream_look_slow() -> None:
    rate = learned(50.0)
    before = rate.idle_limit_s
    for _ in range(600):
        rate.learn(0, 0.2)
    assert rate.idle_limit_s == before
    assert rate.per_s == pytest.approx(50.0, rel=0.1)


def test_more_than_one_message_a_second_never_waits_longer_than_ten_seconds() -> None:
    for per_s in (1.05, 1.2, 2.0, 5.0, 100.0):
        assert learned(per_s).idle_limit_s <= 10.0
