"""Where ticks come from.

`BinanceFeed` brings one pair's ticks, `FeedGroup` those of many pairs over shared connections.
From the wire up::

    wire              frames to ticks, no I/O
    link              one connection: bytes, silence, subscriptions
    watch, supervise  who is silent; keeps a connection open, opens it anew, replaces it
    shard             a share of the streams on such a connection, and who wants them
    rest, survey      REST within its budget; symbols and clock
    series, sequence  order and continuity of a pair's ids, no I/O
    pages, repair     fetches what is missing, once for everyone
    session           what all feeds of a group share while they run
    pair, group       `PairFeed`, `FeedGroup`; binance: `BinanceFeed`
"""

from pairlab.feeds.base import Closes, Feed, FeedHealth, FeedInfo, TickSink
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.config import FeedConfig, Limits, Retry, Timeouts
from pairlab.feeds.connection.shared_connection import ConnectionHealth
from pairlab.feeds.group import FeedGroup
from pairlab.feeds.pair import PairFeed

__all__ = [
    "BinanceFeed",
    "Closes",
    "ConnectionHealth",
    "Feed",
    "FeedConfig",
    "FeedGroup",
    "FeedHealth",
    "FeedInfo",
    "Limits",
    "PairFeed",
    "Retry",
    "TickSink",
    "Timeouts",
]
