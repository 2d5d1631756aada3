"""Rows found by moment, by span and by alert; the selection; files of any table."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pairlab import DataError, PairLab, SettingError
from pairlab.exchange import LocalExchange, SyntheticMarket
from pairlab.lookup import time_ns
from pairlab.ticks import HISTORY_COLUMNS


@pytest.fixture(scope="module")
def lab() -> PairLab:
    """A stopped lab with some 3,000 rows and many alerts."""

    async def played() -> PairLab:
        async with LocalExchange(SyntheticMarket(seed=11, rate_per_s=4000)) as exchange:
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


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine so far ahead of UTC, or behind, that it has another day."""
    hour = dt.datetime.now(dt.UTC).hour
    monkeypatch.setenv("TZ", "XXX-14" if hour >= 10 else "XXX+12")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("elsewhere")
def test_a_moment_without_a_zone_is_utc_wherever_the_machine_stands(lab: PairLab) -> None:
    def day() -> str:
        return f"{pd.Timestamp.now('UTC'):%Y-%m-%d}"

    assert day() != f"{dt.datetime.now():%Y-%m-%d}"
    for word in ("now", "today"):
        assert abs(time_ns(word, "when") - time.time_ns()) < 60e9
    before = day()
    times = {"12:00": "12:00", " 9:05:01.25 ": "09:05:01.25", "5:30 pm": "17:30",
             "12:00Z": "12:00", "12:00+02:00": "10:00"}  # fmt: skip
    found = [time_ns(asked, "when") for asked in times]
    days = (before, day())  # midnight may pass while this runs
    assert found in [[pd.Timestamp(f"{d} {t}").value for t in times.values()] for d in days]
    assert lab.at("now").name == lab.history().index[-1]
    assert len(lab.between("now")) == 0
    lab.select("2026-01-01 12:00", "now")
    assert lab.selected_ns is not None
    assert abs(lab.selected_ns[1] - time.time_ns()) < 60e9
    lab.select()
    assert lab.csv_bytes("history", "now").count(b"\n") == 1


def test_a_span_that_is_none_is_refused_in_words(lab: PairLab) -> None:
    for moment in ("yesterday afternoon", pd.NaT, float("nan"), [1, 2], object(), "9999999-01-01"):
        with pytest.raises(DataError, match=r"start = .* is no moment in time"):
            lab.between(moment)
    with pytest.raises(DataError, match=r"end = '2020-01-01' is before start = '2021-01-01'"):
        lab.between("2021-01-01", "2020-01-01")


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
    async with LocalExchange(SyntheticMarket(seed=11, rate_per_s=4000)) as exchange:
        lab = PairLab(feed=exchange.url, window=30, history_rows=400)
        async with lab:
            await lab.wait_async(3_000, 60)
        alerts = lab.alert_log.alerts()
        with pytest.raises(DataError, match=r"history_rows = 400"):
            lab.at(alerts[0])
        lab.settings.window = 60
        with pytest.raises(DataError, match="computed anew since, under other settings"):
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


def test_one_end_outside_of_the_history_selects_nothing_and_says_so(lab: PairLab) -> None:
    index = lab.history().index
    lab.select(index[10], index[20])
    kept = lab.selected_ns
    with pytest.raises(DataError, match=r"start = '2099-01-01' alone .* after the newest row"):
        lab.select(start="2099-01-01")
    with pytest.raises(DataError, match=r"end = '1999-01-01' alone .* before the oldest row"):
        lab.select(end="1999-01-01")
    assert lab.selected_ns == kept
    lab.select(start="1999-01-01")
    assert lab.selected_ns == (pd.Timestamp("1999-01-01").value, index[-1].value)
    lab.select(end=index[0])
    assert lab.selected_ns == (index[0].value, index[0].value)
    lab.select()


def test_before_the_first_row_a_span_is_selected_by_both_its_ends() -> None:
    lab = PairLab(feed="demo")
    with pytest.raises(DataError, match=r"end = '2026-01-02' alone .* no row yet"):
        lab.select(end="2026-01-02")
    assert lab.selected_ns is None
    lab.select("2026-01-01", "2026-01-02")
    ends = pd.Timestamp("2026-01-01").value, pd.Timestamp("2026-01-02").value
    assert lab.selected_ns == ends
    assert len(lab.selection) == 0
    lab.select()
    assert lab.selected_ns is None


@pytest.mark.parametrize("what", ["history", "ticks", "alerts"])
def test_every_table_is_written_with_its_own_numbers(
    lab: PairLab, what: str, tmp_path: Path
) -> None:
    table = getattr(lab, what)()
    lab.to_csv(tmp_path / "all.csv", what)
    back = pd.read_csv(tmp_path / "all.csv", index_col="time", parse_dates=True)
    assert list(back.columns) == list(table.columns)
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


def test_an_unknown_table_is_refused(lab: PairLab) -> None:
    with pytest.raises(SettingError, match="one of 'history', 'ticks', 'alerts'"):
        lab.csv_bytes("bars")
