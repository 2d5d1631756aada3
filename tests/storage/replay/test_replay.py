"""A replay on a real loop: paced, paused, stepped, sought in, ended, restarted, cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pairlab import Replay
from pairlab.errors import DataError, FeedError, SettingError
from pairlab.schema import Pair, Records
from tests.storage.replay.files import Heard, frame_of, made, same

PAIR = Pair("BTCUSDT", "ETHUSDT")
TICKS = made()
SPAN_S = (TICKS["time_ns"][-1] - TICKS["time_ns"][0]) / 1e9

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "mine.parquet"
    frame_of(TICKS).to_parquet(path, index=False, row_group_size=700)
    return path


async def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@asynccontextmanager
async def running(path: Path, sink: Heard, speed: float, **of: bool) -> AsyncIterator[Replay]:
    replay = Replay(path, speed)
    await replay.open(PAIR)
    if of.get("paused"):
        replay.pause()
    task = asyncio.get_running_loop().create_task(replay.run(sink))
    try:
        await until(lambda: sink.resets > 0 or task.done())
        yield replay
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_as_fast_as_it_goes_every_tick_comes_once_and_it_ends(path: Path) -> None:
    sink, replay = Heard(), Replay(path, float("inf"))
    await replay.open(PAIR)
    assert replay.info.replay
    assert (replay.info.name, replay.info.real_money) == ("REPLAY", False)
    for run in (1, 2):
        await replay.run(sink)
        assert sink.resets == run
        assert same(sink.ticks, TICKS)
        health = replay.health()
        assert (health.state, health.detail) == ("stopped", "the recording ended")
        assert health.ticks == len(TICKS)
        assert replay.position_ns == TICKS["time_ns"][-1]


async def test_it_is_paced_by_the_recorded_times(path: Path) -> None:
    sink = Heard()
    speed = SPAN_S / 1.5
    began = time.monotonic()
    replay = Replay(path, speed)
    await replay.open(PAIR)
    late: list[float] = []

    def on_ticks(ticks: Records) -> None:
        Heard.on_ticks(sink, ticks)
        due_s = (ticks["time_ns"][-1] - TICKS["time_ns"][0]) / 1e9 / speed
        late.append(time.monotonic() - started - due_s)

    sink.on_ticks = on_ticks  # type: ignore[method-assign]
    started = time.monotonic()
    await replay.run(sink)
    assert time.monotonic() - began >= 1.45
    assert same(sink.ticks, TICKS)
    assert min(late) > -0.06  # never before it is due
    assert len(sink.parts) > 50  # as they come, not all at once


async def test_paused_it_waits_and_steps_by_tick_and_by_row(path: Path) -> None:
    sink = Heard()
    async with running(path, sink, float("inf"), paused=True) as replay:
        await asyncio.sleep(0.05)
        assert len(sink.ticks) == 0
        assert not replay.playing
        for n in (1, 2, 3):
            replay.step_tick()
            await until(lambda n=n: len(sink.ticks) == n)
            await asyncio.sleep(0.01)
            assert len(sink.ticks) == n
        rows = sink.row_count
        replay.step_row()
        await until(lambda: sink.row_count == rows + 1)
        await asyncio.sleep(0.01)
        assert sink.row_count == rows + 1
        assert TICKS["leg"][len(sink.ticks) - 1] == 0  # the tick that made the row, and none after
        assert "paused at 2024-08-08" in replay.health().detail
        replay.play()
        await until(lambda: len(sink.ticks) == len(TICKS))
        assert same(sink.ticks, TICKS)


@pytest.mark.parametrize("need", [(150, 0), (0, 40 * 10**9)])
async def test_a_seek_begins_anew_warm_at_the_time(path: Path, need: tuple[int, int]) -> None:
    sink = Heard(need)
    async with running(path, sink, 1e-6) as replay:
        for at in (2_000, 40, 1_999, 0, 2_998):
            target = int(TICKS["time_ns"][at])
            resets = sink.resets
            replay.pause()
            replay.seek(target)
            assert replay.position_ns == target
            await until(lambda n=resets: sink.resets > n and "paused" in replay.health().detail)
            first = int(np.searchsorted(TICKS["time_ns"], target))
            begin = max(int(np.searchsorted(TICKS["time_ns"], target - need[1])) - need[0], 0)
            assert same(sink.ticks, TICKS[begin:first])
            assert sink.parts == []  # before the target: warmed with, not played
            assert replay.position_ns == max(target, int(TICKS["time_ns"][0]))
            replay.step_tick()
            await until(lambda: len(sink.parts) == 1)
            assert same(sink.ticks, TICKS[begin : first + 1])
        replay.seek(0)
        assert replay.position_ns == TICKS["time_ns"][0]
        replay.seek(2**62)
        assert replay.position_ns == TICKS["time_ns"][-1]


async def test_the_last_of_many_seeks_counts(path: Path) -> None:
    sink = Heard()
    async with running(path, sink, 1e-6) as replay:
        replay.pause()
        for at in range(100, 2_900, 7):
            replay.seek(int(TICKS["time_ns"][at]))
            if at % 5 == 0:
                await asyncio.sleep(0)
        await until(lambda: "paused" in replay.health().detail)
        first = int(np.searchsorted(TICKS["time_ns"], TICKS["time_ns"][at]))
        assert same(sink.ticks, TICKS[first - 100 : first])


async def test_after_the_end_play_and_seek_ask_for_another_run(path: Path) -> None:
    sink, replay, asked = Heard(), Replay(path, float("inf")), 0

    def restart() -> None:
        nonlocal asked
        asked += 1

    replay.restart = restart
    await replay.open(PAIR)
    await replay.run(sink)
    replay.play()
    replay.seek(int(TICKS["time_ns"][1_000]))
    assert asked == 2
    await replay.run(sink)
    first = int(np.searchsorted(TICKS["time_ns"], TICKS["time_ns"][1_000]))
    assert same(sink.ticks, TICKS[first - 100 :])
    assert sum(map(len, sink.warm)) == 100
    await replay.run(sink)
    assert same(sink.ticks, TICKS)  # once more from the beginning


async def test_speed_is_changed_while_it_plays_and_a_bad_one_refused(path: Path) -> None:
    sink = Heard()
    async with running(path, sink, 1e-6) as replay:
        await asyncio.sleep(0.02)
        began = len(sink.ticks)
        assert began < 20
        for wrong in (0, -1, float("nan"), "fast", True):
            with pytest.raises(SettingError, match=r"speed = .* expected a number above 0"):
                replay.speed = wrong  # type: ignore[assignment]
        assert replay.speed == 1e-6
        replay.speed = float("inf")
        await until(lambda: len(sink.ticks) == len(TICKS))
        assert same(sink.ticks, TICKS)


@pytest.mark.slow
async def test_the_loop_turns_while_millions_of_ticks_are_played(tmp_path: Path) -> None:
    many = np.tile(TICKS, 500)
    many["time_ns"] = np.sort(many["time_ns"])
    path = tmp_path / "many.parquet"
    await asyncio.to_thread(
        lambda: frame_of(many).drop(columns=["id", "side"]).to_parquet(path, index=False)
    )
    replay, sink, held = Replay(path, float("inf")), Heard(), 0.0
    await replay.open(PAIR)
    task = asyncio.get_running_loop().create_task(replay.run(sink))
    while not task.done():
        began = time.thread_time()
        await asyncio.sleep(0)
        held = max(held, time.thread_time() - began)  # of this thread: a busy machine adds nothing
    await task
    assert sum(map(len, sink.parts)) == len(many)
    assert max(map(len, sink.parts)) <= 20_000
    assert held < 0.03


async def test_what_cannot_be_read_on_ends_it_with_the_reason(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "mine.parquet"
    frame_of(TICKS).to_parquet(path, index=False, row_group_size=700)
    data = bytearray(path.read_bytes())
    at = pq.ParquetFile(path).metadata.row_group(3).column(3).data_page_offset
    data[at : at + 12] = b"\xff" * 12
    path.write_bytes(data)
    sink, replay = Heard(), Replay(path, float("inf"))
    await replay.open(PAIR)
    with pytest.raises(DataError, match="row group 3"):
        await replay.run(sink)
    assert same(sink.ticks, TICKS[: 3 * 700])  # all that is whole was played


async def test_misuse_is_refused_in_words(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone: no such file or folder"):
        Replay(tmp_path / "gone")
    with pytest.raises(DataError, match="at least one file"):
        Replay([])
    with pytest.raises(SettingError, match="speed = 0"):
        Replay(path, 0)
    with pytest.raises(SettingError, match="columns = 'prize'"):
        Replay(path, columns={"prize": "p"})
    replay = Replay(path)
    assert replay.time_span_ns is None
    assert replay.price_decimals() is None
    with pytest.raises(FeedError, match="open"):
        await replay.run(Heard())
    await replay.open(PAIR)

    class Plain:
        def on_ticks(self, ticks: Records) -> None: ...
        def on_gap(self, missing: int) -> None: ...

    with pytest.raises(FeedError, match="ReplaySink"):
        await replay.run(Plain())
    with pytest.raises(DataError, match="no ticks of SOLUSDT"):
        await replay.open(Pair("SOLUSDT", "ETHUSDT"))


async def test_gaps_come_right_before_the_tick_after_them(tmp_path: Path) -> None:
    lost = np.flatnonzero(TICKS["leg"] == 1)[300:304]
    left = np.delete(TICKS, lost)
    path = tmp_path / "gap.csv"
    await asyncio.to_thread(lambda: pd.DataFrame(frame_of(left)).to_csv(path, index=False))
    sink, replay = Heard(), Replay(path, float("inf"))
    await replay.open(PAIR)
    await replay.run(sink)
    at = int(np.flatnonzero((left["leg"] == 1) & (left["id"] > TICKS["id"][lost[-1]]))[0])
    assert sink.gaps == [(at, 4, 2)]
    health = replay.health()
    assert (health.gaps, health.missing) == (1, 4)


async def test_a_run_cancelled_in_the_middle_of_a_seek_ends(path: Path) -> None:
    for turns in range(0, 40, 3):
        sink, replay = Heard(), Replay(path, 1e-6)
        await replay.open(PAIR)
        task = asyncio.get_running_loop().create_task(replay.run(sink))
        await until(lambda of=sink: of.resets == 1)
        replay.seek(int(TICKS["time_ns"][2_000]))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=10)
        assert done, turns
        assert task.cancelled()
        assert replay.health().state == "stopped"
