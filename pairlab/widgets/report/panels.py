"""What trades and returns look like from all sides: the small charts of a report."""

from __future__ import annotations

import calendar
import math
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.widgets.report.result_view import ResultView
from pairlab.widgets.report.svg_figure import HEIGHT, WIDTH, Figure, panel
from pairlab.widgets.still.page_data import plain
from pairlab.widgets.style.formats import MISSING, count, currency, extent, fitted, number, signed
from pairlab.widgets.style.theme import var

__all__ = ["money", "panels_html"]

Floats = NDArray[np.float64]

_BINS: Final = 25
_DOTS: Final = 400
_WINDOW_DAYS: Final = 30
_DAYS_A_YEAR: Final = 365
_DAY: Final = pd.Timedelta(days=1)


def money(value: float, width: int = 9) -> str:
    """Return an amount with its sign."""
    text = fitted(value, 2, width)
    return text if text.startswith(("−", MISSING)) else f"+{text}"


def panels_html(result: ResultView) -> list[str]:
    """Return the small charts of a report, as HTML each."""
    return [
        _distribution(result), _excursions(result), _costs(result), _calendar(result),
        _rolling_sharpe(result), _hours(result),
    ]  # fmt: skip


def _empty(words: str) -> str:
    return f'<p class="pairlab-nothing">{plain(words)}</p>'


def _tone(value: float) -> str:
    return "corr" if value >= 0 else "stop"


def _unit(result: ResultView) -> str:
    return currency(result.pair.y) or "quote"


def _distribution(result: ResultView) -> str:
    name, about = "Distribution of trades", f"net, {_unit(result)}"
    net = result.trades["net"].to_numpy(np.float64)
    net = net[np.isfinite(net)]
    if not len(net):
        return panel(name, about, _empty("No trades."))
    low, high = float(net.min()), float(net.max())
    # Zero is an edge of two bins: no bar has winners and losers.
    width = max(high - low, abs(high), 1e-9) / _BINS if low == high else (high - low) / _BINS
    first, last = math.floor(low / width), math.floor(high / width) + 1
    edges = np.arange(first, last + 1) * width
    counts = np.histogram(net, edges)[0]
    figure = Figure(
        "how often trades made how much", (edges[0], edges[-1]), (0.0, 1.12 * counts.max()), left=44
    )
    figure.ticks_left(most=4)
    for at, many in enumerate(counts.tolist()):
        if many:
            a, b = float(edges[at]), float(edges[at + 1])
            gap = 0.06 * width
            tip = f"{money(a)} to {money(b)}: {count(many)} trades"
            figure.bar(a + gap, b - gap, 0.0, many, _tone(a + width / 2), tip)
    figure.ticks_foot(6)
    figure.upright(float(net.mean()), "text2", f"mean {money(float(net.mean()))}")
    note = f"{count(len(net))} trades, median {money(float(np.median(net)))}"
    return panel(name, about, figure.html(), note=note)


def _excursions(result: ResultView) -> str:
    name, about = "Excursions", f"MAE → and MFE ↑ of trades, {_unit(result)}"
    trades = result.trades
    tip = "MAE: worst, MFE: best profit before costs while a trade was open"
    if not len(trades):
        return panel(name, about, _empty("No trades."), tip=tip)
    shown = trades
    if len(trades) > _DOTS:
        shown = trades.iloc[np.linspace(0, len(trades) - 1, _DOTS).astype(np.int64)]
    mae, mfe = -shown["mae"].to_numpy(np.float64), shown["mfe"].to_numpy(np.float64)
    net = shown["net"].to_numpy(np.float64)
    figure = Figure(
        "worst against best profit of each trade",
        (0.0, max(1.06 * float(mae.max()), 1e-9)), (0.0, max(1.1 * float(mfe.max()), 1e-9)),
    )  # fmt: skip
    figure.ticks_left(most=4)
    figure.ticks_foot(6)
    for number_, a, b, made in zip(
        shown.index, mae.tolist(), mfe.tolist(), net.tolist(), strict=True
    ):
        words = f"trade {number_}: worst {money(-a)}, best {money(b)}, net {money(made)}"
        figure.dot(a, b, _tone(made), words, hollow=made < 0)
    note = f"{count(len(shown))} of {count(len(trades))}" if len(shown) < len(trades) else ""
    key = '● net above 0 &nbsp; <span style="color:{}">○</span> below'.format(var("stop"))
    body = f'{figure.html()}<p class="pairlab-figure-legend" style="color:{var("corr")}">{key}</p>'
    return panel(name, about, body, note=note, tip=tip)


def _costs(result: ResultView) -> str:
    m = result.metrics
    steps = [
        ("gross", m.gross, ""), ("fees", -m.fees, f"{result.costs['fee_bps']:g} bps a fill"),
        ("slippage", -m.slippage, f"{result.costs['slippage_bps']:g} bps a fill"),
        ("funding", m.funding, "" if result.funding_known else "not counted"),
        ("net", m.gross - m.fees - m.slippage + m.funding, "gross less costs"),
    ]  # fmt: skip
    level, ends = 0.0, [0.0]
    for _, change, _ in steps[:-1]:
        level += change
        ends.append(level)
    room = 0.02 * (max(ends) - min(ends)) or 1.0
    figure = Figure("from gross to net", (min(ends) - room, max(ends) + room), (0.0, 5.0), left=148)
    zero = figure.across(0.0)
    figure._shapes.append(f'<path d="M{zero:.1f} 8V{HEIGHT - 20}" stroke="{var("axis")}"/>')
    level = 0.0
    for at, (name, change, about) in enumerate(steps):
        top = 5.0 - at
        start, end = (0.0, change) if name == "net" else (level, level + change)
        level = end
        counted = name != "funding" or result.funding_known
        tone = "text2" if name in ("gross", "net") else _tone(change)
        if counted and change:
            figure.bar(start, end, top - 0.22, top - 0.78, tone, f"{name} {money(change)}")
        middle = figure.down(top - 0.5) + 3.5
        figure.text(56, middle, name, "text" if name == "net" else "text2")
        figure.text(134, middle, money(change) if counted else MISSING, "text")
        if about and not counted:
            left = zero < WIDTH - 90
            figure.text(zero + (6 if left else -6), middle, about, "warn", ("end", "start")[left])
    figure.ticks_foot(4)
    share = (m.fees + m.slippage - m.funding) / m.gross if m.gross > 0 else math.nan
    note = f"costs eat {number(100 * share, 0)} % of gross" if math.isfinite(share) else ""
    if m.gross <= 0 and m.trades:
        note = "nothing gross for costs to eat"
    return panel("Costs", _unit(result), figure.html(), note=note)


def _heat(value: float, most: float) -> str:
    """Return the background of a cell: stronger where more was made or lost."""
    share = 0 if not math.isfinite(value) or most <= 0 else round(10 + 55 * abs(value) / most)
    return f"background:color-mix(in srgb,{var(_tone(value))} {share}%,transparent)"


def _cell(value: float, most: float, tip: str, places: int) -> str:
    if not math.isfinite(value):
        return "<td></td>"
    return (
        f'<td style="{_heat(value, most)}" title="{plain(tip)}">'
        f"{plain(number(100 * value, places))}</td>"
    )


def _calendar(result: ResultView) -> str:
    """Return the returns of months, or of days where there are less than three months."""
    daily = result.daily
    if not len(daily) or not (daily > 0).all():
        return panel("Returns by month", "%", _empty("No days, or equity fell to 0."))
    before = np.concatenate([[result.capital], daily.to_numpy()[:-1]])
    growth = pd.Series(daily.to_numpy() / before, daily.index)
    months = growth.groupby([growth.index.year, growth.index.month]).prod() - 1.0  # type: ignore[attr-defined]
    if len(months) < 3:
        return _days(growth - 1.0)
    most = float(months.abs().max())
    places = 0 if most > 0.0995 else 1 if most > 0.00995 else 2
    head = "".join(f"<th>{calendar.month_abbr[m][:3]}</th>" for m in range(1, 13))
    lines = []
    for year in sorted({y for y, _ in months.index}):
        of_year = [float(months.get((year, m), math.nan)) for m in range(1, 13)]
        total = float(np.prod([1 + v for v in of_year if math.isfinite(v)])) - 1
        cells = "".join(
            _cell(v, most, f"{calendar.month_name[m]} {year}: {signed(100 * v, 3)} %", places)
            for m, v in enumerate(of_year, 1)
        )
        lines.append(
            f"<tr><th>{year}</th>{cells}<td><b>{number(100 * total, places)}</b></td></tr>"
        )
    table = f"<table><tr><th></th>{head}<th>year</th></tr>{''.join(lines)}</table>"
    return panel("Returns by month", "%, UTC", f'<div class="pairlab-heat">{table}</div>')


def _days(returns: pd.Series[float]) -> str:
    most = float(returns.abs().max())
    places = 1 if most > 0.0995 else 2 if most > 0.00095 else 3
    head = "".join(f"<th>{name[:3]}</th>" for name in calendar.day_abbr)
    start = returns.index[0] - returns.index[0].day_of_week * _DAY
    lines = []
    while start <= returns.index[-1]:
        cells = ""
        for day in pd.date_range(start, periods=7):
            value = float(returns.get(day, math.nan))
            cells += _cell(value, most, f"{day:%d %b %Y}: {signed(100 * value, 3)} %", places)
        lines.append(f"<tr><th>{start.day} {start:%b}</th>{cells}</tr>")
        start += 7 * _DAY
    table = f"<table><tr><th></th>{head}</tr>{''.join(lines)}</table>"
    note = "months, from the third on"
    return panel("Returns by day", "%, UTC", f'<div class="pairlab-heat">{table}</div>', note=note)


def _rolling_sharpe(result: ResultView) -> str:
    name, about = "Rolling Sharpe ratio", f"{_WINDOW_DAYS} days, daily × √{_DAYS_A_YEAR}"
    ends = np.concatenate([[result.capital], result.daily.to_numpy()])
    days = len(ends) - 1
    if days < _WINDOW_DAYS:
        words = f"It needs {_WINDOW_DAYS} days of returns; these data have {days}."
        return panel(name, about, _empty(words))
    if not (ends > 0).all():
        return panel(name, about, _empty("Equity fell to 0: returns are not defined."))
    r = pd.Series(ends[1:] / ends[:-1] - 1.0)
    rolled = r.rolling(_WINDOW_DAYS)
    with np.errstate(divide="ignore", invalid="ignore"):
        sharpe = (rolled.mean() / rolled.std(ddof=1) * math.sqrt(_DAYS_A_YEAR)).to_numpy()
    sharpe = np.where(np.isfinite(sharpe), sharpe, math.nan)
    known = sharpe[np.isfinite(sharpe)]
    if not len(known):
        return panel(name, about, _empty("Returns do not vary: it is not defined."))
    room = 0.1 * (known.max() - known.min())
    first = result.daily.index[0]
    low, high = min(0.0, known.min() - room), max(0.0, known.max() + room)
    figure = Figure(
        "Sharpe ratio over time", (_WINDOW_DAYS - 1, max(days - 1, _WINDOW_DAYS)), (low, high)
    )
    figure.ticks_left(most=5)
    figure.line(list(enumerate(sharpe.tolist())), "z")
    step = max((days - _WINDOW_DAYS) // 4, 1)
    for at in range(_WINDOW_DAYS - 1 + step // 2, days, step):
        when = first + at * _DAY
        figure.label_foot(at, f"{when.day} {when:%b %y}")
    return panel(name, about, figure.html(), note=f"last {signed(float(known[-1]))}")


def _hours(result: ResultView) -> str:
    name, about = "By hour of day", f"of entry, UTC: net, {_unit(result)}"
    trades = result.trades
    if not len(trades):
        return panel(name, about, _empty("No trades."))
    hour = trades["entry_decided"].dt.hour.to_numpy()
    net = trades["net"].fillna(0.0).to_numpy(np.float64)
    total, many = np.bincount(hour, net, 24), np.bincount(hour, minlength=24)
    room = 0.08 * (total.max() - total.min()) or 1.0
    low, high = min(0.0, float(total.min()) - room), max(0.0, float(total.max()) + room)
    figure = Figure("net by hour of day", (0.0, 24.0), (low, high))
    figure.ticks_left(most=4)
    for at in range(24):
        if many[at]:
            won = int((net[hour == at] > 0).sum())
            tip = f"{at:02d}:00–{at:02d}:59: {money(total[at])}, {many[at]:,} trades, {won:,} won"
            figure.bar(at + 0.14, at + 0.86, 0.0, float(total[at]), _tone(total[at]), tip)
    for at in range(0, 24, 3):
        figure.label_foot(at + 0.5, f"{at:02d}")
    held = extent(float(trades["held_s"].mean()))
    return panel(name, about, figure.html(), note=f"held {held} on average")
