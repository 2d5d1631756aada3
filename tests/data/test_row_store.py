"""`RowStore` against a plain list: numbers, epochs, and readers that continue."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pairlab.data.row_store import Cursor, RowStore
from pairlab.schema import ROW, Records

CAPACITY = 10


def numbered(values: list[int]) -> Records:
    rows = np.zeros(len(values), ROW)
    rows["time_ns"] = values
    return rows


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 25)),
        st.tuples(st.just("replace"), st.integers(0, 25)),
        st.tuples(st.just("resize"), st.integers(1, 20)),
        st.tuples(st.just("read"), st.one_of(st.none(), st.integers(0, 7))),
    ),
    max_size=30,
)


@given(steps)
def test_a_reader_gets_each_row_once_or_is_told(steps: list[tuple[str, int | None]]) -> None:
    store, epoch, rows, capacity, kept = RowStore(CAPACITY), 0, list[int](), CAPACITY, 0
    cursor, made = store.cursor, 0
    for what, count in steps:
        if what in ("append", "replace"):
            new = list(range(made, made + (count or 0)))
            made += count or 0
            if what == "replace":
                store.replace(numbered(new))
                epoch, rows, kept = epoch + 1, new, 0
            else:
                store.append(numbered(new))
                rows = rows + new
        elif what == "resize":
            capacity = count or 1
            store.resize(capacity)
        else:
            got = store.since(cursor, count)
            assert got.rebuilt == (cursor.epoch != epoch)
            asked = kept if got.rebuilt else cursor.row
            assert got.first == min(max(asked, kept), len(rows))
            assert got.skipped == (0 if got.rebuilt else max(0, kept - cursor.row))
            want = rows[got.first :] if count is None else rows[got.first : got.first + count]
            assert got.records["time_ns"].tolist() == want
            assert got.next == Cursor(epoch, got.first + len(want))
            cursor = got.next
        kept = max(kept, len(rows) - capacity)
        assert (store.epoch, store.start, store.end) == (epoch, kept, len(rows))
        assert store.view()["time_ns"].tolist() == rows[kept:]
        assert store.cursor == Cursor(epoch, len(rows))


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_a_slice_has_the_rows_of_its_numbers(count: int, start: int, stop: int) -> None:
    store = RowStore(CAPACITY)
    store.append(numbered(list(range(count))))
    held = range(max(0, count - CAPACITY), count)
    want = [n for n in range(start, stop) if n in held]
    assert store.slice(start, stop)["time_ns"].tolist() == want


def test_what_was_read_is_never_written_to_again() -> None:
    store = RowStore(CAPACITY)
    store.append(numbered([1, 2, 3]))
    seen, ring = store.since(Cursor(0, 0)).records, store.ring
    store.replace(numbered([7]))
    for _ in range(30):
        store.append(numbered([8] * 3))
    assert seen["time_ns"].tolist() == ring.view()["time_ns"].tolist() == [1, 2, 3]
    assert not seen.flags.writeable
