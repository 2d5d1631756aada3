"""The board's strip and its log of alerts, as HTML."""

from __future__ import annotations

import math
from typing import Final

from pairlab.alerts import Alert
from pairlab.board_protocol import BoardAlert, BreakAlert
from pairlab.health import BoardHealth
from pairlab.widgets.panels.strip.state_badges import STATE_BADGES
from pairlab.widgets.style.formats import MISSING, clock, count, number, quantity_ms, safe
from pairlab.widgets.style.theme import icon, var

__all__ = ["alerts_html", "feed_badge", "strip_html"]

_SIGNS: Final = {
    "ENTRY": ("up", "text"), "EXIT": ("circle", "text"), "STOP": ("square", "stop"),
    "SUPPRESSED": ("diamond", "text2"), "DECOUPLED": ("cross", "text"),
}  # fmt: skip


def feed_badge(state: str, feed: str, real_money: bool) -> tuple[str, str, str]:
    """Return the badge of a feed: its kind, its shape, its words; only a real market is live."""
    if state == "live":
        return ("live", "dot", f"{feed} · live") if real_money else (
            "sim", "diamond", f"{feed} · running"
        )  # fmt: skip
    return STATE_BADGES[state]


def strip_html(health: BoardHealth) -> str:
    """Return the strip above the table: the feed, in a word and a shape, and the counts."""
    kind, sign, words = feed_badge(health.state, health.feed, health.real_money)
    lag = MISSING
    if math.isfinite(health.lag_p50_ms):
        lag = f"{quantity_ms(health.lag_p50_ms)} / {quantity_ms(health.lag_p99_ms)} ms"
    rescan = MISSING
    if health.rescans:
        rescan = f"{count(health.rescans)}, {quantity_ms(health.rescan_s * 1e3)} ms"
    cells = {
        "pairs": count(health.pairs), "symbols": count(health.symbols),
        "ticks/s": number(health.ticks_per_s, 0), "lag p50 / p99": lag,
        "rows": count(health.rows), "gaps": count(health.gaps), "rescans": rescan,
    }  # fmt: skip
    shown = "".join(
        f'<div class="pairlab-board-cell"><small>{name}</small><b>{safe(text)}</b></div>'
        for name, text in cells.items()
    )
    return (
        f'<div class="pairlab-board-feed"><div class="pairlab-badge pairlab-badge-{kind}">'
        f"{icon(sign, size=11)}<span>{safe(words)}</span></div>"
        f'<small title="{safe(health.detail)}">{safe(health.detail)}</small></div>{shown}'
    )


def alerts_html(alerts: list[BoardAlert], total: int) -> str:
    """Return the log of alerts: the newest, of `total` there ever were."""
    lines = "".join(map(_alert_html, alerts))
    head = (
        '<div class="pairlab-board-head"><h3>Alerts of all pairs</h3><small>'
        f"{count(total)} so far, newest first</small></div>"
    )
    return head + (f"<ol>{lines}</ol>" if alerts else "<p>No alerts yet.</p>")


def _alert_html(alert: BoardAlert) -> str:
    entry = alert.entry
    name = f"{alert.pair.y} / {alert.pair.x}"
    if isinstance(entry, BreakAlert):
        return (
            f"<li><small>{clock(entry.time_ns)}</small>"
            f"{icon('warning', var('warn'))}<b>{safe(name)}</b> {safe(entry.sentence)}</li>"
        )
    if not isinstance(entry, Alert):
        return f"<li>{icon('dash', var('muted'))}<b>{safe(name)}</b> {safe(entry.sentence)}</li>"
    sign, colour = _SIGNS[entry.kind.name]
    if entry.kind.name == "ENTRY":
        sign, colour = ("up", "y") if entry.side > 0 else ("down", "x")
    return (
        f'<li title="{safe(entry.explain())}"><small>{clock(entry.time_ns)}</small>'
        f"{icon(sign, var(colour))}<b>{safe(name)}</b> {safe(entry.sentence)}</li>"
    )
