"""Several markets on one exchange, for feeds of many symbols."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from pairlab.errors import SettingError
from pairlab.local_exchange.market.market import (
    Market,
    StartCondition,
    check_speed,
    check_start_condition,
)
from pairlab.local_exchange.protocol.messages import AggTrade, Kline, Message, SymbolInfo

__all__ = ["MarketGroup"]

_TAKE_STEP_NS: Final = 10_000_000


class MarketGroup:
    """Markets on one common clock, which starts with the earliest of them.

    Each market keeps its own order; between markets, messages are in order to within 10 ms.

    Parameters
    ----------
    markets : sequence of Market
        Of different symbols. Their own `speed` and `start_condition` are ignored.
    speed : float or None, default 1.0
        Seconds of the markets per second; None: as fast as the slowest client reads.
    start_condition : {"open", "subscribed"} or names of streams, default "open"
        When the clock starts. With ``speed=None``, "open" becomes "subscribed".

    Raises
    ------
    SettingError
        Without markets, or for a symbol in two of them.

    Examples
    --------
    >>> from pairlab.local_exchange import SyntheticMarket
    >>> pairs = [("AUSDT", "BUSDT"), ("CUSDT", "DUSDT")]
    >>> group = MarketGroup(
    ...     [SyntheticMarket(seed=i, symbols=pair) for i, pair in enumerate(pairs)]
    ... )
    >>> [info.symbol for info in group.symbols()]
    ['AUSDT', 'BUSDT', 'CUSDT', 'DUSDT']
    """

    def __init__(
        self,
        markets: Sequence[Market],
        *,
        speed: float | None = 1.0,
        start_condition: StartCondition = "open",
    ) -> None:
        if not markets:
            raise SettingError("markets", markets, "expected at least one market")
        self._markets = tuple(markets)
        self.speed = check_speed(speed)
        self.start_condition = check_start_condition(start_condition, self.speed)
        self._index_symbols()

    @property
    def start_ns(self) -> int:
        """Where the clock starts, ns."""
        return min(market.start_ns for market in self._markets)

    @property
    def position_ns(self) -> int:
        """Time of the last message taken, ns."""
        return max(market.position_ns for market in self._markets)

    def open(self) -> None:
        """Open every market."""
        for market in self._markets:
            market.open()
        self._index_symbols()

    def symbols(self) -> tuple[SymbolInfo, ...]:
        """Return all symbols, market by market."""
        return tuple(info for market in self._markets for info in market.symbols())

    def has_stream(self, stream: str) -> bool:
        """Return whether one of the markets has the stream."""
        return any(market.has_stream(stream) for market in self._markets)

    def next_ns(self) -> int | None:
        """Return when the earliest of the markets' messages is due, ns."""
        return min((t for m in self._markets if (t := m.next_ns()) is not None), default=None)

    def take(self, until_ns: int | None, wanted: Collection[str], limit: int) -> list[Message]:
        """Return the messages due in any of the markets, about `limit` of each at most."""
        if until_ns is None:
            first_ns = self.next_ns()
            if first_ns is None:
                return []
            until_ns = first_ns + _TAKE_STEP_NS
        messages: list[Message] = []
        for market in self._markets:
            next_ns = market.next_ns()
            if next_ns is not None and next_ns <= until_ns:
                messages += market.take(until_ns, wanted, limit)
        return messages

    def agg_trades(
        self, symbol: str, from_id: int | None, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggTrade]:
        """Return aggregated trades sent so far."""
        return self._market_of[symbol].agg_trades(symbol, from_id, start_ms, end_ms, limit)

    def klines(
        self, symbol: str, interval_ms: int, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[Kline]:
        """Return candles up to now."""
        return self._market_of[symbol].klines(symbol, interval_ms, start_ms, end_ms, limit)

    def _index_symbols(self) -> None:
        self._market_of: dict[str, Market] = {}
        for market in self._markets:
            for info in market.symbols():
                if info.symbol in self._market_of:
                    raise SettingError(
                        "markets", info.symbol, "expected each symbol in one market only"
                    )
                self._market_of[info.symbol] = market
