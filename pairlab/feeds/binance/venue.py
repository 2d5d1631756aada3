"""Addresses, routes and names of Binance, and of whatever speaks its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, urlsplit

from pairlab.errors import DataError
from pairlab.feeds.base import FeedInfo
from pairlab.feeds.binance.messages import STREAMS
from pairlab.net import host_of, without_user

__all__ = ["LIVE_URL", "TESTNET_URL", "Venue"]

LIVE_URL: Final = "wss://fstream.binance.com"
TESTNET_URL: Final = "wss://fstream.binancefuture.com"

_REST: Final = MappingProxyType(
    {
        "fstream.binance.com": "https://fapi.binance.com",
        "fstream.binancefuture.com": "https://testnet.binancefuture.com",
    }
)
_NAMES: Final = MappingProxyType(
    {"fstream.binance.com": "BINANCE", "fstream.binancefuture.com": "BINANCE TESTNET"}
)
_ROUTES: Final = MappingProxyType({"aggTrade": "market", "trade": "public", "bookTicker": "public"})
_OTHER_ROUTE: Final = MappingProxyType({"market": "public", "public": "market"})
_MAX_QUERY: Final = 4_000  # characters of streams in a URL; servers refuse lines above 8 KiB


class Venue:
    """One kind of stream at one exchange.

    Parameters
    ----------
    stream : {"aggTrade", "trade", "bookTicker"}
        The kind.
    url : str
        ``wss://fstream.binance.com``, the testnet's, or ``ws://host:port`` of a local exchange.
    rest_url : str, optional
        Where REST is asked; follows from `url`: http on the same host and port for a local one.
    routes : mapping of str to str, optional
        The category of a stream where it is not the usual one, e.g. ``{"trade": "market"}``.
    name : str, optional
        What the screen shows; follows from `url`.

    Attributes
    ----------
    real_money : bool
        It is the live market.
    routes : tuple of str
        The category that carries the stream, then the one to try when that stays silent.

    Raises
    ------
    DataError
        For an unknown stream, or a URL that is no WebSocket's.
    """

    def __init__(
        self,
        stream: str,
        url: str,
        rest_url: str | None = None,
        routes: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise DataError(
                f"url = {without_user(url)!r} is invalid: expected ws://host:port or wss://host"
            )
        if rest_url is not None:
            rest = urlsplit(rest_url)
            if rest.scheme not in ("http", "https") or not rest.hostname:
                raise DataError(
                    f"rest_url = {without_user(rest_url)!r} is invalid: expected http://host:port "
                    "or https://host"
                )
        for unknown in set(routes or ()) - set(STREAMS):
            raise DataError(
                f"routes = {unknown!r} is invalid: expected the keys {', '.join(STREAMS)}"
            )
        if stream not in STREAMS:
            raise DataError(f"stream = {stream!r} is invalid: expected one of {', '.join(STREAMS)}")
        self.stream = stream
        self.url = url.rstrip("/")
        plain = "https" if parts.scheme == "wss" else "http"
        self.rest_url = rest_url or _REST.get(parts.hostname) or f"{plain}://{parts.netloc}"
        self.name = name or _NAMES.get(parts.hostname) or f"LOCAL {host_of(url)}"
        self.real_money = parts.hostname == "fstream.binance.com"
        usual = {**_ROUTES, **(routes or {})}[stream]
        self.routes = tuple(dict.fromkeys((usual, _OTHER_ROUTE.get(usual, usual))))

    @property
    def info(self) -> FeedInfo:
        """Name, kind of market and stream, as a feed reports them."""
        return FeedInfo(self.name, self.real_money, self.stream, checks_times=True)

    @property
    def contiguous(self) -> bool:
        """Whether ids count up by one, as those of trades do."""
        return self.stream != "bookTicker"

    @property
    def repairable(self) -> bool:
        """Whether REST knows the ids."""
        return self.stream == "aggTrade"

    def stream_of(self, symbol: str) -> str:
        """Return the name of a symbol's stream, as the exchange writes it."""
        return f"{symbol.lower()}@{self.stream}"

    def address(self, route: str, streams: Mapping[int, str]) -> tuple[str, dict[int, str]]:
        """Return the URL of a route, and which of these streams it has room for, by slot."""
        included: dict[int, str] = {}
        query = ""
        for slot, name in streams.items():
            longer = f"{query}/{quote(name, safe='@')}" if query else quote(name, safe="@")
            if len(longer) > _MAX_QUERY:
                break  # the others are subscribed once it is open
            query = longer
            included[slot] = name
        return f"{self.url}/{route}/stream?streams={query}", included
