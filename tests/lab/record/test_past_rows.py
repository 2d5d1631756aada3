"""`history(since=…)` goes on in the recording where the memory ends: each row once, as shown."""

from __future__ import annotations

import asyncio
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pairlab import DataError, PairLab
from pairlab.schema import ROW, Records
from tests.lab.test_runner import ScriptedFeed, some_ticks

pytestmark = pytest.mark.usefixtures("no_task_left")


class Shown:
    """A tap that keeps every row as it was first shown, and those of each rebuild."""

    def __init__(self) -> None:
        self.rows: list[Records] = []
        self.rebuilt: list[Records] = []

    def on_ticks(self, first: int, ticks: Records) -> None:
        """Ticks are known."""

    def on_alerts(self, alerts: Any) -> None:
        """Of no matter here."""

    def on_rows(self, epoch: int, first: int, rows: Records) -> None:
        self.rows.append(rows.copy())

    def on_rebuilt(self, epoch: int, tick: int, count: int, held: Records) -> None:
        self.rebuilt.append(held.copy())


async def recorded(
    folder: Path, changes: dict[int, dict[str, Any]], batches: int = 40, **options: Any
) -> tuple[PairLab, Shown, ScriptedFeed]:
    """Return a lab that runs and is recorded, and has shown far more rows than it holds."""
    feed, shown = ScriptedFeed(), Shown()
    lab = PairLab(feed=feed, **{"window": 20, "history_rows": 300, "ticks_held": 1_000, **options})
    lab.start()
    lab._runner.pipeline.taps = (shown,)
    recording = lab.record(folder)
    assert await recording.wait_opened() == "recording"
    for number in range(batches):
        await feed.give(some_ticks(100, start=100 * number))
        if number in changes:
            epoch = lab.rows.epoch
            lab.settings.update(**changes[number])
            while lab.rows.epoch == epoch:  # noqa: ASYNC110  (rebuilt on a thread)
                await asyncio.sleep(0.001)
        if number == 0:
            await lab.wait_async(1, 60)  # the engine is compiled
    return lab, shown, feed


def frame_of(lab: PairLab, rows: Records) -> pd.DataFrame:
    return lab._queries._frame(rows)


def same(frame: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(frame, other, check_exact=True)


async def test_rows_that_were_forgotten_are_read_again(tmp_path: Path) -> None:
    lab, shown, _ = await recorded(tmp_path / "r", {})
    every = np.concatenate(shown.rows)
    assert len(lab.history()) == 300 < len(every) == 3_999
    same(lab.history(since=0), frame_of(lab, every))
    middle = pd.Timestamp(int(every["time_ns"][1_234]), tz="UTC")
    same(lab.history(since=middle), frame_of(lab, every[every["time_ns"] >= middle.value]))
    same(lab.history(1_000, since=0), frame_of(lab, every[-1_000:]))
    same(lab.history(10, since=0), lab.history(10))
    held = lab.history()
    shutil.rmtree(tmp_path / "r" / "live")  # what is in memory is not looked for on the disk
    same(lab.history(since=held.index[5]), held[held.index >= held.index[5]])
    assert lab.history(since="2100-01-01").empty
    with pytest.raises(DataError, match="is not a valid time"):
        lab.history(since="soon")
    await lab.stop()


async def test_spans_moments_alerts_and_csv_reach_into_the_recording(tmp_path: Path) -> None:
    lab, shown, feed = await recorded(
        tmp_path / "r", {}, entry_z=1.0, min_correlation=-1.0, fee_bps=0.0, cooldown_s=0.0
    )
    every = np.concatenate(shown.rows)
    times = every["time_ns"]
    first_ns, last_ns = int(times[1_234]), int(times[3_800])  # the last one is in memory
    assert times[1_234] < lab.rows.view()["time_ns"][0] < last_ns
    wanted = frame_of(lab, every[(times >= first_ns) & (times <= last_ns)])
    same(lab.between(first_ns, last_ns), wanted)
    same(lab.between(first_ns, int(times[2_000])), wanted[wanted.index.asi8 <= times[2_000]])
    same(lab.between(end=last_ns), lab.history()[lab.history().index.asi8 <= last_ns])
    lab.select(first_ns, last_ns)
    same(lab.selection, wanted)
    for at in (700, 1_234, 3_900):
        same(lab.at(int(times[at])).to_frame(), frame_of(lab, every[[at]]).iloc[0].to_frame())
    between_two = lab.at(int(times[700]) + 1)  # no row is of that time: the last one before it
    same(between_two.to_frame(), frame_of(lab, every[[700]]).iloc[0].to_frame())
    with pytest.raises(DataError, match="is held: the oldest held is of"):
        lab.at(int(times[0]) - 1)
    alerts = [a for a in lab.alert_log if a.time_ns < lab.rows.view()["time_ns"][0]]
    assert len(alerts) > 3
    for alert in alerts[:4]:
        assert lab.at(alert)["zscore"] == alert.at.zscore
        assert lab.at(alert).name.value == alert.time_ns
    out = tmp_path / "rows.csv"
    turned = []
    asyncio.get_running_loop().call_soon(turned.append, True)
    lab.to_csv(out, start=first_ns, end=last_ns)
    assert turned  # the stream goes on while it is written
    assert out.read_bytes() == lab.csv_bytes("history", first_ns, last_ns)
    text = io.StringIO()
    lab.to_csv(text, start=first_ns, end=last_ns)
    assert text.getvalue() == out.read_text()
    back = pd.read_csv(out, index_col="time", parse_dates=True)[list(wanted.columns)]
    pd.testing.assert_frame_equal(
        back, wanted, check_freq=False, check_dtype=False, check_exact=True, check_index_type=False
    )
    assert len(pd.read_csv(io.BytesIO(lab.csv_bytes()))) == 300  # what is held
    assert feed is not None
    await lab.stop()


async def test_what_is_exported_is_read_piece_by_piece(tmp_path: Path) -> None:
    lab, shown, feed = await recorded(tmp_path / "r", {}, batches=10)
    for start in range(1_000, 4_000, 500):
        await feed.give(some_ticks(500, start=start))
        await lab.recording.flush()
    pieces = lab.csv_pieces("history", 0)

    def read() -> list[int]:
        assert next(pieces).startswith("time,")
        return [piece.count("\n") for piece in pieces]

    counts = await asyncio.to_thread(read)
    assert sum(counts) == sum(map(len, shown.rows))
    assert max(counts) < sum(counts) // 2
    await lab.stop()


@pytest.mark.slow
async def test_after_the_end_it_is_read_from_sealed_files(tmp_path: Path) -> None:
    lab, shown, _ = await recorded(tmp_path / "r", {})
    await lab.stop()
    every = np.concatenate(shown.rows)
    assert list((tmp_path / "r").glob("rows/date=*/*.parquet"))
    same(await asyncio.to_thread(lab.history, since=0), frame_of(lab, every))


@pytest.mark.slow
@pytest.mark.parametrize("last_change", [20, 38])
async def test_over_rebuilds_each_row_is_there_once_as_it_was_shown(
    tmp_path: Path, last_change: int
) -> None:
    """With the last rebuild long ago, and with its recomputed rows still in memory."""
    changes: dict[int, dict[str, Any]] = {10: {"window": 30}, last_change: {"hedge": "ols"}}
    lab, shown, _ = await recorded(tmp_path / "r", changes)
    held, past = lab.rows.view(), lab.history(since=0)
    every = np.concatenate(shown.rows)
    assert lab.rows.epoch == 2
    assert len(past) == len(every)
    assert past.index.equals(frame_of(lab, every).index)
    older = every[: len(every) - len(held)]
    same(past.iloc[: len(older)], frame_of(lab, older))
    same(past.iloc[len(older) :], lab.history())
    await lab.stop()


async def test_the_stream_goes_on_while_a_cell_reads(tmp_path: Path) -> None:
    lab, shown, feed = await recorded(tmp_path / "r", {}, batches=20)
    before = len(np.concatenate(shown.rows))

    async def stream() -> None:
        start = 2_000
        while True:
            await feed.give(some_ticks(10, start=start))
            start += 10
            await asyncio.sleep(0)

    streaming = asyncio.create_task(stream())
    await asyncio.sleep(0)
    past = lab.history(since=0)
    every = np.concatenate(shown.rows)
    assert before <= len(past) < len(every), "no tick came while the cell read"
    same(past, frame_of(lab, every[: len(past)]))
    streaming.cancel()
    await lab.stop()


async def test_without_a_recording_it_is_what_is_held(tmp_path: Path) -> None:
    feed = ScriptedFeed()
    async with PairLab(feed=feed, window=20, history_rows=300) as lab:
        await feed.give(some_ticks(1_000))
        await lab.wait_async(900, 60)
        same(lab.history(since=0), lab.history())
        recording = lab.record(tmp_path / "r", rows=False)
        await recording.wait_opened()
        assert lab.past is None  # no rows there
        same(lab.history(since=0), lab.history())
    assert PairLab(feed=feed).history(since=0).empty
    assert ROW.names is not None
