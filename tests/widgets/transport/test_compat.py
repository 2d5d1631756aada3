"""Without the private names of its dependencies the dashboard is slower, and looks the same."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from bqplot.traits import array_to_json
from ipywidgets import Widget

from pairlab.widgets.core.widget_utils import set_traits, tree
from pairlab.widgets.transport import compat
from pairlab.widgets.transport.bqplot_marks import LinearScale, Lines, Scatter, numbers_to_json
from tests.widgets.conftest import MakeLab, Wire, settled


@pytest.fixture(params=[True, False], ids=["direct", "plain"])
def direct(request: Any, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Use the private names, or do without."""
    assert compat.direct_updates  # of the releases that are installed
    monkeypatch.setattr(compat, "direct_updates", request.param)
    return bool(request.param)


async def test_the_dashboard_paints(running_lab: MakeLab, wire: Wire, direct: bool) -> None:
    async with running_lab(rows=200) as lab:
        loop, parts = lab.dashboard().render_loop, lab.dashboard().parts
        loop.channel.widget._handle_custom_msg({"page": "page", "shows": ["*"]}, [])
        await settled(lambda: loop.channel.pacer.answers, lab)
        wire.take()
        await lab.wait_async(lab.health().rows + 100, 30)
        loop.paint(due=True)
        batches = [m for m in wire.take() if m["data"].get("content", {}).get("updates")]
        assert bool(batches) == direct
        await lab.stop()
        assert parts["zscore"]._curve.y[-1] == lab.rows.view(1)["zscore"][0]
        assert not [e for e in lab.event_log if e.level == "error"]
        await asyncio.sleep(0)


def test_traits_are_sent_alike(wire: Wire, direct: bool) -> None:
    scale = LinearScale(min=0.0, max=1.0)
    dots = Scatter(x=[], y=[], scales={"x": scale, "y": scale})
    wire.take()
    set_traits(scale, min=0.5, max=2.0)
    set_traits(dots, x=np.array([1.0, 2.0]), y=np.array([3.0, 4.0]))
    set_traits(dots, x=np.array([1.0, 2.0]))  # nothing new
    states = [m["data"]["state"] for m in wire.take()]
    assert [set(state) for state in states] == [{"min", "max"}, {"x", "y"}]
    assert states[0] == {"min": 0.5, "max": 2.0}
    assert dots.y.tolist() == [3.0, 4.0]
    assert scale in set(tree(dots))


@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "int64", ">f8", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(0,), (7,), (3, 5)])
def test_numbers_travel_as_bqplot_writes_them(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    for values in (array, array[..., ::2]):
        try:
            expected = array_to_json(values)
        except ValueError as error:  # bool
            with pytest.raises(ValueError, match=str(error)):
                numbers_to_json(values)
            continue
        got = numbers_to_json(values)
        assert bytes(got.pop("value")) == bytes(expected.pop("value"))
        assert got == expected


@pytest.mark.parametrize(
    ("old", "new", "sent"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], True),
        ([1.0, 2.0, 3.0], [0.0, 2.0, 3.0], True),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], False),
        ([1.0], [], True),
        ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 5.0]], True),
        ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]], False),
    ],
)
def test_a_line_is_sent_where_any_point_differs(
    wire: Wire, direct: bool, old: list[Any], new: list[Any], sent: bool
) -> None:
    line = Lines(x=[], y=old, scales={"x": LinearScale(), "y": LinearScale()})
    wire.take()
    set_traits(line, y=np.array(new))
    assert bool(wire.take()) == sent
    assert line.y.tolist() == new


@pytest.mark.parametrize("name", ["_send", "_trait_values"])
def test_a_release_without_them_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    class Other:
        """As traitlets or ipywidgets might be one day."""

    assert compat._has_private_names()
    if name == "_send":
        monkeypatch.delattr(Widget, name)
    else:
        monkeypatch.setattr(compat, "HasTraits", Other)
    assert not compat._has_private_names()
