"""Tables of rows: every number of the latest, and the newest ones in columns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from ipywidgets import Button, HBox, VBox

from pairlab.costs import edge_bps, round_trip_bps
from pairlab.protocols import LabView
from pairlab.schema import NS_PER_S, RowFlag, Snapshot
from pairlab.settings import SettingValues
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.style.formats import (
    MISSING,
    clock,
    count,
    extent,
    fitted,
    moment,
    number,
    p_value,
    safe,
    signed,
    sized,
)
from pairlab.widgets.style.precision import price_decimals
from pairlab.widgets.style.theme import var
from pairlab.widgets.transport.message_batching import HTML

__all__ = [
    "LatestTable",
    "RowTable",
    "bps",
    "cells",
    "show_swapped",
    "swap_button",
    "window_s",
]

_ROWS_SHOWN: Final = 5


def cells(values: Iterable[str], tag: str = "td") -> str:
    """Return a row of a table; its cells are HTML already."""
    return "<tr>" + "".join(f"<{tag}>{v}</{tag}>" for v in values) + "</tr>"


def _coloured(text: str, token: str) -> str:
    return f'<span style="color:{var(token)}">{safe(text)}</span>'


def _corrected(when: str) -> str:
    """Return the time of a row whose trade was stamped ahead, marked."""
    tip = "A trade stamped ahead of the exchange's clock, at the newest time seen before it"
    return f'<span style="color:{var("warn")}" title="{safe(tip)}">{when} corrected</span>'


class LatestTable(LabWidget, VBox):  # type: ignore[misc]
    """Every number of the newest row.

    Parameters
    ----------
    lab : LabView
        Whose row.
    """

    def __init__(self, lab: LabView) -> None:
        self._head = HTML().add_class("pairlab-head-text")
        self._body = HTML().add_class("pairlab-body")
        self._swap = swap_button(self, to_signal=True)
        super().__init__([HBox([self._head, self._swap]).add_class("pairlab-head"), self._body])
        for style in ("pairlab", "pairlab-panel", "pairlab-latest"):
            self.add_class(style)
        self.join(lab)

    def arrange(self, frame: Frame) -> None:
        """Do as `LabWidget.arrange`."""
        show_swapped(self, behind=frame.view.signal_in_front)

    def paint(self, frame: Frame) -> None:
        """Set the numbers."""
        self.show_staleness(frame)
        if not frame.text_due or not self.changed(
            "row", (frame.version, frame.latest, frame.values)
        ):
            return
        row, lab, v = frame.latest, self.render_loop.lab, frame.values
        when, shown = "", {}
        if row is not None:
            when = clock(row.time_ns, milliseconds=frame.fine)
            when += " forming" if row.provisional else ""
            if row.flags & RowFlag.TIME_CORRECTED:
                when = _corrected(when)
            decimals, places = price_decimals(lab, row), frame.telling_places(row)
            shown = {
                "y": number(row.y, decimals[0]), "x": number(row.x, decimals[1]),
                "β": sized(row.hedge_ratio, frame.ratio_places),
                "α": "0" if row.intercept == 0 else sized(row.intercept, places),
                "spread": sized(row.spread, places), "mean": sized(row.spread_mean, places),
                "σ": sized(row.spread_std, places), "z": signed(row.zscore),
                "ρ": number(row.correlation),
                "p-value": p_value(row.p_value), "half-life": number(row.half_life, 1),
                "rows": f"{row.filled:,}/{v.window:,}", "span": extent(window_s(frame, row)),
                "edge": bps(edge_bps(row, v.price_scale)),
                "cost": bps(round_trip_bps(v.fee_bps, row, v.price_scale)),
            }  # fmt: skip
        self._head.value = f'<h3>Latest</h3><small class="pairlab-far">{when}</small>'
        self._body.value = "<dl>" + "".join(
            f'<div title="{safe(tip)}" class="pairlab-field-{name}"><dt>{name}</dt>'
            f'<dd style="color:{var(colour)}">{safe(shown.get(name, MISSING))}</dd></div>'
            for name, colour, tip in self._fields(lab, v)
        ) + "</dl>"  # fmt: skip

    @staticmethod
    def _fields(lab: LabView, values: SettingValues) -> list[tuple[str, str, str]]:
        least = values.min_edge_bps
        wanted = "min_edge_bps is off" if least is None else f"an entry wants {least:g}"
        edge = f"What the spread's distance from its mean is worth, gross, of y's price; {wanted}"
        cost = f"Of a round trip, both legs in and out, at {values.fee_bps:g} bps a fill"
        spread = "y − βx (− α under OLS and Kalman), in units of y"
        ratio = "units of x against one of y"
        if values.price_scale == "log":
            spread = "ln y − β ln x (− α under OLS and Kalman): it has no unit"
            ratio = "notional of x against one of y"
        return [
            ("y", "y", f"{lab.pair.y}, last price"),
            ("spread", "spread", spread),
            ("ρ", "corr", "Rolling correlation of y and x; an entry asks for that of y and βx"),
            ("x", "x", f"{lab.pair.x}, last price"),
            ("mean", "text", "Mean of the window's spreads"),
            ("p-value", "text", "Of the stationarity test: small is stationary"),
            ("β", "text", f"Hedge ratio: {ratio}"),
            ("σ", "text", "Standard deviation of the window's spreads (ddof 1)"),
            ("half-life", "text", "Rows until a deviation has halved"),
            ("α", "text", "Intercept of the hedge"),
            ("z", "z", "The spread's distance from its mean, in standard deviations"),
            ("rows", "text", "Observations in the window"),
            ("span", "text", "Time from the window's first observation to its last"),
            ("edge", "text", edge),
            ("cost", "text", f"{cost}: basis points of y's price"),
        ]


def swap_button(part: LabWidget, *, to_signal: bool) -> Button:
    """Return a button that puts the open signal in place of the latest row, or back.

    Only a narrow dashboard shows it: there both share one place.
    """
    face, tip = ("Signal", "Show the open signal") if to_signal else ("Latest", "Show all numbers")
    button = Button(description=face, tooltip=tip).add_class("pairlab-swap")

    part.on_frontend(button, "click", lambda _: part.render_loop.view.show_signal(to_signal))
    return button


def show_swapped(part: LabWidget, *, behind: bool) -> None:
    """Hide one of the two behind the other where they share a place."""
    if part.changed("behind", behind):
        part.toggle_class("pairlab-behind", behind)


def window_s(frame: Frame, row: Snapshot) -> float:
    """Return the time between the first and the last observation of a row's window.

    Parameters
    ----------
    frame : Frame
        Whose rows hold the window: `row` is the newest of them, or the forming bar after them.
    row : Snapshot
        The window's last observation.

    Returns
    -------
    float
        Seconds; NaN while there are fewer than two observations, or rows are no longer held.
    """
    before = row.filled - (1 if row.provisional else 0)  # how many of them are rows
    if row.filled < 2 or not 0 < before <= len(frame.rows):
        return math.nan
    return (row.time_ns - int(frame.rows[-before]["time_ns"])) / NS_PER_S


def bps(value: float) -> str:
    """Return basis points in four digits or so."""
    return f"{fitted(value, 2, 4)} bps" if math.isfinite(value) else MISSING


class RowTable(LabWidget, VBox):  # type: ignore[misc]
    """The newest rows of the history, newest first.

    Parameters
    ----------
    lab : LabView
        Whose rows.
    rows : int
        How many of them.
    """

    def __init__(self, lab: LabView, rows: int = _ROWS_SHOWN) -> None:
        self._rows_shown = rows
        self._head = HTML().add_class("pairlab-head-text")
        self._body = HTML().add_class("pairlab-body")
        super().__init__([HBox([self._head]).add_class("pairlab-head"), self._body])
        for style in ("pairlab", "pairlab-panel", "pairlab-rows"):
            self.add_class(style)
        self.join(lab)

    def paint(self, frame: Frame) -> None:
        """Set the rows."""
        if not frame.text_due or not self.changed("rows", frame.version):
            return
        self._head.value = (
            f'<h3>Rows</h3><small class="pairlab-far">{count(len(frame.rows))} in history</small>'
        )
        newest = [Snapshot.of(row) for row in frame.rows[: -self._rows_shown - 1 : -1]]
        lines, places = [], frame.spread_places
        for row in newest:
            y, x = price_decimals(self.render_loop.lab, row)
            when = moment(row.time_ns, newest[0].time_ns, milliseconds=frame.fine)
            if row.flags & RowFlag.TIME_CORRECTED:
                when = _corrected(when)
            lines.append(
                cells(
                    [
                        when,
                        number(row.y, y),
                        number(row.x, x), sized(row.spread, places), signed(row.zscore),
                        number(row.correlation),
                    ]
                )
            )  # fmt: skip
        head = cells(["Time UTC", "y", "x", "spread", "z", "ρ"], "th")
        wide = ' class="pairlab-fine"' if places > 2 else ""
        self._body.value = f"<table{wide}>{head}{''.join(lines)}</table>"
