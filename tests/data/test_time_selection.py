"""Rows found by moment, by span and by alert; the selection; files of any table."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pairlab import DataError, PairLab, SettingError
from pairlab.alerts import SettingChange
from pairlab.data.alert_log import AlertLog
from pairlab.data.csv_export import alerts_csv
from pairlab.data.time_selection import time_ns
from pairlab.local_exchange import LocalExchange
from pairlab.schema import EVENT, HISTORY_COLUMNS, AlertKind
from tests.ahead import Ahead


@pytest.fixture(scope="module")
def lab() -> PairLab:
    """A stopped lab with some 3,000 rows and many alerts."""

    async def played() -> PairLab:
        async with LocalExchange(Ahead(3_000, seed=11, rate_per_s=4000)) as exchange:
            lab = PairLab(feed=exchange.url, window=30)
            async with lab:
                await lab.wait_async(3_000, 60)
            return lab

    return asyncio.run(played())


def test_between_takes_what_pandas_takes_and_includes_both_ends(lab: PairLab) -> None:
    history = lab.history()
    first, last = history.index[700], history.index[900]
    want = history[(history.index >= first) & (history.index <= last)]
    assert len(want) >= 201
    for start, end in (
        (first, last),
        (first.isoformat(), last.isoformat()),
        (first.tz_localize(None), last.tz_localize(None)),
        (first.tz_convert("Asia/Tokyo"), last.tz_convert("America/New_York")),
        (np.datetime64(first.value, "ns"), np.datetime64(last.value, "ns")),
        (first.value, last.value),
        (first.to_pydatetime(), last.to_pydatetime().astimezone(dt.UTC)),
    ):
        pd.testing.assert_frame_equal(lab.between(start, end), want)
    pd.testing.assert_frame_equal(lab.between(), history)
    pd.testing.assert_frame_equal(lab.between(first), history[history.index >= first])
    pd.testing.assert_frame_equal(lab.between(end=last), history[history.index <= last])
    empty = lab.between("1999-01-01", "1999-01-02")
    assert len(empty) == 0
    assert list(empty.columns) == list(history.columns)


def test_a_span_that_is_none_is_refused_in_words(lab: PairLab) -> None:
    for moment in ("yesterday afternoon", pd.NaT, float("nan"), [1, 2], object(), "9999999-01-01"):
        with pytest.raises(DataError, match=r"start = .* is not a valid time"):
            lab.between(moment)
    with pytest.raises(DataError, match=r"end = '2020-01-01' is before start = '2021-01-01'"):
        lab.between("2021-01-01", "2020-01-01")


def test_what_is_still_to_come_is_refused_as_the_begin_and_taken_as_the_end(lab: PairLab) -> None:
    later = pd.Timestamp.now("UTC") + pd.Timedelta("3h")
    for read in (lab.between, lambda start: lab.csv_pieces("alerts", start)):
        with pytest.raises(DataError, match=r"start = .* which is still to come .*newest row is"):
            read(later)
    assert len(lab.between(end=later)) == len(lab.history())


def test_at_gives_the_very_row_that_an_alert_was_decided_on(lab: PairLab) -> None:
    alerts = lab.alert_log.alerts()
    assert len(alerts) > 30
    history = lab.history()
    for alert in alerts:
        row = lab.at(alert)
        assert row.name == pd.Timestamp(alert.time_ns, tz="UTC")
        assert list(row.index) == list(history.columns)
        for name in HISTORY_COLUMNS:
            np.testing.assert_equal(float(row[name]), float(getattr(alert.at, name)), name)


def test_at_a_moment_is_the_last_row_up_to_it(lab: PairLab) -> None:
    history = lab.history()
    moment = history.index[1000] + pd.Timedelta("1us")
    want = history[history.index <= moment].iloc[-1]
    pd.testing.assert_series_equal(lab.at(moment), want)
    with pytest.raises(DataError, match=r"no row of 1999-.* is held: the oldest held is of"):
        lab.at("1999-01-01")
    with pytest.raises(DataError, match=r"no row of .* is held: there is none yet"):
        PairLab(feed="demo").at("2026-01-01")


async def test_at_says_why_an_alerts_row_is_gone() -> None:
    async with LocalExchange(Ahead(3_000, seed=11, rate_per_s=4000)) as exchange:
        lab = PairLab(feed=exchange.url, window=30, history_rows=400)
        async with lab:
            await lab.wait_async(3_000, 60)
        alerts = lab.alert_log.alerts()
        with pytest.raises(DataError, match=r"history_rows = 400"):
            lab.at(alerts[0])
        lab.settings.window = 60
        with pytest.raises(DataError, match="has been recomputed since, under other settings"):
            lab.at(alerts[-1])


def test_the_selection_is_a_frame_whatever_is_selected(lab: PairLab) -> None:
    history = lab.history()
    none = lab.selection
    assert len(none) == 0
    assert list(none.columns) == list(history.columns)
    lab.select(history.index[10], history.index[20])
    pd.testing.assert_frame_equal(lab.selection, lab.between(history.index[10], history.index[20]))
    assert lab.selected_ns == (history.index[10].value, history.index[20].value)
    lab.select(start=history.index[-5])
    assert lab.selection.index[-1] == history.index[-1]
    with pytest.raises(DataError, match="before start"):
        lab.select(history.index[20], history.index[10])
    assert lab.selected_ns is not None, "a refused span leaves the old one"
    lab.select()
    assert lab.selected_ns is None
    assert len(lab.selection) == 0


def test_times_of_today_are_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    for zone in ("America/New_York", "Pacific/Kiritimati"):
        with monkeypatch.context() as there:
            there.setenv("TZ", zone)
            time.tzset()
            now = pd.Timestamp.now("UTC")
            for word in ("now", "Today", " now "):
                assert abs(time_ns(word, "when") - now.value) < 60 * 10**9
            for text in ("14:30", "09:05:01.25"):
                want = pd.Timestamp(f"{now:%Y-%m-%d} {text}", tz="UTC").value
                assert time_ns(text, "when") - want in (0, 86_400 * 10**9)  # it was midnight
        time.tzset()
    noon = pd.Timestamp("2025-10-09 12:00", tz="UTC").value
    assert time_ns("12:00 2025-10-09", "when") == noon  # it names its day
    with pytest.raises(DataError, match="when = '25:99' is not a valid time"):
        time_ns("25:99", "when")


def test_a_selection_is_never_the_wrong_way_round(lab: PairLab) -> None:
    first, last = lab.history().index[100], lab.history().index[200]
    lab.select(first, last)
    for start, end, word in (("2099-01-01", None, "start"), (None, "1999-01-01", "end")):
        with pytest.raises(DataError, match=f"{word} = '.*' is outside of the history: 20"):
            lab.select(start, end)
    assert len(lab.selection) == len(lab.between(first, last))  # it stays
    empty = PairLab(feed="demo")
    with pytest.raises(DataError, match="no rows yet: give both"):
        empty.select("2026-01-01")
    empty.select("2026-01-01", "2026-01-02")
    assert empty.selected_ns == tuple(time_ns(f"2026-01-0{d}", "when") for d in (1, 2))
    empty.select()
    assert empty.selected_ns is None


@pytest.mark.parametrize("what", ["history", "ticks", "alerts"])
def test_every_table_is_written_with_its_own_numbers(
    lab: PairLab, what: str, tmp_path: Path
) -> None:
    table = getattr(lab, what)()
    lab.to_csv(tmp_path / "all.csv", what)
    back = pd.read_csv(tmp_path / "all.csv", index_col="time", parse_dates=True)
    assert list(back.columns[:-1]) == [*table.columns, "source"]
    assert back["source"].str.endswith(" (not real money)").all()
    assert back.columns[-1].startswith("pair=BTCUSDT/ETHUSDT; stream=aggTrade; timeframe=")
    assert back.iloc[:, -1].isna().all()
    assert (back.index.as_unit("ns") == table.index).all()
    for name in table.columns:
        if table[name].dtype.kind == "f":
            np.testing.assert_array_equal(back[name].to_numpy(float), table[name].to_numpy())
    if what == "ticks":
        assert (pd.to_datetime(back["received"]) == table["received"]).all()
        assert (back["symbol"] == table["symbol"].astype(str)).all()
    first, last = lab.history().index[800], lab.history().index[1400]
    part = pd.read_csv(io.BytesIO(lab.csv_bytes(what, first, last)), index_col="time")
    wanted = table[(table.index >= first) & (table.index <= last)]
    assert len(part) == len(wanted)
    assert 0 < len(part) < len(table)
    empty = lab.csv_bytes(what, "1999-01-01", "1999-01-02").decode()
    assert empty.startswith("time,")
    assert empty.count("\n") == 1


@pytest.mark.slow
def test_no_table_becomes_one_long_string(lab: PairLab) -> None:
    class Target:
        def __init__(self) -> None:
            self.pieces: list[str] = []

        def write(self, text: str) -> None:
            self.pieces.append(text)

    log = AlertLog(10_000)
    values, rows = lab.settings.values(), lab.rows.view(1)
    event = np.zeros(1, EVENT)
    event["kind"], event["side"] = AlertKind.ENTRY, 1
    for n in range(1_100):  # three pieces, with the changes of settings
        log.add(event, rows, values)
        if n % 7 == 0:
            log.changed(SettingChange(int(rows["time_ns"][0]), "window", n, n + 1))
    one_by_one = "".join(next(alerts_csv([entry])).split("\n", 1)[1] for entry in log)
    assert "".join(alerts_csv(list(log))).split("\n", 1)[1] == one_by_one

    big = PairLab(feed="demo")
    big._pipeline.start_engine()
    for _ in range(20):  # of 3,000 ticks each
        big._pipeline.on_ticks(lab._pipeline.ticks.view()[:3_000])
    big._pipeline.alert_log = log
    for what in ("history", "ticks", "alerts"):
        target = Target()
        big.to_csv(target, what)
        whole = sum(map(len, target.pieces))
        assert max(map(len, target.pieces)) < 0.5 * whole, what
        assert "".join(target.pieces) == big.csv_bytes(what).decode()


def test_an_unknown_table_is_refused(lab: PairLab) -> None:
    with pytest.raises(SettingError, match="one of 'history', 'ticks', 'alerts'"):
        lab.csv_bytes("bars")
