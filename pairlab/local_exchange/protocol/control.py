"""Stream protocol of one connection, without I/O: route, subscriptions, control messages."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

__all__ = ["CATEGORIES", "Control", "Route", "TooManyMessagesError", "parse_route"]

CATEGORIES: Final[Mapping[str, str]] = {
    "aggTrade": "market",
    "kline": "market",
    "continuousKline": "market",
    "markPrice": "market",
    "ticker": "market",
    "miniTicker": "market",
    "forceOrder": "market",
    "bookTicker": "public",
    "depth": "public",
    "trade": "public",
}
"""The route on which each kind of stream delivers."""

_METHODS: Final = (
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "LIST_SUBSCRIPTIONS",
    "SET_PROPERTY",
    "GET_PROPERTY",
)


class TooManyMessagesError(Exception):
    """The client exceeded the rate of control messages: close the connection with 1008."""


@dataclass(frozen=True, slots=True)
class Route:
    """The parsed path of a WebSocket handshake.

    Attributes
    ----------
    category : {"public", "market", "private"} or None
        None on the legacy route, which acknowledges every subscription.
    combined : bool
        Messages are wrapped as ``{"stream": …, "data": …}``.
    streams : tuple of str
        Subscribed from the start.
    """

    category: str | None
    combined: bool
    streams: tuple[str, ...]


def parse_route(target: str) -> Route | None:
    """Return the route of a request's path and query; None if there is no such path."""
    path, _, query = target.partition("?")
    parts = [unquote(part) for part in path.strip("/").split("/") if part]
    category = parts.pop(0) if parts and parts[0] in ("public", "market", "private") else None
    if not parts or parts[0] not in ("ws", "stream"):
        return None
    combined = parts[0] == "stream"
    streams = parts[1:] if not combined else []
    for item in query.split("&"):
        name, _, value = item.partition("=")
        if name == "streams" and value:
            streams = unquote(value).split("/")
    return Route(category, combined, tuple(dict.fromkeys(s for s in streams if s)))


class Control:
    """Subscriptions of one connection, and the replies to its control messages.

    Parameters
    ----------
    route : Route
        From the handshake.
    categories : mapping of str to str
        The route on which each kind of stream delivers.
    max_streams : int
        Maximum number of streams on the connection.
    messages_per_s : int
        Maximum number of control messages per second.
    """

    def __init__(
        self, route: Route, categories: Mapping[str, str], max_streams: int, messages_per_s: int
    ) -> None:
        self.category = route.category
        self.combined = route.combined
        self.streams: dict[str, None] = {}
        self._categories = categories
        self._max_streams = max_streams
        self._arrivals: deque[float] = deque(maxlen=messages_per_s)

    def add(self, streams: tuple[str, ...]) -> bool:
        """Subscribe to all; return False, and subscribe to none, if that exceeds `max_streams`."""
        if len({*self.streams, *streams}) > self._max_streams:
            return False
        self.streams.update(dict.fromkeys(streams))
        return True

    def delivers(self, stream: str) -> bool:
        """Return whether this connection's route delivers the stream."""
        kind = stream.partition("@")[2].partition("@")[0].partition("_")[0]
        wanted = self._categories.get(kind)
        if wanted is None:
            return False
        # The legacy route still delivers public streams, but no market streams.
        return wanted == (self.category or "public")

    def handle(self, text: str | bytes, now_s: float) -> str:
        """Return the reply to a control message.

        Raises
        ------
        TooManyMessagesError
            If there were too many within a second.
        """
        if len(self._arrivals) == self._arrivals.maxlen and now_s - self._arrivals[0] < 1.0:
            raise TooManyMessagesError
        self._arrivals.append(now_s)
        try:
            request = json.loads(text)
        except json.JSONDecodeError as error:
            where = f"line {error.lineno} column {error.colno}"
            return _error(3, f"Invalid JSON: expected value at {where}", None)
        except UnicodeDecodeError:
            return _error(3, "Invalid JSON: expected value at line 1 column 1", None)
        if not isinstance(request, dict):
            return _error(2, "Invalid request: expected an object", None)
        id_ = request.get("id")
        if id_ is not None and (
            isinstance(id_, bool)
            or not isinstance(id_, int | str)
            or (isinstance(id_, int) and id_ < 0)
        ):
            return _error(2, "Invalid request: request ID must be an unsigned integer", None)
        if "method" not in request:
            where = f"line 1 column {len(text)}"
            return _error(2, f"Invalid request: missing field `method` at {where}", id_)
        method, params = request["method"], request.get("params", [])
        if method not in _METHODS:
            expected = ", ".join(f"`{name}`" for name in _METHODS)
            return _error(
                2, f"Invalid request: unknown variant `{method}`, expected one of {expected}", id_
            )
        if not isinstance(params, list):
            return _error(2, "Invalid request: params must be an array", id_)
        return self._run(method, params, id_)

    def _run(self, method: str, params: list[Any], id_: int | str | None) -> str:
        if method == "LIST_SUBSCRIPTIONS":
            return _result(list(self.streams), id_)
        if method == "GET_PROPERTY":
            if params != ["combined"]:
                return _error(0, "Unknown property", id_)
            return _result(self.combined, id_)
        if method == "SET_PROPERTY":
            if len(params) != 2 or params[0] != "combined":
                return _error(0, "Unknown property", id_)
            if not isinstance(params[1], bool):
                return _error(1, "Invalid value type: expected Boolean", id_)
            self.combined = params[1]
            return _result(None, id_)
        if not params:
            return _error(2, "Invalid request: params must not be empty", id_)
        if not all(isinstance(stream, str) for stream in params):
            return _error(2, "Invalid request: property name must be a string", id_)
        if method == "UNSUBSCRIBE":
            for stream in params:
                self.streams.pop(stream, None)
        elif not self.add(tuple(params)):
            return _error(2, "Invalid request: too many parameters", id_)
        return _result(None, id_)


def _result(result: object, id_: int | str | None) -> str:
    return json.dumps({"result": result, "id": id_}, separators=(",", ":"))


def _error(code: int, message: str, id_: int | str | None) -> str:
    error = {"code": code, "msg": message}
    return json.dumps(error if id_ is None else {"error": error, "id": id_}, separators=(",", ":"))
