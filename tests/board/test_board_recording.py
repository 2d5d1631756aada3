"""A board recorded to a folder: each pair's recording is one that is played, read and proved."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import numpy as np
import pytest

from pairlab import Board, PairLab, Replay, SettingError, verify
from pairlab.board.core import BoardCore
from pairlab.clock import SYSTEM_CLOCK
from pairlab.data.journal import Seeds
from pairlab.engine import compile_kernel
from pairlab.lab.pipeline import Pipeline
from pairlab.lab.verification.journal_replay import JournalReplay
from pairlab.local_exchange import Fault, LocalExchange
from pairlab.schema import ROW, Pair, Records
from pairlab.settings import Settings
from pairlab.storage.recording.recorded_session import RecordedSession
from tests.board.test_board import group_of, until
from tests.engine import worlds
from tests.feeds.many import markets, pairs

pytestmark = pytest.mark.usefixtures("no_task_left")

(A, B), (C, D) = pairs(2)
EASY = {"window": 20, "min_correlation": -1.0, "entry_z": 0.8, "exit_z": 0.3, "min_edge_bps": None}


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_kernel(many_pairs=True)


@pytest.mark.parametrize("timeframe", ["tick", "1s"])
async def test_every_pair_is_proved_bit_for_bit_through_faults_and_changes(
    timeframe: str, tmp_path: Path
) -> None:
    least = 400 if timeframe == "tick" else 6
    async with LocalExchange(markets(2, 300.0)) as exchange:
        board = Board(
            [(A, B), (C, D)], feed=group_of(exchange.url), timeframe=timeframe,
            history_rows=200, **EASY,
        )  # fmt: skip
        recording = board.record(tmp_path / "r")
        async with board:
            await recording.wait_opened()
            await until(board, lambda: all(pair.pipeline.row_count > least for pair in board))
            exchange.inject(Fault("drop"))
            exchange.inject(Fault("gap", stream=f"{A.lower()}@aggTrade", count=5))
            late = board.add((A, D))
            board[A, B].settings.entry_z = 0.7
            board[A, B].settings.window = 25
            was = board[C, D].pipeline.row_count
            await until(board, lambda: board.health().reconnects > 0)
            await until(board, lambda: board[C, D].pipeline.row_count > was + least)
            await until(board, lambda: late.pipeline.row_count > least)
            assert board[A, B].rows.epoch >= 1
            found = await board[C, D].recordings.verify_async()  # under way
            assert found.equal, found
            assert found.rows > 0
            gone = board.remove((C, D))
            await until(board, lambda: not recording[C, D].active)
            assert board.recording is recording
            again = board.add((C, D))
            await until(board, lambda: again.pipeline.row_count > least)
        assert not recording.active
        assert recording.errors == {}
        assert len(recording) == 3
        assert gone.recordings.newest is not recording[C, D]
    for pair in ((A, B), (C, D), (A, D)):
        folder = tmp_path / "r" / "-".join(pair)
        found = await asyncio.to_thread(verify, folder)
        assert found.equal, found
        assert (found.settings_changes > 0) == (pair == (A, B))
        assert found.sessions == (2 if pair == (C, D) else 1)
        assert found.rows > least
    assert recording.rows > 0
    assert recording.lost_ticks == 0
    if timeframe != "tick":
        return  # a replay has no klines of before
    folder = tmp_path / "r" / f"{A}-{D}"
    rows = await asyncio.to_thread(rows_of, folder)
    feed = await asyncio.to_thread(Replay, folder, math.inf)
    played = PairLab(A, D, feed=feed, hedge="ols", **EASY).start()
    await played.wait_closed()
    assert played.rows.view().tobytes() == rows.tobytes()


def rows_of(folder: Path) -> Records:
    return np.concatenate([rows for _, _, rows in RecordedSession(folder).rows()])


async def test_a_recording_that_begins_late_holds_what_is_held_and_older_rows_are_read_from_it(
    tmp_path: Path,
) -> None:
    async with LocalExchange(markets(1, 300.0)) as exchange:
        board = Board([(A, B)], feed=group_of(exchange.url), history_rows=100, **EASY)
        async with board:
            await until(board, lambda: board[A, B].pipeline.row_count > 90)
            recording = board.record(tmp_path / "r")
            await until(board, lambda: board[A, B].pipeline.row_count > 500)
            await recording.flush()
            first = board[A, B].rows.view()["time_ns"][0]
            older = board.history((A, B), since=int(first) - 2 * 10**8)
            assert len(older) > 110
            assert older.index.is_monotonic_increasing
            await recording.stop()
            assert not recording.active
            was = recording.ticks
            await until(board, lambda: board[A, B].pipeline.row_count > 600)
            assert recording.ticks == was
    found = await asyncio.to_thread(verify, tmp_path / "r" / f"{A}-{B}")
    assert found.equal, found


async def test_what_is_no_place_is_refused(tmp_path: Path) -> None:
    board = Board([(A, B)], feed="demo")
    for given, words in (
        ({"path": "postgresql://localhost/x"}, "recorded to a folder"),
        ({"path": ""}, "path_or_url"),
        ({"path": tmp_path, "max_bytes": 7}, "max_bytes"),
        ({"path": tmp_path, "max_age": "soon"}, "max_age"),
        ({"path": tmp_path, "fsync_s": 0}, "fsync_s"),
    ):
        with pytest.raises(SettingError, match=words):
            board.record(**given)  # type: ignore[arg-type]
    assert board.recording is None


class Heard:
    """A tap that keeps what it is told."""

    def __init__(self) -> None:
        self.ticks: list[tuple[int, Records]] = []
        self.rows: list[tuple[int, int, Records]] = []

    def on_ticks(self, first: int, ticks: Records) -> None:
        self.ticks.append((first, ticks))

    def on_rows(self, epoch: int, first: int, rows: Records) -> None:
        self.rows.append((epoch, first, rows))

    def on_alerts(self, alerts: object) -> None:
        """Nothing."""

    def on_rebuilt(self, epoch: int, tick: int, count: int, held: Records) -> None:
        """Nothing."""


@pytest.mark.parametrize("timeframe", ["tick", "1s"])
def test_held_ticks_gaps_and_candles_come_out_of_the_journal_as_they_went_in(
    timeframe: str,
) -> None:
    given = {"hedge": "ols", "window": 20, "timeframe": timeframe, "history_rows": 100}
    pair, heard = Pair("AUSDT", "BUSDT"), Heard()
    core = BoardCore(50_000, SYSTEM_CLOCK)
    made = core.add(pair, Settings(**given), lambda: None)  # type: ignore[arg-type]
    values = made.settings.values()
    made.taps = (heard,)
    core.begin()
    core.start_engine(pair)
    ticks = worlds.trades(1, 6_000)
    ticks["time_ns"] = np.sort(ticks["time_ns"])
    ticks["received_ns"] = int(ticks["received_ns"].min()) + np.arange(len(ticks))

    def give(part: Records) -> None:
        for one in np.split(part, np.flatnonzero(np.diff(part["leg"])) + 1):
            core.on_ticks(int(one["leg"][0]), one)
        core.flush()

    give(ticks[:2_000])
    during = ticks[3_000:4_000]  # a thousand are missing
    core.on_wait(0, int(during["received_ns"][0]))
    core.on_ticks(1, during[during["leg"] == 1])
    core.on_gap(0)
    if timeframe == "1s":
        second = 10**9
        span = np.arange(
            int(ticks["time_ns"][1_000]) // second, int(ticks["time_ns"][-1]) // second
        )
        closes = np.full(len(span), 100.0)
        made.klines["1s"] = Seeds(span * second, closes, closes + np.arange(len(span)) % 3)
    core.on_ticks(0, during[during["leg"] == 0])
    core.on_resume(0, int(during["received_ns"][-1]))
    core.flush()
    give(ticks[4_000:])
    firsts = [first for first, _ in heard.ticks]
    lengths = [len(part) for _, part in heard.ticks]
    assert firsts == [0, *np.cumsum(lengths)[:-1]]
    assert sum(lengths) == made.next_tick == 5_000
    replay = JournalReplay(values, list(made.journal))
    for _, part in heard.ticks:
        replay.on_ticks(part)
    replay.finish()
    own = replay.pipeline
    assert isinstance(own, Pipeline)
    got = np.concatenate([rows for _, _, rows in heard.rows])
    assert len(got) == own.row_count == made.row_count > 100
    assert [first for _, first, _ in heard.rows] == [
        0, *np.cumsum([len(rows) for _, _, rows in heard.rows])[:-1],
    ]  # fmt: skip
    assert got[-100:].tobytes() == own.rows.view().tobytes() == made.rows.view().tobytes()
    assert got.dtype == ROW
    assert (got["flags"] & 16 != 0).sum() == 1
