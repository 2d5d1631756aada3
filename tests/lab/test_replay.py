"""A lab on a replay: its rows are the engine's, restarts are clean, and a seek leaves no trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pairlab import PairEngine, PairLab, Replay
from pairlab.data.journal import GapMarked, Reset
from pairlab.engine.gaps import Gap, update_over_gaps
from pairlab.errors import DataError, SettingError
from pairlab.protocols import Playback
from pairlab.schema import AlertKind, RowFlag
from pairlab.storage.recording.folder_sink import FolderSink
from tests.storage.recording.sessions import batches, info, world
from tests.storage.replay.files import frame_of, frames, made

INF = float("inf")
TICKS = made(5, 4_000)
OPTIONS = {"window": 30, "entry_z": 1.0, "exit_z": 0.2, "min_correlation": -1.0}

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lab") / "mine.parquet"
    frame_of(TICKS).to_parquet(path, index=False, row_group_size=900)
    return path


async def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def player(lab: PairLab) -> Playback:
    assert lab.playback is not None
    return lab.playback


async def played(lab: PairLab) -> PairLab:
    lab.start()
    await lab.wait_closed()
    assert lab.health().state == "stopped", lab.health().detail
    return lab


@pytest.mark.parametrize("hedge", ["fixed", "ols", "kalman"])
@pytest.mark.parametrize("timeframe", ["tick", "1s", "1m"])
async def test_rows_are_the_engine_s_to_the_last_bit(
    path: Path, hedge: str, timeframe: str
) -> None:
    options = {**OPTIONS, "hedge": hedge, "timeframe": timeframe}
    lab = await played(PairLab(feed=Replay(path, INF), **options))
    engine = PairEngine(**options)
    want = engine.update(TICKS)
    assert lab.rows.view().tobytes() == want.tobytes()
    assert len(want) > 3
    assert len(lab.alert_log.alerts()) == len(engine.events)
    health = lab.health()
    assert (health.feed, health.real_money, health.detail) == (
        "REPLAY", False, "the recording ended",
    )  # fmt: skip
    assert np.isnan(health.row_p50_ms)  # recorded receive times say nothing of this machine
    assert health.ticks == len(TICKS)


async def test_a_restart_begins_at_the_beginning_with_clean_rows(path: Path) -> None:
    lab = await played(PairLab(feed=Replay(path, INF), **OPTIONS))
    rows, alerts = lab.rows.view().tobytes(), lab.alerts()
    assert len(alerts) > 3
    number = lab.alert_log.newest_number
    epoch = lab.rows.epoch
    await played(lab)
    assert lab.rows.view().tobytes() == rows
    assert lab.rows.epoch == epoch + 1
    assert lab.alerts().equals(alerts)
    assert lab.alert_log.newest_number == 2 * number  # numbers go on: none is delivered twice
    assert not (lab.rows.view()["flags"] & RowFlag.GAP_BEFORE).any()
    assert [e for e in lab.journal if isinstance(e, Reset)] == [Reset(len(TICKS))]
    assert lab.health().rows == len(lab.rows)
    lab.start()
    await until(lambda: len(lab.rows) > 0 or not lab.running)
    await lab.stop()
    await played(lab)  # also after it was stopped in the middle
    assert lab.rows.view().tobytes() == rows


async def test_a_seek_back_leaves_no_trace_of_what_came_after(path: Path) -> None:
    lab = PairLab(feed=Replay(path, INF), **OPTIONS)
    delivered: list[int] = []

    async def note(alert: object) -> None:
        delivered.append(lab.newest_ns)

    lab.on_alert(note)
    await played(lab)
    await asyncio.sleep(0)
    told = len(delivered)
    target = int(TICKS["time_ns"][2_500])
    player(lab).seek(target)  # the lab has ended: it starts again
    player(lab).pause()
    await until(lambda: "paused" in lab.health().detail and player(lab).position_ns == target)
    first = int(np.searchsorted(TICKS["time_ns"], target))
    want = PairEngine(**OPTIONS).update(TICKS[:first])  # all before it: fewer than 20,000
    assert lab.rows.view().tobytes() == want.tobytes()
    assert lab.alerts().index.max().value <= target
    assert lab.alert_log.count(AlertKind.ENTRY) > 0
    assert len(delivered) == told  # what warmed the rows is no news
    assert "rows are computed from" in lab.event_log[-1].message
    player(lab).step_tick()
    await until(lambda: lab.health().ticks == first + 1)
    player(lab).step_row()
    await until(lambda: len(lab.rows) == len(want) + 2)
    player(lab).play()
    await lab.wait_closed()
    assert lab.rows.view().tobytes() == PairEngine(**OPTIONS).update(TICKS).tobytes()


async def test_a_rebuild_that_is_under_way_does_not_outlive_a_seek(path: Path) -> None:
    lab = PairLab(feed=Replay(path, INF), **OPTIONS)
    async with lab:
        player(lab).pause()
        await until(lambda: player(lab).resets == 1)
        player(lab).seek(int(TICKS["time_ns"][3_000]))
        await until(lambda: len(lab.rows) > 2_900)
        lab.settings.window = 40  # rebuilt in a thread …
        player(lab).seek(int(TICKS["time_ns"][1_000]))  # … while its rows go away
        await until(lambda: player(lab).resets == 3 and "paused" in lab.health().detail)
        assert lab._runner._rebuilder.task is not None
        await lab._runner._rebuilder.task
        first = int(np.searchsorted(TICKS["time_ns"], TICKS["time_ns"][1_000]))
        want = PairEngine(**{**OPTIONS, "window": 40}).update(TICKS[:first])
        assert lab.rows.view().tobytes() == want.tobytes()
        assert lab.row_settings.window == 40


async def test_recorded_gaps_are_gaps(tmp_path: Path) -> None:
    lost = np.flatnonzero(TICKS["leg"] == 0)[700:705]
    left = np.delete(TICKS, lost)
    at = int(np.flatnonzero((left["leg"] == 0) & (left["id"] > TICKS["id"][lost[-1]]))[0])
    path = frames(tmp_path / "raw", left)
    lab = await played(PairLab(feed=Replay(path, INF), **OPTIONS))
    want = update_over_gaps(PairEngine(**OPTIONS), left, [Gap(at, 1)])
    assert lab.rows.view().tobytes() == want.tobytes()
    assert (lab.health().gaps, lab.health().missing) == (1, 5)
    assert np.count_nonzero(want["flags"] & RowFlag.GAP_BEFORE) == 1


@pytest.mark.parametrize("sealed", [False, True])
async def test_a_recording_is_played_with_its_gaps(tmp_path: Path, sealed: bool) -> None:
    folder, of = tmp_path / "session", world()

    def record() -> FolderSink:
        sink = FolderSink(folder)
        sink.open(info())
        for batch in batches(of, [900, 2_500]):
            sink.write(batch)
        if sealed:
            sink.close()
        return sink

    sink = await asyncio.to_thread(record)
    lab = await played(PairLab(feed=Replay(folder, INF), **OPTIONS))
    gaps = [Gap(event.tick, event.legs) for event in of.events if isinstance(event, GapMarked)]
    want = update_over_gaps(PairEngine(**OPTIONS), of.ticks, gaps)
    assert lab.rows.view().tobytes() == want.tobytes()
    assert lab.health().gaps == len(gaps)
    assert lab.stream == "aggTrade"
    assert lab.price_decimals() == (1, 2)
    target = int(np.maximum.accumulate(of.ticks["time_ns"])[2_000])
    player(lab).seek(target)
    player(lab).pause()
    await until(lambda: "paused" in lab.health().detail and player(lab).position_ns == target)
    first = int(np.searchsorted(np.maximum.accumulate(of.ticks["time_ns"]), target))
    before = [gap for gap in gaps if gap.tick < first]
    want = update_over_gaps(PairEngine(**OPTIONS), of.ticks[:first], before)
    assert lab.rows.view().tobytes() == want.tobytes()
    await lab.stop()
    if not sealed:
        await asyncio.to_thread(sink.close)
    other = PairLab("ETHUSDT", "BTCUSDT", feed=folder, hedge="ols")
    other.start()
    await other.wait_closed()
    assert "is a recording of BTCUSDT (y) and ETHUSDT (x)" in other.health().detail


async def test_a_path_is_a_replay_and_what_it_has_not_is_told(path: Path, tmp_path: Path) -> None:
    assert isinstance(PairLab(feed=path).playback, Replay)
    assert isinstance(PairLab(feed=str(path)).playback, Replay)
    assert isinstance(PairLab(feed=[path]).playback, Replay)
    assert PairLab(feed="demo").playback is None
    with pytest.raises(DataError, match="gone: no such file"):
        PairLab(feed=Replay(tmp_path / "gone"))
    with pytest.raises(SettingError, match="expected 'binance', 'demo'"):
        PairLab(feed=tmp_path / "gone")
    lab = PairLab("SOLUSDT", "ETHUSDT", feed=Replay(path), hedge="ols")
    lab.start()
    await lab.wait_closed()
    assert lab.health().state == "failed"
    assert "no ticks of SOLUSDT" in lab.health().detail
