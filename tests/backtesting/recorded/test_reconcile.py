"""Live alerts and a backtest's decisions on the same session: one for one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pairlab import DataError, PairLab, PairlabError, SettingError, backtest, reconcile
from pairlab.backtesting.recorded.reconcile import HeldSession, reconcile_held
from pairlab.data.journal import Rebuilt, SettingChanged
from pairlab.engine import compile_kernel
from pairlab.lab.record.recording import settings_before
from pairlab.storage.recording.sink import RecordBatch
from tests.lab.test_runner import ScriptedFeed, some_ticks
from tests.lab.verification.test_verify import Kept, Live, a_session, write
from tests.storage.recording.sessions import PAIR

GIVEN = {"window": 20, "entry_z": 1.2, "hedge": "ols", "min_correlation": -1.0}


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    compile_kernel()


@pytest.mark.parametrize("seed", range(4))
def test_a_session_of_changes_rebuilds_and_gaps_is_equal(tmp_path: Path, seed: int) -> None:
    live, kept = a_session(seed)
    found = reconcile(write(tmp_path, live, kept))
    alerts = live.pipeline.alert_log.alerts()
    assert found, found
    assert found.exact
    assert found.notes == ()
    assert len(found.frame) == len(alerts) > 10
    assert found.frame["time"].astype("int64").tolist() == [a.time_ns for a in alerts]
    assert found.frame["live_zscore"].tolist() == [a.at.zscore for a in alerts]
    assert sum(isinstance(e, Rebuilt) for e in live.pipeline.journal) > 0
    assert "EQUAL, one for one" in repr(found)
    for leg in "yx":  # filled after the decision, and never an alert that is no decision to trade
        filled = found.frame[f"{leg}_time"].notna()
        assert (found.frame[f"{leg}_time"] >= found.frame["time"])[filled].all()
        assert set(found.frame["kind"][filled]) <= {"ENTRY", "EXIT", "STOP"}
    entries = found.frame[found.frame["kind"] == "ENTRY"]
    assert (entries["y_price"].notna() ^ entries["missed"].notna()).all()


def test_a_change_that_the_journal_does_not_have_is_seen(tmp_path: Path) -> None:
    live, kept = a_session(2)

    def forget(batch: RecordBatch) -> None:
        batch.events[:] = [
            e for e in batch.events if not (isinstance(e, SettingChanged) and e.name == "entry_z")
        ]
        batch.alerts[3] = replace(batch.alerts[3], side=-batch.alerts[3].side)

    found = reconcile(write(tmp_path, live, kept, forget))
    assert not found
    assert not found.frame["equal"][3]
    assert "NOT EQUAL" in repr(found)


def test_nothing_compared_is_not_equal(tmp_path: Path) -> None:
    quiet = Live()
    kept = quiet.pipeline.rows = Kept(quiet)
    quiet.pipeline.start_engine()
    quiet.give(40)  # the window is not full: no decision can be made
    found = reconcile(write(tmp_path, quiet, kept))
    assert len(found.frame) == 0
    assert not found
    assert repr(found).startswith("NOTHING TO COMPARE")


def test_two_sessions_in_one_folder_are_each_replayed(tmp_path: Path) -> None:
    count = 0
    for seed in (1, 2):
        live, kept = a_session(seed)
        count += len(live.pipeline.alert_log.alerts())
        write(tmp_path, live, kept)
    found = reconcile(tmp_path)
    assert found, found
    assert len(found.frame) == count


async def test_fills_are_those_of_the_backtest_of_the_recording(tmp_path: Path) -> None:
    feed = ScriptedFeed()
    async with PairLab(feed=feed, **GIVEN) as lab:
        recording = lab.record(tmp_path)
        await feed.give(some_ticks(1_000))
        await lab.wait_async(900, 60.0)
        lab._runner.pipeline.on_gap(3, 1)
        await feed.give(some_ticks(3_000)[1_000:])
        await lab.wait_async(2_900, 60.0)
        found = await lab.reconcile_async(max_wait_s=3.0, latency_s=0.1)
        assert found, found
        assert found.source == str(tmp_path)
        with pytest.raises(SettingError, match="latency_s"):
            await lab.reconcile_async(latency_s=-1.0)
        await recording.stop()
    whole = await asyncio.to_thread(backtest, tmp_path, max_wait_s=3.0, latency_s=0.1)
    entries = found.frame[(found.frame["kind"] == "ENTRY")]
    filled = entries[entries["missed"].isna()]
    assert len(filled) == len(whole.trades) > 10
    for name in ("y", "x"):
        np.testing.assert_array_equal(filled[f"{name}_price"], whole.trades[f"{name}_entry_price"])
        np.testing.assert_allclose(
            filled[f"{name}_quantity"], whole.trades[f"{name}_quantity"], rtol=1e-12
        )
        assert filled[f"{name}_time"].tolist() == whole.trades[f"entry_{name}_time"].tolist()
    left = found.frame[found.frame["kind"].isin(["EXIT", "STOP"]) & found.frame["y_price"].notna()]
    closed = whole.trades[whole.trades["y_exit_price"].notna()]
    np.testing.assert_array_equal(left["y_price"], closed["y_exit_price"])
    assert entries["missed"].notna().sum() == len(whole.missed)


async def test_without_a_recording_what_is_held_is_compared_and_said() -> None:
    feed = ScriptedFeed()
    with pytest.raises(PairlabError, match="start"):
        PairLab(feed=feed).reconcile()
    async with PairLab(feed=feed, **GIVEN) as lab:
        await feed.give(some_ticks(2_000))
        await lab.wait_async(1_900, 60.0)
        lab.settings.entry_z = 2.0
        await feed.give(some_ticks(3_000)[2_000:])
        found = await lab.reconcile_async()
        alerts = lab.alert_log.alerts()
    assert found, found
    assert found.exact
    assert found.source == "memory"
    assert "no recording" in repr(found)
    assert len(found.frame) == len(alerts) > 10


@pytest.mark.parametrize("seed", range(4, 8))
def test_what_the_lab_has_forgotten_bounds_what_is_said(seed: int) -> None:
    live, _ = a_session(seed)
    pipeline = live.pipeline
    ticks, events = pipeline.ticks.view(), list(pipeline.journal)
    held = HeldSession(
        PAIR, settings_before(live.settings.values(), events), events,
        pipeline.next_tick - len(ticks), ticks, pipeline.alert_log.alerts(), complete=False,
    )  # fmt: skip
    assert held.first_tick > 500
    found = reconcile_held(held)
    assert not found.exact
    assert f"the first {held.first_tick:,} ticks are not there" in repr(found)
    equal = found.frame["equal"].tolist()
    assert len(equal) > 20
    assert not equal[0]  # the window was not full yet, or a position was held before
    assert all(equal[equal.index(True) :])


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        reconcile(tmp_path)
