"""``pairlab demo`` in Chromium: what a person with nothing but the README sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest

from tests.browser.conftest import Screen, Server, check_export, paths, warm


@pytest.fixture(scope="module")
def screen(demo: Server, open_page: Callable[..., Screen]) -> Screen:
    """The demo's page, warm; one for all tests, each of which leaves the settings as they were."""
    screen = open_page(demo.url)
    warm(screen.page)
    return screen


def test_it_is_warm_within_30_s_and_goes_on_changing(screen: Screen) -> None:
    page = screen.page
    page.wait_for_function(
        """[...document.querySelectorAll('.pairlab-chart path.line')]
            .filter(line => line.getAttribute('d')?.length > 100).length >= 4""",
        timeout=10_000,
    )
    before_paths, before_text = paths(page), page.locator(".pairlab-latest").inner_text()
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
    assert screen.our_errors == []


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


def shows(page: Any, expression: str) -> None:
    """Wait until an expression is true in the page."""
    page.wait_for_function(f"() => {expression}")


@pytest.mark.parametrize(
    ("name", "segment", "asked", "back"),
    [("timeframe", "1s", "1s", "tick"), ("hedge", "OLS", "ols", "fixed")],
)
def test_a_segment_chooses_and_follows(
    demo: Server, screen: Screen, name: str, segment: str, asked: str, back: str
) -> None:
    chosen = "[...document.querySelectorAll('.pairlab-segments .mod-active')].map(b => b.innerText)"
    with demo.kernel() as kernel:
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
    demo: Server, screen: Screen, css: str, name: str, off: object, on: object
) -> None:
    selector = f"{css} input[type=checkbox]"
    ticked = f"document.querySelector({selector!r}).checked"
    setting = f"lab.settings.{name}"
    with demo.kernel() as kernel:
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
    demo: Server, screen: Screen, name: str, css: str, typed: str, back: str
) -> None:
    field = screen.page.locator(f"{css} input").first
    with demo.kernel() as kernel:
        field.fill(typed)
        field.press("Enter")
        kernel.holds(f"lab.settings.{name} == {typed}")
        kernel.run(f"lab.settings.{name} = {float(back)}")
        screen.page.wait_for_function(
            "([field, text]) => field.value === text", arg=[field.element_handle(), back]
        )


def test_span_pause_filter_and_clear_do_what_they_say(demo: Server, screen: Screen) -> None:
    page = screen.page
    span = page.locator(".pairlab-tools select").first
    with demo.kernel() as kernel:
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
    assert screen.our_errors == []


def test_the_address_chooses_layout_and_theme_and_the_page_says_how_far_it_is(
    demo: Server, open_page: Callable[..., Screen]
) -> None:
    query = "y=BTCUSDT&x=ETHUSDT&window=100&layout=wide&theme=light"
    screen = open_page(f"{demo.url}/?{query}", 1920, 1080)
    page = screen.page
    # What stands there before the kernel answers, in the theme asked for.
    assert page.locator("#pairlab-loading li").first.inner_text().startswith("Python kernel starts")
    colour = "e => getComputedStyle(e).backgroundColor"
    assert page.locator("#pairlab-loading").evaluate(colour) == "rgb(233, 237, 242)"
    assert page.title() == "BTCUSDT / ETHUSDT · pairlab"
    assert page.locator("link[rel=icon]").get_attribute("href").startswith("data:image/svg+xml,")
    page.wait_for_selector("#pairlab-loading", state="detached")
    assert page.locator(".pairlab-dash").evaluate(colour) == "rgb(233, 237, 242)"
    assert page.locator(".pairlab-chart:visible").count() == 6
    with demo.kernel() as kernel:
        assert kernel.run("print(lab.settings.window)") == "100"
    fits = """() => [...document.querySelectorAll('.pairlab-panel')]
        .map(e => e.getBoundingClientRect())
        .every(r => r.width > 0 && r.right <= innerWidth && r.bottom <= innerHeight)"""
    page.wait_for_function(fits)
    assert page.locator(".jp-InputArea, .jp-CodeMirrorEditor").count() == 0  # no code
    away = "performance.getEntriesByType('resource').filter(r => !r.name.includes('127.0.0.1'))"
    assert page.evaluate(f"{away}.map(r => r.name).filter(n => !n.startsWith('data:'))") == []
    assert screen.our_errors == []


def test_a_hostile_address_is_text_and_its_kernel_ends_with_the_page(
    demo: Server, open_page: Callable[..., Screen]
) -> None:
    attack = '<img src=x onerror="window.broken=1">'
    query = urlencode({"y": attack, "x": "ETHUSDT", "window": "1e999", "layout": "<b>tall</b>",
                       "theme": '"><script>window.broken=1</script>', "template": "../../x",
                       "hedge": "ols"})  # fmt: skip
    screen = open_page(f"{demo.url}/?{query}")
    page = screen.page
    page.wait_for_selector("#pairlab-loading", state="detached")
    assert page.title() == f"{attack} / ETHUSDT · pairlab"
    page.wait_for_function(
        """text => document.querySelector('.pairlab-cell-pair')?.innerText.includes(text)""",
        arg=attack,
    )
    assert page.evaluate("window.broken") is None
    assert page.locator("img[src=x], .pairlab b:text('tall') b").count() == 0
    with demo.kernel() as kernel:
        told = kernel.run("print([e.message for e in lab.event_log if 'address' in e.message])")
        assert all(name in told for name in ("window = inf", "layout = '<b>tall</b>'", "theme = "))
        process = psutil.Process(int(kernel.run("import os; print(os.getpid())")))
    page.close(run_before_unload=True)
    process.wait(30)
