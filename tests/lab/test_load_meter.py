"""`LoadMeter`: the loop's own lateness, and nothing else."""

from __future__ import annotations

from pairlab.lab.load_meter import LoadMeter


class Clock:
    now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def time_ns(self) -> int:
        return round(self.now_s * 1e9)


def test_only_the_sleep_counts_as_lateness() -> None:
    clock = Clock()
    meter = LoadMeter(clock, 0.25)
    meter.start(0)
    clock.now_s += 30.0  # a recording was opened, a replaced lab closed
    before_s = clock.now_s
    clock.now_s += 0.25
    assert meter.sample(100, before_s) == clock.now_s
    assert meter.loop_lag_s == 0.0
    before_s = clock.now_s
    clock.now_s += 1.25
    meter.sample(600, before_s)
    assert meter.loop_lag_s == 1.0
    assert meter.uptime_s == 31.5


def test_the_rate_is_of_the_last_two_seconds() -> None:
    clock = Clock()
    meter = LoadMeter(clock, 0.25)
    assert meter.ticks_per_s == 0.0
    meter.start(0)
    ticks = 0
    for rate in [0] * 40 + [400] * 8:
        before_s = clock.now_s
        clock.now_s += 0.25
        ticks += rate // 4
        meter.sample(ticks, before_s)
    assert meter.ticks_per_s == 400.0
