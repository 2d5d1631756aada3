"""Every part alone in a cell: it shows what it is for, whatever becomes of the other cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pairlab import widgets
from tests.browser.conftest import Screen, Server, warm
from tests.browser.hands import shows
from tests.browser.notebooks import ready, run_cell, write_notebook

LINES = (
    "[...part.querySelectorAll('path.line')].filter(l => (l.getAttribute('d') ?? '').length > {})"
)
CHART = f"{LINES.format(100)}.length >= {{}} && part.querySelector('.axis .tick text')"
SEEN = {
    # What is true in a part's cell, and what in it goes on changing.
    "AlertTable": ("part.querySelectorAll('tr td').length >= 5 && text.includes('ENTRY')", "text"),
    "Controls": (
        (
            "part.querySelectorAll('.noUi-handle').length === 6 && "
            "part.querySelector('.pairlab-row-entry_z input').value === '2.00'"
        ),
        None,
    ),
    "CorrelationChart": (CHART.format(1), "drawn"),
    "Dashboard": (
        "part.querySelectorAll('.pairlab-chart').length === 4 && text.includes('STATIONARY')",
        "drawn",
    ),
    "EventLog": ("text.includes('lag p50 / p99 ms') && text.includes('UTC')", "text"),
    "ExportButton": ("part.querySelector('.pairlab-button-export').offsetWidth > 20", None),
    "HedgeChart": (f"{LINES.format(20)}.length >= 1 && text.includes('25.000')", "drawn"),
    "LatestTable": (
        (
            "part.querySelectorAll('dd').length === 15 && "
            "[...part.querySelectorAll('dd')].filter(d => /\\d/.test(d.textContent)).length === 15"
        ),
        "text",
    ),
    "PriceChart": (CHART.format(2), "drawn"),
    "RecordButton": ("part.querySelector('.pairlab-button-record').offsetWidth > 20", None),
    "RowTable": ("part.querySelectorAll('tr td').length >= 30", "text"),
    "SessionPnl": (
        "part.querySelectorAll('dd').length === 6 && text.includes('on paper since')",
        None,
    ),
    "SignalPanel": ("part.querySelectorAll('tr').length === 4 && text.includes('ETHUSDT')", None),
    "SpreadChart": (CHART.format(2), "drawn"),
    "StatusBar": ("text.includes('SIMULATED') && text.includes('STATIONARY')", "text"),
    # A live lab has nothing to play: the bar is there and takes no room.
    "TransportBar": ("part.getBoundingClientRect().height === 0", None),
    "ViewTools": ("part.querySelector('select').selectedOptions[0].text.startsWith('30')", None),
    "WhatIf": ("text.includes('What if') && part.querySelector('button').offsetWidth > 20", None),
    "ZHistogram": (
        "[...part.querySelectorAll('.bar')].filter(b => +b.getAttribute('height') > 1).length > 4",
        None,
    ),
    "ZScoreChart": (CHART.format(1) + " && text.includes('+2.00 entry')", "drawn"),
}
LOOK = """name => {
    const cells = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')];
    const cell = cells.find(c => c.querySelector('.cm-content').textContent.startsWith(name + '('));
    const part = cell?.querySelector('.jp-OutputArea-output .pairlab');
    if (!part) return false;
    const text = part.textContent;
    const drawn = [...part.querySelectorAll('path')].map(p => p.getAttribute('d')).join();
    return %s;
}"""
PARTS = [name for name in widgets.__all__ if isinstance(getattr(widgets, name), type)]
CELLS = [
    (
        "from pairlab import PairLab\nfrom pairlab.widgets import *\n"
        'lab = PairLab(feed="demo")\nlab.start()\nlab.wait(300, 60)'
    ),
    *(f"{name}(lab)" for name in PARTS),
]


@pytest.fixture(scope="module")
def page(jupyter: Server, open_page: Callable[..., Screen]) -> Any:
    """A notebook in JupyterLab with one part a cell, all of them in sight."""
    write_notebook(jupyter.home, "parts.ipynb", CELLS)
    page = open_page(f"{jupyter.url}/doc/tree/parts.ipynb", 1500, 6000).page
    ready(page)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    return page


def goes_on(page: Any, name: str) -> None:
    """Wait until a part shows what it is for, and something else a moment later."""
    right, changes = SEEN[name]
    page.wait_for_function(LOOK % right, arg=name)
    if changes:
        before = page.evaluate(LOOK % changes, name)
        page.wait_for_function(
            f"([name, before]) => ({LOOK % changes})(name) !== before", arg=[name, before]
        )


def test_every_part_is_here() -> None:
    assert set(SEEN) == set(PARTS)


@pytest.mark.parametrize("name", sorted(SEEN))
def test_it_shows_what_it_is_for_and_goes_on(page: Any, name: str) -> None:
    goes_on(page, name)


def test_parts_in_cells_of_their_own_work_together(jupyter: Server, page: Any) -> None:
    with jupyter.kernel() as kernel:
        # Whichever cell it is in, a control is the lab's.
        field = page.locator(".jp-OutputArea-output > .pairlab-settings .pairlab-row-entry_z input")
        field.fill("2.5")
        field.press("Enter")
        kernel.holds("lab.settings.entry_z == 2.5")
    page.wait_for_function(LOOK % "text.includes('+2.50 entry')", arg="ZScoreChart")
    inputs = "[...document.querySelectorAll('.pairlab-row-entry_z .pairlab-field input')]"
    shows(page, f"{inputs}.length === 2 && {inputs}.every(i => i.value === '2.50')")
    page.locator(".jp-OutputArea-output > .pairlab-tools select").select_option(label="10 s")
    selects = "[...document.querySelectorAll('.pairlab-tools select')].map(s => s.value)"
    shows(page, f"{selects}.length === 3 && {selects}.every(v => v.startsWith('10'))")
    with jupyter.kernel() as kernel:
        kernel.run("lab.settings.entry_z = 2.0; lab.dashboard().render_loop.view.set_span(30)")
    shows(page, f"{inputs}.every(i => i.value === '2.00')")


def test_a_deleted_cell_and_one_run_again_leave_the_others_alive(page: Any) -> None:
    chart = PARTS.index("ZScoreChart") + 1
    page.locator(".jp-Notebook .jp-CodeCell").nth(chart).locator(".jp-InputPrompt").click()
    page.keyboard.press("d")
    page.keyboard.press("d")
    shows(page, f"document.querySelectorAll('.jp-Notebook .jp-CodeCell').length === {len(PARTS)}")
    run_cell(page, PARTS.index("SpreadChart") + 1)
    warm(page)
    for name in PARTS:
        if name != "ZScoreChart":
            goes_on(page, name)
