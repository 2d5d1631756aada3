"""``python -m tests.browser.pictures FOLDER``: the demo's screen at its sizes, in both themes."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM_FLAGS, Server, free_port, warm

SIZES = {(1280, 800): "auto", (800, 600): "auto", (1920, 1080): "wide"}
FILLED_S = 32
"""The charts show 30 s of the market."""


def take(folder: Path) -> list[Path]:
    """Take them all."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        port = free_port()
        command = [sys.executable, "-m", "pairlab", "demo", "--no-browser", "--port", str(port)]
        server = Server(command, Path(home), "is running at", port)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS
        )
        try:
            for theme in ("dark", "light"):
                for (width, height), layout in SIZES.items():
                    page = browser.new_page(viewport={"width": width, "height": height})
                    page.goto(f"{server.url}/?stop_z=4&theme={theme}&layout={layout}")
                    warm(page)
                    page.wait_for_timeout(1000 * FILLED_S)
                    taken.append(folder / f"dashboard-{theme}-{width}x{height}.png")
                    page.screenshot(path=taken[-1])
                    page.close(run_before_unload=True)
        finally:
            browser.close()
            server.stop()
    return taken


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.browser.pictures", description=__doc__)
    parser.add_argument("folder", type=Path, help="where they go")
    for path in take(parser.parse_args().folder):
        print(path)
