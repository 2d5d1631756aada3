"""A lab's newest rows as one still picture, and in one line of words."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.data.origin import Origin
from pairlab.formatting import number, scientific, signed
from pairlab.schema import Records
from pairlab.settings import SettingValues
from pairlab.widgets.still.raster import Canvas
from pairlab.widgets.style.formats import clock, decimals_for
from pairlab.widgets.style.theme import DARK

__all__ = ["still_picture", "still_words"]

_WIDTH: Final = 880
_HEAD: Final = 44
_CHARTS: Final = (("z-score", 150), ("spread", 110), ("correlation", 80))
_FOOT: Final = 18
_GAP: Final = 4
_MARGINS: Final = (64, 12)
_MOST_ROWS: Final = 2_000


def still_words(rows: Records, origin: Origin) -> str:
    """Return what a picture shows in one line: pair, market, time, and the newest numbers."""
    pair = " / ".join(origin.pair)
    if not len(rows):
        return f"pairlab: {pair} · {origin.source} · no rows yet"
    row = rows[-1]
    side = {1: "long the spread", -1: "short the spread"}.get(int(row["position"]), "flat")
    spread = float(row["spread"])
    day = str(np.datetime64(int(row["time_ns"]), "ns"))[:10]
    return (
        f"pairlab: {pair} · {origin.source} · {day} {clock(int(row['time_ns']))[:8]} UTC · "
        f"z {signed(float(row['zscore']))} · spread {number(spread, decimals_for(abs(spread), 2))} "
        f"· correlation {number(float(row['correlation']))} · {side}"
    )


def still_picture(rows: Records, origin: Origin, values: SettingValues) -> bytes:
    """Return the newest rows as PNG: z-score, spread and correlation, by row.

    Parameters
    ----------
    rows : array of pairlab.ROW
        Of which the newest 2,000 are drawn.
    origin : Origin
        Whose market, pair and settings stand on the picture.
    values : SettingValues
        The thresholds.

    Returns
    -------
    bytes
        880 pixels wide.
    """
    rows = rows[-_MOST_ROWS:]
    height = _HEAD + sum(tall + _GAP for _, tall in _CHARTS) + _FOOT
    canvas = Canvas(_WIDTH, height, DARK.page)
    words = still_words(rows, origin)
    title, _, rest = words.removeprefix("pairlab: ").partition(" · ")
    canvas.text(8, 6, title, DARK.text, 2)
    badge = origin.source.upper()
    colour = DARK.corr if origin.real_money else DARK.sim
    canvas.text(_WIDTH - 8 - canvas.text_width(badge, 2), 6, badge, colour, 2)
    canvas.text(8, 28, rest.partition(" · ")[2], DARK.text2)
    top = _HEAD
    for name, tall in _CHARTS:
        canvas.rectangle(0, top, _WIDTH, tall, DARK.panel)
        canvas.text(_MARGINS[0] + 6, top + 4, name, DARK.text2)
        _chart(canvas, name, top + 14, tall - 18, rows, values)
        top += tall + _GAP
    span = "no rows yet"
    if len(rows):
        ends = [clock(int(rows[at]["time_ns"]))[:8] for at in (0, -1)]
        span = f"{len(rows):,} rows, {ends[0]} to {ends[1]} UTC"
    foot = f"{span} | saved picture, run the cell for the live dashboard"
    canvas.text(8, top + 3, foot, DARK.muted)
    return canvas.png(Software="pairlab", pairlab=f"{origin.source}; {origin.settings}")


def _chart(
    canvas: Canvas, name: str, top: float, tall: float, rows: Records, values: SettingValues
) -> None:
    left, right = _MARGINS
    x = np.linspace(left, _WIDTH - right, max(len(rows), 2))
    if name == "z-score":
        line, colour = rows["zscore"].astype(float), DARK.z
        entry, exit_z = values.entry_z, values.exit_z
        levels = [(entry, DARK.x), (-entry, DARK.y), (exit_z, DARK.muted), (-exit_z, DARK.muted),
                  (0.0, DARK.axis)]  # fmt: skip
        if values.stop_z is not None:
            levels += [(values.stop_z, DARK.stop), (-values.stop_z, DARK.stop)]
        least = (values.stop_z or entry + 1) * 1.1
        ends = (-least, least)
    elif name == "spread":
        line, colour = rows["spread"].astype(float), DARK.spread
        levels, ends = [], (math.nan, math.nan)
    else:
        line, colour = rows["correlation"].astype(float), DARK.corr
        levels, ends = [(values.min_correlation, DARK.text2)], (values.min_correlation, 1.0)
    low, high = _span(line, ends)

    def at(value: NDArray[np.float64]) -> NDArray[np.float64]:
        return top + tall * (high - value) / (high - low)

    for value, shade in levels:
        if low <= value <= high:
            y = float(at(np.array([value]))[0])
            canvas.rectangle(left, y - 0.5, _WIDTH - right - left, 1, shade)
    decimals = decimals_for(high - low, 2)
    for value in (high, low):
        label = number(value, decimals) if abs(value) < 1e7 else scientific(value, 6)
        y = float(at(np.array([value]))[0]) - (0 if value == high else 7)
        canvas.text(left - 6 - canvas.text_width(label), y, label, DARK.muted)
    if len(rows) > 1:
        canvas.line(x, at(line), colour)


def _span(line: NDArray[np.float64], ends: tuple[float, float]) -> tuple[float, float]:
    """Return what an axis shows: both ends, and every number of the line."""
    known = [v for v in ends if math.isfinite(v)]
    if np.isfinite(line).any():
        known += [float(np.nanmin(line)), float(np.nanmax(line))]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    room = max(abs(high) * 1e-3, 1.0)
    return (low, high) if high - low > 1e-12 * room else (low - room, high + room)
