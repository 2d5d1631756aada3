"""A certificate: equal where the journal gives the rows, and the first difference where not."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pairlab.data.journal import Rebuilt
from pairlab.data.row_store import RowStore
from pairlab.engine import compile_kernel
from pairlab.errors import DataError
from pairlab.lab.verification.verify import verify
from pairlab.schema import Records
from pairlab.settings import Settings
from pairlab.storage.recording.folder_sink import FolderSink
from pairlab.storage.recording.machine import machine_versions
from pairlab.storage.recording.sink import RebuiltRows, RecordBatch, RecordingInfo
from tests.lab.test_journal import FIRST, Live
from tests.storage.recording.sessions import PAIR


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    compile_kernel()


class Kept(RowStore):
    """Rows as they were first shown, and digests of those of rebuilds."""

    def __init__(self, live: Live) -> None:
        super().__init__(live.settings.history_rows)
        self.batch, self._live = RecordBatch(), live

    def append(self, rows: Records) -> None:
        self.batch.rows.append((self.epoch, self.end, rows.copy()))
        super().append(rows)

    def replace(self, rows: Records) -> None:
        super().replace(rows)
        held = self.view()
        digest = hashlib.sha256(held.tobytes()).hexdigest()
        tick = self._live.pipeline.next_tick
        self.batch.rebuilds.append(RebuiltRows(self.epoch, tick, len(rows), len(held), digest))


def a_session(seed: int = 1, *, start: bool = True) -> tuple[Live, Kept]:
    """Ticks, gaps, klines, changes of every kind and rebuilds that ticks race."""
    live = Live()
    kept = live.pipeline.rows = Kept(live)
    rng = random.Random(seed)
    live.give(200)
    if start:
        live.pipeline.start_engine()
    for _ in range(20):
        live.give(rng.randrange(1, 200))
        match rng.randrange(6):
            case 0:
                live.pipeline.on_gap(rng.randrange(1, 9), rng.randrange(1, 4))
            case 1:
                live.load_klines(rng.randrange(1, 9))
            case 2:
                live.settings.update(window=rng.choice([20, 50, 80]))
            case 3:
                live.settings.update(hedge=rng.choice(["fixed", "ols", "kalman"]))
            case 4:
                live.settings.update(entry_z=rng.choice([1.0, 1.5, 2.5]))
            case 5:
                live.settings.update(timeframe=rng.choice(["tick", "1s", "5s"]))
        if rng.random() < 0.5:
            live.finish()
    live.finish()
    live.give(100)
    return live, kept


def write(
    folder: Path, live: Live, kept: Kept, change: Callable[[RecordBatch], None] = lambda _: None
) -> Path:
    """Record a session; `change` falsifies it before."""
    batch = RecordBatch(
        ticks=[(0, live.ticks().copy())],
        rows=[(epoch, first, rows.copy()) for epoch, first, rows in kept.batch.rows],
        alerts=live.pipeline.alert_log.alerts(),
        events=list(live.pipeline.journal),
        rebuilds=list(kept.batch.rebuilds),
    )
    change(batch)
    sink = FolderSink(folder)
    sink.open(
        RecordingInfo(
            session=str(random.random()), pair=PAIR, stream="aggTrade", feed="SIMULATED",
            real_money=False, price_decimals=None, settings=Settings(**FIRST).values(),
            started_ns=0, versions=machine_versions(),
        )
    )  # fmt: skip
    sink.write(batch)
    sink.close()
    return folder


@pytest.mark.parametrize("seed", range(4))
def test_rows_alerts_and_rebuilds_are_equal(tmp_path: Path, seed: int) -> None:
    live, kept = a_session(seed)
    found = verify(write(tmp_path, live, kept))
    assert found.equal, found
    assert found.difference is None
    assert found.rows == sum(len(rows) for _, _, rows in kept.batch.rows) > 500
    assert found.ticks == len(live.ticks())
    assert found.alerts == len(live.pipeline.alert_log.alerts()) > 0
    assert found.rebuilds == sum(isinstance(e, Rebuilt) for e in live.pipeline.journal) > 0
    assert found.same_machine
    assert "EQUAL, bit for bit" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["equal"] is True


def test_two_sessions_in_one_folder(tmp_path: Path) -> None:
    for seed in (1, 2):
        write(tmp_path, *a_session(seed))
    found = verify(tmp_path)
    assert found.equal, found
    assert found.sessions == 2


def test_a_session_without_an_alert_leaves_the_next_one_its_own(tmp_path: Path) -> None:
    quiet = Live()
    kept = quiet.pipeline.rows = Kept(quiet)
    quiet.pipeline.start_engine()
    quiet.give(40)  # the window is not full
    write(tmp_path, quiet, kept)
    write(tmp_path, *a_session(1))
    found = verify(tmp_path)
    assert found.equal, found
    assert found.alerts > 0


def test_one_tick_altered_shows_the_first_row_and_both_values(tmp_path: Path) -> None:
    live = Live()
    kept = live.pipeline.rows = Kept(live)
    live.pipeline.start_engine()
    live.give(1_500)
    at = 1_000

    def alter(batch: RecordBatch) -> None:
        ticks = batch.ticks[0][1]
        ticks["price"][at] = np.nextafter(ticks["price"][at], np.inf)

    found = verify(write(tmp_path, live, kept, alter))
    assert not found.equal
    first = found.difference
    assert first is not None
    assert (first.where, first.seq) == ("row", at)
    assert first.name == "yx"[live.ticks()["leg"][at]]
    assert first.replayed == np.nextafter(first.recorded, np.inf)
    assert found.rows == first.row  # all those before it were equal
    for value in (first.recorded, first.replayed):
        assert repr(value) in str(found)


def rows_of(batch: RecordBatch) -> Records:
    return next(rows for _, _, rows in batch.rows if len(rows) > 20)


def flip(name: str) -> Callable[[RecordBatch], None]:
    def change(batch: RecordBatch) -> None:
        values = rows_of(batch)[name]
        raw = values[10:11].copy().view(f"u{values.dtype.itemsize}")
        raw ^= 1  # the last bit, of a NaN's payload, too
        values[10:11] = raw.view(values.dtype)

    return change


@pytest.mark.parametrize("name", ["zscore", "spread_mean", "flags", "position", "time_ns"])
def test_the_last_bit_of_a_recorded_row_is_compared(tmp_path: Path, name: str) -> None:
    live, kept = a_session()
    found = verify(write(tmp_path, live, kept, flip(name)))
    assert not found.equal
    assert found.difference is not None
    assert (found.difference.where, found.difference.name) == ("row", name)
    assert found.difference.seq is not None


def drop_a_row(batch: RecordBatch) -> None:
    at = next(i for i, (_, _, rows) in enumerate(batch.rows) if len(rows) > 20)
    epoch, first, rows = batch.rows[at]
    batch.rows[at : at + 1] = [(epoch, first, rows[:5]), (epoch, first + 6, rows[6:])]


def drop_the_last_row(batch: RecordBatch) -> None:
    epoch, first, rows = batch.rows[-1]
    batch.rows[-1] = (epoch, first, rows[:-1])


def add_a_row(batch: RecordBatch) -> None:
    epoch, first, rows = batch.rows[-1]
    batch.rows[-1] = (epoch, first, np.concatenate([rows, rows[-1:]]))


def drop_an_alert(batch: RecordBatch) -> None:
    del batch.alerts[1]


def drop_the_last_alert(batch: RecordBatch) -> None:
    del batch.alerts[-1]


def falsify_a_rebuild(batch: RecordBatch) -> None:
    batch.rebuilds[0] = batch.rebuilds[0]._replace(sha256="0" * 64)


def drop_an_event(batch: RecordBatch) -> None:
    at = next(i for i, e in enumerate(batch.events) if getattr(e, "name", "") == "entry_z")
    del batch.events[at]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (drop_a_row, {"row"}),
        (drop_the_last_row, {"row"}),
        (add_a_row, {"row"}),
        (drop_an_alert, {"alert"}),
        (drop_the_last_alert, {"alert"}),
        (falsify_a_rebuild, {"rebuild"}),
        (drop_an_event, {"alert", "row"}),
    ],
)
def test_what_is_missing_or_too_many_is_found(
    tmp_path: Path, change: Callable[[RecordBatch], None], where: set[str]
) -> None:
    live, kept = a_session()
    found = verify(write(tmp_path, live, kept, change))
    assert not found.equal
    assert found.difference is not None
    assert found.difference.where in where
    assert found.reason == str(found.difference)


def test_one_bit_flipped_anywhere_in_a_sealed_file_names_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "recording", *a_session())
    files = sorted(folder.rglob("*.parquet"))
    assert {file.relative_to(folder).parts[0] for file in files} == {
        "alerts", "journal", "rows", "ticks"
    }  # fmt: skip
    rng = random.Random(5)
    for file in files:
        whole = file.read_bytes()
        for at in (0, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(5))):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << rng.randrange(8)
            file.write_bytes(damaged)
            found = verify(folder)
            assert not found.equal
            assert found.difference is not None
            assert found.difference.name == str(file.relative_to(folder))
        file.write_bytes(whole)
    assert verify(folder).equal


def test_nothing_compared_is_not_equal(tmp_path: Path) -> None:
    def forget(batch: RecordBatch) -> None:
        batch.rows, batch.alerts, batch.rebuilds = [], [], []

    found = verify(write(tmp_path, *a_session(), forget))
    assert not found.equal
    assert "nothing to compare" in found.reason


def test_it_reads_only(tmp_path: Path) -> None:
    folder = write(tmp_path, *a_session())
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}
    verify(folder)
    after = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}
    assert after == before


def test_a_recording_from_another_machine_says_so(tmp_path: Path) -> None:
    folder = write(tmp_path, *a_session())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["parts"][0]["versions"]["cpu"] = "Another CPU @ 1 GHz"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found = verify(folder)
    assert found.equal
    assert not found.same_machine
    assert "recorded on Another CPU @ 1 GHz" in str(found)


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"price": [1.0]}), tmp_path / "x.parquet")
    with pytest.raises(DataError):
        verify(tmp_path)
    with pytest.raises(DataError):
        verify(tmp_path / "nothing")


def test_ticks_that_are_missing_are_a_reason_not_an_error(tmp_path: Path) -> None:
    def lose(batch: RecordBatch) -> None:
        ticks = batch.ticks[0][1]
        batch.ticks[:] = [(0, ticks[:500]), (510, ticks[510:])]

    found: Any = verify(write(tmp_path, *a_session(), lose))
    assert not found.equal
    assert "lacks 10 ticks" in found.reason
    assert found.difference is None


@pytest.mark.slow
def test_the_command_prints_the_certificate_and_exits_by_it(tmp_path: Path) -> None:
    good = write(tmp_path / "good", *a_session())
    bad = write(tmp_path / "bad", *a_session(), flip("zscore"))

    def run(*arguments: object) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "pairlab", "verify", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    status, out, err = run(good)
    assert (status, err) == (0, "")
    assert out.startswith("EQUAL, bit for bit\n")
    status, out, err = run(bad, "--json")
    assert (status, err) == (1, "")
    assert json.loads(out)["difference"]["name"] == "zscore"
    status, out, err = run(tmp_path)
    assert (status, out) == (1, "")
    assert err.startswith("pairlab: ")
