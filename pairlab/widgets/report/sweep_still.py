"""A sweep as one still picture, and in one line of words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.widgets.still.raster import Canvas, rgb_of
from pairlab.widgets.style.formats import MISSING, count, fitted
from pairlab.widgets.style.theme import DARK

__all__ = ["LEVELS", "SweepMoment", "level_of", "sweep_picture", "sweep_words", "value_words"]

LEVELS: Final = 6
"""Strengths of colour of a cell beside the faintest."""

_WIDTH: Final = 880
_HEAD: Final = 46
_FOOT: Final = 18
_LEFT: Final = 84
_CELL: Final = 18
_GAP: Final = 2
_DIGIT_PX: Final = 6
_FAINT, _STEP = 0.08, 0.09  # of report.css


@dataclass(frozen=True)
class SweepMoment:
    """What is drawn of a sweep.

    Attributes
    ----------
    objective : str
        What each cell shows of its best set.
    x, y : str
        The settings across and down; the same where only one varies.
    xs, ys : sequence
        Their values; ``[None]`` down where only one varies.
    values : mapping
        By (x, y); cells without a trade have none.
    best : mapping
        The settings of the best set.
    n_trials : int
        Sets that were tried.
    deflated_sharpe, pbo : float
        As in `SweepResult`.
    """

    objective: str
    x: str
    y: str
    xs: Sequence[Any]
    ys: Sequence[Any]
    values: Mapping[tuple[Any, Any], float]
    best: Mapping[str, object]
    n_trials: int
    deflated_sharpe: float
    pbo: float

    @property
    def best_words(self) -> str:
        """The best set's settings."""
        told = ", ".join(f"{name} = {value_words(value)}" for name, value in self.best.items())
        return told or "none traded"

    @property
    def luck_words(self) -> str:
        """What the best is worth after so many were tried."""
        return " · ".join(
            f"{name} {MISSING if math.isnan(value) else f'{value:.2f}'}"
            for name, value in (("deflated Sharpe", self.deflated_sharpe), ("PBO", self.pbo))
        )


def value_words(value: object) -> str:
    """Return a setting's value; what is None or NaN is off."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "off"
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def level_of(value: float, most: float) -> int:
    """Return how strong a cell's colour is, 0 to `LEVELS`.

    Parameters
    ----------
    value : float
        Of the cell.
    most : float
        The largest absolute value of all.
    """
    share = min(abs(value) / most, 1.0) if most > 0 else 0.0
    return math.ceil(LEVELS * share) if math.isfinite(share) else 0


def sweep_words(moment: SweepMoment) -> str:
    """Return in one line how many sets were tried, which is best, and what it is worth."""
    return (
        f"pairlab sweep: best of {count(moment.n_trials)} by {moment.objective}: "
        f"{moment.best_words} · {moment.luck_words}"
    )


def sweep_picture(moment: SweepMoment) -> bytes:
    """Return the heat map as PNG of 880 pixels' width."""
    room = (_WIDTH - _LEFT - 8) / max(len(moment.xs), 1)
    tall = (len(moment.ys) + 1) * _CELL + 10
    canvas = Canvas(_WIDTH, _HEAD + tall + _FOOT, DARK.page)
    down = "" if moment.x == moment.y else f", {moment.y} down"
    canvas.text(8, 6, f"Sweep: best of {count(moment.n_trials)}", DARK.text, 2)
    canvas.text(8, 28, f"{moment.best_words} · {moment.luck_words} · in sample", DARK.text2)
    canvas.rectangle(0, _HEAD, _WIDTH, tall, DARK.panel)
    most = max((abs(v) for v in moment.values.values() if math.isfinite(v)), default=0.0)
    top = _HEAD + 4 + _CELL
    for n, across in enumerate(moment.xs):
        _centred(canvas, _LEFT + n * room, _HEAD + 8, room, value_words(across), DARK.muted)
    for m, key in enumerate(moment.ys):
        label = "" if moment.x == moment.y else value_words(key)[:12]
        canvas.text(_LEFT - 6 - canvas.text_width(label), top + m * _CELL + 5, label, DARK.muted)
        for n, across in enumerate(moment.xs):
            value = moment.values.get((across, key), math.nan)
            left, y = _LEFT + n * room, top + m * _CELL
            colours = np.array([[_shade(value, most)]], np.uint8)
            canvas.cells(left, y, max(room - _GAP, 1.0), _CELL - _GAP, colours)
            words = "|" if math.isnan(value) else fitted(value, 2, 6)
            _centred(canvas, left, y + 5, room - _GAP, words, DARK.text)
    foot = f"{moment.objective}: {moment.x} across{down} | saved picture, run the cell for the map"
    canvas.text(8, _HEAD + tall + 5, foot, DARK.muted)
    return canvas.png(Software="pairlab", pairlab=sweep_words(moment))


def _centred(canvas: Canvas, left: float, top: float, room: float, words: str, colour: str) -> None:
    """Write words in the middle of a cell, or nothing where it is too narrow for them."""
    if len(words) * _DIGIT_PX <= room:
        canvas.text(left + (room - canvas.text_width(words)) / 2, top, words, colour)


def _shade(value: float, most: float) -> NDArray[np.uint8]:
    panel = rgb_of(DARK.panel).astype(np.float64)
    if math.isnan(value):
        return rgb_of(DARK.panel)
    side = rgb_of(DARK.corr if value > 0 else DARK.stop).astype(np.float64)
    share = _FAINT + _STEP * level_of(value, most)
    return np.rint(panel + (side - panel) * share).astype(np.uint8)
