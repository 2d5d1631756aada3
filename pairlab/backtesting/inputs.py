"""What a backtest is given: frames, Series, labs, archives and paths, as prices for the engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pairlab.backtesting.recorded.streamed import marked_ticks
from pairlab.data.frames import ticks_frame
from pairlab.data.origin import without_credentials
from pairlab.errors import DataError
from pairlab.lab.pair_lab import PairLab
from pairlab.research.inputs import Given, given_of
from pairlab.schema import TICK
from pairlab.storage.archive import Archive, read_archive
from pairlab.storage.recording.recorded_session import RecordedSession
from pairlab.storage.replay.recordings import is_recording

__all__ = ["Source", "source_of"]


class Source(NamedTuple):
    """Data, sorted out.

    Attributes
    ----------
    given : Given
        Ticks or prices.
    name : str
        What it was, for the report.
    settings : dict
        That the data bring with them: those of a lab, or a recording's at its start.
    market : str
        The market's name where the data say it, such as ``"SIMULATED"``; else "".
    simulated : bool
        Whether the data say that they are of no real market.
    recording : RecordedSession or None
        Where the ticks are that `given` has not: it names the legs alone.
    """

    given: Given
    name: str
    settings: dict[str, Any]
    market: str = ""
    simulated: bool = False
    recording: RecordedSession | None = None

    def loaded(self) -> Source:
        """Return the same with the ticks of its recording in memory."""
        if self.recording is None:
            return self
        given = given_of(_recorded_ticks(self.recording), None, self.given.pair, None)
        return self._replace(given=given, recording=None)


def source_of(data: object, pair: tuple[str, str] | None, *, stream: bool = False) -> Source:
    """Sort out what a backtest was given; the one place that knows every kind of it.

    Parameters
    ----------
    data, pair
        As `pairlab.backtest` takes them.
    stream : bool
        Whether the ticks of a recording are left where they are, to be read piece by piece.

    Raises
    ------
    DataError
        For what is none of them.
    """
    if isinstance(data, PairLab):
        settings = _without_unused_ratio(asdict(data.row_settings))
        given, health = given_of(data.ticks(), None, pair or data.pair, None), data.health()
        market = without_credentials(health.feed)
        return Source(given, "lab", settings, market, _is_simulated(market, health.real_money))
    if isinstance(data, Archive):
        return Source(_given_of_archive(data, pair), "archive", {})
    if isinstance(data, str | os.PathLike) and is_recording(Path(data)):
        session = RecordedSession(data)
        settings = _without_unused_ratio(asdict(session.settings))
        legs = pair or session.pair
        none = ticks_frame(np.zeros(0, TICK), session.pair, np.zeros(0, np.int8))
        given = given_of(none, None, legs, None)
        strange = set(session.pair) - set(legs)
        if strange:
            raise DataError(f"there are ticks of {min(strange)}, which is not in {tuple(legs)}")
        market = without_credentials(session.feed)
        simulated = _is_simulated(market, session.real_money)
        source = Source(given, os.fspath(data), settings, market, simulated, session)
        return source if stream else source.loaded()
    if isinstance(data, str | os.PathLike) or _are_paths(data):
        archive = read_archive(data)  # type: ignore[arg-type]  # it says what it cannot read
        name = os.fspath(data) if isinstance(data, str | os.PathLike) else f"{len(data)} files"  # type: ignore[arg-type]
        return Source(_given_of_archive(archive, pair), name, {})
    if isinstance(data, tuple) and len(data) == 2:
        given = given_of(data[0], data[1], None, None)
        if pair is not None:
            raise DataError("pair names the symbols of a frame; the names of two Series are theirs")
        return Source(given, "prices", {})
    if isinstance(data, pd.DataFrame) or type(data).__module__.partition(".")[0] == "polars":
        given = given_of(data, None, pair, None)
        return Source(given, "prices" if given.ticks is None else "ticks", {})
    raise DataError(
        "data must be a frame of ticks or of two price columns, a tuple of two Series, a PairLab, "
        "an Archive, or the path of a recording or of an archive's files, not "
        f"{type(data).__name__}"
    )


def _given_of_archive(archive: Archive, pair: tuple[str, str] | None) -> Given:
    """Return the ticks of an archive, or, where it has none, the closes of its bars."""
    if len(archive.ticks) or not len(archive.bars):
        return given_of(archive.ticks, None, pair, None)
    closes = archive.pair_bars(*(pair or ()))[["y_close", "x_close"]]
    names = list(pair or archive.bars["symbol"].cat.categories)
    closes = closes.set_axis(names, axis=1)
    closes.attrs["label"] = "close"
    return given_of(closes, None, None, None)


def _is_simulated(market: str, real_money: bool) -> bool:
    """Return whether prices are of no real market; what is replayed may be of either."""
    return not real_money and not market.startswith(("RECORDING", "REPLAY"))


def _without_unused_ratio(settings: dict[str, Any]) -> dict[str, Any]:
    """Drop a hedge ratio that was not used: it is nobody's choice."""
    if settings["hedge"] != "fixed":
        del settings["hedge_ratio"]
    return settings


def _recorded_ticks(session: RecordedSession) -> pd.DataFrame:
    """Return a recording's ticks as those of a lab, with its gaps."""
    ticks, legs = [np.zeros(0, TICK)], [np.zeros(0, np.int8)]
    for piece, gaps in marked_ticks(session, session.pair):
        marked = np.zeros(len(piece), np.int8)
        for gap in gaps:
            marked[gap.tick] = gap.legs
        ticks.append(piece)
        legs.append(marked)
    return ticks_frame(np.concatenate(ticks), session.pair, np.concatenate(legs))


def _are_paths(data: object) -> bool:
    return (
        isinstance(data, Sequence)
        and not isinstance(data, str)
        and bool(data)
        and all(isinstance(item, str | os.PathLike) for item in data)
    )
