"""Writes a session file: a ZIP of Parquet tables and a manifest with the digest of each."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import time
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from pairlab.errors import DataError
from pairlab.feeds.base import FeedHealth
from pairlab.storage.atomic_file import write_atomically
from pairlab.storage.session.limits import require_session_name
from pairlab.storage.session.saved_session import SavedSession
from pairlab.storage.session.session_tables import tables_of
from pairlab.storage.tables import FORMAT_VERSION, arrow, settings_text

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FORMAT", "MANIFEST", "versions", "write_session"]

FORMAT: Final = "pairlab session"
MANIFEST: Final = "manifest.json"

_PACKAGES: Final = ("pairlab", "numpy", "numba", "llvmlite", "pyarrow")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that computed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_session(session: SavedSession, path: str | os.PathLike[str]) -> None:
    """Write a session file: whole, or not at all.

    Parameters
    ----------
    session : SavedSession
        What to write.
    path : path
        Its name, which ends in ``.pairlab``; a file of that name is replaced.

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
    arrow()
    try:
        write_atomically(path, lambda file: _write(session, file))
    except zipfile.LargeZipFile:
        raise DataError(
            "this session exceeds 4 GiB, the most that one file holds: lower ticks_held or "
            "history_rows, which drops the oldest, and save again"
        ) from None


def _write(session: SavedSession, file: BinaryIO) -> None:
    members: dict[str, Any] = {}
    moment = time.gmtime(min(max(session.saved_ns // 1_000_000_000, 315_532_800), 4_354_819_198))
    # The tables are compressed already. Without the 64-bit extension no member and no file exceeds
    # 4 GiB: it would raise, where an older reader might misread.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name, table in tables_of(session).items():
            made = table()
            content = parquet_bytes(made)
            digest = hashlib.sha256(content).hexdigest()
            members[name] = {"rows": made.num_rows, "bytes": len(content), "sha256": digest}
            _add(archive, f"{name}.parquet", content, moment)
        text = json.dumps({**_manifest(session), "members": members}, indent=1, allow_nan=False)
        _add(archive, MANIFEST, text.encode(), moment)


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as a Parquet file, without a description of Arrow's own.

    That description is what may name types by which a reader runs code: it is left out, so that a
    reader can refuse any file that has one; and so are statistics, whose texts might look like
    one. Floats are written plainly: a dictionary would take
    NaNs of different bits for one.
    """
    pa = arrow()
    import pyarrow.parquet as pq

    text = [field.name for field in table.schema if pa.types.is_string(field.type)]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, version="2.6", compression="zstd", use_dictionary=text, store_schema=False,
        write_page_checksum=True, write_statistics=False,
    )  # fmt: skip
    return bytes(sink.getvalue())


def _add(archive: zipfile.ZipFile, name: str, content: bytes, moment: time.struct_time) -> None:
    info = zipfile.ZipInfo(name, moment[:6])
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)


def _manifest(session: SavedSession) -> dict[str, Any]:
    engine = session.engine
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "pair": list(session.pair),
        "stream": session.stream,
        "feed": session.feed,
        "real_money": session.real_money,
        "price_decimals": session.price_decimals,
        "saved_ns": session.saved_ns,
        "versions": dict(session.versions) or versions(),
        "settings": json.loads(settings_text(session.settings)),
        "row_settings": json.loads(settings_text(session.row_settings)),
        "tick_total": session.tick_total,
        "epoch": session.epoch,
        "row_end": session.row_end,
        "row_count": session.row_count,
        "entry_total": session.entry_total,
        "newest_alert": session.newest_alert,
        "journal_total": session.journal_total,
        "log_total": session.log_total,
        "engine": None
        if engine is None
        else {
            "signal": dict(engine.signal),
            "dropped": dict(engine.dropped),
            "late": engine.late,
            "kalman_warning": engine.kalman_warning,
        },
        "health": {
            name: _plain(getattr(session.health, name)) for name in FeedHealth.__dataclass_fields__
        },
        "row_latency_ms": [_plain(value) for value in session.row_latency_ms],
        "selected_ns": session.selected_ns,
    }


def _plain(value: Any) -> Any:
    """Return what JSON can hold: a number that is none as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return dict(value) if isinstance(value, Mapping) else value
