"""Every tick once, whatever happens between: duplicates, two recorders, a server that was away."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql

from pairlab import open_store
from pairlab.data.journal import GapMarked, JournalEvent, SettingChanged
from pairlab.errors import StorageError
from pairlab.schema import ROW, Pair, RowFlag
from pairlab.storage.database.sink import DatabaseSink
from pairlab.storage.recording.recorder import Recorder
from pairlab.storage.recording.sink import RebuiltRows, RecordBatch
from tests.storage.database.recorded import (
    PAIR,
    START_NS,
    batches_of,
    info,
    market,
    stored,
    ticks_alone,
)
from tests.storage.database.servers import Server


def asked(url: str, query: str, schema: str = "pairlab") -> list[Any]:
    """Ask the database itself, past everything of ours."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = {n: sql.Identifier(schema, n) for n in ("ticks", "rows", "sessions", "rebuilds")}
        return connection.execute(sql.SQL(query).format(**tables)).fetchall()


def ids_of(url: str, schema: str = "pairlab") -> list[tuple[str, int]]:
    return asked(url, "SELECT symbol, id FROM {ticks} ORDER BY symbol, id", schema)


def wanted_ids(ticks: Any) -> list[tuple[str, int]]:
    legs, ids = ticks["leg"].tolist(), ticks["id"].tolist()
    return sorted((PAIR[leg], number) for leg, number in zip(legs, ids, strict=True))


@pytest.fixture(params=["postgresql", "timescaledb"])
def target(request: pytest.FixtureRequest) -> tuple[str, str]:
    if request.param == "postgresql":
        return request.getfixturevalue("url"), "pairlab"
    return request.getfixturevalue("timescale_url"), request.node.name


def test_a_batch_that_holds_duplicates_stores_the_rest(target: tuple[str, str]) -> None:
    ticks = market(2_000)
    first = stored(DatabaseSink(*target), [ticks_alone(ticks[990:1_000])])
    second = stored(
        DatabaseSink(*target), [ticks_alone(np.concatenate([ticks, ticks[1_500:1_501]]))]
    )
    assert (first.ticks_stored, first.ticks_there) == (10, 0)
    assert (second.ticks_stored, second.ticks_there) == (1_990, 11)
    assert ids_of(*target) == wanted_ids(ticks)


def test_the_same_id_on_two_streams_and_two_markets_is_two_rows(target: tuple[str, str]) -> None:
    ticks = market(100)
    for changed in ({}, {"stream": "trade"}, {"feed": "SIMULATED", "real_money": False}):
        assert stored(DatabaseSink(*target), [ticks_alone(ticks)], **changed).ticks_stored == 100
    assert len(ids_of(*target)) == 300
    with open_store(*target) as store:
        assert len(store.ticks(PAIR, stream="trade")) == 100
        assert len(store.ticks(PAIR, stream="aggTrade", source="SIMULATED")) == 100


def test_any_bits_of_a_float_are_kept(target: tuple[str, str]) -> None:
    """NaN of whatever sign and payload, infinities, denormals; times to the nanosecond."""
    random = np.random.default_rng(3)
    ticks = market(300)
    for name in ("price", "quantity"):
        ticks[name] = random.integers(-(2**63), 2**63, 300).view("f8")
    ticks["price"][:4] = np.array([0x7FF8_0000_0000_0001, -1, 1, -(2**63)]).view("f8")
    rows = np.frombuffer(random.bytes(300 * ROW.itemsize), ROW).copy()
    rows["time_ns"] = START_NS + np.arange(300)
    rows["time_ns"][:2] = (-(2**63), 2**63 - 1)
    batch = RecordBatch(ticks=[(0, ticks)], rows=[(7, 40, rows)])
    stored(DatabaseSink(*target), [batch])
    with open_store(*target) as store:
        got = store.ticks(PAIR)
        for name in ("price", "quantity", "id", "buyer_is_maker"):
            assert got[name].to_numpy().tobytes() == ticks[name].tobytes(), name
        assert got.index.as_unit("ns").asi8.tobytes() == ticks["time_ns"].tobytes()
        assert (
            got["received"].astype("int64").to_numpy().tobytes() == ticks["received_ns"].tobytes()
        )
        shown = store.history(PAIR)
        for name in shown:
            assert shown[name].to_numpy().tobytes() == np.ascontiguousarray(rows[name]).tobytes()


def test_nothing_can_be_null(target: tuple[str, str]) -> None:
    """A NULL in a key makes duplicates in compressed chunks (timescaledb #9575)."""
    stored(DatabaseSink(*target), [ticks_alone(market(10))])
    url, schema = target
    for name in ("source", "stream", "symbol", "id", "time", "price", "seq"):
        statement = sql.SQL("UPDATE {} SET {} = NULL").format(
            sql.Identifier(schema, "ticks"), sql.Identifier(name)
        )
        with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.NotNullViolation):
            connection.execute(statement)


def test_two_recorders_of_one_pair_at_once_store_each_tick_once(url: str) -> None:
    ticks = market(20_000)
    turned = ticks.copy()
    turned["leg"] ^= 1
    sinks = [DatabaseSink(url), DatabaseSink(url)]
    failures: list[BaseException] = []

    def record(sink: DatabaseSink, given: Any, pair: Pair, size: int) -> None:
        try:
            stored(sink, batches_of(given, size), pair=pair)
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=record, args=(sinks[0], ticks, PAIR, 700)),
        threading.Thread(target=record, args=(sinks[1], turned, Pair(PAIR.x, PAIR.y), 900)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert sum(sink.ticks_stored for sink in sinks) == 20_000
    assert sum(sink.ticks_there for sink in sinks) == 20_000
    assert ids_of(url) == wanted_ids(ticks)
    with open_store(url) as store:
        got = store.ticks(PAIR)
        assert sorted(got["id"]) == sorted(ticks["id"])
        assert not got["gap_before"].any()


@pytest.mark.slow
def test_a_server_that_was_away_gets_every_tick_once(server: Server, url: str) -> None:
    """Through the recorder and its buffer; PAIRLAB_AWAY_S: how long the server is stopped."""
    away_s = float(os.environ.get("PAIRLAB_AWAY_S", "1"))
    ticks = market(10_000)
    told: list[str] = []
    refused, goes_on = threading.Event(), threading.Event()

    def tell(level: str, text: str) -> None:
        told.append(text)
        refused.set() if text.startswith("cannot record") else goes_on.set()

    sink = DatabaseSink(url)
    recorder = Recorder(sink, info(), target="the database", tell=tell, flush_s=0.02, retry_s=0.1)
    recorder.start()
    assert recorder.wait_settled(60)
    for first in range(0, 4_000, 100):
        recorder.put_ticks(first, ticks[first : first + 100])
    server.stop("immediate")
    try:
        recorder.put_ticks(4_000, ticks[4_000:4_100])
        assert refused.wait(60)
        for first in range(4_100, 9_000, 100):
            recorder.put_ticks(first, ticks[first : first + 100])
        threading.Event().wait(away_s)  # nothing else happens while a server is stopped
        assert recorder.state == "waiting"
    finally:
        server.start()
    assert goes_on.wait(60)
    recorder.put_ticks(9_000, ticks[9_000:])
    recorder.request_stop()
    assert recorder.join(60)
    assert recorder.state == "stopped", recorder.error
    assert "nothing is missing" in told[-1]
    assert "listens there" in "".join(told) or "connection is lost" in "".join(told)
    assert (recorder.ticks, recorder.lost_ticks, sink.ticks_lost) == (10_000, 0, 0)
    assert ids_of(url) == wanted_ids(ticks)
    with open_store(url) as store:
        got = store.ticks(PAIR)
        assert got["id"].tolist() == ticks["id"].tolist()
        assert not got["gap_before"].any()
        assert store.sessions()["closed"].notna().all()


class Between:
    """Passes bytes between one client after the other and the server."""

    def __init__(self, server: Server) -> None:
        self._behind = server.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cuts_commit = False
        """Lose the answer to the next COMMIT, and the connection."""
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, socket.create_connection(("127.0.0.1", self._behind)) as behind:
                self._pass(client, behind)

    def _pass(self, client: socket.socket, behind: socket.socket) -> None:
        cut = threading.Event()

        def answer() -> None:
            while data := behind.recv(65_536):
                if cut.is_set():
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)

        answering = threading.Thread(target=answer)
        answering.start()
        while data := client.recv(65_536):
            if self.cuts_commit and b"COMMIT" in data:
                self.cuts_commit = False
                cut.set()
            behind.sendall(data)
        behind.shutdown(socket.SHUT_WR)
        answering.join()


@pytest.fixture
def between(server: Server) -> Iterator[Between]:
    found = Between(server)
    yield found
    found.close()


def test_a_batch_whose_commit_was_not_confirmed_is_not_stored_twice(
    server: Server, url: str, between: Between
) -> None:
    ticks = market(300)
    events: list[JournalEvent] = [
        SettingChanged(40, "entry_z", 2.0, 1.5),
        SettingChanged(40, "entry_z", 1.5, 2.0),
        SettingChanged(40, "entry_z", 2.0, 1.5),
    ]
    sink = DatabaseSink(url.replace(f":{server.port}/", f":{between.port}/"))
    sink.open(info())
    sink.write(ticks_alone(ticks[:1]))  # makes the day's partitions, in transactions of their own
    between.cuts_commit = True
    with pytest.raises(StorageError, match="connection is lost"):
        sink.write(RecordBatch(ticks=[(0, ticks[:200])], events=events))
    assert not between.cuts_commit
    assert len(ids_of(url)) == 200  # it was committed, and nobody was told
    events.append(GapMarked(200, None))
    sink.write(RecordBatch(ticks=[(0, ticks)], events=events))
    assert (sink.ticks_stored, sink.ticks_there) == (1 + 100, 200)
    sink.close()
    assert ids_of(url) == wanted_ids(ticks)
    with open_store(url) as store:
        (number,) = store.sessions().index
        assert store.journal(int(number)) == events


def test_what_fell_out_of_the_buffer_is_told_and_marked(url: str) -> None:
    ticks = market(1_000)
    sink = DatabaseSink(url)
    stored(sink, [
        ticks_alone(ticks[:400]),
        RecordBatch(ticks=[(450, ticks[450:500]), (520, ticks[520:])]),
    ])  # fmt: skip
    assert sink.ticks_lost == 70
    with open_store(url) as store:
        assert store.sessions()["lost"].tolist() == [70]
        marked = np.flatnonzero(store.ticks(PAIR)["gap_before"])
        assert marked.tolist() == [400, 450]


@pytest.mark.slow
def test_a_conflict_into_a_compressed_chunk_loses_nothing(
    timescale_url: str, request: pytest.FixtureRequest
) -> None:
    schema, ticks = request.node.name, market(3_000)
    stored(DatabaseSink(timescale_url, schema), [ticks_alone(ticks[1_000:2_000])])
    with psycopg.connect(timescale_url, autocommit=True) as connection:
        done = connection.execute(
            "SELECT count(compress_chunk(c)) FROM show_chunks(format('%%I.ticks', %s::text)) c",
            [schema],
        ).fetchone()
        assert done is not None
        assert done[0] >= 1
    sink = stored(DatabaseSink(timescale_url, schema), [ticks_alone(ticks)])
    assert (sink.ticks_stored, sink.ticks_there) == (2_000, 1_000)
    assert ids_of(timescale_url, schema) == wanted_ids(ticks)


def test_ticks_and_rows_lie_in_partitions_of_their_day(url: str) -> None:
    day_ns = 86_400_000_000_000
    ticks = market(90)
    ticks["time_ns"] += np.repeat([0, 1, 2], 30) * day_ns
    rows = np.zeros(90, ROW)
    rows["time_ns"] = ticks["time_ns"] - np.where(np.arange(90) < 10, 50 * day_ns, 0)
    rows["flags"][:10] = RowFlag.SEEDED
    batch = RecordBatch(ticks=[(0, ticks)], rows=[(0, 0, rows)])
    stored(DatabaseSink(url), [batch])
    found = asked(
        url,
        "SELECT tableoid::regclass::text, count(*) FROM {ticks} GROUP BY 1"
        " UNION ALL SELECT tableoid::regclass::text, count(*) FROM {rows} GROUP BY 1 ORDER BY 1",
    )
    days = ("20240808", "20240809", "20240810", "20240811")
    assert {name for name, _ in found} <= {
        f"pairlab.{table}_{day}" for table in ("ticks", "rows") for day in (*days, "other")
    }
    assert ("pairlab.rows_other", 10) in found
    assert not [name for name, _ in found if name == "pairlab.ticks_other"]
    assert sum(count for _, count in found) == 180
    made = "SELECT count(*) FROM pg_tables WHERE schemaname = 'pairlab' AND tablename ~ '_2024'"
    assert asked(url, made) == [(8,)]


def test_ticks_of_no_leg_have_no_symbol_to_be_stored_under(url: str) -> None:
    ticks = market(50)
    ticks["leg"][[3, 30]] = (5, -1)
    sink = stored(DatabaseSink(url), [ticks_alone(ticks)])
    assert (sink.ticks_stored, sink.ticks_without_leg) == (48, 2)
    assert len(ids_of(url)) == 48


def test_the_same_session_goes_on_where_it_ended(url: str) -> None:
    ticks, given = market(200), info()
    for part in (slice(0, 100), slice(90, 200)):
        sink = DatabaseSink(url)
        sink.open(given)
        sink.write(ticks_alone(ticks[part], part.start))
        sink.close()
    assert ids_of(url) == wanted_ids(ticks)
    assert asked(url, "SELECT next_seq FROM {sessions}") == [(200,)]


def test_what_is_known_later_and_digests_of_rebuilds_are_stored(url: str) -> None:
    batch = RecordBatch(rebuilds=[RebuiltRows(1, 40, 30, 20, "ab" * 32)], price_decimals=(3, 4))
    given = info(price_decimals=None)
    sink = DatabaseSink(url)
    sink.open(given)
    assert asked(url, "SELECT y_decimals, x_decimals FROM {sessions}") == [(None, None)]
    for _ in range(2):
        sink.write(batch)
    sink.close()
    assert asked(url, "SELECT y_decimals, x_decimals FROM {sessions}") == [(3, 4)]
    assert asked(url, "SELECT epoch, seq, rows, held, sha256 FROM {rebuilds}") == [
        (1, 40, 30, 20, "ab" * 32)
    ]
