"""A market that has no lab wait for it: its first trades are due at once."""

from __future__ import annotations

from typing import Any

from pairlab.local_exchange import SyntheticMarket

DAY_S = 86_400.0
_CHUNK = 512


class Ahead(SyntheticMarket):
    """A synthetic market whose clock, when it begins, is already past its first trades.

    It begins with the first subscription, so a lab gets every one of them, in one burst; from then
    on they come at the market's pace. Otherwise it is the market of these arguments, to the last
    digit, but for a shorter past: 14 days of it take longer to make than most tests.

    Parameters
    ----------
    rows : int
        Trades that are due at once, a few more than that.
    **options
        Of `SyntheticMarket`.
    """

    def __init__(self, rows: int, **options: Any) -> None:
        super().__init__(**{"start_condition": "subscribed", "history_s": DAY_S, **options})
        self._begins_ns = self.start_ns
        self._rows = rows

    def open(self) -> None:
        self.start_ns = self._begins_ns
        super().open()
        streams = {f"{symbol.symbol.lower()}@aggTrade" for symbol in self.symbols()}
        left = self._rows
        while left > 0:
            left -= len(self.take(None, streams, min(left, _CHUNK)))
        ahead_ns = self.position_ns
        super().open()
        self.start_ns = ahead_ns
