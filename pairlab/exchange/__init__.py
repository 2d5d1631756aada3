"""A Binance on localhost: a market, synthetic or recorded, behind the real protocol.

Demo, replay and tests all use it, so that one feed speaks to one protocol::

    async with LocalExchange(SyntheticMarket(seed=7)) as exchange:
        lab = PairLab("BTCUSDT", "ETHUSDT", feed=exchange.url)

``python -m pairlab.exchange --seed 7 --rate 2000`` runs one as a process of its own.
"""

from pairlab.exchange.faults import FAULT_KINDS, REPAIRABLE, Fault, Faults
from pairlab.exchange.group import MarketGroup
from pairlab.exchange.market import Market, Message, SymbolInfo
from pairlab.exchange.recording import Recording
from pairlab.exchange.server import ENDED, ExchangeStats, LocalExchange
from pairlab.exchange.synthetic import SyntheticMarket

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
