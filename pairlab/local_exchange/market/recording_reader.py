"""Reader of one recorded file: three formats, plain or gzip."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pairlab.errors import DataError
from pairlab.local_exchange.protocol.messages import AggTrade

__all__ = ["RecordedFile", "read_file"]

_TRADE: Final = np.dtype(
    [("index", np.int64), ("T", np.int64), ("p", np.float64), ("q", np.float64), ("m", np.bool_)]
)
_REAL_TRADES: Final = (None, "MARKET", "RPI")
_EXPECTED: Final = (
    'expected \'<receive time in ns or µs> {"stream": …, "data": …}\', '
    "or '<seconds>: {…}' after a first line with the URL"
)


class _Line(msgspec.Struct):
    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")


class _Data(msgspec.Struct):
    E: int = 0
    T: int = 0
    p: str = "0"
    q: str = "0"
    m: bool = False
    X: str | None = None
    a: int | str | None = None  # aggTrade's id; bookTicker's ask
    b: str | None = None
    f: int = -1
    l: int = -1  # noqa: E741  the wire's own name


@dataclass(slots=True)
class RecordedFile:
    """A file's messages, in the order of its lines.

    Attributes
    ----------
    text : bytes
        The file, decompressed.
    names : list of str
        Names of the streams.
    received_ns, event_ms, code, begin, stop : ndarray of int64
        One entry per message: when it was received, its event time if decoded (else 0), its
        stream as an index into `names`, and its slice of `text`.
    trades : dict of str to structured ndarray
        Per symbol; ``index`` is the message's number in the file.
    aggs : dict of str to list of (int, AggTrade)
        Recorded aggregated trades, each with its message's number.
    prices, quantities : dict of str to set of str
        As written; tick size and lot size are inferred from them.
    """

    text: bytes
    names: list[str]
    received_ns: NDArray[np.int64]
    event_ms: NDArray[np.int64]
    code: NDArray[np.int64]
    begin: NDArray[np.int64]
    stop: NDArray[np.int64]
    trades: dict[str, NDArray[Any]]
    aggs: dict[str, list[tuple[int, AggTrade]]]
    prices: dict[str, set[str]]
    quantities: dict[str, set[str]]


def read_file(path: Path) -> RecordedFile:
    """Return the messages of a recorded file; unwrapped depth snapshots are skipped.

    Raises
    ------
    DataError
        If the file cannot be read or a line is not a message; names file and line.
    """
    text = _decompress(path)
    collected = _Collector(path)
    at, number = 0, 0
    parse_time: Callable[[bytes], int] | None = None
    while at < len(text):
        number += 1
        stop = text.find(b"\n", at)
        stop = len(text) if stop < 0 else stop
        line = text[at:stop].rstrip()
        if not line:
            pass
        elif number == 1 and line[:6] in (b"wss://", b"ws://l", b"ws://1"):
            parse_time = _seconds
        else:
            head, _, rest = line.partition(b" ")
            if parse_time is None:
                parse_time = _timestamp_parser(path, number, head)
            try:
                received_ns = parse_time(head)
            except ValueError:
                raise DataError(
                    f"{path}, line {number}: {_EXPECTED}, got {_shorten(line)}"
                ) from None
            collected.add(number, received_ns, rest, at + len(line) - len(rest), at + len(line))
        at = stop + 1
    return collected.finish(text)


class _Collector:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._codes: dict[str, int] = {}
        self._rows: list[tuple[int, int, int, int, int]] = []
        self._trades: dict[str, list[tuple[int, int, float, float, bool]]] = {}
        self._raw_trades: set[str] = set()
        self._aggs: dict[str, list[tuple[int, AggTrade]]] = {}
        self._prices: dict[str, set[str]] = {}
        self._quantities: dict[str, set[str]] = {}
        self._line = msgspec.json.Decoder(_Line)
        self._data = msgspec.json.Decoder(_Data)

    def add(self, number: int, received_ns: int, payload: bytes, begin: int, stop: int) -> None:
        try:
            line = self._line.decode(payload)
            if line.stream is None:
                return  # an unwrapped depth snapshot
            symbol, _, kind = line.stream.partition("@")
            index = len(self._rows)
            event_ms = 0
            if kind in ("trade", "aggTrade", "bookTicker"):
                data = self._data.decode(line.data)
                event_ms = data.E
                self._record(index, symbol.upper(), kind, data)
        except (msgspec.DecodeError, ValueError) as error:
            raise DataError(
                f"{self._path}, line {number}: {_EXPECTED}, got {_shorten(payload)} ({error})"
            ) from None
        code = self._codes.setdefault(line.stream, len(self._codes))
        self._rows.append((received_ns, event_ms, code, begin, stop))

    def _record(self, index: int, symbol: str, kind: str, data: _Data) -> None:
        prices = self._prices.setdefault(symbol, set())
        if kind == "bookTicker":
            prices.update(price for price in (data.a, data.b) if isinstance(price, str))
            return
        price, quantity = float(data.p), float(data.q)
        if data.X not in _REAL_TRADES or not (price > 0 and quantity > 0):
            return
        prices.add(data.p)
        self._quantities.setdefault(symbol, set()).add(data.q)
        if kind == "aggTrade":
            if not isinstance(data.a, int):
                raise ValueError("the id `a` of an aggTrade must be an integer")
            row: AggTrade = {
                "a": data.a, "p": data.p, "q": data.q, "f": data.f, "l": data.l, "T": data.T,
                "m": data.m,
            }  # fmt: skip
            self._aggs.setdefault(symbol, []).append((index, row))
            if symbol in self._raw_trades:
                return  # candles are built from one kind of trades, not from both
        elif symbol not in self._raw_trades:
            self._raw_trades.add(symbol)
            self._trades.pop(symbol, None)
        trade = (index, data.T, price, quantity, data.m)
        self._trades.setdefault(symbol, []).append(trade)

    def finish(self, text: bytes) -> RecordedFile:
        if not self._rows:
            raise DataError(f"{self._path}: contains no messages; {_EXPECTED}")
        try:
            columns = np.array(self._rows, np.int64).T
            trades = {symbol: np.array(rows, _TRADE) for symbol, rows in self._trades.items()}
        except OverflowError:
            raise DataError(
                f"{self._path}: a time or an id has more than 64 bits: no message of an exchange's"
            ) from None
        received_ns, event_ms, code, begin, stop = (np.ascontiguousarray(c) for c in columns)
        return RecordedFile(
            text, list(self._codes), received_ns, event_ms, code, begin, stop, trades,
            self._aggs, self._prices, self._quantities,
        )  # fmt: skip


def _decompress(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the gzip file is damaged or cut short ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _timestamp_parser(path: Path, number: int, head: bytes) -> Callable[[bytes], int]:
    """Return the parser of receive times, chosen by the digits of the first one."""
    if head.isdigit() and len(head) == 19:
        return int
    if head.isdigit() and len(head) == 16:
        return _microseconds
    raise DataError(f"{path}, line {number}: {_EXPECTED}, got {_shorten(head)}")


def _microseconds(head: bytes) -> int:
    return int(head) * 1_000


def _seconds(head: bytes) -> int:
    if not head.endswith(b":"):
        raise ValueError
    # From the digits: a float would round seconds since 1970 to about 200 ns.
    whole, _, part = head[:-1].partition(b".")
    return int(whole) * 1_000_000_000 + int((part + b"000000000")[:9])


def _shorten(line: bytes) -> str:
    return repr(line[:60].decode(errors="replace")) + ("…" if len(line) > 60 else "")
