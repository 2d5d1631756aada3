"""Every control does what it says, both ways, in every front end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import Place, Screen, Server, check_export


@pytest.fixture(scope="module")
def screen(place: Place) -> Screen:
    """One page for all tests, each of which leaves the settings as they were."""
    return place.screen


@pytest.fixture
def server(place: Place) -> Server:
    return place.server


def test_a_slider_moves_the_setting_and_the_setting_moves_the_slider(
    server: Server, screen: Screen
) -> None:
    page = screen.page
    handle = page.locator(".pairlab-row-entry_z .noUi-handle").first
    with server.kernel() as kernel:
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
        kernel.holds(log)
        assert "True" in kernel.run(f"print(all(abs(z) >= 1.1 for z in {log}))")
        kernel.run("lab.settings.entry_z = 2.0")


def test_a_contradiction_is_refused_in_words_and_both_keep_their_values(
    server: Server, screen: Screen
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
    with server.kernel() as kernel:
        assert kernel.run("print(lab.settings.exit_z, lab.settings.entry_z)") == "0.5 2.0"


def shows(page: Any, expression: str) -> None:
    """Wait until an expression is true in the page."""
    page.wait_for_function(f"() => {expression}")


@pytest.mark.parametrize(
    ("name", "segment", "asked", "back"),
    [("timeframe", "1s", "1s", "tick"), ("hedge", "OLS", "ols", "fixed")],
)
def test_a_segment_chooses_and_follows(
    server: Server, screen: Screen, name: str, segment: str, asked: str, back: str
) -> None:
    chosen = "[...document.querySelectorAll('.pairlab-segments .mod-active')].map(b => b.innerText)"
    with server.kernel() as kernel:
        screen.page.locator(".pairlab-segments button", has_text=segment).click()
        kernel.holds(f"lab.settings.{name} == {asked!r}")
        shows(screen.page, f"{chosen}.includes({segment!r})")
        kernel.run(f"lab.settings.{name} = {back!r}")
        shows(screen.page, f"!{chosen}.includes({segment!r})")
        shows(screen.page, f"{chosen}.includes({back!r})")


@pytest.mark.parametrize(
    ("css", "name", "off", "on"),
    [
        (".pairlab-slot", "stop_z", None, 4.5),
        (".pairlab-require", "require_stationary", False, True),
    ],
)
def test_a_box_is_ticked_here_and_there(
    server: Server, screen: Screen, css: str, name: str, off: object, on: object
) -> None:
    selector = f"{css} input[type=checkbox]"
    ticked = f"document.querySelector({selector!r}).checked"
    setting = f"lab.settings.{name}"
    with server.kernel() as kernel:
        shows(screen.page, f"!{ticked}")
        screen.page.locator(selector).click()
        kernel.holds(f"{setting} != {off}")
        kernel.run(f"{setting} = {off}")
        shows(screen.page, f"!{ticked}")
        kernel.run(f"{setting} = {on}")
        shows(screen.page, ticked)
        screen.page.locator(selector).click()
        kernel.holds(f"{setting} == {off}")
        shows(screen.page, f"!{ticked}")


@pytest.mark.parametrize(
    ("name", "css", "typed", "back"),
    [
        ("hedge_ratio", ".pairlab-row-hedge_ratio .pairlab-field", "24.5", "25.000"),
        ("window", ".pairlab-row-window .pairlab-field", "60", "50"),
        ("min_correlation", ".pairlab-row-min_correlation .pairlab-field", "0.65", "0.70"),
        ("fee_bps", ".pairlab-signal .pairlab-cost:nth-of-type(2)", "5", "4"),
    ],
)
def test_a_field_sets_and_follows(
    server: Server, screen: Screen, name: str, css: str, typed: str, back: str
) -> None:
    field = screen.page.locator(f"{css} input").first
    with server.kernel() as kernel:
        field.fill(typed)
        field.press("Enter")
        kernel.holds(f"lab.settings.{name} == {typed}")
        kernel.run(f"lab.settings.{name} = {float(back)}")
        screen.page.wait_for_function(
            "([field, text]) => field.value === text", arg=[field.element_handle(), back]
        )


def test_span_pause_filter_and_clear_do_what_they_say(server: Server, screen: Screen) -> None:
    page = screen.page
    span = page.locator(".pairlab-tools select").first
    with server.kernel() as kernel:
        kernel.run("screen = lab.dashboard().screen")
        span.select_option(label="1 min")
        kernel.holds("screen.span_s == 60")
        kernel.run("screen.set_span(30)")
        shows(page, "document.querySelector('.pairlab-tools select').value.startsWith('30 s')")

        page.locator(".pairlab-button-pause").click()
        kernel.holds("screen.paused")
        shows(page, "document.querySelector('.pairlab-event').innerText.includes('rows wait')")
        page.locator(".pairlab-button-pause").click()
        kernel.holds("not screen.paused")

        entries = "document.querySelector('.pairlab-alerts table').innerText.includes('ENTRY')"
        shows(page, entries)
        page.locator(".pairlab-filter-entry").click()
        shows(page, f"!{entries}")
        page.locator(".pairlab-filter-entry").click()
        shows(page, entries)

        page.locator(".pairlab-tools button", has_text="Clear").click()
        kernel.holds("screen.cleared_ns > 0")


def test_the_browser_downloads_what_history_has(server: Server, screen: Screen) -> None:
    check_export(screen.page, server)


@pytest.mark.parametrize("width", [1050, 900, 1700])
def test_no_width_of_the_window_cuts_anything_off(screen: Screen, width: int) -> None:
    page = screen.page
    before = page.viewport_size
    page.set_viewport_size({"width": width, "height": 1300})
    page.wait_for_function(
        """(width) => {
            const dash = document.querySelector('.pairlab-dash').getBoundingClientRect();
            const panels = [...document.querySelectorAll('.pairlab-panel')]
                .filter(e => e.offsetParent !== null).map(e => e.getBoundingClientRect());
            return dash.right <= width && panels.length > 6 && panels.every(
                r => r.left >= dash.left && r.right <= dash.right && r.bottom <= dash.bottom + 1);
        }""",
        arg=width,
    )
    assert page.locator(".pairlab-chart:visible").count() == 4
    page.set_viewport_size(before)


def test_the_console_is_free_of_errors_of_ours(screen: Screen) -> None:
    assert screen.our_errors == []
