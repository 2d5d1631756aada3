"""Where ticks come from.

`BinanceFeed` brings one pair's ticks, `FeedGroup` those of many pairs over shared connections.
`Feed` is the protocol of both, and of a feed for any other exchange. From the top down::

    base            the protocol: Feed, TickSink, FeedInfo, FeedHealth
    config          FeedConfig, Timeouts, Limits, Retry; context hands them to every part
    symbols_feed    SymbolsFeed: sequencer to sink, for one symbol (symbol) or two (pair)
    group           FeedGroup: many of them on few connections
    log             which feeds a log record concerns; repeated lines
    environment     proxies and certificates of this machine, for stream and REST alike;
                    http_client takes them for REST and for files that are fetched
    rate_limit      request weights, connection attempts, delays between attempts
    binance/        messages (frames to ticks, no I/O), venue (addresses), REST, metadata, klines,
                    exchange_info (symbols and status), lenient (lists with odd entries),
                    reachability (asked once by the command line)
    connection/     connection (one socket), shared_connection (keeps one open, replaces it),
                    reconnect (opens it), stall_detector and fanout (no I/O),
                    session (what the feeds of a group share while they run)
    sequencing/     sequencer (order and gaps, no I/O), gap_filler, trade_pages (over REST),
                    clock_guard and guarded_sink (times ahead of the clock)

A frame becomes a tick by connection → messages → fanout → pair → sequencer → sink; a gap is
filled by sequencer → gap_filler → trade_pages → REST → sequencer.
"""

from pairlab.feeds.base import (
    Closes,
    CorrectedTimeSink,
    Feed,
    FeedHealth,
    FeedInfo,
    ReplaySink,
    TickSink,
)
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.config import FeedConfig, Limits, Retry, Timeouts
from pairlab.feeds.connection.connection_health import ConnectionHealth
from pairlab.feeds.group import FeedGroup
from pairlab.feeds.pair import PairFeed
from pairlab.feeds.symbol import SymbolFeed

__all__ = [
    "BinanceFeed",
    "Closes",
    "ConnectionHealth",
    "CorrectedTimeSink",
    "Feed",
    "FeedConfig",
    "FeedGroup",
    "FeedHealth",
    "FeedInfo",
    "Limits",
    "PairFeed",
    "ReplaySink",
    "Retry",
    "SymbolFeed",
    "TickSink",
    "Timeouts",
]
