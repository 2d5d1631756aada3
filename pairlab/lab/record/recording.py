"""One lab being recorded: what it holds goes first, then all that comes."""

from __future__ import annotations

import asyncio
import bisect
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pairlab.clock import Clock
from pairlab.data.alert_log import AlertLog
from pairlab.data.journal import JournalEvent, SettingChanged
from pairlab.feeds.base import FeedInfo
from pairlab.lab.pipeline import Pipeline
from pairlab.lab.record.target import Target
from pairlab.schema import LogLevel, Pair, Records
from pairlab.settings import SettingValues
from pairlab.storage.recording.recorder import Recorder, RecorderState
from pairlab.storage.recording.sink import RecordingInfo

__all__ = ["Recording", "settings_before"]


class Recording:
    """A recording that runs; `PairLab.record` makes it.

    It begins with what the lab holds: ticks, rows, alerts and journal. If none of them has been
    forgotten yet, its rows can be proved by a replay from the first one on. It ends with `stop`,
    or with the lab.

    Attributes
    ----------
    target : str
        The folder; ``the database`` of an address, which may hold a password.
    folder : pathlib.Path or None
        None of a database.
    with_rows : bool
        Whether rows are recorded.
    started_ns : int
        Wall clock at its beginning, ns since 1970 UTC.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        target: Target,
        *,
        rows: bool,
        pair: Pair,
        info: FeedInfo,
        price_decimals: Callable[[], tuple[int, int] | None],
        tell: Callable[[LogLevel, str], None],
        clock: Clock,
    ) -> None:
        self._pipeline: Final = pipeline
        self._price_decimals: Final = price_decimals
        self._clock: Final = clock
        self._last_alert = 0
        self.target: Final = target.told
        self.folder: Final = None if target.is_database else Path(target.text)
        self.with_rows: Final = rows
        self.started_ns: Final = clock.time_ns()
        self._began_s: Final = clock.monotonic_s()
        self._ended_s: float | None = None
        held = pipeline.ticks.view()
        events, self._next_event = list(pipeline.journal), pipeline.journal.total
        first_seq = pipeline.next_tick - len(held)
        complete = first_seq == 0 and len(events) == self._next_event
        if not complete:
            events = events[bisect.bisect_left(events, first_seq, key=lambda event: event.tick) :]
        self._decimals = price_decimals()
        about = RecordingInfo(
            session=pipeline.session,
            pair=pair,
            stream=info.stream,
            feed=re.sub(r"\S*@", "", info.name),  # of an address, no user and no password
            real_money=info.real_money,
            price_decimals=self._decimals,
            settings=settings_before(pipeline.settings.values(), events),
            started_ns=self.started_ns,
            first_seq=first_seq,
            complete=complete,
        )
        self._recorder: Final = Recorder(
            target.sink(tell, clock), about, target=self.target, tell=tell,
            fsync_s=target.fsync_s, clock=clock,
        )  # fmt: skip
        self._put_held(first_seq, held, events)
        self._forget_observer = pipeline.journal.observe(self._on_event)
        pipeline.taps = (*pipeline.taps, self)
        self._recorder.start()

    def _put_held(self, first_seq: int, held: Records, events: list[JournalEvent]) -> None:
        pipeline, recorder = self._pipeline, self._recorder
        for number, event in enumerate(events, self._next_event - len(events)):
            recorder.put_event(number, event)
        if len(held):
            recorder.put_held_ticks(first_seq, held)
        store = pipeline.rows
        if self.with_rows and len(store):
            recorder.put_held_rows(store.epoch, store.start, store.view())
        self.on_alerts(pipeline.alert_log)

    def __repr__(self) -> str:
        return (
            f"<Recording to {self.target}: {self.state}, {self.ticks:,} ticks, {self.rows:,} rows, "
            f"{self.nbytes / 1024**2:,.1f} MiB>"
        )

    # -- what it does ---------------------------------------------------------------------------

    @property
    def state(self) -> RecorderState:
        """``opening``, ``recording``, ``waiting``, ``sealing``, ``stopped`` or ``failed``.

        It is ``waiting`` while the place cannot store (a full disk, a server that is away).
        """
        return self._recorder.state

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.state not in ("stopped", "failed")

    @property
    def error(self) -> str:
        """Why it waits or has failed; empty otherwise."""
        return self._recorder.error

    @property
    def ticks(self) -> int:
        """Ticks stored."""
        return self._recorder.ticks

    @property
    def rows(self) -> int:
        """Rows stored."""
        return self._recorder.rows

    @property
    def alerts(self) -> int:
        """Alerts stored."""
        return self._recorder.alerts

    @property
    def events(self) -> int:
        """Events of the journal stored."""
        return self._recorder.events

    @property
    def lost_ticks(self) -> int:
        """Ticks left out because the place could not store for too long."""
        return self._recorder.lost_ticks

    @property
    def waiting_bytes(self) -> int:
        """Bytes that are not stored yet."""
        return self._recorder.waiting_bytes

    @property
    def nbytes(self) -> int:
        """Bytes that the recording takes, as far as known."""
        return self._recorder.nbytes

    @property
    def duration_s(self) -> float:
        """Seconds since it was asked for, until it ended."""
        end_s = self._clock.monotonic_s() if self._ended_s is None else self._ended_s
        return end_s - self._began_s

    async def wait_opened(self) -> RecorderState:
        """Wait until the first attempt to open the place has ended, and return the state."""
        await asyncio.to_thread(self._recorder.wait_settled)
        return self.state

    async def flush(self) -> None:
        """Wait until what the lab has made so far is written, or cannot be."""
        await asyncio.to_thread(self._recorder.flush)

    async def stop(self) -> None:
        """Write what waits, seal, and end; the lab goes on. A second call does nothing more."""
        self.request_stop()
        await asyncio.to_thread(self._recorder.join)

    def request_stop(self) -> None:
        """Have it end as `stop` does, without waiting for that."""
        self._forget_observer()
        self._pipeline.taps = tuple(tap for tap in self._pipeline.taps if tap is not self)
        if self._ended_s is None:
            self._ended_s = self._clock.monotonic_s()
        self._recorder.request_stop()

    # -- the pipeline's tap ---------------------------------------------------------------------

    def on_ticks(self, first: int, ticks: Records) -> None:
        """Take a batch of ticks."""
        self._recorder.put_ticks(first, ticks)
        if self._decimals is None:
            self._decimals = self._price_decimals()
            if self._decimals is not None:
                self._recorder.put_price_decimals(self._decimals)

    def on_rows(self, epoch: int, first: int, rows: Records) -> None:
        """Take rows."""
        if self.with_rows:
            self._recorder.put_rows(epoch, first, rows)

    def on_alerts(self, alerts: AlertLog) -> None:
        """Take the alerts that are new."""
        new = alerts.since(self._last_alert)
        if new:
            self._last_alert = alerts.newest_number
            self._recorder.put_alerts(new)

    def on_warm(self) -> None:
        """Do nothing: what a replay was warmed up with is recorded as all else."""

    def on_rebuilt(self, epoch: int, tick: int, count: int, held: Records) -> None:
        """Take the rows that a rebuild made."""
        self._recorder.put_rebuilt(epoch, tick, count, held)

    def _on_event(self, event: JournalEvent) -> None:
        self._recorder.put_event(self._next_event, event)
        self._next_event += 1


def settings_before(values: SettingValues, events: list[JournalEvent]) -> SettingValues:
    """Return the settings before the first of these events."""
    for event in reversed(events):
        if isinstance(event, SettingChanged):
            change: dict[str, Any] = {event.name: event.old}
            values = replace(values, **change)
    return values
