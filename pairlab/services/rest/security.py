"""What is asked of a request before any path: host, origin, rate, token, size."""

from __future__ import annotations

import ipaddress
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pairlab.errors import PairlabError
from pairlab.services.rest.scheduler import RequestScheduler

__all__ = ["TOKEN_VARIABLE", "Buckets", "SecurityMiddleware", "is_loopback", "token_from"]

TOKEN_VARIABLE: Final = "PAIRLAB_TOKEN"  # noqa: S105  the variable's name, not a token
_MOST_BODY: Final = 16 * 1024
"""Bytes; every setting at once is a tenth of it."""

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN: Final = ("/docs", "/openapi.json")
"""What the documentation says is no secret, and a browser sends no token for a page."""

_HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^:\[\]/@]+)(:\d{1,5})?")

_REFUSED: Final = {
    401: "a valid bearer token is needed: Authorization: Bearer <token>",
    403: "pages of other sites are not served: the Origin is foreign",
    413: f"the body is too large: at most {_MOST_BODY:,} bytes",
    421: "this Host is not served here: see allowed_hosts",
    429: "too many requests: slow down",
}


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_from(given: str | None) -> tuple[str, bool]:
    """Return the token to ask for, and whether it was made just now.

    Raises
    ------
    PairlabError
        If one was given that no client could send.
    """
    token = (given or "").strip()
    if not token:
        return secrets.token_urlsafe(24), True
    if not all("!" <= letter <= "~" for letter in token):
        raise PairlabError(f"the token ({TOKEN_VARIABLE}) must be printable ASCII without spaces")
    return token, False


class Buckets:
    """A token bucket for each client, in bounded room.

    Parameters
    ----------
    per_s : float
        Requests a second in the long run.
    burst : float
        At once after a pause.
    most : int
        Clients remembered; the one not seen for longest is forgotten.
    """

    def __init__(self, per_s: float, burst: float, most: int = 1024) -> None:
        self._per_s, self._burst, self._most = per_s, burst, most
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now_s: float) -> float:
        """Take one: return 0, or the seconds until there is one again."""
        left, before_s = self._clients.pop(client, (self._burst, now_s))
        left = min(self._burst, left + (now_s - before_s) * self._per_s)
        wait_s = 0.0 if left >= 1 else (1 - left) / self._per_s
        self._clients[client] = (left if wait_s else left - 1, now_s)
        if len(self._clients) > self._most:
            self._clients.popitem(last=False)
        return wait_s


class SecurityMiddleware:
    """Refuses before any path is asked, in the same way for every path.

    Parameters
    ----------
    app : ASGI app
        What is behind it.
    token : str
        That changes need; beyond loopback, reading too.
    loopback : bool
        Whether only this machine can reach the server.
    allowed_hosts : iterable of str
        Host names served beside this machine's own and, beyond loopback, every plain address: a
        page that rebinds its name to this machine still says its own name.
    requests_per_s, changes_per_s : float
        Of one client, in the long run; four seconds' worth at once.
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
        self._hosts = {"localhost", *(name.lower().rstrip(".") for name in allowed_hosts)}
        self._requests = Buckets(requests_per_s, max(1.0, 4 * requests_per_s))
        self._changes = Buckets(changes_per_s, max(1.0, 4 * changes_per_s))
        self._pace = RequestScheduler()
        self._hosts_seen: dict[bytes, bool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        status, retry_s = self._judge(scope)
        if status:
            await _refuse(scope, send, status, retry_s)
            return
        if scope["type"] == "http":
            await self._pace.pass_on()
            if scope["method"] not in _READING:
                receive = _limited(receive)
        await self._app(scope, receive, send)

    def _judge(self, scope: Scope) -> tuple[int, float]:
        """Return the status to refuse with, 0 for none, and when to come again."""
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
        if hosts != 1 or not self._serves(host):
            return 421, 0.0
        if origin and origin.lower().partition(b"://")[2] != host.lower():
            return 403, 0.0
        changes = scope["type"] == "http" and scope["method"] not in _READING
        client = _client(scope)
        now_s = time.monotonic()
        wait_s = self._requests.take(client, now_s)
        if changes and not wait_s:
            wait_s = self._changes.take(client, now_s)
        if wait_s:
            return 429, wait_s
        if self._needs_token(scope, changes) and not self._knows(authorization):
            return 401, 0.0
        if changes and length.isdigit() and int(length[:12]) > _MOST_BODY:
            return 413, 0.0
        return 0, 0.0

    def _needs_token(self, scope: Scope, changes: bool) -> bool:
        return changes or not (self._loopback or scope["path"].startswith(_OPEN))

    def _knows(self, authorization: bytes) -> bool:
        # One comparison whatever came, so that wrong, missing and empty tokens fail alike.
        scheme, _, token = authorization.partition(b" ")
        same = secrets.compare_digest(token.strip(), self._token)
        return same and scheme.lower() == b"bearer"

    def _serves(self, host: bytes) -> bool:
        known = self._hosts_seen.get(host)
        if known is None:
            known = self._is_ours(host.decode("latin-1").lower())
            if len(self._hosts_seen) < 64:
                self._hosts_seen[host] = known
        return known

    def _is_ours(self, host: str) -> bool:
        parts = _HOST.fullmatch(host)
        if parts is None:
            return False
        name = parts["name"].rstrip(".")
        if name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return not self._loopback or address.is_loopback


def _limited(receive: Receive) -> Receive:
    """Return `receive` that ends with a 413 where more body comes than is taken."""
    got = 0

    async def limited() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > _MOST_BODY:
            raise HTTPException(413, _REFUSED[413])
        return message

    return limited


def _client(scope: Scope) -> str:
    """Return who asks; an IPv6 network counts as one, for it has addresses without end."""
    host = scope["client"][0] if scope.get("client") else "?"
    return ":".join(host.split(":")[:4]) if ":" in host else host


async def _refuse(scope: Scope, send: Send, status: int, retry_s: float) -> None:
    body = msgspec.json.encode({"detail": _REFUSED[status]})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    elif status == 429:
        headers.append((b"retry-after", b"%d" % max(1, round(retry_s))))
    await answer(scope, send, status, headers, body)


async def answer(scope: Scope, send: Send, status: int, headers: list[Any], body: bytes) -> None:
    """Send a whole answer: to a request, or in place of accepting a WebSocket."""
    kind = "http" if scope["type"] == "http" else "websocket.http"
    await send({"type": f"{kind}.response.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": body})
