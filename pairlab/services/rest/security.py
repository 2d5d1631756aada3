"""Checks before any path is routed: host, origin, rate limit, token, body size."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pairlab.errors import PairlabError
from pairlab.net import RequestGuard
from pairlab.services.rest.scheduler import RequestScheduler

__all__ = ["TOKEN_VARIABLE", "SecurityMiddleware", "TokenBuckets", "token_from"]

TOKEN_VARIABLE: Final = "PAIRLAB_TOKEN"  # noqa: S105  the variable's name, not a token
_MAX_BODY_BYTES: Final = 16 * 1024
"""About ten times the size of all settings together."""

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PUBLIC_PATHS: Final = ("/docs", "/openapi.json")
"""The documentation holds no secret, and a browser sends no token when it opens a page."""

_REFUSALS: Final = {
    401: "a valid token is required: Authorization: Bearer <token>",
    403: "requests from pages of other sites are refused: foreign Origin",
    413: f"the body is too large: at most {_MAX_BODY_BYTES:,} bytes",
    421: "unknown Host: see allowed_hosts",
    429: "too many requests: slow down",
}


def token_from(given: str | None) -> tuple[str, bool]:
    """Return the token to require, and whether it was generated just now.

    Raises
    ------
    PairlabError
        If the given token cannot be sent in an HTTP header.
    """
    token = (given or "").strip()
    if not token:
        return secrets.token_urlsafe(24), True
    if not all("!" <= letter <= "~" for letter in token):
        raise PairlabError(f"the token ({TOKEN_VARIABLE}) must be printable ASCII without spaces")
    return token, False


class TokenBuckets:
    """A token bucket (rate limiter) per client, for a bounded number of clients.

    Parameters
    ----------
    per_s : float
        Sustained requests per second.
    burst : float
        Requests at once after a pause.
    max_clients : int
        Clients tracked; beyond them the least recently seen is dropped.
    """

    def __init__(self, per_s: float, burst: float, max_clients: int = 1024) -> None:
        self._per_s, self._burst, self._max_clients = per_s, burst, max_clients
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now_s: float) -> float:
        """Consume one token: return 0, or the seconds until there is one."""
        left, before_s = self._clients.pop(client, (self._burst, now_s))
        left = min(self._burst, left + (now_s - before_s) * self._per_s)
        wait_s = 0.0 if left >= 1 else (1 - left) / self._per_s
        self._clients[client] = (left if wait_s else left - 1, now_s)
        if len(self._clients) > self._max_clients:
            self._clients.popitem(last=False)
        return wait_s


class SecurityMiddleware:
    """ASGI middleware that refuses requests, in the same way for every path.

    Parameters
    ----------
    app : ASGI app
        The application it protects.
    token : str
        Required for changes; beyond loopback for reading, too.
    loopback : bool
        Whether the server listens on loopback only.
    allowed_hosts : iterable of str
        Accepted host names, in addition to localhost and IP addresses (of loopback only, if
        `loopback`). They defeat DNS rebinding, as such a page still sends its own name.
    requests_per_s, changes_per_s : float
        Sustained rate per client; bursts of up to four seconds' worth.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        loopback: bool,
        allowed_hosts: Iterable[str],
        requests_per_s: float,
        changes_per_s: float,
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._loopback = loopback
        self._guard = RequestGuard(loopback=loopback, allowed_hosts=allowed_hosts)
        self._requests = TokenBuckets(requests_per_s, max(1.0, 4 * requests_per_s))
        self._changes = TokenBuckets(changes_per_s, max(1.0, 4 * changes_per_s))
        self._scheduler = RequestScheduler()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        status, retry_s = self._check(scope)
        if status:
            await _refuse(scope, send, status, retry_s)
            return
        if scope["type"] == "http":
            await self._scheduler.admit()
            if scope["method"] not in _SAFE_METHODS:
                receive = _limited(receive)
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> tuple[int, float]:
        """Return the status to refuse with, 0 if accepted, and the seconds until a retry."""
        host = origin = authorization = length = b""
        hosts = 0
        for name, value in scope["headers"]:
            if name == b"host":
                host, hosts = value, hosts + 1
            elif name == b"origin":
                origin = value
            elif name == b"authorization":
                authorization = value
            elif name == b"content-length":
                length = value
        refused = self._guard.refusal(host, origin) if hosts == 1 else 421
        if refused:
            return refused, 0.0
        changes = scope["type"] == "http" and scope["method"] not in _SAFE_METHODS
        client = _client(scope)
        now_s = time.monotonic()
        wait_s = self._requests.take(client, now_s)
        if changes and not wait_s:
            wait_s = self._changes.take(client, now_s)
        if wait_s:
            return 429, wait_s
        if self._needs_token(scope, changes) and not self._has_token(authorization):
            return 401, 0.0
        if changes and length.isdigit() and int(length[:12]) > _MAX_BODY_BYTES:
            return 413, 0.0
        return 0, 0.0

    def _needs_token(self, scope: Scope, changes: bool) -> bool:
        return changes or not (self._loopback or scope["path"].startswith(_PUBLIC_PATHS))

    def _has_token(self, authorization: bytes) -> bool:
        # One comparison in every case, so that wrong, missing and empty tokens fail alike.
        scheme, _, token = authorization.partition(b" ")
        same = secrets.compare_digest(token.strip(), self._token)
        return same and scheme.lower() == b"bearer"


def _limited(receive: Receive) -> Receive:
    """Return a `receive` that raises a 413 when the body exceeds the limit."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > _MAX_BODY_BYTES:
            raise HTTPException(413, _REFUSALS[413])
        return message

    return limited


def _client(scope: Scope) -> str:
    """Return the client's key; an IPv6 /64 network counts as one client."""
    host = scope["client"][0] if scope.get("client") else "?"
    return ":".join(host.split(":")[:4]) if ":" in host else host


async def _refuse(scope: Scope, send: Send, status: int, retry_s: float) -> None:
    body = msgspec.json.encode({"detail": _REFUSALS[status]})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    elif status == 429:
        headers.append((b"retry-after", b"%d" % max(1, round(retry_s))))
    await _respond(scope, send, status, headers, body)


async def _respond(scope: Scope, send: Send, status: int, headers: list[Any], body: bytes) -> None:
    """Send a complete response: to a request, or instead of accepting a WebSocket."""
    kind = "http" if scope["type"] == "http" else "websocket.http"
    await send({"type": f"{kind}.response.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": body})
