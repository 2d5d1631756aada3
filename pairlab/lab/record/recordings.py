"""The recordings of one lab."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from pairlab.clock import Clock
from pairlab.errors import PairlabError
from pairlab.feeds.base import FeedInfo
from pairlab.lab.nested_loop import run_inside
from pairlab.lab.pipeline import Pipeline
from pairlab.lab.record.past_rows import PastRows
from pairlab.lab.record.recording import Recording, settings_before
from pairlab.lab.record.target import Target
from pairlab.protocols import Service
from pairlab.schema import LogLevel, Pair
from pairlab.storage.replay.replay import Replay

if TYPE_CHECKING:
    from pairlab.backtesting.recorded.reconcile import HeldSession, Reconciliation
    from pairlab.lab.verification.certificate import Certificate

__all__ = ["Recorded", "Recordings"]

_VERIFY_S: Final = 86_400.0
"""Longest that another thread waits for a certificate, or for decisions to be compared."""


class Recorded(Protocol):
    """What can be recorded: a lab's `LabRunner`, or a pair of a board."""

    @property
    def pair(self) -> Pair:
        """The symbols."""

    @property
    def pipeline(self) -> Pipeline:
        """Ticks, rows, alerts, journal."""

    @property
    def clock(self) -> Clock:
        """Source of the time."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """On which it was started; None before."""

    @property
    def source(self) -> object:
        """What its feed was given: a `Replay` has a recording already."""

    @property
    def feed_info(self) -> FeedInfo:
        """Name of the market and the stream."""

    def price_decimals(self) -> tuple[int, int] | None:
        """Return the decimals of both tick sizes; None while they are not known."""

    def log(self, level: LogLevel, message: str) -> None:
        """Add a line to the event log."""

    def call_on_loop(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the loop, from any thread."""

    def add_service(self, service: Service) -> None:
        """Stop `service` with it."""


class Recordings:
    """Begins recordings of a lab, which end with it.

    Parameters
    ----------
    runner : Recorded
        Of the lab.

    Attributes
    ----------
    newest : Recording or None
        Under way or ended.
    """

    def __init__(self, runner: Recorded) -> None:
        self._runner: Final = runner
        self.newest: Recording | None = None

    def past(self) -> PastRows | None:
        """Return where rows that have left the memory can be read; None: nowhere."""
        newest, source = self.newest, self._runner.source
        if newest is not None:
            folder = newest.folder if newest.with_rows else None
            return None if folder is None else PastRows(folder)
        folder = source.recording if isinstance(source, Replay) else None
        return None if folder is None else PastRows(folder, self._runner.pipeline.values())

    def record(
        self,
        path_or_url: str | os.PathLike[str],
        *,
        rows: bool = True,
        fsync_s: float = 10.0,
        max_bytes: int | None = None,
        max_age: str | datetime.timedelta | float | None = None,
    ) -> Recording:
        """Record ticks, rows, alerts and journal from now on, until the lab or the recording ends.

        What the lab holds comes first. Nothing waits for the disk: a thread writes.

        Parameters
        ----------
        path_or_url : str or os.PathLike
            A folder, made if need be, which goes on where an earlier recording of the same pair
            and stream has ended; or ``postgresql://…``.
        rows : bool
            Whether rows are recorded; from the ticks, a replay makes them again.
        fsync_s : float
            A loss of power costs at most the last so many seconds; a killed process, one.
        max_bytes : int, optional
            What a folder may take: its oldest files are removed, and nothing that is not its own.
        max_age : str, datetime.timedelta or float, optional
            Older files are removed, too: ``"7D"``, or seconds.

        Returns
        -------
        Recording
            Its ``state``, counters, and ``stop()``. What goes wrong is in the event log.

        Raises
        ------
        SettingError
            If a parameter is none of these.
        MissingExtraError
            If it is a database, and the extra ``postgres`` is not installed.
        """
        target = Target(path_or_url, fsync_s=fsync_s, max_bytes=max_bytes, max_age=max_age)
        runner = self._runner

        def tell(level: LogLevel, message: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is being closed
                runner.call_on_loop(runner.log, level, message)

        self.newest = recording = Recording(
            runner.pipeline, target, rows=rows, pair=runner.pair, info=runner.feed_info,
            price_decimals=runner.price_decimals, tell=tell, clock=runner.clock,
        )  # fmt: skip
        runner.add_service(recording)
        return recording

    async def verify_async(self) -> Certificate:
        """Do as `verify`, for code that awaits.

        Returns
        -------
        Certificate
            Equal, or the first difference.

        Raises
        ------
        PairlabError, DataError
            As `verify` does.
        """
        recording = self.newest
        if recording is None or recording.folder is None:
            raise PairlabError(
                "there is no recording to verify: lab.record('a folder') makes one; "
                "pairlab.verify(path) takes an older one"
            )
        await recording.flush()
        return await asyncio.to_thread(_verify, recording.folder)

    def verify(self) -> Certificate:
        """Replay this lab's newest recording and compare every row and alert, bit for bit.

        A recording under way is taken as it is at this moment. This blocks the cell, or the
        thread, but not the stream.

        Returns
        -------
        Certificate
            Equal, or the first difference.

        Raises
        ------
        PairlabError
            If the lab was not recorded to a folder, or was never started.
        DataError
            If the folder is no recording any more.
        """
        loop = self._runner.loop
        if loop is None:
            raise PairlabError("verify() needs a lab that was started: call start() first")
        found: list[Certificate] = []

        async def work() -> None:
            found.append(await self.verify_async())

        run_inside(loop, work, _VERIFY_S)
        return found[0]

    async def reconcile_async(
        self,
        *,
        capital: float = 10_000.0,
        latency_s: float = 0.0,
        max_wait_s: float | None = None,
        lots: object = None,
    ) -> Reconciliation:
        """Do as `reconcile`, for code that awaits.

        Parameters
        ----------
        capital, latency_s, max_wait_s, lots
            As `pairlab.backtest` takes them.

        Returns
        -------
        Reconciliation
            Decisions, their fills, and whether they are those of the live alerts.

        Raises
        ------
        SettingError, DataError
            As `reconcile` does.
        """
        terms = {
            "capital": capital, "latency_s": latency_s, "max_wait_s": max_wait_s, "lots": lots
        }  # fmt: skip
        recording = self.newest
        if recording is not None and recording.folder is not None:
            await recording.flush()
            return await asyncio.to_thread(_reconcile, recording.folder, terms)
        # The import reads files; what is held is taken on the lab's loop, of one moment.
        held_session = await asyncio.to_thread(_held_session)
        pipeline, alerts = self._runner.pipeline, self._runner.pipeline.alert_log.alerts()
        ticks, events = pipeline.ticks.view(), list(pipeline.journal)
        first_tick = pipeline.next_tick - len(ticks)
        held = held_session(
            pair=self._runner.pair,
            values=settings_before(pipeline.settings.values(), events),
            events=events,
            first_tick=first_tick,
            ticks=ticks.copy(),
            alerts=alerts,
            complete=first_tick == 0 and len(events) == pipeline.journal.total,
        )
        return await asyncio.to_thread(_reconcile_held, held, terms)

    def reconcile(
        self,
        *,
        capital: float = 10_000.0,
        latency_s: float = 0.0,
        max_wait_s: float | None = None,
        lots: object = None,
    ) -> Reconciliation:
        """Lay the decisions and fills of a backtest of this session beside its live alerts.

        The backtest runs over this lab's newest recording, or, without one, over what the lab
        holds, and honours the journal: settings that were changed, metrics that were recomputed,
        gaps. This blocks the cell, or the thread, but not the stream.

        Parameters
        ----------
        capital, latency_s, max_wait_s, lots
            As `pairlab.backtest` takes them.

        Returns
        -------
        Reconciliation
            Decisions, their fills, and whether they are those of the live alerts.

        Raises
        ------
        PairlabError
            If the lab was never started.
        SettingError
            For a number that is out of range.
        DataError
            If the folder is no recording any more.
        """
        loop = self._runner.loop
        if loop is None:
            raise PairlabError("reconcile() needs a lab that was started: call start() first")
        found: list[Reconciliation] = []

        async def work() -> None:
            found.append(
                await self.reconcile_async(
                    capital=capital, latency_s=latency_s, max_wait_s=max_wait_s, lots=lots
                )
            )

        run_inside(loop, work, _VERIFY_S)
        return found[0]


def _verify(folder: Path) -> Certificate:
    from pairlab.lab.verification.verify import verify  # off the loop: imports read files

    return verify(folder)


def _held_session() -> type[HeldSession]:
    from pairlab.backtesting.recorded.reconcile import HeldSession

    return HeldSession


def _reconcile(folder: Path, terms: dict[str, Any]) -> Reconciliation:
    from pairlab.backtesting.recorded.reconcile import reconcile

    return reconcile(folder, **terms)


def _reconcile_held(held: HeldSession, terms: dict[str, Any]) -> Reconciliation:
    from pairlab.backtesting.recorded.reconcile import reconcile_held

    return reconcile_held(held, **terms)
