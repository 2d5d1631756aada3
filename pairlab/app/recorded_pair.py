"""Which pair of a recording is shown: found, or refused, before anything is served."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pairlab.errors import DataError
from pairlab.local_exchange import Recording
from pairlab.schema import Pair
from pairlab.storage.replay.frames import listed, recorded_stream, symbols_of
from pairlab.storage.replay.open_source import symbols_in
from pairlab.storage.replay.tables.columns import same_symbol

__all__ = ["recorded_pair", "replayed_pair"]

_DEFAULT: Final = Pair("BTCUSDT", "ETHUSDT")


def recorded_pair(
    paths: Sequence[str | os.PathLike[str]], pair: Pair | None, stream: str | None
) -> Pair:
    """Read a recording, and return the pair to show of it.

    Parameters
    ----------
    paths : sequence of path
        As in `Recording`.
    pair : Pair, optional
        The pair that was asked for; by default BTCUSDT and ETHUSDT, or the only two there are.
    stream : str, optional
        What a tick is; by default what the recording holds.

    Raises
    ------
    DataError
        If it cannot be read, or does not hold the stream of both symbols.
    """
    for path in paths:
        if not Path(path).exists():
            raise DataError(f"no such recording: {path}")
    recording = Recording(paths)
    recording.open()
    kind = stream or recorded_stream(recording)
    symbols = symbols_of(recording, kind)
    return _chosen(symbols, pair, f"{kind} messages")


def replayed_pair(
    paths: Sequence[str | os.PathLike[str]], pair: Pair | None, stream: str | None
) -> Pair:
    """Return the pair to show of anything that a `Replay` plays.

    Parameters
    ----------
    paths, pair, stream
        As in `recorded_pair`.

    Raises
    ------
    DataError
        If it cannot be read, does not have both symbols, or does not say which there are.
    """
    symbols = symbols_in(paths)
    if symbols is None:
        return recorded_pair(paths, pair, stream)
    if not symbols:
        if pair is None:
            raise DataError("name the pair, y and x: nothing in the files says which it is")
        return pair
    # As an exchange spells them: tables have their own ways.
    spelled = [next((s for s in pair or () if same_symbol(n, s)), n) for n in symbols]
    return _chosen(spelled, pair, "ticks")


def _chosen(symbols: Sequence[str], pair: Pair | None, what: str) -> Pair:
    if pair is None:
        if set(symbols) >= set(_DEFAULT):
            return _DEFAULT
        if len(symbols) != 2:
            raise DataError(
                f"name the pair, y and x: the recording has {what} of {listed(symbols)}"
            )
        return Pair(*symbols)
    missing = [symbol for symbol in pair if symbol not in symbols]
    if missing:
        raise DataError(
            f"the recording has no {what} of {' and '.join(missing)}; it has those of "
            + listed(symbols)
        )
    return pair
