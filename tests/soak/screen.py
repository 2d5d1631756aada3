"""Growth of a dashboard left open: hours of accelerated ticks in a real browser."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass

import psutil
from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import CHROMIUM_FLAGS, Kernel
from tests.browser.pages import newest_kernel, page_of, voila

__all__ = ["Sample", "watch_screen"]

_ALLOWED_MB = 10.0
_SAMPLE_INTERVAL_S = 5.0
_BASELINE_SAMPLES = 10
_LABELS = 4 * 3  # of three nodes each, one a chart

CELL = """
from pairlab import PairLab
from ipywidgets import HTML, VBox
from ipywidgets.widgets.widget import _instances
import comm
lab = PairLab("BTCUSDT", "ETHUSDT", feed={url!r}, window=50, ticks_held=100_000)
lab.start()
lab.wait(rows=500, timeout_s=60)
VBox([lab.dashboard(), HTML("ready").add_class("ready")])
"""
ASK = """
print(len(_instances), len(comm.get_comm_manager().comms), lab.history().index[-1].timestamp(),
      lab.health().rows, len(lab.alert_log), lab.health().missing)
"""
NODES = ("*:not(svg *)", "svg *")
CHARTS = ".pairlab-chart .bqplot svg *"  # not the glyphs in texts, which change with these
HOLD_NOTHING = """
screen = lab.dashboard().render_loop
minute_ns = 60_000_000_000
ahead_ns = (int(screen.view.rows()[-1]["time_ns"]) // minute_ns + 1440) * minute_ns
screen.view.freeze(ahead_ns, ahead_ns + minute_ns // 2)
"""


@dataclass
class Sample:
    """Sizes at one moment."""

    widgets: int
    comms: int
    nodes: int  # of the page, outside of drawings
    drawn: int  # inside of them: as many as there are markers and labels in view
    time_s: float  # of the market
    rows: int
    alerts: int  # kept
    missing: int
    kernel_mb: float

    def __str__(self) -> str:
        return (
            f"{self.rows:>10,} rows {self.widgets:>5} widgets {self.comms:>5} comms "
            f"{self.nodes:>5} DOM nodes + {self.drawn:>5} drawn {self.alerts:>7,} alerts "
            f"{self.kernel_mb:>5.0f} MB"
        )


@contextlib.contextmanager
def _market(seed: int, speed: float) -> Iterator[str]:
    command = [sys.executable, "-m", "pairlab.local_exchange", f"--seed={seed}", f"--speed={speed}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield next(w for w in process.stdout.readline().split() if w.startswith("ws://"))
        finally:
            process.terminate()


def watch_screen(
    *, seed: int, hours: float, speed: float, progress: Callable[[str], None]
) -> tuple[bool, str]:
    """Leave a dashboard open for some hours of the market.

    Returns
    -------
    tuple
        Whether nothing grew: as many widgets and comms at the end as after the first minute, no
        more DOM nodes than in the first samples (inside of the drawings: while no row and no marker
        is in view, but for a label a chart), and memory within ±10 MB of what it was when every
        ring had filled; and in words.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        return False, "Chromium is not installed (Debian: apt-get install chromium)"
    samples: list[Sample] = []
    full: list[float] = []
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(_market(seed, speed))
        server = stack.enter_context(voila({"open": CELL.format(url=url)}))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        stack.callback(browser.close)
        page, _ = stack.enter_context(page_of(browser, server, "open"))
        kernel = stack.enter_context(server.kernel())
        process = newest_kernel(server)
        start_s = _sample(kernel, page, process).time_s
        while not samples or samples[-1].time_s - start_s < hours * 3600:
            time.sleep(_SAMPLE_INTERVAL_S)
            now = _sample(kernel, page, process)
            if now.time_s - start_s < 60:
                continue
            samples.append(now)
            if len(samples) == 1:
                bare = _bare_drawings(kernel, page)
            if now.rows > 125_000 and now.alerts >= 10_000:
                full.append(now.kernel_mb)
            progress(f"{(now.time_s - start_s) / 3600:5.2f} h {now}")
        bare_at_last = _bare_drawings(kernel, page)
    first, last = samples[0], samples[-1]
    same = astuple(first)[:2] == astuple(last)[:2]
    # State icons differ by a node, and axes by a label.
    same &= last.nodes <= max(sample.nodes for sample in samples[:_BASELINE_SAMPLES])
    same &= bare_at_last <= bare + _LABELS
    flat = bool(full) and max(abs(mb - full[0]) for mb in full) <= _ALLOWED_MB
    words = f"at first {first}\nat last  {last}\n"
    words += f"drawn while nothing is in view: {bare} at first, {bare_at_last} at last\n"
    words += (
        f"memory once the rings were full: {full[0]:.1f} MB, then {min(full):.1f} to "
        f"{max(full):.1f} MB" if full else "the rings did not fill: give it more hours"
    )  # fmt: skip
    return same and flat and last.missing == 0, words


def _bare_drawings(kernel: Kernel, page: Page) -> int:
    """Return the fewest nodes that the drawings have while no row is in view: these are theirs."""
    kernel.run(HOLD_NOTHING)
    page.wait_for_selector(".pairlab-held")
    counts: list[int] = []
    for _ in range(20):
        time.sleep(0.25)
        counts.append(page.evaluate(f"document.querySelectorAll('{CHARTS}').length"))
    kernel.run("screen.view.reset()")
    page.wait_for_selector(".pairlab-held", state="detached")
    return min(counts)


def _sample(kernel: Kernel, page: Page, process: psutil.Process) -> Sample:
    widgets, comms, time_s, rows, alerts, missing = kernel.run(ASK).split()
    nodes = [page.evaluate(f"document.querySelectorAll('{what}').length") for what in NODES]
    return Sample(
        int(widgets), int(comms), *nodes, float(time_s), int(rows), int(alerts), int(missing),
        process.memory_info().rss / 1e6,
    )  # fmt: skip
