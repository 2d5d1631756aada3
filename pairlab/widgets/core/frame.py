"""One picture to be painted."""

from __future__ import annotations

import bisect
import math
import time
from functools import cached_property
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.alerts import Alert, Snapshot
from pairlab.schema import NS_PER_S, Records
from pairlab.settings import SettingValues
from pairlab.widgets.charts.decimation import COLUMNS, Decimated
from pairlab.widgets.core.view_state import PAD
from pairlab.widgets.style.formats import clock, day
from pairlab.widgets.style.precision import Precision
from pairlab.widgets.style.theme import SIZES

if TYPE_CHECKING:
    from pairlab.health import Health
    from pairlab.widgets.core.render_loop import RenderLoop

__all__ = ["Frame"]

_MARKERS_KEPT: Final = 300
_DAY_NS: Final = 86_400 * NS_PER_S
_TIME_PX: Final = {False: 32, True: 54}  # half of a time of day, and of one with its day


class Frame:
    """One picture to be painted: gathered once, read by every part.

    Attributes
    ----------
    health : Health
        Never paused: the strip always tells the truth.
    values : dict
        Every setting, those that define a metric as the rows were made with them.
    settings : dict
        Every setting as it is asked for.
    rows : array of pairlab.ROW
        All rows held, or those of the moment at which the view was paused.
    latest : Snapshot or None
        The newest of them (at bar timeframes: the forming bar).
    live : Snapshot or None
        The newest row whether paused or not.
    shown : array of pairlab.ROW
        Those in view and one before, from which lines come into it.
    inside : array of pairlab.ROW
        Those in view.
    version : tuple
        Differs from the last frame's if, and only if, anything may look different.
    picture : tuple
        The same for the charts alone: while the view is held, new rows do not change them.
    held : bool
        The view stands on a part of the history; else it follows the newest rows.
    text_due : bool
        False in frames that only move charts: nobody reads numbers at the frame rate.
    """

    def __init__(
        self, screen: RenderLoop, rows: Records, looks: tuple[Any, ...], due: bool
    ) -> None:
        self._screen = screen
        lab = screen.lab
        self.health: Health = screen.health(due)
        self.values: SettingValues = lab.row_settings
        self.settings: SettingValues = lab.settings.values()
        self.live: Snapshot | None = lab.latest()
        self.rows = rows
        self.held = screen.window_ns is not None
        self.text_due = due
        self.now_ns = time.time_ns()
        self.pointer_ns = screen.pointer_ns
        if screen.paused and len(rows):
            self.latest: Snapshot | None = Snapshot.of(rows[-1])
        else:
            self.latest = self.live
        self.selected_ns = lab.selected_ns
        times = rows["time_ns"]
        if screen.window_ns is not None:
            self.start_ns, self.edge_ns = screen.window_ns
            self.span_ns = max(self.edge_ns - self.start_ns, 1)
        else:
            self.span_ns = round(screen.span_s * NS_PER_S)
            self.edge_ns = int(rows[-1]["time_ns"]) if len(rows) else 0
            self.start_ns = self.edge_ns - self.span_ns
        if not self.held or screen.held_to_brush:
            self.start_ns = max(self.start_ns, screen.cleared_ns)
        # Bisecting looks at a few rows; searchsorted would first copy the whole strided column.
        first = max(bisect.bisect_left(times, self.start_ns) - 1, 0)
        last = bisect.bisect_right(times, self.edge_ns) if self.held else len(rows)
        self.shown = rows[first:last]
        self.inside = self.shown[bisect.bisect_left(self.shown["time_ns"], self.start_ns) :]
        self._first = first
        self._total = 0 if screen.paused else lab.rows.end
        self.version = (len(rows), self._total, *looks)
        if self.held:
            oldest = int(self.shown[0]["time_ns"]) if len(self.shown) else 0
            self.picture: tuple[Any, ...] = (oldest, len(self.shown), *looks)
        else:
            self.picture = self.version

    @cached_property
    def thinned(self) -> Decimated:
        """The rows in view, grouped for drawing."""
        if self.held or self._screen.paused or len(self.shown) <= 2 * COLUMNS:
            return Decimated.of(self.shown, self.edge_ns, self.span_ns)
        lab = self._screen.lab
        return self._screen.follower.thinned(
            self.rows, self._first, self._total, lab.rows.epoch, self.edge_ns, self.span_ns
        )

    @property
    def live_ns(self) -> int:
        """Exchange time of the newest row; while a bar forms, of its last tick."""
        if self.live is None or self.live.provisional:
            return self._screen.lab.newest_ns
        return self.live.time_ns

    @property
    def pad_ms(self) -> float:
        """Room for the dot at a line's end, beyond the edge."""
        return self.span_ns / 1e6 * PAD

    @property
    def fine(self) -> bool:
        """Whether times are told in ms: they are at tick, in seconds at bars."""
        return bool(self.values.timeframe == "tick")

    @property
    def days(self) -> bool:
        """Whether the view covers more than a day, so that a time of day alone says little."""
        return self.span_ns > _DAY_NS

    def when(self, time_ns: int) -> str:
        """Return a time in view as it is read under the pointer."""
        time_of_day = clock(time_ns, milliseconds=self.fine)
        return f"{day(time_ns)} {time_of_day}" if self.days else time_of_day

    @property
    def time_read_ms(self) -> float:
        """Where on the axis the time under the pointer is told; infinity where none is."""
        if self.pointed is None:
            return math.inf
        # Not over the day at the left, nor with a half of it outside.
        left_ns = self.edge_ns - self.span_ns * (1 - _TIME_PX[self.days] / SIZES.plot_width)
        return max(self.pointed.time_ns, left_ns) / 1e6

    @cached_property
    def spread_places(self) -> int:
        """Decimals of the newest rows' spread, mean and σ."""
        return self._screen.places.spread(self.rows, self.values)

    @cached_property
    def spread_places_in_view(self) -> int:
        """The same of the rows that the charts show."""
        if not self.held:
            return self.spread_places
        return Precision(self._screen.lab).spread(self.shown, self.values)

    @cached_property
    def ratio_places(self) -> int:
        """Decimals of β."""
        return self._screen.places.ratio(self.read, self.values)

    @cached_property
    def alerts_key(self) -> tuple[int, int, int, int]:
        """Differs from another frame's where `alerts` may."""
        # Beyond the view by one span, so that markers are sent when an alert comes, not as the
        # view moves; they stand on the absolute time scale and are clipped at its edges.
        page = self.edge_ns // max(self.span_ns, 1)
        held = self.held and not self._screen.held_to_brush
        cleared_ns = 0 if held else self._screen.cleared_ns
        since_ns = max((page - 1) * self.span_ns, cleared_ns)
        until_ns = (page + 1) * self.span_ns
        return self._screen.lab.alert_log.total, self.span_ns, since_ns, until_ns

    @cached_property
    def alerts(self) -> list[Alert]:
        """The newest alerts in view and within a span beside it, oldest first."""
        _, _, since_ns, until_ns = self.alerts_key
        log = self._screen.lab.alert_log
        newest = takewhile(lambda a: a.time_ns >= since_ns, log.newest_first())
        shown = (a for a in newest if a.time_ns <= until_ns)
        return list(islice(shown, _MARKERS_KEPT))[::-1]

    @cached_property
    def alerts_ms(self) -> NDArray[np.float64]:
        """When they were decided, ms since 1970."""
        return np.array([a.time_ns / 1e6 for a in self.alerts], dtype=np.float64)

    @cached_property
    def alerts_of(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Their kinds and sides."""
        kinds = [int(a.kind) for a in self.alerts]
        return np.array(kinds, dtype=np.int64), np.array([a.side for a in self.alerts], np.int64)

    @cached_property
    def pointed(self) -> Snapshot | None:
        """The row under the pointer, else None."""
        if self.pointer_ns is None or not len(self.shown):
            return None
        at = bisect.bisect_right(self.shown["time_ns"], self.pointer_ns) - 1
        return Snapshot.of(self.shown[max(at, 0)])

    @cached_property
    def end(self) -> Snapshot | None:
        """The row at which the lines end; a bar that forms is not drawn."""
        return Snapshot.of(self.shown[-1]) if len(self.shown) else None

    @property
    def read(self) -> Snapshot | None:
        """The row whose numbers the headers show: under the pointer, else the latest in view."""
        return self.pointed or (self.end if self.held else self.latest)
