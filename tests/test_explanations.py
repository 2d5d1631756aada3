"""What is printed of an alert is enough to compute its z-score, to the last digit printed."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from pairlab import PairEngine
from pairlab.alerts import Alert
from pairlab.data.alert_log import AlertLog
from pairlab.schema import EVENT, ROW, AlertKind, Filter, Records
from pairlab.settings import Settings
from pairlab.widgets.panels.alert_table import AlertTable
from tests.engine import oracles, worlds

NUMBER = r"[+−-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[−+-]?\d+)?"


def read(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def last_digit(text: str) -> float:
    """What one unit in the last digit of a number is worth."""
    decimals = len(text.partition(".")[2])
    return 10.0**-decimals


def log_of(rows: Records, events: Records, settings: Any) -> list[Alert]:
    log = AlertLog(100_000)
    log.add(events, rows, settings)
    return log.alerts()


def told(alert: Alert) -> dict[str, list[str]]:
    """The numbers of each line of an explanation."""
    lines = alert.explain().splitlines()[1:]
    return {line[2:10].strip(): re.findall(NUMBER, line[10:]) for line in lines}


def legs(world: str) -> tuple[Any, Any]:
    """Prices of two legs, and how small or large they are."""
    y, x = worlds.cointegrated(9, 12_000, noise=4.0, half_life=8.0)
    match world:
        case "btc":
            return y, x
        case "mirrored":
            return y, 2 * x.mean() - x
        case "tight":  # a spread of millionths beside prices of 1
            r = np.random.default_rng(1)
            x = 1.0 + np.cumsum(r.normal(0, 1e-5, 12_000))
            return 3.3 + 0.0056 * x + worlds.ou(r, 12_000, 10, 1.15e-6), x
        case "tiny":  # 1000SATSUSDT against 4USDT
            return y * 1e-14, x * 2e-6
        case "huge":
            return y * 1e6, x * 0.1
    raise ValueError(world)


def run(engine: PairEngine, y: Any, x: Any) -> list[Alert]:
    times = oracles.T0 + np.arange(len(y)) * 10**9
    rows = engine.observe(times, y, x, times, times)
    return log_of(rows, engine.events, engine.values)


RATIOS = {"btc": 25.0, "mirrored": -25.0, "tight": 0.0056, "tiny": 25e-8 / 20, "huge": 2.5e8}


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("hedge", ["fixed", "ols", "kalman"])
@pytest.mark.parametrize("world", sorted(RATIOS))
def test_z_can_be_computed_from_what_is_printed(world: str, hedge: str, scale: str) -> None:
    y, x = legs(world)
    ratio = RATIOS[world]
    if scale == "log":
        ratio = math.copysign(1.0, ratio) if world != "tight" else 0.0017
    engine = PairEngine(
        timeframe="1s", hedge=hedge, hedge_ratio=ratio, price_scale=scale, window=40,
        min_correlation=-1.0, kalman_half_life=200.0, stop_z=3.0,
    )  # fmt: skip
    alerts = run(engine, y, x)
    assert len(alerts) > 200
    for alert in alerts:
        line, at = told(alert), alert.at
        printed_z = line["z"][0]
        spread, mean, std = map(read, line["spread"])
        z = (spread - mean) / std
        assert abs(z - read(printed_z)) <= last_digit(printed_z), alert.explain()
        assert abs(read(printed_z) - at.zscore) <= 0.5001 * last_digit(printed_z)
        assert last_digit(printed_z) <= 1e-3
        assert [read(price) for price in line["y, x"]] == [at.y, at.x], "prices in full"
        if hedge != "kalman":  # its innovation is of the hedge before this row
            price_y, price_x = (math.log(p) if scale == "log" else p for p in (at.y, at.x))
            beta, alpha = map(read, line["β, α"])
            z = (price_y - beta * price_x - alpha - mean) / std
            assert abs(z - read(printed_z)) <= last_digit(printed_z), alert.explain()


@pytest.mark.parametrize("hedge", ["fixed", "ols", "kalman"])
@pytest.mark.parametrize("world", sorted(RATIOS))
def test_the_table_s_numbers_give_its_z(world: str, hedge: str) -> None:
    """The facts of a chosen alert, where z has two decimals."""
    y, x = legs(world)
    engine = PairEngine(
        timeframe="1s", hedge=hedge, hedge_ratio=RATIOS[world], window=40, min_correlation=-1.0
    )
    alerts = run(engine, y, x)
    assert len(alerts) > 100
    table = AlertTable.__new__(AlertTable)  # only its method is needed, and that it asks for prices
    table.render_loop = _Loop()
    for alert in alerts[:300]:
        html = table._numbers(alert)
        facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html))
        z = (read(facts["spread"]) - read(facts["mean"])) / read(facts["σ"])
        assert abs(z - read(facts["z"])) <= 0.01, facts
        assert last_digit(facts["z"]) == 0.01


class _Loop:
    """A render loop whose lab knows no decimals of prices."""

    class lab:
        @staticmethod
        def price_decimals() -> None:
            return None


def alert_of(
    kind: AlertKind, failed: int = 0, side: int = -1, max_hold_s: float | None = None, **at: Any
) -> Alert:
    rows, events = np.zeros(1, ROW), np.zeros(1, EVENT)
    given = {
        "y": 61_000.0, "x": 2_440.0, "hedge_ratio": -25.0, "correlation": -0.95, "zscore": 2.5,
        "spread_std": 1.5, "p_value": 0.01, "filled": 50,
    }  # fmt: skip
    for name, value in {**given, **at}.items():
        rows[name] = value
    events["kind"], events["side"], events["failed"] = kind, side, failed
    values = Settings(require_stationary=True, stop_z=4.0, max_hold_s=max_hold_s).values()
    (alert,) = log_of(rows, events, values)
    return alert


def test_the_correlation_of_legs_that_move_against_each_other_is_told_with_its_sign() -> None:
    entry = alert_of(AlertKind.ENTRY)
    assert "−ρ 0.95 ≥ 0.70" in entry.sentence
    assert "ρ        −0.9500 (0.9500 with β·x, at least 0.7)" in entry.explain()
    held = alert_of(AlertKind.SUPPRESSED, Filter.CORRELATION, correlation=0.3)
    assert held.reason == "−ρ −0.30 < 0.70"
    assert alert_of(AlertKind.DECOUPLED, correlation=-0.6996).reason == "−ρ 0.6996 < 0.7000"
    plain = alert_of(AlertKind.DECOUPLED, correlation=0.6996, hedge_ratio=25.0)
    assert plain.reason == "ρ 0.6996 < 0.7000"


def test_an_entry_beyond_the_stop_says_so() -> None:
    alert = alert_of(AlertKind.SUPPRESSED, Filter.STOP_Z, zscore=4.004)
    assert alert.reason == "|z| 4.004 ≥ stop 4.000"
    assert "SHORT entry held back: z +4.00 ≥ +2.00, but |z| 4.004 ≥ stop 4.000" in alert.sentence


def test_a_time_stop_says_so_and_why() -> None:
    alert = alert_of(AlertKind.STOP, Filter.MAX_HOLD, zscore=2.1, max_hold_s=5400.0)
    assert alert.reason == "held for max_hold_s (5,400 s)"
    assert alert.sentence == (
        "SHORT stopped by time: held for max_hold_s (5,400 s), and z +2.10 is not back. Locked "
        "until |z| ≤ 0.50 or z changes sign."
    )
    assert "(entry 2, exit 0.5, stop 4, held for at most 5,400 s)" in alert.explain()
    unknown = alert_of(AlertKind.STOP, Filter.MAX_HOLD, zscore=math.nan, max_hold_s=60.0)
    assert "nan" not in unknown.explain()
    by_z = alert_of(AlertKind.STOP, zscore=4.2, max_hold_s=5400.0)
    assert by_z.reason == "z ≥ +4.00"


def test_the_p_value_is_compared_with_what_the_window_needs() -> None:
    held = alert_of(AlertKind.SUPPRESSED, Filter.STATIONARY, p_value=0.047)
    assert held.reason == "p 0.047 > 0.043"
    assert "p-value  0.0470 (at most 0.0426: 0.05 at this window, required)" in held.explain()


@pytest.mark.parametrize("std", [4.9e-9, 1e-6, 0.3, 7e5])
def test_an_undefined_z_breaks_nothing(std: float) -> None:
    for name in ("zscore", "spread", "spread_mean", "hedge_ratio"):
        text = alert_of(AlertKind.ENTRY, spread_std=std, **{name: math.nan}).explain()
        assert "nan" not in text
    assert "inf" not in alert_of(AlertKind.ENTRY, spread_std=0.0, spread=math.inf).explain()
