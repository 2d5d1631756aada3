"""The feed of a lab that was opened from a file: it names what it was, and cannot run."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from pairlab.errors import PairlabError
from pairlab.feeds.base import Closes, FeedHealth, FeedInfo, TickSink
from pairlab.schema import NS_PER_S
from pairlab.storage.session.saved_session import SavedSession

__all__ = ["SavedFeed"]


class SavedFeed:
    """The feed of a saved session.

    Parameters
    ----------
    session : SavedSession
        Whose feed it was.

    Attributes
    ----------
    session : SavedSession
        The same.
    info : FeedInfo
        Named as the feed was, and when it was saved.
    """

    def __init__(self, session: SavedSession) -> None:
        saved = time.gmtime(session.saved_ns // NS_PER_S)
        self._when: Final = time.strftime("%Y-%m-%d %H:%M UTC", saved)
        self.session: Final = session
        name = f"{session.feed} (saved {self._when})"
        self.info: Final = FeedInfo(name, session.real_money, session.stream)

    def refuse(self) -> PairlabError:
        """Return the error for somebody who would start it."""
        y, x = self.session.pair
        return PairlabError(
            f"a session saved on {self._when} has ended and cannot be started. A new lab with its "
            f"settings: PairLab({y!r}, {x!r}, feed=…, **dataclasses.asdict(lab.settings.values())) "
            "with feed='binance' or 'demo'; its own ticks are lab.ticks()"
        )

    async def run(self, sink: TickSink) -> None:
        """Refuse to run.

        Raises
        ------
        PairlabError
            Always, with what to do instead.
        """
        raise self.refuse()

    def health(self) -> FeedHealth:
        """Return the counters as they were; the state is not live any more."""
        was = self.session.health
        if was.state in ("stopped", "failed"):
            return was
        return replace(was, state="stopped", detail=f"saved while {was.state}: {was.detail}")

    def price_decimals(self) -> tuple[int, int] | None:
        """Return the decimals of both tick sizes."""
        return self.session.price_decimals

    async def seed_closes(self, timeframe: str, count: int) -> Closes | None:
        """Return None: what was known is in the session."""
        return None
