"""Compositions: which parts, in what order, and that several of them cost one set of updates."""

from __future__ import annotations

import re

import pytest

from pairlab import PairLab
from pairlab.errors import SettingError
from pairlab.widgets import Dashboard
from pairlab.widgets.layouts import LAYOUTS, PARTS, TIMED, TRANSPORT, read_layout
from pairlab.widgets.style.stylesheet import stylesheet
from tests.widgets.conftest import MakeLab, Wire

OWN = ["strip", ["zscore", "settings"], ["spread", "correlation"]]


def test_every_part_is_in_a_named_layout_and_is_placed_by_the_style_sheet() -> None:
    assert set(LAYOUTS["wide"].parts) == {*PARTS} - {
        TRANSPORT,
        "what_if",
    }  # above the grid; asked for
    sheet = stylesheet()
    for part in LAYOUTS["wide"].parts:
        name = "status-bar" if part == "strip" else part
        assert re.search(rf"\.pairlab-grid > \.pairlab-{name} \{{ grid-area: {part};", sheet), part
    for areas in re.findall(r"grid-template-areas: ([^;]+);", sheet):
        assert set(re.findall(r"[a-z]+", areas)) <= set(PARTS)
        widths = {len(row.split()) for row in re.findall(r'"([^"]+)"', areas)}
        assert len(widths) == 1, areas


def test_a_composition_of_one_s_own_keeps_its_order() -> None:
    layout = read_layout(OWN)
    assert layout.rows == (("strip",), ("zscore", "settings"), ("spread", "correlation"))
    assert [name for name in TIMED if layout.labels_time(name)] == ["spread", "correlation"]
    assert [name for name in TIMED if read_layout("auto").labels_time(name)] == ["prices"]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("Auto", "'auto', 'compact', 'wide'"),
        ("zscore", r"did you mean 'zscore' as a row: \['zscore'\]"),
        ("", "expected 'auto'"),
        (["z-score"], "did you mean 'zscore'"),
        ([["strip", "zscore"], ["strip"]], "each part once"),
        ([], "at least one of"),
        ([[]], "at least one of"),
        (3, "rows of part names"),
        ([None], "rows of part names"),
        ([["<b>"]], "parts are strip"),
    ],
)
def test_what_is_no_layout_is_refused_in_words(spec: object, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        read_layout(spec)  # type: ignore[arg-type]


def test_a_refused_dashboard_leaves_nothing_behind(wire: Wire) -> None:
    lab = PairLab(feed="demo")
    for wrong in ({"layout": "tall"}, {"theme": "blue"}, {"frames_per_s": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Dashboard(lab, **wrong)  # type: ignore[arg-type]
    assert wire.open == set()


async def test_dashboards_of_one_lab_cost_one_set_of_updates(
    running_lab: MakeLab, wire: Wire
) -> None:
    async with running_lab() as lab:
        first = lab.dashboard()
        screen = first.render_loop
        await lab.stop()  # so that both pictures are of the same rows

        def cost() -> tuple[list[str], int]:
            """Return who is sent what when every chart moves, and the bytes of it."""
            for span_s in (20, 10, 20):
                wire.take()
                screen.view.span_s = span_s
                screen.paint(due=True)
            sent = wire.bytes()
            return sorted(message["id"] for message in wire.take()), sent

        alone = cost()
        others = [
            lab.dashboard("compact"),
            lab.dashboard("auto", "light"),
            lab.dashboard(["strip", ["settings", "prices"]], "jupyterlab"),
        ]
        assert len({*others, first}) == 4
        assert cost() == alone
        assert alone[1] > 1000
        # A chart that labels the time where another does not is another widget.
        lab.dashboard(["spread"])
        assert len(cost()[0]) > len(alone[0])


async def test_a_dashboard_closes_what_no_other_one_shows(running_lab: MakeLab, wire: Wire) -> None:
    async with running_lab() as lab:
        first = lab.dashboard()
        before = set(wire.open)
        other = lab.dashboard(["strip", "zscore"])
        assert other is not first
        assert other.parts["strip"] is first.parts["strip"]
        assert other.parts["zscore"] is not first.parts["zscore"]  # it labels the time itself
        assert lab.dashboard(("strip", ["zscore"])) is other
        other.close()
        assert wire.open == before
        assert all(part.comm is not None for part in first.parts.values())
        again = lab.dashboard(["strip", "zscore"])
        assert again is not other
        first.close()
        assert again.parts["strip"].comm is not None
        again.close()
        again.render_loop.close()
        assert wire.open == set()
