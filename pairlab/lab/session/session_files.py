"""Saves a lab to a file and opens it again: `PairLab.save`, `save_async` and `PairLab.open`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import numpy as np

from pairlab.data.origin import without_credentials
from pairlab.data.ring import Ring
from pairlab.data.row_store import RowStore
from pairlab.engine.state import BAR_TIMEFRAMES
from pairlab.errors import DataError
from pairlab.health import RecentQuantiles
from pairlab.lab.nested_loop import run_beside, run_inside
from pairlab.lab.queries import Queries
from pairlab.lab.runner import LabRunner
from pairlab.lab.session.saved_feed import SavedFeed
from pairlab.lab.session.stopped_engine import StoppedEngine
from pairlab.protocols import LabView
from pairlab.schema import ROW
from pairlab.storage.atomic_file import write_atomically
from pairlab.storage.session.limits import DEFAULT_LIMITS, SessionLimits, require_session_name
from pairlab.storage.session.saved_session import EngineFacts, SavedSession

if TYPE_CHECKING:
    from pairlab.lab.pair_lab import PairLab

__all__ = ["SessionFiles", "open_session", "restore"]

T = TypeVar("T")

_LONGEST_S: Final = 60.0
"""A busy loop may take so long to come round."""


class SessionFiles:
    """Writes what a lab holds at a moment; `pairlab.PairLab` forwards to it.

    Parameters
    ----------
    runner : LabRunner
        Of the lab.
    queries : Queries
        Of the lab: they know what is selected.
    view : LabView
        The lab itself, as a page shows it.
    """

    def __init__(self, runner: LabRunner, queries: Queries, view: LabView) -> None:
        self._runner = runner
        self._queries = queries
        self._view = view

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the session to one file: what the lab holds at this moment, as data alone.

        Rows, ticks, bars, alerts, settings, journal and event log are in it, and `PairLab.open`
        shows them again. The cell waits until the file is written; the stream goes on meanwhile.

        Parameters
        ----------
        path : path
            Its name, which ends in ``.pairlab``; a file of that name is replaced, by a whole one
            or not at all. It is a ZIP file of Parquet tables with the digest of each.

        Raises
        ------
        DataError
            If the name ends otherwise, or there is more than one file holds (4 GiB).
        MissingExtraError
            Without ``pip install "pairlab[storage]"``.
        OSError
            If it cannot be written.
        """
        require_session_name(path)
        self._beside_the_stream(self.take, lambda session: _write(session, path))

    async def save_async(self, path: str | os.PathLike[str]) -> None:
        """Do as `save`, for code that awaits: the picture is of when it is called.

        Parameters
        ----------
        path : path
            As `save` takes it, and refuses it.

        Raises
        ------
        DataError, MissingExtraError, OSError
            As `save` does.
        """
        require_session_name(path)
        await asyncio.to_thread(_import_arrow)
        await asyncio.to_thread(_write, self.take(), path)

    def to_html(
        self, path: str | os.PathLike[str], theme: Literal["auto", "dark", "light"] = "auto"
    ) -> None:
        """Write the dashboard of this moment as one page that stands alone.

        Charts as SVG, the newest numbers, alerts with their explanations, rows, settings, health
        and event log. It opens in any browser without a kernel and without the internet: it runs
        no script and loads nothing. The cell waits until it is written; the stream goes on.

        Parameters
        ----------
        path : path
            Its name, which ends in ``.html`` or ``.htm``; a file of that name is replaced.
        theme : {"auto", "dark", "light"}
            Colours; ``"auto"`` is what the reader's system prefers.

        Raises
        ------
        DataError
            If the name ends otherwise.
        SettingError
            If there is no such theme.
        OSError
            If it cannot be written.
        """
        text = os.fsdecode(os.fspath(path))
        if not text.lower().endswith((".html", ".htm")):
            raise DataError(
                f"path = {text!r} is invalid: to_html() writes a page, expected a name that ends "
                "in .html; save() writes .pairlab and to_csv() .csv"
            )
        from pairlab.widgets.still.page import page_html, read_page_theme
        from pairlab.widgets.still.page_data import PageData

        read_page_theme(theme)

        def write(data: PageData) -> None:
            content = page_html(data, theme).encode()
            write_atomically(path, lambda file: file.write(content))

        self._beside_the_stream(lambda: PageData.of(self._view), write)

    def _beside_the_stream(self, take: Callable[[], T], write: Callable[[T], None]) -> None:
        """Take on the lab's loop and write on a thread, while that loop goes on, if it runs."""
        loop = self._runner.loop
        if loop is None or not loop.is_running() or loop is asyncio._get_running_loop():
            taken = [take()]
        else:
            taken = []

            async def on_the_loop() -> None:
                taken.append(take())

            run_inside(loop, on_the_loop, _LONGEST_S)
        run_beside(lambda: write(taken[0]))

    def take(self) -> SavedSession:
        """Return what the lab holds at this moment; later ticks do not change it."""
        runner, pipeline = self._runner, self._runner.pipeline
        health, source, log = runner.health(), runner.source, pipeline.alert_log
        feed = runner.feed_health()
        was = source.session if isinstance(source, SavedFeed) else None
        return SavedSession(
            pair=runner.pair,
            stream=health.stream,
            feed=without_credentials(health.feed) if was is None else was.feed,
            real_money=health.real_money,
            price_decimals=runner.price_decimals(),
            saved_ns=runner.clock.time_ns(),
            settings=runner.settings.values(),
            row_settings=pipeline.values(),
            ticks=pipeline.ticks.view(),
            tick_total=pipeline.next_tick,
            rows=pipeline.rows.view(),
            epoch=pipeline.rows.epoch,
            row_end=pipeline.rows.end,
            row_count=pipeline.row_count,
            entries=tuple(log),
            entry_total=log.total,
            newest_alert=log.newest_number,
            opened=log.opened,
            journal=tuple(pipeline.journal),
            journal_total=pipeline.journal.total,
            gaps=pipeline.gaps,
            positions=pipeline.position_changes,
            klines=dict(pipeline.klines),
            engine=self._engine_facts(),
            log=tuple(runner.event_log),
            log_total=runner.event_log.total,
            health=replace(feed, dropped=dict(feed.dropped)),
            row_latency_ms=(health.row_p50_ms, health.row_p99_ms),
            selected_ns=self._queries.selected_ns,
        )

    def _engine_facts(self) -> EngineFacts | None:
        engine = self._runner.pipeline.engine
        if engine is None:
            return None
        forming = engine.provisional()
        return EngineFacts(
            signal=engine.signal_state,
            dropped=engine.dropped,
            late=engine.late,
            kalman_warning=engine.kalman_warning,
            bars={name: engine.bars(name) for name in BAR_TIMEFRAMES},
            forming=np.empty(0, ROW) if forming is None else forming.copy(),
        )


def _import_arrow() -> None:
    """Import what a session is written with: that reads files, which no event loop may wait for."""
    from pairlab.storage.tables import arrow

    arrow()


def _write(session: SavedSession, path: str | os.PathLike[str]) -> None:
    from pairlab.storage.session.write_session import write_session  # a lab that is not saved: none

    write_session(session, path)


def open_session(
    cls: type[PairLab],
    path: str | os.PathLike[str],
    *,
    max_file_bytes: int = DEFAULT_LIMITS.max_file_bytes,
    max_member_bytes: int = DEFAULT_LIMITS.max_member_bytes,
    max_bytes: int = DEFAULT_LIMITS.max_bytes,
    max_ratio: float = DEFAULT_LIMITS.max_ratio,
) -> PairLab:
    """Open a session that `save` wrote: a lab that has ended, with all that it held.

    Settings can be changed, and the metrics are computed again from the ticks held; `start` is
    refused. Nothing of the file is executed, and nothing is written: one of a stranger's can be
    opened.

    Parameters
    ----------
    path : path
        The file.
    max_file_bytes, max_member_bytes, max_bytes : int
        Refuse a file beyond 1 GiB; one with a table beyond 4 GiB in memory; and one whose
        tables take more than 8 GiB together.
    max_ratio : float
        Refuse a table above 64 MiB that takes more than 200 times its size in the file.

    Returns
    -------
    PairLab
        Its feed's name says when it was saved.

    Raises
    ------
    DataError
        If it is no session file, damaged or too large, with the reason.
    SettingError
        If a limit is not above 0.
    MissingExtraError
        Without ``pip install "pairlab[storage]"``.
    OSError
        If there is no such file, or it cannot be read.
    """
    limits = SessionLimits(max_file_bytes, max_member_bytes, max_bytes, max_ratio)
    from pairlab.storage.session.read_session import read_session  # a live lab reads none

    session = read_session(path, limits)
    lab = cls(*session.pair, feed=SavedFeed(session), **asdict(session.settings))
    restore(session, lab._runner, lab._queries)
    return lab


def restore(session: SavedSession, runner: LabRunner, queries: Queries) -> None:
    """Give a new lab what a saved one held.

    Parameters
    ----------
    session : SavedSession
        What it held.
    runner : LabRunner
        Of the new lab, whose settings are the session's.
    queries : Queries
        Of the new lab.
    """
    pipeline, settings = runner.pipeline, session.settings
    pipeline.rows = RowStore.holding(
        session.rows, settings.history_rows, session.epoch, session.row_end
    )
    pipeline.ticks = Ring.holding(session.ticks, settings.ticks_held, session.tick_total)
    pipeline.row_count = session.row_count
    pipeline.alert_log.restore(
        session.entries, session.entry_total, session.newest_alert, session.opened
    )
    pipeline.journal.restore(session.journal, session.journal_total)
    pipeline.restore_past(session.gaps, session.positions)
    pipeline.klines = dict(session.klines)
    pipeline.latency_ms = RecentQuantiles.known(*session.row_latency_ms)
    if session.engine is not None:
        pipeline.engine = StoppedEngine(session.row_settings, session.engine)
    runner.event_log.restore(session.log, session.log_total)
    queries.selected_ns = session.selected_ns
