"""A backtest's result as the widgets see a lab: rows that were, and an alert for each fill."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Final

import numpy as np

from pairlab.alerts import Alert
from pairlab.data.alert_log import AlertLog
from pairlab.data.csv_export import csv_pieces
from pairlab.data.row_store import RowStore
from pairlab.data.time_selection import Moment, span_ns
from pairlab.health import Health
from pairlab.protocols import DisplayListener, Table
from pairlab.schema import NO_TIME_NS, LogEntry, LogLevel, Records, Snapshot, opaque
from pairlab.settings import Settings, SettingValues
from pairlab.widgets.report.result_view import ResultView, drawdown_of, filled_events

__all__ = ["ResultLab"]

_LOG: Final = 200


class FilledLog(AlertLog):
    """The alerts of events that are known beforehand: each is made when it is asked for.

    Parameters
    ----------
    events, rows : numpy.ndarray
        `EVENT` records, whose ``row`` counts in the `ROW` records.
    values : SettingValues
        Under which they were decided.

    Attributes
    ----------
    time_ns : array of int64
        Of each, ascending.
    """

    def __init__(self, events: Records, rows: Records, values: SettingValues) -> None:
        super().__init__(1)
        self._events, self._rows, self._values = events, rows, values
        self.time_ns = rows["time_ns"][events["row"]]

    def __len__(self) -> int:
        return len(self._events)

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self._events)

    @property
    def newest_number(self) -> int:
        """Number of the last."""
        return len(self._events)

    def alert(self, at: int) -> Alert:
        """Return one; its number is one more than its place."""
        event = self._events[at]
        return Alert.of(at + 1, event, self._rows[event["row"]], self._values)

    def row_of(self, alert: Alert) -> int:
        """Return the row at which an alert of this log was."""
        return int(self._events["row"][alert.number - 1])

    def newest_first(self) -> Iterator[Alert]:
        """Go through them from the last on."""
        return (self.alert(at) for at in range(len(self._events) - 1, -1, -1))

    def newest_in(
        self, since_ns: int, until_ns: int, most: int, number: int | None = None
    ) -> list[Alert]:
        """Return the newest of a span of time, up to a number, oldest first."""
        first = int(np.searchsorted(self.time_ns, since_ns, side="left"))
        last = int(np.searchsorted(self.time_ns, until_ns, side="right"))
        last = last if number is None else min(last, number)
        return [self.alert(at) for at in range(max(first, last - most), last)]


class _ShownSettings(Settings):
    """Takes what a backtest takes: a row may be an observation of both legs."""

    _both_legs_a_row = True


class ResultLab:
    """Shows a result to the widgets of a lab. It never runs: it has no loop.

    Its position and its alerts are those that were filled: what was decided and missed is none.

    Parameters
    ----------
    result : ResultView
        Of a backtest.

    Attributes
    ----------
    equity, drawdown : array of float64, shape (rows,)
        At every row.
    """

    def __init__(self, result: ResultView) -> None:
        self.result = result
        self.pair = result.pair
        self.settings: Settings = _ShownSettings(**asdict(result.settings))
        held, events = result.rows, result.events
        rows = np.empty_like(held)
        opaque(rows)[:] = opaque(held)
        self.equity = np.ascontiguousarray(result.equity["equity"].to_numpy(np.float64))
        self.drawdown = drawdown_of(self.equity, result.capital)
        entry, exit_ = filled_events(result)
        position = np.zeros(len(rows), np.int8)
        of_event = events["row"].tolist()
        sides = result.trades["side"].tolist()
        for side, first, last in zip(sides, entry.tolist(), exit_.tolist(), strict=True):
            if first >= 0:
                position[of_event[first] : of_event[last] if last >= 0 else len(rows)] = side
        rows["position"] = position
        self.rows = RowStore.adopting(rows)
        filled = np.sort(np.concatenate([entry[entry >= 0], exit_[exit_ >= 0]]))
        self.alert_log = FilledLog(events[filled], rows, result.settings)
        self._entry_at = np.where(entry >= 0, np.searchsorted(filled, entry), -1)
        self.event_log: deque[LogEntry] = deque(maxlen=_LOG)
        self.event_log_total = 0
        self.selected_ns: tuple[int, int] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.running = False
        self.playback = None
        self.recordings = self.past = None
        self.what_if = self.session_pnl = None
        self.newest_ns = int(rows["time_ns"][-1]) if len(rows) else NO_TIME_NS
        self._displays: list[DisplayListener] = []

    def entry_of(self, trade: int) -> Alert | None:
        """Return the entry of a trade; None where it is not known."""
        at = int(self._entry_at[trade])
        return None if at < 0 else self.alert_log.alert(at)

    @property
    def row_settings(self) -> SettingValues:
        """The settings of the run."""
        return self.result.settings

    def latest(self) -> Snapshot | None:
        """Return the last row."""
        last = self.rows.view(1)
        return Snapshot.of(last[0]) if len(last) else None

    def health(self) -> Health:
        """Return that of something that has ended."""
        report, nan = self.result.data_report, float("nan")
        return Health(
            state="stopped", detail="a backtest's result", feed=report.market or "BACKTEST",
            real_money=False, stream=report.source, ticks=0, rows=report.rows, dropped={},
            reconnects=0, gaps=0, missing=0, lag_ms=nan, lag_p50_ms=nan, lag_p99_ms=nan,
            row_p50_ms=nan, row_p99_ms=nan, ticks_per_s=0.0, filled=self.result.settings.window,
            window=self.result.settings.window, uptime_s=0.0, memory_bytes=self.rows.nbytes,
            loop_lag_ms=0.0, late_ticks=0, warnings=(), bad_frames=(),
        )  # fmt: skip

    def price_decimals(self) -> tuple[int, int] | None:
        """Return None: tick sizes are not known."""
        return None

    def csv_pieces(
        self, what: Table = "history", start: Moment | None = None, end: Moment | None = None
    ) -> Iterator[str]:
        """Return the rows as CSV."""
        return csv_pieces(self.rows.view())

    def select(self, start: Moment | None = None, end: Moment | None = None) -> None:
        """Select a span of time; without arguments, none."""
        first, last = span_ns(start, end)
        self.selected_ns = None if first is None or last is None else (first, last)

    def log(self, level: LogLevel, message: str) -> None:
        """Keep an entry."""
        self.event_log.append(LogEntry(time.time_ns(), level, message))
        self.event_log_total += 1

    def call_on_loop(self, function: Callable[..., object], *args: object) -> None:
        """Call it at once: there is no loop."""
        function(*args)

    def attach(self, display: DisplayListener) -> None:
        """Keep what shows it."""
        self._displays.append(display)
