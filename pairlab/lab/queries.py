"""What can be asked of a lab: rows, ticks, bars and alerts, at a moment, over a span, in a file."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Iterator
from typing import IO, Any, Literal, get_args

import pandas as pd

from pairlab.alerts import Alert, AlertLog, Snapshot
from pairlab.data.csv_export import alerts_csv, csv_pieces, ticks_csv
from pairlab.data.frames import bars_frame, rows_frame, ticks_frame
from pairlab.data.row_store import RowStore
from pairlab.data.time_selection import between_ns, inside, row_at, span_ns, within
from pairlab.errors import DataError, PairlabError, SettingError
from pairlab.health import Health
from pairlab.lab.runner import LabRunner
from pairlab.settings import SettingValues

__all__ = ["Queries", "Table"]

Table = Literal["history", "ticks", "alerts"]
"""What can be written to a file."""


class Queries(LabRunner):
    """A lab that is asked; see `pairlab.lab.pair_lab.PairLab`."""

    _selected_ns: tuple[int, int] | None = None

    # -- what is known --------------------------------------------------------------------------

    @property
    def rows(self) -> RowStore:
        """The rows as records of `pairlab.ROW`, by number; `history` is the DataFrame of them."""
        return self._pipeline.rows

    @property
    def newest_ns(self) -> int:
        """Exchange time of the newest tick, ns since 1970 UTC; 0 before the first."""
        return self._pipeline.newest_ns

    @property
    def row_settings(self) -> SettingValues:
        """Every setting by name, those that define a metric as the rows were made with them."""
        return self._pipeline.values()

    @property
    def alert_log(self) -> AlertLog:
        """Alerts and setting changes as objects; `alerts` is the DataFrame of them."""
        return self._pipeline.alert_log

    @property
    def stream(self) -> str:
        """The stream in use."""
        return self._stream

    def latest(self) -> Snapshot | None:
        """Return the newest row.

        Returns
        -------
        Snapshot or None
            At bar timeframes the forming bar, provisional; None before the first.
        """
        return self._pipeline.latest()

    def history(self, last: int | None = None) -> pd.DataFrame:
        """Return the newest rows.

        Parameters
        ----------
        last : int, optional
            How many; all that are held by default.

        Returns
        -------
        pandas.DataFrame
            Indexed by exchange time, UTC, with the columns `pairlab.schema.HISTORY_COLUMNS`.
            Nothing is copied: a picture of its moment that later rows do not change.
        """
        return rows_frame(self.rows.view(last))

    def between(self, start: Any = None, end: Any = None) -> pd.DataFrame:
        """Return the rows of `history` from `start` to `end`, both included.

        Parameters
        ----------
        start, end : str, datetime, numpy.datetime64, pandas.Timestamp, int or None
            UTC where no zone is named; an int is in ns; None is open.

        Returns
        -------
        pandas.DataFrame
            As `history` gives it.

        Raises
        ------
        DataError
            If one is no moment in time, or `end` is before `start`.
        """
        return rows_frame(between_ns(self.rows.view(), *span_ns(start, end)))

    def at(self, when: Alert | Any) -> pd.Series[Any]:
        """Return the row of `history` that an alert was decided on, or that stood at a moment.

        Parameters
        ----------
        when : Alert or moment
            An alert of `alert_log`; or a moment as `between` takes it, for the last row up to it.

        Returns
        -------
        pandas.Series
            The row, named by its time; the index holds the columns of `history`.

        Raises
        ------
        DataError
            If that row is no longer held, was computed anew under other settings since, or there
            was none yet. An alert's own numbers stay in ``alert.at`` and ``alert.explain()``.
        """
        return rows_frame(row_at(self.rows, when)).iloc[0]

    @property
    def selection(self) -> pd.DataFrame:
        """The rows selected with the mouse on a chart, or with `select`; none: an empty frame.

        The columns are those of `history`; rows that have left the history are not in it.
        """
        rows = self.rows.view()
        if self._selected_ns is None:
            return rows_frame(rows[:0])
        return rows_frame(between_ns(rows, *self._selected_ns))

    @property
    def selected_ns(self) -> tuple[int, int] | None:
        """Both ends of the selected span, ns since 1970 UTC; None: nothing is selected."""
        return self._selected_ns

    def select(self, start: Any = None, end: Any = None) -> None:
        """Select a span of time on the charts, as a drag with the mouse does; without, none.

        Parameters
        ----------
        start, end : moments
            As `between` takes them; one alone leaves the other end where the history has it now.

        Raises
        ------
        DataError
            If one is no moment in time, `end` is before `start`, or one alone is beyond what the
            history holds. The selection stays as it was.
        """
        first, last = span_ns(start, end)
        rows = self.rows.view()
        if first is None and last is None:
            self._selected_ns = None
            return
        if first is None or last is None:
            if not len(rows):
                raise DataError("there are no rows yet: give both start and end")
            first = int(rows[0]["time_ns"]) if first is None else first
            last = int(rows[-1]["time_ns"]) if last is None else last
            if last < first:
                oldest, newest = (pd.Timestamp(int(t), tz="UTC") for t in rows["time_ns"][[0, -1]])
                given = f"start = {start!r}" if end is None else f"end = {end!r}"
                raise DataError(f"{given} is outside of the history: {oldest} to {newest}")
        self._selected_ns = first, last

    def ticks(self) -> pd.DataFrame:
        """Return the ticks held.

        Returns
        -------
        pandas.DataFrame
            Indexed by exchange time, UTC: symbol, id, price, quantity, buyer_is_maker, received.
        """
        return ticks_frame(self._pipeline.ticks.view(), self.pair)

    def bars(self, timeframe: str = "1m") -> pd.DataFrame:
        """Return the closed bars.

        Parameters
        ----------
        timeframe : {"1s", "5s", "1m", "5m", "15m", "1h"}
            Of the bars, whatever the lab's own is.

        Returns
        -------
        pandas.DataFrame
            Indexed by close time, UTC: y_open, y_high, y_low, y_close, y_volume, and so for x.

        Raises
        ------
        PairlabError
            Before the engine is ready.
        SettingError
            If there are no such bars.
        """
        if self._pipeline.engine is None:
            raise PairlabError("there are no bars yet: the engine is still being made ready")
        return bars_frame(self._pipeline.engine.bars(timeframe))

    def alerts(self) -> pd.DataFrame:
        """Return the alert log: alerts and changes of settings, oldest first.

        Returns
        -------
        pandas.DataFrame
            Indexed by exchange time, UTC, with the columns `pairlab.alerts.COLUMNS`.
        """
        return self.alert_log.frame()

    def health(self) -> Health:
        """Return how feed, engine and loop are.

        Returns
        -------
        Health
            At this moment.
        """
        p = self._pipeline
        feed = self._feed.health() if self._feed is not None else self._state
        row_p50_ms, row_p99_ms = p.latency_ms.p50_p99()
        (t0, n0), (t1, n1) = (self._rates[0], self._rates[-1]) if self._rates else ((0, 0), (0, 0))
        last = p.rows.view(1)
        running = self._main is not None and not self._main.done()
        return Health(
            state=feed.state,
            detail=feed.detail,
            feed=self._name,
            real_money=self._real_money,
            stream=self.stream,
            ticks=feed.ticks,
            rows=p.made,
            dropped={**feed.dropped, **p.dropped()},
            reconnects=feed.reconnects,
            gaps=feed.gaps,
            missing=feed.missing,
            lag_ms=feed.lag_ms,
            lag_p50_ms=feed.lag_p50_ms,
            lag_p99_ms=feed.lag_p99_ms,
            row_p50_ms=row_p50_ms,
            row_p99_ms=row_p99_ms,
            ticks_per_s=(n1 - n0) / (t1 - t0) if running and t1 > t0 else 0.0,
            filled=int(last["filled"][0]) if len(last) else 0,
            window=self.settings.window,
            uptime_s=time.monotonic() - self._started_s if running else 0.0,
            memory_bytes=p.rows.nbytes + p.ticks.nbytes,
            loop_lag_ms=self._loop_lag_s * 1e3,
            late_ticks=0 if p.engine is None else p.engine.late,
            warnings=p.warnings(),
            bad_frames=feed.bad_frames,
        )

    # -- files and waiting ----------------------------------------------------------------------

    def to_csv(
        self,
        target: str | os.PathLike[str] | IO[str],
        what: Table = "history",
        start: Any = None,
        end: Any = None,
    ) -> None:
        """Write the history to a file, in pieces; the numbers read back are the same ones.

        Parameters
        ----------
        target : path or text file
            Where to. Times are ISO 8601 UTC, NaN is an empty field.
        what : {"history", "ticks", "alerts"}
            Which table: the columns of the method of that name.
        start, end : moments, optional
            Only what is between them, as in `between`.

        Raises
        ------
        SettingError
            If there is no such table.
        DataError
            If `start` or `end` is no moment in time, or they are the wrong way round.
        OSError
            If the file cannot be written.
        """
        pieces = self.csv_pieces(what, start, end)
        with contextlib.ExitStack() as stack:
            if isinstance(target, str | os.PathLike):
                target = stack.enter_context(open(target, "w", encoding="utf-8", newline=""))
            for text in pieces:
                target.write(text)

    def csv_bytes(self, what: Table = "history", start: Any = None, end: Any = None) -> bytes:
        """Return what `to_csv` writes; any thread may call it for the history and the ticks.

        Parameters
        ----------
        what, start, end
            As `to_csv` takes them, and refuses them.

        Returns
        -------
        bytes
            UTF-8.
        """
        out = io.BytesIO()
        for text in self.csv_pieces(what, start, end):
            out.write(text.encode())
        return out.getvalue()

    def csv_pieces(
        self, what: Table = "history", start: Any = None, end: Any = None
    ) -> Iterator[str]:
        """Return what `to_csv` writes, piece by piece: a picture of this moment.

        Parameters
        ----------
        what, start, end
            As `to_csv` takes them, and refuses them.

        Returns
        -------
        iterator of str
            Made as it is asked, on any thread.
        """
        if what not in get_args(Table):
            raise SettingError(
                "what", what, f"expected one of {', '.join(map(repr, get_args(Table)))}"
            )
        first, last = span_ns(start, end)
        if what == "history":
            return csv_pieces(between_ns(self.rows.view(), first, last))
        if what == "ticks":
            ticks = self._pipeline.ticks.view()
            return ticks_csv(inside(ticks, ticks["time_ns"], first, last), self.pair)
        kept = [e for e in self.alert_log if within(e.time_ns, first, last)]
        return alerts_csv(kept)
