"""The transport bar of a replay: play, pause, steps, time, speed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from ipywidgets import Button, Dropdown, FloatSlider, HBox, Text

from pairlab.errors import DataError
from pairlab.protocols import LabView, Playback
from pairlab.schema import NS_PER_S
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.widget_utils import programmatic_update, set_traits
from pairlab.widgets.panels.typed_number import mark_refused
from pairlab.widgets.style.formats import MISSING, clock, day, number, safe
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["TransportBar", "read_time"]

_SPEEDS: Final = (0.1, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1000.0, math.inf)
_POSITION: Final = "position"
_HAND_S: Final = 5.0
"""How long the handle waits, once touched, for a hand that lets go somewhere."""

_STEPS: Final = 1000
_DAY_NS: Final = 86_400 * NS_PER_S

_PLAY: Final = ("Go on; after the end, from the beginning", "Pause here")


def read_time(text: str, span_ns: tuple[int, int], near_ns: int) -> int:
    """Return the time that was typed, ns since 1970 UTC.

    Parameters
    ----------
    text : str
        A time of day, ``14:05``, ``14:05:30.250``, or a date and a time, ``2024-08-08 14:05``.
    span_ns : tuple of int
        What is recorded. A time of day is of the day on which the recording has it; of several,
        the one nearest to `near_ns`.
    near_ns : int
        Where the replay is.

    Raises
    ------
    DataError
        If it is no time, or outside of what is recorded.
    """
    words = text.strip().removesuffix("Z").removesuffix("UTC").strip()
    found = []
    for pattern in ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f"):
        try:
            read = datetime.strptime(words, pattern)  # a time of day
        except ValueError:
            continue
        within = timedelta(
            hours=read.hour, minutes=read.minute, seconds=read.second, microseconds=read.microsecond
        )
        within_ns = round(within.total_seconds() * 1e6) * 1000
        first_day, last_day = (end // _DAY_NS for end in span_ns)
        found = [day * _DAY_NS + within_ns for day in range(first_day, last_day + 1)]
    if not found:
        try:
            when = datetime.fromisoformat(words)
        except ValueError:
            raise DataError(
                f"{text!r} is no time: expected 14:05, 14:05:30 or 2024-08-08 14:05 (UTC)"
            ) from None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        found = [round(when.timestamp() * 1e6) * 1000]
    inside = [at for at in found if span_ns[0] // NS_PER_S * NS_PER_S <= at <= span_ns[1]]
    if not inside:
        first, last = (f"{day(end)} {clock(end, milliseconds=False)}" for end in span_ns)
        raise DataError(f"{text} is outside of the recording: {first} to {last} UTC")
    return min(inside, key=lambda at: abs(at - near_ns))


def _speed_words(speed: float) -> str:
    return "max" if math.isinf(speed) else f"{speed:g}×"


class TransportBar(LabWidget, HBox):  # type: ignore[misc]
    """Play, pause, step by tick or row, seek by time, and speed of a replay.

    Every control works by keyboard. It is empty for a lab that plays nothing, such as a live one.

    Parameters
    ----------
    lab : LabView
        Whose replay.
    """

    after_input = "speed"  # it may be set back in code before the next frame

    def __init__(self, lab: LabView) -> None:
        self._lab = lab
        self._touched_s = -math.inf
        self.play = Button(tooltip=_PLAY[0], description="Play").add_class("pairlab-button-play")
        self.on_frontend(self.play, "click", lambda _: self._on_play())
        self.rewind = self._button(
            "Start", "Back to the beginning", lambda replay, span: replay.seek(span[0])
        )
        self.tick = self._button(
            "+1 tick", "Pause, then one tick at a time", lambda replay, _: replay.step_tick()
        )
        self.row = self._button(
            "+1 row", "Pause, then ticks until there is one more row",
            lambda replay, _: replay.step_row(),
        )  # fmt: skip
        self.time = HTML(description="Time of the recording, UTC").add_class("pairlab-transport-at")
        self.slider = FloatSlider(
            min=0.0, max=1.0, step=1.0, continuous_update=False, readout=False,
            tooltip="Where in the recording: drag, or the arrow keys",
        )  # fmt: skip
        self.on_frontend(self.slider, "value", self._on_slider)
        self.end = HTML(description="End of the recording").add_class("pairlab-transport-end")
        track = HBox([self.slider]).add_class("pairlab-row").add_class(f"pairlab-row-{_POSITION}")
        self.go_to = Text(
            description="Go to", placeholder="14:05:30", continuous_update=False,
            tooltip="A time of the recording, UTC: 14:05, 14:05:30, 2024-08-08 14:05",
        ).add_class("pairlab-field")  # fmt: skip
        self.on_frontend(self.go_to, "value", self._on_go_to)
        self.speed = Dropdown(
            options=[(_speed_words(s), s) for s in _SPEEDS], value=1.0, description="Speed",
            tooltip="Seconds of the recording per second; max: as fast as it goes",
        )  # fmt: skip
        self.on_frontend(self.speed, "value", self._on_speed)
        super().__init__(
            [
                self.play, self.rewind, self.tick, self.row, self.time, track, self.end,
                self.go_to, self.speed,
            ]
        )  # fmt: skip
        for style in ("pairlab", "pairlab-panel", "pairlab-transport"):
            self.add_class(style)
        self.join(lab)

    def _button(
        self, face: str, tooltip: str, act: Callable[[Playback, tuple[int, int]], None]
    ) -> Button:
        button = Button(description=face, tooltip=tooltip)

        def pressed(_: object) -> None:
            replay = self._lab.playback
            if replay is not None:
                act(replay, replay.time_span_ns or (0, 0))

        self.on_frontend(button, "click", pressed)
        return button

    # -- what a person does ------------------------------------------------------------------------

    def _on_play(self) -> None:
        replay = self._lab.playback
        if replay is not None:
            (replay.pause if replay.playing and self._lab.running else replay.play)()

    def control_touched(self, setting: str) -> None:
        """Do as `LabWidget.control_touched`."""
        if setting == _POSITION:
            self._touched_s = time.monotonic()

    def _on_slider(self, seconds: float) -> None:
        self._touched_s = -math.inf
        replay = self._lab.playback
        if replay is not None and replay.time_span_ns is not None:
            replay.seek(replay.time_span_ns[0] + round(seconds * 1e6) * 1000)

    def _on_go_to(self, text: str) -> None:
        replay = self._lab.playback
        if not text.strip() or replay is None or replay.time_span_ns is None:
            mark_refused(self.go_to, None)
            return
        try:
            replay.seek(read_time(text, replay.time_span_ns, replay.position_ns))
        except DataError as error:
            mark_refused(self.go_to, str(error))
            self._lab.log("warning", str(error))
            return
        mark_refused(self.go_to, None)
        with programmatic_update():
            self.go_to.value = ""

    def _on_speed(self, speed: float) -> None:
        replay = self._lab.playback
        if replay is not None:
            replay.speed = speed

    # -- what is shown -----------------------------------------------------------------------------

    def paint(self, frame: Frame) -> None:
        """Show where the replay is, and whether and how fast it goes on."""
        replay = self._lab.playback
        if self.changed("there", replay is not None):
            self.toggle_class("pairlab-absent", replay is None)
        if replay is None or not frame.text_due:
            return
        going = replay.playing and self._lab.running
        if self.changed("going", going):
            set_traits(
                self.play, description="Pause" if going else "Play", tooltip=_PLAY[int(going)]
            )
            (self.play.add_class if going else self.play.remove_class)("pairlab-on")
        if self.changed("speed", replay.speed):
            speeds = sorted({*_SPEEDS, replay.speed})
            options = tuple((_speed_words(s), s) for s in speeds)
            if self.speed.options != options:
                set_traits(self.speed, options=options, value=replay.speed)
            set_traits(self.speed, value=replay.speed)
        self._paint_time(replay)

    def _paint_time(self, replay: Playback) -> None:
        span = replay.time_span_ns
        if self.changed("open", span is not None):
            closed = span is None
            for control in (self.rewind, self.tick, self.row, self.slider, self.go_to):
                control.disabled = closed
        if span is None:
            set_traits(self.time, value=safe(MISSING))
            return
        length_s = max((span[1] - span[0]) / NS_PER_S, 1e-3)
        if self.changed("length", length_s):
            set_traits(self.slider, max=length_s, step=length_s / _STEPS)
            set_traits(self.end, value=safe(self._told(span[1], span, fine=False)))
        at_ns = min(max(replay.position_ns, span[0]), span[1])
        set_traits(self.time, value=f"<b>{safe(self._told(at_ns, span, fine=True))}</b>")
        percent = number(100 * (at_ns - span[0]) / max(span[1] - span[0], 1), 1)
        set_traits(self.time, tooltip=f"{percent} % of the recording is played")
        seconds = (at_ns - span[0]) / NS_PER_S
        handheld = time.monotonic() - self._touched_s < _HAND_S
        if not handheld and abs(self.slider.value - seconds) >= length_s / _STEPS / 2:
            set_traits(self.slider, value=seconds)

    def _told(self, time_ns: int, span: tuple[int, int], *, fine: bool) -> str:
        """Return a time of the recording; with its day where there are several."""
        several = span[0] // _DAY_NS != span[1] // _DAY_NS
        time_of_day = clock(time_ns, milliseconds=fine)
        return f"{day(time_ns)} {time_of_day}" if several else time_of_day
