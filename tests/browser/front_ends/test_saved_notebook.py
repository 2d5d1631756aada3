"""A notebook that was saved with a lab in it, opened by whoever has no kernel for it."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter

from tests.browser.conftest import Screen, Server, warm
from tests.browser.notebooks import ready, run_cell, write_notebook

CELLS = ['from pairlab import PairLab\nlab = PairLab(feed="demo").start()\nlab']
PICTURES = """[...document.querySelectorAll('.jp-OutputArea-output img')]
    .filter(i => i.src.startsWith('data:image/png') && i.getClientRects().length).length"""


def outputs(file: Path) -> list[Any]:
    return list(nbformat.read(file, 4).cells[0].outputs)


def saved_with_rows(page: Any, file: Path) -> list[Any]:
    """Save until the picture of some rows is in the file."""
    for _ in range(60):
        page.evaluate("window.jupyterapp.commands.execute('docmanager:save').then(() => null)")
        found = outputs(file)
        pictures = [o["data"] for o in found if "image/png" in o["data"]]
        if any("no rows yet" not in data["text/plain"] for data in pictures):
            return found
        time.sleep(1)
    raise AssertionError("no picture with rows was saved")


def test_a_saved_notebook_shows_a_picture_without_its_kernel(
    jupyter: Server, visit: Callable[..., Screen]
) -> None:
    file = jupyter.home / "saved.ipynb"
    write_notebook(jupyter.home, file.name, CELLS)
    page = visit(f"{jupyter.url}/doc/tree/{file.name}", 1600, 1500).page
    ready(page)
    run_cell(page, 0)
    warm(page)
    page.wait_for_function(f"{PICTURES} === 0")  # the dashboard is there: its picture is hidden
    found = saved_with_rows(page, file)
    pictures = [o["data"] for o in found if "image/png" in o["data"]]
    assert len(pictures) == 1
    png = base64.b64decode(pictures[0]["image/png"])
    assert png.startswith(b"\x89PNG")
    size = [int.from_bytes(png[at : at + 4], "big") for at in (16, 20)]
    assert size[0] == 880
    assert size[1] > 300
    words = pictures[0]["text/plain"]
    assert words.startswith("pairlab: BTCUSDT / ETHUSDT · SIMULATED · ")
    assert " UTC · z " in words
    assert all("Dashboard(children" not in o["data"]["text/plain"] for o in found)
    text = file.read_text(encoding="utf-8")
    assert "/root" not in text.replace(pictures[0]["image/png"], "")
    assert len(text) < 200_000
    # Its kernel is gone; the page that opens it next starts another one, or none.
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown().then(() => 0)")
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector("text=run the cell for the live view", timeout=30_000)
    page.wait_for_function(f"{PICTURES} === 1")
    assert page.locator("text=Error displaying widget").count() == 0
    html, _ = HTMLExporter().from_filename(str(file))
    assert f"data:image/png;base64,{pictures[0]['image/png'][:200]}" in html.replace("\n", "")
    assert "Dashboard(children" not in html
    assert "Error displaying" not in html
    assert io.StringIO(html).read(20).startswith("<!DOCTYPE html>")


RESULTS = [
    """import numpy as np, pandas as pd, pairlab
r = np.random.default_rng(7)
at = pd.date_range("2024-08-08", periods=600, freq="min", tz="UTC")
x = pd.DataFrame(np.exp(np.cumsum(r.normal(0, 0.01, (600, 6)), 0)), at, list("ABCDEF"))
pairlab.scan(x, placebo=0).dashboard()""",
    """y = 25 * x.A + r.normal(0, 0.2, 600)
swept = pairlab.sweep((y, x.A), {"entry_z": [1, 2]}, hedge_ratio=25.0, min_correlation=-1.0)
swept.heatmap()""",
]


def test_a_saved_notebook_shows_pictures_of_results(
    jupyter: Server, visit: Callable[..., Screen]
) -> None:
    file = jupyter.home / "saved_results.ipynb"
    write_notebook(jupyter.home, file.name, RESULTS)
    page = visit(f"{jupyter.url}/doc/tree/{file.name}", 1600, 2400).page
    ready(page)
    for number, shown in enumerate((".pairlab-scan canvas", ".pairlab-sweep button")):
        run_cell(page, number)
        page.wait_for_selector(shown, timeout=90_000)
    page.wait_for_function(f"{PICTURES} === 0")  # the views are there: their pictures are hidden
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save').then(() => null)")
    for number, words in enumerate(("pairlab scan: ", "pairlab sweep: ")):
        found = [o["data"] for o in nbformat.read(file, 4).cells[number].outputs]
        assert ["image/png" in data for data in found] == [True, False], found
        assert all(data["text/plain"].startswith(words) for data in found)
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown().then(() => 0)")
    page.reload(wait_until="domcontentloaded")
    page.wait_for_function(f"{PICTURES} === 2", timeout=30_000)
    for number in range(2):
        page.locator("text=run the cell for the live view").nth(number).wait_for(timeout=30_000)
    assert page.locator("text=Error displaying widget").count() == 0
