"""`ScanResult.dashboard` in Chromium: it fits, sorts, filters, opens pairs and backtests them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import Server
from tests.browser.pages import voila

CELL = """
import pairlab
from tests.scanning.test_scan import planted

prices = planted()
prices["STILL"] = 5.0
shown = pairlab.scan(prices, placebo=1, fee_bps=1.0).dashboard(feed="demo")
shown
"""
CUT = """[...document.querySelectorAll(".pairlab-pairs th button, .pairlab-pairs td:not(.words),"
  + ".pairlab-scan-list :is(dt, dd), .pairlab-scan-head *, .pairlab-matrix button")]
  .filter((node) => node.clientWidth && node.scrollWidth > node.clientWidth + 1)
  .map((node) => node.textContent)"""
FIRST = ".pairlab-pairs tbody tr:first-child"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with voila({"scan": CELL}) as server:
        yield server


@pytest.mark.timeout(300)
def test_a_scan_is_read_sorted_filtered_and_backtested(chromium: Any, server: Server) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(60_000)
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(f"{server.url}/voila/render/scan.ipynb", wait_until="domcontentloaded")
    page.wait_for_selector(FIRST)
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_function(
            f"document.querySelector('.pairlab-scan').clientWidth > {width - 60}"
        )
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(CUT) == []
        box = page.locator(".pairlab-matrix canvas").bounding_box()
        assert 200 < box["width"] <= width
    page.click("th[data-at=half_life] button")
    page.wait_for_selector("th[data-at=half_life][aria-sort=ascending]")
    assert page.locator(FIRST).inner_text().startswith("S001USDC")
    page.fill(".pairlab-pairs-filter", "pairusdt q<0.05")
    page.wait_for_selector(f"{FIRST}:last-child >> text=candidate")
    page.focus(FIRST)
    page.keyboard.press("Enter")
    page.wait_for_selector(".pairlab-scan-pair h3:has-text('PAIRUSDT')")
    page.wait_for_selector(f"{FIRST}.pairlab-chosen")
    page.locator(".pairlab-matrix canvas").click(position={"x": box["width"] - 4, "y": 4})
    words = page.locator(".pairlab-matrix-says").inner_text()
    assert "ρ returns" in words
    first, second = words.split(":")[0].split(" / ")
    page.wait_for_selector(f".pairlab-scan-pair h3:has-text('{first}')")
    page.wait_for_selector(f".pairlab-scan-pair h3:has-text('{second}')")
    page.click(".pairlab-scan-button >> text=Backtest")
    page.wait_for_selector(".pairlab-scan-opened .pairlab-report-metrics")
    assert page.locator(".pairlab-lost-banner").count() == 0
    assert [error for error in failed if "shared module" not in error] == []
    page.close(run_before_unload=True)
