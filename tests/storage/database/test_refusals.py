"""What is refused, and in which words; no password is in any of them."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from pairlab import open_store
from pairlab.errors import DataError, PairlabError, SettingError, StorageError
from pairlab.storage.database import schema as tables
from pairlab.storage.database.address import Address
from pairlab.storage.database.sink import DatabaseSink
from tests.storage.database.recorded import PAIR, info, market, stored, ticks_alone
from tests.storage.database.servers import PASSWORD, Server


def recording(url: str) -> None:
    DatabaseSink(url).open(info())


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(sql.SQL(statement))  # type: ignore[arg-type]


@pytest.fixture
def guest(server: Server, url: str) -> str:
    """The address of a user who may do nothing yet."""
    run(url, "DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN PASSWORD 'guest''s/own'")
    return server.url(psycopg.conninfo.conninfo_to_dict(url)["dbname"], "guest", "guest's/own")


@pytest.mark.parametrize("use", [recording, open_store])
def test_each_refusal_says_why(use: Callable[[str], Any], server: Server, url: str) -> None:
    closed = url.replace(f":{server.port}/", ":1/")
    for wrong, kind, words in (
        (server.url(password="wr@ng/secret"), PairlabError, "password of owner is wrong"),
        (server.url("nowhere"), PairlabError, "no database nowhere: CREATE DATABASE"),
        (server.url(user="nobody"), PairlabError, "nobody"),
        (f"{url}?sslmode=require", PairlabError, "offers no TLS"),
        (closed, StorageError, "no server listens there"),
        (url.replace("127.0.0.1", "nowhere.invalid"), PairlabError, "host is not known"),
    ):
        with pytest.raises(PairlabError, match=words) as refused:
            use(wrong)
        assert isinstance(refused.value, StorageError) == (kind is StorageError), words
        told = "".join(traceback.format_exception(refused.value))
        assert not [secret for secret in _secrets(wrong) if secret in told]


def _secrets(url: str) -> list[str]:
    password = url.split("://")[1].split(":")[1].split("@")[0]
    return [password, psycopg.conninfo.conninfo_to_dict(url)["password"]]


def test_nothing_was_recorded_there(url: str) -> None:
    with pytest.raises(DataError, match="nothing was recorded there: schema 'pairlab'"):
        open_store(url)


def test_who_may_not_make_tables_is_told(guest: str) -> None:
    with pytest.raises(PairlabError, match=r"permission denied for database.*GRANT"):
        recording(guest)


def test_tables_of_somebody_else_are_refused_until_they_grant(url: str, guest: str) -> None:
    stored(DatabaseSink(url), [ticks_alone(market(10))])
    with pytest.raises(PairlabError, match="permission denied for schema pairlab"):
        recording(guest)
    run(url, "GRANT USAGE ON SCHEMA pairlab TO guest")
    with pytest.raises(PairlabError, match="permission denied for table"):
        recording(guest)
    run(url, "GRANT SELECT ON ALL TABLES IN SCHEMA pairlab TO guest")
    with open_store(guest) as store:  # reading rights are enough to read
        assert len(store.ticks(PAIR)) == 10
    run(url, "GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA pairlab TO guest")
    later = market(30)
    later["time_ns"] += 30 * 86_400_000_000_000
    sink = stored(DatabaseSink(guest), [ticks_alone(later)])
    assert sink.ticks_stored == 30  # in the partition of all others
    assert "no partition of ticks" in sink.notes[0]
    run(url, "REVOKE INSERT ON pairlab.ticks FROM guest")
    sink.open(info())
    with pytest.raises(StorageError, match="permission denied for table ticks"):
        sink.write(ticks_alone(market(5, seed=1)))
    sink.close()


def test_tables_of_a_newer_pairlab_are_left_alone(url: str) -> None:
    stored(DatabaseSink(url), [ticks_alone(market(10))])
    run(url, "UPDATE pairlab.schema_version SET version = 99")
    for use in (recording, open_store):
        with pytest.raises(PairlabError, match=r"version 99, made by a newer pairlab.*up to 1"):
            use(url)


def test_tables_of_an_older_version_are_migrated_with_what_they_hold(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(DatabaseSink(url), [ticks_alone(market(10))])

    def second(connection: Any, schema: str, facts: Any) -> None:
        table = sql.Identifier(schema, "sessions")
        connection.execute(sql.SQL("ALTER TABLE {} ADD COLUMN note text").format(table))

    monkeypatch.setattr(tables, "MIGRATIONS", [*tables.MIGRATIONS, second])
    stored(DatabaseSink(url), [ticks_alone(market(20))])
    with psycopg.connect(url) as connection:
        asked = "SELECT (SELECT version FROM pairlab.schema_version), count(note), count(*)"
        row = connection.execute(asked + " FROM pairlab.sessions").fetchone()
    assert row == (2, 0, 2)


def test_a_foreign_table_of_our_name_is_told(url: str) -> None:
    run(url, "CREATE SCHEMA pairlab", "CREATE TABLE pairlab.ticks (price int)")
    with pytest.raises(PairlabError, match='"ticks" already exists, and pairlab did not make it'):
        recording(url)


def test_a_password_is_in_no_repr_and_no_log(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sink = stored(DatabaseSink(url), [ticks_alone(market(10))])
    with open_store(url) as store:
        texts = [repr(sink), repr(store), repr(vars(sink)), repr(vars(store)), caplog.text]
        texts += [repr(vars(store._reader)), str(Address(url)), repr(Address(url))]
    for text in texts:
        assert PASSWORD not in text
        assert quote(PASSWORD, "") not in text
    assert "owner@127.0.0.1" in repr(sink)


_REFUSAL = "pairlab.errors.SettingError: url = '…' is invalid: expected postgresql://user:password@"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=12))
def test_an_address_that_cannot_be_read_shows_nothing_of_it(password: str) -> None:
    """As it is typed, not quoted: what follows a / or an @ in it is taken for something else."""
    secret = f"Q{password}Q"
    try:
        told = str(Address(f"postgresql://user:{secret}@host:5432/base"))
    except SettingError as error:
        told = "".join(traceback.format_exception(error)[-1:])
    # Nothing of it, cut in whatever parts: an address is told whole, or not at all.
    assert told == "user@host:5432/base" or told.startswith(_REFUSAL)
    assert secret not in told


@pytest.mark.parametrize("url", ["", "sqlite:///x", "folder", "postgresql:x", 5])
def test_what_is_no_address_is_refused(url: Any) -> None:
    with pytest.raises(SettingError, match="expected postgresql://user:password@host"):
        Address(url)


def test_without_psycopg_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None; import pairlab\n"
        "try: pairlab.open_store('postgresql://host/base')\n"
        "except pairlab.MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'psycopg is not installed: pip install "pairlab[postgres]"'


def test_importing_pairlab_does_not_import_psycopg() -> None:
    code = "import sys, pairlab; print('psycopg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
