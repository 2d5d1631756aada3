"""The lines of a board's table as the page shows them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pairlab.board_protocol import BoardSnapshot, BoardView
from pairlab.widgets.style.formats import MISSING, age, fitted, number, p_value, signed

__all__ = ["SPARK_POINTS", "lines", "spark"]

SPARK_POINTS: Final = 60
_SPARK_ROWS: Final = 300
_SPARK_Z: Final = 4.0  # beyond which a sparkline is cut off
_POSITIONS: Final = {1: ("long", "LONG"), -1: ("short", "SHORT"), 0: ("flat", "FLAT")}
_FEED_WORDS: Final = {
    "failed": "FAILED", "stalled": "STALLED", "reconnecting": "RECONNECTING",
    "connecting": "CONNECTING", "stopped": "STOPPED",
}  # fmt: skip
_TROUBLED: Final = frozenset({"failed", "stalled", "reconnecting"})


def lines(board: BoardView, at: BoardSnapshot, first: int, count: int) -> list[dict[str, Any]]:
    """Return lines of the table, from the pairs that need attention most.

    Parameters
    ----------
    board : BoardView
        Asked for the past of the pairs that are on the page.
    at : BoardSnapshot
        The moment.
    first, count : int
        Which of them.
    """
    return [_line(board, at, int(i)) for i in at.order[first : first + count]]


def _line(board: BoardView, at: BoardSnapshot, i: int) -> dict[str, Any]:
    row, pair = at.rows[i], at.pairs[i]
    state, detail = at.states[i]
    kind, word = _POSITIONS[int(row["position"])]
    if state in _TROUBLED:
        kind, word = ("failed" if state == "failed" else "stalled"), _FEED_WORDS[state]
    elif np.isnan(row["zscore"]):
        kind, word = "waiting", "WARMING"
        if state == "connecting":
            word = _FEED_WORDS[state]
    dev = float(at.round_trips[i])
    return {
        "i": i, "y": pair.y, "x": pair.x, "kind": kind, "word": word,
        "z": signed(float(row["zscore"])), "corr": number(float(row["correlation"])),
        "p": p_value(float(row["p_value"])), "half": number(float(row["half_life"]), 1),
        "dev": MISSING if np.isnan(dev) else f"{fitted(dev, 2, 5)} ×",
        "ages": f"{age(float(at.y_age_s[i]))} / {age(float(at.x_age_s[i]))}",
        "spark": spark(board.lab(pair).rows.view(_SPARK_ROWS)["zscore"]),
        "tip": f"{pair.y} / {pair.x}: {detail}",
    }  # fmt: skip


def spark(z: np.ndarray[Any, np.dtype[np.float64]]) -> list[int | None]:
    """Return a sparkline's heights, 0 to 100 for z from −4 to 4; None where there is no z."""
    step = max(len(z) // SPARK_POINTS, 1)
    thin = z[::-1][::step][:SPARK_POINTS][::-1]
    heights = np.clip((thin + _SPARK_Z) / (2 * _SPARK_Z), 0.0, 1.0) * 100
    return [None if h != h else round(h) for h in heights.tolist()]
