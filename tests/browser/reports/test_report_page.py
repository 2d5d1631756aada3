"""`BacktestResult.to_html` in Chromium: it fits, nothing overlaps, and it asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pairlab import backtest
from tests.browser.reports.test_still_page import LABELS, OVERFLOWING, opened
from tests.engine import worlds


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    y, x = worlds.cointegrated(3, 3_000, noise=60.0)
    at = pd.date_range("2024-05-01", periods=len(y), freq="h", tz="UTC")
    prices = pd.Series(y, at, name="BTCUSDT"), pd.Series(x, at, name="ETHUSDT")
    result = backtest(
        prices, window=30, hedge_ratio=25.0, entry_z=1.5, stop_z=3.0, min_correlation=-1.0
    )
    return result.to_html(tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def said() -> Iterator[list[str]]:
    words: list[str] = []
    yield words
    assert words == []


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits(chromium: Any, page_file: Path, said: list[str], width: int) -> None:
    page = opened(chromium, page_file, said, width, "dark")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate(LABELS) == []
    formula = page.locator(".pairlab-metrics div", has_text="Sharpe ratio")
    assert "mean(r) / std(r, ddof 1)" in formula.get_attribute("title")
    assert page.locator(".pairlab-plot rect").count() > 20
    assert page.locator(".pairlab-heat td[style]").count() == 5  # months
    page.context.close()
