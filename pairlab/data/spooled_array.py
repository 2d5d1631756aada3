"""Long arrays in memory, or in temporary files that the system maps as they are read."""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import StorageError

__all__ = ["SpooledArray", "empty_spooled", "require_temporary_folder"]


class SpooledArray:
    """A one-dimensional array that grows at its end, piece by piece.

    Parameters
    ----------
    dtype : numpy.dtype
        Of its elements.
    on_disk : bool
        Whether they lie in a file instead of memory: one without a name in the folder of temporary
        files, which the system drops with the last array that reads it, also of a killed process.
    """

    def __init__(self, dtype: Any, *, on_disk: bool = False) -> None:
        self._dtype: Final = np.dtype(dtype)
        self._pieces: Final[list[NDArray[Any]]] = []
        self._length = 0
        self._file: Final = _temporary_file() if on_disk else None
        if self._file is not None:
            weakref.finalize(self, self._file.close)

    def __len__(self) -> int:
        return self._length

    def append(self, values: NDArray[Any]) -> None:
        """Append a piece; in memory it is kept as it is, and must not be written to again.

        Raises
        ------
        StorageError
            If the folder of temporary files is full.
        """
        self._length += len(values)
        if self._file is None:
            self._pieces.append(values)
        elif len(values):
            try:
                self._file.write(np.ascontiguousarray(values, self._dtype).view(np.uint8).data)
            except OSError as error:
                raise _full(error) from error

    def array(self) -> NDArray[Any]:
        """Return all of it so far; from a file it is read-only, and outlives this object."""
        if self._file is None or not self._length:
            if len(self._pieces) == 1:
                return self._pieces[0]
            return np.concatenate([np.zeros(0, self._dtype), *self._pieces])
        try:
            self._file.flush()
        except OSError as error:
            raise _full(error) from error
        return np.asarray(np.memmap(self._file, self._dtype, "r", shape=(self._length,)))


def empty_spooled(shape: tuple[int, ...], *, on_disk: bool) -> NDArray[np.float64]:
    """Return an array of float64 to be filled: in memory, or in a file as `SpooledArray` has it.

    Raises
    ------
    StorageError
        If the folder of temporary files has not the room.
    """
    nbytes = 8 * int(np.prod(shape))
    if not on_disk or not nbytes:
        return np.empty(shape)
    with _temporary_file() as file:
        try:
            # Room is taken now: a write to a mapped page without any would kill the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, nbytes)
            else:
                file.truncate(nbytes)
        except OSError as error:
            raise _full(error) from error
        return np.asarray(np.memmap(file, np.float64, "r+", shape=shape))


def _temporary_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise _full(error) from error


def require_temporary_folder() -> None:
    """Raise `StorageError` if there is no folder for temporary files."""
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise _full(error) from error


def _full(error: OSError) -> StorageError:
    try:
        where = f" to {tempfile.gettempdir()}"
    except OSError:  # there is none that can be written to: the error names those it tried
        where = ""
    return StorageError(
        f"cannot write temporary files{where} ({error.strerror or error}): "
        "the environment variable TMPDIR names another folder"
    )
