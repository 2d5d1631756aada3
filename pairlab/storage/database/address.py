"""Where a database is: an address that never shows its password, and connections to it."""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING, Any, Final

from pairlab.errors import MissingExtraError, SettingError
from pairlab.storage.database.refusals import connection_refused

if TYPE_CHECKING:
    import psycopg

__all__ = ["SCHEMES", "Address", "driver", "is_database_url"]

SCHEMES: Final = ("postgresql://", "postgres://")

_WANTED: Final = (
    "expected postgresql://user:password@host:port/database; in a password, %, /, ?, @ and : are "
    "written %25, %2F, %3F, %40 and %3A"
)
_DEFAULTS: Final = {
    "connect_timeout": "10",
    "application_name": "pairlab",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",  # ms: a server that vanished is noticed while something is sent
}


def driver() -> Any:
    """Return the module psycopg.

    Raises
    ------
    MissingExtraError
        Without ``pip install "pairlab[postgres]"``.
    """
    try:
        import psycopg
    except ImportError:  # also without libpq, which the extra brings
        raise MissingExtraError("psycopg", "postgres") from None
    return psycopg


def is_database_url(target: object) -> bool:
    """Return whether a target of a recording is a database, not a folder."""
    return isinstance(target, str) and target.lower().startswith(SCHEMES)


class Address:
    """The address of a database.

    Its repr names user, host and database. The password is in no text that it makes, and neither
    is anything of an address that cannot be read, for a password could stand anywhere in it.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:port/database?sslmode=require``. What it lacks comes from
        libpq's variables (PGPASSWORD, …), ``~/.pgpass`` and defaults.

    Raises
    ------
    SettingError
        If it is no such address.
    """

    def __init__(self, url: str) -> None:
        if not is_database_url(url):
            raise SettingError("url", "…", _WANTED)
        psycopg = driver()
        try:
            given = psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            # The driver's own words quote the part that it stumbled over.
            raise SettingError("url", "…", _WANTED) from None
        self._parameters: dict[str, Any] = _DEFAULTS | given
        # A password with a / or an @ in it is cut there, and its rest taken for another part.
        port = str(given.get("port", "5432")).replace(",", "")
        parts = (str(given.get("host", ""))[1:], str(given.get("dbname", "")))
        if not (port.isascii() and port.isdigit()) or any("@" in part for part in parts):
            raise SettingError("url", "…", _WANTED)

    def __repr__(self) -> str:
        """Name the database, without the password."""
        return f"postgresql://{self}"

    def __str__(self) -> str:
        """Name user, host and database, without the password."""
        host, port = self.host, self._parameters.get("port")
        where = f"{host}:{port}" if port and not host.startswith("/") else host
        user = f"{self.user}@" if self.user else ""
        return f"{user}{where}/{self.database}"

    @property
    def host(self) -> str:
        """The host, or the folder of its socket."""
        given = self._parameters
        host = given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST")
        return str(host or "localhost")

    @property
    def user(self) -> str:
        """Who connects; empty: as the environment says."""
        return str(self._parameters.get("user") or "")

    @property
    def database(self) -> str:
        """Name of the database."""
        return str(self._parameters.get("dbname") or self.user or "(default)")

    @property
    def is_this_machine(self) -> bool:
        """Whether nothing that is sent leaves this machine."""
        if self.host.startswith(("/", "@")) or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def connect(self, *, autocommit: bool = False) -> psycopg.Connection[Any]:
        """Return a new connection.

        Raises
        ------
        PairlabError
            If it is refused, in words that say why; a `StorageError` if it may be had later.
        """
        psycopg = driver()
        try:
            # Plain keywords: an address put together as text would have to be quoted again.
            # Nothing is prepared by name: poolers share a server's session between connections.
            connection = psycopg.connect(
                **self._parameters, autocommit=autocommit, prepare_threshold=None
            )
        except psycopg.Error as error:
            raise connection_refused(error, self) from None
        return connection  # type: ignore[no-any-return]
