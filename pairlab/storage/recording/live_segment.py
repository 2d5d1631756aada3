"""Live segments: files of frames, each with its length and checksum, readable while they grow.

A frame is a header of `_HEADER.size` bytes and a payload, an Arrow IPC stream of one table (of a
note: JSON). Header and payload have a CRC-32 of their own: a torn or damaged frame costs that
frame, and its header still tells what it held.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

from pairlab.errors import DataError
from pairlab.schema import Pair, Records
from pairlab.storage.journal_table import events_table
from pairlab.storage.recording.sink import RecordBatch
from pairlab.storage.tables import alerts_table, arrow, rows_table, ticks_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "MAX_RECORDS",
    "Frame",
    "FrameKind",
    "LiveSegment",
    "Scan",
    "TornFrame",
    "frames_of",
    "note_frame",
    "read_note",
    "read_table",
    "scan",
]

MAX_RECORDS: Final = 65_536
"""Most records of a frame: so much can be torn at most."""

_MAGIC: Final = b"PLf1"
_HEADER: Final = struct.Struct("<4sBxxxIIIqqqqII")
# magic, kind, payload bytes, records, epoch, first, last, low, high, payload CRC, header CRC
_MAX_PAYLOAD: Final = 1 << 30


class FrameKind(IntEnum):
    """What a frame holds."""

    TICKS = 1
    ROWS = 2
    ALERTS = 3
    EVENTS = 4
    NOTE = 5


_KINDS: Final = frozenset(map(int, FrameKind))


class Frame(NamedTuple):
    """A whole frame in a file.

    Attributes
    ----------
    kind : FrameKind
        What it holds.
    offset, length : int
        Of its payload in the file, bytes.
    records : int
        How many are in it.
    epoch : int
        Of rows.
    first, last : int
        Ordinals of ticks, numbers of rows, of alerts or, of events, their numbers in the journal.
    low, high : int
        Least and greatest time of ticks, rows or alerts; of events, ordinal.
    """

    kind: FrameKind
    offset: int
    length: int
    records: int
    epoch: int
    first: int
    last: int
    low: int
    high: int


class TornFrame(NamedTuple):
    """Bytes of a file that are no whole frame.

    Attributes
    ----------
    offset, length : int
        Where they lie in the file, bytes.
    kind : FrameKind or None
        What the frame held, if its header is whole.
    records, low, high : int
        Of that header, else 0.
    """

    offset: int
    length: int
    kind: FrameKind | None = None
    records: int = 0
    low: int = 0
    high: int = 0


class Scan(NamedTuple):
    """What a file of frames holds.

    Attributes
    ----------
    frames : list of Frame
        The whole ones, in order.
    torn : list of TornFrame
        What lies between and behind them.
    end : int
        Where the last whole frame ends, bytes.
    """

    frames: list[Frame]
    torn: list[TornFrame]
    end: int


# -- writing -------------------------------------------------------------------------------------


def _frame(
    kind: FrameKind,
    payload: bytes | memoryview,
    count: int,
    *,
    epoch: int = 0,
    first: int = 0,
    last: int = 0,
    span: tuple[int, int] = (0, 0),
) -> list[bytes | memoryview]:
    head = _HEADER.pack(
        _MAGIC, kind, len(payload), count, epoch, first, last, *span, zlib.crc32(payload), 0
    )[:-4]
    return [head + struct.pack("<I", zlib.crc32(head)), payload]


def _payload(table: pa.Table) -> memoryview:
    pa = arrow()
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return memoryview(out.getvalue())


def _span(records: Records) -> tuple[int, int]:
    times = records["time_ns"]
    return int(times.min()), int(times.max())


def _pieces(records: Records) -> Iterator[tuple[int, Records]]:
    for start in range(0, len(records), MAX_RECORDS):
        yield start, records[start : start + MAX_RECORDS]


def frames_of(batch: RecordBatch, pair: Pair) -> Iterator[bytes | memoryview]:
    """Return a batch as the bytes of frames.

    Events come first: where the end is torn, no tick is left without the events before it. Rows
    come after their ticks for the same reason.

    Parameters
    ----------
    batch : RecordBatch
        Numbered as the recording counts.
    pair : Pair
        The symbols.

    Yields
    ------
    bytes-like
        Headers and payloads in turn.
    """
    for start in range(0, len(batch.events), MAX_RECORDS):
        events = batch.events[start : start + MAX_RECORDS]
        number = batch.first_event + start
        yield from _frame(
            FrameKind.EVENTS, _payload(events_table(events)), len(events),
            first=number, last=number + len(events) - 1,
            span=(min(e.tick for e in events), max(e.tick for e in events)),
        )  # fmt: skip
    for first_seq, ticks in batch.ticks:
        for start, piece in _pieces(ticks):
            first = first_seq + start
            yield from _frame(
                FrameKind.TICKS, _payload(ticks_table(piece, first, pair)), len(piece),
                first=first, last=first + len(piece) - 1, span=_span(piece),
            )  # fmt: skip
    if batch.price_decimals is not None:
        yield from note_frame({"price_decimals": batch.price_decimals})
    for rebuild in batch.rebuilds:
        yield from note_frame({"rebuild": rebuild._asdict()})
    for epoch, first_row, rows in batch.rows:
        for start, piece in _pieces(rows):
            first = first_row + start
            yield from _frame(
                FrameKind.ROWS, _payload(rows_table(piece, first, epoch)), len(piece),
                epoch=epoch, first=first, last=first + len(piece) - 1, span=_span(piece),
            )  # fmt: skip
    for start in range(0, len(batch.alerts), MAX_RECORDS):
        alerts = batch.alerts[start : start + MAX_RECORDS]
        times = [alert.time_ns for alert in alerts]
        yield from _frame(
            FrameKind.ALERTS, _payload(alerts_table(alerts)), len(alerts),
            first=alerts[0].number, last=alerts[-1].number,
            span=(min(times), max(times)),
        )  # fmt: skip


def note_frame(note: dict[str, Any]) -> list[bytes | memoryview]:
    """Return a frame that holds a note for the manifest."""
    return _frame(FrameKind.NOTE, json.dumps(note).encode(), 1)


class LiveSegment:
    """A file of frames that is written to.

    Parameters
    ----------
    path : pathlib.Path
        Of a file that does not exist yet.

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.nbytes = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        self._file: Final = os.open(path, flags, 0o644)

    def append(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Append frames: all of them, or none.

        Raises
        ------
        OSError
            If they could not be written, or the file is no longer where it was.
        """
        self.require_there()
        data = memoryview(b"".join(pieces))
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, data[done:])
        except OSError:
            os.ftruncate(self._file, self.nbytes)  # what is torn here would be told as a loss
            os.lseek(self._file, self.nbytes, os.SEEK_SET)
            raise
        self.nbytes += done

    def require_there(self) -> None:
        """Raise OSError if the path leads elsewhere by now: writing would go into nothing."""
        named, held = os.stat(self.path), os.fstat(self._file)
        if (named.st_dev, named.st_ino) != (held.st_dev, held.st_ino):
            raise FileNotFoundError(2, "another file is at its place", str(self.path))

    def syncing(self) -> Callable[[], None]:
        """Return a function, for any thread, that makes durable what was appended until now."""
        file = os.dup(self._file)

        def sync() -> None:
            try:
                os.fsync(file)
            finally:
                os.close(file)

        return sync

    def close(self) -> None:
        """Release the file; it stays as it is."""
        os.close(self._file)


# -- reading -------------------------------------------------------------------------------------


def scan(path: Path, descriptor: int | None = None) -> Scan:
    """Find the whole frames of a file, which may be growing; `descriptor` is it, opened.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    found: list[Frame] = []
    torn: list[TornFrame] = []
    end = at = 0
    with open(path if descriptor is None else os.dup(descriptor), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while at < size:
            header = _header_at(file, at, size)
            if header is None:
                after = _next_header(file, at + 1, size)
                torn.append(TornFrame(at, after - at))
                at = after
                continue
            frame, crc = header
            stop = frame.offset + frame.length
            payload = file.read(frame.length) if stop <= size else b""
            if len(payload) == frame.length and zlib.crc32(payload) == crc:
                found.append(frame)
                end = stop
            else:
                length = min(stop, size) - at
                torn.append(TornFrame(at, length, frame.kind, frame.records, frame.low, frame.high))
            at = stop
    return Scan(found, torn, end)


def _header_at(file: BinaryIO, at: int, size: int) -> tuple[Frame, int] | None:
    file.seek(at)
    head = file.read(min(_HEADER.size, size - at))
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        return None
    _, kind, length, count, epoch, first, last, low, high, crc, own = _HEADER.unpack(head)
    if zlib.crc32(head[:-4]) != own or kind not in _KINDS or length > _MAX_PAYLOAD:
        return None
    offset = at + _HEADER.size
    frame = Frame(FrameKind(kind), offset, length, count, epoch, first, last, low, high)
    return frame, crc


def _next_header(file: BinaryIO, at: int, size: int) -> int:
    """Return where the next whole header begins, or `size`."""
    file.seek(at)
    rest = file.read(size - at)
    found = rest.find(_MAGIC)
    while found >= 0:
        if _header_at(file, at + found, size) is not None:
            return at + found
        found = rest.find(_MAGIC, found + 1)
    return size


def _read(path: Path, frame: Frame, file: int | None) -> bytes:
    if file is not None:
        return os.pread(file, frame.length, frame.offset)
    with path.open("rb") as opened:
        opened.seek(frame.offset)
        return opened.read(frame.length)


def read_table(path: Path, frame: Frame, file: int | None = None) -> pa.Table:
    """Return the table of a frame; `file` is the open file, where the path may lead nowhere.

    Raises
    ------
    DataError
        If it is none.
    """
    pa = arrow()
    try:
        with pa.ipc.open_stream(pa.py_buffer(_read(path, frame, file))) as reader:
            return reader.read_all()
    except pa.ArrowException as error:
        raise DataError(f"{path}: the frame at byte {frame.offset} is no table: {error}") from None


def read_note(path: Path, frame: Frame, file: int | None = None) -> dict[str, Any]:
    """Return the note of a frame, as `read_table`.

    Raises
    ------
    DataError
        If it is none.
    """
    try:
        note = json.loads(_read(path, frame, file))
    except ValueError:
        note = None
    if not isinstance(note, dict):
        raise DataError(f"{path}: the frame at byte {frame.offset} is no note")
    return note
