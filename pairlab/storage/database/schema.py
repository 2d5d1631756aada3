"""The tables, their version, and the partitions that a day's data go into.

Every tick is stored once, whoever recorded it: its key is (source, stream, symbol, id, time), for
aggTrade ids and trade ids are two series, and a simulated market is another source than the real
one. Rows belong to the session that showed them: (session, epoch, row, time). A timestamptz counts
microseconds; ``time_rest_ns`` and ``received_rest_ns`` hold the nanoseconds beyond, so nothing is
lost. All of it is NOT NULL: NaN is a value.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from pairlab.errors import PairlabError
from pairlab.schema import ROW
from pairlab.storage.database.address import driver
from pairlab.storage.database.layout import COLUMNSTORE_AFTER_DAYS, ServerFacts, plan

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "MIGRATIONS",
    "ROW_COLUMNS",
    "TABLES",
    "TICK_COLUMNS",
    "VERSION_TABLE",
    "add_days",
    "bring_up_to_date",
    "stored_version",
]

_LOGGER: Final = logging.getLogger("pairlab.storage.database")

VERSION_TABLE: Final = "schema_version"

TABLES: Final = ("sessions", "ticks", "rows", "alerts", "events", "rebuilds", "lost", VERSION_TABLE)

_SQL_KINDS: Final = {"int64": "int8", "float64": "float8", "int32": "int4", "int16": "int2",
                     "int8": "int2"}  # fmt: skip

_TIMES: Final = (
    ("time", "timestamptz"), ("received", "timestamptz"),
    ("time_rest_ns", "int2"), ("received_rest_ns", "int2"),
)  # fmt: skip

TICK_COLUMNS: Final = (
    *_TIMES, ("id", "int8"), ("seq", "int8"), ("price", "float8"), ("quantity", "float8"),
    ("buyer_is_maker", "bool"),
)  # fmt: skip
"""Name and SQL type of what is stored of a tick, beside source, stream, symbol and session."""

ROW_COLUMNS: Final = (
    *_TIMES, ("epoch", "int4"), ("row", "int8"),
    *((name, _SQL_KINDS[ROW[name].name]) for name in (ROW.names or ())
      if name not in ("time_ns", "received_ns")),
)  # fmt: skip
"""Name and SQL type of what is stored of a row, beside its session."""

_LOCK: Final = 0x7061_6972  # "pair": of whoever changes tables, so that two recorders take turns
_PARTITIONED: Final = ("ticks", "rows")
_DAYS_AT_ONCE: Final = 40


def bring_up_to_date(
    connection: psycopg.Connection[Any], schema: str, facts: ServerFacts
) -> tuple[str, ...]:
    """Make the tables that are missing.

    Parameters
    ----------
    connection : psycopg.Connection
        Not within a transaction.
    schema : str
        Name of the schema.
    facts : ServerFacts
        What the server offers.

    Returns
    -------
    tuple of str
        What is left out of new tables, and why; empty if nothing was made.

    Raises
    ------
    PairlabError
        If the tables are a newer pairlab's, or rows would be lost in them.
    """
    sql = driver().sql
    left_out: tuple[str, ...] = ()
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        version = stored_version(connection, schema)
        if version == len(MIGRATIONS):
            _refuse_lossy_chunks(connection, schema, facts)
            return ()
        if version == 0:
            # Asked before: who may not make schemas may still record into one that is there.
            row = connection.execute(
                "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)", [schema]
            ).fetchone()
            if row == (False,):
                connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            left_out = plan(facts).left_out
        for number in range(version, len(MIGRATIONS)):
            MIGRATIONS[number](connection, schema, facts)
        table = sql.Identifier(schema, VERSION_TABLE)
        connection.execute(sql.SQL("DELETE FROM {}").format(table))
        connection.execute(
            sql.SQL("INSERT INTO {} (version) VALUES (%s)").format(table), [len(MIGRATIONS)]
        )
    return left_out


def stored_version(connection: psycopg.Connection[Any], schema: str) -> int:
    """Return the version of the tables; 0: there are none.

    Raises
    ------
    PairlabError
        If a newer pairlab made them.
    """
    sql = driver().sql
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = %s AND tablename = %s)",
        [schema, VERSION_TABLE],
    ).fetchone()
    if row == (False,):
        return 0
    table = sql.Identifier(schema, VERSION_TABLE)
    row = connection.execute(sql.SQL("SELECT max(version) FROM {}").format(table)).fetchone()
    version = int(row[0] or 0) if row else 0
    if version > len(MIGRATIONS):
        raise PairlabError(
            f"the tables of schema {schema!r} are of version {version}, made by a newer pairlab; "
            f"this one understands versions up to {len(MIGRATIONS)}: update pairlab. Nothing was "
            "changed"
        )
    return version


def _first_version(connection: psycopg.Connection[Any], schema: str, facts: ServerFacts) -> None:
    sql = driver().sql
    layout = plan(facts)
    parts = sql.SQL("") if layout.hypertable else sql.SQL(" PARTITION BY RANGE (time)")
    names = {name: sql.Identifier(schema, name) for name in TABLES}

    def columns(of: Iterable[tuple[str, str]]) -> Any:
        return sql.SQL(", ").join(
            sql.SQL("{} {} NOT NULL").format(sql.Identifier(name), sql.SQL(kind))
            for name, kind in of
        )

    alert = [(n, k) for n, k in ROW_COLUMNS
             if not n.startswith("received") and n not in ("epoch", "row")]  # fmt: skip
    for text, parameters in (
        (_VERSION, {}),
        (_SESSIONS, {}),
        (_TICKS, {"columns": columns(TICK_COLUMNS), "parts": parts}),
        (_ROWS, {"columns": columns(ROW_COLUMNS), "parts": parts}),
        (_ALERTS, {"columns": columns(alert)}),
        (_EVENTS, {}),
        (_REBUILDS, {}),
        (_LOST, {}),
    ):
        connection.execute(sql.SQL(text).format(**names, **parameters))
    for name in _PARTITIONED:
        if layout.hypertable:
            _make_hypertable(connection, schema, name, columnstore=layout.columnstore)
        else:
            other = sql.Identifier(schema, f"{name}_other")
            connection.execute(
                sql.SQL("CREATE TABLE {} PARTITION OF {} DEFAULT").format(other, names[name])
            )
        connection.execute(sql.SQL("CREATE INDEX ON {} USING brin (time)").format(names[name]))


_VERSION: Final = "CREATE TABLE {schema_version} (version int4 NOT NULL)"

_SESSIONS: Final = """
CREATE TABLE {sessions} (
    session int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL UNIQUE,
    source text COLLATE "C" NOT NULL, real_money bool NOT NULL, stream text COLLATE "C" NOT NULL,
    y text NOT NULL, x text NOT NULL, y_decimals int2, x_decimals int2,
    started timestamptz NOT NULL, started_rest_ns int2 NOT NULL,
    first_seq int8 NOT NULL, next_seq int8 NOT NULL, complete bool NOT NULL,
    settings json NOT NULL, versions json NOT NULL,
    since timestamptz, until timestamptz, written timestamptz NOT NULL DEFAULT now(),
    closed timestamptz
)"""
_TICKS: Final = """
CREATE TABLE {ticks} (
    {columns}, session int4 NOT NULL, source text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL, symbol text COLLATE "C" NOT NULL,
    PRIMARY KEY (source, stream, symbol, id, time)
){parts}"""
_ROWS: Final = """
CREATE TABLE {rows} (
    {columns}, session int4 NOT NULL, PRIMARY KEY (session, epoch, "row", time)
){parts}"""
_ALERTS: Final = """
CREATE TABLE {alerts} (
    session int4 NOT NULL, number int8 NOT NULL, kind text NOT NULL, side int2 NOT NULL,
    failed int2 NOT NULL, withheld int8 NOT NULL, {columns}, settings json NOT NULL,
    PRIMARY KEY (session, number)
)"""
_EVENTS: Final = """
CREATE TABLE {events} (
    session int4 NOT NULL, number int4 NOT NULL, seq int8 NOT NULL,
    time timestamptz NOT NULL, time_rest_ns int2 NOT NULL, event text NOT NULL,
    fields json NOT NULL, seeds_time_ns int8[], seeds_y float8[], seeds_x float8[],
    candles_time_ns int8[], candles_y float8[], candles_x float8[],
    PRIMARY KEY (session, number)
)"""
_REBUILDS: Final = """
CREATE TABLE {rebuilds} (
    session int4 NOT NULL, epoch int4 NOT NULL, seq int8 NOT NULL, rows int8 NOT NULL,
    held int8 NOT NULL, sha256 text NOT NULL, PRIMARY KEY (session, epoch)
)"""
_LOST: Final = """
CREATE TABLE {lost} (
    session int4 NOT NULL, first_seq int8 NOT NULL, next_seq int8 NOT NULL,
    PRIMARY KEY (session, first_seq)
)"""

MIGRATIONS: Final[list[Callable[[Any, str, ServerFacts], None]]] = [_first_version]
"""Step n makes version n + 1 of version n; the last one's is this pairlab's."""


def _make_hypertable(
    connection: psycopg.Connection[Any], schema: str, name: str, *, columnstore: bool
) -> None:
    sql = driver().sql
    connection.execute(
        "SELECT create_hypertable(format('%%I.%%I', %s::text, %s::text)::regclass, 'time',"
        " chunk_time_interval => INTERVAL '1 day', create_default_indexes => false)",
        [schema, name],
    )
    if not columnstore:
        return
    segments, order = {
        "ticks": ("source, stream, symbol", "time, id"),
        "rows": ("session", 'epoch, "row", time'),
    }[name]
    connection.execute(
        sql.SQL(
            "ALTER TABLE {} SET (timescaledb.enable_columnstore = true,"
            " timescaledb.segmentby = {}, timescaledb.orderby = {})"
        ).format(sql.Identifier(schema, name), sql.Literal(segments), sql.Literal(order))
    )
    connection.execute(
        "CALL add_columnstore_policy(format('%%I.%%I', %s::text, %s::text)::regclass,"
        " after => make_interval(days => %s::int4))",
        [schema, name, COLUMNSTORE_AFTER_DAYS],
    )


def _refuse_lossy_chunks(
    connection: psycopg.Connection[Any], schema: str, facts: ServerFacts
) -> None:
    """Raise PairlabError where a duplicate would take other rows with it."""
    if not facts.loses_rows:
        return
    row = connection.execute(
        "SELECT count(*) FROM timescaledb_information.chunks"
        " WHERE hypertable_schema = %s AND is_compressed",
        [schema],
    ).fetchone()
    if row and row[0]:
        raise PairlabError(
            f"{row[0]:,} chunks of schema {schema!r} are compressed, and TimescaleDB "
            f"{facts.timescale} loses rows after the first duplicate that goes into one "
            "(timescaledb #7672): update it to 2.18.1 or newer, or decompress them"
        )


def add_days(
    connection: psycopg.Connection[Any], schema: str, table: str, days: Iterable[dt.date]
) -> str | None:
    """Make the partitions of days, and of the day after, where PostgreSQL's own are used.

    A day without one goes into the partition of all others: slower to find, but stored.

    Parameters
    ----------
    connection : psycopg.Connection
        Not within a transaction.
    schema, table : str
        The partitioned table.
    days : iterable of date
        Of the data to come, UTC.

    Returns
    -------
    str or None
        Why there are none for these days, if that is so.
    """
    errors = driver().errors
    wanted = sorted(days)[-_DAYS_AT_ONCE:]
    wanted += [wanted[-1] + dt.timedelta(1)] if wanted else []
    for day in wanted:
        try:
            _add_day(connection, schema, table, day)
        except (errors.InsufficientPrivilege, errors.LockNotAvailable) as error:
            return (
                f"no partition of {table} for {day}: {error.diag.message_primary}. Its data go "
                f"into {table}_other, complete but slower to find"
            )
    return None


def _add_day(connection: psycopg.Connection[Any], schema: str, table: str, day: dt.date) -> None:
    sql = driver().sql
    name = f"{table}_{day:%Y%m%d}"
    there = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = %s AND tablename = %s)"
    if connection.execute(there, [schema, name]).fetchone() == (True,):
        return
    start, end = (dt.datetime.combine(d, dt.time(), dt.UTC) for d in (day, day + dt.timedelta(1)))
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        if connection.execute(there, [schema, name]).fetchone() == (True,):
            return
        other = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE time >= %s AND time < %s)").format(
            sql.Identifier(schema, f"{table}_other")
        )
        if connection.execute(other, [start, end]).fetchone() == (True,):
            return  # they would have to be moved; PostgreSQL refuses a partition beside them
        connection.execute(
            sql.SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})").format(
                sql.Identifier(schema, name), sql.Identifier(schema, table),
                sql.Literal(start), sql.Literal(end),
            )
        )  # fmt: skip
    _LOGGER.debug("made partition %s", name)
