"""A page whose kernel says nothing any more notices by itself, says why, and comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.browser.conftest import Screen, Server, warm
from tests.browser.freezing import NOTICED_MS, frozen, kernel_process
from tests.browser.notebooks import ready, run_cell, write_notebook

BANNER = ".pairlab-dash > .pairlab-lost-banner"
NO_LIFE = """() => {
    const strip = document.querySelector('.pairlab-status-bar').innerText;
    return !/\\b(live|running|healthy|SPREAD)\\b/.test(strip) && !/[+−]\\d\\.\\d\\d/.test(strip);
}"""
MOVES = """before => {
    const now = document.querySelector('.pairlab-prices path.line')?.getAttribute('d');
    return now && now !== before && !document.querySelector('.pairlab-lost');
}"""


def line(page: Any) -> Any:
    return page.evaluate("document.querySelector('.pairlab-prices path.line').getAttribute('d')")


def notices(page: Any, *words: str) -> None:
    """Wait until everything is marked, and see that nothing looks as if it were alive."""
    page.wait_for_selector(BANNER, timeout=NOTICED_MS)
    told = page.locator(BANNER).inner_text()
    assert told.startswith("▲ STALE · nothing new for ")
    assert any(word in told for word in words), told
    page.wait_for_function(NO_LIFE, timeout=1_000)
    assert page.evaluate(
        "[...document.querySelectorAll('.pairlab-panel')].every(p => p.closest('.pairlab-lost'))"
    )


def recovers(page: Any, before: Any) -> None:
    page.wait_for_function(MOVES, arg=before)
    page.wait_for_function(
        "document.querySelector('.pairlab-status-bar').innerText.includes('running')"
    )
    assert page.locator(".pairlab-lost, .pairlab-lost-banner").count() == 0


@pytest.fixture(scope="module")
def page(demo: Server, open_page: Callable[..., Screen]) -> Any:
    """The app's page, warm; each test leaves it alive, the last one with another kernel."""
    screen = open_page(demo.url)
    warm(screen.page)
    return screen.page


def test_a_frozen_kernel_is_noticed_and_its_return_too(demo: Server, page: Any) -> None:
    before = line(page)
    with frozen(kernel_process(demo)):
        notices(page, "does not answer", "is busy")
    recovers(page, before)


def test_a_server_that_cannot_be_reached_is_noticed(demo: Server, page: Any) -> None:
    before = line(page)
    with frozen(psutil.Process(demo.process.pid)):
        notices(page, "does not answer", "cannot be reached")
    recovers(page, before)


def test_a_page_of_the_app_whose_kernel_dies_starts_again(demo: Server, page: Any) -> None:
    page.evaluate("window.old = true")
    kernel_process(demo).kill()
    notices(page, "the kernel has ended")
    page.wait_for_function("window.old === undefined", timeout=60_000)
    page.wait_for_selector(".pairlab-dash", timeout=120_000)
    warm(page)
    recovers(page, "")


def test_a_lab_at_rest_and_a_slow_one_are_not_taken_for_dead(
    jupyter: Server, visit: Callable[..., Screen]
) -> None:
    cells = [
        'from pairlab import PairLab\nlab = PairLab(feed="demo").start()\nlab.dashboard("compact")',
        "await lab.stop()",
        "import time; time.sleep(8)",
    ]
    write_notebook(jupyter.home, "lost.ipynb", cells)
    page = visit(f"{jupyter.url}/doc/tree/lost.ipynb", 1600, 1800).page
    ready(page)
    run_cell(page, 0)
    warm(page)
    with jupyter.kernel() as kernel:
        # Frames that are rare, and none at all: beats tell that it lives.
        kernel.run("lab.dashboard('compact').frames_per_s = 0.1")
        page.evaluate("window.seen = 0; new MutationObserver(() => { window.seen += "
                      "document.querySelectorAll('.pairlab-lost').length }).observe(document.body,"
                      "{subtree: true, attributes: true, attributeFilter: ['class']})")  # fmt: skip
        time.sleep(6.5)
        assert page.evaluate("window.seen") == 0
        kernel.run("lab.dashboard('compact').frames_per_s = None")
    run_cell_without_waiting(page, 2)
    notices(page, "busy")
    recovers(page, "")
    page.evaluate("window.seen = 0")
    run_cell(page, 1)
    page.wait_for_function(
        "document.querySelector('.pairlab-status-bar').innerText.includes('STOPPED')"
    )
    time.sleep(6)
    assert page.evaluate("window.seen") == 0
    run_cell(page, 0)  # what has stopped told nothing wrong; a lab that runs has something to lose
    warm(page)
    page.evaluate("void window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
                  ".shutdown()")  # fmt: skip
    notices(page, "has ended", "cannot be reached", "does not answer")


def run_cell_without_waiting(page: Any, number: int) -> None:
    page.locator(".jp-Notebook .jp-CodeCell").nth(number).locator(".jp-InputPrompt").click()
    page.locator("[data-jp-item-name='run'] .jp-ToolbarButtonComponent").first.click()
