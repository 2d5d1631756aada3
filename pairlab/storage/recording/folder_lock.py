"""One writer a folder: a lock that the system releases when its process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from pathlib import Path
from typing import Final

from pairlab.errors import PairlabError

__all__ = ["FolderLock", "LockedError", "is_locked"]

NAME: Final = "lock"
_PAUSE_S: Final = 0.05

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, shared: bool) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: int, shared: bool) -> None:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


class LockedError(PairlabError):
    """Another process, or another lab of this one, writes to the folder."""


class FolderLock:
    """Held from when it is made until `release`.

    Parameters
    ----------
    folder : pathlib.Path
        Of the recording.
    timeout_s : float
        How long to wait for the one who holds it: a lab that is being replaced ends soon.

    Raises
    ------
    LockedError
        If it is still held then.
    OSError
        If the file cannot be made.
    """

    def __init__(self, folder: Path, timeout_s: float = 5.0) -> None:
        path = folder / NAME
        self._file: Final = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0))
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                _lock(self._file, shared=False)
                break
            except OSError:
                if time.monotonic() >= until_s:
                    holder = os.read(self._file, 200).decode(errors="replace").strip()
                    os.close(self._file)
                    raise LockedError(
                        f"{folder} is being recorded to by {holder or 'another process'}: expected "
                        "a folder that nobody writes to"
                    ) from None
            time.sleep(_PAUSE_S)
        with contextlib.suppress(OSError):  # a full disk: the text is for people alone
            os.ftruncate(self._file, 0)
            os.write(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def release(self) -> None:
        """Let others write."""
        os.close(self._file)


def is_locked(folder: Path) -> bool:
    """Return whether somebody writes to a recording."""
    try:
        file = os.open(folder / NAME, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return False
    try:
        _lock(file, shared=True)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
