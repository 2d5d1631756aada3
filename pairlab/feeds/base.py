"""What the lab asks of a feed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from pairlab.schema import LogEntry, Records

__all__ = ["Feed", "FeedHealth", "FeedState", "Log", "Sink"]

FeedState = Literal["connecting", "live", "stalled", "reconnecting", "stopped", "failed"]

Sink = Callable[[Records], None]
"""Takes a batch of `pairlab.TICK`, in order. Called on the feed's loop; must not block."""

Log = Callable[[LogEntry], None]


@dataclass(frozen=True, slots=True)
class FeedHealth:
    """A feed at one moment.

    Attributes
    ----------
    state : FeedState
        ``live`` only after first data of every stream, never on an acknowledgement.
    detail : str
        Plain words: why it is in that state and what comes next.
    ticks : int
        Ticks handed on.
    dropped : Mapping[str, int]
        What was not handed on, by reason.
    reconnects : int
        Connections opened after the first.
    gaps : int
        Holes in the ids that nobody could fill.
    missing : int
        Trades that those holes hold.
    lag_ms : float
        Receive time minus the exchange's event time, corrected by the clocks' offset; NaN before
        the first tick.
    bad_frames : tuple of str
        The last few frames that could not be read, shortened, for inspection.
    lag_p50_ms, lag_p99_ms : float
        Quantiles of the lag over the last ticks (8,192 at most); NaN before the first.
    clock_offset_ms : float
        This machine's clock minus the exchange's; NaN while unknown.
    loop_lag_ms : float
        Longest time the event loop was late in the last ten seconds: a cell that blocks shows
        here, a feed that is behind shows in the lag alone.
    held : int
        Ticks held back behind a hole that is being filled.
    repaired : int
        Trades fetched to fill holes.
    attempts : int
        Connections tried, the first one included.
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
    loop_lag_ms: float = 0.0
    held: int = 0
    repaired: int = 0
    attempts: int = 0


@runtime_checkable
class Feed(Protocol):
    """Where ticks come from.

    Attributes
    ----------
    name : str
        Shown on the screen beside the state: ``BINANCE``, ``SIMULATED``, ``RECORDING`` …
    real_money : bool
        False for anything that is not the live market; the screen says so.
    """

    name: str
    real_money: bool

    async def run(self, sink: Sink, log: Log) -> None:
        """Hand every tick to `sink` until cancelled, or raise a `FeedError` that is final."""

    def health(self) -> FeedHealth:
        """Return the state and the counters now."""

    def price_decimals(self) -> tuple[int, int] | None:
        """Return the decimals of (y, x) at the symbols' tick sizes, None while unknown."""
