"""The statements that store a batch: names by `psycopg.sql`, values as parameters, always."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pairlab.storage.database.address import driver
from pairlab.storage.database.entries import ALERT_COLUMNS, EVENT_COLUMNS
from pairlab.storage.database.schema import ROW_COLUMNS, TICK_COLUMNS

__all__ = ["ROW_STAGE", "TICK_STAGE", "Statements"]

TICK_STAGE: Final = (("leg", "int2"), *TICK_COLUMNS)
"""Name and SQL type of the columns that ticks are sent in."""

ROW_STAGE: Final = ROW_COLUMNS
"""Name and SQL type of the columns that rows are sent in."""

_STAGES: Final = {"ticks": TICK_STAGE, "rows": ROW_STAGE}
_CONSTANTS: Final = {
    # In the order of DatabaseSink's constants; the pair's names by the leg of each tick.
    "ticks": (
        ("session", "%s::int4"), ("source", "%s::text"), ("stream", "%s::text"),
        ("symbol", "(%s::text[])[s.leg + 1]"),
    ),
    "rows": (("session", "%s::int4"),),
}  # fmt: skip
_REBUILD: Final = (
    ("session", "int4"), ("epoch", "int4"), ("seq", "int8"), ("rows", "int8"), ("held", "int8"),
    ("sha256", "text"),
)  # fmt: skip
# Two recorders of one pair insert the same keys in the same order: neither waits for the other
# while the other waits for it.
_ORDER: Final = {"ticks": "symbol, id, time", "rows": 'epoch, "row"'}


class Statements:
    """Statements for the tables of one schema.

    Parameters
    ----------
    schema : str
        Name of the schema.

    Attributes
    ----------
    stage, copy, from_stage, from_arrays, empty : dict of str to psycopg.sql.Composed
        By table, ``ticks`` or ``rows``: make the temporary table; COPY into it; insert from it,
        or from arrays, what is not there yet; empty it.
    alert, event, rebuild, lost : psycopg.sql.Composed
        Insert one that is not there yet.
    begin, progress, progress_of, decimals, closed, partitioned : psycopg.sql.Composed
        Of the session.
    """

    def __init__(self, schema: str) -> None:
        sql = driver().sql

        def named(text: str, table: str, columns: Sequence[tuple[str, str]] = ()) -> Any:
            names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns)
            values = sql.SQL(", ").join(sql.SQL(f"%b::{kind}") for _, kind in columns)
            return sql.SQL(text).format(
                table=sql.Identifier(schema, table), names=names, values=values
            )

        self.stage, self.copy, self.from_stage, self.from_arrays, self.empty = {}, {}, {}, {}, {}
        for table, columns in _STAGES.items():
            stage = sql.Identifier("pg_temp", f"pairlab_{table}")
            kinds = sql.SQL(", ").join(
                sql.SQL("{} {} NOT NULL").format(sql.Identifier(n), sql.SQL(k)) for n, k in columns
            )
            self.stage[table] = sql.SQL("CREATE TEMPORARY TABLE {} ({})").format(
                sql.Identifier(f"pairlab_{table}"), kinds
            )
            self.copy[table] = sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(stage)
            self.empty[table] = sql.SQL("TRUNCATE {}").format(stage)
            self.from_stage[table] = self._insert(schema, table, stage)
            arrays = sql.SQL(", ").join(sql.SQL(f"%b::{kind}[]") for _, kind in columns)
            self.from_arrays[table] = self._insert(
                schema, table, sql.SQL("unnest({})").format(arrays)
            )
        session = ("session", "int4")
        insert = "INSERT INTO {table} ({names}) VALUES ({values}) ON CONFLICT DO NOTHING"
        self.alert = named(insert, "alerts", (session, *ALERT_COLUMNS))
        self.event = named(insert, "events", (session, ("number", "int4"), *EVENT_COLUMNS))
        self.rebuild = named(insert, "rebuilds", _REBUILD)
        self.lost = named(
            "INSERT INTO {table} (session, first_seq, next_seq) VALUES (%s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            "lost",
        )
        self.begin = named(
            "INSERT INTO {table} (key, source, real_money, stream, y, x, y_decimals, x_decimals,"
            " started, started_rest_ns, first_seq, next_seq, complete, settings, versions) VALUES"
            " (%s, %s, %s, %s, %s, %s, %s, %s, (%s::timestamptz[])[1], %s, %s, %s,"
            " %s, %s::json, %s::json)"
            " ON CONFLICT (key) DO NOTHING",
            "sessions",
        )
        self.progress = named(
            "UPDATE {table} SET next_seq = %s, written = now(),"
            " since = coalesce(since, r.received[1]), until = greatest(until, r.received[2])"
            " FROM (SELECT %s::timestamptz[] AS received) r WHERE session = %s",
            "sessions",
        )
        self.progress_of = named("SELECT session, next_seq FROM {table} WHERE key = %s", "sessions")
        self.decimals = named(
            "UPDATE {table} SET y_decimals = %s, x_decimals = %s WHERE session = %s", "sessions"
        )
        self.closed = named(
            "UPDATE {table} SET closed = now(), written = now() WHERE session = %s", "sessions"
        )
        self.partitioned = sql.SQL(
            "SELECT relkind::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname = %s AND relname = 'ticks'"
        )

    @staticmethod
    def _insert(schema: str, table: str, source: Any) -> Any:
        sql = driver().sql
        constants = _CONSTANTS[table]
        columns = [name for name, _ in _STAGES[table] if name != "leg"]
        names = sql.SQL(", ").join(map(sql.Identifier, [n for n, _ in constants] + columns))
        values = [sql.SQL("{} AS {}").format(sql.SQL(v), sql.Identifier(n)) for n, v in constants]
        values += [sql.Identifier("s", name) for name in columns]
        stage = sql.SQL(", ").join(sql.Identifier(name) for name, _ in _STAGES[table])
        return sql.SQL(
            "INSERT INTO {table} ({names}) SELECT {values} FROM {source} AS s({stage})"
            " ORDER BY {order} ON CONFLICT DO NOTHING"
        ).format(
            table=sql.Identifier(schema, table), names=names, values=sql.SQL(", ").join(values),
            source=source, stage=stage, order=sql.SQL(_ORDER[table]),
        )  # fmt: skip
