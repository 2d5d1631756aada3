"""One file of Binance's public archive: what it holds, read and checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import DataError, MissingExtraError
from pairlab.schema import NS_PER_S
from pairlab.storage.archive_klines import INTERVALS_NS, MONTH, bars_of, interval_of, unusable
from pairlab.storage.archive_text import DAMAGE, checked_sha256, first_lines, opened

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ArchiveFile", "FileReport", "read_file"]

_KINDS: Final = "|".join(["aggTrades", "trades", "bookTicker", *INTERVALS_NS, MONTH])
_NAME: Final = re.compile(
    rf"(?P<symbol>[A-Z0-9_]+)-(?P<kind>{_KINDS})-(?P<date>\d{{4}}-\d{{2}}(?:-(?P<day>\d{{2}}))?)\."
)
"""As the archive names its files: BTCUSDT-aggTrades-2024-08-08.zip, or monthly without the day; of
klines the interval: BTCUSDT-1m-2024-08-08.zip."""

_COLUMNS: Final = {
    "aggTrades": ("id", "price", "quantity", "first", "last", "time", "buyer_is_maker"),
    "trades": ("id", "price", "quantity", "quote", "time", "buyer_is_maker"),
    "bookTicker": ("id", "bid", "bid_quantity", "ask", "ask_quantity", "time", "event_time"),
    "klines": (
        "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume",
        "trades", "taker_buy_volume", "taker_buy_quote", "ignore",
    ),
}  # fmt: skip
"""Columns of the futures files, in order. Those of spot have one more, ``is_best_match``."""

_HEADER: Final = {
    "agg_trade_id": "id", "id": "id", "trade_id": "id", "update_id": "id",
    "price": "price", "quantity": "quantity", "qty": "quantity",
    "transact_time": "time", "time": "time", "transaction_time": "time", "timestamp": "time",
    "is_buyer_maker": "buyer_is_maker", "isbuyermaker": "buyer_is_maker",
    "best_bid_price": "bid", "best_bid_qty": "bid_quantity",
    "best_ask_price": "ask", "best_ask_qty": "ask_quantity",
    "open_time": "open_time", "open": "open", "high": "high", "low": "low", "close": "close",
    "volume": "volume", "close_time": "close_time", "quote_volume": "quote_volume",
    "quote_asset_volume": "quote_volume", "count": "trades", "number_of_trades": "trades",
    "taker_buy_volume": "taker_buy_volume", "taker_buy_base_asset_volume": "taker_buy_volume",
}  # fmt: skip
"""Columns by the names that headers give them; the others are not read."""

_USED: Final = {
    "aggTrades": ("id", "price", "quantity", "time", "buyer_is_maker"),
    "trades": ("id", "price", "quantity", "time", "buyer_is_maker"),
    "bookTicker": ("id", "bid", "bid_quantity", "ask", "ask_quantity", "time"),
    "klines": _COLUMNS["klines"][:10],
}

_INTEGERS: Final = ("id", "time", "open_time", "close_time", "trades")
_FIRST_COLUMN: Final = {
    "agg_trade_id": "aggTrades", "update_id": "bookTicker", "open_time": "klines"
}  # fmt: skip
_FUNDING: Final = (3, 4)  # columns

_UNITS: Final = {"s": NS_PER_S, "ms": NS_PER_S // 10**3, "us": NS_PER_S // 10**6, "ns": 1}
_EARLIEST_S, _LATEST_S = 1_230_768_000, 4_102_444_800  # 2009 to 2100

_BLOCK_BYTES: Final = 2**20


@dataclass
class FileReport:
    """What was found in a file.

    Attributes
    ----------
    file : str
        Its path.
    symbol, kind : str
        ``kind`` is aggTrades, trades, bookTicker or klines.
    interval : str
        Of klines: 1m, 1h, …; else empty.
    rows : int
        Rows in the file.
    first_id, last_id : int
        Lowest and highest id; -1 without rows. Of klines the number of the bar, counted in their
        interval since 1970: what is said of ids below is said of it.
    missing : int
        Ids that are missing in it and between it and the file before; -1 for bookTicker, whose ids
        need not be contiguous.
    duplicates : int
        Rows dropped because a row of the same id was there already.
    conflicts : int
        Those of the duplicates that differ from the row that was kept.
    out_of_order : int
        Rows whose id is lower than the row's before.
    time_steps_back : int
        Rows that are earlier than the row of the id before.
    zero_quantity, bad_price : int
        Rows with a quantity of 0; with a price that is not finite and above 0, or not within low
        and high.
    off_grid : int
        Klines that begin or end at another time than bars of their interval do.
    one_sided : bool
        Every trade has the same `buyer_is_maker`: days of the archive are known to have it wrong.
    unit : str
        Of its times: s, ms, us or ns.
    header : bool
        Whether its first row names the columns.
    sha256 : str
        Of the file as it is on disk. The archive replaces files under the same name.
    checksum : str
        ``"verified"`` against the CHECKSUM file beside it, or ``"none"`` where there is no such.
    """

    file: str
    symbol: str
    kind: str
    interval: str = ""
    rows: int = 0
    first_id: int = -1
    last_id: int = -1
    missing: int = 0
    duplicates: int = 0
    conflicts: int = 0
    out_of_order: int = 0
    time_steps_back: int = 0
    zero_quantity: int = 0
    bad_price: int = 0
    off_grid: int = 0
    one_sided: bool = False
    unit: str = ""
    header: bool = False
    sha256: str = ""
    checksum: str = "none"


@dataclass
class ArchiveFile:
    """The columns of one file, sorted by id, each id once.

    Attributes
    ----------
    report : FileReport
        What was found.
    daily : bool
        Whether it is of one day; where a monthly file says otherwise, the daily one is right.
    columns : dict of numpy.ndarray
        id, time_ns, price, quantity, buyer_is_maker. Of klines id (the number of the bar), time_ns
        (when it ends), open, high, low, close, volume, quote_volume, trades, taker_buy_volume.
    """

    report: FileReport
    daily: bool
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)


def read_file(path: Path, symbol: str | None = None) -> ArchiveFile:
    """Return what is in a file of the archive.

    Parameters
    ----------
    path : Path
        A zip as it was published, or its text, plain or gzip'd.
    symbol : str, optional
        Where the file's name does not say it.

    Raises
    ------
    DataError
        If the file is damaged, is not what its CHECKSUM file says, or cannot be understood.
    MissingExtraError
        Without ``pip install "pairlab[storage]"``.
    """
    named = _NAME.match(path.name)
    if symbol is None and named is None:
        raise DataError(
            f"{path}: its name does not say which symbol it is of: expected a name such as "
            "BTCUSDT-aggTrades-2024-08-08.zip, or give symbol="
        )
    if named is not None and symbol not in (None, named["symbol"]):
        raise DataError(f"{path} is of {named['symbol']}, not of {symbol}")
    with ThreadPoolExecutor(1) as beside:
        digest = beside.submit(checked_sha256, path)
        try:
            read = _read(path, symbol or (named["symbol"] if named else ""), named)
        except DataError:
            digest.result()  # a file that is not the one published says why it cannot be read
            raise
        read.report.sha256, read.report.checksum = digest.result()
    return read


def _read(path: Path, symbol: str, named: re.Match[str] | None) -> ArchiveFile:
    first, second = first_lines(path)
    known = named["kind"] if named else None
    interval = "" if known in (None, *_COLUMNS) else str(known)
    kind, names, has_header = _layout(path, first, second, "klines" if interval else known)
    report = FileReport(str(path), symbol, kind, interval, header=has_header)
    read = ArchiveFile(report, daily=named is not None and named["day"] is not None)
    table = _table(path, kind, names, has_header, is_empty=not first)
    read.columns = _columns(path, kind, table, report)
    return read


# -- its columns ---------------------------------------------------------------------------------


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_flag(cell: str) -> bool:
    return cell.strip().lower() in ("true", "false")


def _layout(
    path: Path, first: Sequence[str], second: Sequence[str], named: str | None
) -> tuple[str, tuple[str, ...], bool]:
    """Return the kind of a file, the names of its columns, and whether it has a header."""
    has_header = bool(first) and not _is_number(first[0])
    row = second if has_header else first
    count = len(first)
    if count in _FUNDING and named is None:
        raise DataError(f"{path} holds funding rates, not trades or klines: it has {count} columns")
    kind = named
    flags = [at for at, cell in enumerate(row) if _is_flag(cell)]
    if has_header:
        names = tuple(_HEADER.get(cell.strip().lower(), f"_{at}") for at, cell in enumerate(first))
        if kind is None:
            kind = next((k for name, k in _FIRST_COLUMN.items() if name in first), "trades")
    else:
        if kind is None and row:
            kind = {6: "aggTrades", 5: "trades"}.get(flags[0] if flags else -1)
            if kind is None and all(map(_is_number, row)):
                kind = {7: "bookTicker", 12: "klines"}.get(count)
        if kind is None and row:
            raise DataError(f"{path}: {count} columns of an unknown layout: {','.join(row)[:80]!r}")
        kind = kind or "aggTrades"
        names = _COLUMNS[kind]
        spare = count - len(names)
        if row and spare not in ((0, 1) if kind in ("aggTrades", "trades") else (0,)):
            raise DataError(f"{path}: {count} columns: expected {len(names)} of {kind}")
        names += ("_best_match",) * max(spare, 0)
    if first:
        for needed in _USED[kind]:
            if names.count(needed) != 1:
                raise DataError(
                    f"{path}: {kind} need one column {needed}; its header is {','.join(first)!r}"
                )
    return kind, names, has_header


def _table(
    path: Path, kind: str, names: tuple[str, ...], has_header: bool, *, is_empty: bool
) -> pa.Table:
    try:
        import pyarrow as pa
        from pyarrow import csv as pa_csv
    except ImportError:
        raise MissingExtraError("pyarrow", "storage") from None
    types = {name: pa.int64() for name in _INTEGERS} | {"buyer_is_maker": pa.bool_()}
    used = _USED[kind]
    read = pa_csv.ReadOptions(
        column_names=list(names), skip_rows=int(has_header), block_size=_BLOCK_BYTES
    )
    convert = pa_csv.ConvertOptions(
        include_columns=list(used),
        column_types={name: types.get(name, pa.float64()) for name in used},
        true_values=["true", "True", "TRUE"], false_values=["false", "False", "FALSE"],
        null_values=[""],
    )  # fmt: skip
    parse = pa_csv.ParseOptions(quote_char=False)
    empty = pa.schema([(name, types.get(name, pa.float64())) for name in used]).empty_table()
    if is_empty:
        return empty
    try:
        with opened(path) as text:
            return pa_csv.read_csv(pa.PythonFile(text, mode="r"), read, parse, convert)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return empty  # a header and nothing else
        raise DataError(f"{path} cannot be read as {kind}: {error}") from None
    except DAMAGE as error:
        raise DataError(f"{path} is damaged: {error}; fetch it again") from None


def _columns(path: Path, kind: str, table: pa.Table, report: FileReport) -> dict[str, Any]:
    for name in table.column_names:
        if table[name].null_count:
            at = table[name].is_null().index(True).as_py()
            raise DataError(f"{path}: row {at + 1:,} has no {name}")
    raw = {name: table[name].to_numpy() for name in table.column_names}
    report.rows = table.num_rows
    columns = _bars(path, raw, report) if kind == "klines" else _ticks(path, kind, raw, report)
    return _sorted(columns, report)


def _ticks(
    path: Path, kind: str, raw: dict[str, NDArray[Any]], report: FileReport
) -> dict[str, NDArray[Any]]:
    columns = {"id": raw["id"], "time_ns": _time_ns(path, raw["time"], report)}
    if kind == "bookTicker":
        columns["price"] = (raw["bid"] + raw["ask"]) / 2
        columns["quantity"] = raw["bid_quantity"] + raw["ask_quantity"]
        columns["buyer_is_maker"] = np.zeros(report.rows, bool)
    else:
        for name in ("price", "quantity", "buyer_is_maker"):
            columns[name] = raw[name]
        if report.rows > 1:
            side = columns["buyer_is_maker"]
            report.one_sided = bool(side.all() or not side.any())
    price = columns["price"]
    report.zero_quantity = report.rows - int(np.count_nonzero(columns["quantity"]))
    if report.rows and not (price.min() > 0 and price.max() < np.inf):  # of a NaN neither is so
        report.bad_price = int((~(np.isfinite(price) & (price > 0))).sum())
    return columns


def _bars(path: Path, raw: dict[str, NDArray[Any]], report: FileReport) -> dict[str, NDArray[Any]]:
    names = ("open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume")
    columns = {name: raw[name] for name in names}
    open_ns = _time_ns(path, raw["open_time"], report)
    close_ns, unit = open_ns, report.unit
    if report.rows:
        close_ns = _time_ns(path, raw["close_time"], report)
        if report.unit != unit:
            raise DataError(f"{path}: open times are in {unit}, close times in {report.unit}")
        close_ns = close_ns + _UNITS[unit]  # the last ms (µs) of the bar: it ends after it
        report.interval = report.interval or interval_of(path, open_ns, close_ns)
        numbers, close_ns, report.off_grid = bars_of(report.interval, open_ns, close_ns)
        open_ns = numbers
        report.zero_quantity = report.rows - int(np.count_nonzero(columns["volume"]))
        report.bad_price = int(unusable(columns).sum())
    return {"id": open_ns, "time_ns": close_ns, **columns}


def _time_ns(path: Path, times: NDArray[np.int64], report: FileReport) -> NDArray[np.int64]:
    if not len(times):
        return times
    low, high = int(times.min()), int(times.max())
    for unit, ns in _UNITS.items():
        per_s = NS_PER_S // ns
        if _EARLIEST_S * per_s <= low and high < _LATEST_S * per_s:
            report.unit = unit
            return times * ns
    raise DataError(
        f"{path}: times from {low} to {high} are of no one unit: expected all in s, ms, us or ns "
        "since 1970, between 2009 and 2100"
    )


def _sorted(columns: dict[str, NDArray[Any]], report: FileReport) -> dict[str, NDArray[Any]]:
    """Sort by id and drop what is there twice."""
    ids = columns["id"]
    if not len(ids):
        return columns
    steps = np.diff(ids)
    report.out_of_order = int(np.count_nonzero(steps < 0))
    if report.out_of_order:
        order = np.argsort(ids, kind="stable")
        columns = {name: column[order] for name, column in columns.items()}
        ids = columns["id"]
        steps = np.diff(ids)
    if not steps.all():
        twice = np.flatnonzero(steps == 0) + 1
        report.duplicates = len(twice)
        report.conflicts = int(differs(columns, twice - 1, columns, twice).sum())
        keep = np.ones(len(ids), bool)
        keep[twice] = False
        columns = {name: column[keep] for name, column in columns.items()}
    report.first_id, report.last_id = int(columns["id"][0]), int(columns["id"][-1])
    return columns


def differs(
    one: dict[str, NDArray[Any]], at: NDArray[np.int64],
    other: dict[str, NDArray[Any]], there: NDArray[np.int64],
) -> NDArray[np.bool_]:  # fmt: skip
    """Return which rows of the same id say something else."""
    unequal = np.zeros(len(at), bool)
    for name in one:
        if name != "id":
            unequal |= one[name][at] != other[name][there]
    return unequal
