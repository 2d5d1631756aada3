"""`open_store`: what was recorded into a database, as the DataFrames of the lab."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pairlab.alerts import Alert, SettingChange, entries_frame
from pairlab.data.frames import rows_frame, ticks_frame
from pairlab.data.journal import GapMarked, JournalEvent, SettingChanged
from pairlab.data.time_selection import Moment, span_ns, within
from pairlab.errors import DataError, SettingError
from pairlab.limits.symbols import exchange_symbol
from pairlab.schema import ROW, TICK, TIME_CORRECTED, Pair
from pairlab.storage.database.address import Address
from pairlab.storage.database.entries import (
    ALERT_COLUMNS,
    EVENT_COLUMNS,
    alert_of,
    change_of,
    event_of,
    exact_ns,
)
from pairlab.storage.database.reader import BLOCK, Reader, inside_of, records_of, sql_span
from pairlab.storage.database.schema import ROW_COLUMNS, TICK_COLUMNS
from pairlab.storage.database.tick_order import Mark, StoredSession, gap_legs, order_of

__all__ = ["Store", "open_store"]


def open_store(url: str, schema: str = "pairlab") -> Store:
    """Open what labs have recorded into a database, to read it.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:port/database``; reading rights are enough.
    schema : str
        Schema of the tables.

    Returns
    -------
    Store
        Its `ticks`, `history` and `alerts` give DataFrames like those of `PairLab`.

    Raises
    ------
    SettingError
        If `url` is no such address.
    PairlabError
        If the server refuses, or a newer pairlab recorded there; a `DataError` if nobody did; a
        `StorageError` if it cannot be reached for now.
    MissingExtraError
        Without ``pip install "pairlab[postgres]"``.
    """
    return Store(url, schema)


class Store:
    """Reads recordings of a database; `open_store` makes it.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:port/database``.
    schema : str
        Schema of the tables.
    """

    def __init__(self, url: str, schema: str = "pairlab") -> None:
        self._reader = Reader(Address(url), schema)

    def __repr__(self) -> str:
        """Name the database, without its password."""
        return f"Store({self._reader.address}: {self._reader.facts})"

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a later call opens another one."""
        self._reader.close()

    # -- what was recorded ----------------------------------------------------------------------

    def sessions(self) -> pd.DataFrame:
        """Return the recordings.

        Returns
        -------
        pandas.DataFrame
            Columns source, real_money, stream, y, x, started, closed (NaT: it still runs, or was
            killed), first_seq, next_seq (ordinals of its ticks), lost (ticks that fell out while
            the database was away); index ``session``, in order of their start.
        """
        rows = self._reader.rows(
            "SELECT session, source, real_money, stream, y, x, started, closed, first_seq,"
            " next_seq, (SELECT coalesce(sum(l.next_seq - l.first_seq), 0)::int8 FROM {lost} l"
            " WHERE l.session = s.session) AS lost FROM {sessions} s ORDER BY started, session",
            [],
        )
        columns = ("session", "source", "real_money", "stream", "y", "x", "started", "closed",
                   "first_seq", "next_seq", "lost")  # fmt: skip
        frame = pd.DataFrame.from_records(rows, columns=columns).set_index("session")
        for name in ("started", "closed"):
            frame[name] = pd.to_datetime(frame[name], utc=True)
        return frame

    def ticks(
        self,
        symbols: str | Sequence[str],
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        stream: str | None = None,
        source: str | None = None,
    ) -> pd.DataFrame:
        """Return ticks, each once, whatever sessions recorded them.

        Parameters
        ----------
        symbols : str or two of them
            One symbol, or a pair: y, x.
        start, end : moments, optional
            Exchange time, both included, as `PairLab.between` takes them; None is open.
        stream : str, optional
            ``aggTrade``, ``trade`` or ``bookTicker``, where several are stored.
        source : str, optional
            The market, such as ``BINANCE``, where several are stored.

        Returns
        -------
        pandas.DataFrame
            As `PairLab.ticks` gives it, in the order of receipt. `gap_before` tells, too, what no
            session recorded: before a session's first tick, and where ticks fell out.

        Raises
        ------
        DataError
            If there are none of a symbol, or a moment is not valid.
        SettingError
            If they are of several streams or sources and none is named.
        StorageError
            If the server cannot be reached for now.
        """
        wanted = [symbols] if isinstance(symbols, str) else list(symbols)
        wanted = [exchange_symbol("symbols", symbol) for symbol in wanted]
        if not 1 <= len(wanted) <= 2:
            raise SettingError("symbols", symbols, "expected one symbol or two: y, x")
        span = span_ns(start, end)
        sessions = self._sessions_of(wanted, stream, source)
        one = next(iter(sessions.values()))
        names = [name for name, _ in TICK_COLUMNS]
        columns = self._reader.blocks(
            "SELECT session::int8, (array_position(%s::text[], symbol) - 1)::int2 AS leg, {arrays}"
            " FROM {ticks} WHERE source = %s AND stream = %s AND symbol = ANY(%s)"
            " AND time BETWEEN %s::timestamptz AND %s::timestamptz"
            " GROUP BY session, symbol, seq / %s",
            [wanted, one.source, one.stream, wanted, *sql_span(span), BLOCK],
            ("session", "leg"),
            names,
        )
        ticks = records_of(TICK, columns)
        inside = inside_of(ticks["time_ns"], span)
        ticks, session, seq = ticks[inside], columns["session"][inside], columns["seq"][inside]
        order = order_of(session, seq, ticks["received_ns"])
        ticks, session, seq = ticks[order], session[order], seq[order]
        legs = gap_legs(session, seq, ticks, self._marks(sessions), sessions, wanted)
        frame = ticks_frame(ticks, Pair(wanted[0], wanted[-1] if wanted[1:] else ""), legs)
        if not wanted[1:]:
            frame["symbol"] = frame["symbol"].cat.remove_categories([""])
            del frame.attrs["pair"]
        return frame

    def history(
        self,
        pair: Sequence[str],
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        session: int | None = None,
    ) -> pd.DataFrame:
        """Return rows as they were shown: a rebuild does not change those before it.

        Parameters
        ----------
        pair : two str
            y, x.
        start, end : moments, optional
            Exchange time, both included, as `PairLab.between` takes them; None is open.
        session : int, optional
            One of `sessions`; by default the rows of all, one session after another.

        Returns
        -------
        pandas.DataFrame
            As `PairLab.history` gives it.

        Raises
        ------
        DataError
            If nothing of the pair was recorded, or a moment is not valid.
        StorageError
            If the server cannot be reached for now.
        """
        span = span_ns(start, end)
        chosen = self._chosen(pair, session)
        columns = self._reader.blocks(
            "SELECT session::int8, {arrays} FROM {rows} WHERE session = ANY(%s)"
            " AND time BETWEEN %s::timestamptz AND %s::timestamptz"
            ' GROUP BY session, epoch, "row" / %s',
            [chosen, *sql_span(span), BLOCK],
            ("session",),
            [name for name, _ in ROW_COLUMNS],
        )
        rows = records_of(ROW, columns)
        rank = {number: at for at, number in enumerate(chosen)}
        by = np.array([rank[number] for number in columns["session"].tolist()], np.int64)
        order = np.lexsort((columns["row"], columns["epoch"], by))
        rows = rows[order]
        frame = rows_frame(rows[inside_of(rows["time_ns"], span)])
        if "tick" not in self._timeframes(chosen):
            frame.attrs["label"] = "close"
        return frame

    def alerts(
        self,
        pair: Sequence[str],
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        session: int | None = None,
    ) -> pd.DataFrame:
        """Return alerts and changes of settings.

        Parameters
        ----------
        pair : two str
            y, x.
        start, end : moments, optional
            Exchange time, both included, as `PairLab.between` takes them; None is open.
        session : int, optional
            One of `sessions`; by default those of all, one session after another.

        Returns
        -------
        pandas.DataFrame
            As `PairLab.alerts` gives it. A change has the time of the last recorded row before it.

        Raises
        ------
        DataError
            If nothing of the pair was recorded, or a moment is not valid.
        StorageError
            If the server cannot be reached for now.
        """
        first_ns, last_ns = span_ns(start, end)
        entries: list[Alert | SettingChange] = []
        for number in self._chosen(pair, session):
            found: list[Alert | SettingChange] = [*self._alerts_of(number)]
            found += [
                change_of(event, row)
                for event, row in self._events_of(number, "SettingChanged")
                if isinstance(event, SettingChanged)
            ]
            # An alert is decided on a row, a change takes effect after it.
            found.sort(key=lambda entry: entry.time_ns)
            entries += [entry for entry in found if within(entry.time_ns, first_ns, last_ns)]
        return entries_frame(entries)

    def alert_list(self, session: int) -> list[Alert]:
        """Return the alerts of a session as objects, oldest first."""
        return self._alerts_of(session)

    def journal(self, session: int) -> list[JournalEvent]:
        """Return the events of a session, in order."""
        return [event for event, _ in self._events_of(session)]

    # -- of sessions ----------------------------------------------------------------------------

    def _sessions_of(
        self, symbols: Sequence[str], stream: str | None, source: str | None
    ) -> dict[int, StoredSession]:
        """Return the sessions that recorded any of the symbols, all of one stream and source."""
        found = [s for s in self._all_sessions() if set(s.pair) & set(symbols)]
        missing = set(symbols) - {symbol for s in found for symbol in s.pair}
        if missing:
            raise DataError(f"no ticks of {', '.join(sorted(missing))} are stored in {self!r}")
        for name, given in (("stream", stream), ("source", source)):
            there = sorted({getattr(s, name) for s in found})
            if given is None and len(there) > 1:
                raise SettingError(
                    name, None, f"{' and '.join(there)} are stored: say which, {name}={there[0]!r}"
                )
            if given is not None and given not in there:
                raise SettingError(name, given, f"expected one of {', '.join(map(repr, there))}")
            found = [s for s in found if given in (None, getattr(s, name))]
        return {s.session: s for s in found}

    def _all_sessions(self) -> list[StoredSession]:
        rows = self._reader.rows(
            "SELECT session, source, stream, y, x, started, coalesce(since, started) AS since,"
            " coalesce(until, started) AS until FROM {sessions} ORDER BY started, session",
            [],
        )
        return [
            StoredSession(
                row["session"], row["source"], row["stream"], Pair(row["y"], row["x"]),
                *(exact_ns(row[name]) for name in ("started", "since", "until")),
            )
            for row in rows
        ]  # fmt: skip

    def _chosen(self, pair: Sequence[str], session: int | None) -> list[int]:
        """Return the numbers of a pair's sessions, in order of their start."""
        if isinstance(pair, str) or len(pair) != 2:
            raise SettingError("pair", pair, "expected two symbols: y, x")
        y, x = (exchange_symbol("pair", symbol) for symbol in pair)
        numbers = [s.session for s in self._all_sessions() if s.pair == (y, x)]
        if not numbers:
            raise DataError(f"nothing of {y}/{x} was recorded in {self!r}")
        if session is None:
            return numbers
        if session not in numbers:
            there = ", ".join(map(str, numbers))
            raise SettingError("session", session, f"of {y}/{x} there are {there}")
        return [session]

    def _timeframes(self, sessions: Sequence[int]) -> set[str]:
        rows = self._reader.rows(
            "SELECT settings->>'timeframe' AS timeframe FROM {sessions} WHERE session = ANY(%s)"
            " UNION SELECT fields->>'new' FROM {events} WHERE session = ANY(%s)"
            " AND event = 'SettingChanged' AND fields->>'name' = 'timeframe'",
            [list(sessions), list(sessions)],
        )
        return {row["timeframe"] for row in rows}

    def _marks(self, sessions: Mapping[int, StoredSession]) -> list[Mark]:
        marks = [
            Mark(row["session"], row["next_seq"])
            for row in self._reader.rows(
                "SELECT session, next_seq FROM {lost} WHERE session = ANY(%s)", [list(sessions)]
            )
        ]
        for number in sessions:
            marks += [
                Mark(number, event.tick, event.legs)
                for event, _ in self._events_of(number, "GapMarked")
                if isinstance(event, GapMarked)
            ]
            marks += [
                Mark(number, event.tick, TIME_CORRECTED)
                for event, _ in self._events_of(number, "TimeCorrected")
            ]
        return marks

    def _alerts_of(self, session: int) -> list[Alert]:
        names = [name for name, _ in ALERT_COLUMNS if name != "settings"]
        rows = self._reader.rows(
            "SELECT {names}, settings::text FROM {alerts} WHERE session = %s ORDER BY number",
            [session],
            names,
        )
        return [alert_of(row) for row in rows]

    def _events_of(
        self, session: int, kind: str | None = None
    ) -> Iterator[tuple[JournalEvent, Mapping[str, Any]]]:
        names = ["number", *(name for name, _ in EVENT_COLUMNS if name != "fields")]
        rows = self._reader.rows(
            "SELECT {names}, fields::text FROM {events} WHERE session = %s"
            " AND event = coalesce(%s::text, event) ORDER BY number",
            [session, kind],
            names,
        )
        return ((event_of(row), row) for row in rows)
