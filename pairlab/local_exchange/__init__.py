"""A Binance on localhost: a market, synthetic or recorded, behind the real protocol.

The demo, replay and the tests all use it, so that a feed has only one protocol to implement::

    async with LocalExchange(SyntheticMarket(seed=7)) as exchange:
        lab = PairLab("BTCUSDT", "ETHUSDT", feed=exchange.url)

``python -m pairlab.local_exchange --seed 7 --rate 2000`` runs one in a process of its own.

::

    protocol/   Binance's messages, WebSocket frames, control messages and REST, without I/O
    market/     sources of messages: synthetic, recorded, several at once, a universe
    server/     sockets: clients, fan-out, the market's clock, injected faults
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pairlab.local_exchange.market.market import Market, StartCondition
    from pairlab.local_exchange.market.market_group import MarketGroup
    from pairlab.local_exchange.market.recording import Recording
    from pairlab.local_exchange.market.synthetic import SyntheticMarket
    from pairlab.local_exchange.market.universe import PlantedPair, UniverseMarket
    from pairlab.local_exchange.protocol.messages import Message, SymbolInfo
    from pairlab.local_exchange.server.faults import FAULT_KINDS, REPAIRABLE, Fault, Faults
    from pairlab.local_exchange.server.pump import ENDED
    from pairlab.local_exchange.server.server import ExchangeStats, LocalExchange

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
    "PlantedPair",
    "Recording",
    "StartCondition",
    "SymbolInfo",
    "SyntheticMarket",
    "UniverseMarket",
]

_MODULES = {
    "market.market": ("Market", "StartCondition"),
    "market.market_group": ("MarketGroup",),
    "market.recording": ("Recording",),
    "market.synthetic": ("SyntheticMarket",),
    "market.universe": ("PlantedPair", "UniverseMarket"),
    "protocol.messages": ("Message", "SymbolInfo"),
    "server.faults": ("FAULT_KINDS", "REPAIRABLE", "Fault", "Faults"),
    "server.pump": ("ENDED",),
    "server.server": ("ExchangeStats", "LocalExchange"),
}


def __getattr__(name: str) -> Any:
    # Imported at first use, so that importing `protocol` alone imports neither market nor server.
    for module, names in _MODULES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
