"""A compile cache that is damaged or cannot be written costs time, and never a start."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest
from numba.core.registry import cpu_target

from pairlab.engine import jit
from pairlab.engine import kernel as kernels

SIGNATURE = (numba.int64,)


def kernel(factor: int = 2) -> Any:
    """A small kernel, made as the engine makes its own."""

    def run(number: int) -> int:
        return number * factor

    return jit.jit_kernel(run, SIGNATURE, nogil=False)


def hits(compiled: Any) -> int:
    return sum(compiled.stats.cache_hits.values())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for what numba keeps, and no problem noted yet."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(jit, "_PROBLEMS", {})
    return tmp_path


def files(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.rglob(f"*.{suffix}"))


def flip(content: bytes) -> bytes:
    """One bit, in the machine code."""
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "last byte gone": lambda content: content[:-1],
    "zeros after a power cut": lambda content: bytes(len(content)),
    "something else": lambda content: os.urandom(len(content)),
    "text": lambda content: b"<html>quota exceeded</html>",
    "a version and nothing else": lambda content: pickle.dumps(numba.__version__),
}
CASES = [
    *((suffix, name, damage) for suffix in ("nbi", "nbc") for name, damage in DAMAGES.items()),
    ("nbc", "another pickle", lambda content: pickle.dumps([1, 2])),
    ("nbc", "one bit", flip),
]


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [case[::2] for case in CASES],
    ids=[f"{suffix}: {name}" for suffix, name, _ in CASES],
)
def test_damaged_files_are_compiled_anew(
    cache: Path, suffix: str, damage: Callable[[bytes], bytes]
) -> None:
    assert kernel()(21) == 42
    assert hits(kernel()) == 1
    assert jit.cache_problems() == ()
    (path,) = files(cache, suffix)
    path.write_bytes(damage(path.read_bytes()))
    again = kernel()
    assert (again(21), hits(again)) == (42, 0)
    (told,) = jit.cache_problems()
    assert told.endswith("is damaged: it is compiled anew")
    assert str(cache) in told
    assert hits(kernel()) == 1  # it was kept: the next start is as quick as ever
    assert len(jit.cache_problems()) == 1


def test_a_folder_where_the_file_should_be(cache: Path) -> None:
    kernel()
    for suffix in ("nbi", "nbc"):
        (path,) = files(cache, suffix)
        path.unlink()
        path.mkdir()
    assert kernel()(21) == 42
    assert any("cannot be kept" in told for told in jit.cache_problems())


def test_no_folder_that_can_be_written_is_told_once_for_all_kernels(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(function: Any) -> Any:  # as numba: its words name the function
        raise RuntimeError(f"cannot cache function {function.__qualname__!r}: no locator")

    def other(number: int) -> int:
        return number + jit.DIGEST * 0

    monkeypatch.setattr(jit, "_KernelCache", none)
    assert kernel()(21) == 42
    assert jit.jit_kernel(other, SIGNATURE, nogil=False)(21) == 21
    (told,) = jit.cache_problems()
    assert "NUMBA_CACHE_DIR may name a folder" in told
    assert "function" not in told


def test_code_that_another_source_left_behind_is_not_taken(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # numba writes the index, then the code; the disk is full in between.
    assert kernel(2)(21) == 42
    (code,), (index,) = files(cache, "nbc"), files(cache, "nbi")
    left_behind = code.read_bytes()
    index.unlink()
    assert kernel(3)(21) == 63
    assert files(cache, "nbc") == [code]  # the same name, for another source
    code.write_bytes(left_behind)
    assert kernel(3)(21) == 63
    assert len(jit.cache_problems()) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_what_cannot_be_written_is_told_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refused)
    for factor in (2, 3):
        assert kernel(factor)(21) == 21 * factor
    (told,) = jit.cache_problems()
    assert os.strerror(number) in told
    assert "NUMBA_CACHE_DIR" in told
    assert not files(cache, "nbc")


LAB = """
import asyncio, json
from pairlab import PairLab

async def main():
    async with PairLab(feed="demo") as lab:
        await lab.wait_async(rows=20, timeout_s=400)
        print(json.dumps([e.message for e in lab.event_log if "compiled engine" in e.message]))

asyncio.run(main())
"""


def lab(folder: Path, **environment: str) -> tuple[list[str], str]:
    """What a lab in a new process says of its compiled engine: event log, and standard error."""
    done = subprocess.run(
        [sys.executable, "-c", LAB],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder), **environment},
        capture_output=True, text=True, check=False, timeout=420,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1_000:]
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def kept() -> list[Path]:
    """The files of this process's own engine, from before any test has a folder of its own."""
    runs = (kernels.kernel_gil(), kernels.kernel_nogil(), kernels.run_observations())
    folders = {Path(run.stats.cache_path) for run in runs}
    return [
        path for folder in folders for suffix in ("nbi", "nbc") for path in files(folder, suffix)
    ]


@pytest.fixture
def engine(kept: list[Path], cache: Path) -> Path:
    """The cache of this process's own engine, copied; returns the code of one of its kernels.

    One is enough to lack: every kernel is loaded and kept alike, and each takes seconds to compile.
    """
    kernel = kernels.kernel_gil()
    kept_there = jit._KernelCache(kernel.py_func)
    folder = Path(kept_there._cache_path)
    assert cache in folder.parents
    folder.mkdir(exist_ok=True)
    for path in kept:
        shutil.copy2(path, folder)
    # Where files were edited, kernels of their former versions lie there, too.
    (signature,) = kernel.overloads
    key = kept_there._index_key(signature, cpu_target.target_context.codegen())
    return folder / kept_there._cache_file._load_index()[key]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_lab_starts_whatever_became_of_the_cache(cache: Path, engine: Path) -> None:
    whole = engine.read_bytes()
    assert lab(cache) == ([], "")
    assert engine.read_bytes() == whole  # it was loaded: nothing was compiled
    engine.write_bytes(whole[:1_000])
    said, error = lab(cache)
    assert len(said) == 1
    assert "is damaged: it is compiled anew" in said[0]
    assert error == ""  # a library writes nothing to a program's standard error by itself
    assert len(engine.read_bytes()) > 1_000
    assert lab(cache) == ([], "")


@pytest.mark.slow
@pytest.mark.timeout(450)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_lab_starts_on_a_full_disk(cache: Path, engine: Path, tmp_path: Path) -> None:
    # Every file that numba opens for writing is on a device without room.
    (tmp_path / "sitecustomize.py").write_text(
        "import builtins\n"
        "real = builtins.open\n"
        "def full(file, mode='r', *args, **kwargs):\n"
        "    return real('/dev/full' if '.tmp.' in str(file) and 'w' in mode else file,"
        " mode, *args, **kwargs)\n"
        "builtins.open = full\n"
    )
    engine.unlink()
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    said, _ = lab(cache, PYTHONPATH=path)
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert not engine.exists()
