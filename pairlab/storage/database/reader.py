"""Queries to a database: rows as dicts, and long tables as numpy columns."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import DataError
from pairlab.schema import Records
from pairlab.storage.database.address import Address, driver
from pairlab.storage.database.binary import as_times, prepare
from pairlab.storage.database.layout import ServerFacts
from pairlab.storage.database.refusals import statement_refused
from pairlab.storage.database.schema import TABLES, stored_version

if TYPE_CHECKING:
    import psycopg

__all__ = ["BLOCK", "Reader", "inside_of", "records_of", "sql_span"]

BLOCK: Final = 65_536
"""Records to an array of an answer: an array of the server's holds 1 GB at most."""

_UTC_1970: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Reader:
    """Asks a database, and connects anew where the connection was lost.

    Parameters
    ----------
    address : Address
        Of the database.
    schema : str
        Of the tables.

    Raises
    ------
    PairlabError
        If the server refuses, or a newer pairlab recorded there; a `DataError` if nobody did; a
        `StorageError` if it cannot be reached for now.
    """

    def __init__(self, address: Address, schema: str) -> None:
        self.address = address
        self._schema = schema
        self._connection: psycopg.Connection[Any] | None = None
        with self._told() as connection:
            self.facts = ServerFacts.of(connection)

    def close(self) -> None:
        """Close the connection; a later query opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[psycopg.Connection[Any]]:
        """Give a connection, and turn what the driver raises into words."""
        psycopg = driver()
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._connected()
            yield self._connection
        except psycopg.Error as error:
            raise statement_refused(error, self.address) from None

    def _connected(self) -> psycopg.Connection[Any]:
        connection = self.address.connect(autocommit=True)
        try:
            prepare(connection)
            if not stored_version(connection, self._schema):
                raise DataError(
                    f"{self.address}: nothing was recorded there: schema {self._schema!r} has no "
                    "tables of pairlab's"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _query(self, text: str, names: Iterable[str], arrays: Iterable[str]) -> Any:
        sql = driver().sql
        tables = {name: sql.Identifier(self._schema, name) for name in TABLES}
        listed = sql.SQL(", ").join(map(sql.Identifier, names))
        gathered = sql.SQL(", ").join(
            sql.SQL("array_agg({})").format(sql.Identifier(name)) for name in arrays
        )
        return sql.SQL(text).format(names=listed, arrays=gathered, **tables)

    def rows(
        self, text: str, parameters: Sequence[Any], names: Iterable[str] = ()
    ) -> list[dict[str, Any]]:
        """Return what a query gives; ``{names}`` in its text stands for these columns."""
        with self._told() as connection:
            dict_row = driver().rows.dict_row
            with connection.cursor(binary=True, row_factory=dict_row) as cursor:
                return cursor.execute(self._query(text, names, ()), parameters).fetchall()

    def blocks(
        self, text: str, parameters: Sequence[Any], keys: Sequence[str], names: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Return columns as arrays.

        Parameters
        ----------
        text : str
            A query; ``{arrays}`` in it stands for the aggregates of `names`.
        parameters : sequence
            Its values.
        keys : sequence of str
            Columns before those, which have one value for all records of a group.
        names : sequence of str
            Columns that are gathered.

        Returns
        -------
        dict of str to numpy.ndarray
            All of one length, in no order.
        """
        with self._told() as connection, connection.cursor(binary=True) as cursor:
            blocks = cursor.execute(self._query(text, (), names), parameters).fetchall()
        empty = np.empty(0, np.int64)
        lengths = [len(block[-1]) for block in blocks]
        found = {
            key: np.repeat(np.array([block[at] for block in blocks], np.int64), lengths)
            for at, key in enumerate(keys)
        }
        for at, name in enumerate(names, len(keys)):
            found[name] = np.concatenate([block[at] for block in blocks] or [empty])
        return found


def records_of(dtype: np.dtype[Any], columns: Mapping[str, NDArray[Any]]) -> Records:
    """Return columns as records; times of two parts become one."""
    records = np.zeros(len(columns["time"]), dtype)
    for name in dtype.names or ():
        part = name.removesuffix("_ns")
        if part != name:
            records[name] = as_times(columns[part], columns[f"{part}_rest_ns"])
        else:
            records[name] = columns[name]
    return records


def inside_of(
    times_ns: NDArray[np.int64], span: tuple[int | None, int | None]
) -> NDArray[np.bool_]:
    """Tell which times lie within a span to the nanosecond, which the server cannot tell."""
    found = np.ones(len(times_ns), np.bool_)
    if span[0] is not None:
        found &= times_ns >= span[0]
    if span[1] is not None:
        found &= times_ns <= span[1]
    return found


def sql_span(span: tuple[int | None, int | None]) -> list[str]:
    """Return both ends as the server reads them, rounded down to microseconds."""
    ends = []
    for time_ns, open_end in zip(span, ("-infinity", "infinity"), strict=True):
        if time_ns is None:
            ends.append(open_end)
        else:
            ends.append((_UTC_1970 + dt.timedelta(microseconds=time_ns // 1_000)).isoformat())
    return ends
