"""What ``/fapi/v1/exchangeInfo`` says: symbols, their price steps and status, the weight limit."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from pairlab.errors import UnknownSymbolError
from pairlab.feeds.binance.lenient import ListDecoder

__all__ = ["DEFAULT_WEIGHT_PER_MIN", "ExchangeInfo", "read_exchange_info"]

DEFAULT_WEIGHT_PER_MIN: Final = 2400
_TRADING: Final = "TRADING"
_MOST_DECIMALS: Final = 30  # of a price step that is believed
_LATEST_MS: Final = 4_102_444_800_000  # the year 2100: later dates are placeholders

_MEANINGS: Final = {
    "PENDING_TRADING": "its trading has not begun yet",
    "PRE_DELIVERING": "it is about to be delivered and takes no more trades",
    "DELIVERING": "it is being delivered and takes no more trades",
    "DELIVERED": "the contract was delivered; it does not trade any more",
    "PRE_SETTLE": "it is about to be settled and takes no more trades",
    "SETTLING": "it is being settled and takes no more trades",
    "CLOSE": "the contract is closed; it does not trade any more",
    "PRE_TRADING": "its trading has not begun yet",
    "POST_TRADING": "its trading has ended",
    "END_OF_DAY": "its trading day has ended",
    "AUCTION_MATCH": "it is in an auction",
    "HALT": "its trading is halted",
    "BREAK": "its trading is interrupted",
}


class _Symbol(msgspec.Struct, rename="camel"):
    # Only the name must be right: a symbol with an odd filter or status is still listed.
    symbol: str
    filters: Any = None
    status: Any = _TRADING
    onboard_date: Any = None


class _RateLimit(msgspec.Struct, rename="camel"):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class _Answer(msgspec.Struct, rename="camel"):
    symbols: msgspec.Raw
    rate_limits: msgspec.Raw = msgspec.Raw(b"[]")


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_SYMBOLS: Final[ListDecoder[_Symbol]] = ListDecoder(_Symbol)
_RATE_LIMITS: Final[ListDecoder[_RateLimit]] = ListDecoder(_RateLimit)


@dataclass(frozen=True, slots=True)
class ExchangeInfo:
    """What the exchange says of its symbols and limits.

    Attributes
    ----------
    tick_sizes : Mapping[str, str]
        Smallest price step by symbol, as the exchange writes it; empty where it gives none.
    weight_per_min : int
        REST weight that one address may spend in a minute.
    statuses : Mapping[str, str]
        Of the symbols that do not trade, in the exchange's own word.
    onboard_ms : Mapping[str, int]
        When the trading of a symbol that does not trade begins or began, ms since 1970 UTC.
    """

    tick_sizes: Mapping[str, str]
    weight_per_min: int
    statuses: Mapping[str, str] = field(default_factory=dict)
    onboard_ms: Mapping[str, int] = field(default_factory=dict)

    def lists(self, symbols: tuple[str, ...]) -> bool:
        """Return whether all of these are listed."""
        return all(symbol in self.tick_sizes for symbol in symbols)

    def check(self, symbols: tuple[str, ...]) -> None:
        """Raise `UnknownSymbolError` for the first symbol that is not listed.

        Raises
        ------
        UnknownSymbolError
            It names the symbol and the closest ones that are listed.
        """
        for symbol in symbols:
            if self.lists((symbol,)):
                continue
            close = difflib.get_close_matches(symbol.upper(), self.tick_sizes, n=3, cutoff=0.6)
            hint = f"did you mean {' or '.join(close)}?" if close else "check its spelling"
            raise UnknownSymbolError(f"the exchange does not list {symbol!r}: {hint}")

    def not_trading(self, symbol: str) -> str:
        """Return in a sentence why a symbol does not trade; empty if it does."""
        if symbol not in self.tick_sizes:
            return f"{symbol} does not trade: the exchange does not list it any more"
        status = self.statuses.get(symbol, "")
        if not status:
            return ""
        meaning = _MEANINGS.get(status, "the exchange gives no other reason")
        begins_ms = self.onboard_ms.get(symbol)
        if begins_ms is not None and status in ("PENDING_TRADING", "PRE_TRADING"):
            begins = datetime.fromtimestamp(begins_ms / 1000, UTC)
            meaning += f", it begins {begins:%Y-%m-%d %H:%M} UTC"
        return f"{symbol} does not trade: {meaning} (status {status})"

    def decimals(self, symbol: str) -> int | None:
        """Return the decimals of a symbol's tick size, None where there is none."""
        try:
            step = Decimal(self.tick_sizes[symbol]).normalize()
        except (KeyError, InvalidOperation):
            return None
        exponent = step.as_tuple().exponent
        if not isinstance(exponent, int) or step <= 0 or -exponent > _MOST_DECIMALS:
            return None
        return max(0, -exponent)


def read_exchange_info(raw: bytes, report: Callable[[str], None]) -> ExchangeInfo:
    """Return what an answer says; entries of its lists that cannot be read are left out.

    Parameters
    ----------
    raw : bytes
        The body.
    report : callable
        Takes a sentence about entries that were left out.

    Raises
    ------
    msgspec.MsgspecError, ValueError
        If it has no list of symbols, or none that can be read.
    """
    answer = _ANSWER.decode(raw)
    weight = DEFAULT_WEIGHT_PER_MIN
    try:
        limits = _RATE_LIMITS.decode(answer.rate_limits, report)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        limits = []
        report(f"the rate limits cannot be read ({error}); {weight:,} a minute are assumed")
    for limit in limits:
        if limit.rate_limit_type != "REQUEST_WEIGHT" or limit.interval != "MINUTE":
            continue
        if limit.limit > 0 and limit.interval_num > 0:
            weight = max(1, limit.limit // limit.interval_num)
        else:  # taken at its word it would let nothing be asked for ever
            report(
                f"a rate limit of {limit.limit} in {limit.interval_num} minutes cannot be meant; "
                f"{weight:,} a minute are assumed"
            )
    sizes, statuses, onboard_ms = {}, {}, {}
    for symbol in _SYMBOLS.decode(answer.symbols, report):
        sizes[symbol.symbol] = _tick_size(symbol.filters)
        if isinstance(symbol.status, str) and symbol.status != _TRADING:
            statuses[symbol.symbol] = symbol.status
            date = symbol.onboard_date
            if type(date) is int and 0 < date < _LATEST_MS:
                onboard_ms[symbol.symbol] = date
    if not sizes:
        raise ValueError("its list of symbols is empty")
    return ExchangeInfo(sizes, weight, statuses, onboard_ms)


def _tick_size(filters: object) -> str:
    if isinstance(filters, list):
        for each in filters:
            if isinstance(each, dict) and each.get("filterType") == "PRICE_FILTER":
                return str(each.get("tickSize", ""))
    return ""
