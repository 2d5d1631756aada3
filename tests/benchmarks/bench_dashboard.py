"""What a view costs the kernel, and what it costs the ticks."""

from __future__ import annotations

import json
import statistics

from tests.benchmarks.harness import Result, Wanted, benchmark, of_two
from tests.benchmarks.processes.kernels import Kernel, firehose, kernel

WATCH_S = 15.0

START = """
from pairlab import PairLab
lab = PairLab("BTCUSDT", "ETHUSDT", feed={url!r}, window=50)
lab.start()
lab.wait(rows=20_000, timeout_s=100)
"""
SHOW = "view = lab.dashboard(); view.frames_per_s = {frames_per_s}; view"
FIGURES = """
import json
h, s = lab.health(), {screen}
print(json.dumps([h.ticks_per_s, h.row_p50_ms, h.row_p99_ms, h.lag_p50_ms, h.lag_p99_ms, h.missing,
                  s and s.meter.frames_per_s, s and s.meter.frame_p50_ms]))
"""


def figures(k: Kernel, shown: bool) -> list[float]:
    """Return ticks/s; tick-to-row and exchange-to-receive p50, p99; frames/s and ms a frame."""
    got: list[float] = json.loads(
        k.run(FIGURES.format(screen="view.render_loop" if shown else None))
    )
    return got


@benchmark("tick-to-row at 20,000 ticks/s in a kernel, with the dashboard and without")
def tick_to_row(rounds: int) -> list[Result]:
    without: list[list[float]] = []
    with_view: list[list[float]] = []
    frames = round(20_000 * (2 * rounds * WATCH_S / 3 + 60))
    with firehose(frames, 20_000) as url, kernel() as k:
        k.run(START.format(url=url))
        for _ in range(rounds):
            k.watch(WATCH_S / 3)
            without.append(figures(k, shown=False))
        k.run(SHOW.format(frames_per_s=10.0))
        k.look_at(
            *k.run(
                "p = view.render_loop.channel.widget; print(p.model_id, p.carrier.model_id)"
            ).split()
        )
        for _ in range(rounds):
            k.watch(WATCH_S / 3)
            with_view.append(figures(k, shown=True))
    rate = statistics.median(f[0] for f in with_view)
    shown = statistics.median(f[6] for f in with_view)
    print(f"     {rate:,.0f} ticks/s, {shown:.1f} frames/s, "
          f"{statistics.median(f[7] for f in with_view):.1f} ms a frame; exchange to receive p50 "
          f"{statistics.median(f[3] for f in with_view):.2f} ms, p99 "
          f"{statistics.median(f[4] for f in with_view):.2f} ms")  # fmt: skip
    results = []
    for name, column, limit in (("p50", 1, 0.2), ("p99", 2, 10.0)):
        ours = statistics.median(f[column] for f in with_view)
        peer = statistics.median(f[column] for f in without)
        want = Wanted(ours_at_most=limit)
        results.append(
            of_two(f"tick to row, {name}", ours, peer, "without view", "ms", want, rounds)
        )
    return results
