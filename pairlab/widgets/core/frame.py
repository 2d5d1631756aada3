"""One picture to be painted: gathered once, frozen, read by every widget."""

from __future__ import annotations

import bisect
import math
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.alerts import Alert, SettingChange, thresholds_of
from pairlab.costs import profit
from pairlab.data.alert_log import AlertLog
from pairlab.data.row_store import Cursor
from pairlab.health import Health
from pairlab.protocols import LabView
from pairlab.schema import NO_TIME_NS, NS_PER_S, AlertKind, Records, Snapshot
from pairlab.settings import SettingValues
from pairlab.widgets.charts.decimation import COLUMNS, Decimated, IncrementalDecimator
from pairlab.widgets.core.recorded_past import NO_PAST, Past
from pairlab.widgets.core.view import View
from pairlab.widgets.core.view_state import PAD, ViewState
from pairlab.widgets.style.formats import clock, day
from pairlab.widgets.style.precision import Precision
from pairlab.widgets.style.theme import SIZES

__all__ = ["Frame"]

_MAX_MARKERS: Final = 300
_MAX_CHANGES: Final = 30
_DAY_NS: Final = 86_400 * NS_PER_S
_TIME_PX: Final = {False: 32, True: 54}  # half of a time of day, and of one with its day


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture to be painted.

    Attributes
    ----------
    view : View
        What part of the rows is in view, and what a person does there.
    health : Health
        Never paused: the status bar always shows the current state.
    values : SettingValues
        Every setting, those that define a metric as the rows were computed with them.
    settings : SettingValues
        Every setting as it is asked for.
    rows : array of pairlab.ROW
        All rows held, or those of the moment at which the view was paused.
    cursor : Cursor
        After the newest of the rows held.
    first : int
        Index of the first of `rows` that is in `shown`.
    shown : array of pairlab.ROW
        Those in view and one before, from which lines come into it.
    inside : array of pairlab.ROW
        Those in view.
    live : Snapshot or None
        The newest row whether paused or not.
    newest_ns : int
        Exchange time of the newest tick.
    selected_ns : tuple of int or None
        Both ends of the selected span.
    alert_log : AlertLog
        Of the lab.
    text_due : bool
        False in frames that only move charts: nobody reads numbers at the frame rate.
    now_ns : int
        When the frame was gathered.
    precision : Precision
        Decimals of spread and hedge ratio, steady from frame to frame.
    decimator : IncrementalDecimator
        Thins the newest rows; it has seen those of earlier frames already.
    past : Past
        Those in view that are no longer held, as far as they are recorded and read.
    """

    view: View
    health: Health
    values: SettingValues
    settings: SettingValues
    rows: Records
    cursor: Cursor
    first: int
    shown: Records
    inside: Records
    live: Snapshot | None
    newest_ns: int
    selected_ns: tuple[int, int] | None
    alert_log: AlertLog
    text_due: bool
    now_ns: int
    precision: Precision
    decimator: IncrementalDecimator
    past: Past

    @classmethod
    def gather(
        cls,
        lab: LabView,
        view_state: ViewState,
        health: Health,
        precision: Precision,
        decimator: IncrementalDecimator,
        *,
        text_due: bool,
    ) -> Frame:
        """Return what there is to paint now."""
        rows = view_state.rows()
        view = view_state.current(rows)
        # Bisecting looks at a few rows; searchsorted would first copy the whole strided column.
        times = rows["time_ns"]
        first = max(bisect.bisect_left(times, view.start_ns) - 1, 0)
        last = bisect.bisect_right(times, view.edge_ns) if view.frozen else len(rows)
        shown = rows[first:last]
        return cls(
            view=view, health=health, values=lab.row_settings, settings=lab.settings.values(),
            rows=rows, cursor=lab.rows.cursor, first=first, shown=shown,
            inside=shown[bisect.bisect_left(shown["time_ns"], view.start_ns) :],
            live=lab.latest(), newest_ns=lab.newest_ns, selected_ns=lab.selected_ns,
            alert_log=lab.alert_log, text_due=text_due, now_ns=time.time_ns(),
            precision=precision, decimator=decimator,
            past=view_state.past.of(
                rows, view.start_ns, view.edge_ns, view.span_ns, frozen=view.frozen
            ),
        )  # fmt: skip

    # -- the view -------------------------------------------------------------------------------

    @property
    def start_ns(self) -> int:
        """The left end of what is in view."""
        return self.view.start_ns

    @property
    def edge_ns(self) -> int:
        """The right end of the view."""
        return self.view.edge_ns

    @property
    def span_ns(self) -> int:
        """Width of the view."""
        return self.view.span_ns

    @property
    def frozen(self) -> bool:
        """The view stands on a part of the history; else it follows the newest rows."""
        return self.view.frozen

    @cached_property
    def version(self) -> tuple[Any, ...]:
        """Differs from another frame's if, and only if, anything may look different."""
        end = 0 if self.view.paused else self.cursor.row
        past = self.past.number
        return (len(self.rows), end, self.cursor.epoch, self.selected_ns, past, *self.view.key)

    @cached_property
    def chart_version(self) -> tuple[Any, ...]:
        """The same for the charts alone: while the view is frozen, new rows do not change them."""
        if not self.frozen:
            return self.version
        oldest = int(self.shown[0]["time_ns"]) if len(self.shown) else 0
        looks = (self.cursor.epoch, self.selected_ns, self.past.number, *self.view.key)
        return (oldest, len(self.shown), *looks)

    @property
    def latest(self) -> Snapshot | None:
        """The newest of `rows` (at bar timeframes: the forming bar)."""
        if self.view.paused and len(self.rows):
            return Snapshot.of(self.rows[-1])
        return self.live

    @cached_property
    def thinned(self) -> Decimated:
        """The rows in view, grouped for drawing."""
        if self.past is NO_PAST:
            return self._thin_held()
        return self.past.joined(self.shown, self._thin_held, self.edge_ns)

    def _thin_held(self) -> Decimated:
        if self.frozen or self.view.paused or len(self.shown) <= 2 * COLUMNS:
            return Decimated.of(self.shown, self.edge_ns, self.span_ns)
        return self.decimator.thinned(
            self.rows, self.first, self.cursor, self.edge_ns, self.span_ns
        )

    @property
    def live_ns(self) -> int:
        """Exchange time of the newest row; while a bar forms, of its last tick."""
        if self.live is None or self.live.provisional:
            return self.newest_ns
        return self.live.time_ns

    @property
    def pad_ms(self) -> float:
        """Room for the dot at a line's end, beyond the edge."""
        return self.span_ns / 1e6 * PAD

    @property
    def fine(self) -> bool:
        """Whether times are shown in ms: at tick they are, at bars in seconds."""
        return bool(self.values.timeframe == "tick")

    @property
    def days(self) -> bool:
        """Whether the view covers more than a day: times are then shown with the day."""
        return self.span_ns > _DAY_NS

    def when(self, time_ns: int) -> str:
        """Return a time in view as it is read under the pointer."""
        time_of_day = clock(time_ns, milliseconds=self.fine)
        return f"{day(time_ns)} {time_of_day}" if self.days else time_of_day

    @property
    def time_read_ms(self) -> float:
        """Where on the axis the pointer's time is written; infinity without a pointer."""
        if self.pointed is None:
            return math.inf
        # Not over the day at the left, nor with a half of it outside.
        left_ns = self.edge_ns - self.span_ns * (1 - _TIME_PX[self.days] / SIZES.plot_width)
        return max(self.pointed.time_ns, left_ns) / 1e6

    @cached_property
    def spread_places(self) -> int:
        """Decimals of the newest rows' spread, mean and σ."""
        return self.precision.spread(self.rows, self.values)

    @cached_property
    def spread_places_in_view(self) -> int:
        """The same of the rows that the charts show."""
        if not self.frozen:
            return self.spread_places
        rows = self.shown if len(self.shown) else self.past.rows
        return self.precision.fresh().spread(rows, self.values)

    def telling_places(self, row: Snapshot) -> int:
        """Return the decimals in which a row's spread, mean and σ give its z as it is shown."""
        if row is self.latest:
            return self.precision.telling(row, self.values, self.spread_places)
        return self.precision.fresh().telling(row, self.values, self.spread_places_in_view)

    @cached_property
    def ratio_places(self) -> int:
        """Decimals of β."""
        return self.precision.ratio(self.read, self.values)

    @cached_property
    def alerts_key(self) -> tuple[int, ...]:
        """Differs from another frame's where `alerts` may."""
        # Beyond the view by one span, so that markers are sent when an alert comes, not as the
        # view moves; they stand on the absolute time scale and are clipped at its edges.
        page = self.edge_ns // max(self.span_ns, 1)
        stands = self.frozen and not self.view.dragging
        cleared_ns = NO_TIME_NS if stands else self.view.cleared_ns
        since_ns = max((page - 1) * self.span_ns, cleared_ns)
        until_ns = (page + 1) * self.span_ns
        number = self.view.newest_alert  # while it is paused, later ones change nothing
        known = self.alert_log.total if number is None else -1 - number
        return known, self.past.number, since_ns, until_ns

    @cached_property
    def alerts(self) -> list[Alert]:
        """The newest alerts in view and within a span beside it, oldest first."""
        _, _, since_ns, until_ns = self.alerts_key
        number = self.view.newest_alert
        known = self.alert_log.newest_in(since_ns, until_ns, _MAX_MARKERS, number)
        older = [a for a in self.past.alerts if since_ns <= a.time_ns <= until_ns]
        return [*older, *known][-_MAX_MARKERS:]

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
    def decided_as_now(self) -> NDArray[np.bool_]:
        """Whether they were decided under the thresholds that are in force."""
        now = thresholds_of(self.values)
        of = {id(a.settings): a for a in self.alerts}  # many share one object
        same = {key: alert.thresholds == now for key, alert in of.items()}
        return np.array([same[id(a.settings)] for a in self.alerts], bool)

    @property
    def _until_ns(self) -> int:
        """Time of the newest row of the view: while it is paused, later ones come."""
        return int(self.rows[-1]["time_ns"]) if len(self.rows) else self.newest_ns

    @cached_property
    def trades(self) -> list[tuple[Alert, Alert, float]]:
        """Entries and exits of the positions that were left, and their net profit in bps.

        At the prices of the decisions, after the fees of all four fills.
        """
        found, entry = [], None
        for alert in self.alerts:
            if alert.kind == AlertKind.ENTRY:
                entry = alert
            elif entry is not None and alert.kind in (AlertKind.EXIT, AlertKind.STOP):
                values, at = entry.settings, alert.at
                made = profit(entry.side, entry.at, values.price_scale, at.y, at.x, values.fee_bps)
                found.append((entry, alert, made.net_bps))
                entry = None
        return found

    @cached_property
    def changes(self) -> list[SettingChange]:
        """Changes of the thresholds, in view and within a span beside it, oldest first."""
        _, _, since_ns, until_ns = self.alerts_key
        now = thresholds_of(self.values)
        changes = self.alert_log.changes_in(since_ns, min(until_ns, self._until_ns))
        return [change for change in changes if change.name in now][-_MAX_CHANGES:]

    @cached_property
    def pointed(self) -> Snapshot | None:
        """The row under the pointer, else None."""
        pointer_ns, rows = self.view.pointer_ns, self.shown
        if pointer_ns is None:
            return None
        if len(self.past.rows) and (not len(rows) or pointer_ns < rows[0]["time_ns"]):
            rows = self.past.rows
        if not len(rows):
            return None
        at = bisect.bisect_right(rows["time_ns"], pointer_ns) - 1
        return Snapshot.of(rows[max(at, 0)])

    @cached_property
    def end(self) -> Snapshot | None:
        """The row at which the lines end; a bar that forms is not drawn."""
        rows = self.shown if len(self.shown) else self.past.rows
        return Snapshot.of(rows[-1]) if len(rows) else None

    @cached_property
    def z_in_view(self) -> NDArray[np.float64]:
        """The z of each row in view; of a past that is too dense to keep each, none."""
        held: NDArray[np.float64] = self.inside["zscore"]
        past = self.past.rows
        if not self.past.exact or not len(past):
            return held
        since = bisect.bisect_left(past["time_ns"], self.view.start_ns)
        return np.concatenate([past["zscore"][since:], held])

    @property
    def read(self) -> Snapshot | None:
        """The row whose numbers the headers show: under the pointer, else the latest in view."""
        return self.pointed or (self.end if self.frozen else self.latest)
