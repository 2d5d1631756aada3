"""Logs of alerts beside lists of objects: what is kept as records reads as what was added."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from pairlab.alerts import Alert, SettingChange, entries_frame
from pairlab.board.board_alerts import BoardAlerts
from pairlab.board_protocol import BoardAlert, BreakAlert
from pairlab.data.alert_log import AlertLog
from pairlab.schema import EVENT, ROW, AlertKind, Pair, Records, Snapshot
from pairlab.settings import Settings

VALUES = [Settings(entry_z=z).values() for z in (2.0, 2.5, 3.0)]
PAIRS = [Pair("BTCUSDT", "ETHUSDT"), Pair("SOLUSDT", "ETHUSDT")]
BATCH = st.lists(st.sampled_from(AlertKind), min_size=1, max_size=5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("alerts"), BATCH, st.integers(0, 2), st.integers(0, 1)),
        st.tuples(st.just("change"), st.just([]), st.integers(0, 99), st.integers(0, 1)),
        st.tuples(st.just("clear"), st.just([]), st.just(0), st.integers(0, 1)),
    ),
    max_size=30,
)


def batch(kinds: list[AlertKind], seed: int) -> tuple[Records, Records]:
    """Rows with every number different and some NaN, and events on some of them."""
    rows, events = np.zeros(7, ROW), np.zeros(len(kinds), EVENT)
    for at, name in enumerate(ROW.names or ()):
        rows[name] = np.arange(7) + 10 * at + seed % 50
    rows["adf_stat"] = np.nan
    rows["time_ns"] = 1_723_161_256_000_000_000 + seed * 1_000 + np.arange(7)
    events["kind"] = kinds
    events["row"] = np.sort(np.random.default_rng(seed).integers(0, 7, len(kinds)))
    events["side"], events["failed"], events["withheld"] = -1, 3, seed
    return rows, events


class Model:
    """What a log did when it held objects."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.entries, self.number, self.total = capacity, [], 0, 0
        self.opened: Alert | None = None

    def add(self, events: Records, rows: Records, values: Any) -> None:
        for event in events:
            self.number += 1
            alert = Alert.of(self.number, event, rows[event["row"]], values)
            self.append(alert)
            if alert.kind == AlertKind.ENTRY:
                self.opened = alert
            elif alert.kind in (AlertKind.EXIT, AlertKind.STOP):
                self.opened = None

    def append(self, entry: Any) -> None:
        self.total += 1
        self.entries = [*self.entries, entry][-self.capacity :]

    def clear(self) -> None:
        self.entries, self.opened = [], None
        self.total += 1

    @property
    def alerts(self) -> list[Alert]:
        return [entry for entry in self.entries if isinstance(entry, Alert)]


def play(steps: Any, capacity: int, each: Callable[[AlertLog, Model, Pair], None]) -> None:
    logs = {pair: (AlertLog(capacity), Model(capacity)) for pair in PAIRS}
    for seed, (what, kinds, number, at) in enumerate(steps):
        log, model = logs[PAIRS[at]]
        for one in (log, model):
            if what == "alerts":
                rows, events = batch(kinds, seed)
                one.add(events, rows, VALUES[number])
                rows["y"] = events["side"] = 0  # both are somebody else's, and written again
            elif what == "clear":
                one.clear()
            else:
                change = SettingChange(seed, "window", number, number + 1)
                log.changed(change) if one is log else model.append(change)
        each(log, model, PAIRS[at])


@given(STEPS, st.integers(1, 6))
def test_a_log_reads_as_a_list_of_objects_would(steps: Any, capacity: int) -> None:
    def same(log: AlertLog, model: Model, _: Pair) -> None:
        assert list(log) == model.entries
        assert list(reversed(log)) == model.entries[::-1]
        assert log.between(1, 4) == model.entries[1:4]
        assert log.alerts() == model.alerts
        assert list(log.newest_first()) == model.alerts[::-1]
        assert (len(log), log.total, log.newest_number, log.opened) == (
            len(model.entries), model.total, model.number, model.opened,
        )  # fmt: skip
        for number in (0, model.number - 2, model.number):
            assert log.since(number) == [a for a in model.alerts if a.number > number]
        for kind in AlertKind:
            assert log.count(kind) == sum(a.kind == kind for a in model.alerts)
        if model.alerts:
            first, last = model.alerts[0].time_ns, model.alerts[-1].time_ns
            inside = [a for a in model.alerts if first < a.time_ns <= last]
            assert log.newest_in(first + 1, last, 3) == inside[-3:]
            known = [a for a in inside if a.number <= model.number - 2]
            assert log.newest_in(first + 1, last, 3, model.number - 2) == known[-3:]
        again = AlertLog(capacity)
        again.restore(model.entries, model.total, model.number, model.opened)
        assert list(again) == model.entries
        assert (again.total, again.newest_number, again.opened) == (
            model.total, model.number, model.opened,
        )  # fmt: skip
        pd.testing.assert_frame_equal(log.frame(), entries_frame(model.entries))

    play(steps, capacity, same)


@given(STEPS, st.integers(1, 6))
def test_a_board_s_log_has_every_pair_s_entries_in_order(steps: Any, capacity: int) -> None:
    board, every = BoardAlerts(capacity), []
    read = dict.fromkeys(PAIRS, 0)

    def same(log: AlertLog, model: Model, pair: Pair) -> None:
        new = model.total - read[pair]
        every.extend(BoardAlert(pair, e) for e in model.entries[max(len(model.entries) - new, 0) :])
        read[pair] = model.total
        board.take(pair, log)
        if model.total % 3 == 0:
            found = BreakAlert("BREAK", 1_723_161_600_000_000_000 + len(every), 1.25)
            board.add(pair, found)
            every.append(BoardAlert(pair, found))
        kept = every[-capacity:]
        alerts = [one for one in every if not isinstance(one.entry, SettingChange)]
        assert list(board) == kept
        assert list(reversed(board)) == kept[::-1]
        assert (board.total, board.newest_number) == (len(every), len(alerts))
        assert board.since(0) == [one for one in kept if one in alerts]
        assert board.since(len(alerts) - 1) == [one for one in kept if one in alerts[-1:]]
        assert list(board.frame()["pair"]) == [f"{one.pair.y} / {one.pair.x}" for one in kept]

    play(steps, capacity, same)


def test_alerts_are_nothing_that_the_garbage_collector_goes_through() -> None:
    """As objects, those of a board's pairs stopped its loop for half a second at a time."""
    rows, events = batch([AlertKind.ENTRY, AlertKind.EXIT], 1)
    log, board = AlertLog(), BoardAlerts()
    log.add(events, rows, VALUES[0])
    board.take(PAIRS[0], log)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(2_000):
        log.add(events, rows, VALUES[0])
        board.take(PAIRS[0], log)
    gc.collect()
    assert len(log) == len(board) == 4_002
    assert len(gc.get_objects()) - before < 50


def test_settings_that_no_entry_has_any_more_are_forgotten() -> None:
    log, board = AlertLog(3), BoardAlerts(3)
    rows, events = batch([AlertKind.ENTRY], 1)
    for n in range(100):
        log.changed(SettingChange(n, "window", n, n + 1))
        log.add(events, rows, Settings(entry_z=2.0 + n / 100).values())
        board.take(PAIRS[0], log)
    assert [entry.settings.entry_z for entry in log.alerts()] == [2.98, 2.99]
    assert len(log._entries._objects) <= 8
    assert len(board._entries._objects) <= 8


def test_snapshots_of_the_same_row_are_equal_what_is_not_known_included() -> None:
    rows, _ = batch([], 3)
    one, same = Snapshot.of(rows[0]), Snapshot.of(rows[0])
    assert math.isnan(one.adf_stat)
    assert one == same
    assert hash(one) == hash(same)
    assert one != Snapshot.of(rows[1])
    rows["adf_stat"] = -3.0
    assert one != Snapshot.of(rows[0])
    assert one != "a row"
