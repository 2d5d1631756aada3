"""What charts cost the kernel and the browser, beside bare bqplot lines in the same browser."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
from playwright.sync_api import Page, sync_playwright

from tests.benchmarks.harness import Result, Wanted, benchmark, of_two
from tests.benchmarks.kernels import firehose
from tests.browser.conftest import CHROMIUM_FLAGS, Server, free_port

TICKS_PER_S = 5_000
ROUND_S = 6.0

LAB = """
from pairlab import PairLab
from pairlab.widgets import *
from ipywidgets import HTML, VBox
lab = PairLab("BTCUSDT", "ETHUSDT", feed={url!r}, window=50)
lab.start()
lab.wait(rows=10_000, timeout_s=60)
"""
NO_VIEW = LAB + 'HTML("ready").add_class("ready")'
FOUR_CHARTS = (
    LAB
    + """
charts = [ZScoreChart(lab), SpreadChart(lab), CorrelationChart(lab), PriceChart(lab)]
screen = charts[0].screen
screen.frames_per_s, screen.span_s = {frames_per_s}, {span_s}
VBox([*charts, HTML("ready").add_class("ready")])
"""
)
BARE_LINES = """
import asyncio, warnings
import numpy as np
warnings.simplefilter("ignore")
from bqplot import Axis, Figure, LinearScale, Lines
from ipywidgets import HTML, VBox
from pairlab import PairLab
lab = PairLab("BTCUSDT", "ETHUSDT", feed={url!r}, window=50)
lab.start()
lab.wait(rows=10_000, timeout_s=60)
at = np.arange(2_000, dtype=np.float32)
lines = [Lines(x=at, y=np.zeros(2_000), scales={{"x": LinearScale(), "y": LinearScale()}})
         for _ in range(7)]
async def draw():
    n = 0
    while True:
        n += 1
        for line in lines:
            line.y = np.sin((at + n) / 50)
        await asyncio.sleep(1 / 20)
drawing = asyncio.ensure_future(draw())
VBox([*[Figure(marks=[line], animation_duration=0, layout={{"height": "150px"}}) for line in lines],
      HTML("ready").add_class("ready")])
"""
COUNT_FRAMES = """async (seconds) => {
    let frames = 0;
    const end = performance.now() + 1000 * seconds;
    await new Promise((done) => {
        const step = () => { frames += 1; performance.now() < end ? requestAnimationFrame(step) : done(); };
        requestAnimationFrame(step);
    });
    return frames / seconds;
}"""  # noqa: E501


@dataclass
class Seen:
    """One page's figures over a round: share of a core, animation frames/s, bytes/s, paints/s."""

    core: float
    animation: float
    bytes_per_s: float


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


def measure(page: Page, sizes: list[int], kernel: psutil.Process, rounds: int) -> Seen:
    """Look on for some rounds and return the medians."""
    seen = []
    page.evaluate(COUNT_FRAMES, 3.0)
    for _ in range(rounds):
        sizes.clear()
        before, start = kernel.cpu_times(), time.monotonic()
        animation = page.evaluate(COUNT_FRAMES, ROUND_S)
        after, elapsed_s = kernel.cpu_times(), time.monotonic() - start
        busy_s = after.user + after.system - before.user - before.system
        seen.append((busy_s / elapsed_s, animation, sum(sizes) / elapsed_s))
    return Seen(*(statistics.median(column) for column in zip(*seen, strict=True)))


@benchmark("four charts in a real browser: what they cost the kernel, and the frames it keeps")
def charts_in_a_browser(rounds: int) -> list[Result]:
    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("Chromium is not installed (Debian: apt-get install chromium)")
    figures: dict[str, Seen] = {}
    page_s = rounds * ROUND_S + 60
    with firehose(round(TICKS_PER_S * page_s), TICKS_PER_S) as url:
        cells = {
            "none": NO_VIEW.format(url=url),
            "bare": BARE_LINES.format(url=url),
            # 800 pixel columns of two points and more rows than that: 1,600 points a line.
            "charts": FOUR_CHARTS.format(url=url, frames_per_s=20, span_s=1),
            "long": FOUR_CHARTS.format(url=url, frames_per_s=10, span_s=10),
        }
        with voila(cells) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
            for name in cells:
                with page_of(browser, server, name) as (page, sizes):
                    figures[name] = measure(page, sizes, newest_kernel(server), rounds)
            browser.close()
    none, bare, charts, long = (figures[name] for name in ("none", "bare", "charts", "long"))
    for name, seen in figures.items():
        print(f"     {name:<8} kernel {100 * seen.core:5.1f} % of a core, {seen.animation:4.1f} "
              f"animation frames/s, {seen.bytes_per_s / 1e3:8,.0f} kB/s")  # fmt: skip
    peer = "7 bare lines"
    return [
        of_two("4 charts, 20 frames/s: kernel", 100 * (charts.core - none.core),
               100 * (bare.core - none.core), peer, "% of a core", Wanted(ours_at_most=10), rounds),
        of_two("4 charts, 20 frames/s: browser", charts.animation, bare.animation, peer,
               "animation frames/s", Wanted(ours_at_least=45), rounds),
        of_two("4 charts of 20,000+ rows, 10/s: kernel", 100 * (long.core - none.core),
               100 * (bare.core - none.core), peer, "% of a core", Wanted(ours_at_most=10), rounds),
        of_two("bytes a frame, 20 frames/s", charts.bytes_per_s / 20, bare.bytes_per_s / 20, peer,
               "bytes", Wanted(), rounds),
    ]  # fmt: skip
