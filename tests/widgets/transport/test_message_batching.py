"""A frame's updates in one message."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.transport.bqplot_marks import LinearScale, Lines, bqplot
from pairlab.widgets.transport.message_batching import bundled
from tests.widgets.conftest import Wire


class Carrier:
    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, Any], list[Any]]] = []

    def send(self, content: dict[str, Any], buffers: list[Any]) -> None:
        self.sent.append((content, buffers))


@pytest.fixture
def line() -> Lines:
    return Lines(x=[], y=[], scales={"x": LinearScale(), "y": LinearScale()})


def test_updates_of_several_widgets_are_one_message(line: Lines) -> None:
    carrier, scale = Carrier(), line.scales["y"]
    with bundled(carrier):
        set_traits(line, x=np.arange(3.0), y=np.array([1.0, 4.0, 9.0]))
        set_traits(scale, min=0.0, max=9.0)
        assert carrier.sent == []
    [(content, buffers)] = carrier.sent
    first, second = content["updates"]
    assert [first["id"], second["id"]] == [line.model_id, scale.model_id]
    assert second["state"] == {"min": 0.0, "max": 9.0}
    assert second["buffers"] == 0
    assert first["buffers"] == len(buffers) == 2
    sent = {path[0]: np.frombuffer(b) for path, b in zip(first["paths"], buffers, strict=True)}
    assert sent["x"].tolist() == [0.0, 1.0, 2.0]
    assert sent["y"].tolist() == [1.0, 4.0, 9.0]


def test_nothing_new_is_no_message(line: Lines) -> None:
    carrier = Carrier()
    with bundled(carrier):
        set_traits(line, x=[], y=[])
    assert carrier.sent == []


def test_what_was_set_before_an_error_is_sent(line: Lines) -> None:
    carrier = Carrier()

    def break_off() -> None:
        with bundled(carrier):
            set_traits(line.scales["x"], min=-1.0)
            raise RuntimeError("it broke")

    with pytest.raises(RuntimeError, match="broke"):
        break_off()
    assert [u["state"] for u in carrier.sent[0][0]["updates"]] == [{"min": -1.0}]
    with bundled(carrier):
        set_traits(line.scales["x"], min=-2.0)
    assert len(carrier.sent) == 2


def test_another_thread_speaks_for_itself(line: Lines) -> None:
    carrier = Carrier()
    with bundled(carrier):
        other = threading.Thread(target=lambda: set_traits(line.scales["x"], min=-1.0))
        other.start()
        other.join()
    assert carrier.sent == []


STATES = [
    {"x": np.arange(3, dtype=np.float32), "y": np.array([1.0, np.nan, 9.0])},
    {"x": np.arange(3, dtype=np.float32), "y": np.array([1.0, 2.0, 9.0])},
    {"x": np.arange(3, dtype=np.float32), "y": np.array([1.0, 2.0, 9.0])},  # nothing new
    {"x": np.arange(2.0), "y": np.arange(4.0)[::2]},  # not contiguous
    {"x": np.arange(2.0), "y": np.ones((2, 2)), "stroke_width": 1.0},
    {"x": [], "y": []},
    {"x": [], "y": [], "visible": False},  # a flag: the ordinary way
    {"stroke_width": 1.5},
]


def test_what_is_put_goes_over_the_wire_as_if_it_had_been_set(wire: Wire, line: Lines) -> None:
    ours = line
    plain = bqplot.Lines(x=[], y=[], scales=line.scales)
    wire.take()
    for state in STATES:
        set_traits(ours, **state)
        with plain.hold_sync():
            for name, value in state.items():
                setattr(plain, name, value)
        sent: dict[str, list[Any]] = {}
        for m in wire.take():
            parts = dict(zip(map(tuple, m["data"]["buffer_paths"]), m["buffers"], strict=True))
            raw = {at: np.asarray(part).tobytes() for at, part in parts.items()}
            sent.setdefault(m["id"], []).append((m["data"]["state"], raw))
        assert sent.get(ours.model_id) == sent.get(plain.model_id), state
        assert ours.stroke_width == plain.stroke_width
        np.testing.assert_array_equal(ours.y, plain.y)


def test_an_observer_hears_what_is_put(line: Lines) -> None:
    heard: list[Any] = []
    scale = line.scales["y"]
    scale.observe(lambda change: heard.append(change["new"]), "min")
    set_traits(scale, min=3.0)
    assert heard == [3.0]


def test_what_is_closed_is_set_and_says_nothing(wire: Wire, line: Lines) -> None:
    line.close()
    wire.take()
    set_traits(line, x=np.arange(2.0), y=np.arange(2.0))
    assert line.x.tolist() == [0.0, 1.0]
    assert wire.take() == []
