"""The signal panel: the open position, its age, and its profit after costs."""

from __future__ import annotations

import math
from typing import Final

from ipywidgets import HBox, Text, VBox

from pairlab.alerts import Alert
from pairlab.costs import Profit, profit
from pairlab.errors import SettingError
from pairlab.protocols import LabView
from pairlab.schema import NS_PER_S, Snapshot
from pairlab.settings import SETTINGS
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.widget_utils import programmatic_update, set_traits
from pairlab.widgets.panels.tables import show_swapped, swap_button
from pairlab.widgets.panels.typed_number import OFF_WORDS, mark_refused, typed_number
from pairlab.widgets.style.formats import (
    MISSING,
    compact,
    decimals_for,
    duration,
    guess_decimals,
    number,
    quote,
    safe,
    signed,
    signed_fitted,
)  # fmt: skip
from pairlab.widgets.style.precision import price_decimals
from pairlab.widgets.style.theme import icon, var
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["SignalPanel"]

_SIDES: Final = {1: ("up", "y", "LONG"), -1: ("down", "x", "SHORT"), 0: ("dash", "text2", "FLAT")}
_UNKNOWN: Final = Profit(math.nan, math.nan, math.nan, math.nan, math.nan)


class SignalPanel(LabWidget, VBox):  # type: ignore[misc]
    """The position that the signal holds, for one unit of y.

    Quantities and β are those of the entry and stay as they were; the profit marks them at the
    last prices, less two fills at the entry and the two that closing now would take
    (`pairlab.costs.profit`). What is not known, or nothing while flat, is –.

    Parameters
    ----------
    lab : LabView
        Whose signal. The fields in the header are its settings ``fee_bps`` and ``min_edge_bps``.
    """

    after_input = "costs"

    def __init__(self, lab: LabView) -> None:
        self.settings = lab.settings
        self._lab = lab
        self._head = HTML().add_class("pairlab-head-text")
        self._fields = {
            name: self._field(name, label)
            for name, label in (("fee_bps", "fee"), ("min_edge_bps", "min edge"))
        }
        self._body = HTML(description="open signal").add_class("pairlab-body")
        self._body.add_class("pairlab-tip")
        self._swap = swap_button(self, to_signal=False)
        unit = HTML("<small>bps</small>").add_class("pairlab-unit")
        super().__init__(
            [
                HBox([self._head, *self._fields.values(), unit, self._swap]).add_class(
                    "pairlab-head"
                ),
                self._body,
            ]
        )
        for style in ("pairlab", "pairlab-panel", "pairlab-signal"):
            self.add_class(style)
        self.join(lab)

    def _field(self, name: str, label: str) -> Text:
        spec = SETTINGS[name]
        field = Text(
            description=label,
            tooltip=f"{spec.about} Allowed: {spec.allowed}.",
            continuous_update=False,
        ).add_class("pairlab-cost")
        self.on_frontend(field, "value", lambda text: self._on_field(name, text))
        return field

    # -- costs ----------------------------------------------------------------------------------

    def _on_field(self, name: str, text: str) -> None:
        text = text.strip()
        if text == self._shown(name):
            return
        off = name == "min_edge_bps" and text.lower() in OFF_WORDS
        try:
            setattr(self.settings, name, None if off else typed_number(name, text))
        except SettingError as error:
            log = self._lab.event_log
            if not log or log[-1].message != str(error):
                self._lab.log("warning", str(error))
            self._show_fields()
            mark_refused(self._fields[name], str(error))
        else:
            self._show_fields()
            mark_refused(self._fields[name], None)

    def _shown(self, name: str) -> str:
        value = getattr(self.settings, name)
        return "off" if value is None else f"{value:g}"

    def _show_fields(self) -> None:
        with programmatic_update():
            for name, field in self._fields.items():
                if field.value != self._shown(name):
                    mark_refused(field, None)
                set_traits(field, value=self._shown(name))

    # -- painting -------------------------------------------------------------------------------

    def arrange(self, frame: Frame) -> None:
        """Do as `LabWidget.arrange`."""
        show_swapped(self, behind=not frame.view.signal_in_front)

    def paint(self, frame: Frame) -> None:
        """Set the numbers; while the view is paused they do not change."""
        self.show_staleness(frame)
        if self.changed("costs", (frame.values.fee_bps, frame.values.min_edge_bps)):
            self._show_fields()
        if not frame.text_due:
            return
        if frame.view.paused and "signal" in self._seen:
            return
        row, entry = frame.live, frame.alert_log.opened
        side = 0 if row is None else row.position
        if entry is not None and entry.side != side:
            entry = None  # its row is not the newest one yet
        if not self.changed("signal", (row, entry, frame.values)):
            return
        sign, colour, word = _SIDES[side]
        self._head.value = (
            f'<h3>Signal</h3><span class="pairlab-side" style="color:{var(colour)}">'
            f'{icon(sign, size=11)}<b>{word}</b></span><small class="pairlab-held-for">'
            f"{self._age(frame.live_ns, entry)}</small>"
        )
        set_traits(
            self._body, value=self._table(frame, row, entry), tooltip=self._words(frame, entry)
        )

    @staticmethod
    def _age(live_ns: int, entry: Alert | None) -> str:
        if entry is None:
            return ""
        return f"for {safe(duration((live_ns - entry.time_ns) / NS_PER_S))}"

    def _table(self, frame: Frame, row: Snapshot | None, entry: Alert | None) -> str:
        pair = self.render_loop.lab.pair
        made = _UNKNOWN
        prices, units, beta, z = [MISSING] * 2, [MISSING] * 2, MISSING, MISSING
        decimals = 2
        if row is not None and entry is not None:
            at, scale = entry.at, entry.settings.price_scale
            made = profit(entry.side, at, scale, row.y, row.x, frame.values.fee_bps)
            places = price_decimals(self.render_loop.lab, row)
            decimals = max(2, places[0])
            prices = [number(at.y, places[0]), number(at.x, places[1])]
            units = [signed(made.y_quantity, 0), _quantity(made.x_quantity)]
            beta = compact(at.hedge_ratio, decimals_for(abs(at.hedge_ratio), 3))
            z = signed(at.zscore)
        currency = quote(pair)
        if currency is None:  # legs in two currencies cannot be added up
            made = _UNKNOWN

        def amounts(name: str, bps: float, money: float, tone: str = "text") -> list[str]:
            return [
                f"<td>{name}</td>",
                _number(signed(bps), tone),
                _number(signed_fitted(money, decimals), tone),
            ]

        tone = "text"
        if math.isfinite(made.net):
            tone = "corr" if made.net >= 0 else "warn"
        lines = [
            ["<td></td>"] + [f"<th>{h}</th>" for h in ("quantity", "in at", "profit", "bps",
                                       safe(currency or "quote"))],
            [_leg("y", pair.y), _number(units[0]), _number(prices[0]),
             *amounts("gross", made.gross_bps, made.gross)],
            [_leg("x", pair.x), _number(units[1]), _number(prices[1]),
             *amounts("costs", -made.cost_bps, -made.cost)],
            ["<td>β</td>", _number(beta), f"<td>z {_bold(z)}</td>",
             *amounts("net", made.net_bps, made.net, tone)],
        ]  # fmt: skip
        return "<table>" + "".join(f"<tr>{''.join(line)}</tr>" for line in lines) + "</table>"

    def _words(self, frame: Frame, entry: Alert | None) -> str:
        fee = f"{frame.values.fee_bps:g} bps a fill"
        if entry is None:
            return f"No position is open. Costs: {fee}, four fills for a round trip."
        return (
            f"{entry.sentence}\nFor one unit of y; quantities and β are those of the entry. Profit "
            f"at the last prices, not the book's, after {fee}: two at the entry, two to close now."
        )


def _leg(leg: str, symbol: str) -> str:
    name = f'{leg}<span class="pairlab-symbol"> {safe(symbol)}</span>'
    return f'<td title="{safe(symbol)}" style="color:{var(leg)}">{name}</td>'


def _number(text: str, colour: str = "text") -> str:
    return f'<td style="color:{var(colour)}">{_bold(text, colour)}</td>'


def _bold(text: str, colour: str = "text") -> str:
    return f'<b style="color:{var(colour)}">{safe(text)}</b>'


def _quantity(value: float) -> str:
    """Return units with their sign, three decimals or as many digits as a small number needs."""
    small = math.isfinite(value) and 0 < abs(value) < 0.1
    return signed_fitted(value, guess_decimals(value) if small else 3)
