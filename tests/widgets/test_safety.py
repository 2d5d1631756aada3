"""Text from outside is shown as text; what breaks is told, and everything else lives on."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from ipywidgets import HTML, HTMLMath, Label

from pairlab import PairLab
from pairlab.errors import SettingError
from pairlab.schema import Pair
from pairlab.widgets import Dashboard
from pairlab.widgets.core.render_loop import RenderLoop
from pairlab.widgets.core.widget_utils import tree
from tests.widgets.conftest import MakeLab, settled
from tests.widgets.strip.test_status_bar import text

EVIL = '<img src=x onerror="window.hacked=1">&amp;\'"<script>window.hacked=1</script>'
ALLOWED = {
    "b", "br", "div", "dl", "dt", "dd", "h2", "h3", "i", "p", "path", "circle", "rect", "line",
    "small", "s", "span", "style", "svg", "table", "td", "th", "tr", "g", "kbd", "ul", "li",
    "tbody", "thead",
}  # fmt: skip


class _Tags(HTMLParser):
    """Every tag and attribute that a browser would make of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def _printed(roots: list[Any]) -> Iterator[tuple[Any, str, str]]:
    """Every string that a browser reads as HTML."""
    for widget in tree(roots):
        if isinstance(widget, HTML | HTMLMath | Label):
            yield widget, "value", widget.value
        if getattr(widget, "description_allow_html", False):
            yield widget, "description", widget.description
            yield widget, "tooltip", str(widget.tooltip)


def _check(roots: list[Any]) -> int:
    seen = 0
    for widget, name, value in _printed(roots):
        found = _Tags()
        found.feed(value)
        where = f"{type(widget).__name__}.{name} of {widget._dom_classes}: {value[:300]}"
        assert found.tags <= ALLOWED, where
        acts = {a for a in found.attributes if a.startswith("on") or a in ("href", "src")}
        assert not acts, where
        seen += 1
    return seen


def _hostile(lab: PairLab) -> None:
    object.__setattr__(lab, "pair", Pair(f"{EVIL}Y", f"{EVIL}X"))
    lab._runner._name = EVIL
    lab.log("error", EVIL)


async def test_html_in_symbols_messages_and_settings_is_text_in_every_part(
    running_lab: MakeLab,
) -> None:
    async with running_lab(rows=400, window=30, min_correlation=-1.0, entry_z=1.0) as lab:
        await settled(lambda: len(lab.alert_log.alerts()) > 4, lab, 30)
        await lab.stop()
        _hostile(lab)
        dashboard = Dashboard(lab, layout="wide")
        dashboard.render_loop.paint(due=True)
        # settings cannot hold it: they refuse, and the refusal is a message like any other
        with pytest.raises(SettingError) as refused:
            lab.settings.hedge = EVIL
        lab.log("warning", str(refused.value))
        lab._runner._state = type(lab._runner._state)("failed", f"HTTP {EVIL}")
        dashboard.render_loop.paint(due=True)
        assert _check([dashboard]) > 20
        assert "<img" in text(dashboard.parts["event"]._event.value)  # as text
        for name in ("strip", "signal", "prices"):
            shown = " ".join(v for w, n, v in _printed([dashboard.parts[name]]) if n == "value")
            assert "&lt;img" in shown, name
        dashboard.close()


async def test_each_part_alone_shows_html_as_text(running_lab: MakeLab) -> None:
    import pairlab.widgets as widgets

    async with running_lab(rows=200, window=30, min_correlation=-1.0, entry_z=1.0) as lab:
        await lab.stop()
        _hostile(lab)
        for name in set(widgets.__all__) - {"apply_theme", "dress"}:
            part = getattr(widgets, name)(lab)
            RenderLoop.of(lab).paint(due=True)
            _check([part])
            part.close()


async def test_a_part_that_breaks_is_told_and_the_others_go_on(
    running_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_lab(rows=100) as lab:
        dashboard = lab.dashboard()
        parts, screen = dashboard.parts, dashboard.render_loop

        def broken(frame: Any) -> None:
            raise RuntimeError(f"cannot draw {EVIL}")

        monkeypatch.setattr(parts["strip"], "paint", broken)
        monkeypatch.setattr(parts["zscore"], "paint", broken)
        before = parts["rows"]._body.value
        await settled(lambda: parts["rows"]._body.value != before, lab, 30)
        said = [e.message for e in lab.event_log if e.level == "error"]
        assert len(said) == 2  # once each, not with every frame
        assert said[0].startswith("StatusBar could not paint: RuntimeError: cannot draw")
        assert said[1].startswith("ZScoreChart could not paint")
        assert "run the cell again" in said[0]
        assert "could not paint" in text(parts["event"]._event.value)
        assert lab.health().state == "live"
        monkeypatch.undo()
        screen.paint(due=True)
        assert "running" in text(parts["strip"]._cells["feed"].value)


async def test_a_request_that_breaks_is_told(
    running_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_lab(rows=80) as lab:
        parts = lab.dashboard().parts

        def broken(paused: bool) -> None:
            raise RuntimeError("no pause today")

        monkeypatch.setattr(lab.dashboard().render_loop.view, "pause", broken)
        parts["strip"]._pause.click()
        await settled(lambda: any(e.level == "error" for e in lab.event_log), lab)
        assert "no pause today" in lab.event_log[-1].message
        assert "try again" in lab.event_log[-1].message
        assert lab.health().state == "live"


@pytest.mark.parametrize("piece", ["engine.update", "rows.append", "alert_log.add"])
async def test_a_broken_pipeline_is_told_and_stream_and_screen_live_on(
    running_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, piece: str
) -> None:
    async with running_lab(rows=100, entry_z=0.5, exit_z=0.1, min_correlation=-1.0) as lab:
        dashboard, pipeline = lab.dashboard(), lab._pipeline
        owner, name = piece.split(".")

        def broken(*_: Any) -> None:
            raise RuntimeError(f"{EVIL} broke")

        monkeypatch.setattr(getattr(pipeline, owner), name, broken)
        await settled(lambda: any(e.level == "error" for e in lab.event_log), lab, 30)
        dashboard.render_loop.paint(due=True)
        shown = text(dashboard.parts["event"]._event.value)
        assert "ticks could not be processed: RuntimeError" in shown
        assert "if this repeats, stop and start the lab" in shown
        _check([dashboard])
        monkeypatch.undo()
        rows = dashboard.parts["rows"]._body
        before = rows.value
        await settled(lambda: rows.value != before, lab, 30)
        assert "running" in text(dashboard.parts["strip"]._cells["feed"].value)


async def test_a_task_that_breaks_fails_the_lab_in_words_and_a_start_mends_it(
    running_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_lab(rows=100) as lab:
        dashboard, rows = lab.dashboard(), len(lab.rows)

        def broken(*_: Any) -> None:
            raise RuntimeError(f"{EVIL} broke")

        monkeypatch.setattr(lab._pipeline, "rebuild_start", broken)
        lab.settings.window = 40  # its task finds the pipeline broken
        await settled(lambda: lab.health().state == "failed", lab, 30)
        monkeypatch.undo()
        dashboard.render_loop.paint(due=True)
        said = [e.message for e in lab.event_log if e.level == "error"]
        assert said[0].endswith("broke. Stop and start the lab to try again.")
        assert said[1].startswith("could not rebuild the metrics: RuntimeError")
        assert "start the lab to retry" in text(dashboard.parts["event"]._event.value)
        assert "FAILED" in text(dashboard.parts["strip"]._cells["feed"].value)
        _check([dashboard])
        assert len(lab.history()) >= rows  # what was gathered stays
        await lab.stop()
        lab.start()
        await lab.wait_async(lab.health().rows + 20, 60)
        await settled(lambda: lab.health().state == "live", lab, 30)
        dashboard.render_loop.paint(due=True)
        assert "running" in text(dashboard.parts["strip"]._cells["feed"].value)
        await settled(lambda: lab.latest().filled == 40, lab, 30)
