"""What a deviation is worth and what a position made, against fills booked one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairlab.costs import break_even_z, edge_bps, profit, round_trip_bps, x_quantity
from pairlab.data.alert_log import AlertLog
from pairlab.schema import EVENT, ROW, AlertKind, Snapshot
from pairlab.settings import Settings


def row(**values: float) -> Snapshot:
    record = np.zeros(1, ROW)
    given = {"y": 60_000.0, "x": 2_400.0, "hedge_ratio": 25.0, "zscore": -2.0, "spread_std": 1.5}
    for name, value in {**given, **values}.items():
        record[name] = value
    return Snapshot.of(record[0])


class IdCounters:
    """Cash and units, one fill at a time, a fee on each."""

    def __init__(self, fee_bps: float) -> None:
        self.cash, self.fees, self.rate = 0.0, 0.0, fee_bps / 10_000

    def fill(self, units: float, price: float) -> None:
        self.cash -= units * price
        self.fees += abs(units) * price * self.rate


@given(
    st.sampled_from([1, -1]),
    st.sampled_from(["linear", "log"]),
    st.floats(-30, 30).filter(lambda b: abs(b) > 1e-3),
    st.floats(0, 100),
    *[st.floats(0.9, 1.1)] * 2,
)
def test_profit_is_what_four_fills_leave(
    side: int, scale: str, beta: float, fee_bps: float, up_y: float, up_x: float
) -> None:
    entry = row(hedge_ratio=beta)
    y, x = entry.y * up_y, entry.x * up_x
    units_x = beta if scale == "linear" else beta * entry.y / entry.x
    book = IdCounters(fee_bps)
    book.fill(side, entry.y)
    book.fill(-side * units_x, entry.x)
    book.fill(-side, y)
    book.fill(side * units_x, x)
    made = profit(side, entry, scale, y, x, fee_bps)
    assert made.y_quantity == side
    assert made.x_quantity == pytest.approx(-side * units_x)
    assert made.gross == pytest.approx(book.cash, abs=1e-6)
    assert made.cost == pytest.approx(book.fees)
    assert made.net == pytest.approx(book.cash - book.fees, abs=1e-6)
    assert made.net_bps == pytest.approx((book.cash - book.fees) / 60_000 * 10_000, abs=1e-9)
    assert made.gross_bps - made.cost_bps == pytest.approx(made.net_bps, abs=1e-9)
    # without a move it is the round trip that the screen shows beside the deviation
    still = profit(side, entry, scale, entry.y, entry.x, fee_bps)
    assert still.gross == 0.0
    assert still.cost_bps == pytest.approx(round_trip_bps(fee_bps, entry, scale))


def test_a_balanced_pair_costs_four_fills() -> None:
    assert round_trip_bps(4.0, row(), "linear") == 16.0
    assert round_trip_bps(4.0, row(hedge_ratio=-1.0), "log") == 16.0
    assert round_trip_bps(4.0, row(hedge_ratio=12.5), "linear") == 12.0
    assert x_quantity(row(hedge_ratio=1.0), "log") == 25.0


def test_the_edge_is_what_a_return_to_the_mean_earns() -> None:
    """Linear, to the last digit; log, to the second order of the move."""
    entry = row(zscore=-2.0, spread_std=1.5, spread=-3.0)
    assert edge_bps(entry, "linear") == 0.5
    assert profit(1, entry, "linear", entry.y + 3.0, entry.x, 0.0).gross_bps == pytest.approx(0.5)
    log = row(zscore=-2.0, spread_std=1e-4, hedge_ratio=0.8)
    assert edge_bps(log, "log") == pytest.approx(2.0)
    back = profit(1, log, "log", log.y * math.exp(2e-4), log.x, 0.0)
    assert back.gross_bps == pytest.approx(2.0, rel=2e-4)
    both = profit(1, log, "log", log.y * math.exp(1e-4), log.x * math.exp(-1e-4 / 0.8), 0.0)
    assert both.gross_bps == pytest.approx(2.0, rel=2e-4)


@pytest.mark.parametrize("name", ["zscore", "spread_std"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_unknown_is_unknown(name: str, value: float) -> None:
    assert math.isnan(edge_bps(row(**{name: value}), "linear"))
    assert math.isnan(edge_bps(row(y=0.0), "linear"))
    assert math.isnan(round_trip_bps(4.0, row(y=0.0), "linear"))
    assert math.isnan(x_quantity(row(x=0.0), "log"))
    unknown = row(hedge_ratio=value)
    assert math.isnan(round_trip_bps(4.0, unknown, "linear"))
    made = profit(1, unknown, "linear", 60_000.0, 2_400.0, 4.0)
    assert math.isnan(made.gross)
    assert math.isnan(made.cost)
    assert math.isnan(made.net_bps)
    assert math.isnan(made.x_quantity)


def events(*kinds: AlertKind) -> Any:
    found = np.zeros(len(kinds), EVENT)
    found["kind"], found["side"], found["row"] = kinds, 1, np.arange(len(kinds))
    return found


def test_the_log_knows_the_entry_of_the_position_held() -> None:
    log, rows, values = AlertLog(capacity=3), np.zeros(3, ROW), Settings().values()
    rows["hedge_ratio"] = [24.0, 25.0, 26.0]
    assert log.opened is None
    log.add(events(AlertKind.SUPPRESSED, AlertKind.ENTRY), rows, values)
    opened = log.opened
    assert opened is not None
    assert opened.at.hedge_ratio == 25.0
    for _ in range(4):  # the entry falls out of the log, the position stands
        log.add(events(AlertKind.DECOUPLED), rows, values)
    assert opened not in log.alerts()
    assert log.opened == opened
    log.add(events(AlertKind.EXIT), rows, values)
    assert log.opened is None
    log.add(events(AlertKind.ENTRY), rows, values)
    assert log.opened != opened
    log.add(events(AlertKind.STOP, AlertKind.SUPPRESSED), rows, values)
    assert log.opened is None


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_at_the_break_even_z_the_edge_is_the_cost(scale: str) -> None:
    given = {"hedge_ratio": 0.9, "spread_std": 3e-4} if scale == "log" else {}
    least = break_even_z(row(**given), 4.0, scale)
    at = row(**given, zscore=-least)
    assert edge_bps(at, scale) == pytest.approx(round_trip_bps(4.0, at, scale))
    assert math.isnan(break_even_z(row(spread_std=0.0), 4.0, scale))
    assert break_even_z(row(**given), 0.0, scale) == 0.0
