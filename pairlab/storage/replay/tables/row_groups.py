"""A row group of a table of ticks, decoded piece by piece, from any tick on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import DataError
from pairlab.schema import Records
from pairlab.storage.replay.tables.columns import legs_of
from pairlab.storage.replay.tables.table_file import TableFile
from pairlab.storage.replay.tick_source import BLOCK
from pairlab.storage.tables import arrow

__all__ = ["RowGroup", "row_groups"]


class RowGroup:
    """The ticks of a row group in order of time.

    Its times (and symbols, where rows of others are among them) are read at once: they say where
    a time is, and whether the rows are in order. The other columns are decoded as they are asked
    for, in pieces that the processor's cache holds: 48 bytes a tick are slow to write elsewhere.

    Parameters
    ----------
    table : TableFile
        What the columns are.
    file : pyarrow.parquet.ParquetFile
        The same, open.
    number : int
        Of the group.
    first_row : int
        Number of its first row in the file.

    Raises
    ------
    DataError
        If it cannot be read, or a time or symbol is none.
    """

    def __init__(self, table: TableFile, file: Any, number: int, first_row: int) -> None:
        self._table, self._file, self._number, self._first_row = table, file, number, first_row
        known = [table.columns["time"]]
        symbol = table.columns.get("symbol") if table.leg is None else None
        if symbol is not None:
            known.append(symbol)
        self._known = table.row_group(file, number, known)
        self._rows: NDArray[np.int64] | None = None  # of its ticks; None: each row is one
        times = table.times(self._known)
        if symbol is not None:
            legs, _ = legs_of(table.path, symbol, self._known.column(symbol), table.pair)
            if (legs < 0).any():
                self._rows = np.flatnonzero(legs >= 0)
                times = times[self._rows]
        self._in_order = not (times[1:] < times[:-1]).any()
        self.times: Final[NDArray[np.int64]] = times if self._in_order else np.sort(times)

    def __len__(self) -> int:
        return len(self.times)

    def ticks(self, first: int = 0) -> Iterator[Records]:
        """Yield the ticks from the `first` of the group on, in pieces.

        Raises
        ------
        DataError
            If it cannot be read, or a value is missing or of another type; names it.
        """
        if first >= len(self):
            return
        if not self._in_order:
            table = self._table.row_group(self._file, self._number)
            ticks = self._table.decoded(table, self._first_row)
            ticks = ticks[np.argsort(ticks["time_ns"], kind="stable")]
            for start in range(first, len(ticks), BLOCK):
                yield ticks[start : start + BLOCK]
            return
        skip = first if self._rows is None else int(self._rows[first])
        row = 0
        for piece in self._pieces():
            count = piece.num_rows
            if row + count > skip:
                begin = max(skip - row, 0)
                whole = piece.slice(begin)
                for name in self._known.column_names:
                    part = self._known.column(name).slice(row + begin, count - begin)
                    whole = whole.append_column(name, part)
                ticks = self._table.decoded(whole, self._first_row + row + begin)
                if len(ticks):
                    yield ticks
            row += count

    def _pieces(self) -> Iterator[Any]:
        """Yield the columns that are not known yet, so many rows at a time."""
        pa = arrow()
        names = [name for name in self._table.used_columns if name not in self._known.column_names]
        batches = self._file.iter_batches(BLOCK, [self._number], names)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise DataError(
                    f"{self._table.path} cannot be read, row group {self._number}: {error}"
                ) from None
            if batch is None:
                return
            yield pa.Table.from_batches([batch])


def row_groups(table: TableFile, file: Any, first: int = 0) -> Iterator[RowGroup]:
    """Yield the row groups of a file from the `first` on."""
    metadata = file.metadata
    row = sum(metadata.row_group(group).num_rows for group in range(first))
    for group in range(first, metadata.num_row_groups):
        yield RowGroup(table, file, group, row)
        row += metadata.row_group(group).num_rows
