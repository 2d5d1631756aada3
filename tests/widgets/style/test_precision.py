"""Small numbers keep their digits; ordinary ones look as the design has them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pairlab import PairLab
from pairlab.formatting import resolved
from pairlab.schema import ROW, Records, Snapshot
from pairlab.settings import Settings
from pairlab.widgets import HedgeChart, SpreadChart
from pairlab.widgets.style.formats import compact, decimals_for, js_number, number, sized
from pairlab.widgets.style.precision import Precision
from tests.widgets.conftest import MakeLab
from tests.widgets.panels.test_tables import cells
from tests.widgets.strip.test_status_bar import text

LOG = {"price_scale": "log", "hedge": "ols"}
TIGHT = {
    "symbols": ("USDCUSDT", "TUSDUSDT"),
    "market": {"symbols": ("USDCUSDT", "TUSDUSDT"), "prices": (1.0, 1.0)},
    "hedge_ratio": 1.0,
}


TINY = {  # 1000SATSUSDT against 4USDT, and smaller
    "symbols": ("1000SATSUSDT", "4USDT"),
    "market": {"symbols": ("1000SATSUSDT", "4USDT"), "prices": (2.4e-6, 0.0112)},
    "hedge_ratio": 2.4e-6 / 0.0112,
    "window": 30,
    "min_correlation": -1.0,
    "entry_z": 1.0,
}


class Feedless:
    """What is asked of a lab, with no feed behind it."""

    def price_decimals(self) -> tuple[int, int]:
        return 1, 2


def rows_of(std: Any) -> Records:
    rows = np.zeros(np.size(std), ROW)
    rows["spread_std"] = std
    return rows


def shown(html: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd[^>]*>(.*?)</dd>", html))


def digits(number: str) -> int:
    return len(number.lstrip("−0.").replace(".", ""))


@pytest.mark.parametrize(
    ("std", "decimals"), [(38.0, 2), (2.2, 2), (0.1, 2), (0.04, 4), (1.2e-4, 6), (3e-9, 11)]
)
def test_a_small_spread_has_three_digits_and_an_ordinary_one_two_decimals(
    std: float, decimals: int
) -> None:
    places = Precision(Feedless())
    assert places.spread(rows_of([std] * 100), Settings().values()) == decimals


def test_decimals_stand_still_while_the_size_wanders_about_a_power_of_ten() -> None:
    places, values = Precision(Feedless()), Settings().values()
    sizes = 10.0 ** (-3 + 0.25 * np.sin(np.arange(200)))
    assert len({places.spread(rows_of([std] * 50), values) for std in sizes}) == 1
    assert places.spread(rows_of([1e-5] * 50), values) == 7, "but they follow where it goes"


def test_a_moment_without_movement_changes_nothing() -> None:
    places, values = Precision(Feedless()), Settings().values()
    usual = np.full(1000, 1.7)
    assert places.spread(rows_of(usual), values) == 2
    usual[-60:] = 0.003
    assert places.spread(rows_of(usual), values) == 2
    assert places.spread(rows_of([0.0, np.nan]), values) == 2


def test_before_a_spread_is_known_the_price_says_how_fine_it_may_be() -> None:
    places, linear = Precision(Feedless()), Settings().values()
    log = replace(linear, price_scale="log")
    assert places.spread(rows_of([]), linear) == 2
    assert places.spread(rows_of([np.nan]), log) == 6
    assert places.spread(rows_of([5e-5] * 9), log) == 7
    assert places.spread(rows_of([np.nan]), linear) == 2, "another spread: nothing stays"


async def spread_shown(lab: PairLab) -> tuple[str, dict[str, str], list[list[str]], str]:
    """Return the head of the spread, the latest row, the table of rows and the end's label."""
    await lab.stop()
    parts = lab.dashboard().parts
    lab.dashboard().render_loop.paint(due=True)
    return (
        text(parts["spread"].head.value), shown(parts["latest"]._body.value),
        cells(parts["rows"]._body.value), str(parts["spread"]._end[1].text[0]),
    )  # fmt: skip


def telling_places(lab: PairLab, row: Snapshot) -> int:
    loop = lab.dashboard().render_loop
    places = loop._frame(due=True).spread_places
    return Precision(lab).telling(row, lab.row_settings, places)


async def test_a_log_spread_keeps_its_digits_and_has_no_unit(running_lab: MakeLab) -> None:
    async with running_lab(**LOG) as lab:
        head, latest, rows, end = await spread_shown(lab)
        row, places = lab.latest(), lab.dashboard().render_loop._frame(due=True).spread_places
        assert 1e-6 < row.spread_std < 1e-3
        assert 6 <= places <= 7
        fine = telling_places(lab, row)
        assert latest["σ"] == sized(row.spread_std, fine)
        assert digits(latest["σ"]) >= 2
        assert latest["spread"] == sized(row.spread, fine)
        assert latest["α"] == sized(row.intercept, fine)
        assert rows[1][3] == number(lab.rows.view(1)["spread"][0], places)
        assert end == compact(row.spread, places)
        reach = sized(2 * row.spread_std, fine)
        assert f"−{reach} … {reach}" in head
        assert f"= ln y − {number(row.hedge_ratio, 3)} ln x − α" in head
        assert "USDT" not in head
        # Prices are what was traded.
        y, x = lab.price_decimals()
        assert (latest["y"], latest["x"]) == (number(row.y, y), number(row.x, x))
        assert rows[1][1:3] == [number(row.y, y), number(row.x, x)]


async def test_a_tight_pair_in_linear_prices_keeps_its_digits(running_lab: MakeLab) -> None:
    async with running_lab(**TIGHT) as lab:
        head, latest, rows, end = await spread_shown(lab)
        row, places = lab.latest(), lab.dashboard().render_loop._frame(due=True).spread_places
        assert 0 < row.spread_std < 1e-3
        assert places >= 6
        assert digits(latest["σ"]) >= 2
        assert rows[1][3] == number(lab.rows.view(1)["spread"][0], places)
        assert float(end.replace("−", "-")) == pytest.approx(row.spread, rel=0.05, abs=1e-9)
        assert sized(row.spread_mean, telling_places(lab, row)) in head
        assert head.startswith("Spread USDT = y − 1.000 x")


@pytest.mark.parametrize("hedge", ["fixed", "ols"])
async def test_a_spread_of_billionths_is_shown_everywhere(running_lab: MakeLab, hedge: str) -> None:
    async with running_lab(**{**TINY, "hedge": hedge}) as lab:
        head, latest, rows, end = await spread_shown(lab)
        row, parts = lab.latest(), lab.dashboard().parts
        assert 0 < row.spread_std < 1e-7
        places = lab.dashboard().render_loop._frame(due=True).spread_places
        assert 8 < places <= decimals_for(row.spread_std, 2) + 1
        assert latest["σ"] == resolved(row.spread_std, telling_places(lab, row))
        for name, text_ in {**latest, "end": end, "row": rows[1][3]}.items():
            if name in ("spread", "mean", "σ", "α", "end", "row", "β") and text_ != "0":
                assert re.search("[1-9]", text_), (name, text_)
                assert len(text_) <= 12, (name, text_)
        assert float(latest["spread"].replace("−", "-")) == pytest.approx(row.spread, rel=0.1)
        assert "0.00000000" not in head
        axis = parts["spread"]._axis
        labels = [axis.tick_labels[js_number(at)] for at in axis.tick_values]
        assert len(set(labels)) == len(labels) >= 2
        assert all(len(label) <= 8 for label in labels), labels
        facts = shown(parts["alerts"]._numbers(lab.alert_log.alerts()[-1]))
        assert re.search("[1-9]", facts["σ"])
        assert "0.00000000" not in text(HedgeChart(lab).head.value)


async def test_a_formula_without_a_ratio_has_its_name(running_lab: MakeLab) -> None:
    async with running_lab(rows=30, **{**LOG, "window": 2000}) as lab:
        await lab.stop()
        head = text(lab.dashboard().parts["spread"].head.value)
        assert "= ln y − β ln x − α" in head


async def test_a_selected_alert_keeps_its_digits(running_lab: MakeLab) -> None:
    async with running_lab(rows=2000, speed=100.0, **{**LOG, "window": 30}) as lab:
        await lab.stop()
        table = lab.dashboard().parts["alerts"]
        alert = lab.alert_log.alerts()[-1]
        told = shown(table._numbers(alert))
        y, _ = lab.price_decimals()
        assert told["y"] == number(alert.at.y, y)
        for name, value in (("σ", alert.at.spread_std), ("spread", alert.at.spread)):
            read = float(told[name].replace("−", "-"))
            assert read == pytest.approx(value, rel=0.05, abs=1e-8)


async def test_prices_in_logs_are_not_tied_and_fill_axes_of_their_own(
    running_lab: MakeLab,
) -> None:
    async with running_lab(**LOG) as lab:
        await lab.stop()
        chart, screen = lab.dashboard().parts["prices"], lab.dashboard().render_loop
        screen.paint(due=True)
        head = text(chart.head.value)
        assert "axes not tied: β is of log prices" in head
        assert "the gap between the lines" not in head
        for axis, scale, name, decimals in (
            (chart._left_axis, chart.scale, "y", 1), (chart._right_axis, chart._right, "x", 2),
        ):  # fmt: skip
            low, high = screen._frame(due=True).thinned.bounds(name)
            assert scale.min < low < high < scale.max
            assert high - low > 0.5 * (scale.max - scale.min)
            labels = [axis.tick_labels[js_number(at)] for at in axis.tick_values]
            assert len(labels) >= 2
            assert all(len(label.split(".")[1]) >= decimals for label in labels)


async def test_axes_are_tied_again_with_linear_prices(running_lab: MakeLab) -> None:
    async with running_lab(**LOG) as lab:
        await lab.stop()
        chart, screen = lab.dashboard().parts["prices"], lab.dashboard().render_loop
        frame = screen._frame(due=True)
        frame = replace(frame, values=replace(frame.values, price_scale="linear"))
        chart.paint_lines(frame)
        assert "axes tied by β" in chart.head_text(frame)
        tied = chart._right.max - chart._right.min
        chart.paint_lines(screen._frame(due=True))
        assert chart._right.max - chart._right.min != tied
        ticks = np.asarray(chart._right_axis.tick_values)
        assert ((chart._right.min <= ticks) & (ticks <= chart._right.max)).all()


async def test_the_hedge_says_what_it_hedges(running_lab: MakeLab) -> None:
    async with running_lab(**LOG) as lab:
        await lab.stop()
        head = text(HedgeChart(lab).head.value)
        assert "notional of x against one y" in head
        row, places = lab.latest(), lab.dashboard().render_loop._frame(due=True).spread_places
        assert f"β {number(row.hedge_ratio, 3)} " in head
        assert f"α {number(row.intercept, places)} " in head
        assert places >= 6


async def test_a_small_ratio_keeps_its_digits(running_lab: MakeLab) -> None:
    async with running_lab(
        symbols=("XRPUSDT", "BTCUSDT"), market={"symbols": ("XRPUSDT", "BTCUSDT")}, hedge="ols"
    ) as lab:
        head, latest, *_ = await spread_shown(lab)
        assert latest["β"] == number(lab.latest().hedge_ratio, 8)
        assert number(abs(lab.latest().hedge_ratio), 8) in head
        assert SpreadChart(lab).render_loop._frame(due=True).ratio_places == 8


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (41.75, 2, "41.75"), (-5234.9, 2, "−5,234.9"), (0.001, 2, "0.00"), (0.0, 7, "0.000000"),
        (-0.0000123, 7, "−1.2e−5"), (0.000123, 6, "1.2e−4"), (0.0123, 4, "0.0123"),
        (-0.0123, 4, "−0.0123"), (3.2201234, 7, "3.220123"), (float("nan"), 7, "–"),
    ],
)  # fmt: skip
def test_a_number_in_little_room_keeps_its_digits(value: float, decimals: int, text: str) -> None:
    assert compact(value, decimals) == text
    assert len(text) <= 8


HEADS: list[dict[str, Any]] = [
    {}, {"entry_z": 1.25, "window": 10}, {**LOG, "window": 30}, TIGHT,
    {**TIGHT, "hedge": "ols", "window": 12}, TINY,
]  # fmt: skip


def printed(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


@pytest.mark.parametrize("given", HEADS)
async def test_what_is_printed_gives_the_z_that_is_printed(
    running_lab: MakeLab, given: dict[str, Any]
) -> None:
    async with running_lab(rows=300, **given) as lab:
        await lab.stop()
        parts, screen = lab.dashboard().parts, lab.dashboard().render_loop
        seen = 0
        for row in lab.rows.view()[-240::5]:
            screen.view.set_pointer(int(row["time_ns"]) / 1e6)
            frame = screen._frame(due=True)
            if not np.isfinite(frame.read.zscore):
                continue
            seen += 1
            html = parts["spread"].head_text(frame)
            spread, mean, band = re.findall(r"<b style[^>]*>(.*?)</b>", html)
            low, high = map(printed, band.split(" … "))
            sigma = (high - low) / (2 * lab.settings.entry_z)
            z = (printed(spread) - printed(mean)) / sigma
            (shown_z, _) = re.findall(r"<b style[^>]*>(.*?)</b>", parts["zscore"].head_text(frame))
            assert abs(z - printed(shown_z)) <= 0.01 + 1e-9
        assert seen >= 20
        latest = frame.latest
        parts["latest"].paint(frame)
        told = shown(parts["latest"]._body.value)
        z = (printed(told["spread"]) - printed(told["mean"])) / printed(told["σ"])
        assert abs(z - latest.zscore) <= 0.015
