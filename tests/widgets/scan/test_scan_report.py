"""The widget of a scan: what it shows is what the scan has, and its buttons do what they say."""

from __future__ import annotations

import asyncio
import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pairlab import DataError, PairLab, ScanResult, SettingError, monitor_break, scan
from pairlab.scanning.follow_up import timeframe_of
from pairlab.widgets.scan.matrix_map import mapped_symbols
from pairlab.widgets.scan.pair_charts import chance_words, histogram_html, spread_html
from pairlab.widgets.scan.pair_filter import filtered
from pairlab.widgets.scan.scan_report import ScanReport
from tests.scanning.test_scan import planted, walks
from tests.widgets.conftest import Wire


@pytest.fixture(scope="module")
def found() -> ScanResult:
    prices = planted()
    prices["STILL"] = 5.0
    return scan(prices, placebo=2, fee_bps=1.0)


@pytest.fixture
def shown(found: ScanResult, wire: Wire) -> ScanReport:
    return found.dashboard(feed="demo")


def cells(shown: ScanReport, column: str) -> list[str]:
    page = shown.table.page
    at = [c["id"] for c in page["columns"]].index(column)
    return [row["cells"][at][0] for row in page["rows"]]


def tell(widget: Any, **content: Any) -> None:
    widget._handle_custom_msg(content, [])


def test_it_shows_the_scan_and_its_first_pair(found: ScanResult, shown: ScanReport) -> None:
    first = found.frame.iloc[0]
    assert shown.pair == (first["y"], first["x"])
    assert cells(shown, "y") == list(found.frame["y"].head(20))
    assert cells(shown, "verdict")[2] == "candidate"
    text = shown.children[0].value
    assert chance_words(found) in text
    assert "STILL: its price is 5 in every row" in text
    assert shown.table.page["where"] == f"1–20 of {len(found.frame)}"


def test_a_head_sorts_and_again_the_other_way_round(found: ScanResult, shown: ScanReport) -> None:
    tell(shown.table, sort="half_life")
    assert shown.table.shown["half_life"].dropna().is_monotonic_increasing
    tell(shown.table, sort="half_life")
    assert shown.table.page["descending"]
    assert shown.table.shown["half_life"].dropna().is_monotonic_decreasing
    before = shown.table.page
    tell(shown.table, sort="no column")
    assert shown.table.page == before
    assert len(shown.table.shown) == len(found.frame)


def test_words_filter_and_what_is_not_understood_changes_nothing(
    found: ScanResult, shown: ScanReport
) -> None:
    tell(shown.table, filter="pairusdt q<0.05")
    assert len(shown.table.shown) == 1
    tell(shown.table, filter="pairusdt qq<0.05")
    assert "did you mean q?" in shown.table.page["words"]
    assert len(shown.table.shown) == 1
    tell(shown.table, filter="half_life<abc")
    assert "expected a number after <" in shown.table.page["words"]
    tell(shown.table, filter="zzz")
    assert shown.table.page["where"].startswith("none")
    want = (found.frame["n"] == 800) & (found.frame["p"] >= 0.5)
    assert (filtered(found.frame, "n=800 p>=0.5") == want).all()
    assert want.any()


def test_pages_turn_and_end(found: ScanResult, shown: ScanReport) -> None:
    tell(shown.table, turn=1)
    assert cells(shown, "y") == list(found.frame["y"].iloc[20:40])
    for _ in range(100):
        tell(shown.table, turn=1)
    assert shown.table.page["last"]
    assert cells(shown, "x")[-1] == found.frame["x"].iloc[-1]


def test_a_row_or_a_cell_opens_its_pair(found: ScanResult, shown: ScanReport) -> None:
    tell(shown.table, open=2)
    row = found.frame.iloc[2]
    assert shown.pair == (row["y"], row["x"])
    assert [r["chosen"] for r in shown.table.page["rows"]].index(True) == 2
    tell(shown.map, open=["S004USDT", "S009USDT"])
    assert set(shown.pair or ()) == {"S004USDT", "S009USDT"}
    tell(shown.map, open=["S004USDT", "NONE"])
    tell(shown.table, open=10**6)
    assert set(shown.pair or ()) == {"S004USDT", "S009USDT"}
    assert "out of sample" in shown._past.value


def test_the_map_has_every_number_in_the_order_of_the_clusters(
    found: ScanResult, shown: ScanReport
) -> None:
    order = list(found.ordered())
    assert shown.map.symbols == order
    for name, sent in zip(shown.map.names, shown.map.values, strict=True):
        want = found.matrix(name).loc[order, order].to_numpy(np.float32)
        np.testing.assert_array_equal(np.frombuffer(sent, np.float32).reshape(33, 33), want)


def test_of_very_many_symbols_the_map_has_those_of_the_smallest_p() -> None:
    many = scan(walks(310, 60), placebo=0, rows=100)
    symbols, words = mapped_symbols(many)
    assert len(symbols) == 300
    assert set(many.frame[["y", "x"]].to_numpy().ravel()) <= set(symbols)
    assert "300 of 310 symbols" in words


def test_the_histogram_has_every_pair_beside_what_chance_finds(found: ScanResult) -> None:
    text = histogram_html(found)
    tips = re.findall(r"found ([\d,]+), by chance ([\d,.]+)</title>", text)
    assert sum(int(a.replace(",", "")) for a, _ in tips) == 2 * found.pairs_tested
    assert len(tips) == 2 * len(found.histogram) == 40
    assert found.histogram["by_chance"].sum() == pytest.approx(found.pairs_tested)
    none = scan(planted(), placebo=0, rows=50)
    assert "no placebo was scanned" in chance_words(none)
    assert re.findall("by chance ([0-9])", histogram_html(none)) == []


async def test_backtest_runs_off_the_loop_and_shows_its_report(
    found: ScanResult, shown: ScanReport
) -> None:
    shown.show_pair("PAIRUSDT", "S000USDT")
    shown._backtest.click()
    assert shown.work is not None
    assert shown._backtest.disabled
    shown._backtest.click()  # nothing: it runs
    await shown.work
    assert shown.report is not None
    result: Any = shown.report.result
    assert result.pair == ("PAIRUSDT", "S000USDT")
    assert any("in sample" in note for note in result.notes)
    row = found.pair("PAIRUSDT", "S000USDT")
    assert result.settings.hedge_ratio == pytest.approx(row["hedge_ratio"])
    assert result.settings.window == round(10 * row["half_life"])
    assert not shown._backtest.disabled
    shown.close()


async def test_go_live_makes_a_lab_with_the_scans_ratio(
    found: ScanResult, shown: ScanReport
) -> None:
    shown.show_pair("S005USDT", "S006USDT")
    shown._live.click()
    assert shown.work is not None
    await shown.work
    lab: Any = shown.lab
    assert isinstance(lab, PairLab)
    try:
        assert lab.running
        assert set(lab.pair) == {"S005USDT", "S006USDT"}
        assert lab.settings.timeframe == "1h"
        assert shown._opened.children
    finally:
        await lab.stop()
        await asyncio.sleep(0)


async def test_what_fails_is_told_where_it_was_asked(
    found: ScanResult, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = found.dashboard(feed="no such feed")
    shown._live.click()
    assert shown.work is not None
    await shown.work
    assert "feed = " in shown._words.value
    assert shown.lab is None
    assert not shown._live.disabled


def test_pages_that_ask_for_a_sign_of_life_are_answered(shown: ScanReport, wire: Wire) -> None:
    wire.take()
    tell(shown.children[-1], asks=True)
    beats = [m["data"]["content"] for m in wire.take() if "content" in m["data"]]
    assert beats == [{"beat": False}]


def test_what_was_not_tested_is_told(found: ScanResult) -> None:
    with pytest.raises(DataError, match="STILL was not tested: its price is 5 in every row"):
        found.spread("STILL", "S000USDT")
    with pytest.raises(DataError, match="NONE was not tested: it is no symbol of this scan"):
        found.pair("S000USDT", "NONE")
    with pytest.raises(DataError, match="S000USDT makes no pair with itself"):
        found.backtest("S000USDT", "S000USDT")
    with pytest.raises(SettingError, match="theme = 'blue'"):
        found.dashboard(theme="blue")  # type: ignore[arg-type]


def test_any_pair_has_its_columns_though_the_frame_has_no_row_of_it() -> None:
    prices = planted()
    whole, few = scan(prices, placebo=0), scan(prices, placebo=0, rows=3)
    want = whole.frame.iloc[200]
    got = few.pair(want["x"], want["y"])
    assert (got["y"], got["x"]) == (want["y"], want["x"])
    for name in want.index.drop(["y", "x", "verdict"]):
        assert got[name] == pytest.approx(want[name], nan_ok=True), name
    spread = few.spread(want["y"], want["x"])
    assert spread["zscore"].iloc[-1] == pytest.approx(got["zscore"])
    assert math.isclose(spread["spread"].mean(), 0.0, abs_tol=1e-9 * prices.max().max())
    assert timeframe_of(prices.index) == "1h"
    assert timeframe_of(prices.reset_index(drop=True).index) == "tick"


def test_a_break_of_the_spread_and_a_drift_of_the_ratio_are_drawn_where_they_are_known() -> None:
    rng = np.random.default_rng(8)
    hours = pd.date_range("2024-08-01", periods=900, freq="h", tz="UTC")
    x = 100.0 + rng.normal(size=900).cumsum()
    noise = rng.normal(size=900)
    moved = 2.0 * x + noise + np.where(np.arange(900) < 700, 0.0, 9.0)
    steeper = np.where(np.arange(900) < 650, 2.0, 4.0) * np.diff(x, prepend=x[0])
    drifting = 2.0 * x[0] + steeper.cumsum() + noise
    still = 1.5 * x + rng.normal(size=900)
    prices = pd.DataFrame({"MOVED": moved, "DRIFTING": drifting, "STILL": still, "X": x}, hours)
    found = scan(prices, placebo=0)
    for symbol, what, since in (("MOVED", "break", 700), ("DRIFTING", "drift", 650)):
        spread = found.spread(symbol, "X")
        report = monitor_break(spread["y"], spread["x"], split=found.split)
        at = spread.attrs["breaks"]
        assert since <= at[what] <= since + 60
        assert hours[at[what]] == {"break": report.break_at, "drift": report.drift_at}[what]
        page = spread_html(spread, found.split)
        assert page.count('stroke-dasharray="2 2"') == 2 * len(at)  # on both charts
        assert f"{hours[at[what]]:%m-%d %H:%M}" in page
    as_it_was = found.spread("STILL", "X")
    assert as_it_was.attrs["breaks"] == {}
    assert 'stroke-dasharray="2 2"' not in spread_html(as_it_was, found.split)
    few = found.spread("STILL", "X").iloc[:20]
    assert "<svg" in spread_html(few, found.split)


def test_a_scan_of_which_no_pair_meets_the_filters() -> None:
    shown = scan(planted(), placebo=0, filters={"p": (2.0, 3.0)}).dashboard()
    assert shown._backtest.disabled
    assert shown.table.page["where"].startswith("none")
