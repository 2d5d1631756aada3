"""A view that nobody looks at is not painted; one that is shown again, is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import Screen, Server, warm
from tests.browser.notebooks import ready, run_cell, write_notebook

CELLS = [
    'from pairlab import PairLab\nlab = PairLab(feed="demo")\nlab.start()\nlab',
    "lab",
]
MEASURE = """
screen, counts = lab.dashboard().render_loop, []
def count():
    counts.extend((screen.meter.painted, lab.health().rows))
def tell():
    count()
    frames, rows, frames_end, rows_end = counts
    print("in 2 s:", frames_end - frames, rows_end - rows)
lab.loop.call_later(0.5, count)
lab.loop.call_later(2.5, tell)
"""


def measured(server: Server) -> tuple[int, int]:
    """Return how many frames were painted, and rows made, in two seconds.

    Between cells: while one runs, what a page says waits behind it.
    """
    with server.kernel() as kernel:
        kernel.run(MEASURE)
        frames, rows = kernel.hears("in 2 s:").split()
    return int(frames), int(rows)


@pytest.fixture(scope="module")
def page(jupyter: Server, open_page: Callable[..., Screen]) -> Any:
    """A notebook whose first cell shows a lab, and whose second one may."""
    write_notebook(jupyter.home, "pace.ipynb", CELLS)
    page = open_page(f"{jupyter.url}/doc/tree/pace.ipynb", 1600, 2200).page
    ready(page)
    run_cell(page, 0)
    warm(page)
    return page


def test_a_closed_view_is_not_painted_and_a_new_one_is(jupyter: Server, page: Any) -> None:
    frames, rows = measured(jupyter)
    assert frames > 0
    assert rows > 0

    page.locator(".jp-Notebook .jp-CodeCell").first.locator(".jp-InputPrompt").click()
    page.keyboard.press("d")
    page.keyboard.press("d")
    page.wait_for_selector(".pairlab-dash", state="detached")
    frames, rows = measured(jupyter)
    assert frames == 0
    assert rows > 0

    run_cell(page, 0)  # the cell that shows the lab again has moved up
    page.wait_for_selector(".pairlab-dash")
    assert measured(jupyter)[0] > 0


def test_a_slow_browser_is_painted_less_often_and_no_tick_is_dropped_for_it(
    jupyter: Server, page: Any
) -> None:
    fast, _ = measured(jupyter)
    with jupyter.kernel() as kernel:
        kernel.run("h = lab.health(); without = h.ticks - h.rows")  # before both legs had a price
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 20})
    slow, rows = max(measured(jupyter), measured(jupyter))
    with jupyter.kernel() as kernel:
        kernel.run(
            "h = lab.health(); assert not any(h.dropped.values()), h.dropped; "
            "assert (h.missing, h.gaps, h.state) == (0, 0, 'live'), h; "
            "assert h.ticks - h.rows == without < 50, (h.rows, h.ticks, without); "
            "age_s = __import__('time').time() - int(lab.rows.view(1)[0]['time_ns']) / 1e9; "
            "assert age_s < 5, age_s"
        )
    session.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    measured(jupyter)  # it catches up
    again, _ = measured(jupyter)
    assert slow < 0.6 * fast, (fast, slow, again)
    assert rows > 20  # the feed's own rate: none waits for the screen
    assert again > max(1.3 * slow, 0.5 * fast), (fast, slow, again)
