"""The event line: the newest entry, the log that it opens, and the lags to the screen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from ipywidgets import Button, HBox, VBox

from pairlab.protocols import LabView
from pairlab.schema import NS_PER_S, LogEntry, LogLevel
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.style.formats import clock, count, day, number, quantity_ms, safe
from pairlab.widgets.style.theme import icon, var
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["EventLog"]

_ERROR_STANDS_NS: Final = 15 * NS_PER_S
"""An error stays on the line at least this long, even if harmless entries follow."""


_PAGE: Final = 12
"""Entries of the opened log on a page: without a scroll bar, unless they are long."""


class EventLog(LabWidget, HBox):  # type: ignore[misc]
    """The newest log entry and, at the right, the latencies from the exchange to the screen.

    A click on the line, or Enter on its button, opens and closes the whole log, newest first. While
    it is closed, the line counts unseen warnings and errors.

    Parameters
    ----------
    lab : LabView
        Whose events.
    """

    _SIGNS: Final = {
        "info": ("info", "text2"),
        "warning": ("warning", "warn"),
        "error": ("times", "stop"),
    }

    def __init__(self, lab: LabView) -> None:
        self._event = HTML().add_class("pairlab-event-text")
        self._unseen = HTML().add_class("pairlab-event-unseen")
        # Texts send no clicks: the style sheet lays the button's area over the whole line.
        self._button = Button(description="Log").add_class("pairlab-event-button")
        self.on_frontend(self._button, "click", self._flip)
        self._way = HTML(
            description="lags",
            tooltip="Median and 99 %: the exchange's event to its receipt (corrected by the "
            "clocks' offset), receipt to row, receipt until the browser has drawn the row first",
        ).add_class("pairlab-event-way").add_class("pairlab-tip")  # fmt: skip
        self._where = HTML().add_class("pairlab-where")
        self._newer = self._turn("‹", "Newer events", -1)
        self._older = self._turn("›", "Older events", 1)
        self._list = HTML().add_class("pairlab-event-list")
        title = HTML("<h3>Event log</h3>").add_class("pairlab-head-text")
        head = HBox([title, self._where, self._newer, self._older]).add_class("pairlab-head")
        line = HBox([self._button, self._unseen, self._event]).add_class("pairlab-event-line")
        self._opened = False
        self._page = 0
        self._read = 0  # entries of the log that were counted, or seen in the opened list
        self._missed: Counter[LogLevel] = Counter()
        super().__init__([line, self._way, VBox([head, self._list]).add_class("pairlab-event-log")])
        for style in ("pairlab", "pairlab-panel", "pairlab-event"):
            self.add_class(style)
        self.join(lab)

    def _turn(self, face: str, tooltip: str, step: int) -> Button:
        button = Button(description=face, tooltip=tooltip).add_class("pairlab-turn")
        self.on_frontend(button, "click", lambda _: self._go(step))
        return button

    # -- the opened log -------------------------------------------------------------------------

    def _flip(self, _: Any) -> None:
        self._opened = not self._opened
        self._page = 0
        self.toggle_class("pairlab-open", self._opened)
        self._show_log()

    def _go(self, step: int) -> None:
        self._page += step
        self._show_log()

    def _show_log(self) -> None:
        """Show the list while it is open, else count the unseen entries."""
        lab = self.render_loop.lab
        log, total = lab.event_log, lab.event_log_total
        if self._opened:
            self._missed.clear()
        else:
            fresh = islice(reversed(log), total - self._read)
            self._missed.update(e.level for e in fresh if e.level != "info")
        self._read = total
        self._unseen.value = self._count()
        if not self.changed("log", (self._opened, self._page, total)):
            return
        pages = max(math.ceil(len(log) / _PAGE), 1)
        self._page = min(max(self._page, 0), pages - 1)
        first = self._page * _PAGE
        shown = list(islice(reversed(log), first, first + _PAGE)) if self._opened else []
        set_traits(self._newer, disabled=self._page == 0)
        set_traits(self._older, disabled=self._page == pages - 1)
        place = f"{first + 1}–{first + len(shown)} of {count(len(log))}" if shown else "none"
        self._where.value = f"<small>{place}</small>"
        self._list.value = f"<table>{''.join(map(self._row, shown))}</table>" if shown else ""

    def _row(self, entry: LogEntry) -> str:
        sign, colour = self._SIGNS[entry.level]
        when, on = clock(entry.time_ns), day(entry.time_ns)
        if on != day(self.render_loop.lab.event_log[-1].time_ns):
            when = f"{on} {when}"
        return (
            f'<tr class="pairlab-level-{entry.level}"><td>{when}</td>'
            f"<td>{icon(sign, var(colour))}{entry.level}</td><td>{safe(entry.message)}</td></tr>"
        )

    def _count(self) -> str:
        """Return how many of each were not seen: a sign and a number, and words for a reader."""
        parts = []
        for level in ("error", "warning"):
            if n := self._missed[level]:
                sign, colour = self._SIGNS[level]
                words = f"{level}{'s' if n > 1 else ''} not seen"
                parts.append(
                    f'<span style="color:{var(colour)}" title="{n:,} {words}">'
                    f"{icon(sign)}{n:,}<i> {words}</i></span>"
                )
        return "".join(parts)

    # -- the line -------------------------------------------------------------------------------

    def paint(self, frame: Frame) -> None:
        """Show the newest entry and the latencies."""
        if not frame.text_due:
            return
        loop, log = self.render_loop, self.render_loop.lab.event_log
        self._show_log()
        if frame.view.paused:
            waiting = count(loop.view.waiting_rows())
            self._show(
                frame.view.paused_ns, "info",
                f"view paused at {clock(frame.view.paused_ns)}: feed and signals continue; "
                f"{waiting} rows wait",
            )  # fmt: skip
        elif log:
            entry = self._worth_showing(log, frame)
            self._show(entry.time_ns, entry.level, entry.message)
        else:
            self._event.value = ""
        h = frame.health
        parts = []
        if h.state == "live" and math.isfinite(h.lag_p50_ms):
            shown = loop.latency.p50_p99_ms()
            parts.append(
                '<span class="pairlab-lags"><i>lag p50 / p99 ms: exchange→receive '
                f"{quantity_ms(h.lag_p50_ms)} / {quantity_ms(h.lag_p99_ms)}, </i>"
                f"→row {quantity_ms(h.row_p50_ms)} / "
                f"{quantity_ms(h.row_p99_ms)}, →screen {quantity_ms(shown[0])} / "
                f"{quantity_ms(shown[1])}</span>"
            )
        if math.isfinite(loop.meter.frames_per_s) and h.state != "stopped":
            parts.append(f"<span>{number(loop.meter.frames_per_s, 0)} frames/s</span>")
        when = ""
        if frame.live is not None:
            when = f"<b>{clock(frame.live_ns, milliseconds=frame.fine)} UTC</b>"
        self._way.value = "".join(parts) + when

    @staticmethod
    def _worth_showing(log: Sequence[LogEntry], frame: Frame) -> LogEntry:
        """Return the newest entry; an error stands for a while, that of a failed feed for good."""
        since_ns = 0 if frame.health.state == "failed" else frame.now_ns - _ERROR_STANDS_NS
        errors = (e for e in reversed(log) if e.level == "error" and e.time_ns > since_ns)
        return next(errors, log[-1])

    def _show(self, time_ns: int, level: str, message: str) -> None:
        sign, colour = self._SIGNS[level]
        text_colour = var("stop" if level == "error" else "text2")
        self._event.value = (
            f"<small>{clock(time_ns)}</small>{icon(sign, var(colour))}"
            f'<span style="color:{text_colour}">{safe(message)}</span>'
        )
        what = "Close the event log" if self._opened else "Open the event log"
        set_traits(self._button, tooltip=f"{what}\n{clock(time_ns)} {level}: {message}")
