"""The report of a backtest: what it draws is what the result has."""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pairlab import BacktestResult, Costs, DataError, SettingError, backtest, sweep
from pairlab.backtesting import SweepResult
from pairlab.widgets.charts.decimation import Decimated, extremes_of
from pairlab.widgets.report.panels import panels_html
from pairlab.widgets.report.report import Report
from pairlab.widgets.report.result_lab import ResultLab
from pairlab.widgets.report.result_view import filled_events
from tests.engine import worlds
from tests.widgets.conftest import Wire


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    y, x = worlds.cointegrated(3, 1_500, noise=60.0)
    at = pd.date_range("2024-08-08", periods=len(y), freq="min", tz="UTC")
    return backtest(
        (pd.Series(y, at, name="BTCUSDT"), pd.Series(x, at, name="ETHUSDT")),
        window=30, hedge_ratio=25.0, entry_z=1.5, stop_z=3.0, min_correlation=-1.0, fee_bps=0.5,
        costs=Costs(None, 0.25),
    )  # fmt: skip


@pytest.fixture(scope="module")
def found() -> SweepResult:
    """A small sweep; nothing is traded at the highest entry."""
    y, x = worlds.cointegrated(3, 700, noise=60.0)
    at = pd.date_range("2024-08-08", periods=len(y), freq="min", tz="UTC")
    return sweep(
        (pd.Series(y, at), pd.Series(x, at)), {"entry_z": [1.5, 2.0, 9.0], "exit_z": [0.0, 0.5]},
        window=30, hedge_ratio=25.0, min_correlation=-1.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def partly_missed() -> BacktestResult:
    """Prices of which x comes now early, now late: some entries are missed."""
    y, x = worlds.cointegrated(3, 1_500, noise=60.0)
    at = pd.date_range("2024-08-08", periods=len(y), freq="min", tz="UTC")
    later = at + pd.to_timedelta((np.arange(len(x)) * 37) % 50 + 1, unit="s")
    return backtest(
        (pd.Series(y, at, name="BTCUSDT"), pd.Series(x, later, name="ETHUSDT")),
        window=60, hedge_ratio=25.0, entry_z=1.5, min_correlation=-1.0, max_wait_s=50.0,
        max_leg_age_s=3600.0,
    )  # fmt: skip


def test_the_curves_are_the_result_s(result: BacktestResult, wire: Wire) -> None:
    report = result.dashboard()
    assert isinstance(report, Report)
    equity = result.equity["equity"].to_numpy()
    curve = report.parts["equity"]._curve
    assert (curve.y.min(), curve.y.max()) == (equity.min(), equity.max())
    assert curve.y[-1] == equity[-1]
    assert f"{equity[-1]:,.2f}" in report.parts["equity"].head.value
    fall = report.parts["drawdown"]._curve.y
    assert fall.min() == pytest.approx(100 * result.metrics.max_drawdown)
    assert report.parts["zscore"]._curve.y[-1] == result.rows["zscore"][-1]
    assert not [e for e in report.render_loop.lab.event_log if e.level == "error"]
    report.render_loop.close()
    assert wire.open == set()


def test_a_click_on_a_trade_shows_it_in_all_charts(result: BacktestResult, wire: Wire) -> None:
    report = result.dashboard()
    table, view = report.parts["trades"], report.render_loop.view
    table._sort.value = "worst"
    table._covers[0].click()
    worst = int(result.trades["net"].to_numpy().argmin())
    trade = result.trades.iloc[worst]
    start, end = view.window_ns
    assert start < trade["entry_decided"].value < trade["exit_y_time"].value < end
    assert view.selected.time_ns == trade["entry_decided"].value
    for name in ("equity", "zscore", "spread"):
        part = report.parts[name]
        assert part._ring.x[0] == trade["entry_decided"].value / 1e6
        assert len(part._curve.x) < 600
    marked = sum(len(mark.x) for mark in report.parts["zscore"]._markers if mark.visible)
    assert marked > 0
    assert f"<dt>trade</dt><dd>{worst}</dd>" in table._facts.value
    table._after.click()
    assert f"<dt>trade</dt><dd>{worst}</dd>" not in table._facts.value
    table._back.click()
    assert view.window_ns is None
    assert len(report.parts["equity"]._curve.x) > 1_000
    report.render_loop.close()


def test_many_trades_are_not_marked_until_there_is_room(result: BacktestResult, wire: Wire) -> None:
    assert len(result.trades) > 45
    report = result.dashboard()
    zscore = report.parts["zscore"]
    assert not any(mark.visible for mark in zscore._markers)
    assert "zoom in" in zscore.head.value
    report.parts["trades"].choose(3)
    report.render_loop.paint(due=True)
    assert all(mark.visible for mark in zscore._markers)
    assert "zoom in" not in zscore.head.value
    report.render_loop.close()


@pytest.mark.parametrize("name", ["result", "partly_missed"])
def test_positions_and_marks_are_those_that_were_filled(
    name: str, request: pytest.FixtureRequest
) -> None:
    of: BacktestResult = request.getfixturevalue(name)
    assert (len(of.missed) > 0) == (name == "partly_missed")
    entry, exit_ = filled_events(of)
    times = of.rows["time_ns"]
    rows = ResultLab(of).rows.view()
    expected = np.zeros(len(rows), np.int8)
    for at, (_, trade) in enumerate(of.trades.iterrows()):
        event = of.events[entry[at]]
        assert times[event["row"]] == trade["entry_decided"].value
        assert (event["kind"], event["side"]) == (1, trade["side"])
        last = event["row"] + trade["rows"]
        if trade["reason"] == "open":
            assert exit_[at] == -1
            last = len(rows)
        else:
            assert times[of.events[exit_[at]]["row"]] == trade["exit_decided"].value
        expected[event["row"] : last] = trade["side"]
    np.testing.assert_array_equal(rows["position"], expected)


def test_it_says_what_was_not_counted_and_where_the_prices_are_from(
    result: BacktestResult, wire: Wire
) -> None:
    demo = replace(
        result, data_report=replace(result.data_report, market="SIMULATED", simulated=True)
    )
    head = demo.dashboard()._head()
    assert "funding not counted" in head
    assert "2 days: too few to annualise (30)" in head
    assert "2024-08-08 00:29 – 2024-08-09 00:59 UTC" in head
    assert "pairlab-badge-sim" in head
    assert "SIMULATED" in head
    assert "SIMULATED" not in result.dashboard()._head()
    with pytest.raises(SettingError, match="theme"):
        result.dashboard(theme="pink")


def tips(html: str) -> list[str]:
    return re.findall(r"<title>(.*?)</title>", html)


def test_the_small_charts_add_up(result: BacktestResult) -> None:
    trades, excursions, costs, returns, sharpe, hours = panels_html(result)
    counted = [int(re.search(r": ([\d,]+) trades", tip)[1]) for tip in tips(trades)]
    assert sum(counted) == len(result.trades)
    assert len(tips(excursions)) == len(result.trades)
    of_hours = [tip.split(": ")[1] for tip in tips(hours)]
    net = sum(float(t.split(",")[0].replace("−", "-")) for t in of_hours)
    assert net == pytest.approx(result.trades["net"].sum(), abs=0.01 * len(of_hours))
    assert f"fees −{result.metrics.fees:,.2f}" in tips(costs)
    assert "not counted" in costs
    of_days = [float(r.replace("−", "-")) for r in re.findall(r"2024: ([+−][\d.]+) %", returns)]
    growth = np.prod([1 + r / 100 for r in of_days]) - 1
    assert growth == pytest.approx(result.metrics.cumulative_return, abs=2e-5)
    assert "these data have 2" in sharpe


def test_every_figure_is_there_with_its_formula(result: BacktestResult, tmp_path) -> None:
    page = result.to_html(tmp_path / "report.html").read_text(encoding="utf-8")
    for name, formula in result.metrics.describe()["formula"].items():
        assert f'title="{name} = ' in page
        assert formula.split("<")[0].split("&")[0].split("'")[0][:12] in page
    for label, text in result.metrics.lines():
        assert f"<dt>{label}</dt><dd>{text}</dd>" in page
    assert page.count('<section class="chart">') == 4
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    with pytest.raises(DataError, match="no/such"):
        result.to_html(tmp_path / "no/such" / "report.html")


def test_a_result_without_rows_or_trades_says_so(tmp_path, wire: Wire) -> None:
    at = pd.date_range("2024-08-08", periods=40, freq="min", tz="UTC")
    flat = pd.Series(np.linspace(2_400.0, 2_401.0, 40), at)
    for rows, words in ((20, "No row with a full window"), (40, "No trade was filled")):
        none = backtest((25 * flat[:rows], flat[:rows]), window=30, hedge_ratio=25.0)
        assert words in none.to_html(tmp_path / "none.html").read_text(encoding="utf-8")
        report = none.dashboard()
        assert not [e for e in report.render_loop.lab.event_log if e.level == "error"]
        report.render_loop.close()


def test_one_series_is_thinned_as_a_column_of_rows(result: BacktestResult) -> None:
    rows = result.rows
    edge, span = int(rows["time_ns"][-1]), int(rows["time_ns"][-1] - rows["time_ns"][0])
    for columns in (50, 800):
        whole = Decimated.of(rows, edge, span, columns).extremes("zscore")
        z, times = (np.ascontiguousarray(rows[name]) for name in ("zscore", "time_ns"))
        for ours, theirs in zip(extremes_of(times, z, edge, span, columns), whole, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_click_on_a_cell_of_a_sweep_opens_its_backtest(found: SweepResult, wire: Wire) -> None:
    board = found.heatmap(x="exit_z")
    assert set(board.cells) == {(a, b) for a in (0.0, 0.5) for b in (1.5, 2.0)}
    board.cells[0.5, 2.0].click()
    shown = board.report
    assert (shown.result.settings.entry_z, shown.result.settings.exit_z) == (2.0, 0.5)
    row = found.frame.query("entry_z == 2.0 and exit_z == 0.5").iloc[0]
    assert shown.result.metrics.net_profit == pytest.approx(row["net_profit"], abs=1e-6)
    board.cells[0.0, 1.5].click()
    assert board.report is not shown
    assert shown.comm is None  # the one before is closed
    with pytest.raises(SettingError, match="window"):
        found.heatmap(x="window")
    board.close()
    assert wire.open == set()


async def test_a_click_computes_beside_the_loop_and_the_newest_wins(
    found: SweepResult, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = found.heatmap(x="exit_z")
    go_on, threads, real = threading.Event(), [], SweepResult.backtest

    def slow(self: SweepResult, number: int | None = None) -> BacktestResult:
        assert go_on.wait(30)
        threads.append(threading.current_thread())
        if number == 3:
            raise DataError("the data were changed")
        return real(self, number)

    monkeypatch.setattr(SweepResult, "backtest", slow)
    board.cells[0.0, 1.5].click()
    board.cells[0.0, 2.0].click()  # at once: the first one is still computed
    first, newest = board.report, board._asked
    assert first is None
    assert "Computing" in board._progress.value
    go_on.set()
    assert newest is not None
    await newest
    await asyncio.sleep(0)  # its callbacks
    assert board.report is not None
    assert board.report.result.settings.entry_z == 2.0
    assert board._progress.value == ""
    assert threading.main_thread() not in threads
    board.cells[0.5, 2.0].click()
    assert board._asked is not None
    await asyncio.wait([board._asked])
    await asyncio.sleep(0)
    assert "the data were changed" in board._progress.value
    assert board.report.result.settings.exit_z == 0.0  # the one before stays
    board.cells[0.5, 1.5].click()
    last = board._asked
    board.close()
    assert last is not None
    await last
    await asyncio.sleep(0)
    assert wire.open == set()
