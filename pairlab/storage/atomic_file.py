"""Writes a file so that it is there whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from typing import BinaryIO, Final

__all__ = ["write_atomically"]

_CAN_SYNC_FOLDERS: Final = os.name == "posix"


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Write a file beside `path`, make it durable, and put it in the place of `path`.

    Parameters
    ----------
    path : path
        What it is called in the end; a file of that name is replaced.
    write : callable
        Writes to the open file that it is given, which can seek. If it raises, nothing is left and
        what was at `path` stays.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path = os.fspath(path)
    folder, name = os.path.split(os.path.abspath(path))
    # Opened with the mode of any new file: one of `tempfile` would be private to this user.
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(temporary, flags, 0o666), "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, os.path.join(folder, name))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if _CAN_SYNC_FOLDERS:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # the name itself is durable now
        finally:
            os.close(descriptor)
