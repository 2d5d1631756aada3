"""Binance's messages as data: types of REST rows, and the JSON of the streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "KLINE_INTERVALS_MS",
    "AggTrade",
    "Instrument",
    "Kline",
    "Message",
    "SymbolInfo",
    "agg_trade_messages",
    "book_ticker_messages",
    "trade_messages",
    "unwrap",
]

Message: TypeAlias = tuple[str, bytes]
"""A stream's name, and the JSON of a combined stream (``{"stream":…,"data":…}``)."""

AggTrade: TypeAlias = dict[str, int | str | bool]
"""One aggregated trade as REST returns it: ``a p q f l T m``."""

Kline: TypeAlias = list[int | str]
"""One candle as REST returns it: twelve fields in Binance's order."""

Ints = NDArray[np.int64]

_MINUTE_MS: Final = 60_000

KLINE_INTERVALS_MS: Final = {
    "1m": _MINUTE_MS,
    "3m": 3 * _MINUTE_MS,
    "5m": 5 * _MINUTE_MS,
    "15m": 15 * _MINUTE_MS,
    "30m": 30 * _MINUTE_MS,
    "1h": 60 * _MINUTE_MS,
    "2h": 120 * _MINUTE_MS,
    "4h": 240 * _MINUTE_MS,
    "6h": 360 * _MINUTE_MS,
    "8h": 480 * _MINUTE_MS,
    "12h": 720 * _MINUTE_MS,
    "1d": 1440 * _MINUTE_MS,
}
"""Length of each candle interval that REST and the streams offer, ms."""


@dataclass(frozen=True, slots=True)
class SymbolInfo:
    """A symbol's entry in ``exchangeInfo``.

    Attributes
    ----------
    symbol : str
        Upper case, as REST expects it.
    tick_size, step_size : str
        Smallest increment of a price and of a quantity, as decimals.
    price_precision, quantity_precision : int
        Decimal places of prices and quantities in messages.
    """

    symbol: str
    tick_size: str
    step_size: str
    price_precision: int
    quantity_precision: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """One leg's symbol, tick size and lot size.

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


def unwrap(payload: bytes) -> bytes:
    """Return the ``data`` of a combined-stream message, byte for byte."""
    return payload[payload.index(b'"data":') + 7 : payload.rindex(b"}")].strip()


def trade_messages(
    columns: dict[str, Ints], instruments: tuple[Instrument, Instrument], names: tuple[str, ...]
) -> list[Message]:
    """Return the ``@trade`` messages of these columns; `names` are the streams of both legs."""
    template = (
        '{"stream":"%s","data":{"e":"trade","E":%d,"T":%d,"s":"%s","t":%d,'
        '"p":"%s","q":"%s","X":"MARKET","m":%s}}'
    )
    values = (columns[name].tolist() for name in ("leg", "T", "id", "p", "q", "m"))
    messages = []
    for leg, t, id_, p, q, m in zip(*values, strict=True):
        name, of = names[leg], instruments[leg]
        maker = "true" if m else "false"
        text = template % (name, t, t, of.symbol, id_, of.price(p), of.quantity(q), maker)
        messages.append((name, text.encode()))
    return messages


def agg_trade_messages(
    columns: dict[str, Ints], instruments: tuple[Instrument, Instrument], names: tuple[str, ...]
) -> list[Message]:
    """Return the ``@aggTrade`` messages of these columns; `names` are the streams of both legs."""
    template = (
        '{"stream":"%s","data":{"e":"aggTrade","E":%d,"a":%d,"s":"%s","p":"%s","q":"%s",'
        '"f":%d,"l":%d,"T":%d,"m":%s}}'
    )
    values = (columns[name].tolist() for name in ("leg", "T", "id", "p", "q", "f", "l", "m"))
    messages = []
    for leg, t, id_, p, q, f, last, m in zip(*values, strict=True):
        name, of = names[leg], instruments[leg]
        maker = "true" if m else "false"
        text = template % (name, t, id_, of.symbol, of.price(p), of.quantity(q), f, last, t, maker)
        messages.append((name, text.encode()))
    return messages


def book_ticker_messages(
    columns: dict[str, Ints], instruments: tuple[Instrument, Instrument], names: tuple[str, ...]
) -> list[Message]:
    """Return the ``@bookTicker`` messages of these columns; `names` are both legs' streams."""
    template = (
        '{"stream":"%s","data":{"e":"bookTicker","u":%d,"s":"%s","b":"%s","B":"%s",'
        '"a":"%s","A":"%s","T":%d,"E":%d}}'
    )
    values = (columns[name].tolist() for name in ("leg", "T", "id", "b", "B", "A"))
    messages = []
    for leg, t, id_, b, bid_size, ask_size in zip(*values, strict=True):
        name, of = names[leg], instruments[leg]
        bid, ask = of.quantity(bid_size), of.quantity(ask_size)
        text = template % (name, id_, of.symbol, of.price(b), bid, of.price(b + 1), ask, t, t)
        messages.append((name, text.encode()))
    return messages
