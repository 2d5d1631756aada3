"""What the exchange asks of a market, synthetic or recorded."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from pairlab.errors import SettingError

__all__ = [
    "AggTrade",
    "Begins",
    "Kline",
    "Market",
    "Message",
    "SymbolInfo",
    "check_begins",
    "check_speed",
]

Message: TypeAlias = tuple[str, bytes]
"""A stream's name, and its frame as a combined stream sends it (``{"stream":…,"data":…}``)."""

AggTrade: TypeAlias = dict[str, int | str | bool]
"""One aggregated trade as REST answers it: ``a p q f l T m``."""

Kline: TypeAlias = list[int | str]
"""One candle as REST answers it: twelve fields in Binance's order."""

Begins: TypeAlias = Literal["open", "subscribed"] | Collection[str]
"""When a market's clock starts: with the exchange, at the first subscription to any of its
streams, or when every one of these streams is subscribed."""

_MAX_SPEED: Final = 1e6
_EXPECTED_SPEED: Final = "expected None (as fast as possible), or above 0, at most 1e6"
_EXPECTED_START: Final = "expected 'open', 'subscribed' or names of streams"


@dataclass(frozen=True, slots=True)
class SymbolInfo:
    """What ``exchangeInfo`` tells about a symbol.

    Attributes
    ----------
    symbol : str
        Upper case, as REST wants it.
    tick_size, step_size : str
        Smallest step of a price and of a quantity, as decimals.
    price_precision, quantity_precision : int
        Digits after the point in prices and quantities as they are sent.
    """

    symbol: str
    tick_size: str
    step_size: str
    price_precision: int
    quantity_precision: int


class Market(Protocol):
    """Frames in order of time, with the REST view of what was sent so far.

    Attributes
    ----------
    speed : float or None
        Seconds of the market per second of the clock on the wall; None: as fast as possible.
    begins : Begins
        When its clock starts.
    """

    speed: float | None
    begins: Begins

    @property
    def start_ns(self) -> int:
        """Where its clock starts, ns since 1970 UTC; known after `open`."""

    @property
    def position_ns(self) -> int:
        """Time of the last message taken, ns."""

    def open(self) -> None:
        """Make ready to begin at the beginning; may take long, is called off the loop."""

    def symbols(self) -> tuple[SymbolInfo, ...]:
        """Return the symbols, in their order."""

    def carries(self, stream: str) -> bool:
        """Return whether frames of this stream can come."""

    def next_ns(self) -> int | None:
        """Return when the next message is due at the earliest, ns; None: there is none, ever."""

    def take(self, until_ns: int | None, wanted: Collection[str], limit: int) -> list[Message]:
        """Return the messages of `wanted` streams due by then and pass over all others.

        Parameters
        ----------
        until_ns : int or None
            The clock, ns; None: whatever comes next.
        wanted : collection of str
            Names of streams.
        limit : int
            About how many messages at most; the rest stays for the next call.
        """

    def agg_trades(
        self, symbol: str, from_id: int | None, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggTrade]:
        """Return aggregated trades sent so far; without bounds the last ones."""

    def klines(
        self, symbol: str, interval_ms: int, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[Kline]:
        """Return candles up to now, the forming one included; without bounds the last ones."""


def check_speed(speed: float | None) -> float | None:
    """Return the speed, or raise a `SettingError`.

    Raises
    ------
    SettingError
        Unless it is None or a number above 0.
    """
    if speed is None:
        return None
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed <= _MAX_SPEED:
        raise SettingError("speed", speed, _EXPECTED_SPEED)
    return float(speed)


def check_begins(begins: Begins) -> Begins:
    """Return it with stream names frozen, or raise a `SettingError`."""
    if isinstance(begins, str):
        if begins not in ("open", "subscribed"):
            raise SettingError("begins", begins, _EXPECTED_START)
        return begins
    names = frozenset(begins)
    if not names or not all(isinstance(name, str) and "@" in name for name in names):
        raise SettingError("begins", begins, _EXPECTED_START)
    return names
