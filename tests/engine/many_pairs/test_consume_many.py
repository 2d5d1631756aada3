"""Many pairs advanced by one call give the rows of engines of their own, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pairlab.engine import PairEngine
from pairlab.engine.many.many_pairs import ManyPairs
from pairlab.engine.state import SYMBOL_TICK
from pairlab.errors import DataError
from pairlab.schema import EVENT, ROW, TICK, Records
from tests.engine import worlds

SYMBOLS = 4
PAIRS = ((0, 1), (2, 1), (0, 3), (3, 2), (1, 0))
CHOICES = st.fixed_dictionaries(
    {
        "hedge": st.sampled_from(["fixed", "ols", "kalman"]),
        "hedge_ratio": st.just(25.0),
        "window": st.sampled_from([10, 30, 51]),
        "timeframe": st.sampled_from(["tick", "tick", "1s", "5s"]),
        "adf_lags": st.sampled_from([0, 1]),
        "price_scale": st.sampled_from(["linear", "log"]),
        "stop_z": st.sampled_from([None, 2.5]),
        "min_correlation": st.just(-1.0),
        "entry_z": st.sampled_from([0.8, 1.5]),
        "max_leg_age_s": st.just(1e5),
    }
)


def market(seed: int, count: int) -> Records:
    """Ticks of all symbols: bursts, ties, times that step back, prices that are none."""
    first, second = worlds.trades(seed, count // 2), worlds.trades(seed + 1, count - count // 2)
    ticks = np.zeros(count, SYMBOL_TICK)
    r = np.random.default_rng(seed)
    of_second = np.zeros(count, bool)
    of_second[r.permutation(count)[: len(second)]] = True
    for name in TICK.names or ():
        ticks[name][~of_second], ticks[name][of_second] = first[name], second[name]
    ticks["leg"][of_second] += 2
    ticks["price"][r.integers(0, count, 3)] = [np.nan, -1.0, np.inf]
    return ticks


def of_pair(ticks: Records, y: int, x: int) -> Records:
    share = ticks[(ticks["leg"] == y) | (ticks["leg"] == x)]
    own = np.zeros(len(share), TICK)
    for name in TICK.names or ():
        own[name] = share[name] if name != "leg" else share["leg"] == x
    return own


class Rows:
    """Buffers of rows that fill up: what was in one is set aside, and a fresh one is given."""

    def __init__(self, room: int) -> None:
        self.many = ManyPairs(self.make_room)
        self.room = room
        self.full: dict[int, list[Records]] = {}
        self.buffers: dict[int, Records] = {}
        self.renewed = 0

    def make_room(self, slot: int) -> None:
        slots = self.many.slots
        if slot in self.buffers:
            self.full[slot].append(self.buffers[slot][: slots["end"][slot]])
            self.renewed += 1
        self.buffers[slot] = np.zeros(self.room, ROW)
        self.full.setdefault(slot, [])
        slots["rows"][slot] = self.buffers[slot].ctypes.data
        slots["room"][slot], slots["end"][slot] = self.room, 0

    def add(self, engine: PairEngine, y: int, x: int) -> int:
        slot = self.many.add(y, x)
        self.many.bind(slot, engine)
        self.make_room(slot)
        self.many.activate(slot)
        return slot

    def of(self, slot: int) -> Records:
        return np.concatenate(
            [*self.full[slot], self.buffers[slot][: self.many.slots["end"][slot]]]
        )


def batches(ticks: Records, cuts: list[int]) -> Iterator[Records]:
    ends = sorted({cut % (len(ticks) + 1) for cut in cuts} | {len(ticks)})
    start = 0
    for end in ends:
        yield ticks[start:end]
        start = end


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 1_000),
    given_=st.tuples(*[CHOICES] * len(PAIRS)),
    cuts=st.lists(st.integers(0, 10_000), min_size=3, max_size=9),
    room=st.sampled_from([7, 64, 5_000]),
    gap=st.tuples(st.integers(0, 9), st.integers(0, len(PAIRS) - 1), st.integers(1, 3)),
    changed=st.tuples(st.integers(0, 9), st.integers(0, len(PAIRS) - 1)),
)
def test_rows_are_those_of_engines_of_their_own(seed, given_, cuts, room, gap, changed):
    ticks = market(seed, 2_000)
    rows = Rows(room)
    shared = [PairEngine(bars=False, **choice) for choice in given_]
    own = [PairEngine(bars=False, **choice) for choice in given_]
    slots = [rows.add(engine, *pair) for engine, pair in zip(shared, PAIRS, strict=True)]
    want: list[list[Records]] = [[] for _ in PAIRS]
    happened: list[list[Records]] = [[] for _ in PAIRS]
    seen: list[list[Records]] = [[] for _ in PAIRS]
    for number, batch in enumerate(batches(ticks, cuts)):
        if number == gap[0]:
            for engines in (shared, own):
                engines[gap[1]].mark_gap(gap[2])
        if number == changed[0]:
            for engines in (shared, own):
                engine = engines[changed[1]]
                engine.apply(replace(engine.values, entry_z=1.0))
        for events, their in rows.many.update(batch):
            for slot in np.unique(their):
                seen[slots.index(int(slot))].append(events[their == slot].copy())
        for k, pair in enumerate(PAIRS):
            before = sum(map(len, want[k]))
            want[k].append(own[k].update(of_pair(batch, *pair)).copy())
            events = own[k].events.copy()
            events["row"] += before
            happened[k].append(events)
    for k, slot in enumerate(slots):
        made = np.concatenate(want[k])
        assert rows.of(slot).tobytes() == made.tobytes()
        assert rows.many.slots["made"][slot] == len(made)
        got = np.concatenate([np.zeros(0, EVENT), *seen[k]])
        assert got.tolist() == np.concatenate(happened[k]).tolist()
        assert shared[k].dropped == own[k].dropped
        assert shared[k].signal_state == own[k].signal_state
    per_tick = [k for k, choice in enumerate(given_) if choice["timeframe"] == "tick"]
    assert all(sum(map(len, want[k])) > 300 for k in per_tick)
    if room == 7:
        assert rows.renewed > 3 or not per_tick


def test_pairs_come_and_go_and_an_engine_is_replaced_between_batches():
    ticks = market(5, 9_000)
    rows = Rows(10_000)
    first = rows.add(PairEngine(bars=False, hedge="ols"), 0, 1)
    gone = rows.add(PairEngine(bars=False, hedge="ols"), 2, 3)
    list(rows.many.update(ticks[:3_000]))
    rows.many.remove(gone)
    stopped = len(rows.of(gone))
    new = rows.many.add(2, 1)
    assert new == gone
    rows.many.bind(new, PairEngine(bars=False, hedge="ols", window=20))
    rows.full[new], before = [], rows.buffers.pop(new)
    rows.make_room(new)
    rows.many.activate(new)
    fresh, remade = PairEngine(bars=False, hedge="ols").rebuilt(
        PairEngine(hedge="ols", window=30).values, of_pair(ticks[:3_000], 0, 1)
    )
    assert len(remade) > 1_000
    rows.many.bind(first, fresh)
    resumed = len(rows.of(first))
    list(rows.many.update(ticks[3_000:]))
    assert len(before[:stopped]) == stopped > 500
    want = PairEngine(bars=False, hedge="ols", window=20).update(of_pair(ticks[3_000:], 2, 1))
    assert rows.of(new).tobytes() == want.tobytes()
    own, _ = PairEngine(bars=False, hedge="ols").rebuilt(
        PairEngine(hedge="ols", window=30).values, of_pair(ticks[:3_000], 0, 1)
    )
    later = own.update(of_pair(ticks[3_000:], 0, 1))
    assert rows.of(first)[resumed:].tobytes() == later.tobytes()


def test_a_pair_that_is_not_active_is_passed_over():
    ticks = market(6, 2_000)
    rows = Rows(10_000)
    slot = rows.add(PairEngine(bars=False, hedge="ols"), 0, 1)
    rows.add(PairEngine(bars=False, hedge="ols"), 2, 3)
    rows.many.activate(slot, False)
    list(rows.many.update(ticks[:1_000]))
    assert not len(rows.of(slot))
    rows.many.activate(slot)
    list(rows.many.update(ticks[1_000:]))
    want = PairEngine(bars=False, hedge="ols").update(of_pair(ticks[1_000:], 0, 1))
    assert rows.of(slot).tobytes() == want.tobytes()


def test_more_than_one_chunk_of_pairs():
    ticks = market(7, 3_000)
    rows = Rows(4_000)
    slots = [rows.add(PairEngine(bars=False, hedge="ols"), k % 2, 2 + k % 2) for k in range(130)]
    list(rows.many.update(ticks))
    want = [
        PairEngine(bars=False, hedge="ols").update(of_pair(ticks, y, y + 2)).tobytes()
        for y in range(2)
    ]
    assert all(rows.of(slot).tobytes() == want[k % 2] for k, slot in enumerate(slots))


def test_what_are_no_ticks_of_many_symbols_is_refused():
    rows = Rows(100)
    rows.add(PairEngine(bars=False), 0, 1)
    with pytest.raises(DataError, match="SYMBOL_TICK"):
        list(rows.many.update(np.zeros(3, TICK)))
    ticks = np.zeros(1, SYMBOL_TICK)
    ticks["leg"] = 2
    with pytest.raises(DataError, match="symbol 2: there are 2"):
        list(rows.many.update(ticks))
    with pytest.raises(DataError, match="bars=False"):
        rows.many.bind(0, PairEngine())
    assert not list(rows.many.update(np.zeros(0, SYMBOL_TICK)))
