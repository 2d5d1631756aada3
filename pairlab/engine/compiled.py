"""How engine functions are compiled.

Pieces are compiled into the kernels that call them and are not cached by themselves: numba's
cache looks at one file's date only, so that a piece changed in another file would be missed. The
kernels are cached under a digest of every source file of this package instead.
"""

from __future__ import annotations

import importlib.resources
import zlib
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba

__all__ = ["DIGEST", "kernel", "piece"]

_F = TypeVar("_F", bound=Callable[..., Any])


def _digest() -> int:
    sources = importlib.resources.files("pairlab.engine").iterdir()
    total = 0
    for source in sorted(sources, key=lambda s: s.name):
        if source.name.endswith(".py"):
            total = zlib.crc32(source.read_bytes(), total)
    return total


DIGEST: Final = _digest()
"""Changes with any source file of the engine; every kernel closes over it, which puts it in the
key of numba's cache."""


def piece(function: _F) -> _F:
    """Compile a function that kernels call."""
    return cast("_F", numba.njit(error_model="numpy", nogil=True)(function))


def kernel(function: _F) -> _F:
    """Compile a function that Python calls; it runs without the GIL and is cached on disk."""
    return cast("_F", numba.njit(error_model="numpy", nogil=True, cache=True)(function))
