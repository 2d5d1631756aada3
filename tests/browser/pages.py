"""Pages of notebooks made for a measurement, served by Voila."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import psutil
from playwright.sync_api import Page

from tests.browser.conftest import Server, free_port

__all__ = ["newest_kernel", "page_of", "voila"]


@contextmanager
def voila(cells: dict[str, str]) -> Iterator[Server]:
    """Serve one notebook a name."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name, code in cells.items():
            book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
            book.metadata["kernelspec"] = {
                "display_name": "Python 3", "language": "python", "name": "python3",
            }  # fmt: skip
            nbformat.write(book, home / f"{name}.ipynb")
        port = free_port()
        command = [
            sys.executable, "-m", "voila", str(home), "--no-browser", f"--port={port}",
            "--Voila.ip=127.0.0.1",
        ]  # fmt: skip
        server = Server(command, home, "is running at", port)
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def page_of(browser: Any, server: Server, name: str) -> Iterator[tuple[Page, list[int]]]:
    """Open a notebook's page; the list takes the size of every message from the kernel."""
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    sizes: list[int] = []
    page.on("websocket", lambda ws: ws.on("framereceived", lambda data: sizes.append(len(data))))
    page.set_default_timeout(120_000)
    page.goto(f"{server.url}/voila/render/{name}.ipynb", wait_until="domcontentloaded")
    page.wait_for_selector(".ready")
    try:
        yield page, sizes
    finally:
        page.close(run_before_unload=True)


def newest_kernel(server: Server) -> psutil.Process:
    """Return the process of the kernel that was started last."""
    return max(psutil.Process(server.process.pid).children(), key=lambda p: p.create_time())
