"""A sweep on the workers of a Dask cluster."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from pairlab.backtesting.inputs import Source, source_of
from pairlab.backtesting.sweeping.jobs import Job, Span, Trading, scored
from pairlab.backtesting.sweeping.score import Score
from pairlab.research.cluster import on_workers, require_client
from pairlab.schema import Pair
from pairlab.settings import SettingValues

__all__ = ["on_cluster"]

_SETS_AT_ONCE: Final = 256
"""Sets of one future: a run of the engine for each costs little beside their decisions."""


@dataclass(frozen=True)
class _Files:
    """Data that each worker reads by itself.

    Attributes
    ----------
    paths : tuple of str
        Absolute.
    single : bool
        Whether one path was given, not several.
    stamps : tuple of (int, int)
        Bytes of each, and when it was changed: workers that see another file must not be asked.
    pair : Pair
        Its symbols.
    """

    paths: tuple[str, ...]
    single: bool
    stamps: tuple[tuple[int, int], ...]
    pair: Pair


class _Piece(NamedTuple):
    """What one future computes."""

    settings: dict[str, Any]
    numbers: tuple[int, ...]
    sets: tuple[SettingValues, ...]


def on_cluster(
    client: Any,
    source: Source,
    data: object,
    trading: Trading,
    jobs: Sequence[Job],
    take: Callable[[int, Score], None],
    tell_span: Callable[[Span], None],
) -> None:
    """Score all sets on a cluster: what each worker computes is what a thread here would.

    Parameters
    ----------
    client : dask.distributed.Client
        Of the cluster.
    source : Source
        What is traded.
    data : object
        What it was made of.
    trading : Trading
        Under which terms.
    jobs : sequence of Job
        The sets.
    take : callable
        Called with the number of each set and its score.
    tell_span : callable
        Called with the span of each job's rows.

    Raises
    ------
    DataError
        If it is no client.
    MissingExtraError
        Without ``pip install "pairlab[cluster]"``.
    PairlabError
        If the cluster loses the data again and again.
    """
    require_client(client)
    pieces = {_key_of(piece, trading): piece for piece in _pieces(jobs)}
    files = _files_of(data, source, client)

    def taken(key: str, result: tuple[list[Score], Span | None]) -> None:
        scores, span = result
        if span is not None:
            tell_span(span)
        for number, score in zip(pieces[key].numbers, scores, strict=True):
            take(number, score)

    on_workers(
        client, _scored, source if files is None else files,
        {key: (trading, piece.settings, piece.sets) for key, piece in pieces.items()},
        taken, prefix="sweep", scatter=files is None,
    )  # fmt: skip


def _pieces(jobs: Sequence[Job]) -> list[_Piece]:
    pieces = []
    for job in jobs:
        numbers = list(job.sets)
        for start in range(0, len(numbers), _SETS_AT_ONCE):
            some = tuple(numbers[start : start + _SETS_AT_ONCE])
            pieces.append(_Piece(job.settings, some, tuple(job.sets[n] for n in some)))
    return pieces


def _key_of(piece: _Piece, trading: Trading) -> str:
    """Return a digest of what is computed, but for the data."""
    content = pickle.dumps((piece.settings, piece.numbers, piece.sets, trading))
    return hashlib.sha256(content).hexdigest()


def _files_of(data: object, source: Source, client: Any) -> _Files | None:
    """Return the data as files, if they are, and every worker sees the same ones."""
    single = isinstance(data, str | os.PathLike)
    given = [data] if single else data
    if not isinstance(given, list | tuple) or not given:
        return None
    if not all(isinstance(path, str | os.PathLike) for path in given):
        return None
    paths = tuple(str(Path(path).absolute()) for path in given)
    files = _Files(paths, single, _stamps(paths), source.given.pair)
    seen = client.run(_stamps, paths, on_error="return")
    return files if seen and all(stamps == files.stamps for stamps in seen.values()) else None


def _stamps(paths: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return size and time of change of files and of what folders hold."""
    found = []
    for path in paths:
        inside = sorted(Path(path).rglob("*")) if Path(path).is_dir() else []
        for file in (Path(path), *inside):
            about = file.stat()
            found.append((about.st_size if file.is_file() else 0, about.st_mtime_ns))
    return tuple(found)


@functools.lru_cache(maxsize=1)
def _read(files: _Files) -> Source:
    """Read data, once in each worker for all that it computes of them."""
    paths = [Path(path) for path in files.paths]
    return source_of(paths[0] if files.single else paths, files.pair)


def _scored(
    data: Source | _Files,
    trading: Trading,
    settings: dict[str, Any],
    sets: Sequence[SettingValues],
) -> tuple[list[Score], Span | None]:
    """Score some sets; on a worker."""
    source = _read(data) if isinstance(data, _Files) else data
    return scored(source, trading, settings, sets)
