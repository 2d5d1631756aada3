"""A Binance on localhost: a market, synthetic or recorded, behind the real protocol.

Demo, replay and tests all use it, so that one feed speaks to one protocol::

    async with LocalExchange(SyntheticMarket(seed=7)) as exchange:
        lab = PairLab("BTCUSDT", "ETHUSDT", feed=exchange.url)

``python -m pairlab.local_exchange --seed 7 --rate 2000`` runs one as a process of its own.
"""

from pairlab.local_exchange.market.market import Market, Message, SymbolInfo
from pairlab.local_exchange.market.market_group import MarketGroup
from pairlab.local_exchange.market.recording import Recording
from pairlab.local_exchange.market.synthetic import SyntheticMarket
from pairlab.local_exchange.server.faults import FAULT_KINDS, REPAIRABLE, Fault, Faults
from pairlab.local_exchange.server.server import ENDED, ExchangeStats, LocalExchange

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
