"""Legs that nobody sees while a feed is stalled: no row is made of their last prices."""

from __future__ import annotations

from collections.abc import Callable

from pairlab.feeds.base import FeedHealth
from pairlab.lab.pipeline import Pipeline
from pairlab.limits.consistency import leg_age_limit_s
from pairlab.schema import NS_PER_S, LogLevel, Pair, Records

__all__ = ["StalledLegs"]

_LEGS = (0, 1)


class StalledLegs:
    """Marks a leg as unseen while its feed says that it is stalled.

    A feed that fills or reports such gaps by itself (`FeedHealth.stalled_legs` is 0) is left
    alone. One that names legs has these marked; one that only says ``stalled`` those that are
    older than ``max_leg_age_s``, against the newest tick of the other leg. A quiet leg of a feed
    that is not stalled was seen: it did not trade.

    Parameters
    ----------
    pair : Pair
        Symbols, for the log.
    pipeline : Pipeline
        Where gaps are marked.
    log : callable
        Takes a level and a message.

    Attributes
    ----------
    active : bool
        Whether `before_ticks` has anything to do.
    """

    def __init__(
        self, pair: Pair, pipeline: Pipeline, log: Callable[[LogLevel, str], None]
    ) -> None:
        self.active = False
        self._pair = pair
        self._pipeline = pipeline
        self._log = log
        self._marked = 0  # bits of legs that have not traded since
        self._infers = False
        self._last_ns: list[int] | None = None  # when each leg last traded, while active

    def look(self, health: FeedHealth) -> None:
        """Take the state of the feed."""
        named = health.stalled_legs
        self._infers = named is None and health.state == "stalled"
        self.active = self._infers or bool(named)
        if named:
            self._mark(named)
        if not self.active:
            self._marked, self._last_ns = 0, None

    def before_ticks(self, ticks: Records) -> None:
        """Mark what the next ticks must not be combined with."""
        last_ns = self._last_ns = self._last_ns or self._of_last_row()
        limit_ns = leg_age_limit_s(self._pipeline.settings) * NS_PER_S
        now_ns = int(ticks["time_ns"][-1])
        for leg in _LEGS:
            own = ticks["time_ns"][ticks["leg"] == leg]
            if len(own):
                self._marked &= ~(1 << leg)
                if last_ns:
                    last_ns[leg] = int(own[-1])
            elif self._infers and last_ns and now_ns - last_ns[leg] >= limit_ns:
                self._mark(1 << leg)

    def _of_last_row(self) -> list[int] | None:
        last = self._pipeline.rows.view(1)
        if not len(last):
            return None
        ages_s = (float(last[name][0]) for name in ("y_age_s", "x_age_s"))
        return [int(last["time_ns"][0]) - round(age_s * NS_PER_S) for age_s in ages_s]

    def _mark(self, legs: int) -> None:
        new = legs & ~self._marked
        if not new:
            return
        self._marked |= new
        self._pipeline.on_gap(None, new)
        names = " and ".join(self._pair[leg] for leg in _LEGS if new >> leg & 1)
        self._log(
            "warning", f"{names}: the stream is stalled; there are no rows until it trades again"
        )
