"""Numba decorators of the engine, and the key under which its kernels are cached.

Internal functions are compiled into the kernels that call them and are not cached by themselves:
numba's cache looks at the date of one file only, so that a change in another file would be missed.
The kernels are cached under a digest of every file that they are made of instead, and of the record
layouts and constants in memory: a session that imported them before the files were updated compiles
the old ones, and must not leave its kernel under the key of the new files. A cache that is damaged
or cannot be written costs time, never a start: `cache_problems` says so.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import logging
import pickle
from collections.abc import Callable
from enum import EnumType
from types import FunctionType, MappingProxyType
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
from numba import types
from numba.core import caching, cgutils
from numba.extending import intrinsic

from pairlab import schema
from pairlab.engine import state
from pairlab.limits import stationarity

__all__ = [
    "DIGEST",
    "cache_problems",
    "cached_sources",
    "jit_inlined",
    "jit_internal",
    "jit_kernel",
    "kernel_digest",
    "layouts_in_memory",
    "pointer_at",
]

_LOGGER: Final = logging.getLogger(__name__)

_NumbaCache: Final[Any] = caching.FunctionCache  # numba says no types of their methods
_NumbaFile: Final[Any] = caching.IndexDataCacheFile

_F = TypeVar("_F", bound=Callable[..., Any])

_CONSTANTS: Final = (bool, int, float, str, tuple, list, dict, MappingProxyType, np.dtype)


def cached_sources() -> tuple[str, ...]:
    """Return the files that compiled code and record layouts are made of, below `pairlab`."""
    engine = importlib.resources.files("pairlab.engine")
    names = sorted(
        f"{folder}{source.name}"
        for folder in ("", "many/")
        for source in engine.joinpath(folder).iterdir()
        if source.name.endswith(".py")
    )
    # TICK, ROW and EVENT are the schema's: a kernel of another layout would misread every record.
    return ("schema.py", "limits/stationarity.py", *(f"engine/{name}" for name in names))


def layouts_in_memory() -> str:
    """Return the layouts, constants and functions that compiled code gets from elsewhere."""
    lines = []
    for module in (schema, state, stationarity):
        for name, value in sorted(vars(module).items()):
            if name.startswith("__"):
                continue
            if isinstance(value, EnumType):
                members: list[Any] = list(value)
                lines.append(f"{name} = {[(m.name, m.value) for m in members]}")
            elif isinstance(value, _CONSTANTS):
                lines.append(f"{name} = {value!r}")
            elif isinstance(value, FunctionType) and value.__module__ == module.__name__:
                code = value.__code__
                constants = [c for c in code.co_consts if isinstance(c, _CONSTANTS)]
                lines.append(f"{name} = {code.co_code.hex()} {code.co_names} {constants}")
    return "\n".join(lines)


def kernel_digest() -> int:
    """Return a checksum of `cached_sources` and of `layouts_in_memory`, below 2**61."""
    root = importlib.resources.files("pairlab")
    total = hashlib.sha256(layouts_in_memory().encode())
    for name in cached_sources():
        total.update(root.joinpath(name).read_bytes())
    return int.from_bytes(total.digest()[:8], "big") >> 3


DIGEST: Final = kernel_digest()
"""Changes with any file and any layout that a kernel is made of; every kernel closes over it, which
puts it in the key of numba's cache."""


_PROBLEMS: Final[dict[str, None]] = {}  # in order, each once


def cache_problems() -> tuple[str, ...]:
    """Return what was wrong with the cache in this process: a sentence each, none if nothing."""
    return tuple(_PROBLEMS)


def _note(problem: str) -> None:
    if problem not in _PROBLEMS:
        _PROBLEMS[problem] = None
        _LOGGER.warning(problem)


def _note_damaged(folder: str) -> None:
    _note(f"the compiled engine in {folder} is damaged: it is compiled anew")


def _note_unwritable(folder: str, error: Exception) -> None:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    _note_not_kept(f"in {folder} ({reason})")


def _note_not_kept(where: str) -> None:
    _note(
        f"the compiled engine cannot be kept {where}: every start compiles it again; "
        "NUMBA_CACHE_DIR may name a folder that can be written"
    )


class _CheckedFile(_NumbaFile):  # type: ignore[misc]
    """Cache files that are believed only if they are whole, and made for what is asked.

    numba writes the index first: after a disk that was full in between, it may point to what
    another source left behind. A damaged machine code, once loaded, ends the process.
    """

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (key, data))

    def load(self, key: Any) -> Any:
        try:
            entry = super().load(key)
            if entry is None:
                return None
            made_for, data = entry
            if made_for == key:
                return data
        except Exception:  # whatever pickle makes of arbitrary bytes
            entry = None
        _note_damaged(self._cache_path)
        return None

    def _load_index(self) -> Any:
        try:
            index = super()._load_index()
            if isinstance(index, dict):
                return index
        except Exception:
            index = None
        _note_damaged(self._cache_path)
        return {}

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def _load_data(self, name: str) -> Any:
        with open(self._data_path(name), "rb") as file:
            content = file.read()
        digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError("checksum")
        return pickle.loads(content)  # noqa: S301  # as numba itself does, from the same folder


_DIGEST_BYTES: Final = hashlib.sha256().digest_size


class _KernelCache(_NumbaCache):  # type: ignore[misc]
    """numba's cache, whose faults cost a compilation and are told."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _CheckedFile(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=self._impl.locator.get_source_stamp(),
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            _note_damaged(self._cache_path)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _note_unwritable(self._cache_path, error)


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


def jit_kernel(function: _F, signature: tuple[Any, ...], *, nogil: bool, cached: bool = True) -> _F:
    """Compile a kernel for one signature, or load it from the cache; other types are refused.

    Parameters
    ----------
    function : callable
        It must close over `DIGEST`.
    signature : tuple
        numba's types of its arguments.
    nogil : bool
        Whether it runs without the GIL. Giving it up and getting it back takes a microsecond.
    cached : bool
        Whether it is loaded from numba's cache, and kept there.
    """
    compiled: Any = numba.njit(error_model="numpy", nogil=nogil)(function)
    if cached:
        try:
            compiled._cache = _KernelCache(function)
        except RuntimeError:  # numba's words name the function: they would be told per kernel
            _note_not_kept("(neither pairlab's own folder nor the home folder can be written)")
        except Exception as error:
            _note_unwritable("any folder", error)
    compiled.compile(signature)
    compiled.disable_compile()
    return cast("_F", compiled)


def _pointer_at(context: Any, address: Any) -> Any:
    """Cast an address to the void pointer that `numba.carray` takes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


pointer_at: Final[Any] = intrinsic(_pointer_at)
