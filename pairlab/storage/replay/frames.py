"""Raw frames as a recorder wrote them down: decoded and put in order as a live feed does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from pairlab.errors import DataError
from pairlab.feeds.binance.messages import (
    STREAMS,
    ConsumedId,
    ControlMessage,
    TickTuple,
    WireDecoder,
)
from pairlab.feeds.sequencing.clock_guard import CorrectedTick, LegGuards
from pairlab.feeds.sequencing.sequencer import Sequencer
from pairlab.schema import NS_PER_S, TICK, TIME_CORRECTED, Pair, Records
from pairlab.storage.replay.tick_source import GapMark, HeldTicks, IdGaps

if TYPE_CHECKING:
    from pairlab.local_exchange.market.recording import Recording

__all__ = ["listed", "open_frames", "recorded_stream", "symbols_of"]

_TOGETHER: Final = 256
_WAIT_S: Final = 1.0
"""Seconds of the recording after which an id that is still missing is a gap."""

_MAX_LISTED: Final = 12


def recorded_stream(recording: Recording) -> str | None:
    """Return the kind of stream of an opened recording that is played by default, if any."""
    kinds = {name.partition("@")[2] for name in recording.streams}
    return next((kind for kind in STREAMS if kind in kinds), None)


def symbols_of(recording: Recording, kind: str | None) -> list[str]:
    """Return the symbols of an opened recording that have this kind of stream.

    Raises
    ------
    DataError
        If none has.
    """
    symbols = [
        info.symbol
        for info in recording.symbols()
        if recording.has_stream(f"{info.symbol.lower()}@{kind}")
    ]
    if not symbols:
        raise DataError(
            f"the recording has no messages of {kind or 'aggTrade, trade or bookTicker'}; it has "
            + listed(recording.streams)
        )
    return symbols


def listed(names: Iterable[str]) -> str:
    """Return names in order, a dozen at most."""
    found = sorted(names)
    more = len(found) - _MAX_LISTED
    return ", ".join(found[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


class _RecordedClock:
    """The recording's own time: a gap is as old as the recording says."""

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_s(self) -> float:
        return self.now_ns / NS_PER_S

    def time_ns(self) -> int:
        return self.now_ns


def open_frames(paths: list[Path], pair: Pair, stream: str | None = None) -> HeldTicks:
    """Return the ticks in recorded frames of a pair.

    Frames are merged by receive time, as `pairlab.exchange.Recording` does, and played in the order
    in which they came; a missing id is a gap of its leg. Where ids do not ascend (of two
    connections, say), those that are there twice are dropped, those out of order put in order, and
    what does not come within a second of the recording is a gap.

    Parameters
    ----------
    paths : list of Path
        Files, or folders of them.
    pair : Pair
        The symbols.
    stream : str, optional
        What a tick is; by default what the recording holds.

    Raises
    ------
    DataError
        If a file cannot be read, or does not hold the stream of both symbols.
    """
    from pairlab.local_exchange.market.recording import Recording  # a lab may never need it

    recording = Recording(paths)
    recording.open()
    kind = stream or recorded_stream(recording) or ""
    symbols = symbols_of(recording, kind)
    missing = [symbol for symbol in pair if symbol not in symbols]
    if missing:
        raise DataError(
            f"the recording has no {kind} messages of {' and '.join(missing)}; it has those of "
            + listed(symbols)
        )
    wanted = [f"{symbol.lower()}@{kind}" for symbol in pair]
    decoder = WireDecoder(pair, kind)
    items: list[TickTuple | ConsumedId] = []
    for received_ns, frame in recording.frames(wanted):
        item = decoder.decode(frame, received_ns)
        if item is not None and not isinstance(item, ControlMessage):
            items.append(item)
    # Of the recorder's clock nothing is known: were it behind, all would be ahead, and left alone.
    guard = LegGuards(recording, len(pair))
    guard.set_offset(0)
    items = [*guard.corrected(items), *guard.flush()]
    contiguous = kind != "bookTicker"
    ids = np.array([item[2:4] for item in items], np.int64).reshape(-1, 2)
    ascending = all((np.diff(ids[ids[:, 1] == leg, 0]) > 0).all() for leg in (0, 1))
    if ascending:
        ticks, gaps, dropped = _as_they_came(items, contiguous=contiguous)
    else:
        ticks, gaps, dropped = _put_in_order(items, contiguous=contiguous)
    dropped.update(decoder.dropped)
    notes = [f"raw frames of {kind}, {len(ticks):,} ticks"]
    if guard.count:
        notes.append(f"{guard.count:,} stamped ahead of the clock, at corrected times")
    if dropped:
        told = ", ".join(f"{n:,} {reason}" for reason, n in dropped.items())
        notes.append(f"not played: {told}")
    decimals = {info.symbol: info.price_precision for info in recording.symbols()}
    return HeldTicks(
        pair, kind, ticks, gaps, notes=notes, price_decimals=(decimals[pair.y], decimals[pair.x])
    )


def _as_they_came(
    items: list[TickTuple | ConsumedId], *, contiguous: bool
) -> tuple[Records, list[GapMark], Counter[str]]:
    """Return the ticks among items whose ids ascend, and the gaps, at once where an id is missing.

    An id that no tick has is no gap.
    """
    traded = np.array([not isinstance(item, ConsumedId) for item in items], np.bool_)
    found = [item for item in items if not isinstance(item, ConsumedId)]
    ticks = np.array(found, TICK)
    gaps = _corrected(found)
    if contiguous:
        all_ids = np.zeros(len(items), TICK)
        all_ids["id"] = [item[2] for item in items]
        all_ids["leg"] = [item[3] for item in items]
        before: list[int] = (np.cumsum(traded) - traded).tolist()
        for mark in IdGaps().find(all_ids):
            gaps.append(mark._replace(at=before[mark.at]))
    return ticks, sorted(gaps), Counter()


def _corrected(ticks: Sequence[TickTuple], first: int = 0) -> list[GapMark]:
    """Return the marks of ticks that were stamped ahead; the first one has this number."""
    return [
        GapMark(first + at, 0, TIME_CORRECTED)
        for at, tick in enumerate(ticks)
        if isinstance(tick, CorrectedTick)
    ]


def _put_in_order(
    items: list[TickTuple | ConsumedId], *, contiguous: bool
) -> tuple[Records, list[GapMark], Counter[str]]:
    """Return ticks whose ids do not ascend as a live feed hands them on."""
    clock = _RecordedClock()
    ids = Sequencer(contiguous=contiguous, repairable=False, clock=clock)
    parts: list[Records] = []
    gaps: list[GapMark] = []
    count = 0

    def take() -> None:
        nonlocal count
        for lost, legs, ticks in ids.take():
            if lost:
                gaps.append(GapMark(count, lost, legs))
            gaps.extend(_corrected(ticks, count))
            if ticks:
                parts.append(np.array(ticks, TICK))
                count += len(ticks)

    for number, item in enumerate(items):
        clock.now_ns = item[1]
        ids.accept(item)
        if number % _TOGETHER == 0:
            for gap in ids.open_gaps():
                if clock.monotonic_s() - gap.since_s > _WAIT_S:
                    ids.give_up(gap.leg)
            take()
    ids.finish()
    take()
    return np.concatenate([np.zeros(0, TICK), *parts]), gaps, ids.dropped
