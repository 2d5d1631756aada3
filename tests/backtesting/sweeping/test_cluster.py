"""A sweep on a Dask cluster of two processes: the same bytes, whatever becomes of a worker."""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from distributed import Client, LocalCluster

from pairlab import DataError, MissingExtraError, SweepResult, sweep
from pairlab.backtesting.sweeping import cluster
from pairlab.backtesting.sweeping import sweep as sweep_module
from tests.backtesting.sweeping.test_sweep import FIXED, GRID, TERMS, prices
from tests.backtesting.test_inputs import PAIR, archived, frame_of

__all__ = ["prices"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    workers = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    )
    with workers, Client(workers) as client:
        yield client
    with warnings.catch_warnings():
        # It leaves the sockets of a worker that was killed to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def same(a: SweepResult, b: SweepResult) -> None:
    pd.testing.assert_frame_equal(a.frame, b.frame, check_exact=True)
    assert (a.best, a.pbo, a.deflated_sharpe, a.span) == (b.best, b.pbo, b.deflated_sharpe, b.span)
    assert a.complete
    assert a.n_trials == b.n_trials > 3


def test_one_core_all_cores_and_a_cluster_give_the_same_bytes(
    client: Client, prices: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_SETS_AT_ONCE", 5)
    want = sweep(prices, GRID, n_jobs=1, **TERMS, **FIXED)
    same(sweep(prices, GRID, n_jobs=-1, **TERMS, **FIXED), want)
    same(sweep(prices, GRID, client=client, **TERMS, **FIXED), want)


def test_a_path_is_read_by_the_workers_themselves(
    client: Client, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = archived(frame_of(), tmp_path / "archive")
    given = {"grid": {"entry_z": [1.0, 1.2, 1.5, 2.0]}, "pair": PAIR, "window": 20, **FIXED}
    want = sweep(folder, n_jobs=1, **given)
    with monkeypatch.context() as patch:
        patch.delattr(Client, "scatter")  # nothing is sent
        same(sweep(folder, client=client, **given), want)
        same(sweep(sorted(folder.iterdir()), client=client, **given), want)
        assert client.run(lambda: cluster._read.cache_info().currsize == 1)
    monkeypatch.setattr(Client, "run", lambda *_, **__: {"a worker elsewhere": ()})
    same(sweep(folder, client=client, **given), want)


@pytest.mark.parametrize("everyone", [False, True], ids=["who holds the data", "all of them"])
def test_workers_that_are_killed_with_the_data_change_nothing(
    client: Client, prices: Any, everyone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_SETS_AT_ONCE", 1)
    want = sweep(prices, GRID, n_jobs=1, **TERMS, **FIXED)
    sent: list[Any] = []
    killed: list[int] = []
    scatter = Client.scatter

    def keep(self: Client, *args: Any, **kwargs: Any) -> Any:
        found = scatter(self, *args, **kwargs)
        sent.append(found[0])
        return found

    class Bar:
        """Kills whoever holds the data, or every worker, once the first set is done."""

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def update(self) -> None:
            if not killed:
                holders = None if everyone else list(client.who_has(sent[0])[sent[0].key])
                pids = client.run(os.getpid, workers=holders)
                for pid in pids.values():
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    monkeypatch.setattr(Client, "scatter", keep)
    monkeypatch.setattr(sweep_module, "_bar", lambda *_: Bar())
    same(sweep(prices, GRID, client=client, **TERMS, **FIXED), want)
    assert killed
    # A worker that survives may have fetched the data from the one that does not.
    assert len(sent) > 1 or not everyone, "the data were sent again"


def test_what_is_no_client_is_named_and_so_is_the_extra(
    prices: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="Client, not str"):
        sweep(prices, GRID, client="tcp://127.0.0.1:8786", **FIXED)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pairlab\[cluster\]"):
        sweep(prices, GRID, client="tcp://127.0.0.1:8786", **FIXED)
