"""What a session file holds: a lab at one moment, as plain values and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pairlab.alerts import Alert, SettingChange
from pairlab.data.journal import JournalEvent, Seeds
from pairlab.engine.gaps import Gap
from pairlab.feeds.base import FeedHealth
from pairlab.schema import LogEntry, Pair, Records
from pairlab.settings import SettingValues

__all__ = ["EngineFacts", "SavedSession"]


@dataclass(frozen=True)
class EngineFacts:
    """What an engine knew beside its rows.

    Attributes
    ----------
    signal : Mapping[str, int]
        State of the signal machine, as `PairEngine.signal_state` gives it.
    dropped : Mapping[str, int]
        Ticks that it refused, by reason.
    late : int
        Ticks older than the forming bar.
    kalman_warning : str or None
        What it warned of.
    bars : Mapping[str, numpy.ndarray]
        Closed bars by timeframe, `pairlab.engine.state.BAR` records.
    forming : numpy.ndarray
        The row of the bar that was forming: one `pairlab.ROW` record, or none.
    """

    signal: Mapping[str, int]
    dropped: Mapping[str, int]
    late: int
    kalman_warning: str | None
    bars: Mapping[str, Records]
    forming: Records


@dataclass(frozen=True)
class SavedSession:
    """A lab at one moment.

    Attributes
    ----------
    pair : Pair
        The symbols.
    stream : str
        What a tick is.
    feed : str
        The feed's name.
    real_money : bool
        Whether it was the live market.
    price_decimals : tuple of int or None
        Of both tick sizes.
    saved_ns : int
        When, ns since 1970 UTC by this machine's clock.
    versions : Mapping[str, str]
        Of pairlab, Python and the packages that compute, as it was written.
    settings, row_settings : SettingValues
        As they were asked for; and as the rows were computed.
    ticks : numpy.ndarray
        `pairlab.TICK` records held.
    tick_total : int
        How many there ever were: the ordinal that the next tick would have had.
    rows : numpy.ndarray
        `pairlab.ROW` records held.
    epoch : int
        How often the metrics had been recomputed.
    row_end : int
        Rows appended in this epoch.
    row_count : int
        Rows since the start.
    entries : tuple of Alert or SettingChange
        The alert log, oldest first.
    entry_total : int
        Entries there ever were.
    newest_alert : int
        Number of the newest alert.
    opened : Alert or None
        The ENTRY of the position held.
    journal : tuple of JournalEvent
        The journal, oldest first.
    journal_total : int
        Events there ever were.
    gaps : tuple of Gap
        Those before the ticks held, numbered by ordinal.
    positions : tuple of (int, int)
        Time (ns) and new position of each change, oldest first.
    klines : Mapping[str, Seeds]
        Closes of the exchange's bars, by timeframe.
    engine : EngineFacts or None
        None: it had not started.
    log : tuple of LogEntry
        The event log, oldest first.
    log_total : int
        Entries there ever were.
    health : FeedHealth
        The feed's state and counters.
    row_latency_ms : tuple of float
        Receipt to row: median and 99 %; NaN before the first row.
    selected_ns : tuple of int or None
        Both ends of the selected span.
    """

    pair: Pair
    stream: str
    feed: str
    real_money: bool
    price_decimals: tuple[int, int] | None
    saved_ns: int
    settings: SettingValues
    row_settings: SettingValues
    ticks: Records
    tick_total: int
    rows: Records
    epoch: int
    row_end: int
    row_count: int
    entries: tuple[Alert | SettingChange, ...]
    entry_total: int
    newest_alert: int
    opened: Alert | None
    journal: tuple[JournalEvent, ...]
    journal_total: int
    gaps: tuple[Gap, ...]
    positions: tuple[tuple[int, int], ...]
    klines: Mapping[str, Seeds]
    engine: EngineFacts | None
    log: tuple[LogEntry, ...]
    log_total: int
    health: FeedHealth
    row_latency_ms: tuple[float, float]
    selected_ns: tuple[int, int] | None
    versions: Mapping[str, str] = field(default_factory=dict)
