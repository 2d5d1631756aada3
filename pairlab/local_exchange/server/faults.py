"""Faults between the exchange and its clients: injected one by one, or at random.

==================  ============================================================================
Messages            ``duplicate`` `count` messages of a stream again · ``gap`` `count` messages of a
                    stream never sent, REST has them · ``reorder`` `count` messages sorted by stream
                    instead of by time · ``na`` a trade sent as ``X="NA"`` · ``malformed`` a corrupt
                    message in between · ``oversize`` one of `size` bytes in between
Streams             ``stall`` a stream (or all) is silent for `seconds`, pings are answered ·
                    ``silent`` the next connection's streams are acknowledged and never deliver
Connections         ``drop`` aborted · ``close`` with `code` · ``half_open`` nothing is sent or read
                    for `seconds`, the socket stays · ``shutdown`` a serverShutdown event, and
                    `seconds` later the close
Handshakes          ``refuse`` with HTTP `status` · ``slow_handshake`` after `seconds` ·
                    ``accept_then_close`` with `code`
REST                ``rest_status`` HTTP `status` · ``rest_late`` after `seconds` · ``rest_short``
                    half of the rows · ``rest_empty`` none
Maintenance         ``restart_ids`` every connection is closed with `code`, ids go on at `count`,
                    and REST knows no trade from before; at once, and of a synthetic market only
==================  ============================================================================

Faults of messages, streams (but ``silent``) and connections can happen at any message, those of
handshakes and ``silent`` at any handshake, those of REST at any request.
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
from pairlab.local_exchange.protocol.messages import Message
from pairlab.local_exchange.server.malformed import corrupt, not_available

__all__ = ["FAULT_KINDS", "REPAIRABLE", "RESTART_IDS", "Fault", "FaultState", "Faults", "Outgoing"]

_MESSAGE_KINDS: Final = ("duplicate", "gap", "reorder", "na", "malformed", "oversize")
_STREAM_KINDS: Final = ("stall",)
_CONNECTION_KINDS: Final = ("drop", "close", "half_open", "shutdown")
_HANDSHAKE_KINDS: Final = ("refuse", "slow_handshake", "accept_then_close", "silent")
_REST_KINDS: Final = ("rest_status", "rest_late", "rest_short", "rest_empty")

_AT_MESSAGE: Final = _MESSAGE_KINDS + _STREAM_KINDS + _CONNECTION_KINDS
_OPPORTUNITIES: Final = (_AT_MESSAGE, _HANDSHAKE_KINDS, _REST_KINDS)

FAULT_KINDS: Final = _AT_MESSAGE + _HANDSHAKE_KINDS + _REST_KINDS
"""Every kind of fault that can happen at random."""

RESTART_IDS: Final = "restart_ids"
"""The kind of fault that happens to the market, and is only injected."""

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
"""Kinds that a feed can repair from REST, so that its ticks are the same in the end."""

_IDS: Final = {"aggTrade": re.compile(rb'"a":(\d+)'), "trade": re.compile(rb'"t":(\d+)')}

Outgoing: TypeAlias = tuple[str, bytes, bool]
"""Stream, payload, and whether it is raw: sent unchanged, and never unwrapped."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Parameters
    ----------
    kind : str
        One of `FAULT_KINDS`, or `RESTART_IDS`.
    stream : str, optional
        Only on this stream; by default on any, for ``stall`` and ``silent`` on all.
    path : str, optional
        Only REST requests whose path ends with it, such as ``"aggTrades"``.
    count : int, default 1
        Number of messages, or of consecutive handshakes or requests; ``restart_ids``: first id.
    seconds : float, default 1.0
        Duration or delay.
    code : int, default 1001
        Close code; 1006 closes the connection without a close frame.
    status : int, default 503
        HTTP status.
    retry_after_s : float, default 1
        ``Retry-After`` of 429, 418 and 503.
    size : int, default 2 MiB
        Bytes of an oversize message.
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
        if self.kind not in (kinds := (*FAULT_KINDS, RESTART_IDS)):
            raise SettingError("kind", self.kind, "expected one of " + ", ".join(kinds))
        if self.count < 1:
            raise SettingError("count", self.count, "expected 1 or more")
        if not self.seconds >= 0:
            raise SettingError("seconds", self.seconds, "expected 0 or more")


@dataclass(slots=True)
class FaultState:
    """Faults in progress on one connection.

    Attributes
    ----------
    gaps : dict of str to int
        Messages still to be left out, by stream; -1: the next one becomes ``X="NA"``.
    stalled : dict of str to float
        Streams that are silent until then (loop time, s); "" stands for all.
    silent : set of str
        Streams that never deliver; "" stands for all.
    frozen : bool
        Half-open: nothing is sent or read any more.
    reorder : int
        Number of next messages to sort by stream.
    copies : dict of str to list of bytes
        Messages of a stream collected so far to be sent again.
    copies_left : dict of str to int
        How many of them are still to be collected.
    """

    gaps: dict[str, int] = field(default_factory=dict)
    stalled: dict[str, float] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    frozen: bool = False
    reorder: int = 0
    copies: dict[str, list[bytes]] = field(default_factory=dict)
    copies_left: dict[str, int] = field(default_factory=dict)

    @property
    def has_faults(self) -> bool:
        """Whether any fault is in progress."""
        return bool(
            self.gaps or self.stalled or self.silent or self.frozen or self.reorder or self.copies
        )


@dataclass(slots=True)
class _RandomFault:
    fault: Fault
    mean_interval: float
    countdown: int


@dataclass(slots=True)
class _InjectedFault:
    fault: Fault
    left: int
    happened: asyncio.Event


class Faults:
    """Random and injected faults; pass it to `LocalExchange`.

    Parameters
    ----------
    every : mapping of Fault to float, optional
        The mean number of opportunities between two occurrences of each fault.
    seed : int, default 0
        Of the random numbers.
    at_most : int, optional
        Maximum number of random faults of each kind.

    Attributes
    ----------
    counts : Counter of str
        Occurrences of each kind.
    removed : dict of str to list of int
        Ids, by stream, withheld from the clients by ``gap`` and ``na``.
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
        self._random: dict[tuple[str, ...], list[_RandomFault]] = {
            kinds: [] for kinds in _OPPORTUNITIES
        }
        for fault, mean in (every or {}).items():
            if fault.kind == RESTART_IDS:
                raise SettingError("every", fault.kind, "expected one of " + ", ".join(FAULT_KINDS))
            if not mean >= 1:
                raise SettingError(f"every[{fault.kind}]", mean, "expected 1 or more")
            kinds = next(kinds for kinds in _OPPORTUNITIES if fault.kind in kinds)
            self._random[kinds].append(_RandomFault(fault, mean, self._draw(mean)))
        self._injected: list[_InjectedFault] = []
        self.counts: Counter[str] = Counter()
        self.removed: dict[str, list[int]] = {}

    @classmethod
    def random_faults(
        cls,
        kinds: tuple[str, ...] = REPAIRABLE,
        *,
        every: float = 1_000.0,
        seed: int = 0,
        at_most: int | None = None,
    ) -> Self:
        """Return random faults of these kinds: those of messages about once in `every` messages.

        Those of streams and connections are ten times as rare; one handshake and one request in
        five fail.
        """
        defaults = {
            "gap": Fault("gap", count=3),
            "duplicate": Fault("duplicate", count=3),
            "reorder": Fault("reorder", count=20),
            "stall": Fault("stall", seconds=0.5),
            "half_open": Fault("half_open", seconds=30.0),
            "shutdown": Fault("shutdown", seconds=0.5),
            "slow_handshake": Fault("slow_handshake", seconds=0.3),
            "rest_late": Fault("rest_late", seconds=0.3),
        }
        intervals: dict[Fault, float] = {}
        for kind in kinds:
            fault = defaults.get(kind) or Fault(kind)
            if kind in _HANDSHAKE_KINDS or kind in _REST_KINDS:
                intervals[fault] = 5.0
            elif kind in ("oversize", *_STREAM_KINDS, *_CONNECTION_KINDS):
                intervals[fault] = every * 10
            else:
                intervals[fault] = every
        return cls(intervals, seed=seed, at_most=at_most)

    @property
    def active(self) -> bool:
        """Whether new faults of messages can happen; those in progress are in each `FaultState`."""
        return bool(self._random[_AT_MESSAGE] or self._injected)

    def inject(self, fault: Fault) -> asyncio.Event:
        """Make it happen at the next opportunity; the event is set when it has (`count` times)."""
        repeats = fault.count if fault.kind in (*_HANDSHAKE_KINDS, *_REST_KINDS) else 1
        injected = _InjectedFault(fault, repeats, asyncio.Event())
        self._injected.append(injected)
        return injected.happened

    def clear(self) -> None:
        """Remove injected and random faults; those in progress on connections continue."""
        self._injected.clear()
        for faults in self._random.values():
            faults.clear()

    def on_handshake(self) -> Iterator[Fault]:
        """Yield the faults of this handshake."""
        return self._matching(_HANDSHAKE_KINDS, None, None)

    def on_request(self, path: str) -> Iterator[Fault]:
        """Yield the faults of this REST request."""
        return self._matching(_REST_KINDS, None, path.partition("?")[0])

    def apply(
        self, state: FaultState, batch: list[Message], now_s: float, now_ns: int
    ) -> Iterator[list[Outgoing] | Fault]:
        """Yield what is sent instead of the batch, and in between the faults of the connection.

        The caller stops iterating if a fault that was yielded ends the connection.
        """
        out: list[Outgoing] = []
        for stream, payload in batch:
            extra: list[Outgoing] = []
            for fault in self._matching(_AT_MESSAGE, stream, None):
                if fault.kind in _CONNECTION_KINDS:
                    if fault.kind == "shutdown":
                        notice = f'{{"e":"serverShutdown","E":{now_ns // 1_000_000}}}'
                        out.append(("", notice.encode(), True))
                    yield self._reorder(state, out)
                    out = []
                    yield fault
                else:
                    extra += self._start(fault, state, stream, payload, now_s)
            sent = self._filter(state, stream, payload, now_s)
            if sent is not None:
                out.append((stream, sent, False))
                out += self._duplicates(state, stream, sent)
            out += extra
        yield self._reorder(state, out)

    def _start(
        self, fault: Fault, state: FaultState, stream: str, payload: bytes, now_s: float
    ) -> list[Outgoing]:
        """Start a fault of messages or streams; return what is sent after this message."""
        if fault.kind == "gap":
            state.gaps[stream] = state.gaps.get(stream, 0) + fault.count
        elif fault.kind == "stall":
            state.stalled[fault.stream or ""] = now_s + fault.seconds
        elif fault.kind == "reorder":
            state.reorder = fault.count
        elif fault.kind == "na":
            state.gaps[stream] = -1
        elif fault.kind == "duplicate":
            state.copies.setdefault(stream, [])
            state.copies_left[stream] = fault.count
        elif fault.kind == "malformed":
            # After the valid message: the id in the corrupt copy is then known already.
            return [("", corrupt(self.counts["malformed"], payload), True)]
        elif fault.kind == "oversize":
            return [("", b'{"stream":"x","data":"' + b"x" * fault.size + b'"}', True)]
        return []

    @staticmethod
    def _duplicates(state: FaultState, stream: str, payload: bytes) -> list[Outgoing]:
        """Collect messages to be sent again; return them when they are complete."""
        if stream not in state.copies:
            return []
        state.copies[stream].append(payload)
        state.copies_left[stream] -= 1
        if state.copies_left[stream] > 0:
            return []
        del state.copies_left[stream]
        return [(stream, copy, False) for copy in state.copies.pop(stream)]

    def _filter(self, state: FaultState, stream: str, payload: bytes, now_s: float) -> bytes | None:
        """Return the message as it is sent, None if it is not."""
        if self._is_silent(state, stream, now_s):
            return None
        left = state.gaps.get(stream, 0)
        if not left:
            return payload
        self._record_removed(stream, payload)
        if left < 0:
            del state.gaps[stream]
            return not_available(payload)
        if left > 1:
            state.gaps[stream] = left - 1
        else:
            del state.gaps[stream]
        return None

    @staticmethod
    def _is_silent(state: FaultState, stream: str, now_s: float) -> bool:
        if state.frozen or stream in state.silent or "" in state.silent:
            return True
        for name in [name for name, until_s in state.stalled.items() if until_s <= now_s]:
            del state.stalled[name]
        return stream in state.stalled or "" in state.stalled

    def _record_removed(self, stream: str, payload: bytes) -> None:
        pattern = _IDS.get(stream.partition("@")[2])
        found = pattern.search(payload) if pattern is not None else None
        if found is not None:
            self.removed.setdefault(stream, []).append(int(found[1]))

    @staticmethod
    def _reorder(state: FaultState, out: list[Outgoing]) -> list[Outgoing]:
        """Sort the first `reorder` messages by stream: each stream's own order is kept."""
        if not state.reorder:
            return out
        window = out[: state.reorder]
        streams = list(dict.fromkeys(stream for stream, _, _ in window))
        if len(streams) < 2:
            return out  # only one stream; try again with the next batch
        state.reorder = 0
        last_first = streams[::-1]
        window.sort(key=lambda sent: last_first.index(sent[0]))
        return window + out[len(window) :]

    def _matching(
        self, kinds: tuple[str, ...], stream: str | None, path: str | None
    ) -> Iterator[Fault]:
        """Yield the faults of this opportunity: injected ones first, then random ones."""
        for injected in list(self._injected):
            if injected.fault.kind in kinds and _matches(injected.fault, stream, path):
                injected.left -= 1
                if injected.left <= 0:
                    self._injected.remove(injected)
                    injected.happened.set()
                self.counts[injected.fault.kind] += 1
                yield injected.fault
        for random in self._random[kinds]:
            random.countdown -= 1
            if random.countdown > 0 or not _matches(random.fault, stream, path):
                continue
            random.countdown = self._draw(random.mean_interval)
            self.counts[random.fault.kind] += 1
            if self._at_most is not None and self.counts[random.fault.kind] >= self._at_most:
                self._random[kinds] = [c for c in self._random[kinds] if c is not random]
            yield random.fault

    def _draw(self, mean: float) -> int:
        return int(self._rng.geometric(1.0 / mean))


def _matches(fault: Fault, stream: str | None, path: str | None) -> bool:
    if fault.stream is not None and stream is not None and fault.stream != stream:
        return False
    if fault.path is not None and path is not None and not path.endswith(fault.path):
        return False
    if fault.kind == "na":
        return stream is not None and stream.endswith("@trade")
    return not (fault.kind in ("rest_short", "rest_empty") and not _returns_list(path))


def _returns_list(path: str | None) -> bool:
    return path is not None and path.endswith(("aggTrades", "klines"))
