"""A view that nobody looks at is not painted; one that is shown again, is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from pairlab.widgets.transport.frame_pacer import AHEAD, EVERY
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
# Between cells, as while one runs a page's answers are not waited for.
STANDSTILL = """
import asyncio
async def standstill():
    screen, began = lab.dashboard().render_loop, lab.health().rows
    first = frames = screen.meter.painted
    rows = began
    while lab.health().rows < rows + 100:
        await asyncio.sleep(0.02)
        if screen.meter.painted != frames:
            frames, rows = screen.meter.painted, lab.health().rows
    print("until it waited:", frames - first, lab.health().rows - began)
work = lab.loop.create_task(standstill())
"""
GOES_ON = """
async def goes_on():
    screen, first = lab.dashboard().render_loop, lab.dashboard().render_loop.meter.painted
    while screen.meter.painted < first + 20:
        await asyncio.sleep(0.02)
    print("it paints again")
work = lab.loop.create_task(goes_on())
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


def test_a_page_that_cannot_keep_up_holds_up_the_painting_and_no_tick(
    jupyter: Server, page: Any
) -> None:
    with jupyter.kernel() as kernel:
        kernel.run("h = lab.health(); without = h.ticks - h.rows")  # before both legs had a price
    session = page.context.new_cdp_session(page)
    stopped: list[Any] = []
    session.on("Debugger.paused", lambda event: stopped.append(event))
    session.send("Debugger.enable")
    session.send("Debugger.pause")  # no script runs in the page any more, so it answers nothing
    try:
        until_s = time.monotonic() + 30
        while not stopped and time.monotonic() < until_s:
            page.wait_for_timeout(20)  # where Playwright hands on what the browser says
        assert stopped
        with jupyter.kernel() as kernel:
            kernel.run(STANDSTILL)
            frames, rows = map(int, kernel.hears("until it waited:").split())
    finally:
        session.send("Debugger.resume")
        session.send("Debugger.disable")
    # What was sent without asking, the frames ahead, and once more for an answer on its way then.
    assert frames <= 2 * (EVERY + AHEAD)
    assert rows >= 100  # the feed's own rate: none waits for the screen
    with jupyter.kernel() as kernel:
        kernel.run(GOES_ON)
        kernel.hears("it paints again")
        kernel.run(
            "h = lab.health(); assert not any(h.dropped.values()), h.dropped; "
            "assert (h.missing, h.gaps, h.state) == (0, 0, 'live'), h; "
            "assert h.ticks - h.rows == without < 50, (h.rows, h.ticks, without); "
        )
