"""``pairlab board`` in Chromium: a line a pair, a cell a pair, and a dashboard that is warm."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from tests.browser.conftest import Screen, Server, free_port, warm
from tests.browser.freezing import NOTICED_MS, frozen, kernel_process

OPACITY = """selector => {
    let part = document.querySelector(selector), opacity = 1;
    for (; part; part = part.parentElement) opacity *= getComputedStyle(part).opacity;
    return opacity;
}"""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port = free_port()
    pairs = ["BTCUSDT,ETHUSDT", "SOLUSDT,AVAXUSDT", "NOSUCHUSDT,NOSUCHUSDT"]
    command = [sys.executable, "-m", "pairlab", "board", *pairs, "--feed", "demo"]
    command += ["--no-browser", "--port", str(port)]
    server = Server(command, tmp_path_factory.mktemp("board"), "is running at", port)
    yield server
    server.stop()


def test_a_click_opens_the_pair_warm_at_once(board: Server, visit: Callable[..., Screen]) -> None:
    page = visit(f"{board.url}/?theme=light").page
    page.wait_for_function(
        """[...document.querySelectorAll('.pairlab-board-z')]
            .filter(cell => /^[+−][0-9]/.test(cell.innerText)).length === 2"""
    )
    page.wait_for_selector("#pairlab-loading", state="detached")
    assert page.locator(".pairlab-badge").first.inner_text() == "SIMULATED · running"
    label = page.locator(".pairlab-board-map canvas").get_attribute("aria-label")
    assert label.endswith("of 2 pairs beyond 2")
    # the map's cells are painted: more than the panel's one colour
    colours = """() => { const c = document.querySelector('.pairlab-board-map canvas');
        const d = c.getContext('2d').getImageData(0, 0, 62, 18).data;
        return new Set(new Uint32Array(d.buffer)).size; }"""
    assert page.evaluate(colours) > 3
    before = page.locator(".pairlab-board-table tbody").inner_text()
    page.wait_for_function(
        "was => document.querySelector('.pairlab-board-table tbody').innerText !== was", arg=before
    )
    page.get_by_role("button", name="SOLUSDT / AVAXUSDT, open its dashboard").click()
    warm(page)  # long before 50 trades of either could have come
    assert "SOLUSDT" in page.locator(".pairlab-cell-pair").inner_text()
    assert page.locator(".pairlab-lost").count() == 0
    page.locator(".pairlab-board-detail button", has_text="Close").click()
    page.wait_for_function("!document.querySelector('.pairlab-dash')")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_nothing_of_a_board_looks_current_while_its_kernel_is_frozen(
    board: Server, visit: Callable[..., Screen]
) -> None:
    page = visit(board.url).page
    page.wait_for_selector("#pairlab-loading", state="detached")
    page.wait_for_function(
        "/[+−][0-9]/.test(document.querySelector('td.pairlab-board-z')?.innerText)"
    )
    with frozen(kernel_process(board)):
        page.wait_for_selector(".pairlab-board > .pairlab-lost-banner", timeout=NOTICED_MS)
        # A word such as LONG, a z and an age are what a hand would trade by; the rest is dimmed.
        for name in ("chip", "z", "ages"):
            shown = page.locator(f".pairlab-board-table tbody .pairlab-board-{name}:visible")
            assert shown.count() == 0, name
        assert page.locator(".pairlab-board-cell b:visible, .pairlab-badge:visible").count() == 0
        for part in ("strip", "table", "map", "alerts", "event"):
            assert page.evaluate(OPACITY, f".pairlab-board-{part}") < 0.5, part
    page.wait_for_selector(".pairlab-lost", state="detached")
    assert page.evaluate(OPACITY, ".pairlab-board-map") == 1


def test_a_board_that_nobody_sees_is_not_sent(board: Server, visit: Callable[..., Screen]) -> None:
    page = visit(board.url).page
    page.wait_for_selector("#pairlab-loading", state="detached")
    text = "document.querySelector('.pairlab-board-table tbody').textContent"
    changed = f"was => {text} !== was"
    # Ages alone change several times a second.
    stands = f"""() => {{
        const text = {text}, now_ms = performance.now();
        if (text !== window.seenText) [window.seenText, window.sinceMs] = [text, now_ms];
        return now_ms - window.sinceMs > 2500;
    }}"""
    style = "style => Object.assign(document.querySelector('.pairlab-board').style, style)"
    for unseen, seen in (
        ({"display": "none"}, {"display": ""}),  # as in another tab of JupyterLab
        ({"marginTop": "4000px"}, {"marginTop": ""}),
    ):
        page.wait_for_function(changed, arg=page.evaluate(text))
        page.evaluate(style, unseen)
        page.wait_for_function(stands)
        assert page.locator(".pairlab-lost").count() == 0
        page.evaluate(style, seen)
        page.wait_for_function(changed, arg=page.evaluate(text))
