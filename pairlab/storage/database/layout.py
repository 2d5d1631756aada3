"""How tables are laid out: what the server offers, and what is left out for which reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import psycopg

__all__ = ["COLUMNSTORE_AFTER_DAYS", "Plan", "ServerFacts", "plan"]

COLUMNSTORE_AFTER_DAYS: Final = 7
"""Chunks of ticks and rows older than this are stored by column."""

_SAFE_CONFLICTS: Final = (2, 18, 1)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says of itself.

    Attributes
    ----------
    postgres : str
        Its version, as ``15.14``.
    timescale : str or None
        Version of the extension in this database; None: it was not created here.
    licence : str or None
        ``timescale`` (Community) or ``apache``; None without the extension.
    is_available : bool
        Whether the extension is installed on the server and could be created.
    can_copy : bool
        Whether COPY works: over the socket of the WebAssembly build it ends the server.
    """

    postgres: str
    timescale: str | None
    licence: str | None
    is_available: bool
    can_copy: bool

    @classmethod
    def of(cls, connection: psycopg.Connection[Any]) -> ServerFacts:
        """Ask a server."""
        row = connection.execute(
            "SELECT current_setting('server_version'), version(),"
            " (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),"
            " current_setting('timescaledb.license', true),"
            " EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')"
        ).fetchone()
        assert row is not None  # noqa: S101  # a SELECT without FROM has one row
        version, built, timescale, licence, is_available = row
        return cls(
            str(version).split()[0], timescale, licence if timescale else None, is_available,
            "emscripten" not in str(built).lower(),
        )  # fmt: skip

    @property
    def loses_rows(self) -> bool:
        """Whether rows after a duplicate into a compressed chunk are lost without a word."""
        return self.timescale is not None and _numbers(self.timescale) < _SAFE_CONFLICTS

    def __str__(self) -> str:
        """Name the server, its extension and the licence."""
        if self.timescale is None:
            return f"PostgreSQL {self.postgres}"
        licence = "Apache" if self.licence == "apache" else "Community"
        return f"PostgreSQL {self.postgres}, TimescaleDB {self.timescale} ({licence} licence)"


@dataclass(frozen=True, slots=True)
class Plan:
    """How ticks and rows are laid out.

    Attributes
    ----------
    hypertable : bool
        Hypertables with chunks of a day; else partitions of PostgreSQL's own, one a day.
    columnstore : bool
        Whether old chunks are stored by column, by a policy.
    left_out : tuple of str
        What this server does not allow, and why.
    """

    hypertable: bool
    columnstore: bool
    left_out: tuple[str, ...]


def plan(facts: ServerFacts) -> Plan:
    """Return the best layout that a server allows."""
    if facts.timescale is None:
        if not facts.is_available:
            return Plan(False, False, ())
        reason = (
            "TimescaleDB is installed on the server, but was not created in this database: tables "
            "have partitions of a day. CREATE EXTENSION timescaledb before the first recording "
            "makes them hypertables"
        )
        return Plan(False, False, (reason,))
    if facts.licence != "timescale":
        reason = (
            "no columnstore and no policy for it: they are part of TimescaleDB's Community "
            f"licence, and this server runs under {facts.licence!r}"
        )
        return Plan(True, False, (reason,))
    if facts.loses_rows:
        reason = (
            f"no columnstore: TimescaleDB {facts.timescale} loses rows after the first duplicate "
            "that goes into a compressed chunk (timescaledb #7672); 2.18.1 and newer do not"
        )
        return Plan(True, False, (reason,))
    return Plan(True, True, ())


def _numbers(version: str) -> tuple[int, ...]:
    """Return ``2.23.0-dev`` as (2, 23, 0)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found.group().split("."))) if found else ()
