"""Members of a stranger's ZIP file, in memory: nothing is extracted, and sizes are bounded."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection
from types import TracebackType
from typing import Final, Self

from pairlab.errors import DataError
from pairlab.storage.session.limits import SessionLimits

__all__ = ["ZipReader"]

_END: Final = struct.Struct("<4s4H2LH")
_LOCAL_HEADER: Final = 30  # bytes before a member's name
_MOST_DIRECTORY_BYTES: Final = 64 << 10
_MOST_TEXT_BYTES: Final = 1 << 20
"""Of a member that is read without a statement of its size elsewhere: the manifest."""

_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 0x1


class ZipReader:
    """A ZIP file that has exactly the members expected.

    Everything that can be told from its directory is checked before a member is read.

    Parameters
    ----------
    path : path
        The file.
    names : collection of str
        Members that it must have; no other one may be there.
    limits : SessionLimits
        Beyond which it is refused.

    Raises
    ------
    DataError
        If it is no such file, with the reason.
    OSError
        If it cannot be read.
    """

    def __init__(
        self, path: str | os.PathLike[str], names: Collection[str], limits: SessionLimits
    ) -> None:
        # Not to wait for a writer, should it be a pipe.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        self._file = open(os.open(path, flags), "rb")  # noqa: SIM115  (closed in close)
        try:
            self._archive = self._opened(names, limits)
            self._check(names, limits)
        except zipfile.BadZipFile as error:
            self._file.close()
            raise DataError(f"its ZIP directory is damaged: {error}") from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._archive.close()
        self._file.close()

    def _opened(self, names: Collection[str], limits: SessionLimits) -> zipfile.ZipFile:
        """Look at the end of the file first: a directory of millions would fill the memory."""
        status = os.fstat(self._file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DataError("it is no regular file")
        size = status.st_size
        if size > limits.max_file_bytes:
            raise DataError(f"it has {size:,} bytes, max_file_bytes is {limits.max_file_bytes:,}")
        if size < _END.size:
            raise DataError(f"it is cut off, or no ZIP file: {size} bytes")
        self._file.seek(size - _END.size)
        mark, disk, start_disk, here, entries, length, offset, comment = _END.unpack(
            self._file.read(_END.size)
        )
        if mark != b"PK\x05\x06" or comment:
            raise DataError("it is cut off, or no ZIP file: it does not end as one")
        if disk or start_disk or here != entries:
            raise DataError("it is a part of a ZIP file of several parts")
        if entries != len(names):
            raise DataError(f"it has {entries:,} members, expected {len(names)}: {_list(names)}")
        self._directory_at = size - _END.size - length
        if length > _MOST_DIRECTORY_BYTES or offset != self._directory_at:
            raise DataError("its ZIP directory is not where it says, or too long")
        return zipfile.ZipFile(self._file)

    def _check(self, names: Collection[str], limits: SessionLimits) -> None:
        members = self._archive.infolist()
        # `filename` is what zipfile makes of it: it ends at a zero, and has / for \.
        found = [member.orig_filename for member in members]
        for name in found:
            if name not in names:
                raise DataError(f"it has a member {name[:80]!r}; expected {_list(names)} alone")
            if found.count(name) > 1:
                raise DataError(f"it has {name!r} {found.count(name)} times")
        if missing := [name for name in names if name not in found]:
            raise DataError(f"it has no {_list(missing)}")
        end = 0
        for member in sorted(members, key=lambda info: info.header_offset):
            name = member.orig_filename
            if member.flag_bits & _ENCRYPTED:
                raise DataError(f"{name} is encrypted")
            if member.compress_type not in _METHODS:
                raise DataError(f"{name} is compressed by method {member.compress_type}")
            if refusal := limits.refusal(member.file_size, member.compress_size):
                raise DataError(f"{name}: {refusal}")
            if member.header_offset < end:
                raise DataError(f"{name} shares bytes with another member")
            end = member.header_offset + _LOCAL_HEADER + len(name) + member.compress_size
        if end > self._directory_at:
            raise DataError("its last member reaches into the directory")
        total = sum(member.file_size for member in members)
        if total > limits.max_bytes:
            raise DataError(f"its members take {total:,} bytes, max_bytes is {limits.max_bytes:,}")

    def read(self, name: str, size: int | None = None) -> bytes:
        """Return a member.

        Parameters
        ----------
        name : str
            One of the names.
        size : int, optional
            How many bytes it must have; by default at most a mebibyte.

        Raises
        ------
        DataError
            If it is damaged or of another size.
        """
        info = self._archive.getinfo(name)
        if size is None and info.file_size > _MOST_TEXT_BYTES:
            raise DataError(f"{name} has {info.file_size:,} bytes, at most {_MOST_TEXT_BYTES:,}")
        if size is not None and info.file_size != size:
            raise DataError(f"{name} has {info.file_size:,} bytes, the manifest says {size:,}")
        try:
            with self._archive.open(info) as stream:
                content = stream.read(info.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as e:
            raise DataError(f"{name} is damaged: {e}") from None
        if len(content) != info.file_size:
            raise DataError(f"{name} is damaged: {len(content):,} of {info.file_size:,} bytes")
        return content


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
