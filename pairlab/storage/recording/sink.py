"""What a recorder hands to the place where it is kept, and what such a place must do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pairlab.alerts import Alert
from pairlab.data.journal import JournalEvent
from pairlab.schema import Pair, Records
from pairlab.settings import SettingValues

__all__ = ["RebuiltRows", "RecordBatch", "RecordSink", "RecordingInfo"]


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """What is recorded, known before the first tick.

    Attributes
    ----------
    session : str
        Tells this session of a lab from any other: the same sequence of tick ordinals.
    pair : Pair
        The symbols of legs 0 and 1.
    stream : str
        What a tick is, in the exchange's word, such as ``aggTrade``.
    feed : str
        Name of the market: ``BINANCE``, ``SIMULATED``, …
    real_money : bool
        Whether it is the live market.
    price_decimals : tuple of int or None
        Of y and x; None if not known yet.
    settings : SettingValues
        Those in force before the first tick and the first event.
    started_ns : int
        Wall clock at which the recording was asked for, ns since 1970 UTC.
    first_seq : int
        Ordinal of the first tick in the lab's session.
    complete : bool
        Whether nothing that decides the rows happened before `first_seq` and the first event: only
        then can the rows be proved by a replay. False where the recording was asked for after the
        lab had forgotten its first ticks.
    versions : Mapping[str, str]
        pairlab, numba, llvmlite, numpy, python, cpu, cpu_features, machine.
    """

    session: str
    pair: Pair
    stream: str
    feed: str
    real_money: bool
    price_decimals: tuple[int, int] | None
    settings: SettingValues
    started_ns: int
    first_seq: int = 0
    complete: bool = True
    versions: Mapping[str, str] = field(default_factory=dict)


class RebuiltRows(NamedTuple):
    """The rows that a rebuild put in place of all others, told by their digest.

    Attributes
    ----------
    epoch : int
        That began with them.
    seq : int
        `Rebuilt.tick`: ordinal of the first tick that the fresh engine decided.
    rows : int
        Recomputed; the first row appended after them has this number.
    held : int
        How many of them, the newest, were held afterwards.
    sha256 : str
        Of the bytes of those held, as records of `pairlab.ROW`.
    """

    epoch: int
    seq: int
    rows: int
    held: int
    sha256: str


@dataclass(slots=True)
class RecordBatch:
    """What came since the batch before; consistent: no tick without the events before it.

    Attributes
    ----------
    ticks : list of (int, numpy.ndarray)
        Ordinal of the first, `pairlab.TICK` records; contiguous within an item. An ordinal that is
        left out between two items is a tick that fell out of the recorder's buffer.
    rows : list of (int, int, numpy.ndarray)
        Epoch, number of the first, `pairlab.ROW` records as they were first shown.
    alerts : list of Alert
        In order; their numbers count within the session.
    events : list of JournalEvent
        In order.
    first_event : int
        Number of the first event within the lab's journal.
    rebuilds : list of RebuiltRows
        One for each `Rebuilt` among the events, maybe in a later batch.
    price_decimals : tuple of int or None
        Of y and x, once, where they were not known at the beginning.
    """

    ticks: list[tuple[int, Records]] = field(default_factory=list)
    rows: list[tuple[int, int, Records]] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    events: list[JournalEvent] = field(default_factory=list)
    first_event: int = 0
    rebuilds: list[RebuiltRows] = field(default_factory=list)
    price_decimals: tuple[int, int] | None = None

    def __bool__(self) -> bool:
        return any(
            (self.ticks, self.rows, self.alerts, self.events, self.rebuilds, self.price_decimals)
        )

    @property
    def tick_count(self) -> int:
        """Ticks in it."""
        return sum(len(ticks) for _, ticks in self.ticks)

    @property
    def row_count(self) -> int:
        """Rows in it."""
        return sum(len(rows) for _, _, rows in self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of its ticks and rows."""
        return sum(part.nbytes for part in self.parts())

    def parts(self) -> Iterator[Records]:
        """Go through the arrays of ticks and rows."""
        yield from (ticks for _, ticks in self.ticks)
        yield from (rows for _, _, rows in self.rows)


class RecordSink(Protocol):
    """Where a recorder's batches are kept. Every method is called on the writer's thread."""

    def open(self, info: RecordingInfo) -> None:
        """Begin, or go on where an earlier recording at the same place has ended.

        Called again after a failure: what is there already must not be stored twice.

        Raises
        ------
        OSError, StorageError
            If it cannot be opened for now: it is tried again.
        PairlabError
            If it can never be: it is locked, holds another pair, or is no recording.
        """

    def write(self, batch: RecordBatch) -> None:
        """Store a batch, whole or not at all, so that a killed process does not lose it.

        Raises
        ------
        OSError, StorageError
            If it cannot be stored for now: the same batch, and what came since, comes again.
        """

    def sync(self) -> None:
        """Make durable what was written: it survives a loss of power.

        Raises
        ------
        OSError, StorageError
            If that failed.
        """

    def close(self) -> None:
        """Finish and release everything; nothing is written afterwards."""

    @property
    def nbytes(self) -> int:
        """Bytes that the recording takes, as far as known."""
