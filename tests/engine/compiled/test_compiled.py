"""How the kernel is compiled and cached."""

import ast
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
from enum import IntFlag
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest

import pairlab
from pairlab import schema
from pairlab.engine import jit, kernel, state
from pairlab.engine.buffers import BarBuffers, addresses
from pairlab.engine.state import BARS_AT, PARAMS, new_state
from pairlab.errors import DataError
from pairlab.limits import stationarity
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


@pytest.mark.slow
def test_the_key_of_the_cache_changes_with_every_file_that_a_kernel_is_made_of(tmp_path):
    package = Path(pairlab.__file__).parent
    shutil.copytree(package, tmp_path / "pairlab", ignore=shutil.ignore_patterns("__pycache__"))
    code = """
import pathlib, sys
import pairlab
from pairlab.engine import jit
root = pathlib.Path(sys.argv[1])
assert pathlib.Path(pairlab.__file__).parent == root
seen = [jit.kernel_digest()]
for name in jit.cached_sources():
    (root / name).write_text((root / name).read_text() + "# changed\\n")
    seen.append(jit.kernel_digest())
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
    for path in (package / "engine").rglob("*.py"):
        tree = ast.parse(path.read_text())
        modules = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        if "pairlab.engine.jit" in modules or path.name == "state.py":
            read |= {name for name in modules if name.startswith("pairlab.")}
    covered = {"pairlab." + s[:-3].replace("/", ".") for s in jit.cached_sources()}
    # These are for Python alone: no layout and no constant of the kernel is theirs.
    for_python = {"pairlab.errors", "pairlab.settings", "pairlab.limits.consistency"}
    assert read - covered == for_python
    assert {"pairlab.schema", "pairlab.engine.state", "pairlab.engine.kernel"} <= covered


@pytest.mark.parametrize(
    "name",
    [
        "TICK",
        "ROW",
        "EVENT",
        "STATE",
        "PARAMS",
        "SYMBOL_BAR",
        "SYMBOL_TICK",
        "PAIR_SLOT",
    ],
)
def test_the_key_covers_the_layouts_in_memory_whatever_the_files_say(name, monkeypatch):
    module = schema if hasattr(schema, name) else state
    dtype = getattr(module, name)
    fields = [(field, dtype[field]) for field in dtype.names]
    seen = {jit.DIGEST, jit.kernel_digest()}
    assert len(seen) == 1
    for other in (
        np.dtype([*fields, ("more", np.float64)], align=True),
        np.dtype(fields[:-1], align=True),
        np.dtype([*fields[1:], fields[0]], align=True),
        np.dtype([(fields[0][0], np.uint64), *fields[1:]], align=True),
        np.dtype([("another", fields[0][1]), *fields[1:]], align=True),
    ):
        monkeypatch.setattr(module, name, other)
        seen.add(jit.kernel_digest())
    assert len(seen) == 6


def test_the_key_covers_the_constants_and_functions_in_memory(monkeypatch):
    asymptotic_p = FunctionType(
        stationarity.asymptotic_p.__code__.replace(co_consts=(None, 1.0)),
        vars(stationarity),
    )
    seen = {jit.DIGEST}
    flags = {flag.name: flag.value for flag in schema.Filter}
    for module, name, value in (
        (schema, "Filter", IntFlag("Filter", {**flags, "EDGE": 32})),
        (schema, "TIMEFRAMES_NS", {**schema.TIMEFRAMES_NS, "1s": 1}),
        (state, "RING_COLUMNS", 4),
        (state, "ROWS_AT", 6),
        (state, "BARS_HELD", 9_999),
        (stationarity, "asymptotic_p", asymptotic_p),
    ):
        monkeypatch.setattr(module, name, value)
        seen.add(jit.kernel_digest())
    assert len(seen) == 7


TINY = """
from numba import carray, int64
from pairlab.engine.jit import pointer_at
from pairlab.engine.kernel import load_kernel
from pairlab.engine.state import STATE, STATE_AT

def make(version):
    def run(number, memory):
        carray(pointer_at(memory[STATE_AT]), 1, STATE)[0].kernel_version = version
        return number + version
    return load_kernel(run, (int64, int64[::1]), (0,), version, nogil=True)
"""


def test_a_kernel_that_the_cache_mistook_for_ours_is_not_used(tmp_path, caplog, monkeypatch):
    (tmp_path / "tiny.py").write_text(TINY)
    spec = importlib.util.spec_from_file_location("tiny", tmp_path / "tiny.py")
    tiny = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "tiny", tiny)
    spec.loader.exec_module(tiny)
    room, memory = new_state(), np.zeros(8, np.int64)
    memory[state.STATE_AT] = room.ctypes.data
    assert [tiny.make(v)(10, memory) for v in (1, 2)] == [11, 12]
    other = tiny.make(2)
    real = kernel.jit_kernel

    def mistaken(function, signature, *, nogil, cached=True):
        return other if cached else real(function, signature, nogil=nogil, cached=False)

    # Not by exchanging files: those are compared with a checksum, which is another line of defence.
    monkeypatch.setattr(kernel, "jit_kernel", mistaken)
    with caplog.at_level(logging.WARNING, "pairlab.engine"):
        assert tiny.make(2)(10, memory) == 12
        assert not caplog.records
        assert tiny.make(1)(10, memory) == 11
    (record,) = caplog.records
    assert "another layout" in record.message


CHANGE = """
import pathlib, sys
import numpy as np
import pairlab  # as it is now: a notebook that was opened before the update
where, old, new = sys.argv[1:]
if old:
    path = pathlib.Path(pairlab.__file__).parent / "schema.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
from pairlab.engine import PairEngine
from pairlab.schema import ROW, TICK
r = np.random.default_rng(5)
ticks = np.zeros(400, TICK)
ticks["leg"] = np.arange(400) % 2
ticks["price"] = 100 + r.normal(0, 1, 400)
ticks["time_ns"] = np.arange(1, 401) * 10**9
engine = PairEngine(hedge="ols", window=20, min_correlation=-1.0)
rows, events = engine.update(ticks), engine.events
assert len(events) > 5
made = {f"row {name}": rows[name] for name in rows.dtype.names}
np.savez(where, **made, **{f"event {name}": events[name] for name in events.dtype.names})
"""


@pytest.mark.slow  # a kernel is compiled in each of two processes
@pytest.mark.timeout(600)
def test_a_session_older_than_the_files_leaves_no_kernel_for_the_next(tmp_path):
    package = Path(pairlab.__file__).parent
    shutil.copytree(package, tmp_path / "pairlab", ignore=shutil.ignore_patterns("__pycache__"))
    field = '("zscore", np.float64),'
    grown = (field, '("more", np.float64), ' + field)
    rows = []
    for name, change in (("before", grown), ("after", ("", ""))):
        file = tmp_path / f"{name}.npz"
        done = subprocess.run(
            [sys.executable, "-c", CHANGE, str(file), *change],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-500:]
        rows.append(np.load(file))
    assert np.isfinite(rows[0]["row zscore"]).sum() > 300
    for name in rows[0]:
        np.testing.assert_array_equal(rows[1][name], rows[0][name].astype(rows[1][name].dtype))


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
