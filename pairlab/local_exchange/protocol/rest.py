"""The exchange's REST API without I/O: path in; status, headers and JSON out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from pairlab.local_exchange.protocol.messages import (
    KLINE_INTERVALS_MS,
    AggTrade,
    Kline,
    SymbolInfo,
)

__all__ = ["Rest", "RestReply", "RestSource", "refusal"]

_MAX_AGG_AGE_S: Final = 48 * 3_600
"""Binance returns no older aggregated trades."""

_REFUSALS: Final = {
    403: b"<html><head><title>403 Forbidden</title></head></html>",
    418: b'{"code":-1003,"msg":"Way too many requests; IP banned."}',
    429: b'{"code":-1003,"msg":"Too many requests."}',
    451: b'{"code":0,"msg":"Service unavailable from a restricted location."}',
    503: b'{"code":-1008,"msg":"Server is currently overloaded with other requests."}',
}


@dataclass(frozen=True, slots=True)
class RestReply:
    """An HTTP response.

    Attributes
    ----------
    status : int
        HTTP status.
    body : bytes
        JSON.
    headers : dict of str to str
        In addition to length and type.
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class _BadRequestError(Exception):
    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class RestSource(Protocol):
    """What the REST API reads: of the local exchange, its market."""

    def symbols(self) -> tuple[SymbolInfo, ...]:
        """Return the symbols, in their order."""

    def agg_trades(
        self, symbol: str, from_id: int | None, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggTrade]:
        """Return aggregated trades, oldest first; without bounds the last ones."""

    def klines(
        self, symbol: str, interval_ms: int, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[Kline]:
        """Return candles, oldest first; without bounds the last ones."""


class Rest:
    """``/fapi/v1/ping, time, exchangeInfo, aggTrades, klines`` of a source.

    Parameters
    ----------
    source : RestSource
        Provides the data.
    now_ns : callable
        The exchange's clock.
    weight_limit : int
        Request weight allowed per minute.
    """

    def __init__(self, source: RestSource, now_ns: Callable[[], int], weight_limit: int) -> None:
        self._source = source
        self._now_ns = now_ns
        self._weight_limit = weight_limit
        self._minute = -1
        self._used = 0
        self._infos: dict[str, SymbolInfo] | None = None

    @property
    def used_weight(self) -> int:
        """Weight used in the minute of the last request."""
        return self._used

    def answer(self, target: str, wall_s: float, share: float = 1.0) -> RestReply:
        """Return the response to a GET request.

        Parameters
        ----------
        target : str
            Path and query.
        wall_s : float
            Clock by which request weights are counted, seconds since any origin.
        share : float, default 1
            Fraction of a list's rows that is returned; below 1 it is a fault.
        """
        path, _, query = target.partition("?")
        params = {name: values[-1] for name, values in parse_qs(query).items()}
        minute = int(wall_s // 60)
        if minute != self._minute:
            self._minute, self._used = minute, 0
        try:
            weight, handler = self._handler(path, params)
            self._used += weight
            if self._used > self._weight_limit:
                return self._reply(
                    429,
                    {
                        "code": -1003,
                        "msg": f"Too many requests; current limit of IP is {self._weight_limit} "
                        "requests per minute. Please use the websocket for live updates to "
                        "avoid polling the API.",
                    },
                    {"Retry-After": str(max(1, 60 - int(wall_s % 60)))},
                )
            body = handler(params)
            if isinstance(body, list):
                body = body[: math.ceil(len(body) * share)]
            return self._reply(200, body)
        except _BadRequestError as error:
            return self._reply(error.status, {"code": error.code, "msg": str(error)})

    def _reply(self, status: int, body: object, headers: dict[str, str] | None = None) -> RestReply:
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        return RestReply(status, text, {"X-MBX-USED-WEIGHT-1M": str(self._used), **(headers or {})})

    def _handler(
        self, path: str, params: dict[str, str]
    ) -> tuple[int, Callable[[dict[str, str]], object]]:
        name = path.removeprefix("/fapi/v1/") if path.startswith("/fapi/v1/") else ""
        if name == "ping":
            return 1, lambda _: {}
        if name == "time":
            return 1, lambda _: {"serverTime": self._now_ns() // 1_000_000}
        if name == "exchangeInfo":
            return 1, lambda _: self._exchange_info()
        if name == "aggTrades":
            return 20, self._agg_trades
        if name == "klines":
            limit = _integer(params, "limit") or 500
            return (1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10), (
                self._klines
            )
        raise _BadRequestError(-5000, f"Path {path}, Method GET is invalid", 404)

    def _symbol(self, params: dict[str, str]) -> str:
        symbol = params.get("symbol")
        if not symbol:
            raise _BadRequestError(
                -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
            )
        if symbol not in self._symbols_by_name():
            raise _BadRequestError(-1121, "Invalid symbol.")
        return symbol

    def _symbols_by_name(self) -> dict[str, SymbolInfo]:
        if self._infos is None:
            self._infos = {info.symbol: info for info in self._source.symbols()}
        return self._infos

    def _agg_trades(self, params: dict[str, str]) -> object:
        symbol = self._symbol(params)
        from_id, start_ms, end_ms = (
            _integer(params, name) for name in ("fromId", "startTime", "endTime")
        )
        limit = _limit(params, 500, 1000)
        if from_id is not None and (start_ms is not None or end_ms is not None):
            raise _BadRequestError(-1128, "Combination of optional parameters invalid.")
        if start_ms is not None and end_ms is not None and end_ms < start_ms:
            raise _BadRequestError(-1128, "Combination of optional parameters invalid.")
        oldest = self._now_ns() // 1_000_000 - _MAX_AGG_AGE_S * 1_000
        rows = self._source.agg_trades(symbol, from_id, start_ms, end_ms, limit)
        return [row for row in rows if int(row["T"]) >= oldest]

    def _klines(self, params: dict[str, str]) -> object:
        symbol = self._symbol(params)
        interval = params.get("interval")
        if not interval:
            raise _BadRequestError(
                -1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed."
            )
        if interval not in KLINE_INTERVALS_MS:
            raise _BadRequestError(-1120, "Invalid interval.")
        start_ms, end_ms = (_integer(params, name) for name in ("startTime", "endTime"))
        return self._source.klines(
            symbol, KLINE_INTERVALS_MS[interval], start_ms, end_ms, _limit(params, 500, 1500)
        )

    def _exchange_info(self) -> object:
        return {
            "timezone": "UTC",
            "serverTime": self._now_ns() // 1_000_000,
            "futuresType": "U_MARGINED",
            "rateLimits": [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": self._weight_limit,
                },
                {
                    "rateLimitType": "ORDERS",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": 1200,
                },
            ],
            "exchangeFilters": [],
            "assets": [],
            "symbols": [_describe(info) for info in self._symbols_by_name().values()],
        }


def refusal(status: int, retry_after_s: float) -> RestReply:
    """Return the response of the exchange, or of its firewall, with this HTTP status."""
    body = _REFUSALS.get(status, b'{"code":-1000,"msg":"An unknown error occurred."}')
    headers = {}
    if status in (418, 429, 503):
        headers["Retry-After"] = str(math.ceil(retry_after_s))
    return RestReply(status, body, headers)


def _describe(info: SymbolInfo) -> dict[str, Any]:
    quote = next((q for q in ("USDT", "USDC", "BUSD") if info.symbol.endswith(q)), "")
    return {
        "symbol": info.symbol,
        "pair": info.symbol,
        "contractType": "PERPETUAL",
        "status": "TRADING",
        "baseAsset": info.symbol.removesuffix(quote),
        "quoteAsset": quote,
        "marginAsset": quote,
        "pricePrecision": info.price_precision,
        "quantityPrecision": info.quantity_precision,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": info.tick_size,
                "maxPrice": "10000000",
                "tickSize": info.tick_size,
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": info.step_size,
                "maxQty": "1000000",
                "stepSize": info.step_size,
            },
        ],
    }


def _integer(params: dict[str, str], name: str) -> int | None:
    text = params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise _BadRequestError(
            -1102,
            f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.",
        )
    return int(text)


def _limit(params: dict[str, str], default: int, maximum: int) -> int:
    limit = _integer(params, "limit")
    if limit is None:
        return default
    if not 1 <= limit <= maximum:
        raise _BadRequestError(-1130, "Data sent for parameter 'limit' is not valid.")
    return limit
