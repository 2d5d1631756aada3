"""Replay: what was recorded as a feed, at any speed, paused, stepped through and sought in."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from pairlab.clock import SYSTEM_CLOCK, Clock
from pairlab.errors import DataError, FeedError
from pairlab.feeds.base import Closes, FeedHealth, FeedInfo, FeedState, ReplaySink, TickSink
from pairlab.feeds.log import concerning, feed_logger
from pairlab.schema import NS_PER_S, Pair
from pairlab.settings import SettingValues
from pairlab.storage.replay.pace import Pace, PieceSize, check_speed
from pairlab.storage.replay.tables.columns import check_columns
from pairlab.storage.replay.tick_cursor import TickCursor
from pairlab.storage.replay.tick_source import TickSource

__all__ = ["Replay"]

_logger: Final = feed_logger("pairlab.feeds.replay")

_LONGEST_SLEEP_S: Final = 60.0


class Replay:
    """What was recorded, as the feed of a lab: ``PairLab(feed=Replay(path, speed=10))``.

    Ticks go straight into the lab, paced by their recorded receive times (trade times where there
    are none). A run begins at the beginning, with clean rows; at the end the lab stops. A lab's
    ``playback`` is this object: `play`, `pause`, `step_tick`, `step_row`, `seek`, `speed`. Of a
    saved session, each setting that the lab has at its default begins as it was before the first
    tick.

    Parameters
    ----------
    paths : path or sequence of paths
        A recording; a session that `PairLab.save` wrote; recorded frames; files of Binance's public
        archive; or CSV, NDJSON or Parquet of your own: times, prices, and a column of symbols or
        one file a symbol. Of a folder, all files in it.
    speed : float
        Seconds of the recording per second; ``float("inf")``: as fast as it goes.
    stream : {"aggTrade", "trade", "bookTicker"}, optional
        What a tick is; by default what was recorded.
    columns : mapping of str to str, optional
        Of your own files: the names of the columns of ``time``, ``price``, ``symbol``,
        ``quantity``, ``id``, ``received`` and ``side``. Those that are not given are guessed, and
        the lab's event log says how.
    clock : Clock, optional
        What paces it; by default the lab's.

    Attributes
    ----------
    restart : callable
        Called when it is played, or sent to a time, while it does not run; a lab sets it.

    Raises
    ------
    SettingError
        If `speed` or `columns` is none.
    DataError
        If there is nothing at a path.

    Notes
    -----
    Everything is called on the lab's loop. A seek forgets all rows and makes those from before the
    time anew, from so many ticks before it that a window is full (and a Kalman hedge learnt) at
    it; the event log says from how far before. Position and cooldown are those that these ticks
    lead to.
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        speed: float = 1.0,
        *,
        stream: str | None = None,
        columns: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        self.paths = tuple(Path(path) for path in given)
        if not self.paths:
            raise DataError("a replay needs at least one file")
        for path in self.paths:
            try:
                os.lstat(path)
            except (OSError, ValueError):
                raise DataError(f"{path}: no such file or folder") from None
        check_columns(columns)
        self.restart: Callable[[], None] = lambda: None
        self._columns = dict(columns) if columns is not None else None
        self._given_clock = clock
        self._clock = clock or SYSTEM_CLOCK
        self._stream = stream
        self._source: TickSource | None = None
        self._pace = Pace(self._clock, check_speed(speed))
        self._piece = PieceSize()
        self._playing = True
        self._stepping: Literal["tick", "row"] | None = None
        self._step_from = 0
        self._target_ns: int | None = None
        self._running = False
        self._wake = asyncio.Event()
        self._position_ns = 0
        self._resets = 0
        self._ticks = self._gaps = self._missing = 0
        self._state: FeedState = "connecting"
        self._detail = "reading the recording"

    async def open(self, pair: Pair, stream: str | None = None, clock: Clock | None = None) -> None:
        """Read what there is of a pair, in a thread; the lab does so.

        Parameters
        ----------
        pair : Pair
            The symbols.
        stream : str, optional
            What a tick is, unless the replay was told.
        clock : Clock, optional
            What paces it, unless the replay has one.

        Raises
        ------
        DataError
            If it cannot be read, or does not have both symbols.
        MissingExtraError
            Where it needs ``pip install "pairlab[storage]"``.
        """
        wanted = self._stream or stream
        if self._given_clock is None and clock is not None and clock is not self._clock:
            self._clock = clock
            self._pace = Pace(clock, self._pace.speed)
            self._pace.hold(not self._playing)
        source = self._source
        if source is None or source.pair != pair or wanted not in (None, source.stream):
            self._source = None
            self._source = await asyncio.to_thread(self._opened, pair, wanted)

    def _opened(self, pair: Pair, stream: str | None) -> TickSource:
        # A lab that replays nothing, as most, starts sooner without what reads files.
        from pairlab.storage.replay.open_source import open_source

        return open_source(self.paths, pair, stream, self._columns)

    # -- what a feed has ---------------------------------------------------------------------------

    @property
    def info(self) -> FeedInfo:
        """REPLAY, no real money."""
        stream = self._source.stream if self._source is not None else self._stream
        return FeedInfo("REPLAY", False, stream or "aggTrade", replay=True, checks_times=True)

    def health(self) -> FeedHealth:
        """Return state and counters."""
        return FeedHealth(
            self._state, self._words() if self._running else self._detail,
            ticks=self._ticks, gaps=self._gaps, missing=self._missing,
        )  # fmt: skip

    def _words(self) -> str:
        if self._target_ns is not None:
            return f"going to {_told(self._target_ns)}"
        if not self._playing:
            return f"paused at {_told(self._position_ns)}"
        speed = self._pace.speed
        return "playing as fast as it goes" if speed == float("inf") else f"playing at {speed:g}×"

    @property
    def recording(self) -> Path | None:
        """The folder of the recording that it plays; None before it is open, or of other files."""
        if self._source is None:
            return None
        from pairlab.storage.replay.recordings import RecordingTicks  # as in _opened

        return self._source.path if isinstance(self._source, RecordingTicks) else None

    @property
    def saved_settings(self) -> SettingValues | None:
        """Those before the first tick of a saved session; None before it is open, or of others."""
        if self._source is None:
            return None
        from pairlab.storage.replay.sessions import SessionTicks  # as in _opened

        return self._source.settings if isinstance(self._source, SessionTicks) else None

    def price_decimals(self) -> tuple[int, int] | None:
        """Return the decimals of y and x; None before it is open."""
        return self._source.price_decimals if self._source is not None else None

    async def seed_closes(self, timeframe: str, count: int) -> Closes | None:
        """Return the bars from before the first tick, as far as they were recorded."""
        bars = self._source.seeds.get(timeframe) if self._source is not None else None
        if bars is None:
            return None
        times, y, x = bars
        return times[-count:], y[-count:], x[-count:]

    async def run(self, sink: TickSink) -> None:
        """Play from the beginning, or from where `seek` was told, to the end.

        Raises
        ------
        FeedError
            Before `open`, while it runs already, or for a sink that is no `ReplaySink`.
        DataError
            Where the recording cannot be read on.
        """
        if self._source is None:
            raise FeedError("open() comes before run()")
        if self._running:
            raise FeedError("this replay runs in another lab: make another one of the same path")
        if not isinstance(sink, ReplaySink):
            raise FeedError("a replay needs a sink that can begin anew: pairlab.feeds.ReplaySink")
        self._running, self._wake = True, asyncio.Event()
        self._ticks = self._gaps = self._missing = 0
        self._state, self._detail = "live", "stopped"
        for note in self._source.notes:
            _logger.info(note, extra=concerning([self]))
        try:
            await self._play(sink, self._source)
            self._state, self._detail = "stopped", "the recording ended"
        finally:
            self._running, self._playing, self._stepping = False, True, None
            self._pace.hold(False)
            if self._state == "live":
                self._state = "stopped"

    # -- the transport -----------------------------------------------------------------------------

    @property
    def playing(self) -> bool:
        """Whether it goes on by itself."""
        return self._playing

    @property
    def speed(self) -> float:
        """Seconds of the recording per second; infinity: as fast as it goes."""
        return self._pace.speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._pace.set_speed(check_speed(speed))
        self._stir()

    @property
    def position_ns(self) -> int:
        """Exchange time up to which it was played, ns since 1970 UTC; 0 before it is open."""
        if self._target_ns is not None:
            return self._target_ns
        span = self.time_span_ns
        return self._position_ns or (span[0] if span is not None else 0)

    @property
    def time_span_ns(self) -> tuple[int, int] | None:
        """Exchange times of the first and last tick; None before it is open."""
        return self._source.time_span_ns if self._source is not None else None

    @property
    def resets(self) -> int:
        """How often rows were forgotten, because it was started or sent to another time."""
        return self._resets

    def play(self) -> None:
        """Go on; after the end, from the beginning."""
        self._hold(False)

    def pause(self) -> None:
        """Stay where it is."""
        self._playing = False
        self._stepping = None
        self._pace.hold(True)
        self._stir()

    def step_tick(self) -> None:
        """Pause, and hand on the next tick alone."""
        self._step("tick")

    def step_row(self) -> None:
        """Pause, and hand on ticks until there is one more row."""
        self._step("row")

    def _step(self, what: Literal["tick", "row"]) -> None:
        self._hold(True)
        self._stepping, self._step_from = what, -1

    def _hold(self, held: bool) -> None:
        self._playing, self._stepping = not held, None
        self._pace.hold(held)
        self._stir()
        if not self._running:
            self.restart()

    def seek(self, time_ns: int) -> None:
        """Go to a time, forward or back; rows are warm there.

        Parameters
        ----------
        time_ns : int
            Exchange time, ns since 1970 UTC; before the beginning it is the beginning, beyond the
            end the end.
        """
        span = self.time_span_ns
        self._target_ns = time_ns if span is None else min(max(time_ns, span[0]), span[1])
        self._stir()
        if not self._running:
            self.restart()

    def _stir(self) -> None:
        self._wake.set()

    # -- playing -----------------------------------------------------------------------------------

    async def _play(self, sink: ReplaySink, source: TickSource) -> None:
        cursor = await self._begin(sink, source)
        try:
            while True:
                if self._target_ns is not None:
                    await cursor.close()
                    cursor = await self._begin(sink, source)
                elif not await cursor.has_ticks():
                    return
                elif count := self._count_due(sink, cursor):
                    self._hand_on(sink, cursor, count)
                    await asyncio.sleep(0)
                else:
                    await self._sleep(int(cursor.due_ns[0]))
        finally:
            await cursor.close()

    async def _begin(self, sink: ReplaySink, source: TickSource) -> TickCursor:
        """Begin anew: at the beginning, or warm at the time that was asked for."""
        target_ns = self._target_ns
        before, span_ns = (0, 0) if target_ns is None else sink.warm_up_need()
        start_ns = None if target_ns is None else target_ns - span_ns
        cursor = TickCursor(source.blocks(start_ns, before))
        try:
            begins = start_ns is None or start_ns <= source.time_span_ns[0]
            sink.on_reset(source.seeds if begins else {})
            self._resets += 1
            self._position_ns = source.time_span_ns[0]
            if target_ns is not None:
                await self._warm_up(sink, cursor, target_ns)
            if await cursor.has_ticks():
                self._pace.go_to(int(cursor.due_ns[0]))
        except BaseException:
            await cursor.close()
            raise
        return cursor

    async def _warm_up(self, sink: ReplaySink, cursor: TickCursor, target_ns: int) -> None:
        warmed, since_ns = 0, target_ns
        while await cursor.has_ticks():
            count, first_ns = cursor.before(target_ns)
            if not count:
                break
            since_ns = since_ns if warmed else first_ns
            while count:
                piece = min(count, self._piece.ticks)
                self._hand_on(sink, cursor, piece, warm_up=True)
                warmed, count = warmed + piece, count - piece
                await asyncio.sleep(0)
                if self._target_ns != target_ns:
                    return  # sent elsewhere meanwhile
        self._target_ns, self._position_ns = None, target_ns
        _logger.info(
            f"at {_told(target_ns)} UTC: rows are computed from {warmed:,} ticks before it "
            f"({(target_ns - since_ns) / NS_PER_S:,.1f} s)",
            extra=concerning([self]),
        )

    def _count_due(self, sink: ReplaySink, cursor: TickCursor) -> int:
        if self._stepping is None:
            return self._pace.due(cursor.due_ns, self._piece.ticks)
        if self._step_from < 0:
            self._step_from = sink.row_count
        elif self._stepping == "tick" or sink.row_count > self._step_from:
            self._stepping = None
            return 0
        return 1

    async def _sleep(self, due_ns: int) -> None:
        """Wait until the next tick is due, or something is asked for."""
        self._wake.clear()
        delay_s = self._pace.delay_s(due_ns)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_SLEEP_S if delay_s is None else delay_s):
                await self._wake.wait()

    def _hand_on(
        self, sink: ReplaySink, cursor: TickCursor, count: int, *, warm_up: bool = False
    ) -> None:
        began_s = self._clock.monotonic_s()
        got = cursor.hand_on(sink, count, warm_up=warm_up)
        self._ticks += count
        self._gaps += got.gaps
        self._missing += got.missing
        self._position_ns = max(self._position_ns, got.newest_ns)
        self._piece.took(count, self._clock.monotonic_s() - began_s)


def _told(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns / NS_PER_S, UTC):%Y-%m-%d %H:%M:%S}"
