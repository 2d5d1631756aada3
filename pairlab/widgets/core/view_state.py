"""What of the history the charts show: span, held window, pause, pointer, selection."""

from __future__ import annotations

import bisect
import time
from typing import Any, Final

from pairlab.alerts import Alert
from pairlab.data.time_selection import between_ns
from pairlab.protocols import LabView
from pairlab.schema import NS_PER_S, Records
from pairlab.widgets.charts.decimation import IncrementalDecimator
from pairlab.widgets.style.formats import clock, count
from pairlab.widgets.style.theme import SIZES

__all__ = ["PAD", "SPANS", "ViewState"]

SPANS: Final = (10, 30, 60, 300, 900, 3600, 21_600, 86_400, 604_800)
"""Visible spans to choose from, seconds."""

_DEFAULT_SPANS: Final = {
    "tick": 30, "1s": 300, "5s": 900, "1m": 3600, "5m": 21_600, "15m": 86_400, "1h": 604_800,
}  # fmt: skip
PAD: Final = 4 / SIZES.plot_width
"""Room at the right edge for the dot at a line's end, as a share of the span."""

_LEAST_S: Final = 0.1
"""The shortest span that can be zoomed to: trades come in whole milliseconds."""


class ViewState:
    """What the charts of one lab show. It touches neither the feed nor the signals.

    Attributes
    ----------
    span_s : float
        Width of the view while it follows the newest rows.
    window_ns : tuple of int or None
        Both ends of the view while it is held; None: it follows the newest rows.
    paused : bool
        Charts and tables stand still on the rows of a moment.
    selecting : bool
        A drag over a chart selects; else a click lets the pointer read.
    brushing : bool
        Such a drag is going on.
    pointer_ns : int or None
        Where the pointer reads.
    selected : Alert or None
        The alert that was clicked on.
    """

    def __init__(self, lab: LabView) -> None:
        self.lab = lab
        self.span_s: float = _DEFAULT_SPANS[lab.settings.timeframe]
        self.window_ns: tuple[int, int] | None = None
        self.paused = False
        self.paused_ns = 0
        self.pointer_ns: int | None = None
        self._aimed: float | None = None
        self.cleared_ns = 0
        self.selected: Alert | None = None
        self.selecting = False
        self.brushing = False
        self.held_to_brush = False
        self._frozen: Records | None = None
        self._frozen_ns = 0  # exchange time of the newest row at the pause
        self._frozen_in = (0, 0)  # generation, and rows made until then
        self.follower = IncrementalDecimator()

    def rows(self) -> Records:
        """Return the rows to show: all that are held, or those of the moment of the pause."""
        if self._frozen is not None and self._frozen_in[0] != self.lab.rows.epoch:
            # The metrics were defined anew: the same moment, under the new ones.
            self._freeze()
        return self.lab.rows.view() if self._frozen is None else self._frozen

    def _freeze(self) -> None:
        rows = self.lab.rows.view()
        self._frozen = rows[: bisect.bisect_right(rows["time_ns"], self._frozen_ns)]
        made = self.lab.rows.end - (len(rows) - len(self._frozen))
        self._frozen_in = self.lab.rows.epoch, made

    # -- pause, clear, pointer ------------------------------------------------------------------

    def pause(self, paused: bool) -> None:
        """Stand still, or go on with the newest rows; feed, signals and strip are not touched."""
        self.paused = paused
        self.paused_ns = time.time_ns()
        self._frozen = None
        if paused:
            last = self.lab.rows.view(1)
            self._frozen_ns = int(last[0]["time_ns"]) if len(last) else 0
            self._freeze()
        else:
            self.follow()

    def waiting_rows(self) -> int:
        """Rows that came while the view was paused."""
        return self.lab.rows.end - self._frozen_in[1] if self.paused else 0

    def clear(self) -> None:
        """Let the charts begin anew at the newest row, until `reset`; the history keeps all."""
        last = self.rows()[-1:]
        self.cleared_ns = int(last[0]["time_ns"]) if len(last) else 0
        self.follow()

    def aim(self, share: float) -> None:
        """Put the pointer at a share of the plot's width, where it stays as the view moves on."""
        self._aimed = share
        ends = self.window_ns or self._whole()
        if ends is not None:
            width = (ends[1] - ends[0]) * (1 + PAD)
            self.pointer_ns = ends[0] + round(share * width)

    def point(self, time_ms: float | None) -> None:
        """Put the pointer at a time, in all charts, or take it away."""
        self._aimed = None
        self.pointer_ns = None if time_ms is None else round(time_ms * 1e6)

    # -- which part of the time -----------------------------------------------------------------

    def ends_ns(self) -> tuple[int, int]:
        """Return both ends of what is in view; (0, 0) while there is no row."""
        if self.window_ns is not None:
            return self.window_ns
        rows = self.rows()
        if not len(rows):
            return 0, 0
        edge = int(rows[-1]["time_ns"])
        return max(edge - round(self.span_s * NS_PER_S), self.cleared_ns), edge

    def follow(self) -> None:
        """Show the newest rows, from now on."""
        self.window_ns = None
        self.held_to_brush = self.brushing = False

    def reset(self) -> None:
        """Go back to the newest rows, cleared ones too; there already, to the usual span."""
        if self.window_ns is None and not self.cleared_ns:
            self.span_s = _DEFAULT_SPANS[self.lab.settings.timeframe]
        self.cleared_ns = 0
        self.selected = None
        self.follow()

    def hold(self, start_ns: int, end_ns: int) -> None:
        """Show a part of the history and stay there; the strip and the tables go on."""
        if self.window_ns is None:
            self.lab.log(
                "info", "the view is held, everything else goes on; Reset zoom follows again"
            )
        self.window_ns = (start_ns, end_ns)
        self.held_to_brush = False
        self.pointer_ns = None

    def set_span(self, seconds: float) -> None:
        """Show this much time: before the newest row, or around the middle of a held view."""
        self.span_s = seconds
        if self.window_ns is not None:
            self._hold_around(sum(self.window_ns) // 2, round(seconds * NS_PER_S))

    def zoom(self, factor: float) -> None:
        """Show `factor` times as much time: the next usual span, or around a held middle."""
        if self.window_ns is None:
            wider = [s for s in SPANS if s > self.span_s]
            narrower = [s for s in SPANS if s < self.span_s]
            if factor > 1:
                self.span_s = wider[0] if wider else self.span_s
            else:
                self.span_s = narrower[-1] if narrower else self.span_s
            return
        start, end = self.window_ns
        least, most = _LEAST_S * NS_PER_S, SPANS[-1] * NS_PER_S
        around = (start + end) // 2 if self.selected is None else self.selected.time_ns
        if not start <= around <= end:
            around = (start + end) // 2
        self._hold_around(around, round(min(max((end - start) * factor, least), most)))

    def pan(self, share: float) -> None:
        """Hold the view `share` of its width later (negative: earlier); at the end, follow."""
        start, end = self.ends_ns()
        rows = self.rows()
        if end == start or not len(rows):
            return
        width = end - start if self.window_ns else round(self.span_s * NS_PER_S)
        end += round(width * share)
        if end >= int(rows[-1]["time_ns"]):
            self.follow()
            return
        # Not beyond the oldest row that is held: there is nothing to see.
        end = max(end, int(rows[0]["time_ns"]) + width // 2)
        self.hold(end - width, end)

    def _hold_around(self, middle_ns: int, width_ns: int) -> None:
        start = middle_ns - width_ns // 2
        rows = self.rows()
        newest = int(rows[-1]["time_ns"]) if len(rows) else start + width_ns
        start = min(start, max(newest - width_ns, middle_ns - width_ns))
        self.hold(start, start + width_ns)

    # -- alerts ---------------------------------------------------------------------------------

    def choose(self, alert: Alert | None) -> None:
        """Select an alert and pan to it; None selects none and follows the newest rows again."""
        self.selected = alert
        if alert is None:
            self.follow()
            return
        rows = self.rows()
        if not len(rows) or alert.time_ns < int(rows[0]["time_ns"]):
            since = f"begin at {clock(int(rows[0]['time_ns']))} UTC" if len(rows) else "are none"
            self.lab.log(
                "warning",
                f"the rows of the alert of {clock(alert.time_ns)} UTC are no longer held (they "
                f"{since}; history_rows = {self.lab.settings.history_rows:,}): its explanation "
                "still is; a larger history_rows holds more",
            )
            return
        if alert.time_ns > int(rows[-1]["time_ns"]):
            self.lab.log(
                "warning",
                f"the alert of {clock(alert.time_ns)} UTC came after the pause: press Resume to "
                "see its rows",
            )
            return
        start, end = self.ends_ns()
        width = end - start if self.window_ns else round(self.span_s * NS_PER_S)
        self._hold_around(alert.time_ns, width)

    # -- selection ------------------------------------------------------------------------------

    def brush(self, brushing: bool, ends_ms: tuple[float, float] | None) -> None:
        """Take what the mouse did: a drag goes on or has ended, over this span or none."""
        if brushing and not self.brushing and self.window_ns is None:
            self.window_ns = self._whole()  # nothing slides away under the mouse
            self.held_to_brush = self.window_ns is not None
        ended = self.brushing and not brushing
        self.brushing = brushing
        if ended and self.held_to_brush:
            self.follow()
        if brushing:
            return
        if ends_ms is None:
            if ended:  # a click
                self.lab.select()
            return
        # In µs first: a float of ns since 1970 is only good to 256 of them.
        start_ns, end_ns = (round(ms * 1e3) * 1000 for ms in ends_ms)
        if not ended and self.lab.selected_ns == (start_ns, end_ns):
            return  # both halves of one message were told
        self.lab.select(start_ns, end_ns)
        rows = count(len(between_ns(self.lab.rows.view(), start_ns, end_ns)))
        self.lab.log(
            "info",
            f"selected {clock(start_ns)} – {clock(end_ns)} UTC, {rows} rows: lab.selection",
        )

    def zoom_to_selection(self) -> None:
        """Hold the view on the selected span."""
        chosen = self.lab.selected_ns
        if chosen is not None:
            least = round(_LEAST_S * NS_PER_S)
            self.hold(chosen[0], max(chosen[1], chosen[0] + least))

    def _whole(self) -> tuple[int, int] | None:
        rows = self.rows()
        if not len(rows):
            return None
        edge = int(rows[-1]["time_ns"])
        return edge - round(self.span_s * NS_PER_S), edge

    def _on_timeframe(self, change: Any) -> None:
        self.span_s = _DEFAULT_SPANS[change.new]
        self.cleared_ns = 0
        self.selected = None
        self.follow()
