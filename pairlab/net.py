"""Host names and addresses: listening on them, and which HTTP requests a server accepts by them."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from pairlab.errors import PairlabError

__all__ = ["RequestGuard", "host_of", "is_loopback", "is_loopback_url", "listen", "without_user"]

_HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^:\[\]/@]+)(:\d{1,5})?")
_MAX_REMEMBERED: Final = 64


def is_loopback(host: str) -> bool:
    """Return whether a host, name or address, is this machine's loopback interface."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_loopback_url(url: str) -> bool:
    """Return whether a URL points at this machine, where no proxy belongs in between."""
    return is_loopback(urlsplit(url).hostname or "")


def host_of(url: str) -> str:
    """Return a URL's host and port, as messages name it: without a user and a password.

    Examples
    --------
    >>> host_of("wss://user:secret@127.0.0.1:9443/ws")
    '127.0.0.1:9443'
    """
    return urlsplit(url).netloc.rpartition("@")[2]


def without_user(url: str) -> str:
    """Return a URL as a repr or a message may show it: without a user and a password.

    Examples
    --------
    >>> without_user("wss://user:secret@127.0.0.1:9443/ws")
    'wss://127.0.0.1:9443/ws'
    """
    head, mark, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    return f"{head}{mark}{netloc.rpartition('@')[2]}{slash}{path}"


def listen(
    host: str,
    port: int,
    *,
    resolved: tuple[socket.AddressFamily, tuple[object, ...]] | None = None,
    send_buffer_bytes: int | None = None,
) -> socket.socket:
    """Return a non-blocking TCP socket that listens.

    Parameters
    ----------
    host : str
        An IPv4 address, unless `resolved` is given.
    port : int
        0 for any free port.
    resolved : (family, address), optional
        What `host` and `port` were resolved to.
    send_buffer_bytes : int, optional
        What the system buffers for a connection that does not read; by default its own choice.

    Raises
    ------
    PairlabError
        If the port is in use, or the address cannot be listened on.
    """
    family, address = resolved or (socket.AF_INET, (host, port))
    # asyncio turns Nagle's delays of 40 ms off only for sockets that name their protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if send_buffer_bytes is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        listener.bind(address)
        listener.listen(2048)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PairlabError(
                f"port {port} on {host} is in use, possibly by another of pairlab's servers: stop "
                "that one, or choose another port (port 0: any free one)"
            ) from None
        raise PairlabError(f"cannot listen on {host} port {port}: {error.strerror}") from None
    return listener


class RequestGuard:
    """Refuses HTTP requests whose ``Host`` or ``Origin`` is not this server's.

    A page of another site whose name was rebound to this machine still sends its own name as
    ``Host``, and a page that reaches across sends its own ``Origin``.

    Parameters
    ----------
    loopback : bool
        Whether the server listens on loopback only.
    allowed_hosts : iterable of str
        Accepted host names, in addition to localhost and IP addresses (of loopback only, if
        `loopback`).
    """

    def __init__(self, *, loopback: bool, allowed_hosts: Iterable[str] = ()) -> None:
        self._loopback = loopback
        self._hosts = {"localhost", *(name.lower().rstrip(".") for name in allowed_hosts)}
        self._known: dict[bytes, bool] = {}

    def refusal(self, host: bytes, origin: bytes) -> int:
        """Return the HTTP status with which to refuse a request; 0 if it is accepted.

        Parameters
        ----------
        host, origin : bytes
            The headers; empty if there is none.
        """
        accepted = self._known.get(host)
        if accepted is None:
            accepted = self._accepts(host.decode("latin-1").lower())
            if len(self._known) < _MAX_REMEMBERED:
                self._known[host] = accepted
        if not accepted:
            return 421
        if origin and origin.lower().partition(b"://")[2] != host.lower():
            return 403
        return 0

    def _accepts(self, host: str) -> bool:
        parts = _HOST.fullmatch(host)
        if parts is None:
            return False
        name = parts["name"].rstrip(".")
        if name in self._hosts:
            return True
        address = name.strip("[]")
        return is_loopback(address) if self._loopback else _is_address(address)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
