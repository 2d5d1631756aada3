"""A scan as one still picture, and in one line of words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.widgets.scan.pair_charts import chance_words
from pairlab.widgets.scan.scan_view import Floats, ScanView
from pairlab.widgets.still.raster import Canvas, rgb_of
from pairlab.widgets.style.formats import count, signed
from pairlab.widgets.style.theme import DARK

__all__ = ["METHODS", "map_colours", "scan_picture", "scan_words"]

METHODS: Final = {
    "engle-granger": "Engle-Granger",
    "johansen": "Johansen's trace test",
    "distance": "distance of normalised prices",
}

_WIDTH: Final = 880
_HEAD: Final = 44
_LINE: Final = 14
_GAP: Final = 4
_FOOT: Final = 18
_LOWER: Final = 276
_MAP: Final = 240
_COLUMNS: Final = {"y": 8, "x": 112, "p": 216, "q": 284, "half_life": 352, "p_last": 426,
                   "zscore": 494, "verdict": 556}  # fmt: skip
_WORDS: Final = 52


def scan_words(scan: ScanView) -> str:
    """Return in one line what was tested, and what was found beside what chance finds."""
    tested = f"{count(scan.pairs_tested)} pairs of {count(len(scan.symbols))} symbols"
    return f"pairlab scan: {tested} · {METHODS[scan.method]} · {chance_words(scan)}"


def scan_picture(
    scan: ScanView, page: Mapping[str, Any], symbols: list[str], pair: tuple[str, str] | None
) -> bytes:
    """Return the table's page, the map of all pairs and one pair's spread, as PNG.

    Parameters
    ----------
    scan : ScanView
        Whose pairs.
    page : mapping
        What the table shows, as `PairTable.page`.
    symbols : list of str
        Of the map, in their order.
    pair : tuple of str or None
        Whose spread and z are drawn.

    Returns
    -------
    bytes
        880 pixels wide.
    """
    table = (len(page["rows"]) + 1) * _LINE + 8
    canvas = Canvas(_WIDTH, _HEAD + table + _GAP + _LOWER + _FOOT, DARK.page)
    title, method, found = scan_words(scan).removeprefix("pairlab scan: ").split(" · ")
    canvas.text(8, 6, f"Scan: {found}", DARK.text, 2)
    canvas.text(8, 28, f"{title} · {method}", DARK.text2)
    canvas.rectangle(0, _HEAD, _WIDTH, table, DARK.panel)
    _table(canvas, page)
    top = _HEAD + table + _GAP
    side = _MAP + 16
    canvas.rectangle(0, top, side, _LOWER, DARK.panel)
    canvas.rectangle(side + _GAP, top, _WIDTH - side - _GAP, _LOWER, DARK.panel)
    of = "correlation" if scan.method == "distance" else "p"
    canvas.text(8, top + 6, "correlation of prices" if of != "p" else "p of every pair", DARK.text2)
    if symbols:
        values = scan.matrix(of).loc[symbols, symbols].to_numpy(np.float64)
        canvas.cells(8, top + 28, _MAP, _MAP, map_colours(values, of))
    if pair is not None:
        _past(canvas, " / ".join(pair), scan.spread(*pair), side + _GAP, top)
    foot = f"{page['where']} pairs | saved picture, run the cell for the whole scan"
    canvas.text(8, top + _LOWER + 5, foot, DARK.muted)
    return canvas.png(Software="pairlab", pairlab=scan_words(scan))


def map_colours(values: Floats, of: str) -> NDArray[np.uint8]:
    """Return the colour of each cell of a map: as in `matrix_map.js`, the stronger the brighter.

    Parameters
    ----------
    values : array (n, n)
        Of every pair.
    of : {"p", "correlation"}
        What they are.
    """
    share = -np.log10(np.clip(values, 1e-12, 1.0)) / 4 if of == "p" else np.abs(values)
    share = 0.04 + 0.96 * np.minimum(share, 1.0) ** 1.5
    bright = np.where(
        ((values > 0) | (of == "p"))[..., None], rgb_of(DARK.corr), rgb_of(DARK.x)
    ).astype(np.float64)
    panel = rgb_of(DARK.panel).astype(np.float64)
    known = np.isfinite(values)[..., None]
    mixed = np.where(known, panel + (bright - panel) * share[..., None], rgb_of(DARK.raised))
    mixed[np.arange(len(values)), np.arange(len(values))] = panel
    return np.rint(mixed).astype(np.uint8)


def _table(canvas: Canvas, page: Mapping[str, Any]) -> None:
    at = {column["id"]: n for n, column in enumerate(page["columns"])}
    for name, left in _COLUMNS.items():
        canvas.text(left, _HEAD + 5, page["columns"][at[name]]["name"], DARK.muted)
        for n, row in enumerate(page["rows"], 1):
            text, tone = row["cells"][at[name]]
            text = text if len(text) <= _WORDS else f"{text[: _WORDS - 3]}…"
            if name in ("y", "x"):
                text = text[:16]
            canvas.text(left, _HEAD + 5 + n * _LINE, text, getattr(DARK, tone or "text"))


def _past(canvas: Canvas, pair: str, past: pd.DataFrame, left: float, top: float) -> None:
    """Draw a pair's spread and z over the scanned past."""
    canvas.text(left + 8, top + 6, pair, DARK.text2)
    x = np.linspace(left + 8, _WIDTH - 8, max(len(past), 2))
    for name, tone, begin, tall in (("spread", DARK.spread, 28, 110), ("zscore", DARK.z, 158, 108)):
        values = past[name].to_numpy(np.float64)
        known = values[np.isfinite(values)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
        if name == "zscore":
            low, high = min(low, -2.5), max(high, 2.5)
        scale = tall / ((high - low) or 1.0)
        for level, shade in ((2.0, DARK.x), (0.0, DARK.axis), (-2.0, DARK.y)):
            if name == "zscore":
                y = top + begin + (high - level) * scale
                canvas.rectangle(left + 8, y - 0.5, _WIDTH - left - 16, 1, shade)
        if len(values) > 1:
            canvas.line(x, top + begin + (high - values) * scale, tone)
        newest = f" {signed(float(values[-1]))}" if name == "zscore" and len(values) else ""
        canvas.text(left + 8, top + begin - 9, name.removesuffix("score") + newest, DARK.muted)
