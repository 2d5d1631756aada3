"""What a screen reader and a keyboard find: every control has a name, a state, and a way to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest

from tests.browser.conftest import Place

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
OPERATED = {"button", "checkbox", "combobox", "slider", "textbox"}


@pytest.fixture
def page(place: Place) -> Any:
    """A page that is named: the names come with the widgets' script."""
    place.page.wait_for_function(
        """[...document.querySelectorAll('.noUi-handle')].every(h => h.getAttribute('aria-label'))
            && document.querySelector('.pairlab-chart svg[role=img]')"""
    )
    return place.page


def nodes(page: Any) -> list[dict[str, Any]]:
    """The accessibility tree as Chromium gives it to a screen reader."""
    session = page.context.new_cdp_session(page)
    found = []
    root = session.send(
        "Runtime.evaluate", {"expression": "document.querySelector('.pairlab-dash')"}
    )
    tree = {"objectId": root["result"]["objectId"]}  # what stands around it is Jupyter's
    for node in session.send("Accessibility.queryAXTree", tree)["nodes"]:
        if node.get("ignored"):
            continue
        properties = {p["name"]: p["value"].get("value") for p in node.get("properties", [])}
        found.append(
            {
                "role": node["role"]["value"],
                "name": node.get("name", {}).get("value", "").replace("\u200b", "").strip(),
                **properties,
            }
        )
    session.detach()
    return found


def test_every_control_has_a_name(page: Any) -> None:
    found = [n for n in nodes(page) if n["role"] in OPERATED]
    assert {n["role"] for n in found} == OPERATED
    assert len(found) > 40
    assert [n for n in found if not any(c.isalnum() for c in n["name"])] == []


def test_controls_are_named_after_what_stands_beside_them(page: Any) -> None:
    found = nodes(page)
    for role in ("slider", "textbox"):
        names = [n["name"] for n in found if n["role"] == role]
        for name in ("Hedge ratio β", "Window", "Entry z", "Exit z", "Stop z", "Min correlation"):
            assert names.count(name) == 1, (role, name)
    boxes = {n["name"] for n in found if n["role"] == "checkbox"}
    assert {"Stop", "Require stationary"} <= boxes
    assert {"fee", "min edge"} <= {n["name"] for n in found if n["role"] == "textbox"}
    buttons = [n["name"] for n in found if n["role"] == "button"]
    assert {"Pause", "Newer alerts", "Older alerts"} <= set(buttons)
    assert any(name.startswith("Show ENTRY alerts: ") for name in buttons)
    regions = {n["name"] for n in found if n["role"] == "region"}
    assert {"Status", "Settings", "Latest", "Signal", "Alerts", "Rows", "Events"} <= regions
    charts = [n["name"] for n in found if n["role"] in ("img", "image")]
    assert any(name.startswith("Z-score") and " z " in name for name in charts)
    assert len([name for name in charts if name]) >= 4


def test_states_are_said(page: Any) -> None:
    pressed = {n["name"]: n.get("pressed") for n in nodes(page) if n["role"] == "button"}
    assert pressed["tick"] == "true"
    assert pressed["5m"] == "false"
    exits = next(name for name in pressed if name.startswith("Show EXIT alerts"))
    assert pressed[exits] == "true"
    page.locator(".pairlab-filter-exit").click()
    page.wait_for_function(
        "document.querySelector('.pairlab-filter-exit').getAttribute('aria-pressed') === 'false'"
    )
    page.locator(".pairlab-filter-exit").click()
    page.wait_for_function(
        "document.querySelector('.pairlab-filter-exit').getAttribute('aria-pressed') === 'true'"
    )
    window = page.locator(".pairlab-row-window .noUi-handle")
    assert window.get_attribute("aria-valuetext") == "50"  # not the logarithm that it slides on
    assert page.locator(".pairlab-row-stop_z .noUi-handle").get_attribute("aria-disabled") == "true"
    assert page.locator(".pairlab-event-text [aria-live=polite]").count() == 1


@pytest.mark.every_front_end
def test_the_keyboard_reaches_and_works_every_kind_of_control(place: Place, page: Any) -> None:
    # Until there is a second page of alerts its button is disabled, and no Tab stops at it.
    page.wait_for_function(
        "[...document.querySelectorAll('button[title=\"Older alerts\"]')].some(b => !b.disabled)"
    )
    reached: set[str] = set()
    page.locator(".pairlab-status-bar button").first.focus()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                """(() => { const e = document.activeElement;
                    return e.getAttribute('aria-label') || e.labels?.[0]?.textContent.trim()
                        || e.textContent.trim(); })()"""
            )
        )
    assert {"Hedge ratio β", "Entry z", "Require stationary", "fee", "min edge", "tick", "Kalman",
            "Export", "Older alerts"} <= reached  # fmt: skip
    with place.kernel() as kernel:
        page.locator(".pairlab-row-min_correlation .noUi-handle").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function(
            """document.querySelector('.pairlab-row-min_correlation .noUi-handle')
                .getAttribute('aria-valuetext') === '0.71'"""
        )
        assert float(kernel.run("print(lab.settings.min_correlation)")) == 0.71
        fee = page.get_by_label("fee")
        fee.fill("2.5")
        fee.press("Enter")
        page.wait_for_function(
            "document.querySelector('.pairlab-latest').innerText.includes('10.0 bps')"
        )
        assert float(kernel.run("print(lab.settings.fee_bps)")) == 2.5
        fee.fill("lots")
        fee.press("Enter")
        page.wait_for_function(
            "document.querySelector('.pairlab-event').innerText.includes('fee_bps = \\'lots\\'')"
        )
        assert fee.input_value() == "2.5"


@pytest.mark.every_front_end
def test_a_key_on_a_control_is_not_a_shortcut_of_the_notebook(page: Any) -> None:
    cells = "document.querySelectorAll('.jp-Cell').length"
    before = page.evaluate(cells)
    page.locator(".pairlab-row-window .noUi-handle").focus()
    for key in ("a", "b", "d", "d", "x", "Enter"):  # insert, delete, cut a cell; edit it
        page.keyboard.press(key)
    assert page.evaluate(cells) == before
    assert page.locator(".pairlab-dash").count() == 1
    assert page.evaluate("document.activeElement.classList.contains('noUi-handle')")


@pytest.mark.every_front_end
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_nothing_that_is_more_than_minor(place: Place, page: Any, theme: str) -> None:
    with place.kernel() as kernel:
        kernel.run(
            "from pairlab.widgets.style.theme import apply_theme; "
            f"apply_theme(lab.dashboard(), {theme!r})"
        )
        try:
            colour = {"dark": "rgb(8, 11, 16)", "light": "rgb(233, 237, 242)"}[theme]
            page.wait_for_function(
                """colour => getComputedStyle(document.querySelector('.pairlab-dash'))
                    .backgroundColor === colour""",
                arg=colour,
            )
            page.evaluate(AXE)
            # What stands around the dashboard is Jupyter's.
            result = page.evaluate("axe.run('.pairlab-dash')")
        finally:
            kernel.run("apply_theme(lab.dashboard(), 'dark')")
    assert {"color-contrast", "button-name", "label"} <= {rule["id"] for rule in result["passes"]}
    found = [
        (rule["id"], rule["impact"], [(n["target"], n["failureSummary"]) for n in rule["nodes"]])
        for rule in result["violations"]
        if rule["impact"] != "minor"
    ]
    assert found == []
