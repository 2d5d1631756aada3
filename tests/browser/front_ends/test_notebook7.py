"""The lab in Notebook 7: first paint, a control both ways, restart and re-run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.conftest import (
    Screen,
    Server,
    paths,
    warm,
)
from tests.browser.notebooks import ready, restart_kernel, run_cell, write_notebook

CELLS = [
    'from pairlab import PairLab\nlab = PairLab(feed="demo")\nlab.start()\nlab',
    'lab.dashboard("compact", theme="jupyterlab")',
]


@pytest.fixture(scope="module")
def notebook(notebook7: Server, open_page: Callable[..., Screen]) -> Screen:
    """A notebook with a lab shown in its only cell."""
    write_notebook(notebook7.home, "lab.ipynb", CELLS)
    screen = open_page(f"{notebook7.url}/notebooks/lab.ipynb", 1280, 1000)
    ready(screen.page)
    run_cell(screen.page, 0)
    screen.page.wait_for_selector(".pairlab-dash")
    warm(screen.page)
    return screen


def test_every_chart_is_drawn_and_goes_on(notebook: Screen) -> None:
    page = notebook.page
    page.wait_for_function(
        """[...document.querySelectorAll('.pairlab-chart path.line')]
            .filter(line => line.getAttribute('d')?.length > 100).length >= 4"""
    )
    before = paths(page)
    page.wait_for_function(
        """lines => [...document.querySelectorAll('.pairlab-chart path.line')]
            .filter((line, i) => line.getAttribute('d') !== lines[i]).length >= 4""",
        arg=before,
    )


def test_a_view_that_follows_the_notebook_changes_with_its_theme(notebook: Screen) -> None:
    page = notebook.page
    run_cell(page, 1)
    page.wait_for_function("document.querySelectorAll('.pairlab-dash').length === 2")
    for name, light, colour in (
        ("JupyterLab Dark", "false", "rgb(8, 11, 16)"),
        ("JupyterLab Light", "true", "rgb(233, 237, 242)"),
    ):
        page.evaluate(
            "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})",
            name,
        )
        page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")
        page.wait_for_function(
            """colour => getComputedStyle(document.querySelectorAll('.pairlab-dash')[1])
                .backgroundColor === colour""",
            arg=colour,
        )


def test_a_restarted_kernel_shows_the_lab_again(notebook7: Server, notebook: Screen) -> None:
    page = notebook.page
    with notebook7.kernel() as kernel:
        before = kernel.run("import os; print(os.getpid())")
        kernel.run("lab.settings.entry_z = 1.9")
    field = ".pairlab-row-entry_z .pairlab-field input"
    page.wait_for_function(f"document.querySelector({field!r}).value === '1.90'")
    restart_kernel(page)
    run_cell(page, 0)
    warm(page)
    assert page.locator(".jp-CodeCell").first.locator(".pairlab-dash").count() == 1
    with notebook7.kernel() as kernel:
        assert kernel.run("import os; print(os.getpid())") != before
        # The new lab begins with its own settings, and the page shows them.
        assert kernel.run("print(lab.settings.entry_z)") == "2.0"
    page.wait_for_function(f"document.querySelector({field!r}).value === '2.00'")
