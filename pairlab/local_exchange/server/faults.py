"""What can go wrong between an exchange and its clients, on demand or by the dice.

==================  ============================================================================
Frames              ``duplicate`` `count` frames of a stream again · ``gap`` `count` frames of a
                    stream never sent, REST has them · ``reorder`` `count` frames sorted by stream
                    instead of by time · ``na`` a trade sent as ``X="NA"`` · ``malformed`` a broken
                    frame in between · ``oversize`` one of `size` bytes in between
Streams             ``stall`` a stream (or all) says nothing for `seconds`, pings are answered ·
                    ``silent`` the next connection's streams are acknowledged and never speak
Connections         ``drop`` cut · ``close`` with `code` · ``half_open`` nothing is sent or read for
                    `seconds`, the socket stays · ``shutdown`` a serverShutdown event, and `seconds`
                    later the close
Handshakes          ``refuse`` with HTTP `status` · ``slow_handshake`` after `seconds` ·
                    ``accept_then_close`` with `code`
REST                ``rest_status`` HTTP `status` · ``rest_late`` after `seconds` · ``rest_short``
                    half of the rows · ``rest_empty`` none
==================  ============================================================================

A frame counts as an occasion for the first three groups, a handshake for the fourth, a REST
request for the last.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Self, TypeAlias

import numpy as np

from pairlab.errors import SettingError
from pairlab.local_exchange.market.market import Message
from pairlab.local_exchange.server.malformed import broken_frame, not_available

__all__ = ["FAULT_KINDS", "REPAIRABLE", "Fault", "FaultState", "Faults"]

_FRAME_KINDS: Final = ("duplicate", "gap", "reorder", "na", "malformed", "oversize")
_STREAM_KINDS: Final = ("stall",)
_CONNECTION_KINDS: Final = ("drop", "close", "half_open", "shutdown")
_HANDSHAKE_KINDS: Final = ("refuse", "slow_handshake", "accept_then_close", "silent")
_REST_KINDS: Final = ("rest_status", "rest_late", "rest_short", "rest_empty")

_AT_FRAMES: Final = _FRAME_KINDS + _STREAM_KINDS + _CONNECTION_KINDS
_OCCASIONS: Final = (_AT_FRAMES, _HANDSHAKE_KINDS, _REST_KINDS)

FAULT_KINDS: Final = _AT_FRAMES + _HANDSHAKE_KINDS + _REST_KINDS
"""Every kind of fault."""

REPAIRABLE: Final = (
    "duplicate",
    "gap",
    "malformed",
    "oversize",
    "stall",
    "drop",
    "close",
    "half_open",
    "shutdown",
    "slow_handshake",
    "accept_then_close",
    "rest_late",
    "rest_short",
)
"""Kinds that a feed can make good from REST, so that no tick differs in the end."""

_IDS: Final = {"aggTrade": re.compile(rb'"a":(\d+)'), "trade": re.compile(rb'"t":(\d+)')}

Sent: TypeAlias = tuple[str, bytes, bool]
"""Stream, combined frame, and whether it goes out as it is, unwrapped for nobody."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Parameters
    ----------
    kind : str
        One of `FAULT_KINDS`.
    stream : str, optional
        Only on this stream; by default whichever it hits, for ``stall`` and ``silent`` all.
    path : str, optional
        Only REST requests whose path ends so, as ``"aggTrades"``.
    count : int, default 1
        Frames, or how many handshakes or requests in a row.
    seconds : float, default 1.0
        How long or how late.
    code : int, default 1001
        Close code; 1006 is a close without a word.
    status : int, default 503
        HTTP status.
    retry_after_s : float, default 1
        What 429, 418 and 503 ask for.
    size : int, default 2 MiB
        Bytes of an oversize frame.
    """

    kind: str
    stream: str | None = None
    path: str | None = None
    count: int = 1
    seconds: float = 1.0
    code: int = 1001
    status: int = 503
    retry_after_s: float = 1.0
    size: int = 2 << 20

    def __post_init__(self) -> None:
        if self.kind not in FAULT_KINDS:
            raise SettingError("kind", self.kind, "expected one of " + ", ".join(FAULT_KINDS))
        if self.count < 1:
            raise SettingError("count", self.count, "expected 1 or more")
        if not self.seconds >= 0:
            raise SettingError("seconds", self.seconds, "expected 0 or more")


@dataclass(slots=True)
class FaultState:
    """What ails one connection.

    Attributes
    ----------
    gaps : dict of str to int
        Frames still to be left out, by stream.
    stalled : dict of str to float
        Streams that say nothing until then (loop time, s); "" stands for all.
    silent : set of str
        Streams that never speak; "" stands for all.
    frozen : bool
        Half-open: nothing is sent or read any more.
    shuffle : int
        Frames of the next ones to sort by stream.
    copies : dict of str to list of bytes
        Frames of a stream that go out twice, as they are collected.
    copies_left : dict of str to int
        How many of them are still to come.
    """

    gaps: dict[str, int] = field(default_factory=dict)
    stalled: dict[str, float] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    frozen: bool = False
    shuffle: int = 0
    copies: dict[str, list[bytes]] = field(default_factory=dict)
    copies_left: dict[str, int] = field(default_factory=dict)

    @property
    def ails(self) -> bool:
        """Whether anything at all is wrong with the connection."""
        return bool(
            self.gaps or self.stalled or self.silent or self.frozen or self.shuffle or self.copies
        )


@dataclass(slots=True)
class _Chance:
    fault: Fault
    every: float
    countdown: int


@dataclass(slots=True)
class _Order:
    fault: Fault
    left: int
    happened: asyncio.Event


class Faults:
    """Faults by chance and on order; give one to `LocalExchange`.

    Parameters
    ----------
    every : mapping of Fault to float, optional
        The mean number of occasions between two of it.
    seed : int, default 0
        Of the dice.
    at_most : int, optional
        Of each kind; after that the line is clean.

    Attributes
    ----------
    counts : Counter of str
        How often each kind happened.
    removed : dict of str to list of int
        Ids, by stream, that ``gap`` and ``na`` kept from the clients.
    """

    def __init__(
        self,
        every: Mapping[Fault, float] | None = None,
        *,
        seed: int = 0,
        at_most: int | None = None,
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._at_most = at_most
        self._chances: dict[tuple[str, ...], list[_Chance]] = {kinds: [] for kinds in _OCCASIONS}
        for fault, mean in (every or {}).items():
            if not mean >= 1:
                raise SettingError(f"every[{fault.kind}]", mean, "expected 1 or more occasions")
            kinds = next(kinds for kinds in _OCCASIONS if fault.kind in kinds)
            self._chances[kinds].append(_Chance(fault, mean, self._draw(mean)))
        self._orders: list[_Order] = []
        self.counts: Counter[str] = Counter()
        self.removed: dict[str, list[int]] = {}

    @classmethod
    def storm(
        cls,
        kinds: tuple[str, ...] = REPAIRABLE,
        *,
        every: float = 1_000.0,
        seed: int = 0,
        at_most: int | None = None,
    ) -> Self:
        """Return a mix of kinds: frames' faults about each `every` frames, others more rarely.

        Connections break a tenth as often; one handshake and one request in five go wrong.
        """
        usual = {
            "gap": Fault("gap", count=3),
            "duplicate": Fault("duplicate", count=3),
            "reorder": Fault("reorder", count=20),
            "stall": Fault("stall", seconds=0.5),
            "half_open": Fault("half_open", seconds=30.0),
            "shutdown": Fault("shutdown", seconds=0.5),
            "slow_handshake": Fault("slow_handshake", seconds=0.3),
            "rest_late": Fault("rest_late", seconds=0.3),
        }
        chances: dict[Fault, float] = {}
        for kind in kinds:
            fault = usual.get(kind) or Fault(kind)
            if kind in _HANDSHAKE_KINDS or kind in _REST_KINDS:
                chances[fault] = 5.0
            elif kind in ("oversize", *_STREAM_KINDS, *_CONNECTION_KINDS):
                chances[fault] = every * 10
            else:
                chances[fault] = every
        return cls(chances, seed=seed, at_most=at_most)

    @property
    def active(self) -> bool:
        """Whether frames may be hit now; a connection that ails already is asked itself."""
        return bool(self._chances[_AT_FRAMES] or self._orders)

    def inject(self, fault: Fault) -> asyncio.Event:
        """Let it happen at the next occasion; the event is set when it has (`count` times)."""
        repeats = fault.count if fault.kind in (*_HANDSHAKE_KINDS, *_REST_KINDS) else 1
        order = _Order(fault, repeats, asyncio.Event())
        self._orders.append(order)
        return order.happened

    def clear(self) -> None:
        """Forget what was ordered and stop the dice; what ails connections goes on."""
        self._orders.clear()
        for chances in self._chances.values():
            chances.clear()

    def on_handshake(self) -> Iterator[Fault]:
        """Yield what happens to this handshake."""
        return self._due(_HANDSHAKE_KINDS, None, None)

    def on_request(self, path: str) -> Iterator[Fault]:
        """Yield what happens to this REST request."""
        return self._due(_REST_KINDS, None, path.partition("?")[0])

    def apply(
        self, state: FaultState, batch: list[Message], now_s: float, now_ns: int
    ) -> Iterator[list[Sent] | Fault]:
        """Yield what goes out instead of the batch, and in between what befalls the connection.

        The caller stops iterating if a fault that was yielded ends the connection.
        """
        out: list[Sent] = []
        for stream, frame in batch:
            extra: list[Sent] = []
            for fault in self._due(_AT_FRAMES, stream, None):
                if fault.kind in _CONNECTION_KINDS:
                    if fault.kind == "shutdown":
                        notice = f'{{"e":"serverShutdown","E":{now_ns // 1_000_000}}}'
                        out.append(("", notice.encode(), True))
                    yield self._arrange(state, out)
                    out = []
                    yield fault
                else:
                    extra += self._begin(fault, state, stream, frame, now_s)
            sent = self._pass(state, stream, frame, now_s)
            if sent is not None:
                out.append((stream, sent, False))
                out += self._again(state, stream, sent)
            out += extra
        yield self._arrange(state, out)

    def _begin(
        self, fault: Fault, state: FaultState, stream: str, frame: bytes, now_s: float
    ) -> list[Sent]:
        """Start a fault of frames or streams; return what goes out after this frame."""
        if fault.kind == "gap":
            state.gaps[stream] = state.gaps.get(stream, 0) + fault.count
        elif fault.kind == "stall":
            state.stalled[fault.stream or ""] = now_s + fault.seconds
        elif fault.kind == "reorder":
            state.shuffle = fault.count
        elif fault.kind == "na":
            state.gaps[stream] = -1
        elif fault.kind == "duplicate":
            state.copies.setdefault(stream, [])
            state.copies_left[stream] = fault.count
        elif fault.kind == "malformed":
            # After the true frame, so that whatever is made of its id harms nobody.
            return [("", broken_frame(self.counts["malformed"], frame), True)]
        elif fault.kind == "oversize":
            return [("", b'{"stream":"x","data":"' + b"x" * fault.size + b'"}', True)]
        return []

    @staticmethod
    def _again(state: FaultState, stream: str, frame: bytes) -> list[Sent]:
        """Collect what goes out twice; return it once it is complete."""
        if stream not in state.copies:
            return []
        state.copies[stream].append(frame)
        state.copies_left[stream] -= 1
        if state.copies_left[stream] > 0:
            return []
        del state.copies_left[stream]
        return [(stream, copy, False) for copy in state.copies.pop(stream)]

    def _pass(self, state: FaultState, stream: str, frame: bytes, now_s: float) -> bytes | None:
        """Return the frame as it goes out, None if it does not."""
        if self._mute(state, stream, now_s):
            return None
        left = state.gaps.get(stream, 0)
        if not left:
            return frame
        self._note_removed(stream, frame)
        if left < 0:
            del state.gaps[stream]
            return not_available(frame)
        if left > 1:
            state.gaps[stream] = left - 1
        else:
            del state.gaps[stream]
        return None

    @staticmethod
    def _mute(state: FaultState, stream: str, now_s: float) -> bool:
        if state.frozen or stream in state.silent or "" in state.silent:
            return True
        for name in [name for name, until_s in state.stalled.items() if until_s <= now_s]:
            del state.stalled[name]
        return stream in state.stalled or "" in state.stalled

    def _note_removed(self, stream: str, frame: bytes) -> None:
        pattern = _IDS.get(stream.partition("@")[2])
        found = pattern.search(frame) if pattern is not None else None
        if found is not None:
            self.removed.setdefault(stream, []).append(int(found[1]))

    @staticmethod
    def _arrange(state: FaultState, out: list[Sent]) -> list[Sent]:
        """Sort the first `shuffle` frames by stream: time order breaks, no stream's own does."""
        if not state.shuffle:
            return out
        window = out[: state.shuffle]
        streams = list(dict.fromkeys(stream for stream, _, _ in window))
        if len(streams) < 2:
            return out  # nothing to mix; try with what comes next
        state.shuffle = 0
        last_first = streams[::-1]
        window.sort(key=lambda sent: last_first.index(sent[0]))
        return window + out[len(window) :]

    def _due(self, kinds: tuple[str, ...], stream: str | None, path: str | None) -> Iterator[Fault]:
        """Yield what hits this occasion: orders first, then the dice."""
        for order in list(self._orders):
            if order.fault.kind in kinds and _fits(order.fault, stream, path):
                order.left -= 1
                if order.left <= 0:
                    self._orders.remove(order)
                    order.happened.set()
                self.counts[order.fault.kind] += 1
                yield order.fault
        for chance in self._chances[kinds]:
            chance.countdown -= 1
            if chance.countdown > 0 or not _fits(chance.fault, stream, path):
                continue
            chance.countdown = self._draw(chance.every)
            self.counts[chance.fault.kind] += 1
            if self._at_most is not None and self.counts[chance.fault.kind] >= self._at_most:
                self._chances[kinds] = [c for c in self._chances[kinds] if c is not chance]
            yield chance.fault

    def _draw(self, mean: float) -> int:
        return int(self._rng.geometric(1.0 / mean))


def _fits(fault: Fault, stream: str | None, path: str | None) -> bool:
    if fault.stream is not None and stream is not None and fault.stream != stream:
        return False
    if fault.path is not None and path is not None and not path.endswith(fault.path):
        return False
    if fault.kind == "na":
        return stream is not None and stream.endswith("@trade")
    return not (fault.kind in ("rest_short", "rest_empty") and not _lists(path))


def _lists(path: str | None) -> bool:
    return path is not None and path.endswith(("aggTrades", "klines"))
