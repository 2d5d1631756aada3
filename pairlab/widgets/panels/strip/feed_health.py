"""The feed in one indicator: name, state, whether it is healthy; and the figures behind it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from ipywidgets import Box, Button, VBox

from pairlab.limits.consistency import leg_age_limit_s
from pairlab.schema import NS_PER_S
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.panels.record_button import recording_words
from pairlab.widgets.panels.strip.state_badges import STATE_BADGES
from pairlab.widgets.style.formats import MISSING, age, count, number, quantity_ms, safe
from pairlab.widgets.style.theme import icon, var
from pairlab.widgets.transport.message_batching import HTML

if TYPE_CHECKING:
    from pairlab.health import Health
    from pairlab.widgets.core.render_loop import RenderLoop

__all__ = ["FeedHealth", "Verdict", "verdict_of"]

_ALIVE: Final = ("live", "stalled", "reconnecting")
_OLD_LEG_SHARE: Final = 0.5
"""From this share of the limit on, a leg's age is shown as a warning."""

_LATE_MS: Final = 1_000.0
"""A stream whose median lag, or a kernel whose p99 from receipt to row, is above it is late: an
entry would be decided on prices of a second ago."""


class Verdict(NamedTuple):
    """Whether a live feed is healthy, in words.

    Attributes
    ----------
    healthy : bool
        Nothing below is to be looked at.
    words : str
        What is wrong, the worst first; else its rate.
    """

    healthy: bool
    words: str


def verdict_of(health: Health, old_leg: str) -> Verdict:
    """Return whether a live feed is healthy.

    Parameters
    ----------
    health : Health
        State and counters.
    old_leg : str
        Which leg has not traded for long and how long, such as ``"ETHUSDT 12 s old"``; empty if
        none.
    """
    if old_leg:
        return Verdict(False, old_leg)
    if health.gaps:
        plural = "s" if health.gaps > 1 else ""
        return Verdict(False, f"{count(health.gaps)} gap{plural} · {count(health.missing)} missing")
    if health.real_money and health.lag_p50_ms > _LATE_MS:  # a market of one's own has its clock
        return Verdict(False, f"{number(health.lag_p50_ms / 1e3, 1)} s behind")
    if health.row_p99_ms > _LATE_MS:
        return Verdict(False, f"kernel late by {number(health.row_p99_ms / 1e3, 1)} s")
    return Verdict(True, f"healthy · {_rate(health.ticks_per_s)} ticks/s")


class FeedHealth:
    """The cell of the feed in the status bar, and the panel of its figures.

    Attributes
    ----------
    cells : dict
        HTML by name: ``feed`` stands in the bar; ``rate``, ``lag``, ``ages`` and ``gaps`` in the
        panel that it opens.
    opener : ipywidgets.Button
        Lies over the cell of the feed.
    box, detail : ipywidgets.Box
        The cell with its button; the panel.
    """

    def __init__(self) -> None:
        names = ("feed", "rate", "lag", "ages", "gaps")
        self.cells = {n: HTML(description=n).add_class(f"pairlab-cell-{n}") for n in names}
        for cell in self.cells.values():
            cell.add_class("pairlab-cell")
        self.opener = Button(description="Feed details").add_class("pairlab-opener")
        self.box = Box([self.cells["feed"], self.opener]).add_class("pairlab-feed-box")
        figures = [self.cells[name] for name in names[1:]]
        self.detail = VBox([HTML("<h3>Feed</h3>"), *figures]).add_class("pairlab-feed-detail")
        self._newest: tuple[object, ...] = ()
        self._tick_came_ns = 0

    def silence_s(self, frame: Frame, loop: RenderLoop) -> float:
        """Return the seconds since the newest tick; 0 for what an ordinary frame rate explains."""
        newest = (frame.newest_ns, frame.cursor)
        if newest != self._newest:
            self._newest, self._tick_came_ns = newest, frame.now_ns
        quiet_s = (frame.now_ns - self._tick_came_ns) / NS_PER_S
        alive = frame.health.state in _ALIVE and loop.lab.playback is None
        return quiet_s if quiet_s > 1 and alive else 0.0

    def paint(self, frame: Frame, loop: RenderLoop, *, opened: bool) -> None:
        """Update what has changed: of the figures nothing while nobody sees them."""
        row, limit_s = frame.live, leg_age_limit_s(frame.values)
        ages = (math.nan, math.nan)
        if row is not None:
            # Rows carry ages at trade time; while nothing comes, both grow by the silence.
            silence_s = self.silence_s(frame, loop)
            ages = (row.y_age_s + silence_s, row.x_age_s + silence_s)
        oldest = max(zip(ages, loop.lab.pair, strict=True))
        old = oldest[0] >= _OLD_LEG_SHARE * limit_s
        self._paint_feed(frame.health, loop, f"{oldest[1]} {age(oldest[0])} s old" if old else "")
        if opened:
            self._paint_figures(frame, loop, ages, old=old)

    def _paint_figures(
        self, frame: Frame, loop: RenderLoop, ages: tuple[float, float], *, old: bool
    ) -> None:
        h, pair = frame.health, loop.lab.pair
        known = h.state in ("live", "stalled") or (h.state == "stopped" and h.ticks > 0)
        rate = _rate(h.ticks_per_s) if known else MISSING
        self._set("rate", _line("ticks/s", rate), f"{count(h.ticks)} ticks accepted, {_drops(h)}")
        lag = MISSING
        if known and math.isfinite(h.lag_p50_ms):
            lag = f"{quantity_ms(h.lag_p50_ms)} / {quantity_ms(h.lag_p99_ms)}"
        unit = "" if lag == MISSING else "ms"
        self._set("lag", _line("lag p50 / p99", lag, unit), _way_words(h, loop))
        text = MISSING if frame.live is None else f"{age(ages[0])} / {age(ages[1])}"
        self._set(
            "ages",
            _line("age y / x", text, "" if frame.live is None else "s", warn=old),
            f"Since the last trade: {pair.y} {age(ages[0])} s, {pair.x} {age(ages[1])} s; "
            f"no entry from {leg_age_limit_s(frame.values):g} s on",
        )
        gaps = MISSING if h.state == "failed" and not h.ticks else count(h.gaps)
        self._set(
            "gaps",
            _line("gaps", gaps, warn=h.gaps > 0),
            f"Gaps in the trade ids that could not be filled: {count(h.missing)} trades missing",
        )

    def _paint_feed(self, health: Health, loop: RenderLoop, old_leg: str) -> None:
        recordings, replay = loop.lab.recordings, loop.lab.playback
        below, tone, verdict = f"{health.feed} · {health.detail}", "", ""
        if health.state == "live" and replay is not None:
            # Not "live": what the screen shows was recorded, and when.
            date = f"{datetime.fromtimestamp(replay.position_ns / NS_PER_S, UTC):%Y-%m-%d}"
            badge = ("replay", "play" if replay.playing else "pause", f"{health.feed} · {date}")
            below = f"{health.stream} · {health.detail}"
        elif health.state == "live":
            kind, sign = ("live", "dot") if health.real_money else ("sim", "diamond")
            badge = (kind, sign, f"{health.feed} · {_state(health)}")
            healthy, words = verdict_of(health, old_leg)
            tone = icon("check", var("corr")) if healthy else icon("warning", var("warn"))
            recording = "" if recordings is None else recording_words(recordings.newest)
            below, verdict = recording or words, f" {words}."
        else:
            badge = STATE_BADGES[health.state]
            if health.state == "failed" and "HTTP " in health.detail:
                status = health.detail.split("HTTP ", 1)[1][:3]
                badge = ("fail", "times", f"FAILED · HTTP {status}")
                below = f"{health.feed} · not retried"
        kind, sign, words = badge
        tooltip = (
            f"{health.feed}: {_state(health)}. {health.detail}.{verdict} "
            f"{health.reconnects} reconnects, {count(health.ticks)} ticks of {health.stream} "
            f"in {_uptime(health.uptime_s)}. "
            + ("Real market." if health.real_money else "Not real money: no live market.")
        )
        self._set(
            "feed",
            f'<div class="pairlab-badge pairlab-badge-{kind}">{icon(sign, size=11)}<span>'
            f'{safe(words)}</span></div><div class="pairlab-two">{tone}{safe(below)}</div>',
            tooltip,
        )
        set_traits(self.opener, tooltip=f"Feed details\n{tooltip}")

    def _set(self, name: str, text: str, tooltip: str) -> None:
        set_traits(self.cells[name], value=text, tooltip=tooltip)


def _state(health: Health) -> str:
    """Return the state's word: only a real market is live."""
    if health.state != "live" or health.real_money:
        return health.state
    return "playing" if health.feed == "RECORDING" else "running"


def _rate(ticks_per_s: float) -> str:
    return number(ticks_per_s, 0 if ticks_per_s >= 9.5 else 1)


def _line(name: str, shown: str, unit: str = "", *, warn: bool = False) -> str:
    sign = icon("warning", var("warn"), 12) if warn else ""
    unit = f"<small> {safe(unit)}</small>" if unit else ""
    kind = "pairlab-number pairlab-warn" if warn else "pairlab-number"
    return (
        f'<div class="pairlab-caption">{safe(name)}</div>'
        f'<div class="{kind}">{sign}{safe(shown)}{unit}</div>'
    )


def _way_words(h: Health, loop: RenderLoop) -> str:
    """Return how long every stretch of the way to the screen takes."""
    drawn = loop.latency.p50_p99_ms()
    ways = [
        ("From the exchange's event to its receipt here, corrected by the clocks' offset",
         h.lag_p50_ms, h.lag_p99_ms),
        ("Receipt to row", h.row_p50_ms, h.row_p99_ms),
        ("Receipt until the browser has drawn the row first", *drawn),
    ]  # fmt: skip
    lines = [f"{name}: {quantity_ms(p50)} / {quantity_ms(p99)} ms" for name, p50, p99 in ways]
    return "Median / 99 %.\n" + "\n".join(lines)


def _uptime(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}"


def _drops(health: Health) -> str:
    dropped = {reason: n for reason, n in health.dropped.items() if n}
    if not dropped:
        return "none dropped"
    return "dropped: " + ", ".join(f"{n:,} {reason}" for reason, n in dropped.items())
