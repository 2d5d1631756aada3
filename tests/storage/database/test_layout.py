"""What a server offers decides the layout, and what is left out is told."""

from __future__ import annotations

import psycopg
import pytest

from pairlab.errors import PairlabError
from pairlab.storage.database.layout import ServerFacts, plan
from pairlab.storage.database.sink import DatabaseSink
from tests.storage.database.recorded import info, market, stored, ticks_alone


def facts(timescale: str | None, licence: str | None = "timescale") -> ServerFacts:
    return ServerFacts("16.4", timescale, licence, True, True)


@pytest.mark.parametrize(
    ("timescale", "licence", "hypertable", "columnstore", "why"),
    [
        (None, None, False, False, "CREATE EXTENSION timescaledb"),
        ("2.18.1", "timescale", True, True, ""),
        ("2.23.0-dev", "timescale", True, True, ""),
        ("3.0", "timescale", True, True, ""),
        ("2.18.0", "timescale", True, False, "#7672"),
        ("2.9.3", "timescale", True, False, "#7672"),
        ("2.23.0", "apache", True, False, "Community licence"),
        ("2.17.0", "apache", True, False, "Community licence"),
    ],
)
def test_version_and_licence_decide(
    timescale: str | None, licence: str | None, hypertable: bool, columnstore: bool, why: str
) -> None:
    found = plan(facts(timescale, licence))
    assert (found.hypertable, found.columnstore) == (hypertable, columnstore)
    assert why in "".join(found.left_out)
    assert bool(found.left_out) == bool(why)


def test_without_the_extension_on_the_server_there_is_nothing_to_say() -> None:
    assert plan(ServerFacts("15.14", None, None, False, True)).left_out == ()


def test_postgresql_is_asked(url: str) -> None:
    with psycopg.connect(url) as connection:
        found = ServerFacts.of(connection)
    assert (found.timescale, found.licence, found.can_copy) == (None, None, True)
    assert str(found).startswith("PostgreSQL 1")
    sink = stored(DatabaseSink(url), [ticks_alone(market(5))])
    assert sink.notes == ()


@pytest.mark.slow
def test_timescaledb_gets_hypertables_and_a_columnstore_policy(
    timescale_url: str, request: pytest.FixtureRequest
) -> None:
    schema = request.node.name
    sink = stored(DatabaseSink(timescale_url, schema), [ticks_alone(market(5))])
    assert sink.facts is not None
    assert not sink.facts.can_copy
    assert str(sink.facts).startswith("PostgreSQL 17.5, TimescaleDB 2.23")
    assert sink.notes == ()
    with psycopg.connect(timescale_url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT hypertable_name::text, compression_enabled, time_interval"
            " FROM timescaledb_information.dimensions d"
            " JOIN timescaledb_information.hypertables h USING (hypertable_schema, hypertable_name)"
            " WHERE hypertable_schema = %s ORDER BY 1",
            [schema],
        ).fetchall()
        jobs = connection.execute(
            "SELECT hypertable_name::text, config->>'compress_after'"
            " FROM timescaledb_information.jobs WHERE hypertable_schema = %s ORDER BY 1",
            [schema],
        ).fetchall()
        key = connection.execute(
            "SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c"
            " JOIN pg_namespace n ON n.oid = connamespace"
            " WHERE nspname = %s AND contype = 'p' AND conname = 'ticks_pkey'",
            [schema],
        ).fetchone()
    assert [(name, on, span.days) for name, on, span in tables] == [
        ("rows", True, 1), ("ticks", True, 1),
    ]  # fmt: skip
    assert jobs == [("rows", "7 days"), ("ticks", "7 days")]
    assert key == ('PRIMARY KEY (source, stream, symbol, id, "time")',)


def test_compressed_chunks_of_a_version_that_loses_rows_are_refused(
    timescale_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = request.node.name
    stored(DatabaseSink(timescale_url, schema), [ticks_alone(market(50))])
    monkeypatch.setattr(
        ServerFacts,
        "of",
        lambda connection: ServerFacts("17.5", "2.17.2", "timescale", True, False),
    )
    stored(DatabaseSink(timescale_url, schema), [ticks_alone(market(5))])  # none is compressed yet
    with psycopg.connect(timescale_url, autocommit=True) as connection:
        connection.execute(
            "SELECT compress_chunk(c) FROM show_chunks(format('%%I.ticks', %s::text)) c", [schema]
        )
    with pytest.raises(PairlabError, match=r"2.17.2 loses rows after the first duplicate.*2.18.1"):
        DatabaseSink(timescale_url, schema).open(info())
