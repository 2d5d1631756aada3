"""Malformed messages, which an exchange should not send but a client must survive."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

__all__ = ["CORRUPTIONS", "corrupt", "not_available"]

_PRICE: Final = re.compile(rb'"(p|b)":"[^"]*"')
_QUANTITY: Final = re.compile(rb'"q":"[^"]*"')
_KEY: Final = re.compile(rb'"p":"[^"]*",?|"b":"[^"]*",?')

CORRUPTIONS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "truncated": lambda payload: payload[: len(payload) * 2 // 3],
    "empty": lambda _: b"",
    "not JSON": lambda _: b"<html><body>502 Bad Gateway</body></html>",
    "binary": lambda payload: bytes((value * 7 + 128) % 256 for value in payload),
    "wrong types": lambda payload: _PRICE.sub(rb'"\1":[1,2]', payload),
    "missing key": lambda payload: _KEY.sub(b"", payload),
    "NaN price": lambda payload: _PRICE.sub(rb'"\1":"NaN"', payload),
    "infinite price": lambda payload: _PRICE.sub(rb'"\1":"1e999"', payload),
    "negative price": lambda payload: _PRICE.sub(rb'"\1":"-1.5"', payload),
    "price in words": lambda payload: _PRICE.sub(rb'"\1":"sixty"', payload),
    "no data": lambda _: b'{"stream":"btcusdt@trade"}',
    "an array": lambda _: b"[[[1,2,3]]]",
    "a number": lambda _: b"17",
    "null": lambda _: b"null",
    "an error": lambda _: b'{"error":{"code":2,"msg":"Invalid request: unknown variant"},"id":99}',
    "another stream": lambda payload: payload.replace(b"usdt@", b"eur@").replace(b"USDT", b"EUR"),
}
"""Ways to corrupt the JSON of a message, by name."""


def corrupt(number: int, payload: bytes) -> bytes:
    """Return a copy of a combined-stream message, corrupted in the `number`-th way."""
    ways = list(CORRUPTIONS.values())
    return ways[number % len(ways)](payload)


def not_available(payload: bytes) -> bytes:
    """Return a trade as a row that only consumes its id: ``X="NA"``, price and quantity "0"."""
    payload = _PRICE.sub(rb'"\1":"0"', payload, count=1)
    payload = _QUANTITY.sub(b'"q":"0"', payload, count=1)
    return re.sub(rb'"X":"[A-Z_]*"', b'"X":"NA"', payload)
