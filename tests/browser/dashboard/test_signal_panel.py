"""The open signal in Chromium: whole at every size, and swapped with Latest where it is narrow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import Place

CUT = """() => [...document.querySelectorAll(
        '.pairlab-signal :is(td, th), .pairlab-latest :is(dt, dd), .pairlab-latest dl > div')]
    .filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"""
OPEN = """() => /LONG|SHORT/.test(
        document.querySelector('.pairlab-signal .pairlab-side').textContent)
    && !document.querySelector('.pairlab-signal .pairlab-body').innerText.includes('–')"""


SIZES = {
    "voila": [(1280, 800), (1920, 1080), (1000, 800)],
    "jupyterlab": [(1700, 1300)],
    "notebook7": [(1700, 1300), (1280, 1300)],
}


@pytest.fixture
def page(place: Place) -> Any:
    """A page whose signal is nearly always open."""
    with place.kernel() as kernel:
        kernel.run("lab.settings.update(entry_z=0.2, exit_z=0.0, min_correlation=-1.0)")
    return place.page


BOTTOMS = """() => {
    const panel = document.querySelector(".pairlab-signal");
    const rows = panel.querySelectorAll("tr");
    return [rows[rows.length - 1], panel].map((e) => e.getBoundingClientRect().bottom);
}"""


def test_it_is_shown_whole_beside_the_latest_row(place: Place, page: Any) -> None:
    for width, height in SIZES[place.name]:
        page.set_viewport_size({"width": width, "height": height})
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


def test_it_tells_the_position_as_the_kernel_has_it(place: Place, page: Any) -> None:
    with place.kernel() as kernel:
        kernel.run("screen = lab.dashboard().render_loop")
        # Painted and paused while it is open: no row comes in between.
        kernel.holds(
            "(opened := lab.alert_log.opened) is not None and lab.latest().position != 0 "
            "and (screen.paint(due=True), screen.view.pause(True))"
        )
        # This one, not an earlier one that the page still shows.
        page.wait_for_function(
            "(told) => [...document.querySelectorAll('.pairlab-signal [title]')]"
            ".some((part) => part.title.startsWith(told))",
            arg=kernel.run("print(opened.sentence)").strip(),
        )
        page.wait_for_function(OPEN)
        cells = page.locator(".pairlab-signal td").all_inner_texts()
    assert any(cell.endswith("BTCUSDT") for cell in cells)
    assert {"gross", "costs", "net", "β"} <= {cell.strip() for cell in cells}
    gross, costs, net = (
        float(cells[cells.index(name) + 1].replace("−", "-")) for name in ("gross", "costs", "net")
    )
    assert costs == pytest.approx(-16, abs=0.2)  # four fills of 4 bps
    assert net == pytest.approx(gross + costs, abs=0.02)
    assert "25.000" in cells


def test_a_narrow_page_swaps_them(page: Any) -> None:
    page.set_viewport_size({"width": 980, "height": 600})
    page.locator(".pairlab-signal").wait_for(state="hidden")
    assert page.evaluate(CUT) == []
    page.locator(".pairlab-latest .pairlab-swap").click()
    page.locator(".pairlab-latest").wait_for(state="hidden")
    page.wait_for_function(OPEN)
    assert page.evaluate(CUT) == []
    page.locator(".pairlab-signal .pairlab-swap").click()
    page.locator(".pairlab-signal").wait_for(state="hidden")
    assert page.locator(".pairlab-latest").is_visible()
