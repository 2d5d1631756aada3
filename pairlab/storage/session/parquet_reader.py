"""Tables of a stranger's Parquet files: of the expected columns, bounded, and without any code.

Two things about such a file are dangerous. Its description of Arrow types may name a type that
Python code makes (older pyarrow versions unpickle it): a file with any description is refused
before Arrow looks at its first byte, since ours have none. And few bytes may stand for very many
values: what the file's own index says of rows, values and encodings is checked before one is read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pairlab.errors import DataError
from pairlab.feeds.base import FeedHealth
from pairlab.schema import ROW, TICK, Pair
from pairlab.settings import SettingValues
from pairlab.storage.session.limits import SessionLimits
from pairlab.storage.session.saved_session import SavedSession
from pairlab.storage.session.session_tables import tables_of
from pairlab.storage.session.write_session import parquet_bytes
from pairlab.storage.tables import arrow

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_member"]

_ENCODINGS: Final = {"PLAIN", "RLE", "RLE_DICTIONARY", "PLAIN_DICTIONARY", "BIT_PACKED"}
_CODECS: Final = {"ZSTD", "UNCOMPRESSED"}
_TYPES: Final = b"ARROW:schema"
"""The key under which a file describes Arrow types. Keys stand in its index as they are."""

_WIDTH: Final = 8  # bytes, of the widest value that is no text


def read_member(name: str, content: bytes, rows: int, limits: SessionLimits) -> pa.Table:
    """Return the table of a member.

    Parameters
    ----------
    name : str
        One of `session_tables.MEMBERS`.
    content : bytes
        A Parquet file.
    rows : int
        How many it must have.
    limits : SessionLimits
        Beyond which it is refused.

    Returns
    -------
    pyarrow.Table
        With the columns and types that are written.

    Raises
    ------
    DataError
        If it is anything else.
    """
    pa = arrow()
    import pyarrow.parquet as pq

    try:
        _require_no_types(content)
        index = pq.read_metadata(pa.BufferReader(content))
        _check(index, len(content), rows, limits)
        expected = _schema(name)
        found = index.schema.to_arrow_schema()
        if not found.equals(expected):
            raise DataError(f"its columns are {_columns(found)}; expected {_columns(expected)}")
        text = [field.name for field in expected if pa.types.is_string(field.type)]
        # As numbers and the texts that they stand for: one long text may be repeated a million
        # times in a few bytes.
        file = pq.ParquetFile(
            pa.BufferReader(content), read_dictionary=text, page_checksum_verification=True
        )
        table = file.read()
        table.validate(full=True)
        if table.num_rows != rows:
            raise DataError(f"it has {table.num_rows:,} rows, the manifest says {rows:,}")
        for at, field in enumerate(expected):
            if field.name in text:
                held = sum(map(_text_bytes, table.column(at).chunks))
                if refusal := limits.refusal(held, len(content)):
                    raise DataError(f"column {field.name!r}: {refusal}")
        return table.cast(expected)
    except DataError as error:
        raise DataError(f"{name}.parquet: {error}") from None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise DataError(f"{name}.parquet cannot be read: {_first_line(error)}") from None


def _require_no_types(content: bytes) -> None:
    """Refuse a file that describes types of Arrow's: opening it would make them."""
    length = int.from_bytes(content[-8:-4], "little")
    if content[-4:] != b"PAR1" or not 0 < length <= len(content) - 12:
        raise DataError("it is no Parquet file: it does not end as one")
    if _TYPES in content[-8 - length : -8]:
        raise DataError("it describes types of its own (ARROW:schema): expected none")


def _check(index: Any, stored: int, rows: int, limits: SessionLimits) -> None:
    if index.metadata is not None:
        names = ", ".join(repr(key.decode("utf-8", "replace")[:40]) for key in index.metadata)
        raise DataError(f"it describes types of its own ({names}): expected none")
    if index.num_rows != rows:
        raise DataError(f"it has {index.num_rows:,} rows, the manifest says {rows:,}")
    held = unpacked = counted = 0
    for number in range(index.num_row_groups):
        group = index.row_group(number)
        counted += group.num_rows
        for at in range(group.num_columns):
            part = group.column(at)
            if strange := set(part.encodings) - _ENCODINGS:
                raise DataError(f"column {part.path_in_schema!r} is encoded as {min(strange)}")
            if part.compression not in _CODECS:
                raise DataError(f"column {part.path_in_schema!r} is packed by {part.compression}")
            if part.num_values < 0 or part.total_uncompressed_size < 0:
                raise DataError(f"column {part.path_in_schema!r} has a size below 0")
            held += part.num_values * _WIDTH
            unpacked += part.total_uncompressed_size
    if counted != rows:
        raise DataError(f"its row groups have {counted:,} rows, the manifest says {rows:,}")
    if refusal := limits.refusal(max(held, unpacked), stored):
        raise DataError(refusal)


def _text_bytes(chunk: Any) -> int:
    """Return how long the texts of a column are together, each as often as it stands there."""
    pa = arrow()
    lengths = pa.compute.binary_length(chunk.dictionary).to_numpy(zero_copy_only=False)
    times = np.bincount(chunk.indices.drop_null().to_numpy(), minlength=len(lengths))
    return int(lengths.astype(np.int64) @ times)


@lru_cache(maxsize=32)
def _schema(name: str) -> Any:
    """Return the columns of a member as a file that was just written has them."""
    import pyarrow.parquet as pq

    pa = arrow()
    content = parquet_bytes(tables_of(_EMPTY)[name]())
    return pq.read_metadata(pa.BufferReader(content)).schema.to_arrow_schema()


def _columns(schema: Any) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)[:600]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


_EMPTY: Final = SavedSession(
    pair=Pair("Y", "X"), stream="", feed="", real_money=False, price_decimals=None, saved_ns=0,
    settings=SettingValues(), row_settings=SettingValues(), ticks=np.zeros(0, TICK), tick_total=0,
    rows=np.zeros(0, ROW), epoch=0, row_end=0, row_count=0, entries=(), entry_total=0,
    newest_alert=0, opened=None, journal=(), journal_total=0, gaps=(), positions=(), klines={},
    engine=None, log=(), log_total=0, health=FeedHealth("stopped", ""),
    row_latency_ms=(0.0, 0.0), selected_ns=None,
)  # fmt: skip
