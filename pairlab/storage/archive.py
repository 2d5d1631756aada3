"""`read_archive`: ticks and bars of Binance's public archive, sorted, checked, reported on."""

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
_TICKS: Final = {
    "id": np.int64, "time_ns": np.int64, "price": float, "quantity": float, "buyer_is_maker": bool,
}  # fmt: skip
_PRICES: Final = ("open", "high", "low", "close", "volume")
_BARS: Final = {
    "id": np.int64, "time_ns": np.int64, **dict.fromkeys((*_PRICES, "quote_volume"), float),
    "trades": np.int64, "taker_buy_volume": float,
}  # fmt: skip


@dataclass(frozen=True)
class Archive:
    """Ticks or bars of one symbol or several, and what was found in their files.

    Attributes
    ----------
    ticks : pandas.DataFrame
        Columns symbol, id, price, quantity, buyer_is_maker, gap_before; index ``time``, the
        exchange's trade time, UTC: as `PairLab.ticks` gives them, and what `pairlab.analyze` takes.
        `gap_before` marks the first tick after ids that are missing, as in `PairLab.ticks`: by 1
        for the first symbol and 2 for the second, else 0. Of a bookTicker file `price`
        is the mid price and `quantity` what stands on both sides.
    bars : pandas.DataFrame
        Of klines: columns symbol, open, high, low, close, volume, quote_volume, trades,
        taker_buy_volume, gap_before; index ``time``, when the bar ends, UTC, as in `PairLab.bars`.
    report : pandas.DataFrame
        A row per file: interval, rows, first_id, last_id, missing, duplicates, conflicts,
        out_of_order, time_steps_back, zero_quantity, bad_price, off_grid, one_sided, unit, header,
        sha256, checksum, as `FileReport` describes them; index ``file``.
    """

    ticks: pd.DataFrame
    bars: pd.DataFrame
    report: pd.DataFrame

    def pair_bars(self, y: str | None = None, x: str | None = None) -> pd.DataFrame:
        """Return the bars of two symbols side by side, as `pairlab.analyze` takes them.

        Parameters
        ----------
        y, x : str, optional
            The symbols; by default the two that there are, in the order of their files.

        Returns
        -------
        pandas.DataFrame
            As `PairLab.bars`: y_open, y_high, y_low, y_close, y_volume, and so for x; index
            ``time``, when the bar ends, UTC. Where one symbol has no bar, its numbers are NaN.

        Raises
        ------
        DataError
            If there are no bars of a symbol, it is not clear of which two, or both have bars of
            different intervals.
        """
        known = self.bars["symbol"].cat.categories.tolist()
        names = [name for name in (y, x) if name is not None] or known
        told = ", ".join(known) or "no symbol"
        if len(names) != 2 or names[0] == names[1] or not set(names) <= set(known):
            raise DataError(
                f"pair_bars: y = {y!r}, x = {x!r} with bars of {told}: expected two symbols of "
                "those"
            )
        of_bars = self.report[self.report["interval"] != ""]
        intervals = {n: set(of_bars.loc[of_bars["symbol"] == n, "interval"]) for n in names}
        if intervals[names[0]] != intervals[names[1]]:
            told = ", ".join(f"{n}: {'/'.join(sorted(found))}" for n, found in intervals.items())
            raise DataError(f"pair_bars: the bars are of different intervals ({told})")
        sides = [
            self.bars.loc[self.bars["symbol"] == name, list(_PRICES)].add_prefix(f"{leg}_")
            for name, leg in zip(names, "yx", strict=True)
        ]
        frame: pd.DataFrame = pd.concat(sides, axis=1, sort=True)
        frame.index.name = "time"
        frame.attrs["label"] = "close"  # what the times are, for `pairlab.analyze`
        return frame

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
        spans = [
            f"{len(frame):,} {what}, {frame.index.min():%Y-%m-%d %H:%M:%S} to "
            f"{frame.index.max():%Y-%m-%d %H:%M:%S} UTC"
            for what, frame in (("ticks", self.ticks), ("bars", self.bars))
            if len(frame)
        ]
        return "\n".join([f"Archive: {'; '.join(spans) or 'no ticks, no bars'}", *lines])


_FAULTS: Final = {
    "missing": "ids or bars missing",
    "duplicates": "rows there twice",
    "conflicts": "rows that contradict another of the same id",
    "out_of_order": "rows out of order",
    "time_steps_back": "rows earlier than the id before",
    "zero_quantity": "rows with a quantity of 0",
    "bad_price": "rows without a usable price",
    "off_grid": "bars that begin or end at another time than those of their interval",
    "one_sided": "file(s) with the same side on every row",
}


def read_archive(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], symbol: str | None = None
) -> Archive:
    """Return the ticks or bars in files of Binance's public archive (data.binance.vision).

    The archive's known faults are mended where they can be, and reported: rows are sorted by id,
    ids that are there twice are kept once (of a daily and a monthly file that disagree the daily
    one is right), missing ids are marked, and the unit of the times and the header are looked up in
    each file. What is of several symbols is merged in order of time. Bars have no ids: the time at
    which they begin stands for it.

    Parameters
    ----------
    paths : str, os.PathLike or sequence of them
        Files of aggTrades, trades, bookTicker or klines as they were published (.zip), or their
        text (.csv, .csv.gz); of a folder, all that are in it. A ``NAME.zip.CHECKSUM`` beside a file
        is checked.
    symbol : str, optional
        Of the files, where their names do not say it.

    Returns
    -------
    Archive
        Its ``ticks`` or ``bars``, and a ``report`` on each file.

    Raises
    ------
    DataError
        If there is no file, one is damaged, fails its checksum or cannot be understood, or if files
        of one symbol are of different kinds or intervals, whose ids are two series.
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
    ticks: _BySymbol = {}
    bars: _BySymbol = {}
    for name, group in by_symbol.items():
        into = bars if group[0].report.kind == "klines" else ticks
        into[name] = _merged(name, group)
    report = pd.DataFrame([asdict(file.report) for file in files]).set_index("file")
    frame = _frame(bars, _BARS).drop(columns="id")
    frame.attrs["label"] = "close"
    return Archive(_frame(ticks, _TICKS), frame, report)


_BySymbol = dict[str, dict[str, NDArray[Any]]]


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
    kinds = {f"{file.report.kind} {file.report.interval}".strip() for file in files}
    if len(kinds) > 1:
        raise DataError(
            f"{symbol}: files of {' and '.join(sorted(kinds))}, whose ids are different series: "
            "read one kind at a time"
        )
    filled = sorted((f for f in files if f.report.first_id >= 0), key=lambda f: f.report.first_id)
    if not filled:
        return {**files[0].columns, "gap_before": np.zeros(0, bool)}
    ends = [file.report.last_id for file in filled]
    apart = all(f.report.first_id > end for f, end in zip(filled[1:], ends, strict=False))
    if not apart:
        filled.sort(key=lambda file: not file.daily)  # stable: of equals the first counts
    columns = {n: _joined([f.columns[n] for f in filled]) for n in filled[0].columns}
    counts = [len(f.columns["id"]) for f in filled]
    origin = np.repeat(np.arange(len(filled), dtype=np.int32), counts)
    if not apart:
        columns, origin = _first_of_each_id(columns, origin, filled)
    for file in filled:
        file.columns.clear()  # they would be held twice
    ids, times = columns["id"], columns["time_ns"]
    gap_before = np.zeros(len(ids), bool)
    if kinds == {"bookTicker"}:
        for file in files:
            file.report.missing = -1
    elif int(ids[-1]) - int(ids[0]) + 1 > len(ids):  # else none is missing
        steps = np.diff(ids)
        gap_before[1:] = steps > 1
        _count(filled, origin[1:], steps - 1, "missing")
    _count(filled, origin[1:], times[1:] < times[:-1], "time_steps_back")
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


def _frame(merged: _BySymbol, names: dict[str, Any]) -> pd.DataFrame:
    """Return the symbols' rows in order of time; those of one symbol stay in the order of ids."""
    none = {**{name: np.zeros(0, kind) for name, kind in names.items()}, "gap_before": np.zeros(0)}
    parts = list(merged.values()) or [none]
    columns = {name: _joined([part[name] for part in parts]) for name in (*names, "gap_before")}
    lengths = [len(part["id"]) for part in parts]
    codes = np.repeat(np.arange(len(parts), dtype=np.int8), lengths)
    if len(parts) > 1:
        # By the running maximum: an earlier time after a later one must not overtake its own id.
        running = [np.maximum.accumulate(part["time_ns"]) for part in parts]
        order = np.argsort(np.concatenate(running), kind="stable")
        columns, codes = {n: c[order] for n, c in columns.items()}, codes[order]
    gaps = columns["gap_before"]
    columns["gap_before"] = (
        gaps.astype(np.int64) << codes if gaps.any() else np.zeros(len(gaps), np.int64)
    )
    index = pd.DatetimeIndex(columns.pop("time_ns").view("M8[ns]"), name="time").tz_localize("UTC")
    symbol = pd.Categorical.from_codes(codes, pd.Index(list(merged), dtype="str"))
    return pd.DataFrame({"symbol": symbol, **columns}, index=index, copy=False)
