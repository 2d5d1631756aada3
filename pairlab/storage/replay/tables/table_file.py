"""Ticks in a table of one's own: CSV, NDJSON or Parquet, with its columns mapped."""

from __future__ import annotations

import contextlib
import csv
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import DataError
from pairlab.schema import TICK, Pair, Records
from pairlab.storage.replay.tables.columns import (
    described,
    find_columns,
    legs_of,
    maker_of,
    numbers_of,
    time_unit,
    times_of,
)
from pairlab.storage.tables import arrow

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TableFile", "TableFormat"]

TableFormat = Literal["csv", "ndjson", "parquet"]

_BLOCK_BYTES: Final = 4 * 2**20
"""Read together; a line that is longer is refused."""

_HEAD_BYTES: Final = 64 * 2**10
_DELIMITERS: Final = ",;\t|"


class TableFile:
    """A table of ticks of both symbols, or of one.

    Parameters
    ----------
    path : Path
        Where it is; a CSV or NDJSON file may be gzip'd.
    kind : {"csv", "ndjson", "parquet"}
        What it is.
    pair : Pair
        The symbols.
    given : mapping of str to str, optional
        Columns by field.
    leg : int, optional
        Of every row, where there is no column of symbols.

    Attributes
    ----------
    columns : dict of str to str
        The column of each field.
    others : set of str
        Symbols of rows that were left out.

    Raises
    ------
    DataError
        If it cannot be read, or its columns are not known.
    MissingExtraError
        Without ``pip install "pairlab[storage]"``.
    """

    def __init__(
        self,
        path: Path,
        kind: TableFormat,
        pair: Pair,
        given: Mapping[str, str] | None = None,
        leg: int | None = None,
    ) -> None:
        self.path, self.kind, self.pair, self.leg = path, kind, pair, leg
        self.others: set[str] = set()
        self._given = dict(given or {})
        self._units: dict[str, str | None] = {}
        self._delimiter = ","
        self._table: pa.Table | None = None
        names = self._names()
        self.columns = find_columns(path, names, given)
        if leg is not None:
            self.columns.pop("symbol", None)

    @property
    def note(self) -> str:
        """What was taken for what."""
        units = [f"{name} in {unit}" for name, unit in self._units.items() if unit]
        split = "" if self._delimiter == "," else f"; columns are parted by {self._delimiter!r}"
        whose = "" if self.leg is None else f"; every row is of {self.pair[self.leg]}"
        return (
            f"{self.path.name}: {described(self.columns, self._given)}"
            + (f"; {', '.join(units)}" if units else "")
            + split
            + whose
        )

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """Say of what cannot be read where it is."""
        pa = arrow()
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
            raise DataError(f"{self.path} cannot be read: {_first(error)}") from None

    def _names(self) -> list[str]:
        with self._understood():
            return self._column_names()

    def _column_names(self) -> list[str]:
        if self.kind == "parquet":
            return list(self.parquet().schema_arrow.names)
        if self.kind == "ndjson":
            self._table = self._read_ndjson()
            return list(self._table.column_names)
        with self._opened() as text:
            head = bytes(text.read(_HEAD_BYTES)).decode("utf-8-sig", errors="replace")
        line = head.splitlines()[0] if head else ""
        if not line.strip():
            raise DataError(f"{self.path} is empty: expected a first line with the columns' names")
        counts = {mark: line.count(mark) for mark in _DELIMITERS}
        self._delimiter = max(counts, key=lambda mark: counts[mark])
        names = next(csv.reader([line], delimiter=self._delimiter))
        if len(line) >= _HEAD_BYTES - 4:
            raise DataError(f"{self.path}: its first line is longer than {_HEAD_BYTES:,} bytes")
        if any(_is_number(name) for name in names):
            raise DataError(
                f"{self.path}: its first line {line[:60]!r} names no columns: expected a header"
            )
        return names

    # -- reading -----------------------------------------------------------------------------------

    def ticks(self) -> Records:
        """Return every tick, in the order of the rows."""
        return self.decoded(self._read(), 0)

    def symbols(self) -> list[str]:
        """Return the symbols in the column of symbols; without one, none."""
        name = self.columns.get("symbol")
        if name is None:
            return []
        pa = arrow()
        kept, self.columns = self.columns, {"symbol": name}
        try:
            column = self._read().column(name)
        finally:
            self.columns = kept
        with self._understood():
            texts = column.cast(pa.string()).unique().drop_null()
            return [str(text) for text in texts.to_pylist()]

    def parquet(self) -> Any:
        """Return the file as pyarrow's ParquetFile, symbols as dictionaries."""
        pa = arrow()
        import pyarrow.parquet as pq

        symbol = getattr(self, "columns", {}).get("symbol")
        try:
            return pq.ParquetFile(self.path, read_dictionary=[symbol] if symbol else None)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path} cannot be read as Parquet: {error}") from None

    @property
    def used_columns(self) -> list[str]:
        """The columns that are read, each once."""
        return list(dict.fromkeys(self.columns.values()))

    def row_group(self, file: Any, group: int, columns: list[str] | None = None) -> pa.Table:
        """Return columns of one row group; by default those that are used."""
        pa = arrow()
        try:
            return file.read_row_group(group, columns=columns or self.used_columns)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path} cannot be read, row group {group}: {error}") from None

    def _read(self) -> pa.Table:
        pa = arrow()
        if self.kind == "parquet":
            file = self.parquet()
            groups = range(file.metadata.num_row_groups)
            tables = [self.row_group(file, group) for group in groups]
            return pa.concat_tables(tables) if tables else file.schema_arrow.empty_table()
        if self._table is not None:
            table, self._table = self._table, None
            return table
        from pyarrow import csv as pa_csv

        numbers = {
            self.columns[field]: pa.float64()
            for field in ("price", "quantity")
            if field in self.columns
        }
        try:
            with self._opened() as text:
                return pa_csv.read_csv(
                    text,
                    pa_csv.ReadOptions(block_size=_BLOCK_BYTES),
                    pa_csv.ParseOptions(delimiter=self._delimiter),
                    pa_csv.ConvertOptions(
                        include_columns=list(self.columns.values()), column_types=numbers
                    ),
                )
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path} cannot be read as CSV: {_first(error)}") from None

    def _read_ndjson(self) -> pa.Table:
        pa = arrow()
        from pyarrow import json as pa_json

        try:
            with self._opened() as text:
                return pa_json.read_json(text, pa_json.ReadOptions(block_size=_BLOCK_BYTES))
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path} cannot be read as NDJSON: {_first(error)}") from None

    def _opened(self) -> Any:
        pa = arrow()
        try:
            return pa.input_stream(str(self.path), compression="detect")
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path} cannot be read: {_first(error)}") from None

    # -- decoding ----------------------------------------------------------------------------------

    def decoded(self, table: pa.Table, first_row: int) -> Records:
        """Return the ticks of some rows of the table.

        Parameters
        ----------
        table : pyarrow.Table
            Its columns, or those that are used.
        first_row : int
            Number of the first, which is the tick's id where there is no column of ids.

        Raises
        ------
        DataError
            If a value is missing or of another type; names it.
        """
        with self._understood():
            return self._decoded(table, first_row)

    def _decoded(self, table: pa.Table, first_row: int) -> Records:
        count = table.num_rows
        ticks = np.zeros(count, TICK)
        if not count:
            return ticks
        column = {field: table.column(name) for field, name in self.columns.items()}
        ticks["time_ns"] = self._times("time", column["time"])
        ticks["received_ns"] = (
            self._times("received", column["received"])
            if "received" in column
            else ticks["time_ns"]
        )
        ticks["price"] = numbers_of(self.path, self.columns["price"], column["price"])
        ticks["quantity"] = np.nan
        if "quantity" in column:
            ticks["quantity"] = numbers_of(self.path, self.columns["quantity"], column["quantity"])
        if "side" in column:
            ticks["buyer_is_maker"] = maker_of(self.path, self.columns["side"], column["side"])
        if "id" in column:
            ticks["id"] = self._ids(column["id"])
        else:
            ticks["id"] = np.arange(first_row, first_row + count)
        if self.leg is not None:
            ticks["leg"] = self.leg
            return ticks
        if "symbol" not in column:
            raise DataError(
                f"{self.path}: no column of symbols; there are {', '.join(table.column_names)}: "
                'name it, as in Replay(path, columns={"symbol": …}), or give one file a symbol'
            )
        ticks["leg"], others = legs_of(
            self.path, self.columns["symbol"], column["symbol"], self.pair
        )
        if others:
            self.others.update(others)
            ticks = ticks[ticks["leg"] >= 0]
        return ticks

    def _ids(self, column: pa.ChunkedArray) -> NDArray[np.int64]:
        numbers = numbers_of(self.path, self.columns["id"], column)
        if _is_integer(column.type):
            return np.asarray(column.cast(arrow().int64()).to_numpy(), np.int64)
        if not (np.abs(numbers) < 2.0**63).all():  # of a NaN it is not so
            raise DataError(
                f"{self.path}: column {self.columns['id']!r} holds ids that are no numbers of 64 "
                "bits"
            )
        return numbers.astype(np.int64)

    def times(self, table: pa.Table) -> NDArray[np.int64]:
        """Return the exchange times of some rows, ns since 1970 UTC."""
        with self._understood():
            found: NDArray[np.int64] = self._times("time", table.column(self.columns["time"]))
        return found

    def _times(self, field: str, column: pa.ChunkedArray) -> Any:
        name = self.columns[field]
        if name not in self._units:
            self._units[name] = time_unit(self.path, name, column)
        return times_of(self.path, name, column, self._units[name])

    # -- one row group after the other -------------------------------------------------------------

    def time_bounds(self, file: Any) -> list[tuple[int, int]] | None:
        """Return the time span of each row group of a Parquet file, ns; None if it does not say."""
        pa = arrow()
        name = self.columns["time"]
        at = file.schema_arrow.names.index(name)
        kind = file.schema_arrow.field(at).type
        bounds = []
        for group in range(file.metadata.num_row_groups):
            leaves = file.metadata.row_group(group)
            chunk = next(
                leaves.column(k)
                for k in range(leaves.num_columns)
                if leaves.column(k).path_in_schema == name
            )
            found = chunk.statistics
            if found is None or not found.has_min_max:
                return None
            try:
                ends = pa.chunked_array([pa.array([found.min, found.max]).cast(kind)])
            except (pa.ArrowException, TypeError, ValueError):
                return None
            low, high = self._times("time", ends).tolist()
            bounds.append((low, high))
        ascending = all(a[1] <= b[0] for a, b in itertools.pairwise(bounds))
        return bounds if bounds and ascending else None


def _first(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_integer(kind: Any) -> bool:
    return bool(arrow().types.is_integer(kind))
