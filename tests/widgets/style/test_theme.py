"""The look: contrast that the design promises, themes, and a style sheet that holds together."""

from __future__ import annotations

import re
from dataclasses import asdict

import pytest
from ipywidgets import Box

from pairlab.errors import SettingError
from pairlab.schema import AlertKind
from pairlab.widgets.charts.chart import MARKERS
from pairlab.widgets.style.stylesheet import stylesheet
from pairlab.widgets.style.theme import (
    DARK,
    LIGHT,
    THEMES,
    Tokens,
    dress,
    icon,
    mask,
    theme_css,
    var,
)

TEXT = ("text", "text2", "muted", "z", "y", "x", "spread", "corr", "warn", "stop", "sim", "replay")


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def tinted(colour: str, percent: float, below: str) -> str:
    """Return what is seen of `colour` at an opacity over `below`."""
    mixed = [
        round(percent * int(colour[i : i + 2], 16) + (100 - percent) * int(below[i : i + 2], 16))
        for i in (1, 3, 5)
    ]
    return "#" + "".join(f"{round(c / 100):02x}" for c in mixed)


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=["dark", "light"])
def test_text_has_at_least_4_5_to_1_on_every_background(theme: Tokens) -> None:
    for token in TEXT:
        for back in (theme.page, theme.panel, theme.raised):
            assert contrast(getattr(theme, token), back) >= 4.5, (token, back)
    for fill in (theme.y, theme.x, theme.stop):
        assert contrast(theme.ink, fill) >= 4.5
    assert contrast(theme.warnink, theme.warnfill) >= 4.5
    for token in ("text", "text2"):  # a chosen segment, a button under the pointer
        assert contrast(getattr(theme, token), theme.border) >= 4.5, token


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=["dark", "light"])
def test_text_on_a_tint_of_its_own_colour_can_be_read(theme: Tokens) -> None:
    rule = r"\{[^{}]*(?<![-a-z])color: var\(--pairlab-(\w+)\)[^{}]*color-mix\(in srgb, "
    rule += r"var\(--pairlab-(\w+)\) (\d+)%"
    tints = re.findall(rule, stylesheet())
    assert {tint[0] for tint in tints} >= {"sim", "corr"}  # the badges
    for text, tint, percent in tints:
        back = tinted(getattr(theme, tint), float(percent), theme.panel)
        assert contrast(getattr(theme, text), back) >= 4.5, (text, tint, percent)


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=["dark", "light"])
def test_lines_and_the_focus_ring_stand_out(theme: Tokens) -> None:
    for token in ("z", "y", "x", "spread", "corr", "stop", "focus", "muted"):
        assert contrast(getattr(theme, token), theme.panel) >= 3, token
    for side in (theme.x, theme.y):
        assert contrast(theme.z, tinted(side, 9, theme.panel)) >= 4.2


def test_no_rule_writes_text_in_a_colour_that_is_not_for_text() -> None:
    used = re.findall(r"([^{}]*)\{[^{}]*?(?<![-a-z])color: var\(--pairlab-(\w+)\)", stylesheet())
    assert used
    faint = {(selector.strip(), token) for selector, token in used if token not in TEXT}
    filled = {token for selector, token in faint if not selector.endswith(":disabled")}
    # On fills; what is disabled need not be read.
    assert filled <= {"ink", "warnink", "panel", "focus"}


def test_a_view_wears_its_theme_and_its_parts_wear_the_view_s() -> None:
    sheet = theme_css()
    dark, light = sheet.index(DARK.css()), sheet.index(LIGHT.css())
    assert dark < light  # the later rule is the stronger one at equal weight
    selector = sheet[sheet.index("}.pairlab-light") + 1 : light]
    assert '[data-jp-theme-light="true"] .pairlab-follow .pairlab' in selector
    worn = {}
    for theme in THEMES:
        box = Box()
        dress(box, theme)
        worn[theme] = box._dom_classes
        dress(box, "dark")
        assert box._dom_classes == ()
    assert worn == {
        "dark": (), "light": ("pairlab-light",), "jupyterlab": ("pairlab-follow",),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["Dark", "", "solarized", None, 3])
def test_an_unknown_theme_is_refused_by_name(name: object) -> None:
    with pytest.raises(SettingError, match=f"theme = {name!r} .*'dark', 'light', 'jupyterlab'"):
        dress(Box(), name)  # type: ignore[arg-type]


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
        assert icon(marker.icon, var(marker.fill)).startswith("<svg")
        assert '"' not in mask(marker.icon)[5:-2]


def test_type_sizes_are_the_themes_own() -> None:
    rules = re.sub(r"/\*.*?\*/", "", stylesheet(), flags=re.S)
    given = re.findall(r"font-size:\s*([^;}]+)", rules)
    assert len(given) > 30
    assert {size.strip() for size in given if "--pairlab-type-" not in size} <= {"0", "inherit"}
