"""What a person does with a notebook in JupyterLab and Notebook 7: write, run, restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import TimeoutError as PageTimeoutError

__all__ = ["ready", "restart_kernel", "run_cell", "write_notebook"]


def write_notebook(home: Path, name: str, cells: list[str]) -> None:
    """Put a notebook into a server's folder."""
    book = nbformat.v4.new_notebook()
    book.metadata["kernelspec"] = {
        "display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3",
    }  # fmt: skip
    book.cells = [nbformat.v4.new_code_cell(source) for source in cells]
    nbformat.write(book, home / name)


def ready(page: Any) -> None:
    """Wait until the notebook has a kernel and it has nothing to do."""
    page.wait_for_selector(".jp-Notebook .jp-CodeCell .cm-content")
    page.wait_for_function(
        """() => {
            const panel = window.jupyterapp?.shell.currentWidget;
            return panel?.sessionContext?.session?.kernel?.status === "idle";
        }"""
    )


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


def restart_kernel(page: Any) -> None:
    """Restart the notebook's kernel, as the menu does once its question is answered."""
    page.evaluate("void window.jupyterapp.commands.execute('notebook:restart-kernel')")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.wait_for_selector(".jp-Dialog", state="detached")
    ready(page)
