"""The bytes of the stream: frames as Binance writes them, and WebSocket frames around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pairlab.local_exchange.market.market import Message

__all__ = [
    "Instrument",
    "binary_frame",
    "text_frame",
    "unwrap",
    "write_aggs",
    "write_quotes",
    "write_trades",
]

Ints = NDArray[np.int64]


def unwrap(frame: bytes) -> bytes:
    """Return the payload of a combined-stream frame, byte for byte."""
    return frame[frame.index(b'"data":') + 7 : frame.rindex(b"}")].strip()


def text_frame(payload: bytes) -> bytes:
    """Return the WebSocket text frame of a payload, as a server without extensions sends it."""
    return _frame(b"\x81", payload)


def binary_frame(payload: bytes) -> bytes:
    """Return the WebSocket binary frame of a payload."""
    return _frame(b"\x82", payload)


def _frame(first: bytes, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return first + bytes((size,)) + payload
    if size < 1 << 16:
        return first + b"\x7e" + size.to_bytes(2, "big") + payload
    return first + b"\x7f" + size.to_bytes(8, "big") + payload


@dataclass(frozen=True, slots=True)
class Instrument:
    """One leg's symbol and its grid of prices and quantities.

    Attributes
    ----------
    symbol : str
        Upper case.
    price_decimals, quantity_decimals : int
        The tick is 10 ** -price_decimals, the lot 10 ** -quantity_decimals.
    """

    symbol: str
    price_decimals: int
    quantity_decimals: int

    @property
    def ticks(self) -> int:
        """Ticks in a price of 1."""
        return int(10**self.price_decimals)

    @property
    def lots(self) -> int:
        """Lots in a quantity of 1."""
        return int(10**self.quantity_decimals)

    def price(self, ticks: int) -> str:
        """Return a price as the exchange writes it."""
        return _decimal(ticks, self.price_decimals)

    def quantity(self, lots: int) -> str:
        """Return a quantity as the exchange writes it."""
        return _decimal(lots, self.quantity_decimals)


def _decimal(units: int, decimals: int) -> str:
    if not decimals:
        return str(units)
    whole, part = divmod(units, int(10**decimals))
    return f"{whole}.{part:0{decimals}d}"


def write_trades(
    columns: dict[str, Ints], instruments: tuple[Instrument, Instrument], names: tuple[str, ...]
) -> list[Message]:
    """Return the ``@trade`` frames of these columns; `names` are the streams of both legs."""
    form = (
        '{"stream":"%s","data":{"e":"trade","E":%d,"T":%d,"s":"%s","t":%d,'
        '"p":"%s","q":"%s","X":"MARKET","m":%s}}'
    )
    values = (columns[name].tolist() for name in ("leg", "T", "id", "p", "q", "m"))
    messages = []
    for leg, t, id_, p, q, m in zip(*values, strict=True):
        name, of = names[leg], instruments[leg]
        maker = "true" if m else "false"
        text = form % (name, t, t, of.symbol, id_, of.price(p), of.quantity(q), maker)
        messages.append((name, text.encode()))
    return messages


def write_aggs(
    columns: dict[str, Ints], instruments: tuple[Instrument, Instrument], names: tuple[str, ...]
) -> list[Message]:
    """Return the ``@aggTrade`` frames of these columns; `names` are the streams of both legs."""
    form = (
        '{"stream":"%s","data":{"e":"aggTrade","E":%d,"a":%d,"s":"%s","p":"%s","q":"%s",'
        '"f":%d,"l":%d,"T":%d,"m":%s}}'
    )
    values = (columns[name].tolist() for name in ("leg", "T", "id", "p", "q", "f", "l", "m"))
    messages = []
    for leg, t, id_, p, q, f, last, m in zip(*values, strict=True):
        name, of = names[leg], instruments[leg]
        maker = "true" if m else "false"
        text = form % (name, t, id_, of.symbol, of.price(p), of.quantity(q), f, last, t, maker)
        messages.append((name, text.encode()))
    return messages


def write_quotes(
    columns: dict[str, Ints], instruments: tuple[Instrument, Instrument], names: tuple[str, ...]
) -> list[Message]:
    """Return the ``@bookTicker`` frames of these columns; `names` are the streams of both legs."""
    form = (
        '{"stream":"%s","data":{"e":"bookTicker","u":%d,"s":"%s","b":"%s","B":"%s",'
        '"a":"%s","A":"%s","T":%d,"E":%d}}'
    )
    values = (columns[name].tolist() for name in ("leg", "T", "id", "b", "B", "A"))
    messages = []
    for leg, t, id_, b, bid_size, ask_size in zip(*values, strict=True):
        name, of = names[leg], instruments[leg]
        bid, ask = of.quantity(bid_size), of.quantity(ask_size)
        text = form % (name, id_, of.symbol, of.price(b), bid, of.price(b + 1), ask, t, t)
        messages.append((name, text.encode()))
    return messages
