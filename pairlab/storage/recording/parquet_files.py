"""Parquet files of a recording: how they are written, and read with every checksum verified."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import numpy as np

from pairlab.errors import DataError
from pairlab.schema import Pair
from pairlab.storage.tables import FORMAT_VERSION, arrow

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "NO_LEG",
    "group_spans",
    "is_of_recording",
    "open_parquet",
    "read_groups",
    "sha256_of",
    "symbol_folder",
    "write_parquet",
]

ROW_GROUP: Final = 1 << 20

# Integers that mostly count up take a few bits each as differences; floats without a pattern are
# smaller with their bytes grouped by place. Every other column has few values: a dictionary.
_DELTA: Final = frozenset({"seq", "time", "received", "id", "row", "number"})
_SPLIT: Final = frozenset({
    "hedge_ratio", "intercept", "spread", "spread_mean", "spread_std", "zscore", "correlation",
    "adf_stat", "p_value", "half_life", "y_age_s", "x_age_s",
})  # fmt: skip


NO_LEG: Final = -1
"""Leg of a tick that is of neither symbol; a feed of the user's may deliver such."""


def symbol_folder(pair: Pair, leg: int) -> str:
    """Return the name of the folder of a leg's ticks, in Hive's way."""
    symbol = "__HIVE_DEFAULT_PARTITION__" if leg == NO_LEG else quote(pair[leg], safe="")
    return f"symbol={symbol}"


def _parquet() -> Any:
    arrow()
    import pyarrow.parquet

    return pyarrow.parquet


def write_parquet(table: pa.Table, path: Path, recording: str) -> None:
    """Write a table; every page has a checksum.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    plain = [name for name in table.column_names if name in _DELTA or name in _SPLIT]
    encodings = {
        name: "DELTA_BINARY_PACKED" if name in _DELTA else "BYTE_STREAM_SPLIT" for name in plain
    }
    about = {"pairlab.format": str(FORMAT_VERSION), "pairlab.recording": recording}
    _parquet().write_table(
        table.replace_schema_metadata(about),
        path,
        row_group_size=ROW_GROUP,
        compression="zstd",
        use_dictionary=[name for name in table.column_names if name not in encodings],
        column_encoding=encodings,
        write_page_checksum=True,
    )


def is_of_recording(path: Path, recording: str) -> bool:
    """Return whether a file is one that `write_parquet` wrote for this recording."""
    try:
        metadata = _parquet().read_metadata(path).metadata or {}
    except (arrow().ArrowException, OSError):
        return False
    return bool(metadata.get(b"pairlab.recording") == recording.encode())


def sha256_of(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_parquet(path: Path) -> Any:
    """Return an open `pyarrow.parquet.ParquetFile` that verifies what it reads.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    """
    pa, parquet = arrow(), _parquet()
    try:
        return parquet.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError:
        raise DataError(f"{path} is missing, though the recording's manifest names it") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged: {error}") from None


def read_groups(file: Any, path: Path, groups: list[int], columns: list[str] | None = None) -> Any:
    """Return row groups as a table.

    Raises
    ------
    DataError
        If a page's checksum is not that of its bytes, naming the file.
    """
    pa = arrow()
    try:
        return file.read_row_groups(groups, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged: {error}") from None


def group_spans(file: Any, path: Path, column: str) -> np.ndarray[Any, Any]:
    """Return the least and greatest value of a column in each row group, shape (groups, 2).

    Raises
    ------
    DataError
        If there is no such column of numbers, naming the file.
    """
    names = file.schema_arrow.names
    if column not in names:
        raise DataError(f"{path} is damaged: it has no column {column!r}")
    index = names.index(column)
    metadata = file.metadata
    found = []
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(index).statistics
        raw = (statistics.min_raw, statistics.max_raw) if statistics is not None else None
        found.append(raw if raw is not None and statistics.has_min_max else (-(2**63), 2**63 - 1))
    return np.array(found, np.int64).reshape(-1, 2)
