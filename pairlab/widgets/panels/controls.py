"""Controls: settings as sliders, segments and fields, linked both ways with `lab.settings`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ipywidgets import (
    HTML,
    Checkbox,
    Dropdown,
    FloatLogSlider,
    FloatSlider,
    HBox,
    Text,
    ToggleButtons,
    VBox,
)  # fmt: skip

from pairlab.errors import SettingError
from pairlab.limits.consistency import largest_z
from pairlab.protocols import LabView
from pairlab.schema import TIMEFRAMES_NS
from pairlab.settings import SETTINGS
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.widget_utils import programmatic_update, set_traits
from pairlab.widgets.panels.typed_number import OFF_WORDS, mark_refused, typed_number
from pairlab.widgets.style.formats import exact, number

__all__ = ["Controls"]

_Z_MAX: Final = 6.0  # entry, exit and stop share one scale: their handles stand as a staircase
_STOP_DEFAULT: Final = 4.0
_HEDGES: Final = (("fixed", "fixed"), ("OLS", "ols"), ("Kalman", "kalman"))
_ECHOES: Final = 8
"""How many values that a slider was set to may still echo from a browser."""


class _Slider(FloatSlider):  # type: ignore[misc]
    """A slider whose range can be made wider for a value outside of it.

    Range and value have to be one message, the range first: the browser would cut the value off
    at the old range, or put the old one into the new range, and send that back as if somebody had
    asked for it.
    """

    def send_state(self, key: Any = None) -> None:
        """Send what changed, the value last: what is held back comes as a set."""
        super().send_state(sorted(key, key="value".__eq__) if isinstance(key, set) else key)


class _EchoFilter:
    """Tells a person's moves of a slider from echoes of what the kernel set.

    A slider reports its value whether a hand moved it or the kernel did, and rounds it to its own
    steps. Each page does so, and one that hung does it late, when the setting is elsewhere
    already: it must not go back. ipywidgets' messages carry no revision that would decide it, so
    this compares values.

    Parameters
    ----------
    slider : ipywidgets slider
        Whose values.
    """

    def __init__(self, slider: Any) -> None:
        self._slider = slider
        self._on_their_way: deque[None] = deque()  # moves that the loop has not handled yet
        self._shown: deque[float] = deque(maxlen=_ECHOES)

    def received(self) -> None:
        """Count a move, on whatever thread it came."""
        self._on_their_way.append(None)

    def is_superseded(self) -> bool:
        """Begin to handle a move; return whether a newer one is on its way already."""
        self._on_their_way.popleft()
        return bool(self._on_their_way)

    @property
    def hand_moves(self) -> bool:
        """Whether moves are on their way: the handle must not jump back under a finger."""
        return bool(self._on_their_way)

    def showing(self, value: float) -> None:
        """Expect echoes of the value that the slider is about to show."""
        if self._slider.continuous_update:
            # The old one, too: a page that opens now begins with it, and says so.
            old = self._slider.value
            self._shown.extend(v for v in (old, value) if v not in self._shown)

    def touched(self) -> None:
        """Treat what the slider reports from now on as a person's: the page said so."""
        self._shown.clear()

    def is_echo(self, value: float) -> bool:
        """Return whether a value is an echo of one that the slider was set to."""
        if any(self.same_position(shown, value) for shown in self._shown):
            return True
        self._shown.clear()
        return False

    def same_position(self, a: float, b: float) -> bool:
        """Return whether two values are the same to the slider, which has its own steps."""
        if isinstance(self._slider, FloatLogSlider):
            return self.same_value(a, b)
        return abs(a - b) <= 0.501 * float(self._slider.step)

    def same_value(self, a: float, b: float) -> bool:
        """Return whether two values are the same setting."""
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9 * self._slider.step)


class _Row:
    """One setting: slider and field; the field takes what the slider cannot reach."""

    def __init__(
        self,
        controls: Controls,
        name: str,
        label: str,
        slider: Any,
        decimals: int,
        whole: bool = False,
        slot: Any = None,
    ) -> None:
        self.name, self.decimals, self.whole = name, decimals, whole
        self._controls = controls
        self.slider = slider
        self._echoes = _EchoFilter(slider)
        slider.description, slider.tooltip = label, _about(name)
        slider.readout = False
        self.field = Text(
            description=label,
            continuous_update=False,
            tooltip=f"{label}: {SETTINGS[name].allowed}",
        ).add_class("pairlab-field")
        self.box = HBox([slider, *([slot] if slot else []), self.field]).add_class("pairlab-row")
        self.box.add_class(f"pairlab-row-{name}")
        controls.on_frontend(slider, "value", self._on_slider, self._echoes.received)
        controls.on_frontend(self.field, "value", self._on_field)

    def show(self, value: float | None) -> None:
        """Move slider and field to a setting's value; None (off) leaves the slider where it is."""
        with programmatic_update():
            self._show(value)

    def _show(self, value: float | None) -> None:
        self.slider.disabled = self.field.disabled = value is None
        if value is None:
            self._set_field("off")
            return
        s = self.slider
        low, high = (s.min, s.max) if not isinstance(s, FloatLogSlider) else (10**s.min, 10**s.max)
        # A ratio below one step stands at 0, and the next step leaps over it.
        too_small = self.name == "hedge_ratio" and abs(value) < s.step
        with s.hold_sync():
            if not low <= value <= high or too_small:
                self._widen(value)
            if not self._echoes.hand_moves and not self._echoes.same_position(s.value, value):
                self._echoes.showing(value)
                s.value = value
        self._set_field(self._text(value))

    def _set_field(self, text: str) -> None:
        if self.field.value != text:
            mark_refused(self.field, None)  # it was of what is replaced now
        set_traits(self.field, value=text)

    def _text(self, value: float) -> str:
        if self.whole:
            return number(value, 0)
        if self.name.endswith("_z"):
            # A threshold that was computed: no chart tells its fourth decimal.
            value = round(value, 3) or value
        return exact(value, self.decimals)

    def _widen(self, value: float) -> None:
        s = self.slider
        if isinstance(s, FloatLogSlider):
            set_traits(s, min=min(s.min, math.log10(value)), max=max(s.max, math.log10(value)))
        elif self.name == "hedge_ratio":
            low, high = sorted((0.0, 2 * value))
            # Wide first: a slider refuses a value that is outside of its range.
            set_traits(s, min=min(low, s.min), max=max(high, s.max))
            s.value = value
            set_traits(s, min=low, max=high, step=(high - low) / 2000)
        else:
            set_traits(s, min=min(s.min, value), max=max(s.max, value))

    def touched(self) -> None:
        """Treat what the slider reports from now on as a person's."""
        self._echoes.touched()

    def _on_slider(self, value: float) -> None:
        if self._echoes.is_superseded() or self._echoes.is_echo(float(value)):
            return
        now, asked = getattr(self._controls.settings, self.name), self._rounded(float(value))
        if now is not None and not self._echoes.same_value(self._rounded(now), asked):
            self._controls.apply(self, asked)

    def _rounded(self, value: float) -> float:
        if self.whole:
            return round(value)
        finer = math.ceil(-math.log10(self.slider.step))
        return round(value, max(self.decimals, 3, finer))

    def _on_field(self, text: str) -> None:
        text = text.strip()
        now = getattr(self._controls.settings, self.name)
        mark_refused(self.field, None)
        if now is None or text == self._text(now):
            return
        try:
            typed = typed_number(self.name, text)
        except SettingError as error:
            self._controls.refuse(self, str(error))
        else:
            self._controls.apply(self, typed)


def _about(name: str) -> str:
    return f"{SETTINGS[name].about} Allowed: {SETTINGS[name].allowed}."


class Controls(LabWidget, VBox):  # type: ignore[misc]
    """Every setting that is changed while watching. A rejected value returns to the old one.

    Parameters
    ----------
    lab : LabView
        Whose settings; changed here or in code, both follow.
    """

    after_input = "values"

    def __init__(self, lab: LabView) -> None:
        self.settings = lab.settings
        self._lab = lab
        ratio = lab.settings.hedge_ratio
        low, high = sorted((0.0, 2 * ratio))
        self._stop_on = Checkbox(
            indent=False, tooltip="Stop: close at a loss", description="Stop"
        ).add_class("pairlab-slot")
        self._require = Checkbox(
            indent=False, tooltip=_about("require_stationary"), description="Require stationary"
        ).add_class("pairlab-require")
        self._rows = {
            row.name: row
            for row in (
                _Row(self, "hedge_ratio", "Hedge ratio β", _Slider(
                    ratio, min=low, max=high, step=(high - low) / 2000,
                    continuous_update=False), 3),
                _Row(self, "window", "Window", FloatLogSlider(
                    50.0, min=1.0, max=math.log10(5000), step=0.005, continuous_update=False),
                    0, whole=True),
                _Row(self, "entry_z", "Entry z", self._threshold(2.0), 2),
                _Row(self, "exit_z", "Exit z", self._threshold(0.5), 2),
                _Row(self, "stop_z", "Stop z", self._threshold(_STOP_DEFAULT), 2,
                     slot=self._stop_on),
                _Row(self, "min_correlation", "Min correlation", _Slider(
                    0.7, min=0.0, max=1.0, step=0.01), 2),
            )
        }  # fmt: skip
        self._p_field = Text(
            description="Level", continuous_update=False, tooltip=_about("max_p_value")
        ).add_class("pairlab-field")
        self._p_note = HTML().add_class("pairlab-p-note")
        self.on_frontend(self._p_field, "value", self._on_p)
        self.on_frontend(self._stop_on, "value", self._on_stop)
        self.on_frontend(
            self._require, "value",
            lambda on: self._try("require_stationary", on, self._show_all),
        )  # fmt: skip
        self._choices = {
            "timeframe": self._choice("timeframe", "Timeframe", [(t, t) for t in TIMEFRAMES_NS]),
            "hedge": self._choice("hedge", "Hedge", list(_HEDGES)),
        }
        head = HTML(
            "<h3>Settings</h3><small class='pairlab-far'>apply from the next tick</small>"
        ).add_class("pairlab-head-text")
        self._hold = Text(
            description="Max hold, s", continuous_update=False, tooltip=_about("max_hold_s")
        ).add_class("pairlab-cost")
        self.on_frontend(self._hold, "value", self._on_hold)
        hold = HBox([self._hold]).add_class("pairlab-row").add_class("pairlab-row-hold")
        require = HBox([self._require, self._p_note, self._p_field]).add_class("pairlab-row")
        boxes = [box for pair in self._choices.values() for box in pair]
        super().__init__(
            [HBox([head]).add_class("pairlab-head"), *boxes,
             *(r.box for r in self._rows.values()), hold,
             require.add_class("pairlab-row-require")]
        )  # fmt: skip
        for style in ("pairlab", "pairlab-panel", "pairlab-settings"):
            self.add_class(style)
        self.join(lab)

    @staticmethod
    def _threshold(value: float) -> FloatSlider:
        return _Slider(value, min=0.0, max=_Z_MAX, step=0.01)

    def _choice(self, name: str, label: str, options: list[tuple[str, str]]) -> tuple[Any, Any]:
        """Return segments for a wide panel and a drop-down for a narrow one: CSS shows one."""
        value = getattr(self.settings, name)
        tip = _about(name)
        segments = ToggleButtons(
            options=options,
            value=value,
            description=label,
            tooltip=tip,
            tooltips=[tip] * len(options),
        ).add_class("pairlab-segments")
        menu = Dropdown(options=options, value=value, description=label, tooltip=tip)
        menu.add_class("pairlab-menu")

        def choose(value: str) -> None:
            self._try(name, value, lambda: self._show_choice(name))

        for widget in (segments, menu):
            self.on_frontend(widget, "value", choose)
        return segments, menu

    # -- from the screen ------------------------------------------------------------------------

    def control_touched(self, setting: str) -> None:
        """Do as `LabWidget.control_touched`."""
        if setting in self._rows:
            self._rows[setting].touched()

    def apply(self, row: _Row, value: float | str) -> None:
        """Change a setting, or log why not and restore the old value."""
        try:
            setattr(self.settings, row.name, value)
        except SettingError as error:
            self.refuse(row, str(error))
        else:
            row.show(getattr(self.settings, row.name))
            mark_refused(row.field, None)

    def refuse(self, row: _Row, why: str) -> None:
        """Log why a value was rejected and restore the old one."""
        self._say(why)
        row.show(getattr(self.settings, row.name))
        mark_refused(row.field, why)

    def _say(self, why: str) -> None:
        log = self._lab.event_log
        if not log or log[-1].message != why:
            self._lab.log("warning", why)

    def _try(self, name: str, value: object, show: Callable[[], None]) -> None:
        if getattr(self.settings, name) == value:
            return
        try:
            setattr(self.settings, name, value)
        except SettingError as error:
            self._say(str(error))
        # In both cases what is on the screen follows the setting.
        show()

    def _on_stop(self, on: bool) -> None:
        wanted = None
        if on:
            # Beyond the entry, wherever its handle was left, and where z can get to.
            entry = self.settings.entry_z
            left_at = float(self._rows["stop_z"].slider.value)
            wanted = left_at if left_at > entry else entry + 2
            ceiling = math.floor(100 * largest_z(self.settings.window)) / 100
            if self.settings.hedge != "kalman" and entry < ceiling < wanted:
                wanted = ceiling
        if (wanted is None) != (self.settings.stop_z is None):
            self._try("stop_z", wanted, self._show_all)
            self._show_all()

    def _on_hold(self, text: str) -> None:
        text = text.strip()
        why = None
        if text != self._hold_text():
            try:
                off = text.lower() in OFF_WORDS
                self.settings.max_hold_s = None if off else typed_number("max_hold_s", text)
            except SettingError as error:
                why = str(error)
                self._say(why)
        self._show_all()
        mark_refused(self._hold, why)

    def _hold_text(self) -> str:
        value = self.settings.max_hold_s
        return f"{value:g}" if value else "off"

    def _on_p(self, text: str) -> None:
        mark_refused(self._p_field, None)
        text = text.strip()
        if text != exact(self.settings.max_p_value, 3):
            try:
                self.settings.max_p_value = typed_number("max_p_value", text)
            except SettingError as error:
                self._say(str(error))
                self._show_all()
                mark_refused(self._p_field, str(error))
                return
        self._show_all()

    # -- from the settings ----------------------------------------------------------------------

    def paint(self, frame: Frame) -> None:
        """Move every control to its setting, if one of them has changed."""
        if self.changed("values", frame.settings):
            self._show_all()

    def _show_all(self) -> None:
        with programmatic_update():
            self._show_settings()

    def _show_settings(self) -> None:
        for name, row in self._rows.items():
            row.show(getattr(self.settings, name))
        fixed = self.settings.hedge == "fixed"
        ratio = self._rows["hedge_ratio"]
        set_traits(ratio.slider, disabled=not fixed)
        set_traits(ratio.field, disabled=not fixed)
        set_traits(self._stop_on, value=self.settings.stop_z is not None)
        set_traits(self._require, value=self.settings.require_stationary)
        on = "on" if self.settings.require_stationary else "off"
        self._p_note.value = f"<small>{on} · level</small>"
        if self._hold.value != self._hold_text():
            mark_refused(self._hold, None)
        set_traits(self._hold, value=self._hold_text())
        p_value = exact(self.settings.max_p_value, 3)
        if self._p_field.value != p_value:
            mark_refused(self._p_field, None)
        set_traits(self._p_field, value=p_value)
        for name in self._choices:
            self._show_choice(name)

    def _show_choice(self, name: str) -> None:
        with programmatic_update():
            for widget in self._choices[name]:
                set_traits(widget, value=getattr(self.settings, name))
