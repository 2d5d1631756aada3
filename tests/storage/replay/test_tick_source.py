"""Ticks in memory: blocks, gaps, where a time is, and how two files are merged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairlab.errors import DataError
from pairlab.schema import TICK, Pair, Records
from pairlab.storage.replay.tick_source import (
    BLOCK,
    GapMark,
    HeldTicks,
    IdGaps,
    decimals_of,
    in_order_of_time,
)
from tests.storage.replay.files import made, same

PAIR = Pair("BTCUSDT", "ETHUSDT")


def leg(times: list[int], number: int) -> Records:
    ticks = np.zeros(len(times), TICK)
    ticks["time_ns"], ticks["leg"], ticks["id"] = times, number, np.arange(len(times))
    return ticks


TIMES = st.lists(st.integers(0, 20), max_size=30)


@given(TIMES, TIMES)
def test_two_files_are_merged_by_time_and_each_keeps_its_order(y: list[int], x: list[int]) -> None:
    merged = in_order_of_time(leg(y, 0), leg(x, 1))
    assert sorted(merged["time_ns"].tolist()) == sorted(y + x)
    for number, times in enumerate((y, x)):
        own = merged[merged["leg"] == number]
        assert own["time_ns"].tolist() == times
    # Against the plain definition: by running maximum, y before x, then the order of each.
    keys = []
    for number, times in enumerate((y, x)):
        newest = -1
        for at, time in enumerate(times):
            newest = max(newest, time)
            keys.append((newest, number, at))
    got = [(int(t["leg"]), int(t["id"])) for t in merged]
    assert got == [(number, at) for _, number, at in sorted(keys)]


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 4)), max_size=60), st.integers(1, 9))
def test_gaps_are_found_whatever_the_blocks(steps: list[tuple[int, int]], size: int) -> None:
    ticks = np.zeros(len(steps), TICK)
    ids, want = [10, 500], []
    for at, (side, step) in enumerate(steps):
        seen = any(s == side for s, _ in steps[:at])
        ids[side] += step
        ticks["leg"][at], ticks["id"][at] = side, ids[side]
        if seen and step > 1:
            want.append(GapMark(at, step - 1, 1 << side))
    finder, got = IdGaps(), []
    for start in range(0, len(ticks), size):
        got += [m._replace(at=m.at + start) for m in finder.find(ticks[start : start + size])]
    assert got == want


def test_blocks_begin_where_they_are_asked_to_with_their_gaps() -> None:
    ticks = np.tile(made(), 60)[: 2 * BLOCK + 100]
    ticks["time_ns"] = np.arange(len(ticks)) * 10
    gaps = [GapMark(at, 7, 1) for at in (5, BLOCK, BLOCK + 9, 2 * BLOCK + 1)]
    source = HeldTicks(PAIR, "trade", ticks, gaps)
    blocks = list(source.blocks())
    assert [len(block.ticks) for block in blocks] == [BLOCK, BLOCK, 100]
    assert same(np.concatenate([block.ticks for block in blocks]), ticks)
    assert [[mark.at for mark in block.gaps] for block in blocks] == [[5], [0, 9], [1]]
    assert source.time_span_ns == (0, (len(ticks) - 1) * 10)
    later = list(source.blocks(10 * BLOCK + 95, 3))  # at the tick after 95, so 3 before that
    assert same(np.concatenate([block.ticks for block in later]), ticks[BLOCK + 7 :])
    assert [mark.at for mark in later[0].gaps] == [2, BLOCK - 6]
    assert same(next(source.blocks(-5, 10)).ticks[:1], ticks[:1])
    assert list(source.blocks(10**12, 0)) == []


def test_a_time_that_falls_moves_no_tick() -> None:
    ticks = leg([1, 5, 3, 9], 0)
    ticks["leg"][1] = 1
    source = HeldTicks(PAIR, "trade", ticks)
    assert next(source.blocks(4)).ticks["time_ns"].tolist() == [5, 3, 9]
    assert source.time_span_ns == (1, 9)


def test_a_symbol_without_ticks_is_named() -> None:
    with pytest.raises(DataError, match="no ticks of ETHUSDT"):
        HeldTicks(PAIR, "trade", leg([1, 2], 0))


@pytest.mark.parametrize(
    ("prices", "decimals"),
    [([61_279.0, 61_280.5], 1), ([2449.49, 2449.4], 2), ([3.0], 0), ([0.00001234], 8), ([], 0)],
)
def test_decimals_are_those_the_prices_are_written_with(prices: list[float], decimals: int) -> None:
    ticks = np.zeros(len(prices), TICK)
    ticks["price"] = prices
    assert decimals_of(ticks) == (decimals, 0)
