"""Where trades are missing, every line of every chart breaks, there and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np

from pairlab.schema import RowFlag
from pairlab.widgets.transport.bqplot_marks import Lines
from tests.widgets.conftest import MakeLab


def curves(chart: Any) -> list[Any]:
    """The lines that follow the rows: of many points, where thresholds have two."""
    return [m for m in chart.figure.marks if isinstance(m, Lines) and np.size(m.x) > 40]


async def test_a_gap_breaks_every_line_where_it_is(running_lab: MakeLab) -> None:
    async with running_lab(rows=120, window=60) as lab:
        screen = lab.dashboard().render_loop
        lab._pipeline.on_gap(None)  # tests/lab/test_gap_wiring.py: the feed's own gaps get here
        await lab.wait_async(lab.health().rows + 60, 60)
        await lab.stop()
        screen.view.span_s = 3_600  # a slow machine takes longer than the 30 s that are in view
        screen.paint(due=True)
        rows = lab.rows.view()
        (at,) = np.flatnonzero(rows["flags"] & RowFlag.GAP_BEFORE)
        newest = int(rows["time_ns"][-1])
        when_ms = (int(rows["time_ns"][at]) - newest) / 1e6
        before_ms = (int(rows["time_ns"][at - 1]) - newest) / 1e6
        seen = 0
        for name in ("zscore", "spread", "correlation", "prices"):
            found = curves(lab.dashboard().parts[name])
            assert found, name
            for line in found:
                y = np.atleast_2d(line.y)
                if not len(y[0]) or np.nanmax(line.x) < when_ms or np.nanmin(line.x) >= when_ms:
                    continue
                broken = np.flatnonzero(np.isnan(y).all(axis=0))
                xs = np.asarray(line.x)[broken]
                holes = xs[(xs > before_ms - 0.5) & (xs < when_ms + 0.5)]
                assert len(holes), (name, before_ms, when_ms, xs)
                if name in ("spread", "prices"):  # others have holes of their own: flat windows
                    assert len(holes) == len(broken) == 1, (name, when_ms)
                seen += 1
        assert seen >= 6  # z, spread with mean and band, ρ, both prices
