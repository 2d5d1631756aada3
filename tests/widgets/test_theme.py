"""The look: contrast that the design promises, and a style sheet that holds together."""

from __future__ import annotations

import re
from dataclasses import asdict

import pytest

from pairlab.ticks import AlertKind
from pairlab.widgets.chart import MARKERS
from pairlab.widgets.style import stylesheet
from pairlab.widgets.theme import DARK, LIGHT, Tokens, glyph, mask, var

TEXT = ("text", "text2", "muted", "z", "y", "x", "spread", "corr", "warn", "stop", "sim")


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [DARK, LIGHT])
def test_text_has_at_least_4_5_to_1_on_every_background(theme: Tokens) -> None:
    for token in TEXT:
        for back in (theme.page, theme.panel, theme.raised):
            assert contrast(getattr(theme, token), back) >= 4.5, (token, back)
    for fill in (theme.y, theme.x, theme.stop):
        assert contrast(theme.ink, fill) >= 4.5
    assert contrast(theme.warnink, theme.warnfill) >= 4.5


def test_every_property_that_the_rules_use_is_defined() -> None:
    sheet = stylesheet()
    used = set(re.findall(r"var\((--pairlab-[a-z0-9-]+)", sheet))
    defined = set(re.findall(r"(--pairlab-[a-z0-9-]+)\s*:", sheet))
    assert used - defined == set()
    assert {f"--pairlab-{name}" for name in asdict(DARK)} <= defined
    assert sheet.count("{") == sheet.count("}")


def test_the_rules_stay_with_the_dashboard_and_are_cheap_to_match() -> None:
    rules = re.sub(r"/\*.*?\*/", "", stylesheet(), flags=re.S)
    # One :has() cost Chromium three quarters of its time: it matches the page anew on any change.
    assert ":has(" not in rules
    assert "transition:" not in rules.replace("transition: none", "")
    for selector in re.findall(r"(?:^|\})\s*([^{}@]+)\{", rules):
        for one in re.split(r",(?![^(]*\))", selector):
            assert re.search(r"\.pairlab|data-voila|:root", one), one.strip()


def test_every_kind_of_alert_has_a_shape_of_its_own() -> None:
    shown = {(m.kind, side) for m in MARKERS for side in ((1, -1) if not m.side else (m.side,))}
    assert shown == {(kind, side) for kind in AlertKind for side in (1, -1)}
    assert len({m.shape for m in MARKERS}) == len(MARKERS)
    for marker in MARKERS:
        assert glyph(marker.glyph, var(marker.fill)).startswith("<svg")
        assert '"' not in mask(marker.glyph)[5:-2]
