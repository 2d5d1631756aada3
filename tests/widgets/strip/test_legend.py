"""The legend knows every word that the dashboard uses for a number."""

from __future__ import annotations

from pairlab.schema import AlertKind
from pairlab.widgets.panels.strip.legend import TERMS, legend_panel
from tests.widgets.conftest import MakeLab

NAMES = {name for terms in TERMS.values() for name, _ in terms}


async def test_every_name_of_the_latest_row_and_the_feed_is_explained(
    running_lab: MakeLab,
) -> None:
    known = {word.strip() for name in NAMES for word in name.split(",")}
    async with running_lab(rows=100) as lab:
        lab.dashboard().parts["strip"]._opened = True
        lab.dashboard().render_loop.paint(due=True)
        shown = lab.dashboard().parts["latest"]._body.value
        named = {line.split("<")[0] for line in shown.split("<dt>")[1:]}
        assert len(named) > 10
        assert {"p" if name == "p-value" else name for name in named} <= known
        for cell in ("lag", "ages", "gaps"):
            caption = lab.dashboard().parts["strip"]._cells[cell].value
            assert caption.split(">")[1].split("<")[0] in known


def test_every_kind_of_alert_is_explained() -> None:
    text = legend_panel().children[0].value
    assert [kind.name for kind in AlertKind if kind.name not in text] == []
