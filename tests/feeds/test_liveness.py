"""Who is silent, and who is only blocked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairlab.feeds.config import Timeouts
from pairlab.feeds.connection.liveness import LoopGauge, StreamRate


def test_a_free_loop_s_time_is_all_awake() -> None:
    gauge = LoopGauge(0.2, 1.0, now_s=100.0)
    for n in range(1, 11):
        assert gauge.tick(100.0 + n * 0.25) == (pytest.approx(0.25), 0.0)
    assert gauge.lag_max_s(102.5) == pytest.approx(0.05)
    assert gauge.recent_block_s(102.5) == 0.0


def test_what_a_cell_took_is_not_awake_time() -> None:
    gauge = LoopGauge(0.2, 1.0, now_s=100.0)
    assert gauge.lag_max_s(160.0) == pytest.approx(59.8)  # seen while it lasts, too
    awake_s, blocked_s = gauge.tick(160.0)
    assert awake_s == 0.2
    assert blocked_s == pytest.approx(59.8)
    assert gauge.tick(160.2)[1] == 0.0
    assert gauge.lag_max_s(160.2) == pytest.approx(59.8)
    assert gauge.recent_block_s(170.0) == pytest.approx(59.8)
    gauge.tick(170.7)
    gauge.tick(170.9)
    assert gauge.lag_max_s(170.9) < 11
    assert gauge.recent_block_s(171.0) == pytest.approx(10.3)


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=200))
def test_the_worst_lag_of_ten_seconds_is_exact(pauses: list[float]) -> None:
    now_s = 100.0
    gauge = LoopGauge(0.2, 1.0, now_s=now_s)
    seen = []
    for pause_s in pauses:
        now_s += pause_s
        gauge.tick(now_s)
        seen.append((now_s, max(0.0, pause_s - 0.2)))
        worst = max(late for at, late in seen if at >= now_s - 10.0)
        assert gauge.lag_max_s(now_s) == pytest.approx(worst, abs=1e-6)


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
