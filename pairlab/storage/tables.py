"""Ticks, rows, alerts and journal as Arrow tables, and back without a bit's difference.

Column names and types are those that pandas, polars, DuckDB, Dask and Spark read as they are; they
are the format of a recording, so they change with `FORMAT_VERSION` alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.alerts import Alert
from pairlab.errors import DataError, MissingExtraError, SettingError
from pairlab.schema import ROW, TICK, AlertKind, Filter, Pair, Records, Snapshot
from pairlab.settings import Settings, SettingValues

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FORMAT_VERSION",
    "alerts_of",
    "alerts_table",
    "arrow",
    "column",
    "rows_of",
    "rows_table",
    "settings_of",
    "settings_text",
    "ticks_of",
    "ticks_table",
    "time_column",
]

FORMAT_VERSION: Final = 1
"""Of everything that a recording holds."""

_TICK_TIMES: Final = {"time_ns": "time", "received_ns": "received"}
_ROW_COLUMNS: Final = tuple((name, _TICK_TIMES.get(name, name)) for name in ROW.names or ())


def arrow() -> Any:
    """Return the module pyarrow.

    Raises
    ------
    MissingExtraError
        Without ``pip install "pairlab[storage]"``.
    """
    try:
        import pyarrow
        import pyarrow.compute
    except ModuleNotFoundError:
        raise MissingExtraError("pyarrow", "storage") from None
    return pyarrow


def time_column(time_ns: NDArray[np.int64]) -> pa.Array:
    """Return nanoseconds since 1970 UTC as Arrow timestamps (ns, UTC), not copied if contiguous."""
    pa = arrow()
    return pa.array(np.ascontiguousarray(time_ns)).view(pa.timestamp("ns", "UTC"))


def column(table: pa.Table, name: str, dtype: Any) -> NDArray[Any]:
    """Return one column as a numpy array.

    Parameters
    ----------
    table : pyarrow.Table
        Where it stands; timestamps of any unit and zone become nanoseconds since 1970 UTC.
    name : str
        The column.
    dtype : dtype
        Of what is returned.

    Returns
    -------
    numpy.ndarray
        Shape (n,).

    Raises
    ------
    DataError
        If it is not there, holds nulls, or is of a type that `dtype` cannot represent exactly.
    """
    pa = arrow()
    if name not in table.column_names:
        raise DataError(f"column {name!r} is missing; there are {', '.join(table.column_names)}")
    values = table.column(name)
    if values.null_count:
        raise DataError(f"column {name!r} holds {values.null_count:,} nulls: expected none")
    try:
        if pa.types.is_timestamp(values.type):
            values = values.cast(pa.timestamp("ns", "UTC")).cast(pa.int64())
        wanted = pa.from_numpy_dtype(np.dtype(dtype))
        if values.type != wanted:
            values = values.cast(wanted)
    except pa.ArrowException as error:
        raise DataError(
            f"column {name!r} is {values.type}, not {np.dtype(dtype)}: {error}"
        ) from None
    return np.asarray(values.to_numpy(), dtype)


def ticks_table(ticks: Records, first_seq: int, pair: Pair) -> pa.Table:
    """Return ticks as a table.

    Parameters
    ----------
    ticks : numpy.ndarray
        `pairlab.TICK` records, shape (n,).
    first_seq : int
        Ordinal of the first.
    pair : Pair
        The symbols of legs 0 and 1.

    Returns
    -------
    pyarrow.Table
        ``seq`` (ordinal over both legs), ``time``, ``received`` (ns UTC), ``symbol``, ``id``,
        ``price``, ``quantity``, ``buyer_is_maker``. The symbol of a tick of neither leg is null.
    """
    pa = arrow()
    seq = np.arange(first_seq, first_seq + len(ticks), dtype=np.int64)
    legs = np.ascontiguousarray(ticks["leg"])
    legs = pa.array(legs, mask=legs >> 1 != 0)  # of no leg: the engine counts and drops them
    return pa.table(
        {
            "seq": seq,
            "time": time_column(ticks["time_ns"]),
            "received": time_column(ticks["received_ns"]),
            "symbol": pa.DictionaryArray.from_arrays(legs, pa.array(list(pair))).cast(pa.string()),
            "id": np.ascontiguousarray(ticks["id"]),
            "price": np.ascontiguousarray(ticks["price"]),
            "quantity": np.ascontiguousarray(ticks["quantity"]),
            "buyer_is_maker": np.ascontiguousarray(ticks["buyer_is_maker"]),
        }
    )


def ticks_of(table: pa.Table, pair: Pair) -> tuple[NDArray[np.int64], Records]:
    """Return the ordinals and ticks of a table, in the order in which it holds them.

    Parameters
    ----------
    table : pyarrow.Table
        As `ticks_table` makes it.
    pair : Pair
        The symbols of legs 0 and 1.

    Returns
    -------
    seq : numpy.ndarray
        Shape (n,).
    ticks : numpy.ndarray
        `pairlab.TICK` records, shape (n,); the leg of one without a symbol is -1.

    Raises
    ------
    DataError
        If a column is missing or of another type, or a symbol is neither of the pair.
    """
    pa = arrow()
    ticks = np.empty(table.num_rows, TICK)
    for field, name in (("time_ns", "time"), ("received_ns", "received")):
        ticks[field] = column(table, name, np.int64)
    for name in ("id", "price", "quantity", "buyer_is_maker"):
        ticks[name] = column(table, name, TICK[name])
    if "symbol" not in table.column_names:
        raise DataError(f"column 'symbol' is missing; there are {', '.join(table.column_names)}")
    symbols = table.column("symbol").cast(pa.string())
    legs = pa.compute.index_in(symbols, pa.array(list(pair)))
    if legs.null_count > symbols.null_count:
        unknown = pa.compute.and_(symbols.is_valid(), legs.is_null())
        strange = symbols.filter(unknown)[0].as_py()
        raise DataError(f"ticks of {strange!r}: expected {pair.y} and {pair.x}")
    ticks["leg"] = legs.fill_null(-1).to_numpy()
    return column(table, "seq", np.int64), ticks


def rows_table(rows: Records, first_row: int, epoch: int) -> pa.Table:
    """Return rows as a table.

    Parameters
    ----------
    rows : numpy.ndarray
        `pairlab.ROW` records, shape (n,).
    first_row : int
        Number of the first within its epoch.
    epoch : int
        How often the metrics had been recomputed before.

    Returns
    -------
    pyarrow.Table
        ``epoch``, ``row``, then the columns of `pairlab.ROW`, its times as ``time`` and
        ``received`` (ns UTC). Undefined numbers are NaN, not null: they are kept bit for bit.
    """
    pa = arrow()
    columns: dict[str, Any] = {
        "epoch": np.full(len(rows), epoch, np.int32),
        "row": np.arange(first_row, first_row + len(rows), dtype=np.int64),
    }
    for field, name in _ROW_COLUMNS:
        values = np.ascontiguousarray(rows[field])
        columns[name] = time_column(values) if field in _TICK_TIMES else values
    return pa.table(columns)


def rows_of(table: pa.Table) -> tuple[NDArray[np.int32], NDArray[np.int64], Records]:
    """Return epochs, row numbers and rows of a table, in the order in which it holds them.

    Raises
    ------
    DataError
        If a column is missing or of another type.
    """
    rows = np.zeros(table.num_rows, ROW)
    for field, name in _ROW_COLUMNS:
        rows[field] = column(table, name, ROW[field])
    return column(table, "epoch", np.int32), column(table, "row", np.int64), rows


def settings_text(values: SettingValues) -> str:
    """Return settings as JSON."""
    return json.dumps({field.name: getattr(values, field.name) for field in fields(values)})


def settings_of(text: str) -> SettingValues:
    """Return the settings of a JSON text, checked as those of a lab are.

    Raises
    ------
    DataError
        If it is no JSON, or names or values are none of this version's.
    """
    try:
        given = json.loads(text)
        if not isinstance(given, dict):
            raise TypeError(f"expected an object, not {type(given).__name__}")
        return Settings(**given).values()
    except (ValueError, TypeError, SettingError) as error:
        raise DataError(f"settings cannot be read: {error}") from None


def alerts_table(alerts: Sequence[Alert]) -> pa.Table:
    """Return alerts as a table: number, kind, side, what failed, the row, the settings as JSON."""
    pa = arrow()
    row = {
        name: pa.array([getattr(a.at, field) for a in alerts], pa.from_numpy_dtype(ROW[field]))
        for field, name in _ROW_COLUMNS
        if field not in _TICK_TIMES
    }
    times = np.array([alert.time_ns for alert in alerts], np.int64)
    shared = {id(alert.settings): alert.settings for alert in alerts}  # many share one object
    known = {number: settings_text(values) for number, values in shared.items()}
    texts = [known[id(alert.settings)] for alert in alerts]
    return pa.table(
        {
            "number": pa.array([alert.number for alert in alerts], pa.int64()),
            "time": time_column(times),
            "kind": pa.array([alert.kind.name for alert in alerts], pa.string()),
            "side": pa.array([alert.side for alert in alerts], pa.int8()),
            "failed": pa.array([int(alert.failed) for alert in alerts], pa.int16()),
            "withheld": pa.array([alert.withheld for alert in alerts], pa.int64()),
            **row,
            "settings": pa.array(texts, pa.string()),
        }
    )


def alerts_of(table: pa.Table) -> list[Alert]:
    """Return the alerts of a table.

    Raises
    ------
    DataError
        If a column is missing or of another type, or a kind or setting is unknown.
    """
    at = {
        field: column(table, name, ROW[field]).tolist()
        for field, name in _ROW_COLUMNS
        if field != "received_ns"
    }
    snapshots: Iterable[Snapshot] = map(Snapshot, *(at[name] for name in _SNAPSHOT_FIELDS))
    settings = {text: settings_of(text) for text in set(table.column("settings").to_pylist())}
    names = ("number", "kind", "side", "failed", "withheld", "settings")
    found = []
    for number, kind, side, failed, withheld, text, snapshot in zip(
        *(table.column(name).to_pylist() for name in names), snapshots, strict=True
    ):
        if kind not in AlertKind.__members__:
            kinds = ", ".join(AlertKind.__members__)
            raise DataError(f"alert {number} is a {kind!r}: expected one of {kinds}")
        found.append(
            Alert(number, AlertKind[kind], side, snapshot, settings[text], Filter(failed), withheld)
        )
    return found


_SNAPSHOT_FIELDS: Final = tuple(
    field.name for field in fields(Snapshot) if field.name != "provisional"
)
