"""The report of a backtest as a page of HTML that stands alone: SVG and tables, no script."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib.metadata import version
from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.widgets.charts.decimation import Decimated, extremes_of
from pairlab.widgets.report.equity_chart import MOST_MARKED
from pairlab.widgets.report.panels import money, panels_html
from pairlab.widgets.report.result_lab import ResultLab
from pairlab.widgets.report.result_view import ResultView
from pairlab.widgets.report.trade_table import trade_cells, trade_head
from pairlab.widgets.report.words import (
    badge_of,
    chosen_settings,
    head_figures,
    metrics_html,
    name_of,
    notes_html,
    period_of,
    settings_words,
)
from pairlab.widgets.still.page import (
    PAGE_CSS,
    PAGE_POLICY,
    PageTheme,
    page_colours,
    read_page_theme,
)
from pairlab.widgets.still.page_charts import spread_chart, zscore_chart
from pairlab.widgets.still.page_data import PageData, plain
from pairlab.widgets.still.page_tables import pairs_html
from pairlab.widgets.still.svg_chart import SvgChart, TimeSpan
from pairlab.widgets.style.formats import count, currency, number
from pairlab.widgets.style.theme import icon, var

__all__ = ["report_html"]

Floats = NDArray[np.float64]

_CSS: Final = files("pairlab.widgets.style").joinpath("report.css").read_text(encoding="utf-8")
_TRADES: Final = 500


def report_html(result: ResultView, theme: PageTheme = "auto") -> str:
    """Return the page.

    Parameters
    ----------
    result : ResultView
        What it shows.
    theme : {"auto", "dark", "light"}
        Colours; ``"auto"`` is what the reader's system prefers.

    Returns
    -------
    str
        HTML that loads nothing and runs nothing.

    Raises
    ------
    SettingError
        If there is no such theme.
    """
    read_page_theme(theme)
    title = f"Backtest of {' / '.join(filter(None, result.pair)) or 'y / x'}"
    kind, sign, words = badge_of(result)
    figures = "".join(
        f'<div><dt>{plain(name)}</dt><dd style="color:{var(tone)}">{plain(value)}</dd>'
        f"<dd>{plain(below)}</dd></div>"
        for name, value, below, tone in head_figures(result)
    )
    made_by = plain(version("pairlab"))
    settings = {**chosen_settings(result.settings), **_costs(result)}
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{PAGE_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="pairlab {made_by}"><title>{plain(title)}</title>'
        f"<style>{page_colours(theme)}{PAGE_CSS.read_text('utf-8')}{_CSS}</style></head>"
        '<body><main class="pairlab-report pairlab-page"><div class="top"><div class="what">'
        f'<p class="over">Backtest</p><h1>{name_of(result)}</h1>'
        f'<p class="when">{plain(period_of(result))}</p>'
        f'<p class="when">{plain(settings_words(result.settings))}</p></div>'
        f'<p class="badge {kind}">{icon(sign, size=10)}{plain(words)}</p></div>'
        f'<dl class="figures">{figures}</dl><div class="pairlab-notes">{notes_html(result)}</div>'
        f'<div class="charts">{_charts(result)}</div>{metrics_html(result)}'
        f'<div class="pairlab-panels">{"".join(panels_html(result))}</div>'
        f'<div class="cards">{_trades(result)}'
        f"{pairs_html('Settings', 'and costs, as they were used', settings, whole=True)}</div>"
        f"<footer>Made by pairlab {made_by}: the page runs no script and loads nothing. "
        "All times are UTC. Past prices promise nothing.</footer></main></body></html>\n"
    )


def _costs(result: ResultView) -> dict[str, str]:
    return {k: f"{v:g}" if isinstance(v, float) else str(v) for k, v in result.costs.items()}


def _charts(result: ResultView) -> str:
    lab = ResultLab(result)
    data = PageData.of(lab)
    ends = data.span_ns
    if ends is None:
        return '<section class="chart empty"><p>No row with a full window.</p></section>'
    if data.alert_count > MOST_MARKED:
        data = replace(data, alerts=())
    span = TimeSpan.of(*ends)
    drawn = Decimated.of(data.rows, span.last_ns, span.last_ns - span.first_ns)
    unit = currency(result.pair.y)
    equity = _series("Equity", f"{unit} after costs", 190, span, lab, lab.equity, "z")
    equity.level(result.capital, "muted", dash="6 4")
    equity.key("equity", "z", number(float(lab.equity[-1])))
    net = float(lab.equity[-1]) - result.capital
    equity.key("net", "corr" if net >= 0 else "stop", money(net))
    equity.key("capital", "muted", number(result.capital), dashed=True)
    lowest = 100.0 * float(lab.drawdown.min())
    fall = _series("Drawdown", "% of the peak", 80, span, lab, 100.0 * lab.drawdown, "stop")
    fall.key("deepest", "stop", f"{number(lowest)} %")
    with np.errstate(invalid="ignore", over="ignore"):
        charts = [equity, fall, zscore_chart(data, span, drawn), spread_chart(data, span, drawn)]
    return "".join(chart.html(clock=chart is charts[-1]) for chart in charts)


def _series(
    name: str, unit: str, px: int, span: TimeSpan, lab: ResultLab, values: Floats, tone: str
) -> SvgChart:
    level = 0.0 if name == "Drawdown" else lab.result.capital
    low, high = min(float(values.min()), level), max(float(values.max()), level)
    room = 0.06 * (high - low) or max(abs(high), 1.0) * 1e-3
    times = np.ascontiguousarray(lab.rows.view()["time_ns"])
    x, y = extremes_of(times, values, span.last_ns, span.last_ns - span.first_ns)
    chart = SvgChart(name, unit, px, span, low - room, high + (0 if name == "Drawdown" else room))
    chart.axis()
    at = x.astype(np.float64)
    chart.band(at, np.minimum(y, level), np.maximum(y, level), tone)
    chart.line(at, y, tone)
    return chart


def _trades(result: ResultView) -> str:
    trades, several_days = result.trades, result.data_report.days > 1
    shown = trades.iloc[:_TRADES]
    head = "".join(f"<th>{plain(name)}</th>" for name in trade_head())
    lines = ""
    for at in range(len(shown)):
        told = trade_cells(shown.iloc[at], several_days=several_days)
        lines += f"<tr>{''.join(f'<td>{cell}</td>' for cell in told)}</tr>"
    rest = f"first {count(_TRADES)} of {count(len(trades))}" if len(trades) > _TRADES else ""
    about = rest or f"{count(len(trades))}, in the order of time"
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead>{lines}</table></div>'
    if not len(trades):
        table = '<p class="none">No trade was filled.</p>'
    opened = " open" if math.ceil(len(trades)) <= 40 else ""
    return (
        f'<section class="card whole"><details{opened}><summary><h2 style="display:inline">Trades'
        f"</h2> <small>{plain(about)}</small></summary>{table}</details></section>"
    )
