"""What the parts of one lab on the screen share, and the clock that paints them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import WeakValueDictionary

import numpy as np

from pairlab.protocols import LabView
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.kernel_hooks import CellHooks
from pairlab.widgets.core.time_axis import TimeAxis
from pairlab.widgets.core.view_state import ViewState
from pairlab.widgets.core.widget_utils import close_tree, is_programmatic, programmatic_update, tree
from pairlab.widgets.style.precision import Precision
from pairlab.widgets.style.theme import var
from pairlab.widgets.transport.bqplot_marks import BrushIntervalSelector, IndexSelector, LinearScale
from pairlab.widgets.transport.frontend_channel import FramePacer, FrontendChannel
from pairlab.widgets.transport.message_batching import bundled
from pairlab.widgets.transport.pointer import Pointer
from pairlab.widgets.transport.render_latency import RenderLatency
from pairlab.widgets.transport.resync import StateResync

if TYPE_CHECKING:
    from pairlab.health import Health
    from pairlab.widgets.core.lab_widget import LabWidget

__all__ = ["RenderLoop"]

_TELL_AGAIN_S: Final = 60.0
_SLOW_PER_S: Final = 8
"""Frames a second below which each of them sets the texts, too."""

_BUSY: Final = 5
"""Painting may take one part in this many of the loop's time; a slow kernel paints less often."""


class RenderLoop(ViewState):
    """The parts of one lab, what they share (the view, its scales and selectors), the painting.

    Attributes
    ----------
    offset_scale : bqplot.LinearScale
        ms before the right edge. Lines hang on it: they are sent anew whenever the view moves, and
        so the scale never changes.
    time_scale : bqplot.LinearScale
        ms since 1970. What stands still in time hangs on it: axis, markers, pointer.
    """

    _screens: ClassVar[WeakValueDictionary[int, RenderLoop]] = WeakValueDictionary()

    def __init__(self, lab: LabView) -> None:
        super().__init__(lab)
        self.frames_per_s = 10.0
        self.measured_frames_per_s = float("nan")
        self.frame_p50_ms = float("nan")
        self.lag = RenderLatency()
        self.places = Precision(lab)
        self.shows_signal = False  # in a narrow dashboard, instead of the latest row
        self._clock = TimeAxis()
        self.offset_scale, self.time_scale = self._clock.offset_scale, self._clock.time_scale
        self.time_axes = self._clock.axes
        self.unit_scale = LinearScale(min=0.0, max=1.0, allow_padding=False)
        # One of each for all charts: the browser moves them together, before the kernel hears.
        self.pointer_selector = IndexSelector(
            scale=self.time_scale, line_width=1, color=var("muted"), marks=[]
        )
        self.brush_selector = BrushIntervalSelector(
            scale=self.time_scale, color=var("focus"), marks=[]
        )
        self.mouse = Pointer(self.on_frontend(self._on_mouse))
        self.pointer_selector.observe(self.on_frontend(self._on_pointer), "selected")
        self.brush_selector.observe(self._on_brush, ["selected", "brushing"])
        self._parts: list[LabWidget] = []
        self._healer = StateResync()
        self.pace = FramePacer()
        self.pulse = FrontendChannel(self.on_frontend(self._on_pulse))
        self._cells = CellHooks(self._on_cell_begin, self._on_cell_end)
        self._timer: asyncio.TimerHandle | None = None
        self._refreshing = False
        self.pressed_page = ""  # in which the export's buttons were used last
        self.making = 0  # parts inside of which another one is being made
        self._loop: asyncio.AbstractEventLoop | None = None
        self.frames_painted = 0
        self._since_s = time.monotonic()
        self._spent_s: list[float] = []
        self._told_s: dict[tuple[str, type[Exception]], float] = {}
        self.made: dict[tuple[type, Hashable], Any] = {}  # by class and arguments
        self._health: Health | None = None
        lab.settings.observe(self._on_timeframe, "timeframe")
        lab.settings.observe(self._on_setting)

    @classmethod
    def of(cls, lab: LabView) -> RenderLoop:
        """Return the lab's screen: several views of a lab cost one set of updates."""
        screen = cls._screens.get(id(lab))
        if screen is None:
            screen = cls._screens[id(lab)] = cls(lab)
            lab.attach(screen)
        return screen

    # -- parts ----------------------------------------------------------------------------------

    def join(self, part: LabWidget) -> None:
        """Add a part, show it what there is, and keep it painted."""
        self._parts.append(part)
        self._cells.start()
        with programmatic_update():
            self._paint_part(part, self._frame(due=True))
        self.start()

    def leave(self, part: LabWidget) -> None:
        """Remove a part; with the last one the painting ends."""
        if part in self._parts:
            self._parts.remove(part)
        self.made = {key: made for key, made in self.made.items() if made is not part}
        if all(part.still for part in self._parts):
            self._rest()

    def pictures(self) -> dict[str, list[str]]:
        """Return the charts by their captions: the CSS classes of those that show the same."""
        found: dict[str, list[str]] = {}
        for part in self._parts:
            if part.caption:
                found.setdefault(part.caption, []).append(part.picture_class)
        return found

    def start(self) -> None:
        """Paint from now on, on the lab's loop, if the lab runs and there is something to paint."""
        loop = self.lab.loop
        moving = not all(part.still for part in self._parts)
        if self._timer is None and moving and self.lab.running and loop is not None:
            self._loop = loop
            self._timer = loop.call_later(1 / self.frames_per_s, self._tick)

    def refresh(self) -> None:
        """Paint once, soon, if the clock rests: a lab that has stopped is used, too."""
        if self._timer is None and self._parts and not self._refreshing:
            self._refreshing = True
            self.lab.call_on_loop(self._refresh)

    def _refresh(self) -> None:
        self._refreshing = False
        if self._timer is None:
            self.paint(due=True)

    def _on_setting(self, _: Any) -> None:
        self.refresh()

    def finish(self) -> None:
        """Paint the end and rest; everything stays on the screen."""
        self._rest()
        for part in list(self._parts):
            part.finish()
        self.paint(due=True)

    def close(self) -> None:
        """Close every widget of every part."""
        if self._screens.pop(id(self.lab), None) is None:
            return
        self._rest()
        self._cells.stop()
        self.lab.settings.unobserve(self._on_timeframe, "timeframe")
        self.lab.settings.unobserve(self._on_setting)
        parts, self._parts = self._parts, []
        close_tree(parts)
        close_tree(self.shared())

    def shared(self) -> list[Any]:
        """Return the widgets that belong to no part alone."""
        return [
            self.offset_scale, self.time_scale, self.unit_scale, *self.time_axes,
            self.pointer_selector, self.brush_selector, self.mouse, self.pulse,
        ]  # fmt: skip

    def take_down(self, widget: Any) -> None:
        """Close a widget and everything below it, but for what other parts have."""
        mine = set(tree(widget))
        others = [p for p in self._parts if p not in mine and widget not in set(tree(p))]
        own = [p for p in self._parts if p in mine and p.by_hand and p is not widget]
        spared = set(tree([others, own, self.shared()]))
        for part in [p for p in self._parts if p in mine - spared]:
            self.leave(part)
            if part is not widget:
                part.close()
        close_tree(widget, frozenset(map(id, spared)))

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- what the person does -------------------------------------------------------------------

    def health(self, due: bool) -> Health:
        """Return the lab's health: taken anew for frames whose text is painted."""
        if due or self._health is None:
            self._health = self.lab.health()
        return self._health

    def on_frontend(self, work: Callable[..., Any]) -> Callable[[Any], None]:
        """Return a callback for the front end's messages that does `work` on the lab's loop.

        ipykernel runs them on threads of its own. What the kernel shows by itself is not handed
        over: it would come back late, as if somebody had asked for the old value.
        """

        def received(change: Any) -> None:
            if not is_programmatic():
                self.lab.call_on_loop(self._attempt, work, change)

        return received

    def _attempt(self, work: Callable[..., Any], change: Any) -> None:
        try:
            work(change)
        except Exception as error:
            # On the loop nobody would see it.
            self._tell(
                "what you asked for on the screen failed", error,
                "Nothing else was touched; try again, or set it in code",
            )  # fmt: skip
        self.refresh()

    def _on_pointer(self, change: Any) -> None:
        if self._aimed is not None:
            return  # the mouse says the same, and says it as a place that does not move
        chosen = change["new"]
        self.point(float(chosen[0]) if chosen is not None and len(chosen) else None)

    def _on_mouse(self, share: float | None) -> None:
        if share is None or self.selecting:
            self.point(None)
        elif isinstance(share, int | float) and 0 <= share <= 1 and len(self.rows()):
            self.aim(share)

    def _on_brush(self, _: Any) -> None:
        # Read here, when the message comes: by the time that the loop turns, another may have come.
        brushing, chosen = self.brush_selector.brushing, self.brush_selector.selected
        known = chosen is not None and len(chosen) == 2
        ends_ms = (float(chosen[0]), float(chosen[1])) if known else None
        self.on_frontend(lambda _: self._brushed(brushing, ends_ms))(None)

    def _brushed(self, brushing: bool, ends_ms: tuple[float, float] | None) -> None:
        self.brush(brushing, ends_ms)
        if not self.brush_selector.brushing:
            # From now on a mark shows the span: it is clipped at the edges of the view.
            with programmatic_update():
                self.brush_selector.selected = None

    # -- painting -------------------------------------------------------------------------------

    def _tick(self) -> None:
        started_s, now_s = time.perf_counter(), time.monotonic()
        to_do = self.pace.decide(now_s)
        if to_do != "wait":
            frame = self.pace.send(now_s, ask=to_do == "ask")
            try:
                with self._bundled(**({} if frame is None else {"frame": frame})):
                    if to_do == "paint":
                        self._paint_frame(self.pace.shown(now_s))
                if to_do == "paint":
                    answers = self.pace.answers
                    self.lag.sent(self.lab, time.time_ns(), asked=frame, answers=answers)
            except Exception as error:
                # The next frame has to come, whatever befell this one on its way; and what this one
                # had is on no page, though the kernel believes so.
                self._healer.begin()
                self._tell(
                    "a frame could not be sent", error,
                    "Feed, signals and history go on; run the cell again",
                )  # fmt: skip
        if to_do != "paint" and not self.pace.looking(now_s):
            self.lag.rest()
            self.point(None)
        spent_s = time.perf_counter() - started_s
        self._measure(spent_s if to_do == "paint" else None)
        if self._timer is not None and self._loop is not None and not self._loop.is_closed():
            wait_s = max(1 / self.frames_per_s - spent_s, _BUSY * spent_s)
            self._timer = self._loop.call_later(wait_s, self._tick)

    def _paint_frame(self, shown: frozenset[str] | None) -> None:
        self.frames_painted += 1
        # Where frames are seldom a head would tell of a row long before the one its line ends at.
        slow = min(self.frames_per_s, self.measured_frames_per_s) < _SLOW_PER_S
        due = self.frames_painted % 2 == 0 or slow
        try:
            parts = [p for p in self._parts if shown is None or p.model_id in shown]
            self._paint(parts, due)
            if due:
                self._healer.heal([parts, self.shared()])
        except Exception as error:
            self._tell(
                "the dashboard could not paint", error,
                "Feed, signals and history go on; run the cell again",
            )  # fmt: skip

    def _on_pulse(self, content: Any) -> None:
        if self.pace.heard(content, time.monotonic()):
            self._healer.begin()
        if content.get("pressed"):
            self.pressed_page = str(content.get("page"))
        if isinstance(control := content.get("hand"), str):
            for part in list(self._parts):
                part.touched(control)
        if isinstance(token := content.get("saved"), str):
            failed = content.get("failed")
            for part in list(self._parts):
                part.saved(token, None if failed is None else str(failed))
        if isinstance(drawn := content.get("drawn"), int):
            self.lag.drawn(drawn, time.time_ns())

    def _on_cell_begin(self) -> None:
        self.pace.deafen()
        self.lag.rest()  # answers wait behind the cell

    def _on_cell_end(self) -> None:
        self.pace.listen(time.monotonic())

    def _measure(self, spent_s: float | None) -> None:
        if spent_s is not None:
            self._spent_s.append(spent_s)
        elapsed_s = time.monotonic() - self._since_s
        if elapsed_s >= 1:
            self.measured_frames_per_s = len(self._spent_s) / elapsed_s
            if self._spent_s:
                self.frame_p50_ms = 1e3 * sorted(self._spent_s)[len(self._spent_s) // 2]
            self._spent_s.clear()
            self._since_s = time.monotonic()

    def paint(self, *, due: bool) -> None:
        """Paint every part once, whether anybody looks or not."""
        self._paint(list(self._parts), due)

    def _paint(self, parts: list[LabWidget], due: bool) -> None:
        frame = self._frame(due=due)
        with programmatic_update(), self._bundled():
            self._clock.place(frame)
            self._place_pointer(frame)
            for part in parts:
                self._paint_part(part, frame)

    def _bundled(self, **also: Any) -> AbstractContextManager[None]:
        # Until a page has said that it takes bundles apart, none is sent.
        known = self.pace.looking(time.monotonic()) is not None
        return bundled(self.pulse.carrier if known else None, **also)

    def _paint_part(self, part: LabWidget, frame: Frame) -> None:
        try:
            part.paint(frame)
        except Exception as error:
            # The screen is where errors are shown: a part that breaks must not end the others.
            name = type(part).__name__
            self._tell(
                f"{name} could not paint", error,
                "The feed and the other parts go on; to get it back run the cell again",
            )  # fmt: skip

    def _tell(self, what: str, error: Exception, advice: str) -> None:
        """Say what broke and what to do: a frame breaks like the one before, so once a minute."""
        now_s = time.monotonic()
        known = (what, type(error))
        if now_s - self._told_s.get(known, -math.inf) > _TELL_AGAIN_S:
            self._told_s[known] = now_s
            self.lab.log("error", f"{what}: {type(error).__name__}: {error}. {advice}")

    def _frame(self, *, due: bool) -> Frame:
        lab = self.lab
        rows = self.rows()
        if self._aimed is not None:
            self.aim(self._aimed)
        looks = (
            lab.rows.epoch, self.span_s, self.window_ns, self.cleared_ns, self.pointer_ns,
            self.paused and self.paused_ns, self.selected and self.selected.number,
            lab.selected_ns, self.brushing, self.selecting,
        )  # fmt: skip
        frame = Frame(self, rows, looks, due)
        pinned = self.pointer_ns
        if (
            pinned is not None
            and not frame.start_ns <= pinned <= frame.edge_ns + 1e6 * frame.pad_ms
        ):
            self.pointer_ns = frame.pointer_ns = None  # it has left the view with its row
        return frame

    def _place_pointer(self, frame: Frame) -> None:
        at, have = frame.pointer_ns, self.pointer_selector.selected
        if at is None:
            if have is not None and len(have):
                self.pointer_selector.selected = None
        elif have is None or not len(have) or round(float(have[0]) * 1e6) != at:
            self.pointer_selector.selected = np.array([at / 1e6])
