"""Former import path of `pairlab.local_exchange`, kept for code that uses it."""

from pairlab.local_exchange import (
    ENDED,
    FAULT_KINDS,
    REPAIRABLE,
    ExchangeStats,
    Fault,
    Faults,
    LocalExchange,
    Market,
    MarketGroup,
    Message,
    Recording,
    SymbolInfo,
    SyntheticMarket,
)

__all__ = [
    "ENDED",
    "FAULT_KINDS",
    "REPAIRABLE",
    "ExchangeStats",
    "Fault",
    "Faults",
    "LocalExchange",
    "Market",
    "MarketGroup",
    "Message",
    "Recording",
    "SymbolInfo",
    "SyntheticMarket",
]
