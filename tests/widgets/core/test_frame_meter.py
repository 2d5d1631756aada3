"""When frames are due."""

import pytest

from pairlab.widgets.core.frame_meter import next_frame_s


def test_frames_come_on_a_beat_that_painting_does_not_delay() -> None:
    due_s = now_s = 10.0
    for _ in range(50):  # five a second, each painted in 30 ms, and begun up to 5 ms late
        now_s = due_s + 0.005 + 0.03
        due_s = next_frame_s(due_s, now_s, 0.03, 5.0, 4.0)
    assert due_s == pytest.approx(20.0)
    # Painting that takes long leaves the loop four fifths of its time, and catches up nothing.
    late_s = next_frame_s(due_s, due_s + 0.1, 0.1, 5.0, 4.0)
    assert late_s == pytest.approx(due_s + 0.1 + 0.4)
    assert next_frame_s(due_s, due_s + 3.0, 0.001, 5.0, 4.0) == pytest.approx(due_s + 3.004)
