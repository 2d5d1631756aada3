"""A session that was saved and opened is the lab that it was, and goes on where it can."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pairlab import DataError, PairLab, PairlabError, SettingError
from pairlab.engine.state import BAR_TIMEFRAMES
from pairlab.lab.session.saved_feed import SavedFeed
from pairlab.schema import NS_PER_S
from pairlab.storage.session.read_session import read_session
from tests.lab.session.labs import TICKS, lab_with_a_past
from tests.lab.test_runner import ScriptedFeed, some_ticks

TIMEFRAMES = ("tick", "1s", "5s")
OF_THE_LIVE_LAB = ("feed", "loop_lag_ms")
"""Fields of `Health` that are of the machine or say that it was saved."""


def reopened(lab: PairLab, folder: Path) -> PairLab:
    lab.save(folder / "x.pairlab")
    return PairLab.open(folder / "x.pairlab")


def records(array: Any) -> list[bytes]:
    """Return the bits of every field: what lies between the fields is nobody's."""
    return [np.ascontiguousarray(array[name]).tobytes() for name in array.dtype.names]


def without_source(text: bytes) -> list[list[str]]:
    return [line.split(",")[:-2] for line in text.decode().splitlines()[1:]]


def assert_the_same(was: PairLab, now: PairLab) -> None:
    """Compare whatever a lab can be asked."""
    for name in ("pair", "stream", "newest_ns", "row_settings", "selected_ns", "event_log_total"):
        assert getattr(now, name) == getattr(was, name), name
    assert now.settings.values() == was.settings.values()
    assert now.price_decimals() == was.price_decimals()
    assert list(now.event_log) == list(was.event_log)
    assert repr(list(now.journal)) == repr(list(was.journal))
    assert now.journal.total == was.journal.total
    for name in ("start", "end", "epoch", "cursor", "capacity", "nbytes"):
        assert getattr(now.rows, name) == getattr(was.rows, name), name
    assert records(now.rows.view()) == records(was.rows.view())
    assert repr(now.latest()) == repr(was.latest())
    for name in ("history", "ticks", "alerts"):
        pd.testing.assert_frame_equal(getattr(now, name)(), getattr(was, name)(), check_exact=True)
        assert getattr(now, name)().attrs == getattr(was, name)().attrs
        assert without_source(now.csv_bytes(name)) == without_source(was.csv_bytes(name))  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(now.selection, was.selection, check_exact=True)
    for name in BAR_TIMEFRAMES:
        pd.testing.assert_frame_equal(now.bars(name), was.bars(name), check_exact=True)
    before, after = was.alert_log, now.alert_log
    assert (after.total, after.newest_number) == (before.total, before.newest_number)
    assert repr(after.opened) == repr(before.opened)
    for old, new in zip(before, after, strict=True):
        assert repr(old) == repr(new)
        assert getattr(old, "sentence", "") == getattr(new, "sentence", "")
    for old_alert, new_alert in zip(before.alerts()[-9:], after.alerts()[-9:], strict=True):
        assert old_alert.explain() == new_alert.explain()
        assert before.count(old_alert.kind) == after.count(old_alert.kind)
    then, here = (
        {k: getattr(lab.health(), k) for k in lab.health().__dataclass_fields__}
        for lab in (was, now)
    )
    for name in OF_THE_LIVE_LAB:
        del then[name], here[name]
    assert repr(here) == repr(then)


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
@pytest.mark.parametrize("hedge", ["fixed", pytest.param("kalman", marks=pytest.mark.slow)])
def test_every_answer_is_the_one_that_the_lab_gave(
    tmp_path: Path, timeframe: str, hedge: str
) -> None:
    was = lab_with_a_past(timeframe, hedge=hedge)
    assert was.rows.epoch == 1
    assert was.alert_log.alerts() or hedge == "kalman"
    assert was._runner.pipeline.next_tick > len(was.ticks()) == 1_000
    now = reopened(was, tmp_path)
    assert_the_same(was, now)
    assert now.health().feed.startswith("SCRIPT (saved 20")
    assert not now.running
    assert now.loop is None
    now.save(tmp_path / "again.pairlab")
    again = PairLab.open(tmp_path / "again.pairlab")
    assert_the_same(was, again)
    assert again.health().feed.count("saved") == 1


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_settings_are_changed_as_on_the_stopped_lab(tmp_path: Path, timeframe: str) -> None:
    was = lab_with_a_past(timeframe)
    now = reopened(was, tmp_path)
    changes: list[dict[str, Any]] = [
        {"entry_z": 2.0}, {"hedge": "ols"}, {"timeframe": "1s"}, {"timeframe": "5s", "window": 20},
        {"timeframe": "tick", "hedge": "kalman", "kalman_half_life": 100.0},
        {"history_rows": 500}, {"ticks_held": 1_000},
    ]  # fmt: skip
    for change in changes:
        was.settings.update(**change)
        now.settings.update(**change)
        assert records(now.rows.view()) == records(was.rows.view())
        assert repr(now.latest()) == repr(was.latest())
    assert_the_same(was, now)
    assert now.rows.epoch >= 4
    with pytest.raises(SettingError):
        now.settings.window = 1


async def test_it_cannot_be_started_and_says_what_can_be(tmp_path: Path) -> None:
    now = await asyncio.to_thread(lambda: reopened(lab_with_a_past(), tmp_path))
    with pytest.raises(PairlabError, match=r"cannot be started.*PairLab\('BTCUSDT', 'ETHUSDT'"):
        now.start()
    assert not now.running
    assert now.loop is None
    assert isinstance(now._runner.source, SavedFeed)
    with pytest.raises(PairlabError, match="cannot be started"):
        await now._runner.source.run(now._runner._sink)


def test_a_lab_that_saw_nothing_yet_can_be_saved(tmp_path: Path) -> None:
    was = PairLab(feed=ScriptedFeed())
    was._runner.pipeline.on_ticks(TICKS[:50])
    now = reopened(was, tmp_path)
    assert len(now.ticks()) == 50
    assert now.history().empty
    assert now.latest() is None
    with pytest.raises(PairlabError, match="the engine has not started"):
        now.bars("1m")
    now.settings.window = 20
    now.dashboard().close()


def test_symbols_are_text_and_strange_ticks_stay(tmp_path: Path) -> None:
    names = ("<script>alert(1)</script>", "../../'x'\" \u202e\u2028")
    was = PairLab(*names, feed=ScriptedFeed(), hedge_ratio=25.0, window=20)
    ticks = TICKS[:300].copy()
    ticks["leg"][[100, 200]] = -1  # of neither leg: counted and dropped
    ticks["price"][150] = np.nan
    was._runner.pipeline.on_ticks(ticks)
    was._runner.pipeline.start_engine()
    now = reopened(was, tmp_path)
    assert tuple(now.pair) == names
    assert_the_same(was, now)
    assert now.health().dropped == {"unknown leg": 2, "not finite": 1}


def test_what_was_live_says_so_and_names_no_credentials(tmp_path: Path) -> None:
    lab = PairLab(feed="ws://user:hunter2@127.0.0.1:1/ws")
    now = reopened(lab, tmp_path)
    assert b"hunter2" not in (tmp_path / "x.pairlab").read_bytes()
    assert now.health().feed.startswith("LOCAL 127.0.0.1:1 (saved ")
    assert now.csv_bytes().decode().count("not real money") == 0  # no row
    assert not now.health().real_money


def test_a_name_of_another_format_is_refused_before_anything(tmp_path: Path) -> None:
    lab = lab_with_a_past()
    for name in ("x.html", "x", "x.pairlab.zip"):
        with pytest.raises(DataError, match=r"expected a name that ends in \.pairlab"):
            lab.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    lab = lab_with_a_past()
    (tmp_path / "x.pairlab").mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError):
        lab.save(tmp_path / "x.pairlab")
    assert [p.name for p in tmp_path.iterdir()] == ["x.pairlab"]
    with pytest.raises(FileNotFoundError):
        lab.save(tmp_path / "no folder" / "x.pairlab")


async def test_the_stream_goes_on_while_a_cell_saves(tmp_path: Path) -> None:
    """`save` on the loop, `save_async`, and `save` from a thread: each of its own moment."""
    feed = ScriptedFeed()
    history_rows = 100_000
    async with PairLab(feed=feed, window=20, history_rows=history_rows) as lab:
        await feed.give(some_ticks(600))
        await lab.wait_async(500, 60)
        given = 600

        async def stream() -> None:
            nonlocal given
            while True:
                await feed.give(some_ticks(10, start=given))
                given += 10
                await asyncio.sleep(0)

        streaming = asyncio.create_task(stream())
        await asyncio.sleep(0)
        moments = [lab._runner.pipeline.next_tick]
        lab.save(tmp_path / "0.pairlab")
        moments.append(lab._runner.pipeline.next_tick)
        assert moments[1] > moments[0], "no tick came while the cell saved"
        await lab.save_async(tmp_path / "1.pairlab")
        moments.append(lab._runner.pipeline.next_tick)
        thread = threading.Thread(target=lab.save, args=(tmp_path / "2.pairlab",))
        thread.start()
        while thread.is_alive():  # noqa: ASYNC110  (the thread waits for this loop)
            await asyncio.sleep(0.001)
        moments.append(lab._runner.pipeline.next_tick)
        streaming.cancel()
    for at in range(3):
        session = await asyncio.to_thread(read_session, tmp_path / f"{at}.pairlab")
        assert moments[at] <= session.tick_total <= moments[at + 1]
        assert session.row_end == session.tick_total - 1
        assert len(session.rows) == min(session.row_end, history_rows)
        assert session.health.state == "live"
    now = await asyncio.to_thread(PairLab.open, tmp_path / "0.pairlab")
    assert (now.health().state, now.health().detail) == ("stopped", "saved while live: as told")
    await asyncio.to_thread(now.save, tmp_path / "3.pairlab")
    now.save(tmp_path / "4.pairlab")  # in a cell, of a lab that has no loop
    assert await asyncio.to_thread(os.path.getsize, tmp_path / "4.pairlab") > 1_000


def test_the_file_is_a_zip_of_parquet_that_others_read(tmp_path: Path) -> None:
    import io
    import json
    import zipfile

    import polars as pl

    was = lab_with_a_past()
    was.save(tmp_path / "x.pairlab")
    with zipfile.ZipFile(tmp_path / "x.pairlab") as archive:
        manifest = json.loads(archive.read("manifest.json"))
        ticks = pd.read_parquet(io.BytesIO(archive.read("ticks.parquet")))
        rows = pl.read_parquet(archive.read("rows.parquet"))
    assert manifest["pair"] == ["BTCUSDT", "ETHUSDT"]
    assert manifest["settings"]["window"] == 24
    assert abs(manifest["saved_ns"] / NS_PER_S - os.path.getmtime(tmp_path / "x.pairlab")) < 60
    assert ticks["price"].tolist() == was.ticks()["price"].tolist()
    assert str(ticks["time"].dtype) == "datetime64[ns, UTC]"
    assert rows["zscore"].to_list() == was.history()["zscore"].to_list()
