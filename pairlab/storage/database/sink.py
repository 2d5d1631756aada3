"""`DatabaseSink`: a recording that goes to PostgreSQL or TimescaleDB."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import PairlabError, StorageError
from pairlab.schema import ROW, RowFlag
from pairlab.storage.database import statements
from pairlab.storage.database.address import Address, driver
from pairlab.storage.database.binary import ArrayParameter, copy_payload, prepare, split_time
from pairlab.storage.database.entries import EntryClock, alert_values, event_values
from pairlab.storage.database.layout import ServerFacts
from pairlab.storage.database.refusals import statement_refused
from pairlab.storage.database.schema import add_days, bring_up_to_date
from pairlab.storage.recording.sink import RecordBatch, RecordingInfo
from pairlab.storage.tables import settings_text

if TYPE_CHECKING:
    import psycopg

__all__ = ["DatabaseSink"]

_LOGGER: Final = logging.getLogger("pairlab.storage.database")
_AT_ONCE: Final = 200_000  # records a statement: bounds the memory of both sides

Column = tuple[str, str, NDArray[Any]]
"""Name, SQL type and values."""


class DatabaseSink:
    """Writes a recording's ticks, rows, alerts and events to a database, each once.

    A batch is one transaction: stored as a whole or not at all. What is there already is left as it
    is, so a batch whose commit was never confirmed can be written again, and any number of
    recorders can record the same pair at once: each tick is stored by the first that brings it.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:port/database``.
    schema : str
        Schema of the tables, made if it is missing.

    Raises
    ------
    SettingError
        If `url` is no such address.
    MissingExtraError
        Without ``pip install "pairlab[postgres]"``.
    """

    def __init__(self, url: str, schema: str = "pairlab") -> None:
        self._address = Address(url)
        self._schema = schema
        self._connection: psycopg.Connection[Any] | None = None
        self._sql = statements.Statements(schema)
        self._days: dict[str, set[dt.date]] = {"ticks": set(), "rows": set()}
        self._partitioned = True
        self._clock = EntryClock()
        self._info: RecordingInfo | None = None
        self._next_seq = self._sent_bytes = 0  # the first: as the server has it
        self.facts: ServerFacts | None = None
        self.session: int | None = None
        self.notes: tuple[str, ...] = ()
        self.ticks_stored = self.ticks_there = self.ticks_without_leg = self.ticks_lost = 0

    def __repr__(self) -> str:
        """Name the database, without its password, and what was stored."""
        return (
            f"DatabaseSink({self._address}, session {self.session}: {self.ticks_stored:,} ticks "
            f"stored, {self.ticks_there:,} there already)"
        )

    # -- the contract of RecordSink -------------------------------------------------------------

    def open(self, info: RecordingInfo) -> None:
        """Begin a recording, or go on with that of the same session of a lab.

        Raises
        ------
        StorageError
            If the server cannot be reached for now.
        PairlabError
            If it refuses (password, rights, a newer pairlab's tables), saying what to do.
        """
        if self._info is None or self._info.session != info.session:
            self._clock = EntryClock(info.first_seq, info.started_ns)
        self._info = info
        self._connected()

    def write(self, batch: RecordBatch) -> None:
        """Store a batch, in one transaction.

        Raises
        ------
        StorageError
            If it was not stored, or the answer was lost: writing it again is safe.
        """
        try:
            with self._told():
                self._write(self._connected(), batch)
        except StorageError:
            raise
        except PairlabError as error:  # refused now, but not when it began
            raise StorageError(str(error)) from None

    def _write(self, connection: psycopg.Connection[Any], batch: RecordBatch) -> None:
        ticks = list(self._tick_columns(batch))
        rows = list(self._row_columns(batch))
        self._make_days(connection, ticks, rows)
        times_ns = self._clock.times_of(batch, batch.events)
        lost, next_seq = self._lost(batch)
        stored = sent = 0
        with connection.transaction():
            for first, end in lost:
                connection.execute(self._sql.lost, [self.session, first, end])
            for columns in ticks:
                stored += self._put(connection, "ticks", columns)
                sent += len(columns[0][2])
            for columns in rows:
                self._put(connection, "rows", columns)
            self._put_entries(connection, batch, times_ns)
            if batch.price_decimals is not None:
                connection.execute(self._sql.decimals, [*batch.price_decimals, self.session])
            connection.execute(self._sql.progress, [next_seq, _received(batch), self.session])
        self._next_seq = next_seq
        self._clock.advance(batch)
        self.ticks_lost += sum(end - first for first, end in lost)
        self.ticks_stored += stored
        self.ticks_there += sent - stored
        self.ticks_without_leg += batch.tick_count - sent

    def sync(self) -> None:
        """Return at once: a batch is on the server's disk when `write` returns."""

    def close(self) -> None:
        """End the session and the connection; what was written is stored in any case."""
        try:
            if self.session is not None:
                with self._told():
                    self._connected().execute(self._sql.closed, [self.session])
        except PairlabError as error:
            _LOGGER.warning("session %s is stored, but not marked as closed: %s",
                            self.session, error)  # fmt: skip
        finally:
            self._disconnect()

    @property
    def nbytes(self) -> int:
        """Bytes of ticks and rows that were sent; the server stores them by its own rules."""
        return self._sent_bytes

    # -- connection -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what the driver raises into words, and drop a connection that is of no more use."""
        psycopg = driver()
        try:
            yield
        except psycopg.Error as error:
            connection = self._connection
            if connection is None or connection.closed or connection.broken:
                self._disconnect()
            # Without the driver's error: it may hold parts of statements and addresses.
            raise statement_refused(error, self._address) from None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        if self._info is None:
            raise PairlabError("write() before open()")
        connection = self._address.connect(autocommit=True)
        try:
            with self._told():
                # What write() returns from is on the disk, whatever the server's own default is.
                connection.execute("SET synchronous_commit = on")
                connection.execute("SET lock_timeout = '10s'")
                prepare(connection)
                self._begin(connection, self._info)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _begin(self, connection: psycopg.Connection[Any], info: RecordingInfo) -> None:
        """Look at the server, number the session if it is new, and learn how far it came."""
        first_time = self.facts is None
        self.facts = ServerFacts.of(connection)
        left_out = bring_up_to_date(connection, self._schema, self.facts)
        row = connection.execute(self._sql.partitioned, [self._schema]).fetchone()
        self._partitioned = row is not None and row[0] == "p"
        for name in ("ticks", "rows") if self.facts.can_copy else ():
            connection.execute(self._sql.stage[name])
        started_us, rest_ns = split_time(np.array([info.started_ns], np.int64))
        decimals = info.price_decimals or (None, None)
        connection.execute(
            self._sql.begin,
            [
                info.session, self._source(info), info.real_money, info.stream, *info.pair,
                *decimals, ArrayParameter("timestamptz", started_us), int(rest_ns[0]),
                info.first_seq, info.first_seq, info.complete, settings_text(info.settings),
                json.dumps(dict(info.versions)),
            ],
        )  # fmt: skip
        row = connection.execute(self._sql.progress_of, [info.session]).fetchone()
        if row is None:
            raise StorageError(f"{self._address}: the session was not stored")
        self.session, self._next_seq = row
        if first_time:
            notes = [*left_out]
            if not self._address.is_this_machine and not connection.pgconn.ssl_in_use:
                notes.append("the connection is not encrypted: add ?sslmode=require to the address")
            self._note(notes)
            _LOGGER.info("recording to %s: %s", self._address, self.facts)

    @staticmethod
    def _source(info: RecordingInfo) -> str:
        # A local exchange is named by its address, before which a user and a password can stand.
        return re.sub(r"\S*@", "", info.feed)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _note(self, notes: Sequence[str]) -> None:
        for note in notes:
            if note not in self.notes:
                self.notes += (note,)
                _LOGGER.warning("%s: %s", self._address, note)

    # -- one batch ------------------------------------------------------------------------------

    def _lost(self, batch: RecordBatch) -> tuple[list[tuple[int, int]], int]:
        """Return the ordinals that fell out before and within a batch, and the next one."""
        found, expected = [], self._next_seq
        for first, ticks in batch.ticks:
            if first > expected:
                found.append((expected, first))
            expected = max(expected, first + len(ticks))
        return found, expected

    def _tick_columns(self, batch: RecordBatch) -> Iterator[list[Column]]:
        if not batch.ticks:
            return
        ticks = np.concatenate([records for _, records in batch.ticks])
        seq = np.concatenate(
            [np.arange(first, first + len(records)) for first, records in batch.ticks]
        )
        has_leg = (ticks["leg"] >> 1) == 0  # the lab holds others, too, and its engine drops them
        if not has_leg.all():
            ticks, seq = ticks[has_leg], seq[has_leg]
        for at in range(0, len(ticks), _AT_ONCE):
            part = ticks[at : at + _AT_ONCE]
            values = {name: part[name] for name in ("id", "price", "quantity", "buyer_is_maker")}
            values["seq"] = seq[at : at + _AT_ONCE]
            yield [("leg", "int2", part["leg"]), *_columns(statements.TICK_STAGE, part, values)]

    def _row_columns(self, batch: RecordBatch) -> Iterator[list[Column]]:
        for epoch, first_row, rows in batch.rows:
            for at in range(0, len(rows), _AT_ONCE):
                part = rows[at : at + _AT_ONCE]
                values = {name: part[name] for name in ROW.names or ()}
                values["epoch"] = np.full(len(part), epoch)
                values["row"] = np.arange(first_row + at, first_row + at + len(part))
                yield _columns(statements.ROW_STAGE, part, values)

    def _put(self, connection: psycopg.Connection[Any], table: str, columns: list[Column]) -> int:
        """Store records that are not there yet; return how many were not."""
        if self.facts is not None and self.facts.can_copy:
            source, arrays = self._sql.from_stage[table], []
            payload = copy_payload([(kind, values) for _, kind, values in columns])
            with connection.cursor() as cursor, cursor.copy(self._sql.copy[table]) as copy:
                copy.write(payload)
            self._sent_bytes += len(payload)
        else:
            source = self._sql.from_arrays[table]
            arrays = [ArrayParameter(kind, values) for _, kind, values in columns]
            self._sent_bytes += sum(len(array.data) for array in arrays)
        cursor = connection.execute(source, [*self._constants(table), *arrays])
        if not arrays:
            connection.execute(self._sql.empty[table])
        return cursor.rowcount

    def _constants(self, table: str) -> list[Any]:
        assert self._info is not None  # noqa: S101  # _connected() has seen to it
        if table == "rows":
            return [self.session]
        info = self._info
        return [self.session, self._source(info), info.stream, list(info.pair)]

    def _put_entries(
        self, connection: psycopg.Connection[Any], batch: RecordBatch, times_ns: Sequence[int]
    ) -> None:
        number = self.session
        events = enumerate(zip(batch.events, times_ns, strict=True), batch.first_event)
        rebuilt = [[number, r.epoch, r.seq, r.rows, r.held, r.sha256] for r in batch.rebuilds]
        with connection.cursor() as cursor:
            for statement, rows in (
                (self._sql.alert, [[number, *alert_values(a)] for a in batch.alerts]),
                (self._sql.event, [[number, n, *event_values(e, at)] for n, (e, at) in events]),
                (self._sql.rebuild, rebuilt),
            ):
                if rows:
                    cursor.executemany(statement, rows)

    def _make_days(
        self,
        connection: psycopg.Connection[Any],
        ticks: list[list[Column]],
        rows: list[list[Column]],
    ) -> None:
        """Make partitions for days that are new; days of klines before the start get none."""
        if not self._partitioned:
            return
        for table, parts in (("ticks", ticks), ("rows", rows)):
            found: set[dt.date] = set()
            for columns in parts:
                values = {name: column for name, _, column in columns}
                times = values["time"]
                if table == "rows":
                    times = times[(values["flags"] & RowFlag.SEEDED) == 0]
                days = np.unique(times // 86_400_000_000).tolist()
                found |= {dt.date(2000, 1, 1) + dt.timedelta(day) for day in days}
            if new := found - self._days[table]:
                note = add_days(connection, self._schema, table, new)
                self._days[table] |= new
                self._note([note] if note else [])


def _columns(
    stage: Sequence[tuple[str, str]], records: NDArray[Any], values: dict[str, NDArray[Any]]
) -> list[Column]:
    """Return the columns of a stage table in its order, times in two parts."""
    for name in ("time", "received"):
        values[name], values[f"{name}_rest_ns"] = split_time(records[f"{name}_ns"])
    return [(name, kind, values[name]) for name, kind in stage if name != "leg"]


def _received(batch: RecordBatch) -> ArrayParameter:
    """Return when a batch's first and newest ticks were received; without ticks, an empty array."""
    times = [ticks["received_ns"] for _, ticks in batch.ticks if len(ticks)]
    ends = [times[0][0], max(t.max() for t in times)] if times else []
    return ArrayParameter("timestamptz", split_time(np.array(ends, np.int64))[0])
