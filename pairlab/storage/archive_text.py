"""The text of a file of Binance's public archive: unzipped within bounds, its checksum compared."""

from __future__ import annotations

import contextlib
import csv
import functools
import gzip
import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

from pairlab.errors import DataError

isal_zlib: Any = None
with contextlib.suppress(ImportError):  # no wheel for this machine: zlib does the same
    from isal import isal_zlib

__all__ = ["DAMAGE", "checked_sha256", "first_lines", "opened"]

MAX_RATIO: Final = 100
"""Most bytes that a byte of a zip may become; the archive's files become 4 to 10."""

MAX_BYTES: Final = 64 * 2**30
"""Most bytes of one file's text; a month of BTCUSDT trades has about 15 GB."""

_ZLIB: Final = type(zlib.decompressobj())

DAMAGE: Final[tuple[type[Exception], ...]] = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError,
    *(() if isal_zlib is None else (isal_zlib.error,)),
)  # fmt: skip
"""What the readers of zip and gzip raise for a file that is not whole, or not such a file."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open the text of a file: a zip's one member, a gzip'd or a plain file.

    Raises
    ------
    DataError
        If it is no zip that the archive publishes, or larger than allowed; what reading raises is
        in `DAMAGE`.
    """
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as unzipped:
            yield cast("IO[bytes]", unzipped)
    elif path.suffix != ".zip":
        with path.open("rb") as plain:
            yield plain
    else:
        with contextlib.ExitStack() as stack:
            try:
                archive = stack.enter_context(zipfile.ZipFile(path))
                member = stack.enter_context(archive.open(_member(path, archive)))
            except DAMAGE as error:
                raise DataError(
                    f"{path} is damaged or no zip file: {error}; fetch it again"
                ) from None
            _inflate_faster(member)
            yield member


def _inflate_faster(member: Any) -> None:
    """Let zipfile's reader inflate with ISA-L where that is installed: a fifth of zlib's time.

    Sizes and the end of the data are zipfile's to check, as before; the CRC is ISA-L's, too.
    """
    if isal_zlib is not None and type(getattr(member, "_decompressor", None)) is _ZLIB:
        member._decompressor = isal_zlib.decompressobj(-zlib.MAX_WBITS)
        member._update_crc = functools.partial(_update_crc, member)


def _update_crc(member: Any, data: bytes) -> None:
    """Do as `zipfile.ZipExtFile._update_crc`."""
    member._running_crc = isal_zlib.crc32(data, member._running_crc)
    if member._eof and member._running_crc != member._expected_crc:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {member.name!r}")


def _member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the one member of a zip, or refuse what the archive never publishes."""
    members = archive.infolist()
    if len(members) != 1:
        raise DataError(f"{path}: {len(members)} files in the zip: expected one")
    (member,) = members
    if member.filename != f"{path.stem}.csv":
        raise DataError(f"{path}: {member.filename!r} in the zip: expected {path.stem}.csv")
    if member.flag_bits & 1:
        raise DataError(f"{path}: the zip is encrypted")
    ratio = member.file_size / max(min(member.compress_size, path.stat().st_size), 1)
    if member.file_size > MAX_BYTES or ratio > MAX_RATIO:
        raise DataError(
            f"{path}: would become {member.file_size:,} bytes, {ratio:,.0f} times its size: "
            f"expected at most {MAX_BYTES:,} bytes and {MAX_RATIO} times"
        )
    return member


def checked_sha256(path: Path) -> tuple[str, str]:
    """Return a file's SHA-256, and whether it was ``"verified"``: its CHECKSUM file says the same.

    Raises
    ------
    DataError
        If it cannot be read, or says another one.
    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    beside = path.with_name(path.name + ".CHECKSUM")
    if not beside.is_file():
        return sha256, "none"
    text = beside.read_text("utf-8", errors="replace").split()
    if not text or not re.fullmatch("[0-9a-fA-F]{64}", text[0]):
        raise DataError(f"{beside} holds no SHA-256: fetch it again")
    if text[0].lower() != sha256:
        raise DataError(
            f"{path} is not the file that {beside.name} describes: its SHA-256 is {sha256}, not "
            f"{text[0].lower()}: fetch it again"
        )
    return sha256, "verified"


def first_lines(path: Path) -> tuple[list[str], list[str]]:
    """Return the cells of the first two lines."""
    with opened(path) as text:
        try:
            head = text.read(8192)
        except DAMAGE as error:
            raise DataError(f"{path} is damaged: {error}; fetch it again") from None
    lines = head.decode("utf-8-sig", errors="replace").splitlines()[:2]
    cells = [*csv.reader(lines), [], []]
    return cells[0], cells[1]
