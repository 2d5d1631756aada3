"""Frames that no exchange should send, and clients must survive."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

__all__ = ["BROKEN", "broken_frame", "not_available"]

_PRICE: Final = re.compile(rb'"(p|b)":"[^"]*"')
_QUANTITY: Final = re.compile(rb'"q":"[^"]*"')
_KEY: Final = re.compile(rb'"p":"[^"]*",?|"b":"[^"]*",?')

BROKEN: Final[dict[str, Callable[[bytes], bytes]]] = {
    "truncated": lambda frame: frame[: len(frame) * 2 // 3],
    "empty": lambda _: b"",
    "not JSON": lambda _: b"<html><body>502 Bad Gateway</body></html>",
    "binary": lambda frame: bytes((value * 7 + 128) % 256 for value in frame),
    "wrong types": lambda frame: _PRICE.sub(rb'"\1":[1,2]', frame),
    "missing key": lambda frame: _KEY.sub(b"", frame),
    "NaN price": lambda frame: _PRICE.sub(rb'"\1":"NaN"', frame),
    "infinite price": lambda frame: _PRICE.sub(rb'"\1":"1e999"', frame),
    "negative price": lambda frame: _PRICE.sub(rb'"\1":"-1.5"', frame),
    "price in words": lambda frame: _PRICE.sub(rb'"\1":"sixty"', frame),
    "no data": lambda _: b'{"stream":"btcusdt@trade"}',
    "an array": lambda _: b"[[[1,2,3]]]",
    "a number": lambda _: b"17",
    "null": lambda _: b"null",
    "an error": lambda _: b'{"error":{"code":2,"msg":"Invalid request: unknown variant"},"id":99}',
    "another stream": lambda frame: frame.replace(b"usdt@", b"eur@").replace(b"USDT", b"EUR"),
}
"""Ways to break a frame, by name."""


def broken_frame(number: int, frame: bytes) -> bytes:
    """Return a copy of a combined-stream frame, broken in the way whose turn it is."""
    ways = list(BROKEN.values())
    return ways[number % len(ways)](frame)


def not_available(frame: bytes) -> bytes:
    """Return a trade as the row that only uses up its id: ``X="NA"``, price and quantity "0"."""
    frame = _PRICE.sub(rb'"\1":"0"', frame, count=1)
    frame = _QUANTITY.sub(b'"q":"0"', frame, count=1)
    return re.sub(rb'"X":"[A-Z_]*"', b'"X":"NA"', frame)
