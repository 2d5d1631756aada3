"""A run under faults equals the fault-free run, row by row."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from pairlab.engine import PairEngine, compile_kernel
from pairlab.local_exchange.server.faults import FAULT_KINDS, REPAIRABLE
from pairlab.schema import EVENT, ROW, Records
from tests.soak.many import soak_many
from tests.soak.run import parse_kinds, soak


class Rows:
    """Rows and transitions of an engine, as they come."""

    def __init__(self) -> None:
        self._engine = PairEngine()
        self.rows: list[Records] = []
        self.events: list[Records] = []

    def take(self, ticks: Records) -> None:
        self.rows.append(self._engine.update(ticks).copy())
        self.events.append(self._engine.events.copy())


@pytest.fixture(scope="module")
def compiled() -> None:
    """Compile the kernel before there is a loop to block."""
    compile_kernel()


@pytest.mark.slow
@pytest.mark.usefixtures("compiled")
async def test_rows_under_faults_equal_the_fault_free_run() -> None:
    # Concurrently: each spends most of its time waiting for what a fault delays.
    await asyncio.gather(*(compare_run(seed) for seed in (1, 2, 3)))


async def compare_run(seed: int) -> None:
    """Run a feed under faults, and compare its rows and events with the fault-free run."""
    got, expected = Rows(), Rows()

    def both(ticks: Records, clean: Records) -> None:
        got.take(ticks)
        expected.take(clean)

    report = await soak(
        REPAIRABLE, seed=seed, faults_wanted=200, rate_per_s=2_500.0, every=40.0, on_ticks=both
    )
    assert report.passed, f"seed {seed}: {report}"
    assert report.faults.total() >= 200
    assert len(report.faults) >= len(REPAIRABLE) - 2
    assert report.health.gaps == 0
    assert report.verdict.ticks > 3_000
    rows, clean_rows = np.concatenate(got.rows), np.concatenate(expected.rows)
    assert len(rows) == len(clean_rows) > 3_000
    for name in set(ROW.names or ()) - {"received_ns"}:
        assert rows[name].tobytes() == clean_rows[name].tobytes(), name
    events, clean_events = np.concatenate(got.events), np.concatenate(expected.events)
    assert len(events) == len(clean_events) > 0
    for name in EVENT.names or ():
        assert events[name].tobytes() == clean_events[name].tobytes(), name


@pytest.mark.slow
async def test_ticks_of_many_pairs_under_faults_equal_the_fault_free_ones() -> None:
    report = await soak_many(
        REPAIRABLE, pairs=8, seed=4, faults_wanted=100, rate_per_s=1_000.0, every=150.0
    )
    assert report.passed, str(report)
    assert report.faults.total() >= 100
    assert report.health.gaps == 0
    assert len(report.verdicts) == 8
    assert sum(verdict.ticks for verdict in report.verdicts.values()) > 3_000


def test_fault_kinds_are_parsed() -> None:
    assert parse_kinds("all") == FAULT_KINDS
    assert parse_kinds("repairable") == REPAIRABLE
    assert parse_kinds("none") == ()
    assert parse_kinds("gap,drop") == ("gap", "drop")
    with pytest.raises(ValueError, match="unknown fault 'gaps'"):
        parse_kinds("gaps")
