"""Ticks of several sessions: one order, and the gaps that are left."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pairlab.storage.database.tick_order import order_of


@given(st.lists(st.integers(-5, 5), max_size=40), st.randoms())
def test_ordinals_decide_within_a_session_whatever_the_clock_did(
    steps: list[int], by: Random
) -> None:
    seq = np.arange(len(steps))
    received = np.cumsum(np.array(steps, np.int64))
    shuffled = np.array(by.sample(range(len(steps)), len(steps)), np.intp)
    order = order_of(np.zeros(len(steps), np.int64), seq[shuffled], received[shuffled])
    assert seq[shuffled][order].tolist() == seq.tolist()


def test_sessions_at_the_same_time_are_merged_by_the_time_of_receipt() -> None:
    session = np.array([2, 1, 1, 2, 1, 2])
    seq = np.array([0, 10, 11, 1, 12, 2])
    received = np.array([15, 10, 20, 5, 30, 25])  # of session 2 the clock stepped back after 15
    order = order_of(session, seq, received)
    assert [(int(session[i]), int(seq[i])) for i in order] == [
        (1, 10), (2, 0), (2, 1), (1, 11), (2, 2), (1, 12),
    ]  # fmt: skip


def test_no_ticks() -> None:
    none = np.empty(0, np.int64)
    assert order_of(none, none, none).tolist() == []
