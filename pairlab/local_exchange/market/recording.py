"""A recorded market: messages from files, replayed byte for byte."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import DataError
from pairlab.local_exchange.market.candles import as_klines, merge_candles, minute_candles
from pairlab.local_exchange.market.market import (
    StartCondition,
    check_speed,
    check_start_condition,
)
from pairlab.local_exchange.market.recording_reader import RecordedFile, read_file
from pairlab.local_exchange.protocol.messages import AggTrade, Kline, Message, SymbolInfo

__all__ = ["Recording"]

Paths: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

_SCAN_SIZE: Final = 8_192
_IGNORED_FILES: Final = ("LICENSE", "README", "NOTICE")


class Recording:
    """Recorded combined-stream messages, merged by receive time, in any of three formats.

    One message per line: ``<ns> {json}``, ``<µs> {json}``, or a first line with the URL and then
    ``<s>: {json}``; plain or gzip. Messages are sent as recorded. The files are held in memory,
    decompressed.

    Its clock is the recorder's, shifted so that practically no message arrives before its own
    event time: a recorder's clock can be off by a second.

    Parameters
    ----------
    paths : path or iterable of paths
        Files, or folders of them (other than LICENSE, README and hidden files).
    speed : float or None, default 1.0
        Seconds of the recording per second; None: as fast as its slowest client reads.
    start_condition : {"open", "subscribed"} or names of streams, default "subscribed"
        When its clock starts: with the exchange, with the first subscription to one of its
        streams, or when all of these are subscribed.

    Raises
    ------
    DataError
        From `open`: no such file, or a line that is not a message; names file and line.
    SettingError
        For an invalid speed or start condition.
    """

    def __init__(
        self,
        paths: Paths,
        speed: float | None = 1.0,
        *,
        start_condition: StartCondition = "subscribed",
    ) -> None:
        given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        self.paths = tuple(Path(path) for path in given)
        if not self.paths:
            raise DataError("a recording needs at least one file")
        self.speed = check_speed(speed)
        self.start_condition = check_start_condition(start_condition, self.speed)
        self.start_ns = 0
        self.position_ns = 0
        self._files: list[RecordedFile] = []
        self._cursor = 0

    def open(self) -> None:
        """Read the files the first time, and go back to the beginning."""
        if not self._files:
            files = [read_file(path) for path in _list_files(self.paths)]
            self._merge(files)
            self._files = files
        self._cursor = 0
        self.position_ns = self.start_ns

    @property
    def streams(self) -> Mapping[str, int]:
        """Number of messages of each stream."""
        counts = np.bincount(self._code, minlength=len(self._names))
        return dict(zip(self._names, counts.tolist(), strict=True))

    def symbols(self) -> tuple[SymbolInfo, ...]:
        """Return the symbols, in order of their first message."""
        return tuple(self._infos.values())

    def has_stream(self, stream: str) -> bool:
        """Return whether the recording has messages of this stream."""
        return stream in self._codes

    def next_ns(self) -> int | None:
        """Return when the next recorded message is due, ns; None at the end."""
        return int(self._due[self._cursor]) if self._cursor < len(self._due) else None

    def take(self, until_ns: int | None, wanted: Collection[str], limit: int) -> list[Message]:
        """Return the messages of `wanted` streams due by `until_ns`, at most `limit`."""
        end = len(self._due)
        if until_ns is not None:
            end = int(np.searchsorted(self._due, until_ns, "right"))
        mask = np.zeros(len(self._names), np.bool_)
        mask[[self._codes[name] for name in wanted if name in self._codes]] = True
        messages: list[Message] = []
        while self._cursor < end and len(messages) < limit:
            high = min(self._cursor + _SCAN_SIZE, end)
            at = self._cursor + np.flatnonzero(mask[self._code[self._cursor : high]])
            room = limit - len(messages)
            if len(at) >= room:
                at = at[:room]
                high = int(at[-1]) + 1
            for code, file, begin, stop in zip(
                self._code[at].tolist(),
                self._file[at].tolist(),
                self._begin[at].tolist(),
                self._stop[at].tolist(),
                strict=True,
            ):
                messages.append((self._names[code], self._files[file].text[begin:stop]))
            self._cursor = high
        if self._cursor:
            self.position_ns = int(self._due[self._cursor - 1])
        return messages

    def frames(self, wanted: Collection[str]) -> Iterator[tuple[int, bytes]]:
        """Yield every message of `wanted` streams with its receive time, ns, by the recorder."""
        chosen = [code for name, code in self._codes.items() if name in wanted]
        at = np.flatnonzero(np.isin(self._code, chosen))
        columns = (self._due[at] - self._shift_ns, self._file[at], self._begin[at], self._stop[at])
        for received_ns, file, begin, stop in zip(*(c.tolist() for c in columns), strict=True):
            yield received_ns, self._files[file].text[begin:stop]

    def agg_trades(
        self, symbol: str, from_id: int | None, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggTrade]:
        """Return the recorded aggregated trades sent so far."""
        index, rows = self._aggs.get(symbol, (np.zeros(0, np.int64), []))
        sent = rows[: int(np.searchsorted(index, self._cursor, "left"))]
        chosen = [
            row
            for row in sent
            if (from_id is None or int(row["a"]) >= from_id)
            and (start_ms is None or int(row["T"]) >= start_ms)
            and (end_ms is None or int(row["T"]) <= end_ms)
        ]
        return chosen[-limit:] if from_id is None and start_ms is None else chosen[:limit]

    def klines(
        self, symbol: str, interval_ms: int, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[Kline]:
        """Return candles of the trades sent so far."""
        info = self._infos[symbol]
        trades = self._trades.get(symbol)
        minutes = minute_candles(*(np.zeros(0),) * 4)  # type: ignore[arg-type]
        if trades is not None:
            sent = trades[: int(np.searchsorted(trades["index"], self._cursor, "left"))]
            sent = sent[np.argsort(sent["T"], kind="stable")]
            minutes = minute_candles(sent["T"], sent["p"], sent["q"], sent["m"])
        candles = merge_candles([minutes], interval_ms)
        return as_klines(
            candles, interval_ms, info.price_precision, info.quantity_precision, start_ms, end_ms,
            limit,
        )  # fmt: skip

    def _merge(self, files: list[RecordedFile]) -> None:
        """Merge the messages of all files by receive time."""
        self._names = list(dict.fromkeys(name for file in files for name in file.names))
        self._codes = {name: code for code, name in enumerate(self._names)}
        # Within a file the order of its lines is kept, even where its clock stepped back.
        received = np.concatenate([np.maximum.accumulate(file.received_ns) for file in files])
        code = np.concatenate(
            [np.array([self._codes[n] for n in file.names])[file.code] for file in files]
        )
        number = np.repeat(np.arange(len(files)), [len(file.code) for file in files])
        order = np.argsort(received, kind="stable")
        index = np.empty(len(order), np.int64)
        index[order] = np.arange(len(order))
        self._code, self._file = code[order], number[order]
        self._begin = np.concatenate([file.begin for file in files])[order]
        self._stop = np.concatenate([file.stop for file in files])[order]

        events = np.concatenate([file.event_ms for file in files])
        known = events > 0
        ahead = events[known] * 1_000_000 - received[known]
        self._shift_ns = int(np.quantile(ahead, 0.99)) if len(ahead) else 0
        self._due = received[order] + self._shift_ns
        self.start_ns = int(self._due[0])

        offsets = np.cumsum([0, *(len(file.code) for file in files)])
        self._infos = _infer_symbols(self._names, files)
        self._trades: dict[str, NDArray[Any]] = {}
        self._aggs: dict[str, tuple[NDArray[np.int64], list[AggTrade]]] = {}
        for symbol in self._infos:
            parts = []
            aggs: list[tuple[int, AggTrade]] = []
            for file, offset in zip(files, offsets, strict=False):
                if symbol in file.trades:
                    part = file.trades[symbol].copy()
                    part["index"] = index[part["index"] + offset]
                    parts.append(part)
                aggs += [(int(index[at + offset]), row) for at, row in file.aggs.get(symbol, ())]
            if parts:
                self._trades[symbol] = np.sort(np.concatenate(parts), order="index")
            aggs.sort(key=lambda entry: entry[0])
            self._aggs[symbol] = (np.array([at for at, _ in aggs], np.int64), [r for _, r in aggs])


def _list_files(paths: Iterable[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(
                file
                for file in path.iterdir()
                if file.is_file() and not file.name.startswith((".", *_IGNORED_FILES))
            )
            if not found:
                raise DataError(f"{path}: no recording in this folder")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise DataError(f"{path}: no such file or folder")
    return files


def _infer_symbols(names: list[str], files: list[RecordedFile]) -> dict[str, SymbolInfo]:
    """Return each symbol's tick and lot size, inferred from prices and quantities as written."""
    infos = {}
    for symbol in dict.fromkeys(name.partition("@")[0].upper() for name in names):
        steps = []
        for which in ("prices", "quantities"):
            texts = set[str]().union(*(getattr(file, which).get(symbol, ()) for file in files))
            parts = [text.partition(".")[2] for text in texts] or [""]
            written = max(len(part) for part in parts)
            used = max(len(part.rstrip("0")) for part in parts)
            steps.append((f"{10.0**-used:.{written}f}", written))
        (tick, price_precision), (step, quantity_precision) = steps
        infos[symbol] = SymbolInfo(symbol, tick, step, price_precision, quantity_precision)
    return infos
