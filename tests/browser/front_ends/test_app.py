"""``pairlab demo`` in Chromium: what a person with nothing but the README sees."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import psutil
import pytest

from tests.browser.conftest import Screen, Server, paths, warm


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


def test_it_tells_how_long_rows_take_to_be_drawn(screen: Screen) -> None:
    """From the page's own answers: no message of a widget may be taken for a cell that runs."""
    screen.page.wait_for_function(
        r"/→screen \d/.test(document.querySelector('.pairlab-event-way').innerText)",
        timeout=20_000,
    )


def test_simulated_prices_are_never_shown_as_live_ones(screen: Screen) -> None:
    badge = screen.page.locator(".pairlab-badge").first.inner_text()
    assert "SIMULATED" in badge
    assert "BINANCE" not in screen.page.locator(".pairlab-status-bar").inner_text()


def test_the_address_chooses_layout_and_theme_and_the_page_says_how_far_it_is(
    demo: Server, visit: Callable[..., Screen]
) -> None:
    query = "y=BTCUSDT&x=ETHUSDT&window=100&layout=wide&theme=light"
    screen = visit(f"{demo.url}/?{query}", 1920, 1080)
    page = screen.page
    # What stands there before the kernel answers, in the theme asked for.
    assert (
        page.locator("#pairlab-loading li")
        .first.inner_text()
        .startswith("starting the Python kernel")
    )
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


def test_a_page_that_loads_slowly_shows_every_frame(
    demo: Server, visit: Callable[..., Screen]
) -> None:
    # anywidget gives a script 2 s, and a model whose script came later never hears again: on a
    # busy machine that happens, and here to every one.
    no_patience = """
        const timeout = AbortSignal.timeout;
        const over = { addEventListener: (_, heard) => heard() };
        AbortSignal.timeout = ms => ms === 2000 ? over : timeout.call(AbortSignal, ms);
    """
    screen = visit(demo.url, script=no_patience)
    screen.expected.append("Failed to initialize model")
    page = screen.page
    warm(page)
    assert any("Failed to initialize model" in said.text for said in screen.errors)
    for _ in range(3):
        before = [*paths(page), page.locator(".pairlab-latest").inner_text()]
        page.wait_for_function(
            """before => {
                const lines = [...document.querySelectorAll('.pairlab-chart path.line')];
                const now = lines.map(line => line.getAttribute('d'));
                now.push(document.querySelector('.pairlab-latest').innerText);
                return now.filter((what, n) => what !== before[n]).length >= 5;
            }""",
            arg=before,
            timeout=10_000,
        )
    with demo.kernel() as kernel:
        looking = (
            "lab.dashboard().render_loop.channel.pacer.looking(__import__('time').monotonic())"
        )
        kernel.holds(f"{looking} == 1")


def test_a_hostile_address_is_text_and_its_kernel_ends_with_the_page(
    demo: Server, visit: Callable[..., Screen]
) -> None:
    attack = '<img src=x onerror="window.broken=1">'
    query = urlencode({"y": attack, "x": "ETHUSDT", "window": "1e999", "theme": "<b>tall</b>",
                       "layout": '"><script>window.broken=1</script>', "template": "../../x",
                       "hedge": "ols"})  # fmt: skip
    screen = visit(f"{demo.url}/?{query}")
    page = screen.page
    page.wait_for_selector("#pairlab-loading", state="detached")
    assert page.title() == "BTCUSDT / ETHUSDT · pairlab"
    with demo.kernel() as kernel:
        told = kernel.run("print([e.message for e in lab.event_log if 'address' in e.message])")
        names = ("<img src=x", "window = inf", "layout = ", "theme = '<b>tall</b>'")
        assert all(name in told for name in names)
        for word in ("<img src=x", "<b>tall</b>", "<script>"):  # each is seen in the event line
            kernel.run(
                f"lab.log('error', next(e.message for e in lab.event_log if {word!r} in e.message))"
            )
            page.wait_for_function(
                "word => document.querySelector('.pairlab-event').innerText.includes(word)",
                arg=word,
            )
            assert page.locator("img[src=x], .pairlab b:text-is('tall')").count() == 0
    assert page.evaluate("window.broken") is None
    with demo.kernel() as kernel:
        process = psutil.Process(int(kernel.run("import os; print(os.getpid())")))
    with page.expect_event("close"):
        page.close(run_before_unload=True)
    process.wait(30)
