"""What of the history the charts show: span, frozen window, pause, pointer, selection."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable
from typing import Any, Final

from pairlab.alerts import Alert
from pairlab.data.row_store import Cursor
from pairlab.data.time_selection import between_ns
from pairlab.protocols import LabView
from pairlab.schema import NO_TIME_NS, NS_PER_S, Records
from pairlab.widgets.core.recorded_past import RecordedPast
from pairlab.widgets.core.view import View
from pairlab.widgets.style.formats import clock, count
from pairlab.widgets.style.theme import SIZES

__all__ = ["PAD", "SPANS", "ViewState"]

SPANS: Final = (10, 30, 60, 300, 900, 3600, 21_600, 86_400, 604_800, 2_592_000, 31_536_000)
"""Visible spans to choose from, seconds."""

_DEFAULT_SPANS: Final = {
    "tick": 30, "1s": 300, "5s": 900, "1m": 3600, "5m": 21_600, "15m": 86_400, "1h": 604_800,
    "1d": 31_536_000,
}  # fmt: skip
PAD: Final = 4 / SIZES.plot_width
"""Room at the right edge for the dot at a line's end, as a share of the span."""

_FILLING: Final = (1 / 15, 1 / 10, 1 / 6, 1 / 4, 0.4, 0.6, 0.8)
"""Shares of the usual span that are shown while no more is held: nobody looks at an empty picture,
and in steps the time axis stands still between them."""

_MIN_SPAN_S: Final = 0.1
"""The shortest span that can be zoomed to: trades come in whole milliseconds."""


class ViewState:
    """What the charts of one lab show. It touches neither the feed nor the signals.

    Widgets read a frozen `View` of it and call its methods; none sets its attributes.

    Attributes
    ----------
    span_s : float
        Width of the view while it follows the newest rows.
    window_ns : tuple of int or None
        Both ends of the view while it is frozen; None: it follows the newest rows.
    paused : bool
        Charts and tables stand still on the rows of a moment.
    paused_ns, newest_alert : int, and int or None
        As `View` has them.
    cleared_ns : int
        Rows up to here are not shown until `reset`.
    select_mode : bool
        A drag over a chart selects; else a click lets the pointer read.
    brushing : bool
        Such a drag is going on.
    pointer_ns : int or None
        Where the pointer reads.
    selected : Alert or None
        The alert that was clicked on.
    signal_in_front : bool
        In a narrow dashboard the open signal stands in the place of the latest row.
    past : RecordedPast
        Rows that are no longer held, as far as they are recorded.
    """

    def __init__(self, lab: LabView, refresh: Callable[[], None] = lambda: None) -> None:
        self._lab = lab
        self._refresh = refresh
        self.past = RecordedPast(lab, self._on_past)
        self._usual_span_s: float | None = None
        self._span_chosen = False  # by a person
        self.span_s: float = _DEFAULT_SPANS[lab.settings.timeframe]
        self.window_ns: tuple[int, int] | None = None
        self.paused, self.paused_ns = False, 0
        self.pointer_ns: int | None = None
        self.cleared_ns = NO_TIME_NS
        self.selected: Alert | None = None
        self.select_mode = False
        self.brushing = False
        self.signal_in_front = False
        self._dragging = False
        self._pointer_share: float | None = None
        self._paused_rows: Records | None = None
        self._paused_row_ns = NO_TIME_NS  # exchange time of the newest row at the pause
        self._paused_at = Cursor(0, 0)  # after that row
        self.newest_alert: int | None = None
        self._drag_from: tuple[int, int] | None = None  # right edge and width when it began
        self._resets = 0  # of a replay, when the view was last its own
        lab.settings.observe(self._on_timeframe, "timeframe")

    def close(self) -> None:
        """Watch the settings no longer, and read no more."""
        self.past.close()
        self._lab.settings.unobserve(self._on_timeframe, "timeframe")

    def rows(self) -> Records:
        """Return the rows to show: all that are held, or those of the moment of the pause."""
        self._follow_replay()
        if self._paused_rows is None:
            return self._lab.rows.view()
        if self._paused_at.epoch != self._lab.rows.epoch:
            self._take_paused_rows()  # recomputed: the same moment, under the new settings
        return self._paused_rows

    def _follow_replay(self) -> None:
        """Show the newest rows once a replay has gone to another time: the others are gone."""
        replay = self._lab.playback
        if replay is not None and replay.resets != self._resets:
            self._resets = replay.resets
            self.paused, self._paused_rows, self.newest_alert = False, None, None
            self.cleared_ns, self.selected = 0, None
            self.set_pointer(None)
            self.follow()

    def _take_paused_rows(self) -> None:
        store = self._lab.rows
        rows = store.view()
        self._paused_rows = rows[: bisect.bisect_right(rows["time_ns"], self._paused_row_ns)]
        self._paused_at = Cursor(store.epoch, store.start + len(self._paused_rows))

    def current(self, rows: Records) -> View:
        """Return the view as it is now, over `rows`; a pointer that has left it is gone."""
        if self._pointer_share is not None:
            self.set_pointer_share(self._pointer_share)
        if self.window_ns is not None:
            start_ns, edge_ns = self.window_ns
            span_ns = max(edge_ns - start_ns, 1)
        else:
            span_ns = self._following_span_ns(rows)
            edge_ns = int(rows[-1]["time_ns"]) if len(rows) else 0
            start_ns = edge_ns - span_ns
        if self.window_ns is None or self._dragging:
            start_ns = max(start_ns, self.cleared_ns)
        at_ns = self.pointer_ns
        if at_ns is not None and not start_ns <= at_ns <= edge_ns + span_ns * PAD:
            self.pointer_ns = None
        return View(
            start_ns=start_ns, edge_ns=edge_ns, span_ns=span_ns,
            frozen=self.window_ns is not None, dragging=self._dragging,
            following_span_s=self.span_s, cleared_ns=self.cleared_ns,
            paused=self.paused, paused_ns=self.paused_ns, newest_alert=self.newest_alert,
            pointer_ns=self.pointer_ns,
            selected=self.selected, select_mode=self.select_mode, brushing=self.brushing,
            signal_in_front=self.signal_in_front,
        )  # fmt: skip

    # -- pause, clear, pointer ------------------------------------------------------------------

    def pause(self, paused: bool) -> None:
        """Stop at this moment, or continue with the newest rows; feed and signals go on."""
        self.paused = paused
        self.paused_ns = time.time_ns()
        self._paused_rows = None
        self.newest_alert = self._lab.alert_log.newest_number if paused else None
        if paused:
            last = self._lab.rows.view(1)
            self._paused_row_ns = int(last[0]["time_ns"]) if len(last) else NO_TIME_NS
            self._take_paused_rows()
        else:
            self.follow()

    def waiting_rows(self) -> int:
        """Rows that came while the view was paused."""
        return self._lab.rows.end - self._paused_at.row if self.paused else 0

    def clear(self) -> None:
        """Start the charts at the newest row, until `reset`; the history keeps all."""
        last = self.rows()[-1:]
        self.cleared_ns = int(last[0]["time_ns"]) if len(last) else NO_TIME_NS
        self.follow()

    def set_pointer_share(self, share: float) -> None:
        """Put the pointer at a share of the plot's width, where it stays as the view moves on."""
        self._pointer_share = share
        ends = self.window_ns or self._following_ends()
        if ends is not None:
            width = (ends[1] - ends[0]) * (1 + PAD)
            self.pointer_ns = ends[0] + round(share * width)

    def set_pointer(self, time_ms: float | None) -> None:
        """Put the pointer at a time, in all charts, or take it away."""
        self._pointer_share = None
        self.pointer_ns = None if time_ms is None else round(time_ms * 1e6)

    @property
    def pointer_follows_mouse(self) -> bool:
        """Whether the pointer is at a place of the plot, not at a time."""
        return self._pointer_share is not None

    def set_select_mode(self, on: bool) -> None:
        """Let a drag over a chart select, or a click read."""
        self.select_mode = on
        self.set_pointer(None)

    def show_signal(self, on: bool) -> None:
        """Put the open signal in front of the latest row, where both share a place, or back."""
        self.signal_in_front = on

    # -- which part of the time -----------------------------------------------------------------

    def ends_ns(self) -> tuple[int, int]:
        """Return both ends of what is in view; (0, 0) while there is no row."""
        if self.window_ns is not None:
            return self.window_ns
        rows = self.rows()
        if not len(rows):
            return 0, 0
        edge = int(rows[-1]["time_ns"])
        return max(edge - self._following_span_ns(rows), self.cleared_ns), edge

    def _following_span_ns(self, rows: Records) -> int:
        """Return the width of a view that follows: the span, or less while less is held."""
        span_ns = round(self.span_s * NS_PER_S)
        if self._span_chosen or self.past.exists or not len(rows):
            return span_ns
        held_ns = int(rows[-1]["time_ns"]) - int(rows[0]["time_ns"])
        return next((round(s * span_ns) for s in _FILLING if s * span_ns >= held_ns), span_ns)

    def follow(self) -> None:
        """Show the newest rows, from now on."""
        self.window_ns = None
        self._dragging = self.brushing = False

    def show_all(self) -> None:
        """Show every row that is held, now and after `reset`: what is shown has ended."""
        rows = self.rows()
        if len(rows) > 1:
            span_ns = int(rows[-1]["time_ns"]) - int(rows[0]["time_ns"])
            self.span_s = self._usual_span_s = max(span_ns / NS_PER_S, _MIN_SPAN_S)
            self._span_chosen = True
        self.follow()

    def reset(self) -> None:
        """Go back to the newest rows, cleared ones too; there already, to the usual span."""
        if self._usual_span_s is not None:
            self.span_s = self._usual_span_s
        elif self.window_ns is None and self.cleared_ns == NO_TIME_NS:
            self.span_s = _DEFAULT_SPANS[self._lab.settings.timeframe]
            self._span_chosen = False
        self.cleared_ns = NO_TIME_NS
        self.selected = None
        self.follow()

    def freeze(self, start_ns: int, end_ns: int) -> None:
        """Show a part of the history and stay there; status bar and tables continue."""
        if self.window_ns is None:
            self._lab.log(
                "info",
                "the charts are frozen on a part of the history, everything else continues; "
                "Reset zoom follows the newest rows again",
            )
        self.window_ns = (start_ns, end_ns)
        self._dragging = False
        self.pointer_ns = None

    def set_span(self, seconds: float) -> None:
        """Show this much time: before the newest row, or around the middle of a frozen view."""
        self.span_s, self._span_chosen = seconds, True
        if self.window_ns is not None:
            self._freeze_around(sum(self.window_ns) // 2, round(seconds * NS_PER_S))

    def zoom(self, factor: float) -> None:
        """Show `factor` times as much time: the next usual span; around the middle if frozen."""
        if self.window_ns is None:
            self._span_chosen = True
            wider = [s for s in SPANS if s > self.span_s]
            narrower = [s for s in SPANS if s < self.span_s]
            if factor > 1:
                self.span_s = wider[0] if wider else self.span_s
            else:
                self.span_s = narrower[-1] if narrower else self.span_s
            return
        start, end = self.window_ns
        least, most = _MIN_SPAN_S * NS_PER_S, SPANS[-1] * NS_PER_S
        around = (start + end) // 2 if self.selected is None else self.selected.time_ns
        if not start <= around <= end:
            around = (start + end) // 2
        self._freeze_around(around, round(min(max((end - start) * factor, least), most)))

    def zoom_at(self, share: float, factor: float) -> None:
        """Show `factor` times as much time; what is at a share of the width stays there.

        A view that reaches the newest row follows it, over the span that it then has.
        """
        start, end = self.ends_ns()
        rows = self.rows()
        if not len(rows):
            return
        width = end - start if self.window_ns else self._following_span_ns(rows)
        start = end - width
        wanted = width * factor
        wider = round(min(max(wanted, _MIN_SPAN_S * NS_PER_S), SPANS[-1] * NS_PER_S))
        at = start + share * width * (1 + PAD)
        edge = round(at + (end - at) * wider / width)
        if edge >= int(rows[-1]["time_ns"]):
            self.span_s, self._span_chosen = wider / NS_PER_S, True
            self.follow()
            return
        edge = self._not_before_all(edge, wider)
        self.freeze(edge - wider, edge)

    def pan(self, share: float) -> None:
        """Freeze the view `share` of its width later (negative: earlier); at the end, follow."""
        start, end = self.ends_ns()
        rows = self.rows()
        if end == start or not len(rows):
            return
        width = end - start if self.window_ns else self._following_span_ns(rows)
        end += round(width * share)
        if end >= int(rows[-1]["time_ns"]):
            self.follow()
            return
        end = self._not_before_all(end, width)
        self.freeze(end - width, end)

    def drag(self, share: float, *, begins: bool, ends: bool) -> None:
        """Move the view with the mouse, by a share of its width since the drag began."""
        if begins or self._drag_from is None:
            start, edge = self.ends_ns()
            width = edge - start if self.window_ns else self._following_span_ns(self.rows())
            self._drag_from = edge, width
        edge, width = self._drag_from
        if ends:
            self._drag_from = None
        rows = self.rows()
        if not len(rows):
            return
        newest = int(rows[-1]["time_ns"])
        edge -= round(share * width * (1 + PAD))
        if edge >= newest:
            if ends:
                self.follow()
            elif self.window_ns is not None:
                self.freeze(newest - width, newest)
            return
        edge = self._not_before_all(edge, width)
        self.freeze(edge - width, edge)

    def oldest_ns(self) -> int | None:
        """Return the time of the oldest row that can be shown; None without any, or unknown."""
        rows = self.rows()
        if not len(rows):
            return None
        held = int(rows[0]["time_ns"])
        if not self.past.exists:
            return held
        return None if self.past.begins_ns is None else min(held, self.past.begins_ns)

    def _not_before_all(self, edge_ns: int, width_ns: int) -> int:
        """Return a right edge at which there is something to see: not before the oldest row."""
        oldest = self.oldest_ns()
        return edge_ns if oldest is None else max(edge_ns, oldest + width_ns // 2)

    def _on_past(self) -> None:
        """Stop where the recording begins, once that is known."""
        if self.window_ns is not None and not self._dragging:
            start, end = self.window_ns
            edge = self._not_before_all(end, end - start)
            self.window_ns = edge - (end - start), edge
        self._refresh()

    def _freeze_around(self, middle_ns: int, width_ns: int) -> None:
        start = middle_ns - width_ns // 2
        rows = self.rows()
        newest = int(rows[-1]["time_ns"]) if len(rows) else start + width_ns
        start = min(start, max(newest - width_ns, middle_ns - width_ns))
        self.freeze(start, start + width_ns)

    # -- alerts ---------------------------------------------------------------------------------

    def select(self, alert: Alert | None) -> None:
        """Select an alert and pan to it; None selects none and follows the newest rows again."""
        self.selected = alert
        if alert is None:
            self.follow()
            return
        rows = self.rows()
        oldest = self.oldest_ns()
        if not len(rows) or (oldest is not None and alert.time_ns < oldest):
            since = f"begin at {clock(int(rows[0]['time_ns']))} UTC" if len(rows) else "are none"
            self._lab.log(
                "warning",
                f"the rows of the alert of {clock(alert.time_ns)} UTC are no longer held (they "
                f"{since}; history_rows = {self._lab.settings.history_rows:,}): only its "
                "explanation is; a larger history_rows keeps more",
            )
            return
        if alert.time_ns > int(rows[-1]["time_ns"]):
            self._lab.log(
                "warning",
                f"the alert of {clock(alert.time_ns)} UTC came after the pause: press Resume to "
                "see its rows",
            )
            return
        start, end = self.ends_ns()
        width = end - start if self.window_ns else self._following_span_ns(rows)
        self._freeze_around(alert.time_ns, width)

    # -- selection ------------------------------------------------------------------------------

    def brush(self, brushing: bool, ends_ms: tuple[float, float] | None) -> None:
        """Apply a drag of the mouse: it continues or has ended, over this span or none."""
        if brushing and not self.brushing and self.window_ns is None:
            self.window_ns = self._following_ends()  # nothing slides away under the mouse
            self._dragging = self.window_ns is not None
        ended = self.brushing and not brushing
        self.brushing = brushing
        if ended and self._dragging:
            self.follow()
        if brushing:
            return
        if ends_ms is None:
            if ended:  # a click
                self._lab.select()
            return
        # In µs first: a float of ns since 1970 is only good to 256 of them.
        start_ns, end_ns = (round(ms * 1e3) * 1000 for ms in ends_ms)
        if not ended and self._lab.selected_ns == (start_ns, end_ns):
            return  # the front end reports both halves of one message
        self._lab.select(start_ns, end_ns)
        rows = count(len(between_ns(self._lab.rows.view(), start_ns, end_ns)))
        self._lab.log(
            "info",
            f"selected {clock(start_ns)} – {clock(end_ns)} UTC, {rows} rows: lab.selection",
        )

    def zoom_to_selection(self) -> None:
        """Freeze the view on the selected span."""
        chosen = self._lab.selected_ns
        if chosen is not None:
            least = round(_MIN_SPAN_S * NS_PER_S)
            self.freeze(chosen[0], max(chosen[1], chosen[0] + least))

    def _following_ends(self) -> tuple[int, int] | None:
        rows = self.rows()
        if not len(rows):
            return None
        edge = int(rows[-1]["time_ns"])
        return edge - self._following_span_ns(rows), edge

    def _on_timeframe(self, change: Any) -> None:
        self.span_s, self._span_chosen = _DEFAULT_SPANS[change.new], False
        self.cleared_ns = NO_TIME_NS
        self.selected = None
        self.follow()
