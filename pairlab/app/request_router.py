"""What the dashboard's server lets in: requests of its own page, addressed to this machine."""

from __future__ import annotations

from typing import Final

from tornado import httputil
from tornado.routing import Router

from pairlab.net import RequestGuard

__all__ = ["GuardedRouter"]

_REFUSALS: Final = {
    403: "requests from pages of other sites are refused",
    421: "unknown Host: open the page as http://127.0.0.1 or http://localhost, with the port",
}
_REASONS: Final = {403: "Forbidden", 421: "Misdirected Request"}


class GuardedRouter(Router):
    """Checks every request, of whatever path, before it reaches the application.

    Beyond ``Host`` and ``Origin`` it reads ``Sec-Fetch-*``, with which a browser says that a page
    of another site embeds this one: each request for the page starts a kernel, and an image's
    address sends no ``Origin``.

    Parameters
    ----------
    application : tornado.routing.Router
        Serves what is accepted.
    """

    def __init__(self, application: Router) -> None:
        self._application = application
        self._guard = RequestGuard(loopback=True)

    def find_handler(
        self, request: httputil.HTTPServerRequest, **kwargs: object
    ) -> httputil.HTTPMessageDelegate | None:
        """Return what serves a request, or refuses it."""
        headers = request.headers
        status = self._guard.refusal(
            headers.get("Host", "").encode("latin-1", "replace"),
            headers.get("Origin", "").encode("latin-1", "replace"),
        )
        if not status and _is_embedded_elsewhere(headers):
            status = 403
        if status and request.connection is not None:
            return _Refusal(request.connection, status)
        return self._application.find_handler(request, **kwargs)


def _is_embedded_elsewhere(headers: httputil.HTTPHeaders) -> bool:
    """Return whether a page of another site asked for this, other than by a link to it."""
    if headers.get("Sec-Fetch-Site", "none").lower() in ("none", "same-origin"):
        return False
    return headers.get("Sec-Fetch-Dest", "document").lower() != "document"


class _Refusal(httputil.HTTPMessageDelegate):
    """Answers one request with a status and its reason."""

    def __init__(self, connection: httputil.HTTPConnection, status: int) -> None:
        self._connection, self._status = connection, status

    def finish(self) -> None:
        body = _REFUSALS[self._status].encode() + b"\n"
        headers = httputil.HTTPHeaders(
            {
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Length": str(len(body)),
                "Connection": "close",
            }
        )
        line = httputil.ResponseStartLine("HTTP/1.1", self._status, _REASONS[self._status])
        self._connection.write_headers(line, headers, body)
        self._connection.finish()
