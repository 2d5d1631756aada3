"""A lab as a page of HTML that stands alone: charts as SVG, numbers and tables, no script."""

from __future__ import annotations

from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal, get_args

from pairlab.errors import SettingError
from pairlab.settings import SETTINGS
from pairlab.widgets.still.page_charts import charts_html
from pairlab.widgets.still.page_data import PageData, day_and_time, plain
from pairlab.widgets.still.page_tables import (
    alerts_html,
    figures_html,
    health_html,
    log_html,
    pairs_html,
    rows_html,
)
from pairlab.widgets.style.formats import clock, count, extent
from pairlab.widgets.style.theme import DARK, LIGHT, icon, var

__all__ = ["PAGE_CSS", "PAGE_POLICY", "PageTheme", "page_colours", "page_html", "read_page_theme"]

PageTheme = Literal["auto", "dark", "light"]
"""``"auto"`` is what the reader's system prefers."""

PAGE_CSS: Final = Path(__file__).with_name("page.css")
PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may load for the page: nothing."""


def read_page_theme(theme: PageTheme) -> PageTheme:
    """Return the theme's name.

    Raises
    ------
    SettingError
        If there is no such theme.
    """
    if theme not in get_args(PageTheme):
        names = ", ".join(map(repr, get_args(PageTheme)))
        raise SettingError("theme", theme, f"expected {names}")
    return theme


def page_html(data: PageData, theme: PageTheme = "auto") -> str:
    """Return a page.

    Parameters
    ----------
    data : PageData
        What it shows.
    theme : {"auto", "dark", "light"}
        Colours.

    Returns
    -------
    str
        HTML that loads nothing and runs nothing.
    """
    pair, settings = data.origin.pair, data.values
    title = f"{pair.y} / {pair.x} · {data.origin.source}"
    chosen = {name: _told(getattr(settings, name)) for name in SETTINGS}
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{PAGE_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="pairlab {plain(version("pairlab"))}">'
        f'<meta name="description" content="{plain(_span_words(data))}">'
        f"<title>{plain(title)}</title><style>{page_colours(theme)}{PAGE_CSS.read_text('utf-8')}</style>"
        f"</head><body><main>{_top(data)}{figures_html(data)}"
        f'<div class="charts">{charts_html(data)}</div><div class="cards">'
        f"{alerts_html(data)}{rows_html(data)}{health_html(data)}"
        f"{pairs_html('Settings', 'as the rows were computed', chosen, whole=True)}"
        f"{log_html(data)}</div><footer>{plain(data.origin.source)} · "
        f"{plain(data.origin.settings)}<br>"
        f"A still of a session, made by pairlab {plain(version('pairlab'))}: it runs no script and "
        "loads nothing. All times are UTC.</footer></main></body></html>\n"
    )


def page_colours(theme: PageTheme) -> str:
    """Return the style sheet's tokens."""

    def tokens(of: object, scheme: str) -> str:
        named = "".join(f"--pairlab-{f.name}:{getattr(of, f.name)};" for f in fields(DARK))
        return f":root{{color-scheme:{scheme};{named}}}"

    dark, light = tokens(DARK, "dark"), tokens(LIGHT, "light")
    if theme == "auto":
        return f"{dark}@media (prefers-color-scheme: light){{{light}}}@media print{{{light}}}"
    return dark if theme == "dark" else f"{light}"


def _top(data: PageData) -> str:
    pair = data.origin.pair
    real = data.health.real_money
    kind, sign = ("real", "dot") if real else ("sim", "diamond")
    return (
        '<div class="top"><div class="what"><p class="over">Pair session</p>'
        f'<h1><bdi style="color:{var("y")}">{plain(pair.y)}</bdi><i>/</i>'
        f'<bdi style="color:{var("x")}">{plain(pair.x)}</bdi></h1>'
        f'<p class="when">{_span_html(data)}</p></div>'
        f'<p class="badge {kind}">{icon(sign, size=10)}{plain(data.origin.source)}</p></div>'
    )


def _span_words(data: PageData) -> str:
    if data.span_ns is None:
        return "no rows"
    first, last = data.span_ns
    same_day = day_and_time(first)[:-9] == day_and_time(last)[:-9]
    end = clock(last, milliseconds=False) if same_day else day_and_time(last)
    return f"{day_and_time(first)} to {end} UTC"


def _span_html(data: PageData) -> str:
    first, last = data.span_ns or (0, 0)
    parts = [
        _span_words(data), extent((last - first) / 1e9) if data.span_ns else "",
        f"{count(len(data.rows))} rows", f"{data.health.stream}, {data.values.timeframe}",
    ]  # fmt: skip
    return " · ".join(f"<span>{plain(part)}</span>" for part in parts if part)


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    return "off" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
