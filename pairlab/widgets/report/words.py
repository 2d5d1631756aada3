"""What a report says in words and numbers: its head, its notes, its figures, its settings."""

from __future__ import annotations

import math

from pairlab.settings import SETTINGS, SettingValues
from pairlab.widgets.report.panels import money
from pairlab.widgets.report.result_view import ResultView
from pairlab.widgets.report.svg_figure import panel
from pairlab.widgets.still.page_data import plain
from pairlab.widgets.style.formats import MISSING, count, currency, extent, number, signed
from pairlab.widgets.style.theme import icon, var

__all__ = [
    "badge_of",
    "chosen_settings",
    "head_figures",
    "metrics_html",
    "name_of",
    "notes_html",
    "period_of",
    "settings_words",
]


def name_of(result: ResultView) -> str:
    """Return the pair in its colours."""
    y, x = (name or leg for name, leg in zip(result.pair, "yx", strict=True))
    return (
        f'<bdi style="color:{var("y")}">{plain(y)}</bdi><i> / </i>'
        f'<bdi style="color:{var("x")}">{plain(x)}</bdi>'
    )


def badge_of(result: ResultView) -> tuple[str, str, str]:
    """Return kind, icon and words of the badge that tells where the prices are from."""
    report = result.data_report
    if report.simulated:
        return "sim", "diamond", f"{report.market or 'SIMULATED'} · backtest"
    market = f"{report.market} · " if report.market else ""
    return "calm", "clock", f"{market}BACKTEST"


def period_of(result: ResultView) -> str:
    """Return which time the data cover, in words."""
    report = result.data_report
    if report.start is None or report.end is None:
        return "no row with a full window"
    length = extent((report.end - report.start).total_seconds())
    first, last = (f"{at:%Y-%m-%d %H:%M}" for at in (report.start, report.end))
    if first[:10] == last[:10]:
        last = last[11:]
    days = f"{count(report.days)} day{'' if report.days == 1 else 's'}"
    return f"{first} – {last} UTC, {length} on {days}, {count(report.rows)} rows"


def settings_words(values: SettingValues) -> str:
    """Return the settings that decide, in one line."""
    stop = "off" if values.stop_z is None else f"{values.stop_z:g}"
    hedge = f"fixed β {values.hedge_ratio:g}" if values.hedge == "fixed" else values.hedge
    hold = "" if values.max_hold_s is None else f", hold ≤ {values.max_hold_s:g} s"
    return (
        f"{values.timeframe}, {hedge}, window {values.window:,}, entry {values.entry_z:g}, exit "
        f"{values.exit_z:g}, stop {stop}, ρ ≥ {number(values.min_correlation)}{hold}"
    )


def _ratio(value: float) -> str:
    return number(value) if math.isfinite(value) else MISSING


def head_figures(result: ResultView) -> list[tuple[str, str, str, str]]:
    """Return name, value, what stands below it, and colour of the figures that come first."""
    m, costs = result.metrics, result.costs
    paid = m.fees + m.slippage - m.funding
    share = signed(100 * m.cumulative_return)
    made = "corr" if m.net_profit >= 0 else "stop"
    unit = currency(result.pair.y)
    sharpe = "daily × √365" if math.isfinite(m.sharpe) else f"{result.data_report.days} of 30 days"
    fees = f"{costs['fee_bps']:g} + {costs['slippage_bps']:g} bps a fill"
    return [
        ("net profit", money(m.net_profit), f"{share} % of capital", made),
        ("gross", money(m.gross), f"{unit} before costs".strip(), "text"),
        ("costs", number(paid), fees, "text"),
        ("trades", count(m.trades), f"{number(100 * m.win_rate, 0)} % won", "text"),
        ("per trade", money(m.expectancy), "mean net", "text"),
        ("max drawdown", f"{number(100 * m.max_drawdown)} %", "of the peak", "text"),
        ("Sharpe ratio", _ratio(m.sharpe), sharpe, "text"),
        ("break-even |z|", _ratio(m.break_even_z), f"entry at {result.settings.entry_z:g}", "text"),
    ]  # fmt: skip


def notes_html(result: ResultView) -> str:
    """Return what a reader must know, a line with a sign."""
    sign = icon("warning", var("warn"), 11)
    notes = "".join(f"<span>{sign}{plain(note)}</span>" for note in result.notes)
    return notes or f"<span>{icon('info', var('muted'), 11)}nothing was left out</span>"


def metrics_html(result: ResultView) -> str:
    """Return every figure with its name; its formula is shown under the pointer."""
    metrics = result.metrics
    table = metrics.describe()
    shown = "".join(
        f'<div title="{plain(f"{name} = {formula}")}"><dt>{plain(label)}</dt>'
        f"<dd>{plain(text)}</dd></div>"
        for (label, text), name, formula in zip(
            metrics.lines(), table.index, table["formula"], strict=True
        )
    )
    report = result.data_report
    note = f"annualised only from 30 days on: there are {count(report.days)}"
    if report.days >= 30:
        note = f"{count(report.days)} UTC days"
    return panel(
        "Metrics", "the formula of each stands under the pointer",
        f'<dl class="pairlab-metrics">{shown}</dl>', note=note,
    )  # fmt: skip


def chosen_settings(values: SettingValues) -> dict[str, str]:
    """Return every setting as text."""
    return {name: _told(getattr(values, name)) for name in SETTINGS}


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "off"
    return f"{value:g}" if isinstance(value, float) else f"{value}"
