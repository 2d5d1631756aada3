"""The protocol between a lab and its feed: what a feed is, and what it may rely on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pairlab.schema import BOTH_LEGS, Records

__all__ = [
    "BOTH_LEGS",
    "Closes",
    "Feed",
    "FeedHealth",
    "FeedInfo",
    "FeedState",
    "LegGapSink",
    "ReplaySink",
    "TickSink",
]

FeedState = Literal["connecting", "live", "stalled", "reconnecting", "stopped", "failed"]

Closes: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""Close times (ns since 1970 UTC, exclusive), closes of y, closes of x; shape (n,) each."""


@dataclass(frozen=True, slots=True)
class FeedInfo:
    """What a feed is, known before it runs and the same ever after.

    Attributes
    ----------
    name : str
        Shown beside the state: ``BINANCE``, ``SIMULATED``, ``REPLAY`` …
    real_money : bool
        Whether it is the live market; the screen says so.
    stream : str
        What a tick is, in the exchange's own word, such as ``aggTrade``.
    replay : bool
        It plays what was recorded: receive times are those of the recording, not of this machine's
        clock; every run begins at the beginning, and the feed resets its sink (`ReplaySink`) then
        and wherever it is sent to another time.
    checks_times : bool
        It sees to it that no trade's time is ahead of the receive clock; else the lab does.
    """

    name: str
    real_money: bool
    stream: str
    replay: bool = False
    checks_times: bool = False


class TickSink(Protocol):
    """Where a feed delivers. Both methods are called on the feed's loop and return at once."""

    def on_ticks(self, ticks: Records) -> None:
        """Take the next ticks.

        Parameters
        ----------
        ticks : structured array
            Of `pairlab.TICK`, shape (n,), n > 0. It is the sink's from now on: a feed must not
            write to it again.
        """

    def on_gap(self, missing: int) -> None:
        """Note that trades are missing before the first of the next ticks.

        There are no rows until both legs have traded again: their prices are not known.

        Parameters
        ----------
        missing : int
            How many, 1 at least.
        """


@runtime_checkable
class LegGapSink(TickSink, Protocol):
    """A sink that can be told whose trades are missing."""

    def on_leg_gap(self, missing: int, legs: int) -> None:
        """Note that trades are missing before the first of the next ticks, as `on_gap`.

        Parameters
        ----------
        missing : int
            How many, 1 at least.
        legs : int
            Whose: 1 y, 2 x, 3 both. The price of such a leg is not known until it trades again.
        """


@runtime_checkable
class CorrectedTimeSink(TickSink, Protocol):
    """A sink that can be told which ticks do not have the time that the exchange gave them."""

    def on_corrected_time(self) -> None:
        """Note that the first of the next ticks was stamped ahead of the clock, and corrected."""


@runtime_checkable
class ReplaySink(LegGapSink, Protocol):
    """A sink that can begin anew, as a replay does that is restarted or sent to another time."""

    @property
    def row_count(self) -> int:
        """How many rows were made since the last reset."""

    def warm_up_need(self) -> tuple[int, int]:
        """Return what makes rows warm at a time: ticks, and nanoseconds, before it."""

    def on_reset(self, closes: Mapping[str, Closes]) -> None:
        """Forget every tick and row: what comes next does not continue what came before.

        Parameters
        ----------
        closes : Mapping[str, Closes]
            By timeframe: bars from before the first tick that comes next, as far as known.
        """

    def on_closes(self, timeframe: str, closes: Closes) -> None:
        """Take bars of a gap, right before the first tick after it.

        Parameters
        ----------
        timeframe, closes
            As `Feed.seed_closes` takes and returns them.
        """

    def on_warm_up(self, ticks: Records) -> None:
        """Take ticks from before the time that is played: rows are made, no alert is delivered.

        Parameters
        ----------
        ticks : structured array
            As in `on_ticks`.
        """


@dataclass(frozen=True, slots=True)
class FeedHealth:
    """A feed at one moment.

    Attributes
    ----------
    state : FeedState
        ``live`` only after first data of every stream, never on an acknowledgement.
    detail : str
        Why it is in that state and what comes next, in one plain sentence without a full stop.
    ticks : int
        Ticks handed on.
    dropped : Mapping[str, int]
        What was not handed on, by reason.
    reconnects : int
        Connections opened after the first.
    gaps : int
        Gaps in the ids that could not be filled.
    missing : int
        Trades in those gaps.
    lag_ms : float
        Receive time minus the exchange's event time, corrected by the clocks' offset; NaN before
        the first tick.
    bad_frames : tuple of str
        The last few frames that could not be read, shortened, for inspection.
    lag_p50_ms, lag_p99_ms : float
        Quantiles of the lag over the last ticks (8,192 at most); NaN before the first.
    clock_offset_ms : float
        This machine's clock minus the exchange's; NaN while unknown.
    loop_lag_max_ms : float
        Longest time the event loop was late in the last ten seconds: a cell that blocks shows
        here, a feed that is behind shows in the lag alone.
    held : int
        Ticks held back behind a gap that is being filled.
    repaired : int
        Trades fetched to fill gaps.
    attempts : int
        Connections tried, the first one included.
    stalled_legs : int or None
        Legs (1 y, 2 x, 3 both) whose prices are not known because their streams are stalled; a
        feed that fills or reports such gaps by itself says 0. None: it does not tell legs apart;
        while its state is ``stalled``, a leg older than ``max_leg_age_s`` counts as one of them.
    """

    state: FeedState
    detail: str
    ticks: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    reconnects: int = 0
    gaps: int = 0
    missing: int = 0
    lag_ms: float = float("nan")
    bad_frames: tuple[str, ...] = ()
    lag_p50_ms: float = float("nan")
    lag_p99_ms: float = float("nan")
    clock_offset_ms: float = float("nan")
    loop_lag_max_ms: float = 0.0
    held: int = 0
    repaired: int = 0
    attempts: int = 0
    stalled_legs: int | None = None


@runtime_checkable
class Feed(Protocol):
    """Where the ticks of one pair come from.

    A lab opens its feed by `run` and closes it by cancelling that call; it may run it again later.
    Everything below is called on the lab's event loop. `pairlab.feeds.BinanceFeed` is the
    complete example; any object with these five members can be passed to ``PairLab(feed=…)``.

    Attributes
    ----------
    info : FeedInfo
        Name, kind of market and stream. Constant; read before the first run.

    Notes
    -----
    Ordering
        Deliver the ticks of each leg in the order of their ids. Between the legs any order will
        do; the order of arrival is the usual one. Times should not fall within a leg: an older
        tick is counted at the newest time seen.
    Ids
        An id is the exchange's sequence number, one series for each symbol. Deliver each id once:
        after a reconnect, drop what was delivered before. An exchange without contiguous ids
        cannot show its gaps; then count up yourself.
    Gaps
        Fill a gap before the ticks after it are delivered, if the exchange has a history to ask.
        Give up after a limit of time, not never: what waits behind a gap is late on the screen.
        A gap that stays is reported by ``sink.on_gap(missing)``, right before the first tick after
        it, and counted in `FeedHealth.gaps` and `FeedHealth.missing`.
    States
        ``connecting`` until every stream has delivered data (an acknowledgement is no data), then
        ``live``; ``stalled`` while a stream is silent for longer than is usual for it, or while a
        symbol is known not to trade;
        ``reconnecting`` while a connection that had data is down. After `run`, ``stopped`` or
        ``failed``.
    Stalls
        While the stream of one leg is stalled, nobody sees whether it trades: a row of the other
        leg with its last price would be made up. Hold back the other leg's ticks and ask the
        exchange, as `BinanceFeed` does, or name the leg in `FeedHealth.stalled_legs`: the lab then
        makes no row until it trades again. A leg that is merely quiet is not stalled.
    Time
        ``time_ns`` of a tick is the exchange's trade time, ``received_ns`` this machine's wall
        clock when the bytes arrived. Take both from a `pairlab.clock.Clock`, so that a replay can
        bring its own. Measure timeouts by its monotonic seconds.
    Blocking
        Never block the loop: no file, no DNS query, no computation above a few milliseconds
        outside a thread. A cell may block the loop for a minute, so silence is evidence of a stall
        only as far as the loop was awake.
    Cancellation
        `run` ends soon after it is cancelled, re-raises `asyncio.CancelledError`, and leaves no
        task, no socket and no thread. Own tasks in an `asyncio.TaskGroup`.
    Errors
        Retry what may be temporary, with growing delays, and say so in the log. Raise a
        `pairlab.FeedError` for what is final: its message is what the user reads. A sink that
        raises must not end the feed: count what it refused and go on.
    Logging
        Log to a child of ``logging.getLogger("pairlab.feeds")``. Whatever a running feed logs
        from INFO on appears in its lab's event log; a record about several feeds names them by
        ``extra={"feeds": (feed, …)}``. `pairlab.feeds.log.feed_logger` keeps a flood of one kind
        from filling it.

    Examples
    --------
    The frame of a feed for another exchange; `connect`, `decode` and `refetch` are its own::

        logger = feed_logger("pairlab.feeds.bybit")

        class BybitFeed:
            def __init__(self, pair: Pair) -> None:
                self.pair = pair
                self.info = FeedInfo("BYBIT", real_money=True, stream="publicTrade")
                self._state: FeedState = "connecting"
                self._ticks = 0

            async def run(self, sink: TickSink) -> None:
                delays = full_jitter()
                while True:
                    try:
                        async with connect(self.pair) as socket:
                            async for frame in socket:
                                batch = decode(frame)           # records of pairlab.TICK
                                if missing := await refetch(batch):
                                    sink.on_gap(missing)        # could not be filled
                                sink.on_ticks(batch)
                                self._ticks += len(batch)
                                self._state = "live"
                    except OSError as error:
                        self._state = "reconnecting"
                        logger.warning(
                            f"disconnected: {error}; reconnecting",
                            extra=concerning([self], kind="disconnected"),
                        )
                        await asyncio.sleep(next(delays))

            def health(self) -> FeedHealth:
                return FeedHealth(self._state, "as the last frame left it", ticks=self._ticks)

            def price_decimals(self) -> tuple[int, int] | None:
                return None

            async def seed_closes(self, timeframe: str, count: int) -> Closes | None:
                return None
    """

    @property
    def info(self) -> FeedInfo:
        """Name, kind of market and stream."""

    async def run(self, sink: TickSink) -> None:
        """Deliver every tick to `sink` until cancelled, or until a source that has an end ends.

        Parameters
        ----------
        sink : TickSink
            Where ticks and gaps go, and nowhere else.

        Raises
        ------
        FeedError
            One that is final: a retry cannot help, or only after a person has acted.
        """

    def health(self) -> FeedHealth:
        """Return the state and the counters now; cheap, for it is asked ten times a second."""

    def price_decimals(self) -> tuple[int, int] | None:
        """Return the decimals of (y, x) at the symbols' tick sizes, None while unknown."""

    async def seed_closes(self, timeframe: str, count: int) -> Closes | None:
        """Return the last closed bars of both legs from before the first tick.

        Called while `run` is under way; the computation is warm from its first row by them.

        Parameters
        ----------
        timeframe : str
            A key of `pairlab.schema.TIMEFRAMES_NS`, except ``tick``.
        count : int
            How many bars are wanted; fewer will do.

        Returns
        -------
        tuple of array, or None
            Bars that both legs have, oldest first; None: no history is available.

        Raises
        ------
        FeedError
            If the history was asked and did not answer.
        """
