"""One connection of several, as it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from pairlab.feeds.base import FeedState

__all__ = ["ConnectionHealth"]


@dataclass(frozen=True, slots=True)
class ConnectionHealth:
    """One connection of several, at one moment.

    Attributes
    ----------
    state : FeedState
        ``live`` while it is open, has data, and none of its streams has an alarm.
    detail : str
        Why, in a sentence.
    route : str
        The category it is open on; empty while it is not.
    streams : int
        Subscribed, or to be subscribed, on it.
    silent : int
        Of those, streams that have had no data on the connection as it is now.
    reconnects, attempts : int
        Connections opened after the first, and tried in all.
    """

    state: FeedState
    detail: str
    route: str
    streams: int
    silent: int
    reconnects: int
    attempts: int
