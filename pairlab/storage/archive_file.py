"""One file of Binance's public archive: what it holds, read and checked."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import DataError, MissingExtraError
from pairlab.schema import NS_PER_S

isal_zlib: Any = None
with contextlib.suppress(ImportError):  # no wheel for this machine: zlib does the same
    from isal import isal_zlib

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ArchiveFile", "FileReport", "read_file"]

_NAME: Final = re.compile(
    r"(?P<symbol>[A-Z0-9_]+)-(?P<kind>aggTrades|trades|bookTicker)-"
    r"(?P<date>\d{4}-\d{2}(?:-(?P<day>\d{2}))?)\."
)
"""As the archive names its files: BTCUSDT-aggTrades-2024-08-08.zip, or monthly without the day."""

_COLUMNS: Final = {
    "aggTrades": ("id", "price", "quantity", "first", "last", "time", "buyer_is_maker"),
    "trades": ("id", "price", "quantity", "quote", "time", "buyer_is_maker"),
    "bookTicker": ("id", "bid", "bid_quantity", "ask", "ask_quantity", "time", "event_time"),
}
"""Columns of the futures files, in order. Those of spot have one more, ``is_best_match``."""

_HEADER: Final = {
    "agg_trade_id": "id", "id": "id", "trade_id": "id", "update_id": "id",
    "price": "price", "quantity": "quantity", "qty": "quantity",
    "transact_time": "time", "time": "time", "transaction_time": "time", "timestamp": "time",
    "is_buyer_maker": "buyer_is_maker", "isbuyermaker": "buyer_is_maker",
    "best_bid_price": "bid", "best_bid_qty": "bid_quantity",
    "best_ask_price": "ask", "best_ask_qty": "ask_quantity",
}  # fmt: skip
"""Columns by the names that headers give them; the others are not read."""

_USED: Final = {
    "aggTrades": ("id", "price", "quantity", "time", "buyer_is_maker"),
    "trades": ("id", "price", "quantity", "time", "buyer_is_maker"),
    "bookTicker": ("id", "bid", "bid_quantity", "ask", "ask_quantity", "time"),
}

_NOT_TICKS: Final = {12: "klines", 3: "funding rates", 4: "funding rates"}

_UNITS: Final = {"s": NS_PER_S, "ms": NS_PER_S // 10**3, "us": NS_PER_S // 10**6, "ns": 1}
_EARLIEST_S, _LATEST_S = 1_230_768_000, 4_102_444_800  # 2009 to 2100

MAX_RATIO: Final = 100
"""Most bytes that a byte of a zip may become; the archive's files become 4 to 10."""

MAX_BYTES: Final = 64 * 2**30
"""Most bytes of one file's text; a month of BTCUSDT trades has about 15 GB."""

_BLOCK_BYTES: Final = 4 * 2**20

_ZLIB: Final = type(zlib.decompressobj())

_DAMAGE: Final[tuple[type[Exception], ...]] = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError,
    *(() if isal_zlib is None else (isal_zlib.error,)),
)  # fmt: skip
"""What the readers of zip and gzip raise for a file that is not whole, or not such a file."""


@dataclass
class FileReport:
    """What was found in a file.

    Attributes
    ----------
    file : str
        Its path.
    symbol, kind : str
        ``kind`` is aggTrades, trades or bookTicker.
    rows : int
        Rows in the file.
    first_id, last_id : int
        Lowest and highest id; -1 without rows.
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
        Rows with a quantity of 0; with a price that is not finite and above 0.
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
        id, time_ns, price, quantity, buyer_is_maker.
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
    sha256, checksum = _checked_sha256(path)
    first, second = _first_lines(path)
    kind, names, has_header = _layout(path, first, second, named["kind"] if named else None)
    report = FileReport(
        str(path), symbol or (named["symbol"] if named else ""), kind,
        header=has_header, sha256=sha256, checksum=checksum,
    )  # fmt: skip
    read = ArchiveFile(report, daily=named is not None and named["day"] is not None)
    table = _table(path, kind, names, has_header)
    read.columns = _columns(path, kind, table, report)
    return read


# -- the file ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open the text of a file."""
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as unzipped:
            yield cast("IO[bytes]", unzipped)
    elif path.suffix != ".zip":
        with path.open("rb") as plain:
            yield plain
    else:
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise DataError(f"{path} is damaged or no zip file: {error}; fetch it again") from None
        with archive, archive.open(_member(path, archive)) as member:
            _inflate_faster(member)
            yield member


def _inflate_faster(member: Any) -> None:
    """Let zipfile's reader inflate with ISA-L where that is installed: a third of zlib's time.

    Sizes, CRC and the end of the data are zipfile's to check, as before.
    """
    if isal_zlib is not None and type(getattr(member, "_decompressor", None)) is _ZLIB:
        member._decompressor = isal_zlib.decompressobj(-zlib.MAX_WBITS)


def _member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the one member of a zip, or refuse what the archive never publishes."""
    members = archive.infolist()
    if len(members) != 1:
        raise DataError(f"{path}: {len(members)} files in the zip: expected one")
    (member,) = members
    if member.filename != f"{path.stem}.csv":
        raise DataError(f"{path}: {member.filename!r} in the zip: expected {path.stem}.csv")
    if member.flag_bits & 1:
        raise DataError(f"{path}: the zip is encrypted")
    ratio = member.file_size / max(min(member.compress_size, path.stat().st_size), 1)
    if member.file_size > MAX_BYTES or ratio > MAX_RATIO:
        raise DataError(
            f"{path}: would become {member.file_size:,} bytes, {ratio:,.0f} times its size: "
            f"expected at most {MAX_BYTES:,} bytes and {MAX_RATIO} times"
        )
    return member


def _checked_sha256(path: Path) -> tuple[str, str]:
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    beside = path.with_name(path.name + ".CHECKSUM")
    if not beside.is_file():
        return sha256, "none"
    text = beside.read_text("utf-8", errors="replace").split()
    if not text or not re.fullmatch("[0-9a-fA-F]{64}", text[0]):
        raise DataError(f"{beside} holds no SHA-256: fetch it again")
    if text[0].lower() != sha256:
        raise DataError(
            f"{path} is not the file that {beside.name} describes: its SHA-256 is {sha256}, not "
            f"{text[0].lower()}: fetch it again"
        )
    return sha256, "verified"


def _first_lines(path: Path) -> tuple[list[str], list[str]]:
    """Return the cells of the first two lines."""
    with _opened(path) as text:
        try:
            head = text.read(8192)
        except _DAMAGE as error:
            raise DataError(f"{path} is damaged: {error}; fetch it again") from None
    lines = head.decode("utf-8-sig", errors="replace").splitlines()[:2]
    cells = [*csv.reader(lines), [], []]
    return cells[0], cells[1]


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
    if count in _NOT_TICKS and named is None:
        raise DataError(f"{path} holds {_NOT_TICKS[count]}, not trades: it has {count} columns")
    kind = named
    flags = [at for at, cell in enumerate(row) if _is_flag(cell)]
    if has_header:
        names = tuple(_HEADER.get(cell.strip().lower(), f"_{at}") for at, cell in enumerate(first))
        if kind is None:
            kind = next(
                (k for k, id_ in (("aggTrades", "agg_trade_id"), ("bookTicker", "update_id"))
                 if id_ in first), "trades",
            )  # fmt: skip
    else:
        if kind is None and row:
            kind = {6: "aggTrades", 5: "trades"}.get(flags[0] if flags else -1)
            kind = kind or ("bookTicker" if count == 7 and all(map(_is_number, row)) else None)
        if kind is None and row:
            raise DataError(f"{path}: {count} columns of an unknown layout: {','.join(row)[:80]!r}")
        kind = kind or "aggTrades"
        names = _COLUMNS[kind]
        spare = count - len(names)
        if row and spare not in ((0, 1) if kind != "bookTicker" else (0,)):
            raise DataError(f"{path}: {count} columns: expected {len(names)} of {kind}")
        names += ("_best_match",) * max(spare, 0)
    if first:
        for needed in _USED[kind]:
            if names.count(needed) != 1:
                raise DataError(
                    f"{path}: {kind} need one column {needed}; its header is {','.join(first)!r}"
                )
    return kind, names, has_header


def _table(path: Path, kind: str, names: tuple[str, ...], has_header: bool) -> pa.Table:
    try:
        import pyarrow as pa
        from pyarrow import csv as pa_csv
    except ImportError:
        raise MissingExtraError("pyarrow", "storage") from None
    types = {"id": pa.int64(), "time": pa.int64(), "buyer_is_maker": pa.bool_()}
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
    try:
        with _opened(path) as text:
            if not text.read(1):
                return empty
        with _opened(path) as text:
            return pa_csv.read_csv(pa.PythonFile(text, mode="r"), read, parse, convert)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return empty  # a header and nothing else
        raise DataError(f"{path} cannot be read as {kind}: {error}") from None
    except _DAMAGE as error:
        raise DataError(f"{path} is damaged: {error}; fetch it again") from None


def _columns(path: Path, kind: str, table: pa.Table, report: FileReport) -> dict[str, Any]:
    for name in table.column_names:
        if table[name].null_count:
            at = table[name].is_null().index(True).as_py()
            raise DataError(f"{path}: row {at + 1:,} has no {name}")
    raw = {name: table[name].to_numpy() for name in table.column_names}
    ids = raw["id"]
    report.rows = len(ids)
    columns = {"id": ids, "time_ns": _time_ns(path, raw["time"], report)}
    if kind == "bookTicker":
        columns["price"] = (raw["bid"] + raw["ask"]) / 2
        columns["quantity"] = raw["bid_quantity"] + raw["ask_quantity"]
        columns["buyer_is_maker"] = np.zeros(len(ids), bool)
    else:
        for name in ("price", "quantity", "buyer_is_maker"):
            columns[name] = raw[name]
        if len(ids) > 1:
            side = columns["buyer_is_maker"]
            report.one_sided = bool(side.all() or not side.any())
    report.zero_quantity = int((columns["quantity"] == 0).sum())
    price = columns["price"]
    report.bad_price = int((~(np.isfinite(price) & (price > 0))).sum())
    return _sorted(columns, report)


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
    report.out_of_order = int((steps < 0).sum())
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
    for name in ("time_ns", "price", "quantity", "buyer_is_maker"):
        unequal |= one[name][at] != other[name][there]
    return unequal
