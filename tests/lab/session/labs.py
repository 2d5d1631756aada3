"""Labs with a past: gaps, klines, changed settings, rings that overflowed, alerts."""

from __future__ import annotations

from typing import Any

import numpy as np

from pairlab import PairLab
from pairlab.data.journal import Seeds
from pairlab.engine import PairEngine
from pairlab.schema import Records
from tests.engine import worlds
from tests.lab.test_runner import ScriptedFeed

TICKS = worlds.trades(3, 2_400)
OPTIONS: dict[str, Any] = {
    "min_correlation": -1.0, "history_rows": 600, "ticks_held": 1_000, "entry_z": 1.5,
    "hedge_ratio": 25.0, "cooldown_s": 0.0, "max_leg_age_s": 3_600.0,
}  # fmt: skip


def closes_of(ticks: Records, timeframe: str) -> Seeds:
    """Return the closes that an exchange would have of these trades."""
    engine = PairEngine(hedge_ratio=25.0)
    engine.update(ticks)
    bars = engine.bars(timeframe)
    bars = bars[np.isfinite(bars["y_close"]) & np.isfinite(bars["x_close"])]
    return Seeds(bars["time_ns"], bars["y_close"], bars["x_close"])


def lab_with_a_past(timeframe: str = "tick", **options: Any) -> PairLab:
    """Return a lab that does not run; what it holds came through its pipeline."""
    lab = PairLab(feed=ScriptedFeed(), window=30, timeframe=timeframe, **{**OPTIONS, **options})
    pipeline = lab._runner.pipeline
    pipeline.on_ticks(TICKS[:700])
    if timeframe != "tick":
        times, y, x = closes_of(TICKS[:650], timeframe)
        pipeline.add_klines(timeframe, Seeds(times, y, x))
    pipeline.start_engine()
    lab.settings.entry_z = 1.25
    pipeline.on_ticks(TICKS[700:1_100])
    pipeline.on_gap(7, 1)
    pipeline.on_ticks(TICKS[1_150:1_500])
    lab.settings.window = 24  # nothing runs: recomputed at once
    pipeline.on_ticks(TICKS[1_500:2_000])
    pipeline.on_gap(None)
    pipeline.on_ticks(TICKS[2_050:])
    lab.settings.update(exit_z=0.25, fee_bps=0.5)
    rows = lab.rows.view()
    lab.select(int(rows["time_ns"][len(rows) // 2]), int(rows["time_ns"][-2]))
    lab.log("warning", "‘something’ <b>odd</b> & told")
    return lab
