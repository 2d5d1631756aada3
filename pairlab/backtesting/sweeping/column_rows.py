"""The kernel's own `decide`, compiled a second time: over columns instead of records.

A row is two numbers to the compiler: the addresses of the columns and an index. A field is loaded
when it is read; a record, or a tuple of all fields, costs three times as much. Rows on which
`decide` neither does nor changes anything are not decided on, but searched for the next one on
which it may: flat, one beyond the entry; in a position, one within the exit or beyond the stop.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, Final

import numba
from llvmlite import ir
from numba import from_dtype, int8, int64, types
from numba.core import cgutils as _untyped_cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    lower_setattr_generic,
    make_attribute_wrapper,
    models,
    overload_attribute,
    register_model,
)

from pairlab.engine.jit import DIGEST, jit_kernel
from pairlab.engine.signals import decide, hedged_correlation
from pairlab.engine.state import NEVER_NS, PARAMS, STATE
from pairlab.schema import EVENT, ROW

__all__ = ["COLUMNS", "decide_kernel"]

COLUMNS: Final = (
    "time_ns", "zscore", "spread_std", "y", "correlation", "hedge_ratio", "p_value", "y_age_s",
    "x_age_s",
)  # fmt: skip
"""Fields of a row that `decide` reads, in the order of their addresses."""


_UniTuple: Final[Any] = types.UniTuple  # numba says no types of their signatures
cgutils: Final[Any] = _untyped_cgutils
_struct_proxy: Final[Any] = cgutils.create_struct_proxy
_getter: Final[Any] = lower_getattr_generic
_setter: Final[Any] = lower_setattr_generic
_ADDRESSES: Final = _UniTuple(int64, len(COLUMNS))


class _ColumnRow(types.Type):
    """numba's type of a row in columns."""

    def __init__(self) -> None:
        super().__init__(name="ColumnRow")


_ROW: Final = _ColumnRow()


@register_model(_ColumnRow)
class _ColumnRowModel(models.StructModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, [("columns", _ADDRESSES), ("index", int64)])  # type: ignore[no-untyped-call]


for _member in ("columns", "index"):
    make_attribute_wrapper(_ColumnRow, _member, _member)


def _column_row(context: Any, columns: Any, index: Any) -> Any:
    """Return a row from the addresses of its columns and its index."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = _struct_proxy(_ROW)(context, builder)
        row.columns, row.index = arguments
        return row._getvalue()

    return _ROW(columns, index), generate


_row_at: Final[Any] = intrinsic(_column_row)


def _loader(kind: Any) -> Any:
    """Return a function that loads the number at an address and an index."""

    def load(context: Any, address: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = context.get_value_type(kind).as_pointer()
            start = builder.inttoptr(arguments[0], pointer)
            return builder.load(builder.gep(start, [arguments[1]]))

        return kind(address, index), generate

    return intrinsic(load)


def _define(number: int, name: str) -> None:
    """Let compiled code read a field of a row."""
    load = _loader(from_dtype(ROW[name]))

    @overload_attribute(_ColumnRow, name)
    def _field(row: Any) -> Any:
        def read(row: Any) -> Any:
            return load(row.columns[number], row.index)

        return read


for _number, _name in enumerate(COLUMNS):
    _define(_number, _name)


class _Local(types.Type):
    """numba's type of a record that a function has to itself.

    To the compiler it is a place on the stack that nothing else points to: once all that reads it
    is inlined, its fields are registers. Of a record in an array it must assume that every
    position that is written may have changed it.
    """

    def __init__(self, dtype: Any) -> None:
        self.record = from_dtype(dtype)
        super().__init__(name=f"Local({self.record})")


@register_model(_Local)
class _LocalModel(models.OpaqueModel):
    pass


@infer_getattr
class _LocalFields(AttributeTemplate):
    key = _Local

    def generic_resolve(self, local: Any, name: str) -> Any:  # type: ignore[override]
        return local.record.typeof(name) if name in local.record.fields else None


def _field_pointer(context: Any, builder: Any, local: Any, value: Any, name: str) -> Any:
    kind = local.record.typeof(name)
    place = builder.gep(value, [ir.Constant(ir.IntType(64), local.record.offset(name))])
    return kind, builder.bitcast(place, context.get_data_type(kind).as_pointer())


def _get_field(context: Any, builder: Any, local: Any, value: Any, name: str) -> Any:
    kind, pointer = _field_pointer(context, builder, local, value, name)
    return context.unpack_value(builder, kind, pointer)


def _set_field(context: Any, builder: Any, signature: Any, arguments: Any, name: str) -> Any:
    local, given = signature.args
    value, new = arguments
    kind, pointer = _field_pointer(context, builder, local, value, name)
    context.pack_value(builder, kind, context.cast(builder, new, given, kind), pointer)


_getter(_Local)(_get_field)
_setter(_Local)(_set_field)


def _local_of(dtype: Any) -> Any:
    """Return a function that copies a record to the stack."""
    kind = _Local(dtype)

    def local(context: Any, record: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            size = kind.record.size
            place = cgutils.alloca_once(builder, ir.IntType(64), size // 8)
            cgutils.raw_memcpy(builder, place, arguments[0], ir.Constant(ir.IntType(64), size), 1)
            return builder.bitcast(place, cgutils.voidptr_t)

        return kind(record), generate

    return intrinsic(local)


def _copy_back(context: Any, record: Any, local: Any) -> Any:
    """Copy a record from the stack."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = ir.Constant(ir.IntType(64), record.size)
        cgutils.raw_memcpy(builder, arguments[0], arguments[1], size, 1)
        return context.get_dummy_value()

    return types.void(record, local), generate


_local_state: Final[Any] = _local_of(STATE)
_local_params: Final[Any] = _local_of(PARAMS)
_copied_back: Final[Any] = intrinsic(_copy_back)


def _inlined(function: FunctionType, known: dict[str, Any]) -> Any:
    """Compile a function of the engine again, with all that it calls, to be inlined."""
    names = dict(function.__globals__)
    for name in function.__code__.co_names:
        called = getattr(names.get(name), "py_func", None)
        if called is not None:
            if name not in known:
                known[name] = _inlined(called, known)
            names[name] = known[name]
    again = FunctionType(function.__code__, names, function.__name__)
    return numba.njit(error_model="numpy", forceinline=True)(again)


_known: Final[dict[str, Any]] = {}
_decide: Final[Any] = _inlined(decide.py_func, _known)  # type: ignore[attr-defined]
_hedged_correlation: Final[Any] = _inlined(hedged_correlation.py_func, _known)  # type: ignore[attr-defined]


@numba.njit(error_model="numpy", forceinline=True)
def _next_row(s: Any, p: Any, columns: Any, index: int, end: int) -> int:
    """Return the first row from `index` on that `decide` may do or change something on; or `end`.

    It may be one on which it does not; none on which it does is passed over.
    """
    if p.signals_paused != 0:
        return end
    near = max(p.exit_z, 0.0)
    if s.position == 0:
        entry = p.entry_z
        if s.lock == 0 and s.excursion == 0:
            while index < end and not abs(_row_at(columns, index).zscore) >= entry:
                index += 1
            return index
        # Either is over where z comes near to 0 or changes sign.
        lock, excursion = float(s.lock), float(s.excursion)
        while index < end:
            z = _row_at(columns, index).zscore
            if lock != 0.0 and lock * z <= near:
                return index
            if excursion != 0.0 and excursion * z <= near:
                return index
            if abs(z) >= entry and lock == 0.0:
                return index
            index += 1
        return index
    if s.lock != 0 or s.excursion == s.position:
        return index
    # An excursion that goes on lies on the side of z, and ends where the position does.
    side, stop, correlation = float(s.position), -p.stop_z, p.min_correlation
    coupled, timed = s.decoupled == 0, p.max_hold_ns != NEVER_NS
    while index < end:
        row = _row_at(columns, index)
        z = side * row.zscore
        if z >= -near or z <= stop:
            return index
        if coupled and _hedged_correlation(row) < correlation:
            return index
        if timed and row.time_ns - s.entered_ns >= p.max_hold_ns:
            return index
        index += 1
    return index


@functools.cache
def decide_kernel() -> Callable[..., tuple[int, int]]:
    """Return the pass: compiled on first use, or loaded from the engine's cache; without the GIL.

    It takes the first row, how many there are, the events so far, the addresses of `COLUMNS`,
    arrays of one STATE and one PARAMS, positions (int8; one a row, or none if nobody wants them)
    and events; it returns the first row not decided on, and how many events there are.
    """
    # The cache must miss when this file changes; the engine's files are in DIGEST already.
    version = DIGEST ^ int.from_bytes(hashlib.sha256(Path(__file__).read_bytes()).digest()[:7])

    def run(
        start: int,
        end: int,
        count: int,
        columns: Any,
        state: Any,
        params: Any,
        positions: Any,
        events: Any,
    ) -> tuple[int, int]:
        state[0].kernel_version = version
        s, p = _local_state(state[0]), _local_params(params[0])
        index = start
        while index < end and count < len(events):
            following = _next_row(s, p, columns, index, end)
            if len(positions) != 0:
                positions[index:following] = s.position
            index = following
            if index == end:
                break
            if _decide(s, p, _row_at(columns, index), events[count]) != 0:
                events[count].row = index
                count += 1
            if len(positions) != 0:
                positions[index] = s.position
            index += 1
        _copied_back(state[0], s)
        return index, count

    state, params, events = (from_dtype(dtype)[::1] for dtype in (STATE, PARAMS, EVENT))
    return jit_kernel(
        run, (int64, int64, int64, _ADDRESSES, state, params, int8[::1], events), nogil=True
    )
