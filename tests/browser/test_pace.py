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
