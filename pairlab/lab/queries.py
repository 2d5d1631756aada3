"""Rows, ticks, bars and alerts of a pipeline: as DataFrames and CSV, by time, span and alert."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import IO, get_args

import pandas as pd

from pairlab.alerts import Alert
from pairlab.data.csv_export import alerts_csv, csv_pieces, ticks_csv
from pairlab.data.frames import bars_frame, rows_frame, ticks_frame
from pairlab.data.row_store import RowStore
from pairlab.data.time_selection import Moment, between_ns, inside, row_at, span_ns, within
from pairlab.errors import DataError, PairlabError, SettingError
from pairlab.lab.pipeline import Pipeline
from pairlab.protocols import Table
from pairlab.schema import Pair

__all__ = ["Queries", "Table"]


class Queries:
    """Answers what is asked of a pipeline; `pairlab.PairLab` forwards to it.

    Parameters
    ----------
    pipeline : Pipeline
        Whose rows, ticks and alerts.
    pair : Pair
        Names of the legs.
    """

    def __init__(self, pipeline: Pipeline, pair: Pair) -> None:
        self._pipeline = pipeline
        self._pair = pair
        self.selected_ns: tuple[int, int] | None = None

    @property
    def _rows(self) -> RowStore:
        return self._pipeline.rows

    # -- DataFrames -----------------------------------------------------------------------------

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
            Nothing is copied: a snapshot that later rows do not change.
        """
        return rows_frame(self._rows.view(last))

    def between(self, start: Moment | None = None, end: Moment | None = None) -> pd.DataFrame:
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
            If one is not a valid time, or `end` is before `start`.
        """
        return rows_frame(between_ns(self._rows.view(), *span_ns(start, end)))

    def at(self, when: Alert | Moment) -> pd.Series[float]:
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
            If that row is no longer held, was recomputed under other settings since, or there
            was none yet. An alert's own numbers stay in ``alert.at`` and ``alert.explain()``.
        """
        return rows_frame(row_at(self._rows, when)).iloc[0]

    def ticks(self) -> pd.DataFrame:
        """Return the ticks held.

        Returns
        -------
        pandas.DataFrame
            Indexed by exchange time, UTC: symbol, id, price, quantity, buyer_is_maker, received.
        """
        return ticks_frame(self._pipeline.ticks.view(), self._pair)

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
        DataError
            For a timeframe of which no bars are kept.
        """
        if self._pipeline.engine is None:
            raise PairlabError("no bars yet: the engine has not started")
        return bars_frame(self._pipeline.engine.bars(timeframe))

    def alerts(self) -> pd.DataFrame:
        """Return the alert log: alerts and changes of settings, oldest first.

        Returns
        -------
        pandas.DataFrame
            Indexed by exchange time, UTC, with the columns `pairlab.alerts.COLUMNS`.
        """
        return self._pipeline.alert_log.frame()

    # -- the selected span ----------------------------------------------------------------------

    @property
    def selection(self) -> pd.DataFrame:
        """The selected rows that are still held."""
        rows = self._rows.view()
        if self.selected_ns is None:
            return rows_frame(rows[:0])
        return rows_frame(between_ns(rows, *self.selected_ns))

    def select(self, start: Moment | None = None, end: Moment | None = None) -> None:
        """Select a span of time on the charts, as a drag with the mouse does; without, none.

        Parameters
        ----------
        start, end : moments
            As `between` takes them; one alone leaves the other end where the history has it now.

        Raises
        ------
        DataError
            If one is not a valid time, `end` is before `start`, or one alone is beyond what the
            history holds. The selection stays as it was.
        """
        first, last = span_ns(start, end)
        rows = self._rows.view()
        if first is None and last is None:
            self.selected_ns = None
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
        self.selected_ns = first, last

    # -- CSV ------------------------------------------------------------------------------------

    def to_csv(
        self,
        target: str | os.PathLike[str] | IO[str],
        what: Table = "history",
        start: Moment | None = None,
        end: Moment | None = None,
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
            If `start` or `end` is not a valid time, or they are the wrong way round.
        OSError
            If the file cannot be written.
        """
        pieces = self.csv_pieces(what, start, end)
        with contextlib.ExitStack() as stack:
            if isinstance(target, str | os.PathLike):
                target = stack.enter_context(open(target, "w", encoding="utf-8", newline=""))
            for text in pieces:
                target.write(text)

    def csv_bytes(
        self, what: Table = "history", start: Moment | None = None, end: Moment | None = None
    ) -> bytes:
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
        self, what: Table = "history", start: Moment | None = None, end: Moment | None = None
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
            return csv_pieces(between_ns(self._rows.view(), first, last))
        if what == "ticks":
            ticks = self._pipeline.ticks.view()
            return ticks_csv(inside(ticks, ticks["time_ns"], first, last), self._pair)
        kept = [e for e in self._pipeline.alert_log if within(e.time_ns, first, last)]
        return alerts_csv(kept)
