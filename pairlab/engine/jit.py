"""Numba decorators of the engine, and the key under which its kernels are cached.

Internal functions are compiled into the kernels that call them and are not cached by themselves:
numba's cache looks at the date of one file only, so that a change in another file would be missed.
The kernels are cached under a digest of every file that they are made of instead.
"""

from __future__ import annotations

import importlib.resources
import zlib
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "DIGEST",
    "cached_sources",
    "jit_inlined",
    "jit_internal",
    "jit_kernel",
    "pointer_at",
    "source_digest",
]

_F = TypeVar("_F", bound=Callable[..., Any])


def cached_sources() -> tuple[str, ...]:
    """Return the files that compiled code and record layouts are made of, below `pairlab`."""
    engine = importlib.resources.files("pairlab.engine").iterdir()
    names = sorted(source.name for source in engine if source.name.endswith(".py"))
    # TICK, ROW and EVENT are the schema's: a kernel of another layout would misread every record.
    return ("schema.py", *(f"engine/{name}" for name in names))


def source_digest() -> int:
    """Return a checksum of `cached_sources`."""
    root = importlib.resources.files("pairlab")
    total = 0
    for name in cached_sources():
        total = zlib.crc32(root.joinpath(name).read_bytes(), total)
    return total


DIGEST: Final = source_digest()
"""Changes with any file that a kernel is made of; every kernel closes over it, which puts it in
the key of numba's cache."""


def jit_internal(function: _F) -> _F:
    """Compile a function that only compiled code calls; in Python call its ``py_func``.

    Without the wrappers for Python, which nobody calls, the kernel is compiled in half the time.
    """
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast("_F", numba.njit(error_model="numpy", **options)(function))


def jit_inlined(function: _F) -> _F:
    """Inline a function at numba IR level, for one with a single caller.

    It is compiled only once, and array shapes that its caller knows are constants in it: bars roll
    a fifth faster so.
    """
    return cast("_F", numba.njit(error_model="numpy", inline="always")(function))


def jit_kernel(function: _F, signature: tuple[Any, ...], *, nogil: bool) -> _F:
    """Compile a kernel for one signature, or load it from the cache; other types are refused.

    Parameters
    ----------
    function : callable
        It must close over `DIGEST`.
    signature : tuple
        numba's types of its arguments.
    nogil : bool
        Whether it runs without the GIL. Giving it up and getting it back takes a microsecond.
    """
    try:
        compiled = numba.njit(error_model="numpy", cache=True, nogil=nogil)(function)
    except RuntimeError:  # no folder that can be written: compile at every start instead
        compiled = numba.njit(error_model="numpy", nogil=nogil)(function)
    compiled.compile(signature)
    compiled.disable_compile()
    return cast("_F", compiled)


def _pointer_at(context: Any, address: Any) -> Any:
    """Cast an address to the void pointer that `numba.carray` takes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


pointer_at: Final[Any] = intrinsic(_pointer_at)
