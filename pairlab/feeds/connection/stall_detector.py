"""Looks at a connection five times a second: who speaks, who is silent, who is in the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from pairlab.feeds.config import Timeouts
from pairlab.feeds.connection.connection import Connection
from pairlab.feeds.connection.liveness import LoopGauge, StreamRate
from pairlab.feeds.log import Announcer

__all__ = ["ReplacementReason", "StallDetector", "in_words"]

PERIOD_S: Final = 0.2
_MOST_PATIENCE: Final = 16.0  # times the limit, after replacements that changed nothing
_BUSY_SHOWN_S: Final = 10.0
_ROTATE_AGAIN_S: Final = 60.0
_ASKED_AT_ONCE: Final = 10  # silent streams that REST is asked about, before the next ones
_NAMED: Final = 3  # streams that a line of the log names, before it counts the others


def in_words(names: Iterable[str]) -> str:
    """Return "a", "a and b", or the first few and how many more."""
    names = list(names)
    if len(names) > _NAMED:
        names = [", ".join(names[:_NAMED]), f"{len(names) - _NAMED} more"]
    return " and ".join(names)


@dataclass(frozen=True, slots=True)
class ReplacementReason:
    """Why a connection should be replaced.

    Attributes
    ----------
    kind : {"age", "shutdown", "silent", "stalled"}
        ``silent`` never had data, ``stalled`` had some.
    why : str
        In plain words.
    slots : tuple of int
        The streams a new connection has to show data of.
    """

    kind: Literal["age", "shutdown", "silent", "stalled"]
    why: str
    slots: tuple[int, ...] = ()


class _Stream:
    """What the watch knows of one stream, whichever connection brings it."""

    __slots__ = ("confirmed", "excused_s", "name", "patience", "rate")

    def __init__(self, name: str, timeouts: Timeouts) -> None:
        self.name = name
        self.rate = StreamRate(timeouts)
        self.patience = 1.0
        self.excused_s = 0.0  # silence up to which REST has said that the market is silent too
        self.confirmed = False  # REST has trades that the silent stream did not bring


class StallDetector:
    """Turns silence into alarms, and alarms into requests for another connection.

    Parameters
    ----------
    links : list of Link
        The open connections, the one that counts first; shared with whoever opens them.
    journal : Announcer
        Told of a blocked loop and of every new alarm.
    timeouts : Timeouts
        The limits of silence.
    on_concern : callable
        Takes a `ReplacementReason`; called again as long as it stands.
    is_quiet : callable
        Asks elsewhere whether a silent stream's market is silent itself.

    Attributes
    ----------
    alarms : dict of int to str
        What is wrong now with a stream, in plain words, by slot.
    gauge : LoopGauge
        How late the loop is.
    """

    def __init__(
        self,
        links: list[Connection],
        journal: Announcer,
        timeouts: Timeouts,
        on_concern: Callable[[ReplacementReason], None],
        is_quiet: Callable[[Connection, int], Awaitable[bool]],
    ) -> None:
        self.alarms: dict[int, str] = {}
        self.gauge = LoopGauge(PERIOD_S, timeouts.blocked_s)
        self._streams: dict[int, _Stream] = {}
        self._links = links
        self._journal = journal
        self._timeouts = timeouts
        self._on_concern = on_concern
        self._is_quiet = is_quiet
        self._asking: tuple[int, ...] = ()  # silent streams that REST is asked about
        self._ask = asyncio.Event()
        self._judged: Connection | None = None
        self._rotate_s = timeouts.rotate_after_s
        self._blocked: tuple[float, float] | None = None  # (when, how long)

    def add(self, slot: int, name: str) -> None:
        """Watch one more stream."""
        self._streams[slot] = _Stream(name, self._timeouts)

    def drop(self, slot: int) -> None:
        """Watch a stream no longer."""
        self._streams.pop(slot, None)
        self.alarms.pop(slot, None)

    async def run(self) -> None:
        """Look, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
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
            first = link is self._links[0]
            for slot in link.slots:
                news = link.counts[slot] - link.looked[slot]
                link.looked[slot] = link.counts[slot]
                link.idle_s[slot] = 0.0 if news else link.idle_s[slot] + awake_s
                stream = self._streams.get(slot)
                if first and stream is not None:
                    stream.rate.learn(news, awake_s)
                    if news:
                        stream.patience, stream.excused_s = 1.0, 0.0
                        stream.confirmed = False
            if not await link.check_pulse(awake_s, self._timeouts):
                link.fail("the connection is half-open: a ping was not answered")
        self._judge()

    def _judge(self) -> None:
        link = self._links[0] if self._links else None
        if link is None or link.ended:
            self.alarms.clear()
            return
        if link is not self._judged:
            self._judged = link
            for stream in self._streams.values():
                stream.excused_s = 0.0
        silent, stalled = self._find_silence(link)
        # A stream that never spoke may have nothing to say: REST is asked before anyone is alarmed.
        if not self._asking:
            self._asking = tuple(s for s in silent if not self._streams[s].confirmed)
            self._asking = self._asking[:_ASKED_AT_ONCE]
            if self._asking:
                self._ask.set()
        mute = tuple(slot for slot in silent if self._streams[slot].confirmed)
        concerns = []
        if mute:
            concerns.append(ReplacementReason("silent", self._silent_words(link, mute), mute))
        if stalled:
            concerns.append(ReplacementReason("stalled", self._stalled_words(stalled), stalled))
        self._sound(concerns)
        if not concerns and link.shutdown:
            concerns.append(ReplacementReason("shutdown", "the server announced a restart"))
        elif not concerns and link.age_s > self._rotate_s:
            concerns.append(ReplacementReason("age", "the connection is near its age limit"))
        for concern in concerns:
            slots = tuple(slot for slot in concern.slots if self._is_due(concern, slot, link))
            if slots or not concern.slots:
                self._on_concern(replace(concern, slots=slots))
                return

    def _find_silence(self, link: Connection) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the streams that never spoke in time, and those that speak no longer."""
        silent, stalled = [], []
        for slot, idle_s in link.idle_s.items():
            stream = self._streams.get(slot)
            if stream is None:
                continue
            if not link.counts[slot]:
                if idle_s > max(self._timeouts.first_data_s, stream.excused_s):
                    silent.append(slot)
            elif idle_s > stream.rate.idle_limit_s:
                stalled.append(slot)
        return tuple(silent), tuple(stalled)

    def _silent_words(self, link: Connection, slots: Collection[int]) -> str:
        return (
            f"subscribed but silent: {self._names(slots)} on /{link.route}, nothing for "
            f"more than {self._timeouts.first_data_s:g} s"
        )

    def _stalled_words(self, slots: Collection[int]) -> str:
        rate = self._streams[next(iter(slots))].rate
        return (
            f"{self._names(slots)} stalled: nothing for more than {rate.idle_limit_s:.0f} s, "
            f"where {rate.per_s:.2g} messages/s are usual"
        )

    def _names(self, slots: Collection[int]) -> str:
        return in_words(self._streams[slot].name for slot in slots)

    def _sound(self, concerns: list[ReplacementReason]) -> None:
        """Tell whom it concerns what is new, and what has passed."""
        alarms = {slot: concern.why for concern in concerns for slot in concern.slots}
        before, self.alarms = self.alarms, alarms
        for concern in concerns:
            if new := [slot for slot in concern.slots if slot not in before]:
                self._journal.say("warning", concern.why, slots=new)
        if over := [slot for slot in before if slot not in alarms]:
            self._journal.say("info", "data resumed", slots=over)

    def _is_due(self, concern: ReplacementReason, slot: int, link: Connection) -> bool:
        stream = self._streams[slot]
        limit_s = stream.rate.idle_limit_s
        if concern.kind == "silent":
            limit_s = self._timeouts.first_data_s
        return link.idle_s[slot] > limit_s * stream.patience

    async def inquire(self) -> None:
        """Ask, whenever streams are silent, whether their markets are, until cancelled."""
        while True:
            await self._ask.wait()
            self._ask.clear()
            link = self._judged
            if link is not None:
                quiet = await asyncio.gather(*(self._is_quiet(link, s) for s in self._asking))
                if link is self._judged:
                    for slot, is_quiet in zip(self._asking, quiet, strict=True):
                        self._note_answer(link, slot, is_quiet)
            self._asking = ()
            self._judge()

    def _note_answer(self, link: Connection, slot: int, is_quiet: bool) -> None:
        stream = self._streams.get(slot)
        if stream is None:
            return
        if is_quiet:
            # Look into it again, but ever more rarely.
            idle_s = link.idle_s.get(slot, 0.0)
            stream.excused_s = idle_s + self._timeouts.first_data_s * stream.patience
            stream.patience = min(stream.patience * 2.0, _MOST_PATIENCE)
        else:
            stream.confirmed = True

    def tried(self, concern: ReplacementReason, *, replaced: bool) -> None:
        """Note what came of a concern, so that a hopeless replacement is tried less often."""
        for slot in concern.slots:
            if (stream := self._streams.get(slot)) is not None:
                stream.patience = 1.0 if replaced else min(stream.patience * 2.0, _MOST_PATIENCE)
        if concern.kind == "age" and not replaced:
            self._rotate_s += _ROTATE_AGAIN_S
        elif replaced:
            self._rotate_s = self._timeouts.rotate_after_s

    def busy(self) -> str:
        """Return in plain words that a cell blocked the loop just now; empty if none did."""
        if self._blocked is None or time.monotonic() - self._blocked[0] > _BUSY_SHOWN_S:
            return ""
        return f"a cell kept the notebook busy for {self._blocked[1]:.1f} s; catching up"
