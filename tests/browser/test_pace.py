"""A view that nobody looks at is not painted; one that is shown again, is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.browser.conftest import Screen, Server, warm
from tests.browser.notebooks import ready, run_cell, write_notebook

CELLS = [
    'from pairlab import PairLab\nlab = PairLab(feed="demo")\nlab.start()\nlab',
    """
import asyncio
from ipywidgets import HTML
told = HTML("not measured").add_class("told")
screen = lab.dashboard().screen

def measure(name):
    # Between cells: while one runs, what a page says waits behind it.
    loop, counts = lab.loop, []
    def count():
        counts.append((screen.frames_painted, lab.health().rows))
    def tell():
        count()
        (frames, rows), (frames_end, rows_end) = counts
        told.value = f"{name}: {frames_end - frames} frames, {rows_end - rows} rows"
    loop.call_later(1.0, count)
    loop.call_later(3.0, tell)
told
""",
    "lab",
]


def measured(page: Any, server: Server, name: str) -> tuple[int, int]:
    """Return how many frames were painted, and rows made, in two seconds between cells."""
    with server.kernel() as kernel:
        kernel.run(f"measure({name!r})")
    page.wait_for_function(
        "name => document.querySelector('.told')?.innerText.startsWith(name + ':')", arg=name
    )
    frames, rows = re.findall(r"\d+", page.inner_text(".told"))
    return int(frames), int(rows)


def test_a_closed_view_is_not_painted_and_a_new_one_is(
    jupyter: Server, open_page: Callable[..., Screen]
) -> None:
    write_notebook(jupyter.home, "pace.ipynb", CELLS)
    page = open_page(f"{jupyter.url}/doc/tree/pace.ipynb", 1600, 2200).page
    ready(page)
    run_cell(page, 0)
    warm(page)
    run_cell(page, 1)
    frames, rows = measured(page, jupyter, "looked at")
    assert frames > 0
    assert rows > 0

    page.locator(".jp-Notebook .jp-CodeCell").first.locator(".jp-InputPrompt").click()
    page.keyboard.press("d")
    page.keyboard.press("d")
    page.wait_for_selector(".pairlab-dash", state="detached")
    frames, rows = measured(page, jupyter, "closed")
    assert frames == 0
    assert rows > 0

    run_cell(page, 1)  # the cell that shows the lab again has moved up
    page.wait_for_selector(".pairlab-dash")
    assert measured(page, jupyter, "again")[0] > 0


def test_a_slow_browser_is_painted_less_often_and_no_tick_is_dropped_for_it(
    jupyter: Server, open_page: Callable[..., Screen]
) -> None:
    write_notebook(jupyter.home, "slow.ipynb", CELLS)
    page = open_page(f"{jupyter.url}/doc/tree/slow.ipynb", 1600, 2200).page
    ready(page)
    run_cell(page, 0)
    warm(page)
    run_cell(page, 1)
    fast, _ = measured(page, jupyter, "fast")
    with jupyter.kernel() as kernel:
        kernel.run("h = lab.health(); without = h.ticks - h.rows")  # before both legs had a price
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 20})
    slow, rows = measured(page, jupyter, "slow")
    slow, rows = max((slow, rows), measured(page, jupyter, "slow still"))
    with jupyter.kernel() as kernel:
        kernel.run(
            "h = lab.health(); assert not any(h.dropped.values()), h.dropped; "
            "assert (h.missing, h.gaps, h.state) == (0, 0, 'live'), h; "
            "assert h.ticks - h.rows == without < 50, (h.rows, h.ticks, without); "
            "age_s = __import__('time').time() - int(lab.rows.view(1)[0]['time_ns']) / 1e9; "
            "assert age_s < 5, age_s"
        )
    session.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    measured(page, jupyter, "catching up")
    again, _ = measured(page, jupyter, "again")
    assert slow < 0.6 * fast, (fast, slow, again)
    assert rows > 20  # the feed's own rate: none waits for the screen
    assert again > max(1.3 * slow, 0.5 * fast), (fast, slow, again)
