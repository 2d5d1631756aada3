"""The interface of a market that the exchange serves, synthetic or recorded."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal, Protocol, TypeAlias

from pairlab.errors import SettingError
from pairlab.local_exchange.protocol.messages import AggTrade, Kline, Message, SymbolInfo

__all__ = ["Market", "StartCondition", "check_speed", "check_start_condition", "is_met"]

StartCondition: TypeAlias = Literal["open", "subscribed"] | Collection[str]
"""When a market's clock starts: with the exchange, at the first subscription to any of its
streams, or when every one of these streams is subscribed."""

_MAX_SPEED: Final = 1e6
_EXPECTED_SPEED: Final = "expected None (as fast as possible), or above 0, at most 1e6"
_EXPECTED_START: Final = "expected 'open', 'subscribed' or names of streams"


class Market(Protocol):
    """Messages in order of time, and the REST data of what was sent so far.

    Attributes
    ----------
    speed : float or None
        Seconds of the market per second of wall-clock time; None: as fast as possible.
    start_condition : StartCondition
        When its clock starts.
    """

    speed: float | None
    start_condition: StartCondition

    @property
    def start_ns(self) -> int:
        """First time of its clock, ns since 1970 UTC; known after `open`."""

    @property
    def position_ns(self) -> int:
        """Time of the last message taken, ns."""

    def open(self) -> None:
        """Load and rewind to the beginning; may block, so it is called off the event loop."""

    def symbols(self) -> tuple[SymbolInfo, ...]:
        """Return the symbols, in their order."""

    def has_stream(self, stream: str) -> bool:
        """Return whether the market has messages of this stream."""

    def next_ns(self) -> int | None:
        """Return when the next message is due at the earliest, ns; None at the market's end."""

    def take(self, until_ns: int | None, wanted: Collection[str], limit: int) -> list[Message]:
        """Return the messages of `wanted` streams due by then, and skip all others.

        Parameters
        ----------
        until_ns : int or None
            The clock, ns; None: the next messages whenever they are due.
        wanted : collection of str
            Names of streams.
        limit : int
            Approximate maximum number of messages; the rest stays for the next call.
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


def check_start_condition(condition: StartCondition, speed: float | None) -> StartCondition:
    """Return the condition under which a market of this speed starts.

    A market without pauses that started with the exchange would be over before anybody
    subscribes: "open" then means "subscribed".

    Raises
    ------
    SettingError
        Unless it is "open", "subscribed" or a collection of stream names.
    """
    if isinstance(condition, str):
        if condition not in ("open", "subscribed"):
            raise SettingError("start_condition", condition, _EXPECTED_START)
        return "subscribed" if condition == "open" and speed is None else condition
    names = frozenset(condition)
    if not names or not all(isinstance(name, str) and "@" in name for name in names):
        raise SettingError("start_condition", condition, _EXPECTED_START)
    return names


def is_met(condition: StartCondition, subscribed: Collection[str]) -> bool:
    """Return whether a market with this start condition starts under these subscriptions."""
    if condition == "open":
        return True
    if condition == "subscribed":
        return bool(subscribed)
    return set(condition) <= set(subscribed)
