"""A lab is shown by what it has, not by what it is."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from pairlab import PairLab
from pairlab.protocols import LabView

WIDGETS = Path(__file__).parents[1] / "pairlab" / "widgets"
MEMBERS = {name for name in vars(LabView) if not name.startswith("_")}


def test_a_live_lab_can_be_shown() -> None:
    lab: LabView = PairLab(feed="demo")  # mypy checks the types where `dashboard` passes itself
    assert isinstance(lab, LabView)
    for name in MEMBERS:
        wanted, has = vars(LabView)[name], getattr(lab, name)
        if callable(wanted):
            names = list(inspect.signature(wanted).parameters)[1:]
            assert list(inspect.signature(has).parameters) == names, name


def test_widgets_use_nothing_of_a_lab_but_the_protocol_and_all_of_that() -> None:
    used = set()
    # The parts of a report show a `ResultLab`, which has equity and trades besides.
    for path in (p for p in WIDGETS.rglob("*.py") if p.parent.name != "report"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = node.value
                name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                if name in ("lab", "_lab"):
                    used.add(node.attr)
    assert used == MEMBERS
