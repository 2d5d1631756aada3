"""When recorded ticks are due, by a clock that the test moves."""

from __future__ import annotations

import numpy as np
import pytest

from pairlab.errors import SettingError
from pairlab.storage.replay.pace import Pace, PieceSize, check_speed

S = 10**9


class Hand:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.s = 100.0

    def monotonic_s(self) -> float:
        return self.s

    def time_ns(self) -> int:
        return int(self.s * S)


TIMES = np.array([0, 1, 1, 3, 10, 11]) * S


def test_ticks_are_due_when_the_recording_says_so_at_a_speed() -> None:
    clock = Hand()
    pace = Pace(clock, 2.0)
    pace.go_to(0)
    assert pace.due(TIMES, 100) == 1
    assert pace.delay_s(int(TIMES[1])) == 0.5
    clock.s += 0.5
    assert pace.due(TIMES, 100) == 3
    assert pace.due(TIMES, 2) == 2
    pace.set_speed(10.0)
    assert pace.now_ns == 1 * S  # from where it was
    clock.s += 0.2
    assert pace.due(TIMES[3:], 100) == 1
    pace.hold(True)
    clock.s += 1_000
    assert (pace.due(TIMES[4:], 100), pace.delay_s(int(TIMES[4]))) == (0, None)
    pace.hold(False)
    assert pace.now_ns == 3 * S
    pace.set_speed(float("inf"))
    assert pace.due(TIMES[4:], 100) == 2
    assert pace.due(TIMES[4:], 1) == 1


def test_what_a_blocked_loop_missed_is_not_rushed_through() -> None:
    clock = Hand()
    pace = Pace(clock, 1.0)
    pace.go_to(0)
    clock.s += 0.9
    assert pace.now_ns == pytest.approx(0.9 * S, abs=1e3)
    clock.s += 60.0  # a cell ran for a minute
    assert pace.due(TIMES[1:], 100) == 2  # the two at 1 s, and not those of the next minute
    clock.s += 1.5
    assert pace.due(TIMES[3:], 100) == 0


def test_pieces_grow_and_shrink_with_what_they_take() -> None:
    size = PieceSize()
    for _ in range(20):
        size.took(size.ticks, size.ticks * 0.1e-6)
    assert size.ticks == 20_000
    for _ in range(20):
        size.took(size.ticks, size.ticks * 1e-6)
    assert 2_000 <= size.ticks <= 5_000
    for _ in range(20):
        size.took(size.ticks, size.ticks * 100e-6)
    assert size.ticks == 256
    size.took(1, 5.0)  # a single tick says nothing
    assert size.ticks == 256


def test_what_is_no_speed() -> None:
    assert check_speed(3) == 3.0
    for wrong in (0, -1, float("nan"), None, "1", True):
        with pytest.raises(SettingError, match="speed"):
            check_speed(wrong)  # type: ignore[arg-type]
