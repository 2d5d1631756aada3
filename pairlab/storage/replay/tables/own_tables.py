"""Tables of one's own as the source of a replay: in memory, or row group after row group."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from pairlab.errors import DataError
from pairlab.feeds.base import Closes
from pairlab.schema import TICK, Pair, Records
from pairlab.storage.replay.tables.row_groups import RowGroup, row_groups
from pairlab.storage.replay.tables.table_file import TableFile, TableFormat
from pairlab.storage.replay.tick_source import (
    BLOCK,
    Block,
    HeldTicks,
    IdGaps,
    TickSource,
    decimals_of,
    in_order_of_time,
)

__all__ = ["RowGroupTicks", "open_tables"]

_STREAM: Final = "trade"


def open_tables(
    files: Sequence[tuple[Path, TableFormat]],
    pair: Pair,
    stream: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> TickSource:
    """Return the ticks in CSV, NDJSON or Parquet files of one's own.

    Ticks are ordered by time, UTC. Of equal times those of one file keep its order; of two files of
    one symbol each, y's come first. A Parquet file whose row groups ascend in time (or one of each
    symbol) is read as it is played; anything else is held in memory.

    Parameters
    ----------
    files : sequence of (Path, format)
        Of both symbols, with a column that says which; or of one symbol each, which the names say;
        of two files whose names do not, the first is y's.
    pair : Pair
        The symbols.
    stream : str, optional
        What a tick is, for the screen; trades by default.
    columns : mapping of str to str, optional
        The names of columns by ``time``, ``price``, ``symbol``, ``quantity``, ``id``,
        ``received``, ``side``; others are guessed, and `TickSource.notes` says how.

    Raises
    ------
    DataError
        If one cannot be read, a column is not known, or a value is none of its kind.
    MissingExtraError
        Without ``pip install "pairlab[storage]"``.
    """
    tables = [TableFile(path, kind, pair, columns) for path, kind in files]
    legs = [None if "symbol" in t.columns else _leg_of(t.path, pair) for t in tables]
    if len(tables) == 2 and not any("symbol" in table.columns for table in tables):
        if legs == [None, None]:
            legs = [0, 1]
        for at in (0, 1):
            other = legs[1 - at]
            if legs[at] is None and other is not None:
                legs[at] = 1 - other
    tables = [
        table if leg is None else TableFile(table.path, table.kind, pair, columns, leg)
        for table, leg in zip(tables, legs, strict=True)
    ]
    tables.sort(key=lambda table: table.leg or 0)  # stable: y before x at equal times
    lazy = _by_row_group(tables, pair, stream)
    return lazy or _held(tables, pair, stream)


def _leg_of(path: Path, pair: Pair) -> int | None:
    """Return the leg whose symbol is in a file's name, if it is one alone."""
    name = re.sub(r"[^A-Z0-9]", "", path.name.upper())
    found = [leg for leg, symbol in enumerate(pair) if re.sub("[^A-Z0-9]", "", symbol) in name]
    return found[0] if len(found) == 1 else None


def _by_row_group(tables: list[TableFile], pair: Pair, stream: str | None) -> RowGroupTicks | None:
    legs = [table.leg for table in tables]
    if any(table.kind != "parquet" for table in tables) or legs not in ([None], [0, 1]):
        return None
    opened = []
    for table in tables:
        if legs == [None] and "symbol" not in table.columns:
            return None  # which says what is missing
        file = table.parquet()
        bounds = table.time_bounds(file)
        if bounds is None:
            return None
        opened.append(bounds)
    return RowGroupTicks(tables, opened, pair, stream or _STREAM)


def _held(tables: list[TableFile], pair: Pair, stream: str | None) -> HeldTicks:
    parts, notes = [], []
    for table in tables:
        ticks = table.ticks()
        late = int((np.diff(ticks["time_ns"]) < 0).sum())
        parts.append(ticks)
        notes.append(table.note + (f"; {late:,} rows out of order of time" if late else ""))
        notes += _left_out(table)
    ticks = np.concatenate([np.zeros(0, TICK), *parts])
    times = ticks["time_ns"]
    if (times[1:] < times[:-1]).any():
        ticks = ticks[np.argsort(times, kind="stable")]
    counted = _ids_count_up(ticks, tables)
    notes.append(_about_ids(counted))
    gaps = IdGaps().find(ticks) if counted else []
    return HeldTicks(pair, stream or _STREAM, ticks, gaps, notes=notes)


def _left_out(table: TableFile) -> list[str]:
    if not table.others:
        return []
    listed = sorted(table.others)
    more = f" and {len(listed) - 10} more" if len(listed) > 10 else ""
    return [f"{table.path.name}: rows of {', '.join(listed[:10])}{more} are left out"]


def _ids_count_up(ticks: Records, tables: list[TableFile]) -> bool:
    """Return whether ids of each leg mostly go up by one, so that one that is missing is a gap."""
    if not all("id" in table.columns for table in tables):
        return False
    for leg in (0, 1):
        steps = np.diff(ticks["id"][ticks["leg"] == leg])
        if not len(steps) or (steps <= 0).any() or (steps == 1).mean() < 0.5:
            return False
    return True


def _about_ids(counted: bool) -> str:
    if counted:
        return "ids count up by one: those that are missing are marked as gaps"
    return "no ids that count up by one: no gaps are marked"


class RowGroupTicks:
    """Ticks of Parquet files that are read row group by row group, as they are played.

    Parameters
    ----------
    tables : list of TableFile
        One of both symbols, or y's and x's.
    bounds : list of list of (int, int)
        Of each, the time span of every row group, ns, ascending.
    pair, stream
        As in `TickSource`.

    Raises
    ------
    DataError
        If there is no tick of one of the symbols, or a value is none of its kind.
    """

    def __init__(
        self,
        tables: list[TableFile],
        bounds: list[list[tuple[int, int]]],
        pair: Pair,
        stream: str,
    ) -> None:
        self.pair, self.stream = pair, stream
        self._tables, self._bounds = tables, bounds
        self.time_span_ns = min(b[0][0] for b in bounds), max(b[-1][1] for b in bounds)
        parts, seen = [], set[int]()
        for table in tables:
            for group in row_groups(table, table.parquet()):
                for ticks in group.ticks():
                    parts.append(ticks)
                    seen.update(np.unique(ticks["leg"]).tolist())
                if len(seen) == 2 or table.leg is not None:
                    break
        missing = [symbol for leg, symbol in enumerate(pair) if leg not in seen]
        if missing:
            raise DataError(f"{tables[0].path}: no ticks of {' and '.join(missing)}")
        first = np.concatenate(parts)
        self._counted = _ids_count_up(first, tables)
        self.price_decimals: tuple[int, int] | None = decimals_of(first)
        self.seeds: Mapping[str, Closes] = {}
        self.notes = [table.note for table in tables]
        for table in tables:
            self.notes += _left_out(table)
        self.notes.append(_about_ids(self._counted))

    def blocks(self, start_ns: int | None = None, before: int = 0) -> Iterator[Block]:
        """Do as `TickSource.blocks`."""
        ids = IdGaps()
        streams = [
            _from(table, bounds, start_ns, before)
            for table, bounds in zip(self._tables, self._bounds, strict=True)
        ]
        for ticks in streams[0] if len(streams) == 1 else _merged(*streams):
            for start in range(0, len(ticks), BLOCK):
                block = ticks[start : start + BLOCK]
                yield Block(block, ids.find(block) if self._counted else ())


def _from(
    table: TableFile, bounds: list[tuple[int, int]], start_ns: int | None, before: int
) -> Iterator[Records]:
    """Yield a table's ticks from a time on, and so many before it."""
    file = table.parquet()
    group, skip, known = 0, 0, dict[int, RowGroup]()
    if start_ns is not None:
        group = next((g for g, (_, last) in enumerate(bounds) if last >= start_ns), len(bounds))
        if group < len(bounds):
            known[group] = next(row_groups(table, file, group))
            skip = int(np.searchsorted(known[group].times, start_ns))
        skip -= before
        while skip < 0 and group:
            group -= 1
            known[group] = next(row_groups(table, file, group))
            skip += len(known[group])
        skip = max(skip, 0)
    for number in range(group, len(bounds)):
        at = known.pop(number, None) or next(row_groups(table, file, number))
        yield from at.ticks(skip)
        skip = 0


def _merged(y: Iterator[Records], x: Iterator[Records]) -> Iterator[Records]:
    """Yield the ticks of two tables in order of time, as `in_order_of_time` has it."""
    streams, ended = (y, x), [False, False]
    held: list[Records] = [np.zeros(0, TICK), np.zeros(0, TICK)]

    def more(leg: int) -> None:
        got = next(streams[leg], None)
        if got is None:
            ended[leg] = True
        else:
            held[leg] = np.concatenate([held[leg], got]) if len(held[leg]) else got

    while True:
        for leg in (0, 1):
            while not ended[leg] and not len(held[leg]):
                more(leg)
        open_ends = [int(held[leg]["time_ns"][-1]) for leg in (0, 1) if not ended[leg]]
        if not open_ends:
            if len(held[0]) or len(held[1]):
                yield in_order_of_time(*held)
            return
        # A tick of the last time that is held may be followed by another of the same time.
        safe_ns = min(open_ends)
        cuts = [int(np.searchsorted(leg["time_ns"], safe_ns)) for leg in held]
        if any(cuts):
            yield in_order_of_time(held[0][: cuts[0]], held[1][: cuts[1]])
            held = [leg[cut:] for leg, cut in zip(held, cuts, strict=True)]
        for leg in (0, 1):
            if not ended[leg] and len(held[leg]) and int(held[leg]["time_ns"][-1]) == safe_ns:
                more(leg)
