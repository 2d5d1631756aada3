"""The numbers and tables of a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from pairlab.alerts import Alert
from pairlab.costs import edge_bps, round_trip_bps
from pairlab.limits.stationarity import largest_p
from pairlab.schema import RowFlag, Snapshot
from pairlab.widgets.charts.chart import MARKERS
from pairlab.widgets.still.page_charts import spread_places
from pairlab.widgets.still.page_data import PageData, plain
from pairlab.widgets.style.formats import (
    MISSING,
    clock,
    count,
    decimals_for,
    duration,
    moment,
    number,
    p_value,
    quantity_ms,
    signed,
    sized,
)
from pairlab.widgets.style.theme import icon, var

__all__ = ["alerts_html", "figures_html", "health_html", "log_html", "pairs_html", "rows_html"]

_ALERTS: Final = 30
_ROWS: Final = 30
_SIDES: Final = {1: ("LONG", "y"), -1: ("SHORT", "x"), 0: ("FLAT", "text2")}


def figures_html(data: PageData) -> str:
    """Return the newest numbers: what they are, how large, and what they are compared with."""
    row, v = data.latest, data.values
    if row is None:
        return ""
    places = spread_places(data)
    side, colour = _SIDES[row.position]
    beta = sized(row.hedge_ratio, decimals_for(abs(row.hedge_ratio), 3))
    verdict = {1: "stationary", 0: "not stationary", -1: "not enough data"}[row.stationary]
    if row.flags & RowFlag.WARMING:
        verdict = f"{row.filled:,} of {v.window:,} rows"
    edge = edge_bps(row, v.price_scale)
    cost = round_trip_bps(v.fee_bps, row, v.price_scale)
    shown = [
        ("z-score", signed(row.zscore), f"entry {v.entry_z:g}, exit {v.exit_z:g}", "z"),
        ("spread", sized(row.spread, places), f"σ {sized(row.spread_std, places)}", "spread"),
        ("correlation", number(row.hedged_correlation), f"at least {v.min_correlation:g}", "corr"),
        ("hedge ratio β", beta, v.hedge, "text"),
        ("p-value", p_value(row.p_value), f"{verdict}, level {number(largest_p(v), 3)}", "text"),
        ("position", side, f"edge {_bps(edge)}, costs {_bps(cost)}", colour),
    ]
    return '<dl class="figures">' + "".join(
        f'<div><dt>{plain(name)}</dt><dd style="color:{var(tone)}">{plain(value)}</dd>'
        f"<dd>{plain(beside)}</dd></div>"
        for name, value, beside, tone in shown
    ) + "</dl>"  # fmt: skip


def _bps(value: float) -> str:
    return f"{number(value, 1)} bps" if math.isfinite(value) else MISSING


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table; its cells are HTML already."""
    names = "".join(f"<th>{plain(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f'<div class="scroll"><table><thead><tr>{names}</tr></thead>{body}</table></div>'


def _cell(text: str, tone: str = "") -> str:
    colour = f' style="color:{var(tone)}"' if tone else ""
    return f"<td{colour}>{plain(text)}</td>"


def _card(title: str, beside: str, body: str, *, whole: bool = False) -> str:
    kind = "card whole" if whole else "card"
    return (
        f'<section class="{kind}"><header><h2>{plain(title)}</h2><small>{plain(beside)}</small>'
        f"</header>{body}</section>"
    )


def alerts_html(data: PageData) -> str:
    """Return the newest alerts, newest first; each opens to every number that decided it."""
    shown = data.alerts[: -_ALERTS - 1 : -1]
    beside = f"{count(len(shown))} newest of {count(data.alert_count)}"
    if not shown:
        return _card("Alerts", "", '<p class="none">None.</p>')
    newest_ns = shown[0].time_ns
    rows = [
        (
            f"<td>{_mark(alert)}{plain(moment(alert.time_ns, newest_ns, milliseconds=False))}</td>",
            _explained(alert),
            _cell(signed(alert.at.zscore), "z"),
            _cell(number(alert.at.hedged_correlation), "corr"),
        )
        for alert in shown
    ]
    return _card("Alerts", beside, _table(("Time", "What", "z", "ρ"), rows))


def _explained(alert: Alert) -> str:
    return (
        f'<td class="words"><details><summary>{plain(_title(alert))}</summary>'
        f"<pre>{_plain_lines(alert.explain())}</pre></details></td>"
    )


def _plain_lines(text: str) -> str:
    """Return lines of text that are shown as they are."""
    return "\n".join(map(plain, text.split("\n")))


def _title(alert: Alert) -> str:
    return f"{alert.kind.name} {alert.side_name}: {alert.reason}"


def _mark(alert: Alert) -> str:
    mark = next(m for m in MARKERS if m.kind == alert.kind and m.side in (0, alert.side))
    return icon(mark.icon, var(mark.fill if mark.fill != "panel" else mark.stroke), 11)


def rows_html(data: PageData) -> str:
    """Return the newest rows, newest first."""
    if not len(data.rows):
        return _card("Rows", "", '<p class="none">None.</p>')
    places = spread_places(data)
    newest = [Snapshot.of(row) for row in data.rows[: -_ROWS - 1 : -1]]
    fine = data.values.timeframe == "tick"
    rows = [
        (
            _cell(moment(row.time_ns, newest[0].time_ns, milliseconds=fine)),
            _cell(number(row.y, data.decimals[0]), "y"),
            _cell(number(row.x, data.decimals[1]), "x"),
            _cell(sized(row.spread, places), "spread"),
            _cell(signed(row.zscore), "z"),
            _cell(number(row.correlation), "corr"),
        )
        for row in newest
    ]
    beside = f"{count(len(newest))} newest of {count(len(data.rows))} held"
    return _card("Rows", beside, _table(("Time", "y", "x", "spread", "z", "ρ"), rows))


def health_html(data: PageData) -> str:
    """Return how feed and engine were."""
    h = data.health
    dropped = ", ".join(f"{count(n)} {reason}" for reason, n in h.dropped.items() if n)
    shown = {
        "feed": data.feed,
        "state": h.state,
        "detail": h.detail,
        "ticks": count(h.ticks),
        "rows since the start": count(h.rows),
        "ticks per second": number(h.ticks_per_s, 1),
        "lag, median / 99 %": f"{quantity_ms(h.lag_p50_ms)} / {quantity_ms(h.lag_p99_ms)} ms",
        "receipt to row": f"{quantity_ms(h.row_p50_ms)} / {quantity_ms(h.row_p99_ms)} ms",
        "gaps, trades missing": f"{count(h.gaps)}, {count(h.missing)}",
        "reconnects": count(h.reconnects),
        "dropped": dropped or "none",
        "late ticks": count(h.late_ticks),
        "uptime": duration(h.uptime_s),
    }
    for number_, warning in enumerate(h.warnings, 1):
        shown[f"warning {number_}"] = warning
    return pairs_html("Health", "", shown, whole=True)


def pairs_html(title: str, beside: str, shown: Mapping[str, str], *, whole: bool = False) -> str:
    """Return names and values side by side."""
    body = "".join(
        f"<div><dt>{plain(name)}</dt><dd>{plain(value)}</dd></div>" for name, value in shown.items()
    )
    return _card(title, beside, f'<dl class="pairs">{body}</dl>', whole=whole)


def log_html(data: PageData) -> str:
    """Return the newest messages, newest first."""
    if not data.log:
        return ""
    tones = {"info": "text2", "warning": "warn", "error": "stop"}
    rows = "".join(
        f"<tr><td>{plain(clock(entry.time_ns, milliseconds=False))}</td>"
        f'<td style="color:{var(tones[entry.level])}">{plain(entry.level)}</td>'
        f"<td>{plain(entry.message)}</td></tr>"
        for entry in reversed(data.log)
    )
    return _card("Event log", "", f'<table class="log">{rows}</table>', whole=True)
