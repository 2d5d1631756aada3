"""The REST server: uvicorn on the lab's own event loop, from `PairLab.serve` to the lab's stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Generator, Iterable
from typing import Final

import uvicorn
from fastapi import FastAPI

from pairlab.board.board import Board
from pairlab.errors import PairlabError
from pairlab.lab.pair_lab import PairLab
from pairlab.net import is_loopback, listen
from pairlab.services.rest.board_api import create_board_app
from pairlab.services.rest.rest_api import create_app
from pairlab.services.rest.security import TOKEN_VARIABLE, SecurityMiddleware, token_from
from pairlab.services.rest.stream import Stream

__all__ = ["RestServer"]

_SHUTDOWN_TIMEOUT_S: Final = 2.0
"""How long running responses may take when the server stops."""

_MAX_CONNECTIONS: Final = 500
_SEND_BUFFER_BYTES: Final = 256 * 1024
_HEADERS: Final = [
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
]


class _Uvicorn(uvicorn.Server):
    """uvicorn without signal handling: the loop belongs to the notebook or the command."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    def abort(self) -> None:
        """Abort all remaining connections."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class RestServer:
    """The running REST API of a lab or a board, whose `serve` creates it: it stops with them.

    Attributes
    ----------
    url : str
        Its URL, such as ``http://127.0.0.1:8000``.
    host : str
        Address it listens on.
    port : int
        Its port; a free one if 0 was requested.
    """

    def __init__(self, served: PairLab | Board, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._served = served
        self._task: asyncio.Task[None] | None = None
        self._uvicorn: _Uvicorn | None = None

    @property
    def url(self) -> str:
        """The URL for a client on this machine."""
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
        given_token = token if token is not None else os.environ.get(TOKEN_VARIABLE)
        secret, generated = token_from(given_token)
        # Creating the app and loading uvicorn read files: not on the event loop.
        app, stream = await asyncio.to_thread(_application, self._served)
        protected = SecurityMiddleware(
            app,
            token=secret,
            loopback=is_loopback(self.host),
            allowed_hosts=allowed_hosts,
            requests_per_s=requests_per_s,
            changes_per_s=changes_per_s,
        )
        config = uvicorn.Config(
            protected,
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
            limit_concurrency=_MAX_CONNECTIONS,
        )
        await asyncio.to_thread(config.load)
        listener = await _listen(self.host, self.port)
        self.port = listener.getsockname()[1]
        self._uvicorn = _Uvicorn(config)
        work = self._serve(self._uvicorn, listener, stream)
        self._task = asyncio.create_task(work, name=f"pairlab rest {self.port}")
        print(self._announcement(secret if generated else None), flush=True)

    @staticmethod
    def _check(**rates: float) -> None:
        for name, value in rates.items():
            if not value > 0:
                raise PairlabError(f"{name} = {value!r} is invalid: expected a number above 0")

    def _announcement(self, token: str | None) -> str:
        """Return the lines printed once at the start."""
        lines = f"pairlab: REST at {self.url}, documentation at {self.url}/docs"
        if token is not None:
            lines += f"\npairlab: changes require this token, shown only now: {token}"
        if not is_loopback(self.host):
            lines += (
                "\npairlab: reachable from other machines, without encryption; reading requires "
                "the token, too"
            )
        return lines

    async def _serve(
        self, server: _Uvicorn, listener: socket.socket, stream: Stream | None
    ) -> None:
        if stream is not None:
            stream.open()
        try:
            await server.serve(sockets=[listener])
        except Exception as error:
            # Nobody awaits this task while it serves, so the error goes to the lab's event log.
            self._served.log(
                "error",
                f"the REST server stopped: {type(error).__name__}: {error}. The stream continues; "
                "call serve() to restart the server",
            )
        finally:
            if stream is not None:
                stream.close()
            server.abort()
            for listening in getattr(server, "servers", []):
                listening.close()
            listener.close()

    async def stop(self) -> None:
        """Stop serving; a second call does nothing.

        Running responses have two seconds to complete.
        """
        task, server = self._task, self._uvicorn
        if task is None or server is None or task.get_loop().is_closed():
            return
        server.should_exit = True
        _, late = await asyncio.wait({task}, timeout=_SHUTDOWN_TIMEOUT_S)
        if late:
            server.abort()
            await asyncio.wait({task})


def _application(served: PairLab | Board) -> tuple[FastAPI, Stream | None]:
    return (create_board_app(served), None) if isinstance(served, Board) else create_app(served)


async def _listen(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise PairlabError(f"host = {host!r} is not an address of this machine: {error}") from None
    family, _, _, _, address = found[0]
    # The buffer bounds what the system holds for a stalled reader.
    return listen(host, port, resolved=(family, address), send_buffer_bytes=_SEND_BUFFER_BYTES)
