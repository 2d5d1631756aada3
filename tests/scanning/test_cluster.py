"""A scan on a Dask cluster of two processes: the same bytes, whatever becomes of a worker."""

from __future__ import annotations

import gc
import os
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from distributed import Client, LocalCluster
from distributed.comm import CommClosedError

from pairlab import DataError, PairlabError, ScanResult, scan
from pairlab.scanning import cluster, tiles
from tests.scanning.test_scan import walks, with_holes

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


def same(a: ScanResult, b: ScanResult) -> None:
    pd.testing.assert_frame_equal(a.frame, b.frame, check_exact=True)
    pd.testing.assert_frame_equal(a.placebo, b.placebo, check_exact=True)
    assert a.p_matrix.tobytes() == b.p_matrix.tobytes()


@pytest.mark.parametrize("everyone", [False, True], ids=["who holds the data", "all of them"])
def test_workers_that_are_killed_in_the_middle_change_nothing(
    client: Client, everyone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "_TILE", 16)  # of this process: it makes the tiles
    monkeypatch.setattr(cluster, "_TILES_AT_ONCE", 1)
    few = walks(32, 120)
    same(scan(few, placebo=1, client=client), scan(few, placebo=1, n_jobs=1))
    by_aic = scan(few, lags="aic", placebo=1, client=client)
    same(by_aic, scan(few, lags="aic", placebo=1, n_jobs=1))
    assert by_aic.frame["lags"].nunique() > 1  # chosen pair by pair, on the workers too
    prices = with_holes(walks(56, 150))
    want = scan(prices, placebo=0, n_jobs=1)
    killed: list[int] = []
    sent: list[Any] = []
    results: list[str] = []
    scatter, on_workers = Client.scatter, cluster.on_workers

    def keep(self: Client, *args: Any, **options: Any) -> Any:
        found = scatter(self, *args, **options)
        sent.append(found[0])
        return found

    def watched(*args: Any, **options: Any) -> None:
        *rest, take = args

        def taken(key: str, result: Any) -> None:
            results.append(key)
            if len(results) == 1:
                holders = None if everyone else list(client.who_has(sent[-1])[sent[-1].key])
                for pid in client.run(os.getpid, workers=holders).values():
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            take(key, result)

        on_workers(*rest, taken, **options)

    monkeypatch.setattr(Client, "scatter", keep)
    monkeypatch.setattr(cluster, "on_workers", watched)
    same(scan(prices, placebo=0, client=client), want)
    assert killed
    # A worker that survives may have fetched the data from the one that does not.
    assert len(sent) > 1 or not everyone, "the data were sent again"


def test_data_that_go_to_a_worker_just_dead_are_sent_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, scatter, failures = walks(8, 100), Client.scatter, [3]

    def refused(self: Client, *args: Any, **options: Any) -> Any:
        if failures[0]:
            failures[0] -= 1
            raise CommClosedError("in ConnectionPool.scatter: Stream is closed")
        return scatter(self, *args, **options)

    monkeypatch.setattr("pairlab.research.cluster._WAITS_S", (0.01,) * 3)
    monkeypatch.setattr(Client, "scatter", refused)
    same(scan(few, placebo=1, client=client), scan(few, placebo=1, n_jobs=1))
    assert failures == [0]
    failures[0] = 4
    with pytest.raises(PairlabError, match=r"no worker of the cluster took the data: .*closed"):
        scan(few, placebo=1, client=client)


def test_what_is_no_client_is_named() -> None:
    with pytest.raises(DataError, match=r"must be a dask.distributed.Client, not str"):
        scan(walks(3, 100), client="tcp://127.0.0.1:8786")
