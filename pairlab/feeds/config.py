"""Configuration of a feed: where it connects, how long it waits, how much it holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Final, Self, TypedDict

from pairlab.clock import SYSTEM_CLOCK, Clock
from pairlab.errors import (
    DataError,
    FeedError,
    GeoBlockedError,
    NetworkSetupError,
    UnknownSymbolError,
)
from pairlab.feeds.binance.venue import LIVE_URL
from pairlab.feeds.rate_limit import full_jitter
from pairlab.net import without_user

__all__ = ["FeedConfig", "FeedOptions", "Limits", "Retry", "Timeouts", "is_final"]

_STREAMS_ALLOWED: Final = 1024  # on one connection, by Binance


def _check_positive(group: Timeouts | Limits, *, may_be_zero: tuple[str, ...] = ()) -> None:
    for limit in fields(group):
        value = getattr(group, limit.name)
        large_enough = value >= 0 if limit.name in may_be_zero else value > 0
        if isinstance(value, bool) or not large_enough or not math.isfinite(value):
            least = "0 or more" if limit.name in may_be_zero else "more than 0"
            raise DataError(
                f"{limit.name} = {value!r} is invalid: expected a finite number, {least}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a feed waits for each thing, in seconds of an unblocked loop.

    Attributes
    ----------
    open_s, close_s : float
        For a connection to open, handshake included, and to close.
    first_data_s : float
        For the first data of a stream after its connection opened; then REST is asked whether its
        market trades.
    idle_min_s, idle_busy_s, idle_max_s : float
        A stream may stay silent for 20 times its own mean interval, within these limits;
        `idle_busy_s` is the limit for a stream above one message a second.
    ping_after_s, pong_s : float
        Silence of a whole connection before it is pinged, and how long the answer may take.
    healthy_after_s : float
        A connection with data must have lived for so long before the back-off is reset.
    rest_s : float
        For one REST answer.
    repair_grace_s : float
        A gap in the ids may close by itself (two connections overlap, say) before REST is asked.
    repair_s : float
        How long a gap may hold back what follows it, before it is marked and passed over. The
        time in which the REST budget allows one page of every stream is added: one second for a
        pair, about two minutes for 200 streams.
    rotate_after_s : float
        Age at which a connection is replaced; Binance ends it at 24 h.
    clock_refresh_s : float
        Between two readings of the exchange's clock.
    status_s : float
        Between two readings of the symbols' status, while one that is wanted does not trade.
    firewall_s : float
        Between two attempts after an HTTP 403.
    blocked_s : float
        A loop that wakes up later than this was blocked by a cell.
    """

    open_s: float = 10.0
    close_s: float = 1.0
    first_data_s: float = 15.0
    idle_min_s: float = 5.0
    idle_busy_s: float = 10.0
    idle_max_s: float = 300.0
    ping_after_s: float = 3.0
    pong_s: float = 5.0
    healthy_after_s: float = 5.0
    rest_s: float = 10.0
    repair_grace_s: float = 0.05
    repair_s: float = 30.0
    rotate_after_s: float = 23 * 3600.0
    clock_refresh_s: float = 600.0
    status_s: float = 60.0
    firewall_s: float = 60.0
    blocked_s: float = 1.0

    def __post_init__(self) -> None:
        _check_positive(self, may_be_zero=("healthy_after_s", "repair_grace_s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a feed holds, and how often it may ask.

    Attributes
    ----------
    max_frame_bytes : int
        A longer frame closes the connection; a shorter malformed one is only counted.
    max_queue_frames : int
        Frames read from the socket and not yet decoded, before TCP flow control holds the rest.
    max_batch_ticks : int
        Ticks handed on at once.
    max_held_ticks : int
        Ticks held back behind a gap; what comes beyond is dropped, counted, and fetched later.
    max_gap_trades : int
        A jump in the ids beyond this is a new series; of one that began anew, fewer than so many
        trades are fetched from before the first that is known.
    max_bad_frames : int
        Bad frames kept for inspection.
    attempts_per_5_min : int
        Connection attempts, where Binance allows 300.
    firewall_attempts : int
        HTTP 403 answers in a row before the feed gives up.
    max_streams : int
        Streams on one connection, where Binance allows 1,024: fewer have less to fetch when it
        breaks.
    """

    max_frame_bytes: int = 4 * 2**20
    max_queue_frames: int = 1024
    max_batch_ticks: int = 4096
    max_held_ticks: int = 100_000
    max_gap_trades: int = 100_000
    max_bad_frames: int = 8
    attempts_per_5_min: int = 290
    firewall_attempts: int = 3
    max_streams: int = 200

    def __post_init__(self) -> None:
        _check_positive(self)
        if self.max_streams > _STREAMS_ALLOWED:
            raise DataError(
                f"max_streams = {self.max_streams!r} is invalid: expected from 1 to "
                f"{_STREAMS_ALLOWED}"
            )


def is_final(error: BaseException) -> bool:
    """Return whether a retry cannot help: a geo-block, an unlisted symbol, a wrong environment."""
    return isinstance(error, GeoBlockedError | UnknownSymbolError | NetworkSetupError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When and whether to retry.

    Attributes
    ----------
    delays : callable
        Returns a fresh iterator of delays in seconds; called again after healthy data.
    is_final : callable
        Whether an error ends the feed; `is_final` by default.
    """

    delays: Callable[[], Iterator[float]] = full_jitter
    is_final: Callable[[FeedError], bool] = is_final


class FeedOptions(TypedDict, total=False):
    """The fields of `FeedConfig` as keywords of `BinanceFeed` and `FeedGroup`."""

    stream: str
    url: str
    rest_url: str | None
    routes: Mapping[str, str] | None
    name: str | None
    align_s: float
    timeouts: Timeouts | None
    limits: Limits | None
    retry: Retry | None
    clock: Clock | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedConfig:
    """Everything that can be chosen about a feed, or about all feeds of a group.

    Attributes
    ----------
    stream : {"aggTrade", "trade", "bookTicker"}
        Aggregated trades (the default, and the only stream whose gaps REST can fill), raw trades,
        or mid prices of the best quotes.
    url : str
        ``wss://fstream.binance.com``, the testnet's, or ``ws://host:port`` of a local exchange.
    rest_url : str, optional
        Where REST is asked; follows from `url`: http on the same host and port for a local one.
    routes : mapping of str to str, optional
        The category of a stream where it is not the usual one, e.g. ``{"trade": "market"}``.
    name : str, optional
        What the screen shows; follows from `url`.
    align_s : float
        Hold each tick until the other leg has passed its time, at most so long: rows then do not
        depend on which leg's trade arrived first. 0, the default, hands ticks on as they arrive.
    timeouts : Timeouts
        How long to wait.
    limits : Limits
        How much to hold. `Limits.max_streams` is the number of streams on a connection;
        `Limits.max_held_ticks` counts for each pair.
    retry : Retry
        When to retry.
    clock : Clock
        Source of the time.

    Raises
    ------
    DataError
        For an `align_s` out of range.
    """

    stream: str = "aggTrade"
    url: str = LIVE_URL
    rest_url: str | None = None
    routes: Mapping[str, str] | None = None
    name: str | None = None
    align_s: float = 0.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    retry: Retry = field(default_factory=Retry)
    clock: Clock = SYSTEM_CLOCK

    def __post_init__(self) -> None:
        if not 0.0 <= self.align_s <= 60.0:
            raise DataError(f"align_s = {self.align_s!r} is invalid: expected from 0 to 60")

    def __repr__(self) -> str:
        # A notebook is saved with what its cells show: no password of a URL may be in it.
        shown = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in ("url", "rest_url"):
            if isinstance(shown[name], str):
                shown[name] = without_user(shown[name])
        return f"FeedConfig({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @classmethod
    def from_options(cls, options: FeedOptions) -> Self:
        """Return the configuration for these keywords; None stands for the default."""
        return cls(**{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]
