"""`PairEngine`: live equals batch; what it refuses, counts, applies, rebuilds."""

import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import pairlab.engine
from pairlab.engine import PairEngine, compile_kernel
from pairlab.errors import DataError, SettingError
from pairlab.schema import EVENT, HISTORY_COLUMNS, NS_PER_S, ROW, TICK, AlertKind, RowFlag
from pairlab.settings import Settings
from tests.engine import oracles, worlds


def in_parts(engine, parts):
    rows, events, before = [], [], 0
    for part in parts:
        made = engine.update(part).copy()
        happened = engine.events.copy()
        happened["row"] += before
        before += len(made)
        rows.append(made)
        events.append(happened)
    return np.concatenate(rows), np.concatenate(events)


@pytest.mark.parametrize("hedge", ["fixed", "ols", "kalman"])
@pytest.mark.parametrize("timeframe", ["tick", "1s", "5s", "1m", "5m", "15m", "1h"])
@pytest.mark.parametrize("lags", [0, 1])
def test_live_equals_batch_to_the_last_bit(hedge, timeframe, lags):
    ticks = worlds.trades(31, 12_000)
    ticks["price"][5_000] = 1e9
    if timeframe in ("5m", "15m", "1h"):
        ticks["time_ns"] += (ticks["time_ns"] - ticks["time_ns"][0]) * 200
    given = {
        "hedge": hedge, "hedge_ratio": 25.0, "timeframe": timeframe, "adf_lags": lags,
        "window": 30, "correlation_of": "returns" if lags else "prices", "stop_z": 3.0,
    }  # fmt: skip
    batch = PairEngine(**given)
    rows = batch.update(ticks).copy()
    events = batch.events.copy()
    assert len(rows) > {"tick": 11_000, "1s": 1_000, "5s": 300, "1m": 30, "1h": 50}.get(
        timeframe, 200
    )
    r = np.random.default_rng(1)
    cuts = np.unique(r.integers(0, len(ticks), 200))
    for parts in (
        # One by one through the warm-up, the bad tick and what follows it.
        [*(ticks[k : k + 1] for k in range(6_000)), ticks[6_000:]],
        np.split(ticks, cuts),
        np.split(ticks, [7, 4_000, 4_000]),
    ):
        got, happened = in_parts(PairEngine(**given), parts)
        assert got.tobytes() == rows.tobytes()
        assert_array_equal(happened, events)


def test_more_rows_than_any_buffer():
    y, x = worlds.cointegrated(32, 400_000)
    ticks = oracles.ticks_of(y, x)
    engine = PairEngine(hedge_ratio=25.0)
    rows = engine.update(ticks)
    assert len(rows) == len(ticks) - 1
    assert_array_equal(engine.events["row"], np.unique(engine.events["row"]))
    entries = engine.events["kind"] == AlertKind.ENTRY
    at = engine.events["row"][entries]
    assert (np.abs(rows["zscore"][at]) >= 2).all()
    assert len(rows) > 2 * 262_144
    again, _ = in_parts(PairEngine(hedge_ratio=25.0), np.array_split(ticks, 5))
    assert again.tobytes() == rows.tobytes()


def test_rows_say_when_and_how_old():
    ticks = oracles.ticks_of([100.0, 101.0], [4.0, 4.0], step_ns=NS_PER_S)
    ticks["time_ns"][2] -= 1_500_000_000  # a tick of y older than the x tick before it
    rows = PairEngine(hedge_ratio=25.0).update(ticks)
    t = oracles.T0
    assert rows["time_ns"].tolist() == [t + NS_PER_S, t + NS_PER_S, t + 3 * NS_PER_S]
    assert rows["received_ns"].tolist() == ticks["received_ns"][1:].tolist()
    assert rows["y"].tolist() == [100.0, 101.0, 101.0]
    np.testing.assert_allclose(rows["y_age_s"], [1.0, 0.5, 2.5])
    np.testing.assert_allclose(rows["x_age_s"], [0.0, 0.0, 0.0])
    assert rows["spread"].tolist() == [0.0, 1.0, 1.0]
    assert rows["filled"].tolist() == [1, 2, 3]


def test_bad_ticks_are_counted_and_change_nothing_else():
    ticks = worlds.trades(33, 3_000)
    clean = PairEngine(hedge_ratio=25.0, window=20)
    want = clean.update(ticks).copy()
    bad = np.zeros(7, TICK)
    bad["price"] = [np.nan, np.inf, -np.inf, 0.0, -5.0, 70_000.0, 70_000.0]
    bad["leg"] = [0, 1, 0, 1, 0, 2, -1]
    bad["time_ns"] = ticks["time_ns"].max() + 10**15
    mixed = np.insert(ticks, [0, 10, 500, 501, 1_200, 2_000, 3_000], bad)
    for given in ({}, {"timeframe": "1s"}):
        clean = PairEngine(hedge_ratio=25.0, window=20, **given)
        want = clean.update(ticks).copy()
        engine = PairEngine(hedge_ratio=25.0, window=20, **given)
        assert engine.update(mixed).tobytes() == want.tobytes()
        assert engine.dropped == {"not finite": 3, "not positive": 2, "unknown leg": 2}
        assert engine.bars("1s").tobytes() == clean.bars("1s").tobytes()


@pytest.mark.parametrize(
    "ticks",
    [None, 5, [], [1.0, 2.0], np.zeros(3), np.zeros((2, 2), TICK), np.zeros((), TICK),
     np.zeros(3, ROW), np.zeros(3, np.dtype([("price", float)]))],
)  # fmt: skip
def test_what_is_no_array_of_ticks_is_refused(ticks):
    engine = PairEngine()
    with pytest.raises(DataError, match=r"1-D numpy array of pairlab\.TICK"):
        engine.update(ticks)
    assert len(engine.update(np.zeros(0, TICK))) == 0


def test_any_memory_layout_will_do():
    ticks = worlds.trades(34, 4_000)
    want = PairEngine(hedge_ratio=25.0).update(ticks[::2].copy()).copy()
    still = ticks[::2].copy()
    still.flags.writeable = False
    packed = np.dtype([(name, TICK[name]) for name in TICK.names])
    assert packed != TICK
    for given in (ticks[::2], still):
        assert PairEngine(hedge_ratio=25.0).update(given).tobytes() == want.tobytes()
        few = PairEngine(hedge_ratio=25.0).update(given[:90])
        assert len(few) > 50
        assert few.tobytes() == want[: len(few)].tobytes()
    with pytest.raises(DataError):
        PairEngine().update(ticks.astype(packed))


def test_ticks_of_a_file_may_be_the_first(tmp_path):
    # np.load gives a dtype that equals TICK but is not called aligned
    ticks = worlds.trades(39, 3_000)
    np.save(tmp_path / "ticks.npy", ticks)
    assert not np.load(tmp_path / "ticks.npy").dtype.isalignedstruct
    code = """
import sys
import numpy as np
from pairlab.engine import PairEngine
from pairlab.schema import TICK
loaded = np.load(sys.argv[1])
ticks = np.empty(len(loaded), TICK)
ticks[:] = loaded
print([len(PairEngine().update(part)) for part in (loaded[:99], loaded, ticks[:99], ticks)])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "ticks.npy")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    few, many = (len(PairEngine().update(part)) for part in (ticks[:99], ticks))
    assert done.stdout.strip() == str([few, many, few, many]), done.stderr[-500:]


def test_no_ticks_no_rows():
    engine = PairEngine()
    rows = engine.update(np.zeros(0, TICK))
    assert rows.dtype == ROW
    assert len(rows) == 0
    assert engine.events.dtype == EVENT
    assert len(engine.events) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"windw": 50}, "window"),
        ({"window": 9}, "10"),
        ({"window": "50"}, "whole number"),
        ({"hedge": "best"}, "kalman"),
        ({"entry_z": 0.1}, "exit_z"),
        ({"price_scale": "log"}, "hedge_ratio"),
    ],
)
def test_settings_are_checked(given, message):
    with pytest.raises(SettingError, match=message):
        PairEngine(**given)


def test_it_takes_a_snapshot_of_settings():
    settings = Settings(entry_z=1.5)
    engine = PairEngine(settings, window=20)
    settings.entry_z = 3.0
    assert engine.values.entry_z == 1.5
    assert engine.values.window == 20


def test_thresholds_apply_from_the_next_tick():
    ticks = worlds.trades(35, 20_000)
    engine = PairEngine(hedge_ratio=25.0, min_correlation=-1.0)
    engine.update(ticks[:10_000])
    engine.apply(replace(engine.values, entry_z=3.0))
    rows = engine.update(ticks[10_000:])
    entered = engine.events["row"][engine.events["kind"] == AlertKind.ENTRY]
    assert len(entered) > 0
    assert (np.abs(rows["zscore"][entered]) > 3.0).all()
    reference = PairEngine(hedge_ratio=25.0, min_correlation=-1.0).update(ticks)[-len(rows) :]
    for name in set(HISTORY_COLUMNS) - {"position"}:
        assert_array_equal(rows[name], reference[name], name)


def test_a_metric_is_not_applied_but_rebuilt():
    engine = PairEngine()
    with pytest.raises(SettingError, match="rebuilt"):
        engine.apply(replace(engine.values, window=60))
    assert engine.values.window == 50


@pytest.mark.parametrize(
    "change", [{"window": 80}, {"hedge": "ols"}, {"hedge": "kalman"}, {"timeframe": "1s"},
               {"hedge_ratio": 24.0}, {"adf_lags": 0}, {"correlation_of": "returns"}],
)  # fmt: skip
def test_a_rebuild_gives_fresh_metrics_and_keeps_the_position(change):
    ticks = worlds.trades(36, 30_000)
    first, then, last = ticks[:20_000], ticks[20_000:20_500], ticks[20_500:]
    old = PairEngine(hedge_ratio=25.0, entry_z=1.0, exit_z=0.0, min_correlation=-1.0)
    old.update(first)
    while old.signal_state["position"] == 0:
        first, then = np.concatenate([first, then[:1]]), then[1:]
        old.update(first[-1:])
    held = old.signal_state["position"]
    new, rows = old.rebuilt(replace(old.values, **change), first)
    rows = rows.copy()
    assert len(new.events) == 0
    assert (rows["position"] == held).all()
    old.update(then)
    caught_up = new.update(then).copy()
    assert len(new.events) == 0
    new.adopt_signal(old)
    assert new.signal_state == old.signal_state
    assert new.dropped == old.dropped
    final = new.update(last)
    assert len(new.events) > 0
    if new.signal_state["position"] == old.signal_state["position"] != 0:
        assert AlertKind(new.events["kind"][0]) != AlertKind.ENTRY

    fresh = PairEngine(values=replace(old.values, **change)).update(ticks)
    got = np.concatenate([rows, caught_up, final])
    for name in set(ROW.names) - {"position"}:
        assert_array_equal(got[name], fresh[name], name)
    everything = PairEngine(hedge_ratio=25.0)
    everything.update(ticks)
    for timeframe in ("1s", "1m"):
        assert new.bars(timeframe).tobytes() == everything.bars(timeframe).tobytes()


def test_a_rebuild_runs_in_a_thread_while_the_old_engine_goes_on():
    y, x = worlds.cointegrated(37, 200_000)
    ticks = oracles.ticks_of(y, x)
    old = PairEngine(hedge_ratio=25.0)
    old.update(ticks)
    found, begun = {}, threading.Event()

    def rebuild():
        begun.set()
        found["engine"], rows = old.rebuilt(replace(old.values, hedge="ols"), ticks)
        found["rows"] = rows.copy()

    thread = threading.Thread(target=rebuild)
    thread.start()
    begun.wait()
    want = PairEngine(hedge_ratio=25.0)
    want.update(ticks)
    later = ticks[:3_000].copy()
    later["time_ns"] += ticks["time_ns"][-1] - ticks["time_ns"][0] + 1
    for k in range(len(later)):
        got = old.update(later[k : k + 1])
        assert got.tobytes() == want.update(later[k : k + 1]).tobytes()
    thread.join()
    plain = PairEngine(hedge="ols").update(ticks)
    for name in set(ROW.names) - {"position"}:
        assert_array_equal(found["rows"][name], plain[name], name)


def test_a_rebuild_takes_seeds():
    old = PairEngine(hedge_ratio=25.0)
    ticks = worlds.trades(38, 5_000)
    old.update(ticks)
    start = ticks["time_ns"].min() // (60 * NS_PER_S) * 60 * NS_PER_S
    times = start - np.arange(99, -1, -1) * 60 * NS_PER_S
    y, x = worlds.cointegrated(38, 100)
    new, rows = old.rebuilt(replace(old.values, timeframe="1m"), ticks, (times, y, x))
    assert (rows["flags"][:100] & RowFlag.SEEDED > 0).all()
    assert not (rows["flags"][100:] & RowFlag.SEEDED > 0).any()
    assert (np.diff(rows["time_ns"]) == 60 * NS_PER_S).all()
    assert np.isfinite(rows["zscore"][49:]).all()
    new.adopt_signal(old)


def test_a_gap_is_said_once():
    engine = PairEngine(hedge_ratio=25.0)
    ticks = oracles.ticks_of([100.0] * 4, [4.0] * 4)
    engine.update(ticks[:4])
    engine.mark_gap()
    assert len(engine.update(ticks[:0])) == 0
    rows = engine.update(ticks[4:])  # the first one is of y alone: x was not seen yet
    assert (rows["flags"] & RowFlag.GAP_BEFORE > 0).tolist() == [True, False, False]


def test_compiling_tells_its_progress():
    said = []
    compile_kernel(said.append)
    assert said[0] == "loading the compiler"
    assert said[-1] == "engine compiled"
    compile_kernel()


@pytest.mark.slow
def test_importing_the_engine_does_not_import_numba():
    code = "import sys, pairlab.engine; sys.exit('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 0
    assert set(pairlab.engine.__all__) == {"PairEngine", "compile_kernel"}
