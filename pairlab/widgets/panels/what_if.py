"""Where, if anywhere, the pair pays: net profit over entry z and timeframe."""

from __future__ import annotations

from typing import Any

import numpy as np
from ipywidgets import Button, HBox, VBox

from pairlab.protocols import LabView, WhatIfMap
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.style.formats import count, currency, extent, number, safe, short, signed
from pairlab.widgets.style.theme import var
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["WhatIf"]


def _background(value: float, most: float) -> str:
    """Return the CSS colour of a cell: green where net is above 0, red below, by its size."""
    share = round(12 + 52 * min(abs(value) / most, 1.0)) if most > 0 else 0
    token = "corr" if value > 0 else "stop"
    return f"color-mix(in srgb, {var(token)} {share}%, transparent)"


class WhatIf(LabWidget, VBox):  # type: ignore[misc]
    """Net profit of every entry z at every timeframe, over the ticks held, at today's costs.

    The line goes between what pays and what does not. It is computed beside the feed when asked
    for, and it is in sample: what pays best here was chosen among all of it.

    Parameters
    ----------
    lab : LabView
        Whose ticks and settings.
    """

    def __init__(self, lab: LabView) -> None:
        self._what_if = lab.what_if
        self._head = HTML("<h3>What if</h3>").add_class("pairlab-head-text")
        self._ask = Button(
            description="Compute",
            tooltip="Backtest every entry z at every timeframe over the ticks held",
        )
        self.on_frontend(self._ask, "click", self._on_ask)
        self._body = HTML().add_class("pairlab-map")
        tools = HBox([self._ask]).add_class("pairlab-tools")
        super().__init__([HBox([self._head, tools]).add_class("pairlab-head"), self._body])
        for style in ("pairlab", "pairlab-panel", "pairlab-what-if"):
            self.add_class(style)
        self.join(lab)

    def _on_ask(self, _: Any) -> None:
        if self._what_if is not None:
            self._what_if.ask_map()

    def paint(self, frame: Frame) -> None:
        """Show the newest map."""
        what_if = self._what_if
        found = None if what_if is None else what_if.map
        busy = what_if is not None and what_if.mapping
        if not self.changed("map", (found and found.number, busy)):
            return
        set_traits(
            self._ask, disabled=what_if is None or busy,
            description="Computing …" if busy else "Compute",
        )  # fmt: skip
        unit = currency(self.render_loop.lab.pair.y)
        if found is None:
            self._head.value = "<h3>What if</h3><small>net profit by entry z and timeframe</small>"
            why = "Compute shows where, if anywhere, this pair would have paid its costs."
            if what_if is None:
                why = "A result has no live history to try settings on."
            self._body.value = f"<p>{why}</p>"
            return
        cost = f"{found.values.fee_bps:g} bps a fill"
        self._head.value = (
            f"<h3>What if</h3><small>net, {safe(unit)}, of the {extent(found.span_s)} held at "
            f"{cost}</small>"
        )
        self._body.value = _table(found) + _verdict(found)


def _table(found: WhatIfMap) -> str:
    net = found.net
    known = np.abs(net[np.isfinite(net)])
    most = float(known.max()) if len(known) else 0.0
    head = "".join(f"<th>{number(z)}</th>" for z in found.entry_z.tolist())
    lines = []
    for at, timeframe in enumerate(found.timeframes):
        cells = "".join(_cell(found, at, column, most) for column in range(len(found.entry_z)))
        lines.append(f"<tr><th>{timeframe}</th>{cells}</tr>")
    return f"<table><tr><th>entry z</th>{head}</tr>{''.join(lines)}</table>"


def _pays(found: WhatIfMap, row: int, column: int) -> bool | None:
    """Return whether a cell is above break-even; None where nothing was traded."""
    value = found.net[row, column]
    traded = np.isfinite(value) and found.trades[row, column] > 0
    return bool(value > 0) if traded else None


def _cell(found: WhatIfMap, row: int, column: int, most: float) -> str:
    value, trades = float(found.net[row, column]), int(found.trades[row, column])
    where = f"{found.timeframes[row]}, entry {number(float(found.entry_z[column]))}"
    pays = _pays(found, row, column)
    if pays is None:
        why = "no trade" if np.isfinite(value) else "no full window, or not above exit below stop"
        return f'<td class="pairlab-none" title="{where}: {why}">·</td>'
    line = ""
    for side, there, other in (
        ("left", column, (row, column - 1)),
        ("top", row, (row - 1, column)),
    ):
        if there and _pays(found, *other) not in (None, pays):
            line += f"border-{side}:2px solid {var('text')};"
    size = short(round(abs(value))) if abs(value) >= 100 else number(abs(value), 1)
    tip = f"{where}: {count(trades)} trades, net {signed(value)}"
    return (
        f'<td style="background:{_background(value, most)};{line}" title="{safe(tip)}">'
        f"{'+' if value > 0 else '−'}{size}</td>"
    )


def _verdict(found: WhatIfMap) -> str:
    """Return in words where it paid."""
    traded = np.isfinite(found.net) & (found.trades > 0)
    paid = traded & (found.net > 0)
    tried = f"{count(int(np.isfinite(found.net).sum()))} settings tried, in sample"
    if not traded.any():
        return f"<p>Nothing was traded. {tried}.</p>"
    row, column = np.unravel_index(np.argmax(np.where(traded, found.net, -np.inf)), found.net.shape)
    best = f"{found.timeframes[row]}, entry {number(float(found.entry_z[column]))}"
    made = (
        f"{signed(float(found.net[row, column]))} on {count(int(found.trades[row, column]))} trades"
    )
    words = f"{count(int(paid.sum()))} of {count(int(traded.sum()))} would have paid"
    if not paid.any():
        return f"<p><b>Nowhere does it pay its costs.</b> Least bad: {best} ({made}). {tried}.</p>"
    return f"<p>The line is break-even: {words}. Best: {best} ({made}). {tried}.</p>"
