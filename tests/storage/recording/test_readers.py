"""The sealed files are plain Parquet: others read them as they are, with the same numbers."""

from __future__ import annotations

from pathlib import Path

import dask
import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from pairlab.storage.recording.folder_sink import FolderSink
from pairlab.storage.recording.recorded_session import RecordedSession
from tests.storage.recording.sessions import PAIR, batches, info, world


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sink = FolderSink(tmp_path, segment_bytes=400_000)
    sink.open(info())
    for batch in batches(world(), range(200, 4_000, 200)):
        sink.write(batch)
    sink.close()
    return tmp_path


def expected() -> pd.DataFrame:
    ticks = world().ticks
    return pd.DataFrame(
        {
            "seq": np.arange(len(ticks)),
            "time_ns": ticks["time_ns"],
            "received_ns": ticks["received_ns"],
            "symbol": np.array(PAIR)[ticks["leg"]],
            "id": ticks["id"],
            "price": ticks["price"],
            "quantity": ticks["quantity"],
            "buyer_is_maker": ticks["buyer_is_maker"],
        }
    )


def assert_same(frame: pd.DataFrame) -> None:
    """Times are exact to the nanosecond and know that they are UTC; the rest is equal."""
    frame = frame.sort_values("seq", ignore_index=True)
    assert str(frame["time"].dt.tz) in ("UTC", "Etc/UTC")
    for name in ("time", "received"):
        times = pd.DatetimeIndex(frame[name]).as_unit("ns").asi8
        frame = frame.assign(**{f"{name}_ns": times})
    want = expected()
    frame = frame[list(want)].astype({"symbol": str})
    pd.testing.assert_frame_equal(frame, want.astype({"symbol": str}), check_dtype=False)


def test_pandas(folder: Path) -> None:
    assert_same(pd.read_parquet(folder / "ticks"))
    rows = pd.read_parquet(folder / "rows").sort_values(["epoch", "row"])
    assert (
        rows["zscore"].to_numpy().tobytes()
        == np.ascontiguousarray(world().rows["zscore"]).tobytes()
    )
    alerts = pd.read_parquet(folder / "alerts")
    assert len(alerts) == len(world().alerts) > 10
    journal = pd.read_parquet(folder / "journal")
    assert journal["event"].value_counts()["SettingChanged"] == 41


def test_polars(folder: Path) -> None:
    frame = pl.scan_parquet(folder / "ticks" / "**" / "*.parquet", hive_partitioning=True).collect()
    assert frame.schema["time"] == pl.Datetime("ns", "UTC")
    assert_same(frame.to_pandas())
    assert pl.read_parquet(folder / "rows" / "**" / "*.parquet").height == len(world().rows)


def test_duckdb(folder: Path) -> None:
    with duckdb.connect() as database:
        files = f"read_parquet('{folder}/ticks/**/*.parquet', hive_partitioning=true)"
        first, last, count, dates = database.execute(
            f"select min(seq), max(seq), count(*), count(distinct date) from {files}"
        ).fetchone()
        assert (first, last, count, dates) == (0, 3_999, 4_000, 2)
        per_leg = database.execute(
            f"select symbol, sum(price), sum(epoch_ns(time)::hugeint) from {files} "
            "group by symbol order by symbol"
        ).fetchall()
        want = expected()
        for symbol, prices, times in per_leg:
            leg = want[want["symbol"] == symbol]
            assert prices == pytest.approx(leg["price"].sum(), rel=1e-12)
            assert times == sum(leg["time_ns"].tolist())
        rows = database.execute(f"select count(*) from '{folder}/rows/**/*.parquet'").fetchone()
        assert rows == (len(world().rows),)


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # Dask's own, of pandas 3
def test_dask(folder: Path) -> None:
    with dask.config.set(scheduler="synchronous"):
        assert_same(dd.read_parquet(folder / "ticks").compute())


def test_every_page_has_a_checksum_and_files_are_small(folder: Path) -> None:
    path = next((folder / "ticks").rglob("*.parquet"))
    metadata = pq.read_metadata(path)
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert (
        metadata.metadata[b"pairlab.recording"].decode()
        == RecordedSession(folder)._manifest.recording.strip()
    )
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 8
    path.write_bytes(raw)
    with pytest.raises(OSError, match=r"CRC|checksum"):
        pq.read_table(path, page_checksum_verification=True)
