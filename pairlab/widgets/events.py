"""The line below everything: the newest event, and how long the way to the screen takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ipywidgets import HBox

from pairlab.ticks import NS_PER_S, LogEntry
from pairlab.widgets.bundle import HTML
from pairlab.widgets.formats import clock, count, number, quantity_ms, safe
from pairlab.widgets.frame import Frame
from pairlab.widgets.part import Part
from pairlab.widgets.theme import glyph, var
from pairlab.widgets.trees import put

if TYPE_CHECKING:
    from pairlab.lab import PairLab

__all__ = ["EventLog"]

_ERROR_STANDS_NS: Final = 15 * NS_PER_S
"""So long no harmless line takes an error's place."""


class EventLog(Part, HBox):  # type: ignore[misc]
    """The newest event, and at the right how long the way to the screen takes.

    Parameters
    ----------
    lab : PairLab
        Whose events.
    """

    _SIGNS: Final = {
        "info": ("info", "text2"),
        "warning": ("warning", "warn"),
        "error": ("dot", "stop"),
    }

    def __init__(self, lab: PairLab) -> None:
        self._event = HTML(description="events").add_class("pairlab-event-text")
        self._way = HTML(
            description="lags",
            tooltip="Median and 99 %: the exchange's event to its receipt (corrected by the "
            "clocks' offset), receipt to row, receipt to the frame that showed the row first; the "
            "browser's own drawing comes on top",
        ).add_class("pairlab-event-way")
        for text in (self._event, self._way):
            text.add_class("pairlab-tip")
        super().__init__([self._event, self._way])
        for style in ("pairlab", "pairlab-panel", "pairlab-event"):
            self.add_class(style)
        self.join(lab)

    def paint(self, frame: Frame) -> None:
        """Show the newest event and the way's lags."""
        if not frame.text_due:
            return
        screen, log = self.screen, self.screen.lab.event_log
        if screen.paused:
            waiting = count(screen.waiting_rows())
            self._show(
                screen.paused_ns, "info",
                f"view paused at {clock(screen.paused_ns)}: the feed and signals go on; "
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
            shown = screen.lag.p50_p99_ms()
            parts.append(
                '<span class="pairlab-lags"><i>lag p50 / p99 ms: exchange→receive '
                f"{quantity_ms(h.lag_p50_ms)} / {quantity_ms(h.lag_p99_ms)}, </i>"
                f"→row {quantity_ms(h.row_p50_ms)} / "
                f"{quantity_ms(h.row_p99_ms)}, →screen {quantity_ms(shown[0])} / "
                f"{quantity_ms(shown[1])}</span>"
            )
        if math.isfinite(screen.measured_frames_per_s) and h.state != "stopped":
            parts.append(f"<span>{number(screen.measured_frames_per_s, 0)} frames/s</span>")
        when = f"<b>{clock(frame.live.time_ns)} UTC</b>" if frame.live is not None else ""
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
        put(
            self._event,
            value=f"<small>{clock(time_ns)}</small>{glyph(sign, var(colour))}"
            f'<span style="color:{text_colour}">{safe(message)}</span>',
            tooltip=self._recent(),
        )

    def _recent(self) -> str:
        entries = list(self.screen.lab.event_log)[-12:]
        return "\n".join(f"{clock(e.time_ns)} {e.level}: {e.message}" for e in reversed(entries))
