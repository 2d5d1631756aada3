"""The lab in JupyterLab: cells, sliders, themes, several views, export, re-run and stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import (
    Screen,
    Server,
    warm,
)
from tests.browser.notebooks import ready, restart_kernel, run_cell, write_notebook

CELLS = [
    'from pairlab import PairLab\nlab = PairLab(feed="demo")\nlab.start()\nlab',
    "lab.wait(rows=200, timeout_s=60)\nprint('rows', len(lab.history()) >= 200)",
    'lab.dashboard("compact", theme="jupyterlab")',
    "await lab.stop()\nprint('state', lab.health().state)",
]


@pytest.fixture(scope="module")
def notebook(jupyter: Server, open_page: Callable[..., Screen]) -> Screen:
    """A notebook in JupyterLab with a lab shown in its first cell."""
    write_notebook(jupyter.home, "lab.ipynb", CELLS)
    # High: a cell that is out of sight is not drawn.
    screen = open_page(f"{jupyter.url}/doc/tree/lab.ipynb", 1600, 2200)
    ready(screen.page)
    run_cell(screen.page, 0)
    screen.page.wait_for_selector(".pairlab-dash")
    warm(screen.page)
    return screen


def backgrounds(page: Any) -> list[str]:
    """Return the page colour of every dashboard."""
    return list(
        page.eval_on_selector_all(
            ".pairlab-dash", "views => views.map(v => getComputedStyle(v).backgroundColor)"
        )
    )


def test_the_stream_goes_on_between_cells_and_wait_blocks_only_the_cell(
    jupyter: Server, notebook: Screen
) -> None:
    run_cell(notebook.page, 1)
    notebook.page.wait_for_selector("text=rows True")
    with jupyter.kernel() as kernel:
        kernel.run("import time; before = lab.health().ticks; time.sleep(1)")
        kernel.run("lab.wait(lab.health().rows + 20, 30)")
        assert kernel.run("print(lab.health().state, lab.health().gaps)") == "live 0"


def test_two_views_in_two_layouts_and_themes_show_the_same_numbers(
    jupyter: Server, notebook: Screen
) -> None:
    page = notebook.page
    run_cell(page, 2)
    page.wait_for_function("document.querySelectorAll('.pairlab-dash').length === 2")
    page.wait_for_function(
        """() => [...document.querySelectorAll('.pairlab-dash')]
            .every(d => d.querySelectorAll('.pairlab-chart svg .axis path').length >= 4)"""
    )
    wide, narrow = page.locator(".pairlab-dash").all()
    assert wide.locator(".pairlab-rows").count() == 1
    assert narrow.locator(".pairlab-rows").count() == 0
    assert narrow.bounding_box()["width"] <= 999 < wide.bounding_box()["width"]
    # Both go on, and they tell the same: one widget is shown twice.
    page.wait_for_function(
        """before => {
            const views = [...document.querySelectorAll('.pairlab-dash')];
            const of = css => views.map(v => v.querySelector(css)?.textContent);
            const texts = of('.pairlab-latest dl');
            const lines = views.map(v =>
                v.querySelector('.pairlab-prices path.line')?.getAttribute('d'));
            return texts[0] === texts[1] && texts[0] !== before && lines.every(d => d?.length > 50);
        }""",
        arg=wide.locator(".pairlab-latest dl").text_content(),
    )
    field = ".pairlab-row-exit_z .pairlab-field input"
    narrow.locator(field).fill("0.75")
    narrow.locator(field).press("Enter")
    page.wait_for_function(
        f"""[...document.querySelectorAll({field!r})].map(i => i.value).join() === '0.75,0.75'"""
    )
    with jupyter.kernel() as kernel:
        kernel.holds("lab.settings.exit_z == 0.75")  # views agree before the kernel hears of it
        kernel.run("lab.settings.exit_z = 0.5")


def test_a_view_that_follows_jupyterlab_changes_with_its_theme(notebook: Screen) -> None:
    page = notebook.page

    def choose(name: str, light: str) -> list[str]:
        page.evaluate(
            "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})",
            name,
        )
        page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")
        # A splash screen covers the page until it has faded. A theme that is chosen during these
        # 200 ms makes JupyterLab remove the screen twice, which is an error, lab or no lab.
        page.wait_for_selector("#jupyterlab-splash", state="detached")
        return backgrounds(page)

    dark, light = "rgb(8, 11, 16)", "rgb(233, 237, 242)"
    assert choose("JupyterLab Dark", "false") == [dark, dark]
    assert choose("JupyterLab Light", "true") == [dark, light]
    panel = page.locator(".pairlab-dash").nth(1).locator(".pairlab-latest")
    assert panel.evaluate("e => getComputedStyle(e).color") == "rgb(17, 22, 29)"


def test_running_the_cell_again_replaces_the_lab_and_leaves_nothing(
    jupyter: Server, notebook: Screen
) -> None:
    named = "sum('pairlab' in t.get_name() for t in asyncio.all_tasks())"
    count = (
        "import asyncio\nfrom ipywidgets.widgets.widget import _instances\n"
        f"print(len(_instances), {named})"
    )
    with jupyter.kernel() as kernel:
        kernel.run("lab.wait(lab.health().rows + 5, 30); old = lab")
        widgets, tasks = map(int, kernel.run(count).split())
        run_cell(notebook.page, 0)
        kernel.run("lab.wait(60, 60); assert lab is not old")
        assert kernel.run("print(old.health().state)") == "stopped"
        # The second view is not made anew before its cell runs.
        assert int(kernel.run("print(len(_instances))")) <= widgets
        # One more is the new lab's until it has fetched the minutes before its first row.
        kernel.holds(f"{named} <= {tasks}")
    warm(notebook.page)
    # The old lab's other view is gone with its widgets.
    notebook.page.wait_for_function("document.querySelectorAll('.pairlab-dash').length === 1")


def test_stop_leaves_the_dashboard_standing_and_no_task(jupyter: Server, notebook: Screen) -> None:
    run_cell(notebook.page, 3)
    notebook.page.wait_for_selector("text=state stopped")
    notebook.page.wait_for_function(
        "document.querySelector('.pairlab-status-bar').innerText.includes('STOPPED')"
    )
    with jupyter.kernel() as kernel:
        assert (
            kernel.run(
                "import asyncio\nprint([t.get_name() for t in asyncio.all_tasks() "
                "if 'pairlab' in t.get_name()])"
            )
            == "[]"
        )


def test_a_restarted_kernel_shows_the_lab_again(jupyter: Server, notebook: Screen) -> None:
    page = notebook.page
    with jupyter.kernel() as kernel:
        before = kernel.run("import os; print(os.getpid())")
    restart_kernel(page)
    run_cell(page, 0)
    warm(page)
    page.wait_for_function("document.querySelectorAll('.pairlab-dash').length === 1")
    with jupyter.kernel() as kernel:
        assert kernel.run("import os; print(os.getpid())") != before
