"""The histogram counts, and the hedge chart draws, what is in view."""

from __future__ import annotations

import re

import numpy as np

from pairlab.widgets import HedgeChart, ZHistogram
from pairlab.widgets.charts.histogram import BIN, binned
from tests.widgets.conftest import MakeLab


def test_every_row_is_in_one_bar_on_its_side_of_the_entry() -> None:
    z = np.random.default_rng(5).standard_t(3, 4001)
    for entry in (1.9, 2.0, 2.13):
        centres, shares = binned(z, entry, 5.0)
        assert len(centres) == 10 / BIN
        assert np.isclose(shares.sum(), 100)
        assert np.allclose(
            shares.sum(axis=1) * len(z) / 100,
            [(np.abs(z) < entry).sum(), (z >= entry).sum(), (z <= -entry).sum()],
        )
        middle = np.argmin(np.abs(centres - 0.125))
        assert np.isclose(shares[0, middle], 100 * ((z >= 0) & (z < BIN)).mean())
        assert np.isclose(shares[1, -1], 100 * (z >= 5 - BIN).mean()), "the last holds the rest"


def test_no_row_no_bar() -> None:
    _, shares = binned(np.empty(0), 2.0, 3.0)
    assert shares.sum() == 0


async def test_the_histogram_is_of_the_rows_in_view(running_lab: MakeLab) -> None:
    async with running_lab(rows=900, window=40) as lab:
        chart = ZHistogram(lab)
        screen = chart.render_loop
        await lab.stop()
        rows = lab.rows.view()
        screen.view.freeze(int(rows[300]["time_ns"]), int(rows[700]["time_ns"]))
        screen.paint(due=True)
        z = screen._frame(due=True).inside["zscore"]
        assert len(z) == len(lab.between(*(int(t) for t in rows["time_ns"][[300, 700]])))
        z = z[np.isfinite(z)]
        assert np.isclose(np.asarray(chart._bars.y).sum(), 100)
        above = 100 * (z >= 2).mean()
        assert f"{above:.1f} %" in chart._head.value
        assert re.search(rf"{len(z)} rows in view", chart._head.value)
        assert chart._entries.x[:, 0].tolist() == [2, -2]
        lab.settings.update(entry_z=1.5, stop_z=3.5)
        screen.paint(due=True)
        assert chart._entries.x[:, 0].tolist() == [1.5, -1.5]
        assert chart._stops.x[:, 0].tolist() == [3.5, -3.5]
        assert f"{100 * (z >= 1.5).mean():.1f} %" in chart._head.value
        assert chart._x.max >= 3.5


async def test_the_hedge_chart_draws_beta_and_alpha(running_lab: MakeLab) -> None:
    async with running_lab(rows=700, window=50, hedge="ols") as lab:
        chart = HedgeChart(lab)
        await lab.stop()
        chart.render_loop.view.span_s = 3600
        chart.render_loop.paint(due=True)
        rows = lab.rows.view()
        assert len(rows) < 1600
        for mark, name in ((chart._ratio, "hedge_ratio"), (chart._intercept, "intercept")):
            known = np.flatnonzero(np.isfinite(rows[name]))
            assert np.array_equal(mark.y, rows[name][known[0] : known[-1] + 1], equal_nan=True)
        last = rows["intercept"][-1]
        assert chart._right.min < last < chart._right.max
        assert chart.scale.min < rows["hedge_ratio"][-1] < chart.scale.max
        assert "least squares" in chart.head.value
        alert = lab.alert_log.alerts()[-1]
        assert chart.marked_value(alert) == alert.at.hedge_ratio
