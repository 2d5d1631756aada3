"""`read_archive`: ticks from Binance's public archive, sorted, checked, and reported on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.errors import DataError
from pairlab.storage.archive_file import ArchiveFile, FileReport, differs, read_file

__all__ = ["Archive", "read_archive"]

_SUFFIXES: Final = (".zip", ".csv", ".csv.gz")
_COLUMNS: Final = ("id", "time_ns", "price", "quantity", "buyer_is_maker")


@dataclass(frozen=True)
class Archive:
    """Ticks of one symbol or several, and what was found in their files.

    Attributes
    ----------
    ticks : pandas.DataFrame
        Columns symbol, id, price, quantity, buyer_is_maker, gap_before; index ``time``, the
        exchange's trade time, UTC: as `PairLab.ticks` gives them, and what `pairlab.analyze` takes.
        `gap_before` marks the first tick after ids that are missing, as in `PairLab.ticks`: by 1
        for the first symbol and 2 for the second, else 0. Of a bookTicker file `price`
        is the mid price and `quantity` what stands on both sides.
    report : pandas.DataFrame
        A row per file: rows, first_id, last_id, missing, duplicates, conflicts, out_of_order,
        time_steps_back, zero_quantity, bad_price, one_sided, unit, header, sha256, checksum, as
        `FileReport` describes them; index ``file``.
    """

    ticks: pd.DataFrame
    report: pd.DataFrame

    def __repr__(self) -> str:
        """Say how much there is, and what is wrong with it."""
        report = self.report
        kinds = report.groupby(["symbol", "kind"], sort=False)["rows"].agg(["size", "sum"])
        lines = [
            f"  {symbol} {kind}: {count:,} files, {rows:,} rows"
            for (symbol, kind), count, rows in kinds.itertuples()
        ]
        for name, text in _FAULTS.items():
            found = report[report[name] > 0]
            if len(found):
                lines.append(f"  {int(found[name].sum()):,} {text} in {len(found):,} files")
        span = "no ticks"
        if len(self.ticks):
            ends = (self.ticks.index.min(), self.ticks.index.max())
            first, last = (f"{end:%Y-%m-%d %H:%M:%S}" for end in ends)
            span = f"{len(self.ticks):,} ticks, {first} to {last} UTC"
        return "\n".join([f"Archive: {span}", *lines])


_FAULTS: Final = {
    "missing": "ids missing",
    "duplicates": "rows there twice",
    "conflicts": "rows that contradict another of the same id",
    "out_of_order": "rows out of order",
    "time_steps_back": "rows earlier than the id before",
    "zero_quantity": "rows with a quantity of 0",
    "bad_price": "rows without a usable price",
    "one_sided": "file(s) with the same side on every row",
}


def read_archive(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], symbol: str | None = None
) -> Archive:
    """Return the ticks in files of Binance's public archive (data.binance.vision).

    The archive's known faults are mended where they can be, and reported: rows are sorted by id,
    ids that are there twice are kept once (of a daily and a monthly file that disagree the daily
    one is right), missing ids are marked, and the unit of the times and the header are looked up in
    each file. Ticks of several symbols are merged in order of time.

    Parameters
    ----------
    paths : str, os.PathLike or sequence of them
        Files of aggTrades, trades or bookTicker as they were published (.zip), or their text (.csv,
        .csv.gz); of a folder, all that are in it. A ``NAME.zip.CHECKSUM`` beside a file is checked.
    symbol : str, optional
        Of the files, where their names do not say it.

    Returns
    -------
    Archive
        Its ``ticks`` and a ``report`` on each file.

    Raises
    ------
    DataError
        If there is no file, one is damaged, fails its checksum or cannot be understood, or if files
        of one symbol are of different kinds, whose ids are two series.
    MissingExtraError
        Without ``pip install "pairlab[storage]"``.

    Notes
    -----
    Memory: about 35 bytes a tick for what is returned, and some 100 while a file is read.
    """
    files = [read_file(path, symbol) for path in _files(paths)]
    by_symbol: dict[str, list[ArchiveFile]] = {}
    for file in files:
        by_symbol.setdefault(file.report.symbol, []).append(file)
    merged = {name: _merged(name, group) for name, group in by_symbol.items()}
    report = pd.DataFrame([asdict(file.report) for file in files]).set_index("file")
    return Archive(_ticks(merged), report)


def _files(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Return the files meant, each once."""
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: dict[Path, None] = {}
    for path in map(Path, given):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.name.endswith(_SUFFIXES))
            if not inside:
                raise DataError(f"{path}: no .zip, .csv or .csv.gz file in this folder")
            found.update(dict.fromkeys(inside))
        elif not path.is_file():
            raise DataError(f"{path}: there is no such file")
        elif not path.name.endswith(_SUFFIXES):
            raise DataError(f"{path}: expected a .zip, .csv or .csv.gz file")
        else:
            found[path] = None
    if not found:
        raise DataError("paths = [] is invalid: expected one file of the archive or more")
    return list(found)


def _merged(symbol: str, files: list[ArchiveFile]) -> dict[str, NDArray[Any]]:
    """Return the rows of all files of a symbol by id, each once, with `gap_before`."""
    kinds = {file.report.kind for file in files}
    if len(kinds) > 1:
        raise DataError(
            f"{symbol}: files of {' and '.join(sorted(kinds))}, whose ids are different series: "
            "read one kind at a time"
        )
    filled = sorted((f for f in files if f.report.first_id >= 0), key=lambda f: f.report.first_id)
    if not filled:
        columns = files[0].columns
        return {**{n: columns[n] for n in _COLUMNS}, "gap_before": np.zeros(0, bool)}
    ends = [file.report.last_id for file in filled]
    apart = all(f.report.first_id > end for f, end in zip(filled[1:], ends, strict=False))
    if not apart:
        filled.sort(key=lambda file: not file.daily)  # stable: of equals the first counts
    columns = {n: _joined([f.columns[n] for f in filled]) for n in _COLUMNS}
    counts = [len(f.columns["id"]) for f in filled]
    origin = np.repeat(np.arange(len(filled), dtype=np.int32), counts)
    if not apart:
        columns, origin = _first_of_each_id(columns, origin, filled)
    for file in filled:
        file.columns.clear()  # they would be held twice
    gap_before = np.zeros(len(origin), bool)
    contiguous = kinds != {"bookTicker"}
    if contiguous:
        steps = np.diff(columns["id"])
        gap_before[1:] = steps > 1
        _count(filled, origin[1:], np.maximum(steps - 1, 0), "missing")
    _count(filled, origin[1:], np.diff(columns["time_ns"]) < 0, "time_steps_back")
    for file in files:
        if not contiguous:
            file.report.missing = -1
    return {**columns, "gap_before": gap_before}


def _first_of_each_id(
    columns: dict[str, NDArray[Any]], origin: NDArray[np.int32], files: list[ArchiveFile]
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int32]]:
    order = np.argsort(columns["id"], kind="stable")
    columns, origin = {n: c[order] for n, c in columns.items()}, origin[order]
    keep = np.ones(len(origin), bool)
    keep[1:] = np.diff(columns["id"]) != 0
    kept, dropped = np.flatnonzero(keep), np.flatnonzero(~keep)
    instead = kept[np.searchsorted(kept, dropped) - 1]
    _count(files, origin[dropped], np.ones(len(dropped), np.int64), "duplicates")
    _count(files, origin[dropped], differs(columns, dropped, columns, instead), "conflicts")
    return {n: c[keep] for n, c in columns.items()}, origin[keep]


def _count(
    files: list[ArchiveFile], origin: NDArray[np.int32], counts: NDArray[Any], name: str
) -> None:
    """Add to a figure of each file's report what its own rows have of it."""
    one = len(files) == 1
    sums = counts.sum(keepdims=True) if one else np.bincount(origin, counts, minlength=len(files))
    for file, total in zip(files, sums.tolist(), strict=True):
        report: FileReport = file.report
        setattr(report, name, getattr(report, name) + int(total))


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Return arrays as one; one alone is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _ticks(merged: dict[str, dict[str, NDArray[Any]]]) -> pd.DataFrame:
    """Return the symbols' rows in order of time; those of one symbol stay in the order of ids."""
    parts = list(merged.values())
    columns = {name: _joined([part[name] for part in parts]) for name in parts[0]}
    lengths = [len(part["id"]) for part in parts]
    codes = np.repeat(np.arange(len(parts), dtype=np.int8), lengths)
    if len(parts) > 1:
        # By the running maximum: an earlier time after a later one must not overtake its own id.
        running = [np.maximum.accumulate(part["time_ns"]) for part in parts]
        order = np.argsort(np.concatenate(running), kind="stable")
        columns, codes = {n: c[order] for n, c in columns.items()}, codes[order]
    columns["gap_before"] = columns["gap_before"].astype(np.int64) << codes
    index = pd.DatetimeIndex(columns.pop("time_ns").view("M8[ns]"), name="time").tz_localize("UTC")
    symbol = pd.Categorical.from_codes(codes, pd.Index(list(merged)))
    return pd.DataFrame({"symbol": symbol, **columns}, index=index, copy=False)
