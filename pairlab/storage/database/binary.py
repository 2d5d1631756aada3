"""numpy columns in PostgreSQL's binary formats, both ways: no value passes through text.

A float keeps its bits, NaN's included, and a million ticks cost what copying their memory costs.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import DataError
from pairlab.storage.database.address import driver

if TYPE_CHECKING:
    import psycopg

__all__ = ["ArrayParameter", "as_times", "copy_payload", "prepare", "split_time"]

_US_TO_2000: Final = 946_684_800_000_000  # PostgreSQL counts microseconds since 2000-01-01


class _Kind(NamedTuple):
    """How values of one SQL type lie in the binary formats."""

    oid: int
    wire: str
    native: str


_KINDS: Final[Mapping[str, _Kind]] = {
    "bool": _Kind(16, "?", "?"),
    "int8": _Kind(20, ">i8", "<i8"),
    "int2": _Kind(21, ">i2", "<i2"),
    "int4": _Kind(23, ">i4", "<i4"),
    "float8": _Kind(701, ">f8", "<f8"),
    "timestamptz": _Kind(1184, ">i8", "<i8"),
}


class ArrayParameter:
    """One column as the parameter of a statement.

    Parameters
    ----------
    kind : {"bool", "int2", "int4", "int8", "float8", "timestamptz"}
        SQL type of the elements; the statement casts the parameter to an array of it.
    values : numpy.ndarray
        Shape (n,); a timestamptz as microseconds since 2000.
    """

    def __init__(self, kind: str, values: NDArray[Any]) -> None:
        oid, wire, _ = _KINDS[kind]
        elements = np.empty(len(values), [("size", ">i4"), ("value", wire)])
        elements["size"] = elements.dtype["value"].itemsize
        elements["value"] = values
        head = struct.pack(">iiiii", 1, 0, oid, len(values), 1)
        self.data = (head if len(values) else struct.pack(">iii", 0, 0, oid)) + elements.tobytes()


def copy_payload(columns: Sequence[tuple[str, NDArray[Any]]]) -> bytes:
    """Return columns as COPY … FROM STDIN (FORMAT BINARY) takes them.

    Parameters
    ----------
    columns : sequence of (str, numpy.ndarray)
        SQL type and values, each of shape (n,).

    Returns
    -------
    bytes
        Header, n tuples, trailer.
    """
    fields: list[Any] = [("columns", ">i2")]
    for at, (kind, _) in enumerate(columns):
        fields += [(f"size{at}", ">i4"), (f"value{at}", _KINDS[kind].wire)]
    tuples = np.empty(len(columns[0][1]), fields)
    tuples["columns"] = len(columns)
    for at, (_, values) in enumerate(columns):
        tuples[f"size{at}"] = tuples.dtype[f"value{at}"].itemsize
        tuples[f"value{at}"] = values
    return b"PGCOPY\n\xff\r\n\0" + bytes(8) + tuples.tobytes() + b"\xff\xff"


def split_time(time_ns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return times as timestamptz, which has no nanoseconds, and the nanoseconds that remain.

    Parameters
    ----------
    time_ns : numpy.ndarray
        ns since 1970 UTC, shape (n,).

    Returns
    -------
    time_us : numpy.ndarray
        Microseconds since 2000, rounded down, shape (n,).
    rest_ns : numpy.ndarray
        0 to 999, shape (n,).
    """
    time_us, rest_ns = np.divmod(time_ns, 1_000)
    return time_us - _US_TO_2000, rest_ns


def as_times(time_us: NDArray[Any], rest_ns: NDArray[Any]) -> NDArray[np.int64]:
    """Return what `split_time` was given."""
    times: NDArray[np.int64] = (time_us.astype(np.int64) + _US_TO_2000) * 1_000 + rest_ns
    return times


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Let a connection take `ArrayParameter`, and give arrays of numbers as numpy arrays."""
    dumper, loader = _adapters()
    connection.adapters.register_dumper(ArrayParameter, dumper)
    for oid in _ARRAY_OIDS:
        connection.adapters.register_loader(oid, loader)


_ARRAY_OIDS: Final = (1000, 1005, 1007, 1016, 1022, 1185)
_BY_OID: Final = {kind.oid: kind for kind in _KINDS.values()}


def _values(data: bytes | memoryview) -> NDArray[Any]:
    dimensions, has_nulls, oid = struct.unpack_from(">iii", data)
    kind = _BY_OID[oid]
    if not dimensions:
        return np.empty(0, kind.native)
    if dimensions != 1 or has_nulls:
        raise DataError("an array of the database holds nulls or several dimensions: expected none")
    elements = np.frombuffer(data, [("size", ">i4"), ("value", kind.wire)], offset=20)
    return elements["value"].astype(kind.native)


@functools.cache
def _adapters() -> tuple[Any, Any]:
    """Return the classes that psycopg converts with, made once it is known to be there."""
    adapt = driver().adapt
    binary = driver().pq.Format.BINARY

    class ArrayDumper(adapt.Dumper):  # type: ignore[misc, name-defined]
        format = binary
        oid = 0  # the statement's own cast says which

        def dump(self, obj: ArrayParameter) -> bytes:
            return obj.data

    class ArrayLoader(adapt.Loader):  # type: ignore[misc, name-defined]
        format = binary

        def load(self, data: bytes | memoryview) -> NDArray[Any]:
            return _values(data)

    return ArrayDumper, ArrayLoader
