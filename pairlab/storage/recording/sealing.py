"""From live segments to Parquet, in steps between any two of which a process may be killed.

Files first, each written under a temporary name, made durable and renamed; then the manifest in
the same way, which from that moment on names them; only then is the live segment removed. What is
left of a step that was interrupted is done again from the live segment, with the same result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pairlab.schema import Pair
from pairlab.storage.recording.durable import (
    Step,
    fsync_folder,
    make_folder,
    no_step,
    publish,
    remove,
)
from pairlab.storage.recording.live_segment import (
    Frame,
    FrameKind,
    Scan,
    read_note,
    read_table,
    scan,
)
from pairlab.storage.recording.manifest import LIVE, Hole, Loss, Manifest, Part, SealedFile
from pairlab.storage.recording.parquet_files import (
    NO_LEG,
    is_of_recording,
    sha256_of,
    symbol_folder,
    write_parquet,
)
from pairlab.storage.recording.sink import RebuiltRows
from pairlab.storage.tables import arrow, column

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Recovery",
    "as_sealed",
    "finish_dropping",
    "holes_of",
    "live_segments",
    "recover",
    "remove_leftovers",
    "seal_segment",
    "segment_path",
]

_DAY_NS: Final = 86_400_000_000_000
_SEGMENT: Final = re.compile(r"(\d{6})\.frames")
_TEMPORARY: Final = re.compile(r"\.\d{6}-\d+\.tmp")


class Recovery(NamedTuple):
    """What was done for a recording that was not sealed.

    Attributes
    ----------
    segments : int
        Live segments that were sealed.
    losses : tuple of Loss
        What was torn or damaged in them.
    """

    segments: int
    losses: tuple[Loss, ...]

    def __str__(self) -> str:
        """Say it in one sentence, without a full stop."""
        text = f"recovered a recording that was not sealed: {self.segments} live segments"
        nbytes = sum(loss.nbytes for loss in self.losses)
        if not nbytes:
            return f"{text}, nothing torn"
        ticks = sum(loss.ticks for loss in self.losses)
        seconds = sum(loss.seconds for loss in self.losses)
        return f"{text}, {ticks:,} ticks ({seconds:.3g} s) lost in {nbytes:,} torn bytes"


def segment_path(folder: Path, number: int) -> Path:
    """Return where a live segment lies."""
    return folder / LIVE / f"{number:06}.frames"


def live_segments(folder: Path) -> list[tuple[int, Path]]:
    """Return the live segments that are there, by number."""
    try:
        paths = sorted((folder / LIVE).iterdir())
    except FileNotFoundError:
        return []
    matches = ((_SEGMENT.fullmatch(path.name), path) for path in paths)
    return [(int(match[1]), path) for match, path in matches if match]


def holes_of(manifest: Manifest, segments: Iterable[tuple[int, list[Frame]]]) -> list[Hole]:
    """Return the ticks that are missing before or between frames of ticks.

    Parameters
    ----------
    manifest : Manifest
        Of what is sealed.
    segments : iterable of (int, list of Frame)
        Numbers of the live segments that follow, and their frames of ticks.
    """
    next_seq, last_ns = manifest.last_seq + 1, manifest.last_ns
    holes = []
    for number, frames in segments:
        part = manifest.part_of(number)
        next_seq = max(next_seq, part.first_seq if part is not None else 0)
        for frame in frames:
            if frame.first > next_seq:
                holes.append(
                    Hole(
                        first_seq=next_seq, last_seq=frame.first - 1, first_ns=last_ns,
                        last_ns=frame.low,
                    )
                )  # fmt: skip
            next_seq, last_ns = frame.last + 1, max(last_ns, frame.high)
    return holes


def as_sealed(folder: Path, manifest: Manifest) -> Manifest:
    """Return the manifest as it will be once every live segment is sealed, but for the files.

    Raises
    ------
    OSError
        If a segment cannot be read.
    """
    for number, path in live_segments(folder):
        if number > manifest.sealed_through:
            manifest = _with_segment(manifest, number, [], path, scan(path))
    return manifest


def remove_leftovers(folder: Path, manifest: Manifest) -> None:
    """Remove what an interrupted sealing has left in ``live/``; the caller holds the lock."""
    for number, path in live_segments(folder):
        if number <= manifest.sealed_through:
            remove(path)
    if (folder / LIVE).is_dir():
        for path in (folder / LIVE).iterdir():
            if _TEMPORARY.fullmatch(path.name):
                remove(path)


def recover(
    folder: Path,
    manifest: Manifest,
    step: Step = no_step,
    *,
    before: int | None = None,
    saved: Callable[[Manifest], None] = lambda manifest: None,
) -> tuple[Manifest, Recovery]:
    """Finish what a writer that is gone has left; the caller holds the lock.

    Done twice, or begun anew after it was killed, it comes to the same result.

    Parameters
    ----------
    folder : pathlib.Path
        The recording's.
    manifest : Manifest
        As it is on disk.
    step : callable
        Called after each step.
    before : int, optional
        Number of the live segment that is written to by now: it and later ones stay.
    saved : callable
        Called with the manifest each time that another one is on disk: what fails later leaves it.

    Raises
    ------
    OSError
        If something cannot be written; all that is there stays.
    DataError
        If a frame's checksum is right and its table is none.
    """
    manifest = finish_dropping(folder, manifest, step)
    saved(manifest)
    remove_leftovers(folder, manifest)
    known = len(manifest.losses)
    segments = 0
    for number, _ in live_segments(folder):
        if number > manifest.sealed_through and (before is None or number < before):
            manifest = seal_segment(folder, manifest, number, step)
            saved(manifest)
            segments += 1
    return manifest, Recovery(segments, tuple(manifest.losses[known:]))


def seal_segment(folder: Path, manifest: Manifest, number: int, step: Step = no_step) -> Manifest:
    """Make Parquet files of a live segment that nobody writes to any more, and remove it.

    Parameters
    ----------
    folder : pathlib.Path
        The recording's.
    manifest : Manifest
        As it is on disk; it is not changed.
    number : int
        Of the segment.
    step : callable
        Called after each step.

    Returns
    -------
    Manifest
        As it is on disk afterwards.

    Raises
    ------
    OSError
        If something cannot be written: the segment stays, and so does what the manifest says.
    """
    path = segment_path(folder, number)
    found = scan(path)
    written_ns = path.stat().st_mtime_ns
    files = []
    for at, (name, table) in enumerate(_tables(path, found, manifest.pair)):
        file = _publish(folder, name, table, manifest.recording, number, at, step)
        files.append(msgspec.structs.replace(file, written_ns=written_ns))
    manifest = _with_segment(manifest, number, files, path, found)
    manifest.save(folder, step)
    remove(path)
    fsync_folder(path.parent)
    step(f"removed {path.name}")
    return manifest


def finish_dropping(folder: Path, manifest: Manifest, step: Step = no_step) -> Manifest:
    """Remove the files that the manifest, as it is on disk, says are to go."""
    if not manifest.dropping:
        return manifest
    for name in manifest.dropping:
        remove(folder / name)
        step(f"dropped {name}")
    manifest = msgspec.structs.replace(manifest, dropping=[])
    manifest.save(folder, step)
    return manifest


def _of_kind(found: Scan, kind: FrameKind) -> list[Frame]:
    return [frame for frame in found.frames if frame.kind is kind]


def _tables(path: Path, found: Scan, pair: Pair) -> Iterator[tuple[str, pa.Table]]:
    """Return the folder of each Parquet file, and what it holds."""
    pa = arrow()
    for kind, name in (
        (FrameKind.TICKS, "ticks"),
        (FrameKind.ROWS, "rows"),
        (FrameKind.ALERTS, "alerts"),
        (FrameKind.EVENTS, "journal"),
    ):
        frames = _of_kind(found, kind)
        if not frames:
            continue
        table = pa.concat_tables([read_table(path, frame) for frame in frames])
        if kind is FrameKind.EVENTS:
            yield name, table
        elif kind is FrameKind.TICKS:
            symbols = table.column("symbol")
            table = table.drop_columns(["symbol"])  # the folder's name says it
            for leg in (*range(len(pair)), NO_LEG):
                own = symbols.is_null() if leg == NO_LEG else pa.compute.equal(symbols, pair[leg])
                yield from _by_date(f"{name}/{symbol_folder(pair, leg)}", table.filter(own))
        else:
            yield from _by_date(name, table)


def _by_date(name: str, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    days = column(table, "time", np.int64) // _DAY_NS
    for day in np.unique(days):
        part = table if (days == day).all() else table.filter(arrow().array(days == day))
        yield f"{name}/date={np.datetime64(int(day), 'D')}", part


def _publish(
    folder: Path, name: str, table: pa.Table, recording: str, number: int, at: int, step: Step
) -> SealedFile:
    temporary = folder / LIVE / f".{number:06}-{at}.tmp"
    path = folder / name / f"{number:06}.parquet"
    try:
        write_parquet(table, temporary, recording)
        step(f"wrote {name}")
        sha256, nbytes = sha256_of(temporary), temporary.stat().st_size
        make_folder(path.parent, folder)
        if path.exists() and not is_of_recording(path, recording):
            raise FileExistsError(
                17, "a file that is not of this recording is in its place", str(path)
            )
        publish(temporary, path, step)
    except OSError:
        remove(temporary)  # a full disk gets back what it gave
        raise
    kind: Any = name.partition("/")[0]
    first, last = _span(table, {"ticks": "seq", "rows": "row", "alerts": "number"}.get(kind))
    epochs = _span(table, "epoch" if kind == "rows" else None)
    times = _span(table, None if kind == "journal" else "time", extremes=True)
    return SealedFile(
        path=f"{name}/{path.name}", kind=kind, segment=number, records=table.num_rows,
        nbytes=nbytes, first=first, last=last, first_epoch=epochs[0], last_epoch=epochs[1],
        first_ns=times[0], last_ns=times[1], sha256=sha256,
    )  # fmt: skip


def _span(table: pa.Table, name: str | None, *, extremes: bool = False) -> tuple[int, int]:
    if name is None:
        return 0, 0
    values: NDArray[np.int64] = column(table, name, np.int64)
    return (int(values.min()), int(values.max())) if extremes else (int(values[0]), int(values[-1]))


def _with_segment(
    manifest: Manifest, number: int, files: list[SealedFile], path: Path, found: Scan
) -> Manifest:
    """Return the manifest that names a segment's files, and what else the segment held."""
    ticks, rows = _of_kind(found, FrameKind.TICKS), _of_kind(found, FrameKind.ROWS)
    events = _of_kind(found, FrameKind.EVENTS)
    parts = list(manifest.parts)
    part = manifest.part_of(number)
    if part is not None:
        at = parts.index(part)
        parts[at] = part = msgspec.structs.replace(part)
        count_events_and_alerts(part, found.frames)
    notes = [read_note(path, frame) for frame in _of_kind(found, FrameKind.NOTE)]
    rebuilds = rebuilds_of(notes)
    last_row = max(
        [
            (manifest.last_epoch, manifest.last_row),
            *((frame.epoch, frame.last) for frame in rows),
            *((rebuild.epoch, rebuild.rows - 1) for rebuild in rebuilds),
        ]
    )
    return msgspec.structs.replace(
        manifest,
        files=[*manifest.files, *files],
        parts=parts,
        price_decimals=price_decimals_of(notes, manifest.price_decimals),
        sealed_through=number,
        last_seq=max([manifest.last_seq, *(frame.last for frame in ticks)]),
        last_ns=max([manifest.last_ns, *(frame.high for frame in ticks)]),
        last_event_seq=max([manifest.last_event_seq, *(frame.high for frame in events)]),
        last_epoch=last_row[0],
        last_row=last_row[1],
        holes=[*manifest.holes, *holes_of(manifest, [(number, ticks)])],
        losses=[*manifest.losses, *_losses(number, found)],
        rebuilds=[*manifest.rebuilds, *rebuilds],
    )


def count_events_and_alerts(part: Part, frames: list[Frame]) -> None:
    """Move a part's counters behind the events and alerts of these frames."""
    for frame in frames:
        if frame.kind is FrameKind.EVENTS:
            part.complete = part.complete and frame.first <= part.events
            part.events = max(part.events, frame.last + 1)
        elif frame.kind is FrameKind.ALERTS:
            part.alerts = max(part.alerts, frame.last)


def rebuilds_of(notes: Iterable[dict[str, Any]]) -> list[RebuiltRows]:
    """Return the rebuilds among notes."""
    return [RebuiltRows(**note["rebuild"]) for note in notes if "rebuild" in note]


def price_decimals_of(
    notes: Iterable[dict[str, Any]], before: tuple[int, int] | None
) -> tuple[int, int] | None:
    """Return the decimals that the last note tells, else those known before."""
    for note in notes:
        if "price_decimals" in note:
            y, x = note["price_decimals"]
            before = int(y), int(x)
    return before


def _losses(number: int, found: Scan) -> list[Loss]:
    if not found.torn:
        return []
    ticks = [frame for frame in found.torn if frame.kind is FrameKind.TICKS]
    rows = [frame for frame in found.torn if frame.kind is FrameKind.ROWS]
    return [
        Loss(
            segment=number,
            nbytes=sum(frame.length for frame in found.torn),
            ticks=sum(frame.records for frame in ticks),
            rows=sum(frame.records for frame in rows),
            first_ns=min((frame.low for frame in ticks), default=0),
            last_ns=max((frame.high for frame in ticks), default=0),
        )
    ]
