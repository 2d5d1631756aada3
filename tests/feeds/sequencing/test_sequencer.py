"""Order and continuity: whatever arrives, each id comes out once, in order, or is counted."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairlab.feeds.binance.messages import ConsumedId, TickTuple
from pairlab.feeds.sequencing.sequencer import Sequencer


def tick(leg: int, id_: int, time_ns: int | None = None) -> TickTuple:
    return (id_ if time_ns is None else time_ns, 10**18 + id_, id_, leg, 1.0 + id_, 1.0, False)


def ids(ticks: list[TickTuple], leg: int) -> list[int]:
    return [t[2] for t in ticks if t[3] == leg]


def market(seed: int, count: int) -> list[TickTuple]:
    """Both legs' trades in bursts that share a time, by (time, y before x, id)."""
    random_ = random.Random(seed)
    next_id = [1000, 5_000_000]
    ticks = []
    for time_ns in range(count):
        for leg in (0, 1):
            for _ in range(random_.choice((0, 0, 1, 2))):
                ticks.append(tick(leg, next_id[leg], time_ns))
                next_id[leg] += 1
    return ticks


def fill_all(sequencer: Sequencer, clean: list[TickTuple], page: int = 3) -> None:
    """Play REST until no gap is left."""
    while gaps := sequencer.open_gaps():
        gap = gaps[0]
        found = [t for t in clean if t[3] == gap.leg and t[2] >= gap.first]
        assert sequencer.fill(gap.leg, found[:page]) > 0


def drain(sequencer: Sequencer) -> list[TickTuple]:
    return [t for _, _, part in sequencer.take() for t in part]


def test_in_order_goes_straight_through() -> None:
    clean = market(1, 50)
    sequencer = Sequencer()
    for t in clean:
        sequencer.accept(t)
        assert sequencer.out[-1] == t
    assert drain(sequencer) == clean
    assert not sequencer.dropped


FAULTS = st.lists(st.sampled_from(("keep",) * 6 + ("drop", "twice", "late")), min_size=200)


@settings(max_examples=60)
@given(st.integers(0, 10**6), FAULTS, st.booleans())
def test_faults_leave_no_trace_in_either_leg(seed: int, faults: list[str], aligned: bool) -> None:
    clean = market(seed, 60)
    # The last trades of each leg arrive: what nothing follows, nobody can miss.
    safe = {max(i for i, t in enumerate(clean) if t[3] == leg) for leg in (0, 1)}
    safe |= {min(i for i, t in enumerate(clean) if t[3] == leg) for leg in (0, 1)}
    sequencer = Sequencer(align_ns=10**30 if aligned else 0)
    out: list[TickTuple] = []
    late: list[TickTuple] = []
    repeated = 0
    for i, t in enumerate(clean):
        fault = "keep" if i in safe else faults[i % len(faults)]
        if fault == "late":
            late.append(t)
            continue
        if fault == "drop":
            continue
        sequencer.accept(t)
        if fault == "twice":
            sequencer.accept(t)
            repeated += 1
        if late and i % 5 == 0:
            sequencer.accept(late.pop(0))
        if i % 7 == 0:
            fill_all(sequencer, clean[: i + 1])
            out += drain(sequencer)
    fill_all(sequencer, clean)
    sequencer.finish()
    out += drain(sequencer)
    for leg in (0, 1):
        assert ids(out, leg) == ids(clean, leg)
    assert sorted(out, key=lambda t: (t[3], t[2])) == sorted(clean, key=lambda t: (t[3], t[2]))
    assert sequencer.dropped["duplicate"] >= repeated
    assert (sequencer.gaps, sequencer.missing, sequencer.held) == (0, 0, 0)
    if aligned:
        assert out == clean


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.lists(st.booleans(), min_size=100, max_size=300))
def test_what_cannot_be_repaired_is_counted_exactly(seed: int, gone: list[bool]) -> None:
    clean = market(seed, 60)
    safe = {max(i for i, t in enumerate(clean) if t[3] == leg) for leg in (0, 1)}
    safe |= {min(i for i, t in enumerate(clean) if t[3] == leg) for leg in (0, 1)}
    removed = [t for i, t in enumerate(clean) if i not in safe and gone[i % len(gone)]]
    sequencer = Sequencer()
    for t in clean:
        if t not in removed:
            sequencer.accept(t)
    marked: dict[int, tuple[int, int]] = {}
    out: list[TickTuple] = []
    while gaps := sequencer.open_gaps():
        sequencer.give_up(gaps[0].leg)
    for missing, legs, part in sequencer.take():
        if missing:
            marked[len(out)] = missing, legs
        out += part
    assert sequencer.missing == len(removed)
    assert sequencer.held == 0
    for leg in (0, 1):
        assert ids(out, leg) == [
            i for i in ids(clean, leg) if tick(leg, i)[2] not in ids(removed, leg)
        ]
    # Every mark names its leg and stands between what came before the gap and the first tick after
    # it, not before a tick of the other leg that is as old as the former.
    gaps = 0
    for leg in (0, 1):
        own = [i for i, t in enumerate(out) if t[3] == leg]
        for last, i in pairwise(own):
            if out[i][2] - out[last][2] == 1:
                continue
            gaps += 1
            begin = next(j for j in range(last + 1, i + 1) if j == i or out[j][0] > out[last][0])
            found = [j for j in range(last + 1, i + 1) if j in marked and marked[j][1] >> leg & 1]
            assert len(found) == 1
            assert begin <= found[0]
    assert sequencer.gaps == gaps
    assert sum(missing for missing, _ in marked.values()) == len(removed)


def test_what_the_other_leg_did_meanwhile_comes_after_the_mark_of_a_gap() -> None:
    sequencer = Sequencer()
    for t in (tick(0, 1, 10), tick(1, 1, 11), tick(0, 5, 50), tick(1, 2, 20), tick(1, 3, 60)):
        sequencer.accept(t)
    assert [(t[3], t[2]) for t in drain(sequencer)] == [(0, 1), (1, 1)]
    sequencer.give_up(0)
    # From 10 on nobody knows y, until its id 5.
    assert [(n, legs, [(t[3], t[2]) for t in part]) for n, legs, part in sequencer.take()] == [
        (3, 1, [(1, 2), (0, 5), (1, 3)])
    ]


def test_a_gap_holds_back_both_legs_and_lets_go_by_time() -> None:
    sequencer = Sequencer()
    for t in (tick(0, 1, 10), tick(1, 100, 11), tick(0, 3, 30), tick(1, 101, 25), tick(1, 102, 31)):
        sequencer.accept(t)
    assert [(t[3], t[2]) for t in drain(sequencer)] == [(0, 1), (1, 100)]
    assert sequencer.held == 3
    (gap,) = sequencer.open_gaps()
    assert (gap.leg, gap.first, gap.last) == (0, 2, 2)
    sequencer.fill(0, [tick(0, 2, 25)])
    assert [(t[3], t[2]) for t in drain(sequencer)] == [(0, 2), (1, 101), (0, 3), (1, 102)]


def test_the_other_leg_may_pass_up_to_the_gap() -> None:
    sequencer = Sequencer()
    for t in (tick(0, 1, 10), tick(1, 100, 1), tick(0, 3, 30), tick(1, 101, 9), tick(1, 102, 10)):
        sequencer.accept(t)
    # At 10 the missing trade of y comes first: y before x.
    assert [(t[3], t[2]) for t in drain(sequencer)] == [(0, 1), (1, 100), (1, 101)]


def test_used_up_ids_are_no_gaps() -> None:
    sequencer = Sequencer()
    sequencer.accept(tick(0, 1))
    sequencer.accept(ConsumedId(2, 1, 2, 0))
    sequencer.accept(tick(0, 3))
    sequencer.accept(ConsumedId(5, 1, 5, 0))
    sequencer.accept(tick(0, 6))
    assert ids(drain(sequencer), 0) == [1, 3]
    sequencer.accept(tick(0, 4))
    assert ids(drain(sequencer), 0) == [4, 6]
    assert sequencer.held == 0


def test_a_skip_that_comes_first_starts_the_series() -> None:
    sequencer = Sequencer()
    sequencer.accept(ConsumedId(7, 1, 7, 0))
    sequencer.accept(tick(0, 8))
    sequencer.accept(tick(0, 9))
    assert ids(drain(sequencer), 0) == [8, 9]


def test_after_an_interruption_both_legs_must_speak() -> None:
    gaps: list[str] = []
    sequencer = Sequencer(on_wait=lambda: gaps.append("gap"))
    for t in (tick(0, 1, 1), tick(1, 100, 2)):
        sequencer.accept(t)
    sequencer.note_interruption()
    assert len(gaps) == 2
    sequencer.accept(tick(1, 101, 8))
    sequencer.accept(tick(1, 102, 9))
    assert len(drain(sequencer)) == 2
    assert sequencer.unconfirmed() == [(0, 2)]
    sequencer.accept(tick(0, 3, 7))
    assert drain(sequencer) == []
    sequencer.fill(0, [tick(0, 2, 3)])
    assert [(t[3], t[2]) for t in drain(sequencer)] == [(0, 2), (0, 3), (1, 101), (1, 102)]


def test_a_leg_that_stays_silent_is_confirmed_from_elsewhere() -> None:
    sequencer = Sequencer()
    for t in (tick(0, 1, 1), tick(1, 100, 2)):
        sequencer.accept(t)
    sequencer.note_interruption()
    sequencer.accept(tick(1, 101, 8))
    drain(sequencer)
    assert sequencer.fill(0, [tick(0, 2, 3), tick(0, 3, 4)]) == 2
    sequencer.confirm(0)
    assert [(t[3], t[2]) for t in drain(sequencer)] == [(0, 2), (0, 3), (1, 101)]
    sequencer.accept(tick(0, 4, 9))
    assert ids(drain(sequencer), 0) == [4]


def test_room_is_bounded_and_what_overflows_becomes_a_gap() -> None:
    sequencer = Sequencer(max_held_ticks=10, align_ns=10**30)
    clean = [tick(leg, id_, id_ * 2 + leg) for id_ in range(1, 60) for leg in (0, 1)]
    most = 0
    for t in clean:
        if (t[3], t[2]) != (0, 2):
            sequencer.accept(t)
            most = max(most, sequencer.held)
    assert most == 10
    assert sequencer.dropped["overflow"] == len(clean) - 1 - 10 - len(sequencer.out)
    fill_all(sequencer, clean, page=5)
    sequencer.finish()
    assert drain(sequencer) == clean
    assert sequencer.missing == 0


def test_one_wild_id_changes_nothing() -> None:
    sequencer = Sequencer(max_gap_trades=100)
    for id_ in (1000, 1001, 5, 10**9, 1002, 10**9, 1003):
        sequencer.accept(tick(0, id_))
    sequencer.finish()
    assert ids(drain(sequencer), 0) == [1000, 1001, 1002, 1003]
    assert sequencer.dropped == {"stray id": 3}
    assert sequencer.missing == 0


@pytest.mark.parametrize(("first", "missing"), [(10**6, 10**6 - 1002), (5, 0)])
def test_three_wild_ids_in_a_row_are_a_new_series(first: int, missing: int) -> None:
    sequencer = Sequencer(max_gap_trades=100)
    for id_ in (1000, 1001, first, first + 1, first + 2, first + 3):
        sequencer.accept(tick(0, id_))
    parts = sequencer.take()
    assert ids([t for _, _, part in parts for t in part], 0) == [
        1000,
        1001,
        *range(first, first + 4),
    ]
    assert parts[1][0] == max(1, missing)
    assert (sequencer.gaps, sequencer.missing) == (1, missing)


def test_a_gap_is_one_however_far_the_series_has_come() -> None:
    sequencer = Sequencer(max_gap_trades=100)
    for id_ in (*range(1, 301), 302):
        sequencer.accept(tick(0, id_))
    sequencer.give_up(0)
    assert ids(drain(sequencer), 0) == [*range(1, 301), 302]
    assert (sequencer.missing, dict(sequencer.dropped)) == (1, {})


def test_quotes_only_have_to_grow() -> None:
    sequencer = Sequencer(contiguous=False)
    for id_ in (5, 9, 9, 7, 12):
        sequencer.accept(tick(1, id_))
    sequencer.accept(ConsumedId(13, 1, 13, 1))
    sequencer.note_interruption()
    sequencer.accept(tick(1, 14))
    assert ids(drain(sequencer), 1) == [5, 9, 12, 14]
    assert sequencer.dropped == {"duplicate": 2}
    assert sequencer.open_gaps() == []


def test_raw_trades_do_not_hold_back_the_other_leg() -> None:
    sequencer = Sequencer(repairable=False)
    for t in (tick(0, 1), tick(1, 100), tick(0, 3), tick(1, 101)):
        sequencer.accept(t)
    assert [(t[3], t[2]) for t in drain(sequencer)] == [(0, 1), (1, 100), (1, 101)]
    sequencer.give_up(0)
    assert sequencer.take() == [(1, 1, [tick(0, 3)])]


def test_aligned_ticks_do_not_wait_for_ever() -> None:
    sequencer = Sequencer(align_ns=1)
    sequencer.accept(tick(0, 1, 1))
    sequencer.accept(tick(1, 1, 2))
    sequencer.accept(tick(1, 2, 3))
    assert [(t[3], t[2]) for t in drain(sequencer)] == [(0, 1)]
    sequencer.release_older(10**18 + 1)
    assert [(t[3], t[2]) for t in drain(sequencer)] == [(1, 1)]
    sequencer.release_older(10**18 + 2)
    assert [(t[3], t[2]) for t in drain(sequencer)] == [(1, 2)]


def test_finish_hands_on_everything_and_marks_what_is_missing() -> None:
    sequencer = Sequencer()
    for t in (tick(0, 1), tick(1, 100), tick(0, 5), tick(1, 103), tick(1, 104)):
        sequencer.accept(t)
    sequencer.finish()
    out = drain(sequencer)
    assert (ids(out, 0), ids(out, 1)) == ([1, 5], [100, 103, 104])
    assert (sequencer.gaps, sequencer.missing, sequencer.held) == (2, 5, 0)


def test_ids_inside_a_wide_gap_are_no_new_series() -> None:
    sequencer = Sequencer(max_gap_trades=100, max_held_ticks=20)
    clean = [tick(0, id_, id_) for id_ in range(1, 1001)]
    sequencer.accept(clean[0])
    for t in clean[2:]:  # all but the second: what overflows widens the gap
        sequencer.accept(t)
    assert sequencer.dropped["overflow"] > 900
    for t in clean[500:510]:  # another connection says them again
        sequencer.accept(t)
    assert sequencer.missing == 0
    fill_all(sequencer, clean, page=50)
    assert drain(sequencer) == clean
    assert (sequencer.gaps, sequencer.missing) == (0, 0)
