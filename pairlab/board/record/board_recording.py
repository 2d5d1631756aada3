"""All pairs of a board being recorded: a folder each, also of those that come later."""

from __future__ import annotations

import asyncio
import datetime
import os
import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pairlab.errors import SettingError
from pairlab.lab.record.recording import Recording
from pairlab.lab.record.target import Target
from pairlab.schema import Pair

if TYPE_CHECKING:
    from pairlab.board.board_pair import BoardPair
    from pairlab.board.runner import BoardRunner

__all__ = ["BoardRecorder", "BoardRecording", "pair_folder"]


def pair_folder(pair: Pair) -> str:
    """Return the name of a pair's folder: ``BTCUSDT-ETHUSDT``."""
    return "-".join(re.sub(r"[^\w.-]", "_", symbol) for symbol in pair)


class BoardRecording:
    """Recordings of a board's pairs that run; `Board.record` makes it.

    Parameters
    ----------
    runner : BoardRunner
        The board's.
    folder : str or os.PathLike
        Holds a folder a pair.
    rows, fsync_s, max_bytes, max_age
        As `Board.record` takes them.

    Attributes
    ----------
    folder : pathlib.Path
        Holds a folder a pair.
    """

    def __init__(
        self,
        runner: BoardRunner,
        folder: str | os.PathLike[str],
        *,
        rows: bool,
        fsync_s: float,
        max_bytes: int | None,
        max_age: str | datetime.timedelta | float | None,
    ) -> None:
        self.folder: Final = Path(folder)
        self._runner = runner
        self._rows, self._fsync_s = rows, fsync_s
        self._max_bytes, self._max_age = max_bytes, max_age
        self._recordings: dict[Pair, Recording] = {}
        self._ended: list[Recording] = []  # of pairs that were recorded again
        for view in runner.pairs.values():
            self.take(view)
        runner.recorders.append(self)

    def take(self, view: BoardPair) -> None:
        """Record a pair, too."""
        before = self._recordings.get(view.pair)
        if before is not None:
            self._ended.append(before)
        self._recordings[view.pair] = view.recordings.record(
            self.folder / pair_folder(view.pair), rows=self._rows, fsync_s=self._fsync_s,
            max_bytes=self._max_bytes, max_age=self._max_age,
        )  # fmt: skip

    def __repr__(self) -> str:
        return (
            f"<BoardRecording to {self.folder}: {len(self._recordings):,} pairs, {self.ticks:,} "
            f"ticks, {self.rows:,} rows, {self.nbytes / 1024**2:,.1f} MiB>"
        )

    def __getitem__(self, pair: tuple[str, str]) -> Recording:
        """Return the newest recording of a pair; raises KeyError for one that was never on it."""
        return self._recordings[Pair(*pair)]

    def __len__(self) -> int:
        return len(self._recordings)

    @property
    def recordings(self) -> MappingProxyType[Pair, Recording]:
        """The newest recording of each pair, those of pairs that left the board among them."""
        return MappingProxyType(self._recordings)

    def _every(self) -> list[Recording]:
        return [*self._ended, *self._recordings.values()]

    @property
    def active(self) -> bool:
        """Whether any of them has not ended."""
        return any(recording.active for recording in self._every())

    @property
    def errors(self) -> dict[Pair, str]:
        """Why pairs' recordings wait or have failed; those that go well are not in it."""
        return {pair: one.error for pair, one in self._recordings.items() if one.error}

    @property
    def ticks(self) -> int:
        """Ticks stored; those of a symbol count for each of its pairs."""
        return sum(recording.ticks for recording in self._every())

    @property
    def rows(self) -> int:
        """Rows stored."""
        return sum(recording.rows for recording in self._every())

    @property
    def alerts(self) -> int:
        """Alerts stored."""
        return sum(recording.alerts for recording in self._every())

    @property
    def lost_ticks(self) -> int:
        """Ticks left out because a place could not store for too long."""
        return sum(recording.lost_ticks for recording in self._every())

    @property
    def nbytes(self) -> int:
        """Bytes that the recordings take, as far as known."""
        return sum(recording.nbytes for recording in self._every())

    async def wait_opened(self) -> None:
        """Wait until the first attempt to open each folder has ended."""
        await asyncio.gather(*(recording.wait_opened() for recording in self._every()))

    async def flush(self) -> None:
        """Wait until what the board has made so far is written, or cannot be."""
        await asyncio.gather(*(recording.flush() for recording in self._every()))

    async def stop(self) -> None:
        """Write what waits, seal, and end; the board goes on. A second call does nothing more."""
        if self in self._runner.recorders:
            self._runner.recorders.remove(self)
        for recording in self._every():
            recording.request_stop()
        await asyncio.gather(*(recording.stop() for recording in self._every()))


class BoardRecorder:
    """Begins recordings of a board, which end with it.

    Parameters
    ----------
    runner : BoardRunner
        Of the board.

    Attributes
    ----------
    newest : BoardRecording or None
        Under way or ended.
    """

    def __init__(self, runner: BoardRunner) -> None:
        self._runner: Final = runner
        self.newest: BoardRecording | None = None

    def record(
        self,
        path: str | os.PathLike[str],
        *,
        rows: bool = True,
        fsync_s: float = 10.0,
        max_bytes: int | None = None,
        max_age: str | datetime.timedelta | float | None = None,
    ) -> BoardRecording:
        """Record every pair from now on, until the board or the recording ends, or the pair leaves.

        Each pair has a folder of its own within `path`, such as ``BTCUSDT-ETHUSDT``: a recording
        as `PairLab.record` makes it, which `pairlab.Replay` and `pairlab.verify` take. What is held
        of the pair comes first; pairs that come later are recorded, too.

        Parameters
        ----------
        path : str or os.PathLike
            A folder, made if need be; each pair goes on where an earlier recording of it ended.
        rows : bool
            Whether rows are recorded; from the ticks, a replay makes them again.
        fsync_s : float
            A loss of power costs at most the last so many seconds; a killed process, one.
        max_bytes : int, optional
            What the folder of each pair may take: its oldest files are removed.
        max_age : str, datetime.timedelta or float, optional
            Older files are removed, too: ``"7D"``, or seconds.

        Returns
        -------
        BoardRecording
            Its counters, the `Recording` of each pair, and ``stop()``. What goes wrong is in the
            event log.

        Raises
        ------
        SettingError
            If a parameter is none of these, or `path` is a database: a board is recorded to a
            folder.

        Notes
        -----
        The ticks of a symbol are written once for each pair that has it, and each pair has a thread
        that writes: this is for the pairs that matter, not for thousands.

        A pair's rows can be proved by `pairlab.verify` if its first tick was held when the
        recording began; else its certificate says why not, as that of a lab does.
        """
        target = Target(path, fsync_s=fsync_s, max_bytes=max_bytes, max_age=max_age)
        if target.is_database:
            raise SettingError("path", "postgresql://…", "a board is recorded to a folder")
        self.newest = recording = BoardRecording(
            self._runner, path, rows=rows, fsync_s=fsync_s, max_bytes=max_bytes, max_age=max_age
        )
        return recording
