"""Looks at the connections five times a second: who speaks, who is silent, who is in the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from pairlab.feeds.delivery import Journal, Outbox
from pairlab.feeds.limits import Timeouts
from pairlab.feeds.link import Link
from pairlab.feeds.liveness import LoopGauge, StreamRate
from pairlab.feeds.sequence import Sequencer
from pairlab.ticks import Pair

__all__ = ["Concern", "Watch"]

PERIOD_S: Final = 0.2
_MOST_PATIENCE: Final = 16.0  # times the limit, after replacements that changed nothing
_BUSY_SHOWN_S: Final = 10.0
_ROTATE_AGAIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Concern:
    """Why a connection should be replaced.

    Attributes
    ----------
    kind : {"age", "shutdown", "silent", "stalled"}
        ``silent`` never had data, ``stalled`` had some.
    why : str
        In plain words.
    legs : tuple of int
        The legs a new connection has to show data of.
    """

    kind: Literal["age", "shutdown", "silent", "stalled"]
    why: str
    legs: tuple[int, ...] = ()


class Watch:
    """Turns silence into alarms, and alarms into requests for another connection.

    Parameters
    ----------
    pair : Pair
        For its symbols' names.
    stream : str
        For the streams' names.
    links : list of Link
        The open connections, the one that counts first; shared with whoever opens them.
    journal : Journal
        Told of a blocked loop and of every new alarm.
    timeouts : Timeouts
        The limits of silence.
    on_concern : callable
        Takes a `Concern`; called again as long as it stands.

    Attributes
    ----------
    alarm : str
        What is wrong now, in plain words; empty if nothing is.
    gauge : LoopGauge
        How late the loop is.
    rates : tuple of StreamRate
        How often each leg speaks.
    """

    def __init__(
        self,
        pair: Pair,
        stream: str,
        links: list[Link],
        journal: Journal,
        timeouts: Timeouts,
        on_concern: Callable[[Concern], None],
    ) -> None:
        self.alarm = ""
        self.gauge = LoopGauge(PERIOD_S, timeouts.blocked_s)
        self.rates = (StreamRate(timeouts), StreamRate(timeouts))
        self._names = tuple(f"{symbol}@{stream}" for symbol in pair)
        self._links = links
        self._journal = journal
        self._timeouts = timeouts
        self._on_concern = on_concern
        self._patience = [1.0, 1.0]
        self._judged: Link | None = None
        self._excused_s = [0.0, 0.0]  # a connection's age up to which a leg may be silent
        self._confirmed = [False, False]  # REST has trades that a silent leg did not bring
        self._rotate_s = timeouts.rotate_after_s
        self._blocked: tuple[float, float] | None = None  # (when, how long)

    async def run(self, sequencer: Sequencer, outbox: Outbox, align_ns: int) -> None:
        """Look, until cancelled."""
        period_s = min(PERIOD_S, align_ns / 2e9) if align_ns else PERIOD_S
        waited_s = 0.0
        while True:
            await asyncio.sleep(period_s)
            if align_ns:
                sequencer.release_older(time.time_ns() - align_ns)
                outbox.flush()
                waited_s += period_s
                if waited_s < PERIOD_S:
                    continue
                waited_s = 0.0
            await self.look()

    async def look(self) -> None:
        """Look once."""
        awake_s, blocked_s = self.gauge.tick()
        if blocked_s:
            self._blocked = (time.monotonic(), blocked_s)
            self._journal.say(
                "info",
                f"a cell kept the notebook busy for {blocked_s:.1f} s; ticks waited in the "
                "socket and are read now",
                kind="blocked",
            )
        for link in list(self._links):
            if link.ended:
                continue
            link.age_s += awake_s
            for leg in (0, 1):
                news = link.counts[leg] - link.looked[leg]
                link.looked[leg] = link.counts[leg]
                link.idle_s[leg] = 0.0 if news else link.idle_s[leg] + awake_s
                if link is self._links[0]:
                    self.rates[leg].learn(news, awake_s)
                    if news:
                        self._patience[leg] = 1.0
                        self._excused_s[leg], self._confirmed[leg] = 0.0, False
            if not await link.check_pulse(awake_s, self._timeouts):
                link.fail("the connection is half-open: a ping was not answered")
        self._judge()

    def _judge(self) -> None:
        link = self._links[0] if self._links else None
        if link is None or link.ended:
            self.alarm = ""
            return
        if link is not self._judged:
            self._judged = link
            self._excused_s = [0.0, 0.0]
        concern = self._find_silence(link)
        # A leg that never spoke may have nothing to say: REST is asked before anyone is alarmed.
        stands = concern is not None and (
            concern.kind == "stalled" or all(self._confirmed[leg] for leg in concern.legs)
        )
        self._sound(concern.why if concern and stands else "")
        if concern is None and link.shutdown:
            concern = Concern("shutdown", "the server announced a restart")
        elif concern is None and link.age_s > self._rotate_s:
            concern = Concern("age", "the connection is near its age limit")
        if concern is not None and self._is_due(concern, link):
            self._on_concern(concern)

    def _sound(self, alarm: str) -> None:
        if alarm and not self.alarm:
            self._journal.say("warning", alarm)
        elif self.alarm and not alarm:
            self._journal.say("info", "the silence has ended")
        self.alarm = alarm

    def _find_silence(self, link: Link) -> Concern | None:
        limits = self._timeouts
        silent = tuple(
            leg
            for leg in (0, 1)
            if link.counts[leg] == 0 and link.age_s > max(limits.first_data_s, self._excused_s[leg])
        )
        if silent:
            names = " and ".join(self._names[leg] for leg in silent)
            return Concern(
                "silent",
                f"subscribed but silent: {names} on /{link.route}, nothing for "
                f"more than {limits.first_data_s:g} s",
                silent,
            )
        stalled = tuple(
            leg
            for leg in (0, 1)
            if link.counts[leg] > 0 and link.idle_s[leg] > self.rates[leg].idle_limit_s
        )
        if not stalled:
            return None
        leg = stalled[0]
        return Concern(
            "stalled",
            f"{' and '.join(self._names[leg] for leg in stalled)} stalled: nothing for more than "
            f"{self.rates[leg].idle_limit_s:.0f} s, where {self.rates[leg].per_s:.2g} messages/s "
            "are usual",
            stalled,
        )

    def _is_due(self, concern: Concern, link: Link) -> bool:
        if not concern.legs:
            return True
        leg = concern.legs[0]
        if concern.kind == "silent":
            return link.age_s > self._timeouts.first_data_s * self._patience[leg]
        return link.idle_s[leg] > self.rates[leg].idle_limit_s * self._patience[leg]

    def excuse(self, concern: Concern) -> None:
        """Note that the market itself is silent; look into it again, but ever more rarely."""
        age_s = self._links[0].age_s if self._links else 0.0
        for leg in concern.legs:
            self._excused_s[leg] = age_s + self._timeouts.first_data_s * self._patience[leg]
            self._patience[leg] = min(self._patience[leg] * 2.0, _MOST_PATIENCE)

    def confirm(self, concern: Concern) -> None:
        """Note that a silent leg's market does trade: an alarm."""
        for leg in concern.legs:
            self._confirmed[leg] = True
        self._sound(concern.why)

    def tried(self, concern: Concern, *, replaced: bool) -> None:
        """Note what came of a concern, so that a hopeless replacement is tried less often."""
        for leg in concern.legs:
            self._patience[leg] = (
                1.0 if replaced else min(self._patience[leg] * 2.0, _MOST_PATIENCE)
            )
        if concern.kind == "age" and not replaced:
            self._rotate_s += _ROTATE_AGAIN_S
        elif replaced:
            self._rotate_s = self._timeouts.rotate_after_s

    def busy(self) -> str:
        """Return in plain words that a cell blocked the loop just now; empty if none did."""
        if self._blocked is None or time.monotonic() - self._blocked[0] > _BUSY_SHOWN_S:
            return ""
        return f"a cell kept the notebook busy for {self._blocked[1]:.1f} s; catching up"
