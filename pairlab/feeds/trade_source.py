"""What a pair's feed needs of the group that brings the trades of many pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pairlab.feeds.binance.venue import Venue
from pairlab.feeds.config import FeedConfig
from pairlab.feeds.connection.session import Session, StreamSlot
from pairlab.feeds.context import FeedContext

if TYPE_CHECKING:
    from pairlab.feeds.symbols_feed import SymbolsFeed

__all__ = ["TradeSource"]


class TradeSource(Protocol):
    """What brings the trades of many pairs: what a `SymbolsFeed` needs of its group.

    Attributes
    ----------
    config : FeedConfig
        As it was given.
    context : FeedContext
        Timeouts, limits and clock.
    venue : Venue
        The exchange and the stream.
    """

    config: FeedConfig
    context: FeedContext
    venue: Venue

    def enter(self, feed: SymbolsFeed) -> Session:
        """Let a feed take part, and return what all that take part share.

        Raises
        ------
        FeedError
            If the others run on another event loop.
        """

    async def leave(
        self, feed: SymbolsFeed, session: Session, places: tuple[StreamSlot, ...]
    ) -> None:
        """Release a feed and its streams, and what no other feed needs."""
