"""A recording of a lab as the source of a replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pairlab.data.journal import GapMarked, TimeCorrected
from pairlab.errors import DataError
from pairlab.feeds.base import Closes
from pairlab.schema import TIME_CORRECTED, Pair
from pairlab.storage.recording.recorded_session import RecordedSession
from pairlab.storage.replay.recorded_bars import closed_by, gap_bars, recorded_seeds
from pairlab.storage.replay.tick_source import BarMark, Block, GapMark

__all__ = ["RecordingTicks", "is_recording"]

_MANIFEST: Final = "manifest.json"


def is_recording(path: Path) -> bool:
    """Return whether a path is the folder of a recording."""
    return (path / _MANIFEST).is_file()


class RecordingTicks:
    """The ticks of a recording, in the order in which the lab took them, read as they are played.

    What was recorded until it is opened is played, also while it is written on. Gaps are those that
    the lab marked, and where the recording itself has none of its ticks. Settings, rows and alerts
    that were recorded are not played: they are computed afresh, from the bars, too, that the
    exchange gave of the time before the first tick and of gaps.

    Parameters
    ----------
    path : Path
        The folder.
    pair : Pair
        The symbols of legs 0 and 1, as recorded.
    stream : str, optional
        What a tick is; it must be what was recorded.

    Raises
    ------
    DataError
        If it is no recording, one of another pair or stream, or has no ticks.
    """

    def __init__(self, path: Path, pair: Pair, stream: str | None = None) -> None:
        self.path: Final = path
        self._session = session = RecordedSession(path)
        if pair != session.pair:
            raise DataError(
                f"{path} is a recording of {session.pair.y} (y) and {session.pair.x} (x), not of "
                f"{pair.y} and {pair.x}"
            )
        if stream not in (None, session.stream):
            raise DataError(f"{path} is a recording of {session.stream} ticks, not of {stream}")
        if session.last_seq < session.first_seq:
            raise DataError(f"{path} is a recording without a tick")
        self.pair, self.stream = session.pair, session.stream
        self.time_span_ns = session.time_span_ns
        self.price_decimals: tuple[int, int] | None = session.price_decimals
        events = session.events()
        self._gaps = [event for event in events if isinstance(event, GapMarked | TimeCorrected)]
        self._bars = gap_bars(events)
        first_tick = next(iter(session.ticks(session.first_seq, session.first_seq)))[1]
        self.seeds: Mapping[str, Closes] = recorded_seeds(events, int(first_tick["time_ns"][0]))
        count = session.last_seq - session.first_seq + 1
        self.notes = [
            f"recording of {session.feed}, {session.stream}, {count:,} ticks, {session.status}"
        ]
        if session.losses:
            self.notes.append(f"{len(session.losses)} times what was written last was torn")

    def blocks(self, start_ns: int | None = None, before: int = 0) -> Iterator[Block]:
        """Do as `TickSource.blocks`."""
        session = self._session
        first = session.first_seq
        if start_ns is not None:
            first = max(session.seq_at(start_ns) - before, first)
        gaps = [gap for gap in self._gaps if gap.tick >= first]
        bars = [known for known in self._bars if known.tick >= first]
        due = bars_due = 0
        for seq, ticks in session.ticks(first, session.last_seq):
            marks = []
            while due < len(gaps) and gaps[due].tick < seq + len(ticks):
                gap = gaps[due]
                if isinstance(gap, GapMarked):
                    # How many are missing may be unknown: one at least.
                    marks.append(GapMark(max(gap.tick - seq, 0), gap.missing or 1, gap.legs))
                elif gap.tick >= seq:  # else the recording lacks that tick
                    marks.append(GapMark(gap.tick - seq, 0, TIME_CORRECTED))
                due += 1
            known = []
            while bars_due < len(bars) and bars[bars_due].tick < seq + len(ticks):
                tick, timeframe, closes, until_tick = bars[bars_due]
                at = max(tick - seq, 0)
                if until_tick:
                    closes = closed_by(closes, int(ticks["time_ns"][at]))
                known.append(BarMark(at, timeframe, closes))
                bars_due += 1
            yield Block(ticks, marks, known)
