"""What nobody can see is not painted: a tab in the background, a cell that was scrolled away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import Kernel, Screen, Server, paths, warm
from tests.browser.notebooks import ready, run_cell, write_notebook

CELLS = [
    'from pairlab import PairLab\nlab = PairLab(feed="demo").start()\nlab.dashboard("compact")',
    "from IPython.display import HTML\nHTML('<div style=\"height: 4000px\">far</div>')",
    "1 + 1",
]
PAINTED = "print(lab.dashboard('compact').render_loop.meter.painted)"
UNSEEN = "lab.dashboard('compact').render_loop.channel.pacer.looking(time.monotonic()) == 0"


@pytest.fixture
def page(jupyter: Server, visit: Callable[..., Screen]) -> Any:
    write_notebook(jupyter.home, "unseen.ipynb", CELLS)
    write_notebook(jupyter.home, "other.ipynb", ["2 + 2"])
    page = visit(f"{jupyter.url}/doc/tree/unseen.ipynb", 1600, 900).page
    ready(page)
    run_cell(page, 0)
    warm(page)
    run_cell(page, 1)
    return page


def is_painted(kernel: Kernel) -> None:
    kernel.run(f"before = {PAINTED[6:-1]}")
    kernel.holds(f"{PAINTED[6:-1]} > before + 5")


def is_not_painted(kernel: Kernel, page: Any) -> None:
    """See that for hundreds of rows nothing is painted, and that nothing is taken for dead."""
    kernel.run("import time")
    kernel.holds(UNSEEN)
    before = kernel.run(PAINTED)
    # Asked, not waited for: while a cell runs no page can say what it shows, and all is painted.
    kernel.run("seen_rows = lab.health().rows")
    kernel.holds("lab.health().rows > seen_rows + 150")
    assert kernel.run(PAINTED) == before
    assert page.locator(".pairlab-lost").count() == 0


def scroll(page: Any, top: int) -> None:
    page.evaluate(
        """top => {
            const scrolled = [...document.querySelectorAll('.jp-NotebookPanel-notebook, '
                + '.jp-NotebookPanel-notebook *')].filter(e => e.scrollHeight > e.clientHeight + 999
                && /auto|scroll/.test(getComputedStyle(e).overflowY));
            scrolled.forEach(e => { e.scrollTop = top; });
        }""",
        top,
    )


def test_nothing_is_painted_while_no_part_is_in_sight(jupyter: Server, page: Any) -> None:
    with jupyter.kernel() as kernel:
        scroll(page, 0)
        is_painted(kernel)
        scroll(page, 4000)
        is_not_painted(kernel, page)
        scroll(page, 0)
        is_painted(kernel)
        # Another tab in front of it in JupyterLab's own window; the browser's page is visible.
        page.evaluate(
            "void window.jupyterapp.commands.execute('docmanager:open', {path: 'other.ipynb'})"
        )
        page.wait_for_function(
            "window.jupyterapp.shell.currentWidget.title.label === 'other.ipynb'"
        )
        is_not_painted(kernel, page)
        page.evaluate(
            "void window.jupyterapp.commands.execute('docmanager:open', {path: 'unseen.ipynb'})"
        )
        scroll(page, 0)
        is_painted(kernel)
    before = paths(page)
    page.wait_for_function(
        """before => document.querySelector('.pairlab-prices path.line').getAttribute('d')
            !== before""",
        arg=before[0],
    )
