"""A one-file session as the source of a replay: the ticks that the lab held when it was saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pairlab.data.journal import GapMarked, SettingChanged
from pairlab.errors import DataError
from pairlab.feeds.base import Closes
from pairlab.schema import NS_PER_S, Pair
from pairlab.settings import SettingValues
from pairlab.storage.replay.recorded_bars import seeds_before
from pairlab.storage.replay.tick_source import GapMark, HeldTicks
from pairlab.storage.session.limits import ENDING
from pairlab.storage.session.read_session import read_session
from pairlab.storage.session.saved_session import SavedSession

__all__ = ["SessionTicks", "is_session", "open_session_ticks"]


def is_session(path: Path) -> bool:
    """Return whether a path is named as `PairLab.save` names its files."""
    return path.suffix == ENDING


class SessionTicks(HeldTicks):
    """The ticks of a saved session, in memory.

    Rows and alerts that were saved are not played: they are computed afresh.

    Parameters
    ----------
    session : SavedSession
        What was saved.
    name : str
        Of the file.

    Attributes
    ----------
    settings : SettingValues
        Those before the first tick that it holds, as far as its journal tells; else those at
        saving.

    Raises
    ------
    DataError
        If it holds no ticks of one of the symbols.
    """

    def __init__(self, session: SavedSession, name: str) -> None:
        first = session.tick_total - len(session.ticks)
        self.settings, told = _settings_at(session, first)
        saved = datetime.fromtimestamp(session.saved_ns / NS_PER_S, UTC)
        about = (
            f"{name}: a session of {session.feed}, {session.stream}, saved at "
            f"{saved:%Y-%m-%d %H:%M:%S} UTC; it holds the last {len(session.ticks):,} of "
            f"{session.tick_total:,} ticks"
        )
        super().__init__(
            session.pair, session.stream, session.ticks, _gaps_of(session, first),
            notes=[about, told], price_decimals=session.price_decimals,
            seeds=_seeds_of(session),
        )  # fmt: skip


def open_session_ticks(
    files: Sequence[Path], pair: Pair, stream: str | None = None
) -> SessionTicks:
    """Return the ticks of a session file.

    Raises
    ------
    DataError
        If there are several, it cannot be opened, or it is of another pair or stream.
    """
    if len(files) > 1:
        raise DataError(f"one session at a time: {', '.join(file.name for file in files[:6])}")
    path = files[0]
    try:
        session = read_session(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    if pair != session.pair:
        raise DataError(
            f"{path} is a session of {session.pair.y} (y) and {session.pair.x} (x), not of "
            f"{pair.y} and {pair.x}"
        )
    if stream not in (None, session.stream):
        raise DataError(f"{path} is a session of {session.stream} ticks, not of {stream}")
    return SessionTicks(session, path.name)


def _settings_at(session: SavedSession, first: int) -> tuple[SettingValues, str]:
    """Return the settings before a tick, and one sentence on where they are from."""
    values, later = session.settings, 0
    changes = [event for event in session.journal if isinstance(event, SettingChanged)]
    known = len(session.journal) == session.journal_total or (
        bool(session.journal) and session.journal[0].tick <= first
    )
    if not known:
        return values, (
            "its journal does not reach back to its first tick: the settings are those at saving"
        )
    for change in reversed(changes):
        if change.tick <= first:
            break
        undone: dict[str, Any] = {change.name: change.old}
        values, later = replace(values, **undone), later + 1
    if not later:
        return values, "the settings were the same from its first tick until it was saved"
    return values, (
        f"the settings are those before its first tick; {later:,} later changes are not played"
    )


def _seeds_of(session: SavedSession) -> dict[str, Closes]:
    if not len(session.ticks):
        return {}
    first_ns = int(session.ticks["time_ns"][0])
    known = {name: seeds_before(name, bars, first_ns) for name, bars in session.klines.items()}
    return {name: bars for name, bars in known.items() if bars is not None}


def _gaps_of(session: SavedSession, first: int) -> list[GapMark]:
    missing: dict[int, int] = {}
    for event in session.journal:
        if isinstance(event, GapMarked):
            missing[event.tick] = missing.get(event.tick, 0) + (event.missing or 0)
    # How many are missing may be unknown: one at least.
    return [
        GapMark(gap.tick - first, max(missing.get(gap.tick, 0), 1), gap.legs)
        for gap in session.gaps
        if first <= gap.tick < session.tick_total
    ]
