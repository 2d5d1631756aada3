"""Rows, ticks, bars and alerts of a pipeline: as DataFrames and CSV, by time, span and alert."""

from __future__ import annotations

import contextlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterator
from numbers import Integral
from typing import IO, Final, get_args

import numpy as np
import pandas as pd

from pairlab.alerts import Alert
from pairlab.data.csv_export import alerts_csv, csv_pieces, ticks_csv
from pairlab.data.frames import bars_frame, rows_frame, ticks_frame
from pairlab.data.origin import Origin
from pairlab.data.row_store import RowStore
from pairlab.data.time_selection import (
    Moment,
    between_ns,
    inside,
    refuse_future,
    row_at,
    span_ns,
    within,
)
from pairlab.errors import DataError, PairlabError, SettingError
from pairlab.health import Health
from pairlab.lab.nested_loop import run_beside
from pairlab.lab.pipeline import Pipeline
from pairlab.lab.record.past_rows import Held, PastRows
from pairlab.protocols import Table
from pairlab.schema import ROW, Pair, Records

__all__ = ["Queries", "Table", "require_text_target"]


_OTHER_FORMATS: Final = {
    **dict.fromkeys((".parquet", ".pq"), "to_parquet"),
    **dict.fromkeys((".feather", ".arrow", ".ipc"), "to_feather"),
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods"), "to_excel"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "to_json"),
    **dict.fromkeys((".h5", ".hdf", ".hdf5"), "to_hdf"),
    **dict.fromkeys((".pkl", ".pickle"), "to_pickle"),
    **dict.fromkeys((".html", ".htm"), "to_html"),
    **dict.fromkeys((".gz", ".bz2", ".zip", ".xz", ".zst", ".tsv", ".tab"), "to_csv"),
    ".orc": "to_orc", ".dta": "to_stata", ".xml": "to_xml", ".md": "to_markdown",
    ".npy": "to_numpy", ".npz": "to_numpy", ".db": "to_sql", ".sqlite": "to_sql",
}  # fmt: skip
"""Methods of DataFrames by the ends of names of files that are not comma-separated text."""


def require_text_target(target: object) -> None:
    """Refuse what is no place for comma-separated text.

    Raises
    ------
    DataError
        For the name of a file that its reader would take for another format, and for what is
        neither a path nor an open file.
    """
    if not isinstance(target, str | os.PathLike):
        if not hasattr(target, "write"):
            kind = type(target).__name__
            raise DataError(f"target must be a path or an open text file, not {kind} ({target!r})")
        return
    text = os.fsdecode(target)
    ending = os.path.splitext(text)[1].lower()
    if ending in _OTHER_FORMATS:
        raise DataError(
            f"target = {text!r} is invalid: to_csv writes comma-separated text, expected a name "
            f"that ends in .csv; history().{_OTHER_FORMATS[ending]}(…) writes {ending}"
        )


class Queries:
    """Answers what is asked of a pipeline; `pairlab.PairLab` forwards to it.

    Parameters
    ----------
    pipeline : Pipeline
        Whose rows, ticks and alerts.
    pair : Pair
        Names of the legs.
    health : callable
        Returns the lab's: it names the market.
    past : callable
        Returns where older rows are recorded, or None.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        pair: Pair,
        health: Callable[[], Health],
        past: Callable[[], PastRows | None],
    ) -> None:
        self._pipeline = pipeline
        self._pair = pair
        self._health = health
        self._past = past
        self.selected_ns: tuple[int, int] | None = None

    @property
    def _rows(self) -> RowStore:
        return self._pipeline.rows

    # -- DataFrames -----------------------------------------------------------------------------

    def history(self, last: int | None = None, since: Moment | None = None) -> pd.DataFrame:
        """Return the newest rows.

        Parameters
        ----------
        last : int, optional
            How many; all that are held by default.
        since : moment, optional
            From this time on, as `between` takes it. Where the rows in memory begin later and the
            lab is, or was, recorded to a folder, or plays a recording that was made with its
            settings, older ones are read from there as they were first shown, each once; this
            cell waits for it, the stream does not.

        Returns
        -------
        pandas.DataFrame
            Indexed by exchange time, UTC, with the columns `pairlab.schema.HISTORY_COLUMNS`.
            Nothing is copied: a snapshot that later rows do not change.

        Raises
        ------
        DataError
            If `since` is not a valid time, or the recording is damaged, naming the file.
        """
        if last is not None and (not isinstance(last, Integral) or isinstance(last, bool)):
            raise SettingError("last", last, "expected a whole number of rows, or None")
        last = None if last is None else int(last)
        if since is None:
            return self._frame(self._rows.view(last))
        rows = self._rows_between(span_ns(since, None)[0] or 0, None)
        return self._frame(rows if last is None else rows[max(len(rows) - last, 0) :])

    def _rows_between(self, first: int | None, last: int | None) -> Records:
        """Return the rows of a span, those that have left the memory from the recording."""
        rows, older = between_ns(self._rows.view(), first, last), self._older(first, last)
        if older is None:
            return rows
        return run_beside(lambda: np.concatenate([*older(), rows]))

    def _older(self, first: int | None, last: int | None) -> Callable[[], Iterator[Records]] | None:
        """Return what reads the rows of a span that are older than those held; None: nothing."""
        store, past = self._rows, self._past()
        rows = store.view()
        if first is None or past is None or not len(rows) or rows[0]["time_ns"] < first:
            return None
        held = Held(store.epoch, store.end - len(rows), int(rows[0]["time_ns"]))
        return lambda: past.older(held, first, last)

    def _newest_of(self, first: int, last: int) -> Records:
        """Return rows of a span that are older than those held, its last one among them."""
        older = self._older(first, last)
        if older is None:
            return self._rows.view(0)
        return run_beside(lambda: deque([np.zeros(0, ROW), *older()], 1)[0])

    def _frame(self, rows: Records) -> pd.DataFrame:
        frame = rows_frame(rows)
        if self._pipeline.values().timeframe != "tick":
            frame.attrs["label"] = "close"  # what the times are, for `pairlab.analyze`
        return frame

    def between(self, start: Moment | None = None, end: Moment | None = None) -> pd.DataFrame:
        """Return the rows of `history` from `start` to `end`, both included.

        Parameters
        ----------
        start, end : str, datetime, numpy.datetime64, pandas.Timestamp, int or None
            UTC where no zone is named; an int is in ns; None is open: the oldest row in memory,
            and the newest.

        Returns
        -------
        pandas.DataFrame
            As `history` gives it; from a `start` before the rows in memory on as of its `since`.

        Raises
        ------
        DataError
            If one is not a valid time, `end` is before `start`, or `start` is still to come; or
            the recording is damaged, naming the file.
        """
        first, last = span_ns(start, end)
        refuse_future("start", start, first, self._rows.view())
        return self._frame(self._rows_between(first, last))

    def at(self, when: Alert | Moment) -> pd.Series[float]:
        """Return the row of `history` that an alert was decided on, or that stood at a moment.

        One that is no longer in memory is looked for in the recording, as of `history`.

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
            If that row is neither held nor recorded, was recomputed under other settings since, or
            there was none yet. An alert's own numbers stay in ``alert.at`` and ``alert.explain()``.
        """
        return rows_frame(row_at(self._rows, when, self._newest_of)).iloc[0]

    def ticks(self) -> pd.DataFrame:
        """Return the ticks held.

        Returns
        -------
        pandas.DataFrame
            Indexed by exchange time, UTC: symbol, id, price, quantity, buyer_is_maker, received,
            gap_before (whose trades are missing before this one: 1 y, 2 x, 3 both, 0 none),
            time_corrected (it was stamped ahead of the clock: its time is the newest before it).
            `pairlab.analyze` makes the same rows of it.
        """
        ticks, gap_legs = self._pipeline.ticks_and_gap_legs()
        return ticks_frame(ticks, self._pair, gap_legs)

    def bars(self, timeframe: str = "1m") -> pd.DataFrame:
        """Return the closed bars.

        Parameters
        ----------
        timeframe : {"1s", "5s", "1m", "5m", "15m", "1h", "1d"}
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
        """The selected rows that are still held, or recorded."""
        if self.selected_ns is None:
            return rows_frame(self._rows.view(0))
        return rows_frame(self._rows_between(*self.selected_ns))

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
            Where to. Times are ISO 8601 UTC, NaN is an empty field. The last two columns say where
            it comes from: `source` (``SIMULATED``, ``BINANCE``, …), and an empty one whose name
            are pair, stream and settings.
        what : {"history", "ticks", "alerts"}
            Which table: the columns of the method of that name.
        start, end : moments, optional
            Only what is between them, as in `between`: of the history, rows before those in memory
            are read from the recording, piece by piece.

        Raises
        ------
        SettingError
            If there is no such table.
        DataError
            If `start` or `end` is not a valid time, or they are the wrong way round, or the file's
            name ends as that of another format does; or the recording is damaged, naming the file.
        OSError
            If the file cannot be written.
        """
        require_text_target(target)
        pieces = self.csv_pieces(what, start, end)
        with contextlib.ExitStack() as stack:
            if isinstance(target, str | os.PathLike):
                target = stack.enter_context(open(target, "w", encoding="utf-8", newline=""))
            write = target.write

            def write_all() -> None:
                for text in pieces:
                    write(text)

            run_beside(write_all) if self._reads_files(what, start, end) else write_all()

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
        pieces = self.csv_pieces(what, start, end)

        def joined() -> bytes:
            out = io.BytesIO()
            out.writelines(text.encode() for text in pieces)
            return out.getvalue()

        return run_beside(joined) if self._reads_files(what, start, end) else joined()

    def _reads_files(self, what: Table, start: Moment | None, end: Moment | None) -> bool:
        """Return whether a thread should read a table, that the stream goes on."""
        return what == "history" and self._older(*span_ns(start, end)) is not None

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
        refuse_future("start", start, first, self._rows.view())
        origin = Origin.of(self._pair, self._health(), self._pipeline.values())
        if what == "history":
            rows, older = between_ns(self._rows.view(), first, last), self._older(first, last)
            return csv_pieces(rows, origin, older() if older is not None else ())
        if what == "ticks":
            held = ticks, _ = self._pipeline.ticks_and_gap_legs()
            ticks, gap_legs = (inside(a, ticks["time_ns"], first, last) for a in held)
            return ticks_csv(ticks, self._pair, gap_legs, origin)
        kept = [e for e in self._pipeline.alert_log if within(e.time_ns, first, last)]
        return alerts_csv(kept, origin)
