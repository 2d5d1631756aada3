"""How long rows wait for the screen: the last stretch of the way from the exchange."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.health import RecentQuantiles
from pairlab.protocols import LabView
from pairlab.schema import RowFlag

__all__ = ["RenderLatency"]

_AT_MOST: Final = 4096


class RenderLatency:
    """From the receipt of a row's tick until a browser has drawn the row for the first time.

    The first page to answer counts, and its answer's own way is in it. Where no page answers (a
    front end without anywidget, or a cell that runs), it is until the frame has been sent.
    """

    def __init__(self) -> None:
        self._lags_ms = RecentQuantiles(_AT_MOST)
        self._seen: tuple[int, int] | None = None
        self._drawing: dict[int, NDArray[np.int64]] = {}

    def sent(self, lab: LabView, now_ns: int, *, asked: int | None, answers: bool) -> None:
        """Take the rows since the last frame as on their way to the screen.

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
        rows, before = lab.rows, self._seen
        self._seen = (lab.rows.epoch, rows.end)
        if before is None or before[0] != lab.rows.epoch:
            return np.array([], np.int64)  # made anew, or before there was a screen: no waiting
        new = rows.view(min(rows.end - before[1], _AT_MOST))
        return np.asarray(new["received_ns"][new["flags"] & RowFlag.SEEDED == 0])

    def _add(self, received_ns: NDArray[np.int64], now_ns: int) -> None:
        if len(received_ns):
            self._lags_ms.add((now_ns - received_ns) / 1e6)

    def rest(self) -> None:
        """Forget since when rows wait: nobody looks."""
        self._seen = None
        self._drawing.clear()

    def p50_p99_ms(self) -> tuple[float, float]:
        """Return median and 99th percentile over the newest 4,096 rows; NaN before the first."""
        return self._lags_ms.p50_p99()
