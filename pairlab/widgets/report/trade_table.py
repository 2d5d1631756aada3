"""The trades of a result: in the order of time or of profit, and all of one."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
from ipywidgets import Button, Dropdown, HBox, VBox

from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.panels.tables import cells
from pairlab.widgets.report.panels import money
from pairlab.widgets.report.result_lab import ResultLab
from pairlab.widgets.style.formats import (
    MISSING,
    clock,
    compact,
    count,
    extent,
    number,
    safe,
    signed,
)
from pairlab.widgets.style.theme import icon, var
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["TradeTable", "trade_cells", "trade_head"]

_ROWS: Final = 25
_ORDERS: Final = {"first": "time", "best": "best net", "worst": "worst net", "longest": "longest"}
_AROUND: Final = 2.0  # how much of a trade's length is shown before and after it
_LEAST_NS: Final = 2_000_000_000


def trade_head() -> list[str]:
    """Return the heads of the columns that `trade_cells` fills."""
    return ["Entry UTC", "Side", "z", "held", "net", "end"]


def trade_cells(trade: pd.Series[Any], *, several_days: bool) -> list[str]:
    """Return what a table shows of a trade, as HTML."""
    side, colour = ("long", "y") if trade["side"] > 0 else ("short", "x")
    shape = icon("up" if trade["side"] > 0 else "down", var(colour))
    net = float(trade["net"])
    tone = "corr" if net >= 0 else "stop"
    when = trade["entry_decided"]
    short = f"{when.day} {when:%b %H:%M}" if several_days else clock(when.value)
    return [
        f'<span title="{when:%Y-%m-%d} {clock(when.value)}">{short}</span>',
        f'{shape}<b style="color:{var(colour)}">{side}</b>', signed(float(trade["entry_z"])),
        extent(float(trade["held_s"])), f'<b style="color:{var(tone)}">{money(net)}</b>',
        safe(str(trade["reason"])),
    ]  # fmt: skip


class TradeTable(LabWidget, VBox):  # type: ignore[misc]
    """The trades of a result. A click on one shows it in all charts, and everything about it below.

    Parameters
    ----------
    lab : ResultLab
        Whose trades.
    rows : int
        How many a page has.
    """

    def __init__(self, lab: ResultLab, rows: int = _ROWS) -> None:
        self._lab, self._trades = lab, lab.result.trades
        self._rows_shown, self._page = rows, 0
        self._several_days = lab.result.data_report.days > 1
        self._chosen: int | None = None
        self._order = self._ordered("first")
        self._sort = Dropdown(
            options=[(words, name) for name, words in _ORDERS.items()], value="first",
            description="Order", tooltip="Which trades come first",
        )  # fmt: skip
        self.on_frontend(self._sort, "value", self._on_order)
        self._where = HTML().add_class("pairlab-where")
        self._before = self._turn("‹", "Trades before these", -1)
        self._after = self._turn("›", "Trades after these", 1)
        self._back = Button(description="×", tooltip="Show the whole period again")
        self._back.add_class("pairlab-turn").add_class("pairlab-unchoose")
        self.on_frontend(self._back, "click", lambda _: self.choose(None))
        self._body = HTML().add_class("pairlab-body")
        self._covers = [
            Button(tooltip="Show this trade in all charts").add_class("pairlab-cover")
            for _ in range(rows)
        ]
        for place, cover in enumerate(self._covers):
            self.on_frontend(cover, "click", partial(self._on_cover, place))
        self._facts = HTML().add_class("pairlab-explain")
        title = HTML("<h3>Trades</h3>").add_class("pairlab-head-text")
        head = HBox([title, self._sort, self._where, self._before, self._after, self._back])
        covers = VBox(self._covers).add_class("pairlab-covers")
        super().__init__([head.add_class("pairlab-head"), self._body, covers, self._facts])
        for style in ("pairlab", "pairlab-panel", "pairlab-trades"):
            self.add_class(style)
        self.join(lab)

    def _turn(self, face: str, tooltip: str, step: int) -> Button:
        button = Button(description=face, tooltip=tooltip).add_class("pairlab-turn")
        self.on_frontend(button, "click", lambda _: self._go(step))
        return button

    def _ordered(self, order: str) -> list[int]:
        trades = self._trades
        by = {"best": -trades["net"], "worst": trades["net"], "longest": -trades["held_s"]}
        if order not in by:
            return list(range(len(trades)))
        return [int(at) for at in np.argsort(by[order].to_numpy(np.float64), kind="stable")]

    def _on_order(self, order: str) -> None:
        self._order, self._page = self._ordered(order), 0
        self.forget("trades")

    def _go(self, step: int) -> None:
        if self._chosen is None:
            self._page = min(max(self._page + step, 0), self._pages - 1)
        else:
            at = self._order.index(self._chosen) + step
            if 0 <= at < len(self._order):
                self._page = at // self._rows_shown
                self.choose(self._order[at])
        self.forget("trades")

    @property
    def _pages(self) -> int:
        return max(math.ceil(len(self._order) / self._rows_shown), 1)

    def _on_page(self) -> list[int]:
        first = self._page * self._rows_shown
        return self._order[first : first + self._rows_shown]

    def _on_cover(self, place: int, _: Any) -> None:
        shown = self._on_page()
        if place < len(shown):
            self.choose(None if shown[place] == self._chosen else shown[place])

    def choose(self, trade: int | None) -> None:
        """Show one trade in all charts; None shows the whole period again."""
        self._chosen = trade
        view = self.render_loop.view
        self.forget("trades")
        if trade is None:
            view.select(None)
            view.reset()
            return
        of = self._trades.iloc[trade]
        start, length_ns = of["entry_decided"].value, round(float(of["held_s"]) * 1e9)
        alert = self._lab.entry_of(trade)
        if alert is not None:
            view.select(alert)
        room = max(round(_AROUND * length_ns), _LEAST_NS)
        view.freeze(start - room, start + length_ns + room)

    def paint(self, frame: Frame) -> None:
        """Set the page and what is chosen."""
        if self._chosen is not None and not frame.frozen:
            self._chosen = None  # the whole period is shown again
        if not self.changed("trades", (self._page, self._chosen, self._sort.value)):
            return
        shown, total = self._on_page(), len(self._order)
        first = self._page * self._rows_shown
        place = f"{first + 1}–{first + len(shown)} of {count(total)}" if total else "none"
        self._where.value = f"<small>{place}</small>"
        chosen = self._chosen
        at = -1 if chosen is None else self._order.index(chosen)
        set_traits(self._before, disabled=self._page == 0 if chosen is None else at <= 0)
        last = self._page == self._pages - 1 if chosen is None else at >= total - 1
        set_traits(self._after, disabled=last)
        self.toggle_class("pairlab-one-alert", chosen is not None)
        lines = [cells(trade_head(), "th")]
        for number_ in shown:
            trade = self._trades.iloc[number_]
            line = cells(trade_cells(trade, several_days=self._several_days))
            mark = number_ == chosen
            lines.append(line.replace("<tr>", '<tr class="pairlab-chosen">') if mark else line)
        self._body.value = f"<table>{''.join(lines)}</table>"
        for at, cover in enumerate(self._covers):
            known = at < len(shown)
            words = f"trade {shown[at]}" if known else "no trade"
            set_traits(cover, disabled=not known, description=words)
        self._facts.value = self._told(chosen)

    def _told(self, chosen: int | None) -> str:
        if not len(self._trades):
            missed = len(self._lab.result.missed)
            more = f" {count(missed)} entries were missed." if missed else ""
            return f"<div><p>No trade was filled.{more}</p></div>"
        if chosen is None:
            return (
                "<div><p>A click on a trade shows it in all charts, and its numbers here.</p></div>"
            )
        t = self._trades.iloc[chosen]

        def price(name: str) -> str:
            return compact(float(t[name]), 4, 10)

        facts = {
            "trade": str(self._trades.index[chosen]), "rows": count(int(t["rows"])),
            "z in": signed(float(t["entry_z"])), "z out": signed(float(t["exit_z"])),
            "y in": price("y_entry_price"), "y out": price("y_exit_price"),
            "x in": price("x_entry_price"), "x out": price("x_exit_price"),
            "y held": compact(float(t["y_quantity"]), 5, 9),
            "x held": compact(float(t["x_quantity"]), 5, 9),
            "β": compact(float(t["hedge_ratio"]), 3),
            "β held": compact(float(t["hedge_ratio_held"]), 3),
            "gross": money(float(t["gross"])), "fees": number(float(t["fees"])),
            "slippage": number(float(t["slippage"])),
            "funding": number(float(t["funding"])) if self._lab.result.funding_known else MISSING,
            "net": money(float(t["net"])), "MAE": money(float(t["mae"])),
            "MFE": money(float(t["mfe"])), "legs apart": extent(float(t["entry_leg_gap_s"])),
        }  # fmt: skip
        shown = "".join(f"<div><dt>{n}</dt><dd>{safe(v)}</dd></div>" for n, v in facts.items())
        return f'<dl class="pairlab-facts">{shown}</dl>'
