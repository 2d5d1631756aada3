"""``pairlab demo`` in Chromium: what a person with nothing but the README sees."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import Screen, Server, check_export, warm

OUR_OWN = re.compile(r"pairlab|ipywidget|bqplot|comm", re.IGNORECASE)


@pytest.fixture(scope="module")
def screen(demo: Server, open_page: Callable[..., Screen]) -> Screen:
    """The demo's page, warm; one for all tests, each of which leaves the settings as they were."""
    screen = open_page(demo.url)
    warm(screen.page)
    return screen


def paths(page: Any) -> list[str]:
    return list(
        page.eval_on_selector_all(
            ".pairlab-chart path.line", "lines => lines.map(line => line.getAttribute('d'))"
        )
    )


def test_it_is_warm_within_30_s_and_goes_on_changing(screen: Screen) -> None:
    page = screen.page
    before_paths, before_text = paths(page), page.locator(".pairlab-latest").inner_text()
    assert sum(bool(path) and len(path) > 100 for path in before_paths) >= 4
    page.wait_for_function(
        """([text, lines]) => {
            const now = [...document.querySelectorAll('.pairlab-chart path.line')]
                .map(line => line.getAttribute('d'));
            return document.querySelector('.pairlab-latest').innerText !== text
                && now.filter((d, i) => d !== lines[i]).length >= 4;
        }""",
        arg=[before_text, before_paths],
        timeout=10_000,
    )
    assert [error for error in screen.errors if OUR_OWN.search(error)] == []


def test_simulated_prices_are_never_shown_as_live_ones(screen: Screen) -> None:
    badge = screen.page.locator(".pairlab-badge").first.inner_text()
    assert "SIMULATED" in badge
    assert "BINANCE" not in screen.page.locator(".pairlab-strip").inner_text()


def test_the_page_needs_no_scroll_bar(screen: Screen) -> None:
    size = screen.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert size[0] <= 1280
    assert size[1] <= 800


def test_a_slider_moves_the_setting_and_the_setting_moves_the_slider(
    demo: Server, screen: Screen
) -> None:
    page = screen.page
    handle = page.locator(".pairlab-row-entry_z .noUi-handle").first
    with demo.kernel() as kernel:
        assert float(kernel.run("print(lab.settings.entry_z)")) == 2.0
        handle.focus()
        for _ in range(3):
            handle.press("ArrowUp")
        page.wait_for_function(
            "document.querySelector('.pairlab-row-entry_z .pairlab-field input').value === '2.03'"
        )
        assert float(kernel.run("print(lab.settings.entry_z)")) == 2.03
        assert "entry_z" in kernel.run("print(lab.alerts().query('kind == \"SETTING\"').setting)")

        kernel.run("lab.settings.entry_z = 3.25")
        page.wait_for_function(
            "document.querySelector('.pairlab-row-entry_z .pairlab-field input').value === '3.25'"
        )
        shown = float(handle.get_attribute("aria-valuenow") or "nan")
        assert shown == pytest.approx(3.25, abs=0.06)  # it is told to one decimal

        # The next entry is decided by the new threshold.
        log = "[a.at.zscore for a in lab.alert_log.alerts() if a.kind == 1"
        log += " and a.thresholds['entry_z'] == 1.1]"
        kernel.run("lab.settings.entry_z = 1.1")
        kernel.run(f"lab.wait(lab.health().rows + 400, 60); assert {log}, 'no entry'")
        assert "True" in kernel.run(f"print(all(abs(z) >= 1.1 for z in {log}))")
        kernel.run("lab.settings.entry_z = 2.0")


def test_a_contradiction_is_refused_in_words_and_both_keep_their_values(
    demo: Server, screen: Screen
) -> None:
    page = screen.page
    field = page.locator(".pairlab-row-exit_z .pairlab-field input")
    field.fill("2.5")
    field.press("Enter")
    page.wait_for_function(
        "document.querySelector('.pairlab-event').innerText.includes('below entry_z')"
    )
    page.wait_for_function(
        "document.querySelector('.pairlab-row-exit_z .pairlab-field input').value === '0.50'"
    )
    with demo.kernel() as kernel:
        assert kernel.run("print(lab.settings.exit_z, lab.settings.entry_z)") == "0.5 2.0"


def test_the_browser_downloads_what_history_has(demo: Server, screen: Screen) -> None:
    check_export(screen.page, demo)


@pytest.mark.parametrize(("width", "height"), [(800, 600), (1920, 1080), (1280, 800)])
def test_no_size_of_the_window_cuts_anything_off(screen: Screen, width: int, height: int) -> None:
    page = screen.page
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_function(
        """() => [...document.querySelectorAll('.pairlab-panel, .pairlab-strip')]
            .filter(e => e.offsetParent !== null)
            .map(e => e.getBoundingClientRect())
            .every(r => r.right <= innerWidth + 1 && r.bottom <= innerHeight + 1)
            && document.documentElement.scrollWidth <= innerWidth""",
        timeout=10_000,
    )
    assert page.locator(".pairlab-chart:visible").count() == 4
