"""What a path is, by what is in it, and the source that plays it."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from pairlab.errors import DataError
from pairlab.schema import Pair
from pairlab.storage.recording.manifest import Manifest
from pairlab.storage.replay.archives import open_archive
from pairlab.storage.replay.frames import open_frames
from pairlab.storage.replay.recordings import RecordingTicks, is_recording
from pairlab.storage.replay.sessions import is_session, open_session_ticks
from pairlab.storage.replay.tables.columns import check_columns
from pairlab.storage.replay.tables.own_tables import open_tables
from pairlab.storage.replay.tables.table_file import TableFile, TableFormat
from pairlab.storage.replay.tick_source import TickSource
from pairlab.storage.session.read_session import read_session

__all__ = ["Kind", "files_of", "kind_of", "open_source", "symbols_in"]

Kind = Literal["archive", "frames", "csv", "ndjson", "parquet", "session"]

_OTHER_KINDS: Final[dict[str, str]] = {"archive": "an archive file", "session": "a saved session"}
_HEAD_BYTES: Final = 4096
_IGNORED: Final = ("LICENSE", "README", "NOTICE")
_ARCHIVE_NAME: Final = re.compile(r"[A-Z0-9_]+-(aggTrades|trades|bookTicker)-\d{4}-\d{2}")
_DELIMITERS: Final = (b",", b";", b"\t", b"|")
_TABLES: Final = tuple(
    f".{name}{packed}" for name in ("csv", "tsv", "txt") for packed in ("", ".gz", ".bz2")
)
_FRAME: Final = re.compile(rb"\d{16}(\d{3})? +\{|\d+(\.\d+)?: *\{|wss?://")
_ARCHIVE_HEADER: Final = re.compile(
    rb"(agg_trade_id|update_id),|id,price,qty,quote_qty,time,is_buyer_maker"
)
_ARCHIVE_ROW: Final = re.compile(rb"\d+,[-+.eE\d]+,[-+.eE\d]+,")


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Return the files meant: of a folder, those in it that are no licence, readme or hidden file.

    Raises
    ------
    DataError
        If a path is not there, or a folder holds no file.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(
                file
                for file in path.iterdir()
                if file.is_file()
                and not file.name.startswith((".", *_IGNORED))
                and file.suffix != ".CHECKSUM"
            )
            if not inside:
                raise DataError(f"{path}: no recording in this folder")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"{path}: no such file or folder")
    if not found:
        raise DataError("a replay needs at least one file")
    return found


def kind_of(path: Path) -> Kind:
    """Return what a file is, by its first bytes and, of two that look alike, by its name.

    Raises
    ------
    DataError
        If it cannot be read, or is nothing that can be played.
    """
    head = _head(path)
    if is_session(path):
        return "session"  # what is none is refused by its reader, with the reason
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:2] == b"PK":
        return "archive"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _FRAME.match(text):
        return "frames"
    if text[:1] == b"{":
        return "ndjson"
    first = text.split(b"\n", 1)[0]
    if _ARCHIVE_NAME.match(path.name) or _ARCHIVE_HEADER.match(first) or _ARCHIVE_ROW.match(first):
        return "archive"
    if any(mark in first for mark in _DELIMITERS) and path.name.endswith(_TABLES):
        return "csv"
    # What is none of these is refused by the reader of frames, which names the line.
    return "frames"


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if head[:2] == b"\x1f\x8b":
            with gzip.open(path, "rb") as unzipped:
                head = unzipped.read(_HEAD_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the gzip file is damaged or cut short ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    return head


def open_source(
    paths: Sequence[str | os.PathLike[str]],
    pair: Pair,
    stream: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> TickSource:
    """Return the source of a replay; it reads files, so it is called on a thread of its own.

    Parameters
    ----------
    paths : sequence of path
        As `Replay` takes them.
    pair : Pair
        The symbols.
    stream : str, optional
        What a tick is; by default what is recorded.
    columns : mapping of str to str, optional
        Of tables of one's own.

    Raises
    ------
    DataError
        If there is nothing that can be played, or it does not have both symbols.
    MissingExtraError
        Where it needs ``pip install "pairlab[storage]"``.
    """
    check_columns(columns)
    given = [Path(path) for path in paths]
    if any(map(is_recording, given)):
        if len(given) > 1:
            raise DataError("one recording at a time: a folder is one, with all of its files")
        return RecordingTicks(given[0], pair, stream)
    files = files_of(given)
    kinds = {path: kind_of(path) for path in files}
    if columns is not None:  # of a table that happens to look like the archive's
        kinds = {
            path: "csv" if kind == "archive" and path.suffix != ".zip" else kind
            for path, kind in kinds.items()
        }
    tables: list[tuple[Path, TableFormat]] = []
    for path, kind in kinds.items():
        if kind != "archive" and kind != "frames" and kind != "session":
            tables.append((path, kind))
    if tables and len(tables) == len(kinds):
        return open_tables(tables, pair, stream, columns)
    if columns is not None:
        raise DataError(
            f"{files[0]}: columns are those of CSV, NDJSON or Parquet files; this is "
            + _OTHER_KINDS.get(kinds[files[0]], "no table")
        )
    if len(set(kinds.values())) > 1:
        told = ", ".join(f"{path.name} ({kind})" for path, kind in list(kinds.items())[:6])
        raise DataError(f"files of several kinds cannot be played together: {told}")
    if kinds[files[0]] == "session":
        return open_session_ticks(files, pair, stream)
    if kinds[files[0]] == "archive":
        return open_archive(files, pair, stream)
    return open_frames(files, pair, stream)


def symbols_in(
    paths: Sequence[str | os.PathLike[str]], columns: Mapping[str, str] | None = None
) -> list[str] | None:
    """Return the symbols of a recording, an archive or tables, in the order found.

    Returns
    -------
    list of str or None
        None for recorded frames, which say themselves what they have of which stream; empty
        where nothing says it.

    Raises
    ------
    DataError
        If a path is not there, or a file cannot be read.
    """
    given = [Path(path) for path in paths]
    if any(map(is_recording, given)):
        return [
            symbol for path in given if is_recording(path) for symbol in Manifest.load(path).pair
        ]
    files = files_of(given)
    kinds = [kind_of(path) for path in files]
    if "frames" in kinds:
        return None
    found: dict[str, None] = {}
    for path, kind in zip(files, kinds, strict=True):
        if kind == "archive":
            named = _ARCHIVE_NAME.match(path.name)
            if named:
                found[path.name.split("-")[0]] = None
        elif kind == "session":
            found.update(dict.fromkeys(read_session(path).pair))
        elif kind != "frames":
            found.update(dict.fromkeys(TableFile(path, kind, Pair("", ""), columns).symbols()))
    return list(found)
