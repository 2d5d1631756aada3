"""The session's money: what every decision has made on paper, and the equity as a curve."""

from __future__ import annotations

from typing import Final

import numpy as np
from ipywidgets import HBox, VBox

from pairlab.protocols import LabView, SessionMoney
from pairlab.schema import NS_PER_S
from pairlab.widgets.charts.decimation import extremes_of
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.style.formats import (
    MISSING,
    clock,
    count,
    number,
    quote,
    safe,
    signed_fitted,
)  # fmt: skip
from pairlab.widgets.style.theme import var
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["SessionPnl"]

_WIDTH: Final = 320
_HEIGHT: Final = 100
_COLUMNS: Final = 160
_DECIMALS: Final = 2
_NONE: Final = "There is no session that goes on."
_TWO: Final = "The legs are in two currencies: there is no sum."


class SessionPnl(LabWidget, VBox):  # type: ignore[misc]
    """What the decisions of this session have made, by the rules of a backtest.

    Each leg is filled at its own first trade after a decision, and every fill pays the fee of the
    settings; it counts from the moment on at which the panel was first made.

    Parameters
    ----------
    lab : LabView
        Whose decisions.
    """

    def __init__(self, lab: LabView) -> None:
        self._session = lab.session_pnl
        self._head = HTML("<h3>Session</h3>").add_class("pairlab-head-text")
        self._figures = HTML().add_class("pairlab-body").add_class("pairlab-tip")
        self._curve = HTML().add_class("pairlab-curve")
        super().__init__([HBox([self._head]).add_class("pairlab-head"), self._figures, self._curve])
        for style in ("pairlab", "pairlab-panel", "pairlab-session"):
            self.add_class(style)
        self.join(lab)

    def paint(self, frame: Frame) -> None:
        """Set the numbers, and once a second the curve; while the view is paused they stay."""
        self.show_staleness(frame)
        session = self._session
        unit = quote(self.render_loop.lab.pair)
        if session is None or unit is None:  # legs in two currencies cannot be added up
            set_traits(self._figures, value=f"<p>{_NONE if session is None else _TWO}</p>")
            return
        if not frame.text_due or (frame.view.paused and "money" in self._seen):
            return
        money, since_ns = session.money, session.since_ns
        if not self.changed("money", (money, since_ns, frame.values.fee_bps)):
            return
        profit = money.equity - money.capital
        tone = "corr" if profit >= 0.0 else "warn"
        since = "no tick yet" if since_ns is None else f"on paper since {clock(since_ns)[:8]}"
        self._head.value = (
            f'<h3>Session</h3><small>{since}</small><small class="pairlab-far">net '
            f'<b style="color:{var(tone)}">{_told(profit)}</b> {safe(unit)}</small>'
        )
        set_traits(
            self._figures, value=_figures_html(money),
            tooltip=f"Positions of {number(money.capital, 0)} {unit} of y. Each leg is filled at "
            f"its first trade after a decision, at {frame.values.fee_bps:g} bps a fill; what is "
            "held is valued at the last trades. No order is sent.",
        )  # fmt: skip
        times, equity = session.curve()
        newest_s = int(times[-1]) // NS_PER_S if len(times) else 0
        if self.changed("curve", (len(times), newest_s)):
            self._curve.value = _curve_html(times, equity - money.capital)


def _told(value: float) -> str:
    return safe(signed_fitted(value, _DECIMALS))


def _figures_html(money: SessionMoney) -> str:
    won = f"{100 * money.wins / money.trades:.0f} %" if money.trades else MISSING
    shown = {
        "closed": (count(money.trades), "Positions that were left"),
        "won": (won, "Share of them that made a profit after all costs"),
        "realised": (_told(money.net), "Profit of the positions that were left, after all costs"),
        "costs": (_told(-money.costs), "Fees of the positions that were left"),
        "unrealised": (_told(money.open_net), "Profit of the position that is held"),
        "drawdown": (_told(-money.drawdown), "Largest fall of the equity from a peak"),
    }
    return "<dl>" + "".join(
        f'<div title="{tip}"><dt>{name}</dt><dd>{told}</dd></div>'
        for name, (told, tip) in shown.items()
    ) + "</dl>"  # fmt: skip


def _curve_html(times: np.ndarray, profit: np.ndarray) -> str:
    """Return the profit over time as a line, with the line of no profit."""
    if len(times) < 2:
        return ""
    span_ns = int(times[-1] - times[0])
    x, y = extremes_of(times, profit, int(times[-1]), span_ns, _COLUMNS)
    low, high = min(float(y.min()), 0.0), max(float(y.max()), 0.0)
    scale = (_HEIGHT - 4) / ((high - low) or 1.0)
    across = _WIDTH * (1.0 + x * 1e6 / max(span_ns, 1))
    points = " ".join(
        f"{at:.0f},{2 + (high - value) * scale:.1f}" for at, value in zip(across, y, strict=True)
    )
    zero = 2 + high * scale
    tone = var("corr" if y[-1] >= 0.0 else "warn")
    words = f"profit over time, from {_told(low)} to {_told(high)}, now {_told(float(y[-1]))}"
    line = 'fill="none" vector-effect="non-scaling-stroke"'
    return (
        f'<div class="pairlab-curve-ends"><span>{_told(high)}</span><span>{_told(low)}</span></div>'
        f'<svg role="img" aria-label="{words}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'preserveAspectRatio="none"><path d="M0 {zero:.1f}H{_WIDTH}" {line} '
        f'stroke="{var("axis")}"/><polyline points="{points}" {line} stroke="{tone}" '
        'stroke-width="1.5"/></svg>'
    )
