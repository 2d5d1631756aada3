"""What a recording may take: its oldest sealed files go, and nothing that it did not write."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pairlab.storage.recording.durable import Step, no_step
from pairlab.storage.recording.manifest import Dropped, Manifest
from pairlab.storage.recording.sealing import finish_dropping

__all__ = ["drop_oldest"]


def drop_oldest(
    folder: Path,
    manifest: Manifest,
    *,
    max_bytes: int | None = None,
    before_ns: int | None = None,
    step: Step = no_step,
) -> Manifest:
    """Remove whole segments of sealed files, the oldest first.

    Only files that the manifest names are touched. It forgets them before they are removed, and a
    recovery finishes what was interrupted.

    Parameters
    ----------
    folder : pathlib.Path
        The recording's.
    manifest : Manifest
        As it is on disk.
    max_bytes : int, optional
        What the files that stay may take together.
    before_ns : int, optional
        Files go whose last record was written before this wall clock, ns since 1970 UTC.
    step : callable
        Called after each step.

    Returns
    -------
    Manifest
        As it is on disk afterwards.

    Raises
    ------
    OSError
        If something cannot be written or removed.
    """
    total = sum(file.nbytes for file in manifest.files)
    dropped = manifest.dropped
    going: list[str] = []
    for segment in sorted({file.segment for file in manifest.files}):
        files = [file for file in manifest.files if file.segment == segment]
        too_large = max_bytes is not None and total > max_bytes
        too_old = before_ns is not None and max(file.written_ns for file in files) < before_ns
        if not (too_large or too_old):
            break
        nbytes = sum(file.nbytes for file in files)
        total -= nbytes
        going += [file.path for file in files]
        dropped = Dropped(
            files=dropped.files + len(files),
            nbytes=dropped.nbytes + nbytes,
            last_seq=max(
                [dropped.last_seq, *(file.last for file in files if file.kind == "ticks")]
            ),
        )
    if not going:
        return manifest
    gone = set(going)
    manifest = msgspec.structs.replace(
        manifest,
        files=[file for file in manifest.files if file.path not in gone],
        dropping=[*manifest.dropping, *going],
        dropped=dropped,
    )
    manifest.save(folder, step)
    return finish_dropping(folder, manifest, step)
