"""What a database refuses, in words that say what to do; none of them shows a password."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pairlab.errors import PairlabError, StorageError

if TYPE_CHECKING:
    from pairlab.storage.database.address import Address

__all__ = ["connection_refused", "statement_refused"]

_REFUSED: Final = tuple(
    (re.compile(pattern), told)
    for pattern, told in (
        (
            r"authentication failed|no password supplied",
            "the password of {user} is wrong or missing",
        ),
        (
            r"does not support SSL",
            "the server offers no TLS, which the address requires by its sslmode",
        ),
        (
            r"certificate verify failed|root certificate file|server certificate for",
            "the server's TLS certificate is not trusted: sslrootcert= names its authority's file",
        ),
        (
            r"pg_hba\.conf",
            "the server does not admit {user} from here (over TLS maybe: ?sslmode=require)",
        ),
        (
            r'database ".*" does not exist',
            "there is no database {database}: CREATE DATABASE makes it",
        ),
        (r'role ".*" does not exist', "there is no user {user}"),
        (
            r"permission denied for database",
            "{user} may not connect to {database}",
        ),
        (
            r"could not translate host name|failed to resolve host|Name or service not known",
            "the host is not known",
        ),
    )
)
_FOR_NOW: Final = tuple(
    (re.compile(pattern), told)
    for pattern, told in (
        (r"Connection refused|No such file or directory", "no server listens there"),
        (r"timeout expired|timed out", "the server does not answer"),
        (r"starting up|shutting down|recovery mode", "the server is starting or stopping"),
        (r"too many (clients|connections)|connection slots", "the server has no connection left"),
    )
)

_STATES: Final = {
    "42501": "permission denied: {message}. The owner of the tables or a superuser can GRANT it",
    "53100": "the server's disk is full",
    "53200": "the server is out of memory",
    "53300": "the server has no connection left",
    "57P01": "the server is stopping",
    "57P02": "the server crashed",
    "57P03": "the server is starting or stopping",
    "55P03": "another session holds a lock on the tables for too long",
    "57014": "the statement was cancelled by the server",
    "40P01": "two recorders waited for each other",
    "25006": "the server only reads: it is a standby",
    "3F000": "the schema is missing: {message}",
    "42P01": "a table is missing: {message}",
    "42703": "a table has other columns than pairlab's: {message}",
    "42P07": "{message}, and pairlab did not make it: name another schema",
    "42P10": "a table lacks pairlab's unique key: {message}",
    "23502": "a table refuses what is missing: {message}",
}


_LASTING: Final = ("42501", "25006", "3F000", "42P01", "42703", "42P07", "42P10")


def connection_refused(error: Any, address: Address) -> PairlabError:
    """Return the error for a connection that psycopg could not make.

    libpq's words are used: they name host, user and database, and never hold the password.

    Returns
    -------
    PairlabError
        A `StorageError` if it may be different in a moment.
    """
    said = str(error)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = next((line for line in lines if "FATAL" in line), lines[0] if lines else "no reason")
    reason = reason.rpartition("failed: ")[2]
    for pattern, told in _REFUSED:
        if pattern.search(said):
            told = told.format(user=address.user or "this user", database=address.database)
            return PairlabError(f"{address}: {told} ({reason})")
    told = next((told for pattern, told in _FOR_NOW if pattern.search(said)), "no connection")
    return StorageError(f"{address}: {told} ({reason})")


def statement_refused(error: Any, address: Address) -> PairlabError:
    """Return the error for a statement that the server refused, or that did not reach it.

    Returns
    -------
    PairlabError
        A `StorageError` if it may be different in a moment.
    """
    message, state = error.diag.message_primary, error.sqlstate or ""
    if message is None:  # not the server's: the connection broke
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        return StorageError(f"{address}: the connection is lost ({reason})")
    kind = PairlabError if state in _LASTING else StorageError
    told = _STATES.get(state)
    if told is None:
        return kind(f"{address}: {message} (SQLSTATE {state})")
    words = told.format(message=message)
    return kind(f"{address}: {words}" + ("" if "{message}" in told else f" ({message})"))
