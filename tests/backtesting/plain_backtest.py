"""A slow backtest in plain Python, for tests: loops over ticks, no numpy in any sum."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

NS = 1_000_000_000
OUT = {2: "exit", 3: "stop"}


@dataclass
class Order:
    """A position: its decisions, and what became of them on each leg."""

    row: dict
    side: int
    out: dict | None = None
    why_out: str = "open"
    quantity: dict = field(default_factory=dict)
    filled: dict = field(default_factory=dict)  # leg: trade
    left: dict = field(default_factory=dict)
    missed: str | None = None


def rows_of_ticks(engine, ticks):
    """One tick an update, as live: rows with the number and time of the tick that made them."""
    rows, events, known = [], [], -(2**63)
    for number in range(len(ticks)):
        tick = ticks[number]
        price = float(tick["price"])
        if math.isfinite(price) and price > 0 and tick["leg"] in (0, 1):
            known = max(known, int(tick["time_ns"]))
        made = engine.update(ticks[number : number + 1])
        for event in engine.events:
            events.append((len(rows) + int(event["row"]), event.copy()))
        for row in made:
            rows.append({name: row[name].item() for name in row.dtype.names})
            rows[-1].update(key=number, known=known)
    return rows, events


def trades_of_ticks(ticks):
    """The trades of each leg: their number, the time reached, the price."""
    legs, known = {"y": [], "x": []}, -(2**63)
    for number, tick in enumerate(ticks):
        price = float(tick["price"])
        if not (math.isfinite(price) and price > 0) or tick["leg"] not in (0, 1):
            continue
        known = max(known, int(tick["time_ns"]))
        legs["yx"[tick["leg"]]].append({"key": number, "time": known, "price": price})
    return legs


def floor_to(size, step):
    return size if not step else math.floor(size / step * (1 + 1e-12)) * step


class PlainBacktest:
    """Rows and events of the engine, trades of each leg, and how they are filled and paid."""

    def __init__(
        self, rows, events, legs, *, bars, log=False, capital=10_000.0, fee_bps=4.0, slip_bps=0.0,
        latency_ns=0, max_wait_ns=10 * NS, lots=None, funding=None, marks=None,
    ):  # fmt: skip
        warm = next((k for k, row in enumerate(rows) if not row["flags"] & 1), len(rows))
        self.rows = rows[warm:]
        self.legs, self.bars, self.log, self.capital = legs, bars, log, capital
        self.fee, self.slip = fee_bps / 1e4, slip_bps / 1e4
        self.latency_ns, self.max_wait_ns, self.lots = latency_ns, max_wait_ns, lots
        self.funding, self.marks = funding, marks
        self.orders: list[Order] = []
        for at, event in events:
            self.decide(self.rows[at - warm], event)
        for order in self.orders:
            self.fill(order)
        self.done = [order for order in self.orders if order.missed is None]
        self.paid = self.pay()
        self.equity = self.account()

    def decide(self, row, event):
        kind, side = int(event["kind"]), int(event["side"])
        if kind == 1:
            self.orders.append(Order(row, side))
        elif kind in OUT:
            order = self.orders[-1]
            order.out, order.why_out = row, OUT[kind]
            if kind == 3 and int(event["failed"]) == 64:
                order.why_out = "max hold"

    def known_to(self, row, trade):
        return trade["key"] < row["key"] if self.bars else trade["key"] <= row["key"]

    def next_trade(self, leg, row, not_before=None):
        for trade in self.legs[leg]:
            if trade["key"] <= row["key"] or trade["time"] < row["known"] + self.latency_ns:
                continue
            if not_before is not None and trade["key"] < not_before["key"]:
                continue
            return trade if self.known_to(self.rows[-1], trade) else None
        return None

    def fill(self, order):
        row = order.row
        beta = row["hedge_ratio"]
        size = self.capital / row["y"]
        if self.lots:
            size = floor_to(size, self.lots[0].step_size)
        other = size * (beta * row["y"] / row["x"] if self.log else beta)
        if self.lots:
            other = math.copysign(floor_to(abs(other), self.lots[1].step_size), other)
        order.quantity = {"y": order.side * size, "x": -order.side * other}
        if self.lots:
            for leg, rule in zip("yx", self.lots, strict=True):
                size = abs(order.quantity[leg])
                if size < rule.min_qty or size == 0:
                    order.missed = f"{leg} below its minimum quantity"
                elif size * row[leg] < rule.min_notional and order.missed is None:
                    order.missed = f"{leg} below its minimum notional"
        found = {leg: self.next_trade(leg, row) for leg in "yx"}
        late = [
            leg for leg, trade in found.items()
            if trade and trade["time"] - row["known"] - self.latency_ns > self.max_wait_ns
        ]  # fmt: skip
        if order.missed is None and late:
            who = "either leg" if len(late) == 2 else late[0]
            order.missed = f"no trade of {who} within max_wait_s"
        if order.missed is None and None in found.values():
            order.missed = "the data ended before it was filled"
        order.filled = found
        if order.missed is None and order.out is not None:
            for leg in "yx":
                trade = self.next_trade(leg, order.out, found[leg])
                if trade is not None:
                    order.left[leg] = trade

    def price(self, trade, quantity, entering):
        buys = (quantity > 0) == entering
        return trade["price"] * (1 + self.slip if buys else 1 - self.slip)

    def pay(self):
        """Payments of funding: (order, time, amount)."""
        payments = []
        for leg in "yx" if self.funding else "":
            for time, rate in self.funding[leg]:
                if time > self.rows[-1]["time_ns"]:
                    continue
                mark = None
                for trade in self.marks[leg] if self.marks else self.legs[leg]:
                    if trade["time"] <= time:
                        mark = trade["price"]
                for order in self.done:
                    if order.filled[leg]["time"] >= time:
                        continue
                    if leg in order.left and order.left[leg]["time"] < time:
                        continue
                    payments.append((order, time, -order.quantity[leg] * mark * rate))
        return payments

    def account(self):
        """Equity at every row: cash and what is held, order by order."""
        equity = []
        for row in self.rows:
            total = self.capital
            for order in self.done:
                for leg in "yx":
                    quantity = order.quantity[leg]
                    if not self.known_to(row, order.filled[leg]):
                        continue
                    paid = self.price(order.filled[leg], quantity, True)
                    total -= abs(quantity) * paid * self.fee
                    if leg in order.left and self.known_to(row, order.left[leg]):
                        got = self.price(order.left[leg], quantity, False)
                        total += quantity * (got - paid) - abs(quantity) * got * self.fee
                    else:
                        total += quantity * (row[leg] - paid)
            for _, time, amount in self.paid:
                if time <= row["time_ns"]:
                    total += amount
            equity.append(total)
        return equity

    def trade(self, order) -> dict[str, Any]:
        """What one position made, with everything that is asked of the table."""
        last = self.rows[-1]
        gross = fees = slippage = 0.0
        for leg in "yx":
            quantity = order.quantity[leg]
            size, entry = abs(quantity), order.filled[leg]
            paid = self.price(entry, quantity, True)
            fees += size * paid * self.fee
            slippage += size * abs(paid - entry["price"])
            if leg in order.left:
                got = self.price(order.left[leg], quantity, False)
                fees += size * got * self.fee
                slippage += size * abs(got - order.left[leg]["price"])
                gross += quantity * (order.left[leg]["price"] - entry["price"])
            else:
                gross += quantity * (last[leg] - entry["price"])
        funding = sum(amount for who, _, amount in self.paid if who is order)
        best, worst = max(gross, 0.0), min(gross, 0.0)
        for row in self.rows:
            both = all(self.known_to(row, order.filled[leg]) for leg in "yx")
            if both and not any(self.known_to(row, trade) for trade in order.left.values()):
                profit = sum(
                    order.quantity[leg] * (row[leg] - order.filled[leg]["price"]) for leg in "yx"
                )
                best, worst = max(best, profit), min(worst, profit)
        closed = len(order.left) == 2
        return {
            "side": order.side, "reason": order.why_out if closed else "open",
            "y_quantity": order.quantity["y"], "x_quantity": order.quantity["x"],
            "y_entry_price": self.price(order.filled["y"], order.quantity["y"], True),
            "x_entry_price": self.price(order.filled["x"], order.quantity["x"], True),
            "gross": gross, "fees": fees, "slippage": slippage, "funding": funding,
            "net": gross - fees - slippage + funding, "mae": worst, "mfe": best,
        }  # fmt: skip
