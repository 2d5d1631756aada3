"""Render latency: from the receipt of a tick until a browser has drawn its row."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.data.row_store import Cursor
from pairlab.health import RecentQuantiles
from pairlab.protocols import LabView
from pairlab.schema import RowFlag

__all__ = ["RenderLatency"]

_MAX_ROWS: Final = 4096


class RenderLatency:
    """From the receipt of a row's tick until a browser has drawn the row for the first time.

    The first page to answer counts, and its answer's own way is in it. Where no page answers (a
    front end without anywidget, or a cell that runs), it is until the frame has been sent.
    """

    def __init__(self) -> None:
        self._lags_ms = RecentQuantiles(_MAX_ROWS)
        self._seen: Cursor | None = None
        self._drawing: dict[int, NDArray[np.int64]] = {}

    def sent(self, lab: LabView, now_ns: int, *, asked: int | None, answers: bool) -> None:
        """Count the rows since the last frame as on their way to the screen.

        Parameters
        ----------
        lab : LabView
            Whose rows.
        now_ns : int
            When their frame had been sent.
        asked : int or None
            Its number, if it asked for an answer. Rows of the others are not measured.
        answers : bool
            Whether pages answer at all.
        """
        received_ns = self._new(lab)
        if not answers:
            self._add(received_ns, now_ns)
        elif asked is not None:
            self._drawing[asked] = received_ns

    def drawn(self, frame: int, now_ns: int) -> None:
        """Count the rows of a frame, and of those before it, as drawn now."""
        for number in [n for n in self._drawing if n <= frame]:
            self._add(self._drawing.pop(number), now_ns)

    def _new(self, lab: LabView) -> NDArray[np.int64]:
        before, self._seen = self._seen, lab.rows.cursor
        if before is None or before.epoch != self._seen.epoch or lab.playback is not None:
            return np.array([], np.int64)  # recomputed, from before, or recorded: they did not wait
        new = lab.rows.slice(max(before.row, self._seen.row - _MAX_ROWS), self._seen.row)
        return np.asarray(new["received_ns"][new["flags"] & RowFlag.SEEDED == 0])

    def _add(self, received_ns: NDArray[np.int64], now_ns: int) -> None:
        if len(received_ns):
            self._lags_ms.add((now_ns - received_ns) / 1e6)

    def reset(self) -> None:
        """Forget which rows are waiting: no page is looked at, or none can answer."""
        self._seen = None
        self._drawing.clear()

    def p50_p99_ms(self) -> tuple[float, float]:
        """Return median and 99th percentile over the newest 4,096 rows; NaN before the first."""
        return self._lags_ms.p50_p99()
