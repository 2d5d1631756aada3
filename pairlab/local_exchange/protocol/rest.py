"""The exchange's REST, without I/O: a path in, a status, headers and JSON out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

from pairlab.local_exchange.market.candles import INTERVALS_MS
from pairlab.local_exchange.market.market import Market, SymbolInfo

__all__ = ["Rest", "RestReply", "refusal"]

_OLDEST_AGG_S: Final = 48 * 3_600


_REFUSALS: Final = {
    403: b"<html><head><title>403 Forbidden</title></head></html>",
    418: b'{"code":-1003,"msg":"Way too many requests; IP banned."}',
    429: b'{"code":-1003,"msg":"Too many requests."}',
    451: b'{"code":0,"msg":"Service unavailable from a restricted location."}',
    503: b'{"code":-1008,"msg":"Server is currently overloaded with other requests."}',
}


@dataclass(frozen=True, slots=True)
class RestReply:
    """An HTTP answer.

    Attributes
    ----------
    status : int
        HTTP status.
    body : bytes
        JSON.
    headers : dict of str to str
        Besides length and type.
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class _BadRequestError(Exception):
    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Rest:
    """``/fapi/v1/ping, time, exchangeInfo, aggTrades, klines`` of a market.

    Parameters
    ----------
    market : Market
        What is asked.
    now_ns : callable
        The market's clock.
    weight_limit : int
        Request weight that one minute allows.
    """

    def __init__(self, market: Market, now_ns: Callable[[], int], weight_limit: int) -> None:
        self._market = market
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
        """Return the answer to a GET.

        Parameters
        ----------
        target : str
            Path and query.
        wall_s : float
            Seconds by which request weights are counted, of any origin.
        share : float, default 1
            Of the rows of a list, the first part that is answered; below 1 it is a fault.
        """
        path, _, query = target.partition("?")
        params = {name: values[-1] for name, values in parse_qs(query).items()}
        minute = int(wall_s // 60)
        if minute != self._minute:
            self._minute, self._used = minute, 0
        try:
            weight, handler = self._find(path, params)
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

    def _find(
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
            limit = _whole(params, "limit") or 500
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
        if symbol not in self._listed():
            raise _BadRequestError(-1121, "Invalid symbol.")
        return symbol

    def _listed(self) -> dict[str, SymbolInfo]:
        if self._infos is None:
            self._infos = {info.symbol: info for info in self._market.symbols()}
        return self._infos

    def _agg_trades(self, params: dict[str, str]) -> object:
        symbol = self._symbol(params)
        from_id, start_ms, end_ms = (
            _whole(params, name) for name in ("fromId", "startTime", "endTime")
        )
        limit = _limit(params, 500, 1000)
        if from_id is not None and (start_ms is not None or end_ms is not None):
            raise _BadRequestError(-1128, "Combination of optional parameters invalid.")
        if start_ms is not None and end_ms is not None and end_ms < start_ms:
            raise _BadRequestError(-1128, "Combination of optional parameters invalid.")
        oldest = self._now_ns() // 1_000_000 - _OLDEST_AGG_S * 1_000
        rows = self._market.agg_trades(symbol, from_id, start_ms, end_ms, limit)
        return [row for row in rows if int(row["T"]) >= oldest]

    def _klines(self, params: dict[str, str]) -> object:
        symbol = self._symbol(params)
        interval = params.get("interval")
        if not interval:
            raise _BadRequestError(
                -1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed."
            )
        if interval not in INTERVALS_MS:
            raise _BadRequestError(-1120, "Invalid interval.")
        start_ms, end_ms = (_whole(params, name) for name in ("startTime", "endTime"))
        return self._market.klines(
            symbol, INTERVALS_MS[interval], start_ms, end_ms, _limit(params, 500, 1500)
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
            "symbols": [_describe(info) for info in self._listed().values()],
        }


def refusal(status: int, retry_after_s: float) -> RestReply:
    """Return what the exchange, or what stands before it, answers with this HTTP status."""
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


def _whole(params: dict[str, str], name: str) -> int | None:
    text = params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise _BadRequestError(
            -1102,
            f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.",
        )
    return int(text)


def _limit(params: dict[str, str], default: int, most: int) -> int:
    limit = _whole(params, "limit")
    if limit is None:
        return default
    if not 1 <= limit <= most:
        raise _BadRequestError(-1130, "Data sent for parameter 'limit' is not valid.")
    return limit
