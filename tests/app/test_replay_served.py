"""`pairlab replay` in a process of its own, for each kind of file that it promises to play."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pairlab.storage.recording.folder_sink import FolderSink
from pairlab.storage.recording.sink import RecordBatch
from tests.app.test_dashboard_server import PATIENT, demo
from tests.lab.session.labs import lab_with_a_past
from tests.storage.recording.sessions import info
from tests.storage.replay.files import archive, frame_of, frames, made

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TICKS = made(count=1_500)


def saved(folder: Path) -> Path:
    lab_with_a_past().save(folder / "x.pairlab")
    return folder / "x.pairlab"


def recorded(folder: Path) -> Path:
    sink = FolderSink(folder / "recording")
    sink.open(info())
    sink.write(RecordBatch(ticks=[(0, TICKS)]))
    sink.close()
    return folder / "recording"


def archived(folder: Path) -> Path:
    (folder / "past").mkdir()
    archive(folder / "past", TICKS)
    return folder / "past"


def csv(folder: Path) -> Path:
    frame_of(TICKS).to_csv(folder / "mine.csv", index=False)
    return folder / "mine.csv"


def ndjson(folder: Path) -> Path:
    path = folder / "mine.ndjson"
    frame_of(TICKS).to_json(path, orient="records", lines=True, date_format="iso", date_unit="ns")
    return path


def parquet(folder: Path) -> Path:
    pq.write_table(pa.Table.from_pandas(frame_of(TICKS)), folder / "mine.parquet")
    return folder / "mine.parquet"


def raw(folder: Path) -> Path:
    return frames(folder / "frames.txt", TICKS)


@pytest.mark.parametrize("make", [saved, recorded, archived, csv, ndjson, parquet, raw])
async def test_it_is_served(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = await asyncio.to_thread(make, tmp_path)
    async with demo(PATIENT, Path.home(), "replay", str(path)) as running:
        assert running.said_too_much == []
        if make is saved:
            async with httpx.AsyncClient(timeout=120, trust_env=False) as client:
                page = await client.get(running.url)
            assert "BTCUSDT / ETHUSDT \\u00b7 REPLAY" in page.text
