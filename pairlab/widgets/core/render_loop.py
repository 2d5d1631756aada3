"""The render loop of a lab: one clock that paints its open widgets from one frame."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import WeakValueDictionary

from pairlab.health import Health
from pairlab.protocols import LabView
from pairlab.widgets.charts.decimation import IncrementalDecimator
from pairlab.widgets.core.chart_interaction import ChartInteraction
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.frame_meter import FrameMeter, next_frame_s
from pairlab.widgets.core.kernel_hooks import CellHooks
from pairlab.widgets.core.part_registry import PartRegistry
from pairlab.widgets.core.time_axis import TimeAxis
from pairlab.widgets.core.view_state import ViewState
from pairlab.widgets.core.widget_utils import is_programmatic, programmatic_update
from pairlab.widgets.still.output import LabStill, StillOutput
from pairlab.widgets.style.precision import Precision
from pairlab.widgets.transport.frontend_channel import FrontendChannel
from pairlab.widgets.transport.render_latency import RenderLatency
from pairlab.widgets.transport.resync import StateResync

if TYPE_CHECKING:
    from pairlab.widgets.core.lab_widget import LabWidget

__all__ = ["DEFAULT_FRAMES_PER_S", "RenderLoop", "lab_widgets"]

DEFAULT_FRAMES_PER_S: Final = 10.0
"""How often a lab's widgets are painted where none asks for another rate."""

_REPORT_AGAIN_S: Final = 60.0
_SLOW_FRAMES_PER_S: Final = 8
"""Frames a second below which each of them sets the texts, too."""

_BUSY: Final = 5
"""Painting may take one part in this many of the loop's time; a slow kernel paints less often."""


class RenderLoop:
    """Paints the open widgets of one lab, all from one frame, as fast as pages draw them.

    It starts, finishes and closes with the lab. Use `RenderLoop.of`, which returns the lab's own:
    however many widgets there are, they cost one set of updates.

    Parameters
    ----------
    lab : LabView
        Whose widgets.

    Attributes
    ----------
    parts : PartRegistry
        The open widgets.
    view : ViewState
        What the charts show.
    time_axis : TimeAxis
        That they share.
    interaction : ChartInteraction
        Pointer and brush, which they share.
    channel : FrontendChannel
        To the pages that show them.
    latency : RenderLatency
        How long rows wait to be drawn.
    meter : FrameMeter
        How often frames are painted, and what they cost.
    still : StillOutput
        The picture of it in a saved notebook.
    """

    _loops: ClassVar[WeakValueDictionary[int, RenderLoop]] = WeakValueDictionary()

    def __init__(self, lab: LabView) -> None:
        self.lab = lab
        self.view = ViewState(lab, self.refresh)
        self.parts = PartRegistry(lab, self.shared_widgets)
        self.time_axis = TimeAxis()
        self.interaction = ChartInteraction(self.time_axis, self.view, self.hand_over)
        self.channel = FrontendChannel(self.hand_over, self)
        self.latency = RenderLatency()
        self.meter = FrameMeter()
        self.still = StillOutput(LabStill(lab))
        self._precision = Precision(lab)
        self._decimator = IncrementalDecimator()
        self._resync = StateResync()
        self._cells = CellHooks(self._on_cell_begin, self._on_cell_end)
        self._health: Health | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0  # when the timer is, on the loop's clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._refreshing = False
        self._reported_s: dict[tuple[str, type[Exception]], float] = {}
        lab.settings.observe(self._on_setting)

    @classmethod
    def of(cls, lab: LabView) -> RenderLoop:
        """Return the render loop of a lab; the first call makes it."""
        loop = cls._loops.get(id(lab))
        if loop is None:
            loop = cls._loops[id(lab)] = cls(lab)
            lab.attach(loop)
        return loop

    @property
    def frames_per_s(self) -> float:
        """The highest rate that an open widget asks for, where pages tell, one that they show."""
        asked = {p.model_id: p.frames_per_s for p in self.parts if p.frames_per_s is not None}
        seen = self.channel.pacer.shown(time.monotonic())
        of_seen = [rate for id_, rate in asked.items() if seen is None or id_ in seen]
        return max(of_seen or asked.values(), default=DEFAULT_FRAMES_PER_S)

    def shared_widgets(self) -> list[Any]:
        """Return the widgets that belong to no part alone."""
        return [*self.time_axis.widgets(), *self.interaction.widgets(), self.channel.widget]

    # -- from start to close --------------------------------------------------------------------

    def add(self, part: LabWidget) -> None:
        """Paint a widget from now on, and at once."""
        self.parts.add(part)
        self._cells.start()
        with programmatic_update():
            frame = self._frame(due=True)
            part.arrange(frame)
            self._paint_part(part, frame)
        self.start()

    def close_part(self, part: LabWidget) -> None:
        """Close a widget, except for what others have; with the last one the painting ends."""
        self.parts.close(part)
        if self.parts.is_static:
            self._stop_clock()

    def start(self) -> None:
        """Paint from now on, on the lab's loop, if the lab runs and there is something to paint."""
        loop = self.lab.loop
        moving = not self.parts.is_static
        if self._timer is None and moving and self.lab.running and loop is not None:
            self._loop, self._due_s = loop, loop.time() + 1 / self.frames_per_s
            self._timer = loop.call_at(self._due_s, self._tick)
            self.channel.heartbeat.start(loop)
            self.still.start()

    def refresh(self) -> None:
        """Paint once, soon, if the clock is stopped: a lab that has stopped can be used, too."""
        if self._timer is None and len(self.parts) and not self._refreshing:
            self._refreshing = True
            self.lab.call_on_loop(self._refresh)

    def _refresh(self) -> None:
        self._refreshing = False
        if self._timer is None:
            self.paint(due=True)

    def _on_setting(self, _: Any) -> None:
        self.refresh()

    def finish(self) -> None:
        """Paint the last frame and stop the clock; everything stays on the screen."""
        self._stop_clock()
        for part in self.parts:
            part.finish()
        self.paint(due=True)
        self.channel.heartbeat.tell()
        self.still.update()

    def close(self) -> None:
        """Close every widget of the lab."""
        if self._loops.pop(id(self.lab), None) is None:
            return
        self._stop_clock()
        self._cells.stop()
        self.view.close()
        self.lab.settings.unobserve(self._on_setting)
        self.parts.close_all()

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.channel.heartbeat.stop()
        self.still.stop()

    # -- what a person does ---------------------------------------------------------------------

    def hand_over(self, handler: Callable[..., Any]) -> Callable[[Any], None]:
        """Return a callback for the front end that runs `handler` on the lab's loop.

        ipykernel calls it on threads of its own. What the kernel shows by itself is not handed
        over: it would come back late, as if somebody had asked for the old value.
        """

        def received(message: Any) -> None:
            if not is_programmatic():
                self.lab.call_on_loop(self.handle, handler, message)

        return received

    def handle(
        self, handler: Callable[..., Any], message: Any, source: LabWidget | None = None
    ) -> None:
        """Run the handler of something that a person did, to `source` if it is a widget."""
        try:
            handler(message)
        except Exception as error:
            # On the loop nobody would see it.
            self._report(
                "your input could not be applied", error,
                "Nothing else was changed; try again, or set it in code",
            )  # fmt: skip
        if source is not None:
            source.forget(source.after_input)
        self.refresh()

    # -- what pages report ----------------------------------------------------------------------

    def page_opened(self) -> None:
        """Do as `PageEvents.page_opened`."""
        self._resync.restart()

    def control_touched(self, setting: str) -> None:
        """Do as `PageEvents.control_touched`."""
        for part in self.parts:
            part.control_touched(setting)

    def file_saved(self, token: str, error: str | None) -> None:
        """Do as `PageEvents.file_saved`."""
        for part in self.parts:
            part.file_saved(token, error)

    def frame_drawn(self, number: int) -> None:
        """Do as `PageEvents.frame_drawn`."""
        self.latency.drawn(number, time.time_ns())

    def _on_cell_begin(self) -> None:
        self.channel.pacer.mute()
        self.latency.reset()  # answers wait behind the cell

    def _on_cell_end(self) -> None:
        self.channel.pacer.unmute(time.monotonic())

    # -- painting -------------------------------------------------------------------------------

    def _tick(self) -> None:
        started_s, now_s = time.perf_counter(), time.monotonic()
        pacer, frames_per_s = self.channel.pacer, self.frames_per_s
        to_do = pacer.decide(now_s)
        if to_do != "wait":
            number = pacer.send(now_s, ask=to_do == "ask")
            try:
                with self.channel.batch(**({} if number is None else {"frame": number})):
                    if to_do == "paint":
                        self._paint_shown(pacer.shown(now_s), frames_per_s)
                if to_do == "paint":
                    self.latency.sent(self.lab, time.time_ns(), asked=number, answers=pacer.answers)
            except Exception as error:
                # Keep the loop alive; the kernel's idea of the pages' state may be wrong now, so
                # resync.
                self._resync.restart()
                self._report(
                    "a frame could not be sent", error,
                    "Feed, signals and history continue; run the cell again",
                )  # fmt: skip
        if to_do != "paint" and not pacer.looking(now_s):
            self.latency.reset()
            self.view.set_pointer(None)
        spent_s = time.perf_counter() - started_s
        self.meter.measure(spent_s if to_do == "paint" else None)
        if self._timer is not None and self._loop is not None and not self._loop.is_closed():
            now_s = self._loop.time()
            self._due_s = next_frame_s(self._due_s, now_s, spent_s, frames_per_s, _BUSY)
            self._timer = self._loop.call_at(self._due_s, self._tick)

    def _paint_shown(self, shown: frozenset[str] | None, frames_per_s: float) -> None:
        self.meter.painted += 1
        # Where frames are rare, a header would show a row long before the line reaches it.
        slow = min(frames_per_s, self.meter.frames_per_s) < _SLOW_FRAMES_PER_S
        due = self.meter.painted % 2 == 0 or slow
        try:
            parts = [p for p in self.parts if shown is None or p.model_id in shown]
            self._paint(parts, due)
            if due:
                self._resync.send_next([parts, self.shared_widgets()])
        except Exception as error:
            self._report(
                "the dashboard could not paint", error,
                "Feed, signals and history continue; run the cell again",
            )  # fmt: skip

    def paint(self, *, due: bool) -> None:
        """Paint every widget once, whether anybody looks or not."""
        self._paint(list(self.parts), due)

    def _paint(self, parts: list[LabWidget], due: bool) -> None:
        frame = self._frame(due=due)
        with programmatic_update(), self.channel.batch():
            self.time_axis.place(frame)
            self.interaction.place_pointer(frame.view.pointer_ns)
            for part in self.parts:
                part.arrange(frame)
            for part in parts:
                self._paint_part(part, frame)

    def _paint_part(self, part: LabWidget, frame: Frame) -> None:
        try:
            part.paint(frame)
        except Exception as error:
            # The screen is where errors are shown: a part that breaks must not end the others.
            name = type(part).__name__
            self._report(
                f"{name} could not paint", error,
                "The feed and the other parts continue; run the cell again to restore it",
            )  # fmt: skip

    def _report(self, what: str, error: Exception, advice: str) -> None:
        """Log what broke and what to do: a frame breaks like the one before, so once a minute."""
        now_s = time.monotonic()
        known = (what, type(error))
        if now_s - self._reported_s.get(known, -math.inf) > _REPORT_AGAIN_S:
            self._reported_s[known] = now_s
            self.lab.log("error", f"{what}: {type(error).__name__}: {error}. {advice}")

    def _frame(self, *, due: bool) -> Frame:
        if due or self._health is None:
            self._health = self.lab.health()
        return Frame.gather(
            self.lab, self.view, self._health, self._precision, self._decimator, text_due=due
        )


def lab_widgets(lab: LabView) -> PartRegistry:
    """Return the open widgets of a lab; what several have in common is `get` from here."""
    return RenderLoop.of(lab).parts
