"""Who is silent, and who is only blocked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairlab.feeds.config import Timeouts
from pairlab.feeds.connection import liveness
from pairlab.feeds.connection.liveness import (
    LoopGauge,
    StreamRate,
    SuspendGauge,
    why_blocked,
)


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


def test_what_the_caller_awaits_between_two_waits_is_no_block() -> None:
    gauge = LoopGauge(0.2, 1.0, now_s=100.0)
    gauge.tick(100.2)
    gauge.rest(105.0)  # a ping to a peer that does not read: the loop was free
    assert gauge.tick(105.2) == (pytest.approx(5.0), 0.0)
    assert gauge.recent_block_s(105.2) == 0.0
    gauge.rest(106.0)
    awake_s, blocked_s = gauge.tick(109.2)
    assert (awake_s, blocked_s) == (pytest.approx(1.0), pytest.approx(3.0))


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


def test_a_block_without_processor_time_is_idle_and_one_with_it_is_not() -> None:
    gauge = LoopGauge(0.2, 1.0, now_s=0.0)
    gauge.rest(0.0, cpu_s=5.0)
    gauge.tick(10.2, cpu_s=5.01)
    assert gauge.idle_block
    assert "stopped (SIGSTOP" in why_blocked(10.0, 99.0, idle=gauge.idle_block)
    gauge.rest(10.2, cpu_s=5.01)
    gauge.tick(20.4, cpu_s=14.0)
    assert not gauge.idle_block
    assert why_blocked(10.0, 99.0) == "a cell kept the notebook busy for 10.0 s"


def test_a_cell_that_waited_is_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    run = 3
    monkeypatch.setattr(liveness, "cells_run", lambda: run)
    gauge = LoopGauge(0.2, 1.0, now_s=0.0)
    gauge.rest(0.0, cpu_s=5.0)
    run = 4
    gauge.tick(10.2, cpu_s=5.0)
    assert not gauge.idle_block


def test_a_suspended_machine_is_told_once_and_the_jitter_of_two_clocks_never() -> None:
    total_s = iter([50.0, 50.001, 49.999, 3_650.0, 3_650.0])
    gauge = SuspendGauge(lambda: next(total_s))
    assert [round(gauge.read()) for _ in range(4)] == [0, 0, 3600, 0]
