"""The server: uvicorn on the lab's own loop, from `PairLab.serve` to the lab's end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Generator, Iterable
from typing import Final

import uvicorn

from pairlab.errors import PairlabError
from pairlab.lab.pair_lab import PairLab
from pairlab.services.rest.rest_api import create_app
from pairlab.services.rest.security import (
    TOKEN_VARIABLE,
    SecurityMiddleware,
    is_loopback,
    token_from,
)
from pairlab.services.rest.stream import Stream

__all__ = ["RestServer"]

_GRACE_S: Final = 2.0
"""How long answers that are under way may take when the server ends."""

_MOST_CONNECTIONS: Final = 500
_SEND_BUFFER: Final = 256 * 1024  # bytes
_HEADERS: Final = [
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
]


class _Uvicorn(uvicorn.Server):
    """uvicorn as a guest: the loop and its signals belong to the notebook or the command."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    def abort(self) -> None:
        """Cut what is left, whoever does not read."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class RestServer:
    """The REST API of one lab, running; `PairLab.serve` makes it, and it ends with the lab.

    Attributes
    ----------
    url : str
        Where it is, ``http://127.0.0.1:8000``.
    host : str
        What it listens on.
    port : int
        The port, found free if 0 was asked for.
    """

    def __init__(self, lab: PairLab, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._lab = lab
        self._task: asyncio.Task[None] | None = None
        self._uvicorn: _Uvicorn | None = None

    @property
    def url(self) -> str:
        """Where a client on this machine finds it."""
        any_host = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  not bound: translated
        host = any_host.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def __repr__(self) -> str:
        state = "serving" if self._task is not None and not self._task.done() else "ended"
        return f"<RestServer {self.url} {state}>"

    async def start(
        self,
        *,
        token: str | None,
        allowed_hosts: Iterable[str],
        requests_per_s: float,
        changes_per_s: float,
    ) -> None:
        """Listen and serve; see `PairLab.serve`."""
        if not (type(self.port) is int and 0 <= self.port <= 65535):
            raise PairlabError(f"port = {self.port!r} is invalid: expected 0 to 65535")
        self._check(requests_per_s=requests_per_s, changes_per_s=changes_per_s)
        given = token if token is not None else os.environ.get(TOKEN_VARIABLE)
        secret, made = token_from(given)
        # The app and uvicorn read files to begin with.
        app, stream = await asyncio.to_thread(create_app, self._lab)
        gate = SecurityMiddleware(
            app,
            token=secret,
            loopback=is_loopback(self.host),
            allowed_hosts=allowed_hosts,
            requests_per_s=requests_per_s,
            changes_per_s=changes_per_s,
        )
        config = uvicorn.Config(
            gate,
            lifespan="off",
            log_config=None,
            access_log=False,
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=1024,
            ws_per_message_deflate=False,
            proxy_headers=False,
            server_header=False,
            headers=_HEADERS,
            limit_concurrency=_MOST_CONNECTIONS,
        )
        await asyncio.to_thread(config.load)
        listener = await _listen(self.host, self.port)
        self.port = listener.getsockname()[1]
        self._uvicorn = _Uvicorn(config)
        work = self._serve(self._uvicorn, listener, stream)
        self._task = asyncio.create_task(work, name=f"pairlab rest {self.port}")
        print(self._words(secret if made else None), flush=True)

    @staticmethod
    def _check(**rates: float) -> None:
        for name, value in rates.items():
            if not value > 0:
                raise PairlabError(f"{name} = {value!r} is invalid: expected a number above 0")

    def _words(self, token: str | None) -> str:
        """Return what is said once at the start."""
        words = f"pairlab: REST at {self.url}, documentation at {self.url}/docs"
        if token is not None:
            words += f"\npairlab: changes need this token, shown only now: {token}"
        if not is_loopback(self.host):
            words += (
                "\npairlab: reachable from other machines, without encryption; reading needs the "
                "token, too"
            )
        return words

    async def _serve(self, server: _Uvicorn, listener: socket.socket, stream: Stream) -> None:
        stream.open()
        try:
            await server.serve(sockets=[listener])
        except Exception as error:
            # Nobody awaits this task while it serves: the lab's log is where it is seen.
            self._lab.log(
                "error",
                f"the REST server ended: {type(error).__name__}: {error}. The lab goes on; call "
                "lab.serve() again",
            )
        finally:
            stream.close()
            server.abort()
            for listening in getattr(server, "servers", []):
                listening.close()
            listener.close()

    async def stop(self) -> None:
        """Serve no longer; a second call does nothing.

        Answers under way have two seconds to leave.
        """
        task, server = self._task, self._uvicorn
        if task is None or server is None or task.get_loop().is_closed():
            return
        server.should_exit = True
        _, late = await asyncio.wait({task}, timeout=_GRACE_S)
        if late:
            server.abort()
            await asyncio.wait({task})


async def _listen(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise PairlabError(f"host = {host!r} is not an address of this machine: {error}") from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by every connection: what the system holds for a reader that has stopped.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        listener.bind(address)
        listener.listen(2048)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PairlabError(
                f"port {port} on {host} is in use already, maybe by another lab's server: end that "
                "one, or choose another port (port=0 finds a free one)"
            ) from None
        raise PairlabError(f"cannot listen on {host} port {port}: {error.strerror}") from None
    return listener
