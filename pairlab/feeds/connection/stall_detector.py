"""Detects stalled streams and connections that are due for replacement, without I/O or a clock.

Counts of frames go in, with the time in which the event loop was awake; out comes what is to be
done. A loop that a cell blocked for a minute has not waited a minute for data, so silence is
measured in awake time alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from pairlab.feeds.config import Timeouts
from pairlab.feeds.connection.liveness import StreamRate

__all__ = ["Findings", "ReplacementReason", "SocketActivity", "StallDetector", "in_words"]

_MAX_PATIENCE: Final = 16.0  # times the limit, after replacements that changed nothing
_ROTATE_AGAIN_S: Final = 60.0
_MAX_PROBES: Final = 10  # silent streams that REST is asked about, before the next ones
_MAX_NAMED: Final = 3  # streams that a line of the log names, before it counts the others


def in_words(names: Iterable[str]) -> str:
    """Return "a", "a and b", or the first few and how many more."""
    names = list(names)
    if len(names) > _MAX_NAMED:
        names = [", ".join(names[:_MAX_NAMED]), f"{len(names) - _MAX_NAMED} more"]
    return " and ".join(names)


@dataclass(frozen=True, slots=True)
class SocketActivity:
    """What one open connection has done so far.

    Attributes
    ----------
    number : int
        Tells connections apart; never used again.
    route : str
        The category it was opened on.
    counts : Mapping[int, int]
        Frames so far by slot, of the streams that it is subscribed to.
    restart_announced : bool
        The server will close it soon.
    """

    number: int
    route: str
    counts: Mapping[int, int]
    restart_announced: bool = False


@dataclass(frozen=True, slots=True)
class ReplacementReason:
    """Why a connection should be replaced.

    Attributes
    ----------
    kind : {"age", "shutdown", "silent", "stalled"}
        ``silent`` never had data, ``stalled`` had some.
    why : str
        For the log and the screen.
    slots : tuple of int
        The streams a new connection has to show data of.
    """

    kind: Literal["age", "shutdown", "silent", "stalled"]
    why: str
    slots: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """What an observation leads to.

    Attributes
    ----------
    replacements : tuple of ReplacementReason
        Replace the connection; found again and again for as long as the reason stands.
    probes : tuple of int
        Slots of silent streams: ask elsewhere whether their markets are quiet, then call
        `StallDetector.note_probes`.
    alarms : tuple of ReplacementReason
        What has become wrong with which streams.
    resumed : tuple of int
        Slots of streams with which nothing is wrong any more.
    """

    replacements: tuple[ReplacementReason, ...] = ()
    probes: tuple[int, ...] = ()
    alarms: tuple[ReplacementReason, ...] = ()
    resumed: tuple[int, ...] = ()


class _Stream:
    """What is known of one stream, whichever connection brings it."""

    __slots__ = ("confirmed", "excused_s", "name", "patience", "rate", "retry_s")

    def __init__(self, name: str, timeouts: Timeouts) -> None:
        self.name = name
        self.rate = StreamRate(timeouts)
        self.patience = 1.0
        self.excused_s = 0.0  # silence up to which the market is known to be quiet, too
        self.confirmed = False  # the market trades: the silent stream has no excuse
        self.retry_s = 0.0  # silence after which a replacement that changed nothing is tried again


class _Silence:
    """Awake time since one connection opened, and since each of its streams spoke."""

    __slots__ = ("age_s", "idle_s", "seen")

    def __init__(self) -> None:
        self.age_s = 0.0
        self.idle_s: dict[int, float] = {}
        self.seen: dict[int, int] = {}

    def advance(self, counts: Mapping[int, int], awake_s: float) -> dict[int, int]:
        """Take the counts after a stretch of awake time, and return the new frames by slot."""
        self.age_s += awake_s
        news = {}
        idle_s: dict[int, float] = {}
        for slot, count in counts.items():
            seen = self.seen.get(slot, 0)
            # A count that fell was reset: the stream was subscribed again.
            news[slot] = new = count - seen if count >= seen else count
            idle_s[slot] = 0.0 if new or count < seen else self.idle_s.get(slot, 0.0) + awake_s
        self.idle_s, self.seen = idle_s, dict(counts)
        return news


class StallDetector:
    """Turns silence into alarms, and alarms into reasons for another connection.

    Parameters
    ----------
    timeouts : Timeouts
        The limits of silence.

    Attributes
    ----------
    alarms : dict of int to str
        What is wrong now with a stream, in a sentence, by slot.

    Examples
    --------
    >>> detector = StallDetector(Timeouts(idle_min_s=5.0))
    >>> detector.add(0, "BTCUSDT@aggTrade")
    >>> for seconds in range(60):  # 10 messages a second, then silence
    ...     findings = detector.observe(SocketActivity(1, "market", {0: seconds * 10}), None, 1.0)
    >>> findings
    Findings(replacements=(), probes=(), alarms=(), resumed=())
    >>> for _ in range(6):
    ...     findings = detector.observe(SocketActivity(1, "market", {0: 590}), None, 1.0)
    >>> findings.replacements[0].kind, findings.replacements[0].slots
    ('stalled', (0,))
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self.alarms: dict[int, str] = {}
        self._timeouts = timeouts
        self._streams: dict[int, _Stream] = {}
        self._silences: dict[int, _Silence] = {}  # by the number of the connection
        self._active: SocketActivity | None = None
        self._judged = -1  # number of the connection that excuses hold for
        self._probing: tuple[int, ...] = ()
        self._rotate_s = timeouts.rotate_after_s

    def add(self, slot: int, name: str) -> None:
        """Watch one more stream."""
        self._streams[slot] = _Stream(name, self._timeouts)

    def remove(self, slot: int) -> None:
        """Stop watching a stream."""
        self._streams.pop(slot, None)
        self.alarms.pop(slot, None)

    def age_s(self, number: int) -> float:
        """Return the awake time since a connection was first observed; 0 before."""
        silence = self._silences.get(number)
        return 0.0 if silence is None else silence.age_s

    def _idle_s(self, slot: int) -> float:
        silence = None if self._active is None else self._silences.get(self._active.number)
        return 0.0 if silence is None else silence.idle_s.get(slot, 0.0)

    def silent_s(self, number: int) -> float:
        """Return the awake time since any stream of a connection spoke."""
        silence = self._silences.get(number)
        return 0.0 if silence is None else min(silence.idle_s.values(), default=silence.age_s)

    def observe(
        self, active: SocketActivity | None, candidate: SocketActivity | None, awake_s: float
    ) -> Findings:
        """Take what the connections have done in a stretch of awake time.

        Parameters
        ----------
        active : SocketActivity or None
            The connection that counts; None while there is none.
        candidate : SocketActivity or None
            The one that is to replace it.
        awake_s : float
            Seconds since the last call in which the event loop was not blocked.

        Returns
        -------
        Findings
            What is to be done.
        """
        silences: dict[int, _Silence] = {}
        for socket in (active, candidate):
            if socket is None:
                continue
            silence = silences[socket.number] = self._silences.get(socket.number) or _Silence()
            news = silence.advance(socket.counts, awake_s)
            if socket is active:
                self._learn(news, awake_s)
        self._silences = silences
        self._active = active
        return self._judge()

    def _learn(self, news: Mapping[int, int], awake_s: float) -> None:
        for slot, new in news.items():
            stream = self._streams.get(slot)
            if stream is None:
                continue
            stream.rate.learn(new, awake_s)
            if new:
                stream.patience, stream.excused_s, stream.retry_s = 1.0, 0.0, 0.0
                stream.confirmed = False

    def _judge(self) -> Findings:
        active = self._active
        if active is None:
            self.alarms.clear()
            self._probing = ()
            return Findings()
        if active.number != self._judged:
            self._judged = active.number
            self._probing = ()
            for stream in self._streams.values():
                stream.excused_s = stream.retry_s = 0.0
        silence = self._silences[active.number]
        silent, stalled = self._find_silence(active, silence)
        # A stream that never spoke may have nothing to say: REST is asked before anyone is alarmed.
        probes: tuple[int, ...] = ()
        if not self._probing:
            probes = tuple(s for s in silent if not self._streams[s].confirmed)[:_MAX_PROBES]
            self._probing = probes
        mute = tuple(slot for slot in silent if self._streams[slot].confirmed)
        reasons = []
        if mute:
            reasons.append(ReplacementReason("silent", self._silent_words(active, mute), mute))
        if stalled:
            reasons.append(ReplacementReason("stalled", self._stalled_words(stalled), stalled))
        alarms, resumed = self._update_alarms(reasons)
        if not reasons and active.restart_announced:
            reasons.append(ReplacementReason("shutdown", "the server announced a restart"))
        elif not reasons and silence.age_s > self._rotate_s:
            reasons.append(ReplacementReason("age", "the connection is near its age limit"))
        due = []
        for reason in reasons:
            slots = tuple(s for s in reason.slots if self._is_due(reason, s, silence))
            if slots or not reason.slots:
                due.append(replace(reason, slots=slots))
        return Findings(tuple(due), probes, alarms, resumed)

    def _find_silence(
        self, active: SocketActivity, silence: _Silence
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the streams that never spoke in time, and those that have fallen silent."""
        silent, stalled = [], []
        for slot, idle_s in silence.idle_s.items():
            stream = self._streams.get(slot)
            if stream is None:
                continue
            if not active.counts[slot]:
                if idle_s > max(self._timeouts.first_data_s, stream.excused_s):
                    silent.append(slot)
            elif idle_s > stream.rate.idle_limit_s:
                stalled.append(slot)
        return tuple(silent), tuple(stalled)

    def _silent_words(self, active: SocketActivity, slots: Collection[int]) -> str:
        return (
            f"subscribed but silent: {self._names(slots)} on /{active.route}, nothing for "
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

    def _update_alarms(
        self, reasons: list[ReplacementReason]
    ) -> tuple[tuple[ReplacementReason, ...], tuple[int, ...]]:
        """Return what is new, and what has passed."""
        before = self.alarms
        self.alarms = {slot: reason.why for reason in reasons for slot in reason.slots}
        new = (
            replace(reason, slots=tuple(slot for slot in reason.slots if slot not in before))
            for reason in reasons
        )
        resumed = tuple(slot for slot in before if slot not in self.alarms)
        return tuple(reason for reason in new if reason.slots), resumed

    def _is_due(self, reason: ReplacementReason, slot: int, silence: _Silence) -> bool:
        stream = self._streams[slot]
        limit_s = self._limit_s(reason, stream) * stream.patience
        return silence.idle_s[slot] > max(limit_s, stream.retry_s)

    def _limit_s(self, reason: ReplacementReason, stream: _Stream) -> float:
        silent = reason.kind == "silent"
        return self._timeouts.first_data_s if silent else stream.rate.idle_limit_s

    def note_probes(self, number: int, quiet: Mapping[int, bool]) -> Findings:
        """Take the answers to `Findings.probes`.

        Parameters
        ----------
        number : int
            Of the connection whose streams were probed.
        quiet : Mapping[int, bool]
            Whether the market is known to have been as quiet as the stream, by slot.

        Returns
        -------
        Findings
            What is to be done now; nothing, if another connection counts by now.
        """
        active = self._active
        if active is None or active.number != number:
            return Findings()
        self._probing = ()
        for slot, is_quiet in quiet.items():
            self._note_probe(slot, self._silences[number].idle_s.get(slot, 0.0), is_quiet)
        return self._judge()

    def _note_probe(self, slot: int, idle_s: float, is_quiet: bool) -> None:
        stream = self._streams.get(slot)
        if stream is None:
            return
        if is_quiet:
            # Probe again, but ever more rarely.
            stream.excused_s = idle_s + self._timeouts.first_data_s * stream.patience
            stream.patience = min(stream.patience * 2.0, _MAX_PATIENCE)
        else:
            stream.confirmed = True

    def note_replacement(self, reason: ReplacementReason, *, replaced: bool) -> None:
        """Note what came of a replacement, so that a hopeless one is tried less often."""
        for slot in reason.slots:
            stream = self._streams.get(slot)
            if stream is None:
                continue
            if replaced:
                stream.patience, stream.retry_s = 1.0, 0.0
                continue
            stream.retry_s = self._idle_s(slot) + self._limit_s(reason, stream) * stream.patience
            stream.patience = min(stream.patience * 2.0, _MAX_PATIENCE)
        if reason.kind == "age" and not replaced:
            self._rotate_s += _ROTATE_AGAIN_S
        elif replaced:
            self._rotate_s = self._timeouts.rotate_after_s
