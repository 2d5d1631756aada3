"""The lab in JupyterLab: cells, sliders, export, re-run and stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nbformat
import pytest
from playwright.sync_api import TimeoutError as PageTimeoutError

from tests.browser.conftest import Screen, Server, check_export, warm

CELLS = [
    'from pairlab import PairLab\nlab = PairLab(feed="demo")\nlab.start()\nlab',
    "lab.wait(rows=200, timeout_s=60)\nprint('rows', len(lab.history()) >= 200)",
    "await lab.stop()\nprint('state', lab.health().state)",
]


def run_cell(page: Any, number: int) -> None:
    """Run a cell by the toolbar's button, and see that the kernel has run it."""
    prompt = page.locator(".jp-Notebook .jp-CodeCell").nth(number).locator(".jp-InputPrompt")
    before = prompt.inner_text()
    for _ in range(20):
        # Until page and kernel have found each other, a click comes to nothing.
        if "*" not in prompt.inner_text():
            prompt.click()
            page.locator("[data-jp-item-name='run'] .jp-ToolbarButtonComponent").first.click()
        try:
            page.wait_for_function(
                """([n, before]) => {
                    const cell = document.querySelectorAll('.jp-Notebook .jp-CodeCell')[n];
                    const now = cell.querySelector('.jp-InputPrompt').innerText;
                    return now !== before && /\\d/.test(now);
                }""",
                arg=[number, before],
                timeout=4_000,
            )
        except PageTimeoutError:
            continue
        return
    raise AssertionError(f"cell {number} was never run")


@pytest.fixture(scope="module")
def notebook(jupyter: Server, open_page: Callable[..., Screen]) -> Screen:
    """A notebook in JupyterLab with a lab shown in its first cell."""
    book = nbformat.v4.new_notebook()
    book.metadata["kernelspec"] = {
        "display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3",
    }  # fmt: skip
    book.cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(book, jupyter.home / "lab.ipynb")
    screen = open_page(f"{jupyter.url}/doc/tree/lab.ipynb", 1600, 1100)
    screen.page.wait_for_selector(".jp-Notebook .jp-CodeCell .cm-content")
    # A key pressed before the kernel answers goes nowhere.
    screen.page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    run_cell(screen.page, 0)
    screen.page.wait_for_selector(".pairlab-dash")
    warm(screen.page)
    return screen


def test_the_stream_goes_on_between_cells_and_wait_blocks_only_the_cell(
    jupyter: Server, notebook: Screen
) -> None:
    run_cell(notebook.page, 1)
    notebook.page.wait_for_selector("text=rows True")
    with jupyter.kernel() as kernel:
        kernel.run("import time; before = lab.health().ticks; time.sleep(1)")
        kernel.run("lab.wait(lab.health().rows + 20, 30)")
        assert kernel.run("print(lab.health().state, lab.health().gaps)") == "live 0"


def test_a_slider_and_its_setting_are_one(jupyter: Server, notebook: Screen) -> None:
    page = notebook.page
    handle = page.locator(".pairlab-row-min_correlation .noUi-handle").first
    handle.focus()
    handle.press("ArrowUp")
    page.wait_for_function(
        "document.querySelector('.pairlab-row-min_correlation .pairlab-field input').value"
        " !== '0.70'"
    )
    with jupyter.kernel() as kernel:
        assert float(kernel.run("print(lab.settings.min_correlation)")) > 0.7
        kernel.run("lab.settings.min_correlation = 0.55")
    page.wait_for_function(
        "document.querySelector('.pairlab-row-min_correlation .pairlab-field input').value"
        " === '0.55'"
    )


def test_the_browser_downloads_what_history_has(jupyter: Server, notebook: Screen) -> None:
    check_export(notebook.page, jupyter)


def test_running_the_cell_again_replaces_the_lab_and_leaves_nothing(
    jupyter: Server, notebook: Screen
) -> None:
    count = (
        "import asyncio\nfrom ipywidgets.widgets.widget import _instances\n"
        "print(len(_instances), sum('pairlab' in t.get_name() for t in asyncio.all_tasks()))"
    )
    with jupyter.kernel() as kernel:
        kernel.run("lab.wait(lab.health().rows + 5, 30); old = lab")
        widgets, tasks = map(int, kernel.run(count).split())
        run_cell(notebook.page, 0)
        kernel.run("lab.wait(60, 60); assert lab is not old")
        assert kernel.run("print(old.health().state)") == "stopped"
        now = tuple(map(int, kernel.run(count).split()))
        assert now == (widgets, tasks)
    warm(notebook.page)
    assert notebook.page.locator(".pairlab-dash").count() == 1


def test_stop_leaves_the_dashboard_standing_and_no_task(jupyter: Server, notebook: Screen) -> None:
    run_cell(notebook.page, 2)
    notebook.page.wait_for_selector("text=state stopped")
    notebook.page.wait_for_function(
        "document.querySelector('.pairlab-strip').innerText.includes('STOPPED')"
    )
    with jupyter.kernel() as kernel:
        assert (
            kernel.run(
                "import asyncio\nprint([t.get_name() for t in asyncio.all_tasks() "
                "if 'pairlab' in t.get_name()])"
            )
            == "[]"
        )
