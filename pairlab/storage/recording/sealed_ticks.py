"""The ticks and rows of sealed files, put back in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import DataError
from pairlab.schema import TICK, Pair, Records
from pairlab.storage.recording.manifest import SealedFile
from pairlab.storage.recording.parquet_files import (
    NO_LEG,
    group_spans,
    open_parquet,
    read_groups,
    symbol_folder,
)
from pairlab.storage.tables import arrow, column, rows_of

__all__ = [
    "RowSpan",
    "blocks_of",
    "meets",
    "ordered_ticks",
    "read_sealed",
    "row_runs",
    "runs_of",
    "seq_in_sealed",
]

_PIECE: Final = 65_536
"""Ticks of a file that are decoded together: the processor's cache holds them."""

_END: Final = 2**63 - 1

_COLUMNS: Final = {"time_ns": "time", "received_ns": "received"} | {
    name: name for name in ("id", "price", "quantity", "buyer_is_maker")
}


class RowSpan(NamedTuple):
    """What a file or frame of rows begins and ends with: epoch, number and time of the rows."""

    first_epoch: int
    first: int
    first_ns: int
    last_epoch: int
    last: int
    last_ns: int


def _leg_of(file: SealedFile, pair: Pair) -> int:
    folder = file.path.split("/")[1]
    for leg in (0, 1, NO_LEG):
        if folder == symbol_folder(pair, leg):
            return leg
    raise DataError(f"{file.path} holds ticks of neither {pair.y} nor {pair.x}")


class _FileTicks:
    """The ticks of one file, decoded piece by piece.

    Parameters
    ----------
    path : Path
        The file.
    file : SealedFile
        What the manifest says of it.
    leg : int
        Of its ticks.
    first, last : int
        Ordinals that are wanted, both included.

    Attributes
    ----------
    seq : array of int64
        Ordinals of the ticks that are decoded and not taken yet, ascending.
    known_to : int
        No tick up to this ordinal is still to be decoded.
    """

    def __init__(self, path: Path, file: SealedFile, leg: int, first: int, last: int) -> None:
        self._path, self._leg, self._first, self._last = path, leg, first, last
        self._pieces: Iterator[Any] | None = None
        self._ticks = np.zeros(0, TICK)
        self.seq: NDArray[np.int64] = np.zeros(0, np.int64)
        self.known_to = file.first - 1

    def decode(self) -> None:
        """Decode the next piece that has a tick that is wanted.

        Raises
        ------
        DataError
            If the file is missing or damaged, or its ordinals do not ascend.
        """
        if self._pieces is None:
            self._pieces = self._read()
        for table in self._pieces:
            seq: NDArray[np.int64] = column(table, "seq", np.int64)
            if not len(seq):
                continue
            if seq[0] <= self.known_to or (seq[1:] <= seq[:-1]).any():
                raise DataError(f"{self._path}: ordinals are there twice, or do not ascend")
            self.known_to = int(seq[-1])
            begin, end = np.searchsorted(seq, (self._first, self._last + 1))
            if begin == end:
                if seq[0] > self._last:
                    break
                continue
            ticks = np.zeros(end - begin, TICK)
            ticks["leg"] = self._leg
            for field, name in _COLUMNS.items():
                ticks[field] = column(table, name, TICK[field])[begin:end]
            if len(self.seq):
                ticks = np.concatenate([self._ticks, ticks])
                seq = np.concatenate([self.seq, seq[begin:end]])
            else:
                seq = seq[begin:end]
            self.seq, self._ticks = seq, ticks
            return
        self.known_to = _END

    def _read(self) -> Iterator[Any]:
        pa = arrow()
        names = ["seq", *_COLUMNS.values()]
        with open_parquet(self._path) as opened:
            spans = group_spans(opened, self._path, "seq")
            wanted = (spans[:, 1] >= self._first) & (spans[:, 0] <= self._last)
            groups = np.flatnonzero(wanted).tolist()
            try:
                for batch in opened.iter_batches(_PIECE, groups, names):
                    yield pa.Table.from_batches([batch])
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{self._path} is damaged: {error}") from None

    def decoded_to(self, through: int) -> int:
        """Return how many ticks up to an ordinal are decoded."""
        return int(np.searchsorted(self.seq, through, side="right"))

    def take(self, through: int) -> tuple[NDArray[np.int64], Records]:
        """Return what is decoded up to an ordinal, and forget it."""
        end = self.decoded_to(through)
        taken = self.seq[:end], self._ticks[:end]
        self.seq, self._ticks = self.seq[end:], self._ticks[end:]
        return taken


def ordered_ticks(
    folder: Path, files: list[SealedFile], pair: Pair, first: int, last: int
) -> Iterator[tuple[NDArray[np.int64], Records]]:
    """Go through the ticks of a segment's files whose ordinals are from `first` to `last`.

    The files, one a leg and day, are merged as they are decoded: the first ticks are there before
    the rest is read.

    Yields
    ------
    seq : numpy.ndarray
        Ordinals, ascending, shape (n,).
    ticks : numpy.ndarray
        `pairlab.TICK` records, shape (n,).

    Raises
    ------
    DataError
        If a file is missing or damaged, or ordinals are there twice.
    """
    streams = [
        _FileTicks(folder / file.path, file, _leg_of(file, pair), first, last)
        for file in files
        if file.last >= first and file.first <= last
    ]
    while streams:
        # As many as a piece at least, unless they are the last: no slivers where a file begins.
        while True:
            least = min(streams, key=lambda stream: stream.known_to)
            if least.known_to == _END:
                break
            least.decode()
            through = min(stream.known_to for stream in streams)
            if sum(s.decoded_to(through) for s in streams) >= _PIECE:
                break
        through = min(stream.known_to for stream in streams)
        parts = [part for part in (stream.take(through) for stream in streams) if len(part[0])]
        streams = [s for s in streams if len(s.seq) or s.known_to < _END]
        if parts:
            yield _merged(folder / files[0].path, parts)


def _merged(
    path: Path, parts: list[tuple[NDArray[np.int64], Records]]
) -> tuple[NDArray[np.int64], Records]:
    """Return ticks of several files in the order of their ordinals."""
    if len(parts) == 1:
        return parts[0]
    seq = np.concatenate([part[0] for part in parts])
    ticks = np.concatenate([part[1] for part in parts])
    low = int(min(part[0][0] for part in parts))
    high = int(max(part[0][-1] for part in parts))
    if high - low + 1 == len(seq):  # the usual case: nothing is missing, so each has its place
        order = np.full(len(seq), -1)
        order[seq - low] = np.arange(len(seq))
        twice = (order < 0).any()  # one that is there twice leaves another's place empty
    else:
        order = np.argsort(seq, kind="stable")
        twice = (np.diff(seq[order]) < 1).any()
    if twice:
        raise DataError(f"{path}: ordinals are there twice")
    # As rows of whole numbers: records are copied field by field, at twice the time.
    words = ticks.view(np.int64).reshape(len(ticks), -1)
    return seq[order], words.take(order, axis=0).view(TICK).reshape(-1)


def seq_in_sealed(folder: Path, files: list[SealedFile], time_ns: int) -> int | None:
    """Return the least ordinal of a tick at or after a time in a segment's files, if any."""
    found = []
    for file in files:
        if file.last_ns < time_ns:
            continue
        path = folder / file.path
        with open_parquet(path) as opened:
            for group in np.flatnonzero(
                group_spans(opened, path, "time")[:, 1] >= time_ns
            ).tolist():
                table = read_groups(opened, path, [group], ["seq", "time"])
                at = np.flatnonzero(column(table, "time", np.int64) >= time_ns)
                if len(at):
                    found.append(int(column(table, "seq", np.int64)[at[0]]))
                    break
    return min(found, default=None)


def read_sealed(folder: Path, files: list[SealedFile]) -> Iterator[Any]:
    """Return the files as tables, in order, each verified as it is read."""
    for file in files:
        path = folder / file.path
        with open_parquet(path) as opened:
            yield read_groups(opened, path, list(range(opened.metadata.num_row_groups)))


def runs_of(*numbers: NDArray[Any]) -> Iterator[slice]:
    """Return the runs in which the last array counts up by one and the others do not change."""
    *same, counting = numbers
    if not len(counting):
        return
    breaks = np.diff(counting) != 1
    for values in same:
        breaks |= np.diff(values) != 0
    ends = [*(np.flatnonzero(breaks) + 1).tolist(), len(counting)]
    start = 0
    for end in ends:
        yield slice(start, end)
        start = end


def blocks_of(seq: NDArray[np.int64], ticks: Records, block: int) -> Iterator[tuple[int, Records]]:
    """Return ticks in blocks whose ordinals count up by one, each with its first ordinal."""
    for run in runs_of(seq):
        for start in range(run.start, run.stop, block):
            yield int(seq[start]), ticks[start : min(start + block, run.stop)]


def row_runs(table: Any) -> Iterator[tuple[int, int, Records]]:
    """Return a table's rows in runs of one epoch, each with it and the number of its first row."""
    epochs, numbers, rows = rows_of(table)
    for run in runs_of(epochs, numbers):
        yield int(epochs[run.start]), int(numbers[run.start]), rows[run]


def meets(first_ns: int, last_ns: int, since_ns: int | None, until_ns: int | None) -> bool:
    """Return whether a span of time has anything in common with what is asked for."""
    return (since_ns is None or last_ns >= since_ns) and (until_ns is None or first_ns <= until_ns)
