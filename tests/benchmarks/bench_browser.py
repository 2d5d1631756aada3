"""What charts cost the kernel and the browser, beside bare bqplot lines in the same browser."""

from __future__ import annotations

import shutil
import statistics
import time
from dataclasses import dataclass

from playwright.sync_api import Page, sync_playwright

from tests.benchmarks.harness import Result, Wanted, benchmark, of_two
from tests.benchmarks.processes.kernels import firehose
from tests.browser.conftest import CHROMIUM_FLAGS, Kernel, Server
from tests.browser.pages import newest_kernel, page_of, voila

TICKS_PER_S = 5_000
ROUND_S = 4.0

LAB = """
import time
from pairlab import PairLab
from pairlab.widgets import *
from ipywidgets import HTML, VBox
lab = PairLab("BTCUSDT", "ETHUSDT", feed={url!r}, window=50)
lab.start()
lab.wait(rows=10_000, timeout_s=60)
spent_s, painted = 0.0, lambda: 0
def counted(work):
    def doing():
        global spent_s
        start_s = time.thread_time()
        work()
        spent_s += time.thread_time() - start_s
    return doing
{view}
VBox([*shown, HTML("ready").add_class("ready")])
"""
NO_VIEW = "shown = []"
FOUR_CHARTS = """
shown = [ZScoreChart(lab), SpreadChart(lab), CorrelationChart(lab), PriceChart(lab)]
screen = shown[0].render_loop
shown[0].frames_per_s, screen.view.span_s = {frames_per_s}, {span_s}
screen._tick = counted(screen._tick)
painted = lambda: screen.meter.painted
"""
BARE_LINES = """
import asyncio, warnings
import numpy as np
warnings.simplefilter("ignore")
from bqplot import Figure, LinearScale, Lines
at = np.arange(2_000, dtype=np.float32)
lines = [Lines(x=at, y=np.zeros(2_000), scales={"x": LinearScale(), "y": LinearScale()})
         for _ in range(7)]
shown = [Figure(marks=[line], animation_duration=0, layout={"height": "150px"}) for line in lines]
count = 0
def draw():
    global count
    count += 1
    for line in lines:
        line.y = np.sin((at + count) / 50)
async def drawing(draw):
    while True:
        draw()
        await asyncio.sleep(1 / 20)
task = asyncio.ensure_future(drawing(counted(draw)))
painted = lambda: count
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
    """One page's figures over a round.

    Ticks are handled in larger batches, and so cheaper, when a browser keeps the machine busy: the
    kernel's whole load with a view and without says nothing of what the view costs. `painting` is
    what the loop's thread spends on it, `others` what the kernel's other threads spend on sending.
    """

    painting: float  # shares of a core
    others: float
    animation: float  # animation frames/s
    bytes_per_s: float
    painted: float  # frames/s


def measure(server: Server, page: Page, sizes: list[int], rounds: int) -> Seen:
    """Look on for some rounds and return the medians."""
    process = newest_kernel(server)

    def others_s() -> float:
        rest = (t for t in process.threads() if t.id != process.pid)
        return sum(thread.user_time + thread.system_time for thread in rest)

    def painting(kernel: Kernel) -> tuple[float, int]:
        spent_s, count = kernel.run("print(spent_s, painted())").split()
        return float(spent_s), int(count)

    seen = []
    with server.kernel() as kernel:
        page.evaluate(COUNT_FRAMES, 3.0)
        for _ in range(rounds):
            sizes.clear()
            (spent_s, count), rest_s, start_s = painting(kernel), others_s(), time.monotonic()
            animation = page.evaluate(COUNT_FRAMES, ROUND_S)
            took_s, after_s = time.monotonic() - start_s, others_s()
            size, (spent_after_s, count_after) = sum(sizes), painting(kernel)
            seen.append((
                (spent_after_s - spent_s) / took_s, (after_s - rest_s) / took_s, animation,
                size / took_s, (count_after - count) / took_s,
            ))  # fmt: skip
    return Seen(*(statistics.median(column) for column in zip(*seen, strict=True)))


@benchmark("four charts in a real browser: what they cost the kernel, and the frames it keeps")
def charts_in_a_browser(rounds: int) -> list[Result]:
    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("Chromium is not installed (Debian: apt-get install chromium)")
    figures: dict[str, Seen] = {}
    page_s = rounds * ROUND_S + 60
    with firehose(round(TICKS_PER_S * page_s), TICKS_PER_S) as url:
        views = {
            "none": NO_VIEW,
            "bare": BARE_LINES,
            # 5,000 and 50,000 rows in view, drawn as the extremes of 800 pixel columns.
            "charts": FOUR_CHARTS.format(frames_per_s=20, span_s=1),
            "long": FOUR_CHARTS.format(frames_per_s=10, span_s=10),
        }
        cells = {name: LAB.format(url=url, view=view) for name, view in views.items()}
        with voila(cells) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
            for name in cells:
                with page_of(browser, server, name) as (page, sizes):
                    figures[name] = measure(server, page, sizes, rounds)
            browser.close()
    for name, seen in figures.items():
        print(f"     {name:<8} {seen.painted:4.1f} frames/s painted, {seen.animation:4.1f} "
              f"animation frames/s, {seen.bytes_per_s / 1e3:6,.0f} kB/s; of a core: painting "
              f"{100 * seen.painting:4.1f} %, other threads {100 * seen.others:4.1f} %"
        )  # fmt: skip
    idle = figures.pop("none").others
    # By the frame, and so for the rate that is asked for, which is a result of its own.
    wanted_per_s = {"bare": 20, "charts": 20, "long": 10}
    cost = {
        name: 100 * (seen.painting + seen.others - idle) / seen.painted * wanted_per_s[name]
        for name, seen in figures.items()
    }
    bare, charts, long = figures["bare"], figures["charts"], figures["long"]
    peer = "7 bare lines"
    return [
        of_two("4 charts, 20 frames/s: kernel", cost["charts"], cost["bare"], peer, "% of a core",
               Wanted(ours_at_most=10), rounds),
        of_two("4 charts, 20 frames/s: browser", charts.animation, bare.animation, peer,
               "animation frames/s", Wanted(ours_at_least=45), rounds, slower=False),
        of_two("4 charts, 20 frames/s: painted", charts.painted, bare.painted, peer, "frames/s",
               Wanted(ours_at_least=18), rounds, slower=False),
        of_two("4 charts, 50,000 rows, 10/s: kernel", cost["long"], cost["bare"], peer,
               "% of a core", Wanted(ours_at_most=10), rounds),
        of_two("4 charts, 50,000 rows, 10/s: browser", long.animation, bare.animation, peer,
               "animation frames/s", Wanted(ours_at_least=45), rounds, slower=False),
        of_two("4 charts, 50,000 rows, 10/s: painted", long.painted, bare.painted, peer,
               "frames/s", Wanted(ours_at_least=9), rounds, slower=False),
        of_two("a frame, 20 frames/s", charts.bytes_per_s / charts.painted,
               bare.bytes_per_s / bare.painted, peer, "bytes", Wanted(), rounds),
    ]  # fmt: skip
