"""A board's rows are those of a pipeline of one's own: over gaps, held ticks, other settings."""

from __future__ import annotations

import numpy as np
import pytest

from pairlab.board.core import BoardCore
from pairlab.board.slot_rows import SlotRows
from pairlab.clock import SYSTEM_CLOCK
from pairlab.engine import compile_kernel
from pairlab.lab.pipeline import Pipeline
from pairlab.schema import ROW, TICK, Pair, Records
from pairlab.settings import Settings
from tests.engine import worlds

PAIR = Pair("AUSDT", "BUSDT")
OTHER = Pair("CUSDT", "BUSDT")


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_kernel(many_pairs=True)


def nothing() -> None:
    """Nobody rebuilds."""


class Both:
    """A board, and a pipeline that gets what its first pair should get."""

    def __init__(self, **settings: object) -> None:
        self.settings = Settings(hedge="ols", min_correlation=-1.0, **settings)  # type: ignore[arg-type]
        self.own_settings = Settings(
            **{n: getattr(self.settings, n) for n in self.settings.values().__dataclass_fields__}
        )
        self.core = BoardCore(50_000, SYSTEM_CLOCK)
        self.pipeline = self.core.add(PAIR, self.settings, nothing)
        self.other = self.core.add(OTHER, Settings(hedge="ols"), nothing)
        self.own = Pipeline(self.own_settings, nothing)
        self.core.begin()
        for pair in (PAIR, OTHER):
            self.core.start_engine(pair)
        self.own.start_engine()

    def give(self, ticks: Records) -> None:
        """Give the board a symbol's ticks at a time, as its feeds do; the pipeline the pair's."""
        for part in np.split(ticks, np.flatnonzero(np.diff(ticks["leg"])) + 1):
            if len(part):
                self.core.on_ticks(int(part["leg"][0]), part)
        self.core.flush()
        own = ticks[ticks["leg"] < 2]
        if len(own):
            self.own.on_ticks(own)

    def check(self, at_least: int = 100) -> None:
        got, want = self.pipeline.rows.view(), self.own.rows.view()
        assert len(want) >= at_least
        assert got.tobytes() == want.tobytes()
        assert self.pipeline.row_count == self.own.row_count
        ours, theirs = ([str(e) for e in p.alert_log] for p in (self.pipeline, self.own))
        assert ours == theirs
        assert self.pipeline.position_changes == self.own.position_changes


def market(seed: int, count: int) -> Records:
    """Ticks of three symbols, in bursts."""
    ticks = worlds.trades(seed, count)
    r = np.random.default_rng(seed)
    third = r.random(count) < 0.2
    ticks["leg"][third] = 2
    ticks["received_ns"] = int(ticks["received_ns"].min()) + np.arange(count)
    return ticks


@pytest.mark.parametrize("timeframe", ["tick", "1s"])
def test_rows_alerts_and_changed_settings(timeframe: str) -> None:
    both = Both(timeframe=timeframe, history_rows=1_000, entry_z=1.0)
    ticks = market(1, 9_000)
    for number, part in enumerate(np.array_split(ticks, 40)):
        if number == 20:
            for settings in (both.settings, both.own_settings):
                settings.entry_z = 1.4
        both.give(part)
    both.check()
    assert both.pipeline.alert_log.newest_number > 5
    assert len(both.pipeline.rows) <= 1_000
    assert both.pipeline.latest() is not None


def test_a_gap_that_nobody_fills_is_marked_for_the_pairs_of_its_symbol() -> None:
    both = Both()
    parts = np.array_split(market(2, 6_000), 3)
    both.give(parts[0])
    both.core.on_gap(0)
    both.own.on_gap(None, 1)
    both.give(parts[1])
    both.core.on_gap(1)
    both.own.on_gap(None, 2)
    both.give(parts[2])
    both.check()
    flagged = int((both.pipeline.rows.view()["flags"] & 16 != 0).sum())
    assert flagged == 2
    assert int((both.other.rows.view()["flags"] & 16 != 0).sum()) == 1
    assert both.pipeline.gaps == both.own.gaps


def test_a_leg_that_waits_holds_back_its_pairs_alone_and_comes_out_by_time() -> None:
    both = Both()
    ticks = market(3, 4_000)
    ticks["time_ns"] = np.sort(ticks["time_ns"])
    before, during, after = ticks[:2_000], ticks[2_000:2_400], ticks[2_400:]
    both.give(before)
    rows, others = len(both.pipeline.rows.view()), len(both.other.rows.view())
    both.core.on_wait(0, int(during["received_ns"][0]))
    late = during[during["leg"] == 0]
    for part in np.array_split(during[during["leg"] != 0], 7):
        for one in np.split(part, np.flatnonzero(np.diff(part["leg"])) + 1):
            both.core.on_ticks(int(one["leg"][0]), one)
        both.core.flush()
    assert both.core.waiting == {0}
    assert len(both.pipeline.rows.view()) == rows
    assert len(both.other.rows.view()) > others
    both.core.on_ticks(0, late)
    both.core.on_resume(0, int(during["received_ns"][-1]))
    both.core.flush()
    order = np.lexsort((during["leg"], during["time_ns"]))
    both.own.on_ticks(during[order][during[order]["leg"] < 2])
    both.check()
    both.give(after)
    both.check(2_500)
    # what a rebuild computes from is in the order in which it came out
    assert both.pipeline.ticks.view().tolist() == both.own.ticks.view().tolist()
    for pipeline, settings in ((both.pipeline, both.settings), (both.own, both.own_settings)):
        settings.window = 30
        pipeline.rebuild_finish(*pipeline.rebuild_compute(pipeline.rebuild_start()))
    both.check(2_500)
    both.give(market(4, 500))
    both.check(2_500)


def test_a_gap_within_what_was_held_back_comes_before_what_is_later_than_it() -> None:
    both = Both()
    ticks = market(5, 3_000)
    ticks["time_ns"] = np.sort(ticks["time_ns"])
    both.give(ticks[:1_000])
    last_ns = int(ticks[:1_000]["time_ns"][ticks[:1_000]["leg"] == 0][-1])
    during = ticks[1_000:1_300]
    both.core.on_wait(0, int(during["received_ns"][0]))
    others = during[during["leg"] == 1]
    both.core.on_ticks(1, others)
    both.core.on_gap(0)
    found = during[during["leg"] == 0][20:]
    both.core.on_ticks(0, found)
    both.core.on_resume(0, int(during["received_ns"][-1]))
    both.core.flush()
    earlier = others[others["time_ns"] <= last_ns]
    both.own.on_ticks(earlier) if len(earlier) else None
    both.own.on_gap(None, 1)
    rest = np.concatenate([others[len(earlier) :], found])
    both.own.on_ticks(rest[np.lexsort((rest["leg"], rest["time_ns"]))])
    both.give(ticks[1_300:])
    both.check()
    assert int((both.pipeline.rows.view()["flags"] & 16 != 0).sum()) == 1


def test_a_pair_that_comes_later_is_warm_at_once_and_knows_the_gaps() -> None:
    both = Both()
    ticks = market(6, 4_000)
    both.give(ticks[:2_000])
    both.core.on_gap(2)
    both.give(ticks[2_000:])
    late = both.core.add(Pair("AUSDT", "CUSDT"), Settings(hedge="ols"), nothing)
    both.core.start_engine(Pair("AUSDT", "CUSDT"))
    own = Pipeline(Settings(hedge="ols"), nothing)
    own.start_engine()
    for part, gap in ((ticks[:2_000], True), (ticks[2_000:], False)):
        share = part[part["leg"] != 1].copy()
        share["leg"] = share["leg"] == 2
        own.on_ticks(share)
        if gap:
            own.on_gap(None, 2)
    assert len(own.rows.view()) > 1_000
    assert late.rows.view().tobytes() == own.rows.view().tobytes()
    assert late.gaps == own.gaps
    more = market(7, 500)
    both.give(more)
    share = more[more["leg"] != 1].copy()
    share["leg"] = share["leg"] == 2
    own.on_ticks(share)
    assert late.rows.view().tobytes() == own.rows.view().tobytes()


def test_a_pair_that_is_removed_keeps_its_rows_and_its_slot_is_used_again() -> None:
    both = Both(history_rows=1_000)
    ticks = market(8, 3_000)
    both.give(ticks[:1_500])
    slot = both.other.slot
    assert len(both.other.rows) > 500
    kept = both.other.rows.view().tobytes()
    assert both.core.remove(OTHER) is both.other
    again = both.core.add(Pair("BUSDT", "CUSDT"), Settings(hedge="ols", history_rows=500), nothing)
    both.core.start_engine(Pair("BUSDT", "CUSDT"))
    assert again.slot == slot
    both.give(ticks[1_500:])
    both.check()
    assert both.other.rows.view().tobytes() == kept
    assert 100 < len(again.rows.view()) <= 500
    # what is done to a pair that has left is none of the other pair's business
    made, rows = both.other.row_count, again.rows.view().tobytes()
    both.other.settings.history_rows = 400
    both.other.settings.window = 30
    assert both.other.rows.view().tobytes() == kept[-400 * ROW.itemsize :]
    assert (both.other.row_count, again.rows.view().tobytes()) == (made, rows)
    both.give(ticks[:500])
    assert len(again.rows.view()) > 100


def test_memory_of_a_pair_with_ten_thousand_rows_is_below_three_megabytes() -> None:
    both = Both(history_rows=10_000)
    both.give(market(9, 30_000))
    pipeline = both.pipeline
    assert len(pipeline.rows) == 10_000
    engine = pipeline.engine
    assert engine is not None
    buffers = engine._buffers
    parts = (buffers.state, buffers.params, buffers.ring, buffers.rows, buffers.events)
    assert pipeline.rows.nbytes + sum(part.nbytes for part in parts) < 3e6


def test_ticks_keep_their_fields() -> None:
    both = Both()
    ticks = market(10, 300)
    both.give(ticks)
    own = ticks[ticks["leg"] < 2]
    held = both.pipeline.ticks.view()
    for name in TICK.names or ():
        assert held[name].tolist() == own[name].tolist(), name


def test_pairs_that_fill_up_together_do_not_move_their_rows_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """500 that did, in one batch, held up the loop for 0.6 s."""
    moved: list[int] = []
    make_room = SlotRows.make_room

    def counted(rows: SlotRows) -> None:
        moved[-1] += 1
        make_room(rows)

    monkeypatch.setattr(SlotRows, "make_room", counted)
    core = BoardCore(50_000, SYSTEM_CLOCK)
    pairs = [Pair(f"Y{number}USDT", "XUSDT") for number in range(40)]
    for pair in pairs:
        core.add(pair, Settings(history_rows=1_000), nothing)
    core.begin()
    for pair in pairs:
        core.start_engine(pair)
    for symbol in range(len(pairs) + 1):
        core.on_ticks(symbol, ticks_of_one_symbol(0, 1))
    for number in range(1, 301):
        moved.append(0)
        core.on_ticks(core.number("XUSDT"), ticks_of_one_symbol(10 * number, 10))
        core.flush()
    assert all(pipeline.row_count > 2_500 for pipeline in core.pipelines.values())
    assert sum(moved) >= 2 * len(pairs)
    assert max(moved) <= 3


def ticks_of_one_symbol(first: int, count: int) -> Records:
    ticks = np.zeros(count, TICK)
    ticks["time_ns"] = ticks["received_ns"] = np.arange(first, first + count) + 1_000
    ticks["price"] = 100.0 + (np.arange(first, first + count) % 7)
    ticks["quantity"] = 1.0
    return ticks
