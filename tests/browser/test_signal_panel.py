"""The open signal in Chromium: whole at every size, and swapped with Latest where it is narrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.conftest import Screen, Server, warm

CUT = """() => [...document.querySelectorAll(
        '.pairlab-signal :is(td, th), .pairlab-latest :is(dt, dd), .pairlab-latest dl > div')]
    .filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"""
OPEN = """() => /LONG|SHORT/.test(
        document.querySelector('.pairlab-signal .pairlab-side').textContent)
    && !document.querySelector('.pairlab-signal .pairlab-body').innerText.includes('–')"""


@pytest.fixture(scope="module")
def page(demo: Server, open_page: Callable[..., Screen]) -> Iterator[Any]:
    """A page whose signal is nearly always open."""
    page = open_page(demo.url).page
    warm(page)
    with demo.kernel() as kernel:
        kernel.run("lab.settings.update(entry_z=0.2, exit_z=0.0, min_correlation=-1.0)")
        yield page
        kernel.run("lab.settings.update(entry_z=2.0, exit_z=0.5, min_correlation=0.7)")


BOTTOMS = """() => {
    const panel = document.querySelector(".pairlab-signal");
    const rows = panel.querySelectorAll("tr");
    return [rows[rows.length - 1], panel].map((e) => e.getBoundingClientRect().bottom);
}"""


@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080), (1000, 800)])
def test_it_is_shown_whole_beside_the_latest_row(page: Any, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.wait_for_function(OPEN)
    assert page.locator(".pairlab-signal").is_visible()
    assert page.locator(".pairlab-latest").is_visible()
    assert page.evaluate(CUT) == []
    text = page.locator(".pairlab-latest").inner_text()
    assert "bps" in text
    assert "span" in text
    # In one look: the rows are made anew with every painted text.
    last_row, panel = page.evaluate(BOTTOMS)
    assert 0 < last_row <= panel


def test_a_narrow_page_swaps_them(page: Any) -> None:
    page.set_viewport_size({"width": 800, "height": 600})
    page.locator(".pairlab-signal").wait_for(state="hidden")
    assert page.evaluate(CUT) == []
    page.locator(".pairlab-latest .pairlab-swap").click()
    page.locator(".pairlab-latest").wait_for(state="hidden")
    page.wait_for_function(OPEN)
    assert page.evaluate(CUT) == []
    page.locator(".pairlab-signal .pairlab-swap").click()
    page.locator(".pairlab-signal").wait_for(state="hidden")
    assert page.locator(".pairlab-latest").is_visible()
