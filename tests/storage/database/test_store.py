"""What a lab showed comes back from PostgreSQL and TimescaleDB bit for bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from pairlab import PairLab, open_store
from pairlab.data.frames import rows_frame, ticks_frame
from pairlab.data.journal import GapMarked, TimeCorrected
from pairlab.errors import DataError, SettingError
from pairlab.schema import ROW, Pair
from pairlab.storage.database.sink import DatabaseSink
from pairlab.storage.recording.sink import RecordBatch
from tests.storage.database.recorded import (
    PAIR,
    Lab,
    market,
    session_of,
    stored,
    ticks_alone,
)


def same_bits(got: pd.DataFrame, want: pd.DataFrame) -> None:
    assert_frame_equal(got, want, check_exact=True)
    assert got.attrs == want.attrs
    for name in want.select_dtypes("float64"):
        assert got[name].to_numpy().tobytes() == want[name].to_numpy().tobytes(), name


@pytest.fixture(params=["postgresql", "timescaledb"])
def target(request: pytest.FixtureRequest) -> tuple[str, str]:
    if request.param == "postgresql":
        return request.getfixturevalue("url"), "pairlab"
    return request.getfixturevalue("timescale_url"), f"of {request.node.name}"


@pytest.mark.slow
def test_a_session_comes_back_as_the_lab_showed_it(target: tuple[str, str]) -> None:
    lab = Lab(ticks_held=10_000)
    batches = session_of(lab, market(6_000))
    sink = stored(DatabaseSink(*target), batches)
    assert (sink.ticks_stored, sink.ticks_there, sink.ticks_lost) == (6_000, 0, 0)
    with open_store(*target) as store:
        ticks = store.ticks(PAIR)
        assert ticks["gap_before"].sum() > 0
        same_bits(ticks, lab.pipeline_ticks())
        same_bits(store.history(PAIR), rows_frame(lab.rows()))
        alerts = store.alerts(PAIR)
        same_bits(alerts, lab.pipeline.alert_log.frame())
        assert {"ENTRY", "EXIT", "SETTING"} <= set(alerts["kind"])
        number = int(store.sessions().index[0])
        assert repr(store.alert_list(number)) == repr(lab.pipeline.alert_log.alerts())
        assert repr(store.journal(number)) == repr(list(lab.pipeline.journal))


@pytest.mark.slow
async def test_a_running_lab_records_to_a_database(url: str) -> None:
    async with PairLab(*PAIR, feed="demo") as lab:
        recording = lab.record(url)
        await lab.wait_async(rows=300, timeout_s=120)
        lab.settings.entry_z = 1.5
        await lab.wait_async(rows=600, timeout_s=120)
    assert recording.state == "stopped", recording.error
    ticks, history, alerts = lab.ticks(), lab.history(), lab.alerts()
    with open_store(url) as store:
        same_bits(store.ticks(PAIR), ticks)
        same_bits(store.history(PAIR), history)
        same_bits(store.alerts(PAIR), alerts)
        (session,) = store.sessions().to_dict("records")
    assert (session["source"], session["real_money"]) == ("SIMULATED", False)


def test_spans_are_exact_to_the_nanosecond(url: str) -> None:
    ticks = market(400)
    rows = np.zeros(400, ROW)
    rows["time_ns"] = np.maximum.accumulate(ticks["time_ns"])
    stored(DatabaseSink(url), [RecordBatch(ticks=[(0, ticks)], rows=[(0, 0, rows)])])
    start, end = (int(t) for t in np.sort(ticks["time_ns"])[[50, 300]])
    with open_store(url) as store:
        for first, last in ((start, end), (start + 1, end - 1), (start, None), (None, end)):
            inside = ticks["time_ns"] >= (first or 0)
            inside &= ticks["time_ns"] <= (last or 2**62)
            got = store.ticks(PAIR, first, last)
            same_bits(
                got.drop(columns=["gap_before", "time_corrected"]), ticks_frame(ticks[inside], PAIR)
            )
            shown = (rows["time_ns"] >= (first or 0)) & (rows["time_ns"] <= (last or 2**62))
            same_bits(store.history(PAIR, first, last), rows_frame(rows[shown]))
        assert len(store.ticks(PAIR, "1999-01-01", "1999-01-02")) == 0
        assert len(store.alerts(PAIR)) == 0


def test_one_symbol_of_a_pair(url: str) -> None:
    ticks = market(300)
    stored(DatabaseSink(url), [ticks_alone(ticks)])
    with open_store(url) as store:
        got = store.ticks("eth/usdt")
        assert list(got["symbol"].cat.categories) == ["ETHUSDT"]
        assert got["id"].tolist() == ticks["id"][ticks["leg"] == 1].tolist()


def test_sessions_that_follow_each_other_leave_a_gap_between_them(url: str) -> None:
    ticks = market(900)
    later = ticks[600:].copy()
    later["received_ns"] += 3_600_000_000_000
    stored(DatabaseSink(url), [ticks_alone(ticks[:500])])
    stored(DatabaseSink(url), [ticks_alone(later)])
    with open_store(url) as store:
        got = store.ticks(PAIR)
    assert got["id"].tolist() == [*ticks["id"][:500], *ticks["id"][600:]]
    assert np.flatnonzero(got["gap_before"]).tolist() == [500]
    assert got["gap_before"].iloc[500] == 3


def test_a_gap_of_one_recorder_that_another_saw_is_none(url: str) -> None:
    ticks = market(900)
    whole = stored(DatabaseSink(url), [ticks_alone(ticks[300:700])])
    assert whole.ticks_stored == 400
    marked = RecordBatch(ticks=[(300, ticks[700:])], events=[GapMarked(300, 400)])
    stored(DatabaseSink(url), [ticks_alone(ticks[:300]), marked])
    with open_store(url) as store:
        got = store.ticks(PAIR)
    assert got["id"].tolist() == ticks["id"].tolist()
    assert not got["gap_before"].any()


def test_a_corrected_time_is_told_of_its_tick_alone(url: str) -> None:
    ticks = market(300)
    of_y = int(np.flatnonzero(ticks["leg"][100:] == 0)[0]) + 100
    batch = RecordBatch(ticks=[(0, ticks)], events=[TimeCorrected(of_y), GapMarked(of_y, 3, 2)])
    stored(DatabaseSink(url), [batch])
    with open_store(url) as store:
        got, of_x = store.ticks(PAIR), store.ticks(PAIR.x)
    assert np.flatnonzero(got["time_corrected"]).tolist() == [of_y]
    assert np.flatnonzero(got["gap_before"]).tolist() == [of_y]
    assert got["gap_before"].iloc[of_y] == 2
    assert not of_x["time_corrected"].any()


def test_what_is_ambiguous_or_unknown_is_refused_with_what_there_is(url: str) -> None:
    for changed in ({}, {"stream": "trade"}, {"pair": Pair("SOLUSDT", "XRPUSDT")}):
        stored(DatabaseSink(url), [ticks_alone(market(20))], **changed)
    with open_store(url) as store:
        with pytest.raises(SettingError, match="aggTrade and trade are stored: say which"):
            store.ticks(PAIR)
        with pytest.raises(SettingError, match="expected one of 'aggTrade', 'trade'"):
            store.ticks(PAIR, stream="bookTicker")
        with pytest.raises(SettingError, match="expected one of 'BINANCE'"):
            store.ticks("SOLUSDT", source="SIMULATED")
        with pytest.raises(DataError, match="no ticks of DOGEUSDT are stored"):
            store.ticks("DOGEUSDT")
        with pytest.raises(DataError, match="nothing of ETHUSDT/BTCUSDT was recorded"):
            store.history(("ETHUSDT", "BTCUSDT"))
        with pytest.raises(SettingError, match="session = 99 is invalid: of BTCUSDT/ETHUSDT"):
            store.history(PAIR, session=99)
        with pytest.raises(DataError, match="end = 1 is before start = 2"):
            store.alerts(PAIR, 2, 1)
        assert len(store.ticks(("SOLUSDT", "XRPUSDT"))) == 20
        sessions = store.sessions()
    assert sessions["stream"].tolist() == ["aggTrade", "trade", "aggTrade"]
    assert sessions["next_seq"].tolist() == [20, 20, 20]
