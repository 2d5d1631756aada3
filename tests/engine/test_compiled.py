"""How the kernel is compiled and cached."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pairlab
from pairlab.engine import jit, kernel
from pairlab.engine.buffers import BarBuffers, addresses
from pairlab.engine.state import BARS_AT, PARAMS, new_state
from pairlab.errors import DataError
from pairlab.schema import EVENT, ROW, TICK


def test_the_kernel_takes_its_types_and_compiles_no_others():
    for run in (kernel.kernel_gil(), kernel.kernel_nogil()):
        assert len(run.signatures) == 1
        with pytest.raises(TypeError):
            run(np.zeros(3), 0, np.zeros(8, np.int64))
        assert len(run.signatures) == 1
    assert kernel.kernel_gil() is kernel.kernel_gil()


def test_both_kernels_are_kept_apart_in_the_cache():
    gil, nogil = (run.stats for run in (kernel.kernel_gil(), kernel.kernel_nogil()))
    assert sum(gil.cache_hits.values()) + sum(gil.cache_misses.values()) == 1
    assert sum(nogil.cache_hits.values()) + sum(nogil.cache_misses.values()) == 1
    *cells, observations = [
        run.py_func.__closure__[run.py_func.__code__.co_freevars.index("version")].cell_contents
        for run in (kernel.kernel_gil(), kernel.kernel_nogil(), kernel.run_observations())
    ]
    assert cells[0] != cells[1]
    assert {c // 2 for c in cells} == {jit.DIGEST}  # a changed source is a changed key
    assert observations == jit.DIGEST


def test_the_key_of_the_cache_changes_with_every_file_that_a_kernel_is_made_of(tmp_path):
    package = Path(pairlab.__file__).parent
    shutil.copytree(package, tmp_path / "pairlab", ignore=shutil.ignore_patterns("__pycache__"))
    code = """
import pathlib, sys
import pairlab
from pairlab.engine import jit
root = pathlib.Path(sys.argv[1])
assert pathlib.Path(pairlab.__file__).parent == root
seen = [jit.source_digest()]
for name in jit.cached_sources():
    (root / name).write_text((root / name).read_text() + "# changed\\n")
    seen.append(jit.source_digest())
print(len(seen), len(set(seen)), jit.DIGEST == seen[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "pairlab")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    count = 1 + len(jit.cached_sources())
    assert done.stdout.split() == [str(count), str(count), "True"]


def test_the_key_covers_every_module_that_compiled_code_reads():
    package = Path(pairlab.__file__).parent
    read = set()
    for path in (package / "engine").glob("*.py"):
        tree = ast.parse(path.read_text())
        modules = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        if "pairlab.engine.jit" in modules or path.name == "state.py":
            read |= {name for name in modules if name.startswith("pairlab.")}
    covered = {"pairlab." + s[:-3].replace("/", ".") for s in jit.cached_sources()}
    # fill_params reads settings, in Python: no layout and no constant of the kernel is theirs
    assert read - covered == {"pairlab.settings"}
    assert {"pairlab.schema", "pairlab.engine.state", "pairlab.engine.kernel"} <= covered


@pytest.mark.slow
def test_what_cannot_be_cached_is_compiled_all_the_same():
    # numba finds no folder for code without a file, as for a package and a home it cannot write to
    plain = "import numba; numba.njit(cache=True)(lambda x: 2 * x)"
    ours = """
import numba
from pairlab.engine.jit import jit_kernel
print(jit_kernel(lambda x: 2 * x, (numba.int64,), nogil=False)(21))
"""
    refused, done = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        for code in (plain, ours)
    )
    assert "cannot cache function" in refused.stderr
    assert done.stdout.strip() == "42", done.stderr[-500:]


def test_memory_of_the_wrong_kind_is_refused():
    params = np.zeros(1, PARAMS)
    params["window"] = 10
    with_bars = params.copy()
    with_bars["keep_bars"] = 1
    good = [
        new_state(), params, np.zeros((10, 3)), BarBuffers(), np.zeros(5, ROW), np.zeros(5, EVENT),
    ]  # fmt: skip
    assert len(addresses(*good)) == 8
    for at, wrong in (
        (0, params), (0, new_state(2)), (1, with_bars[:0]), (2, np.zeros((9, 3))),
        (2, np.zeros((3, 10)).T), (3, BarBuffers(1)), (4, np.zeros(6, ROW)), (5, np.zeros(5, TICK)),
    ):  # fmt: skip
        with pytest.raises(DataError):
            addresses(*(wrong if k == at else array for k, array in enumerate(good)))
    good[3] = None
    assert addresses(*good)[BARS_AT] == 0
    good[1] = with_bars
    with pytest.raises(DataError):
        addresses(*good)
