"""The lab on real recordings, through a real WebSocket server."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sys
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

from pairlab import PairLab, PairlabError, SettingError, WaitTimeoutError
from pairlab.data.csv_export import alerts_csv
from pairlab.local_exchange import LocalExchange, Recording, SyntheticMarket
from pairlab.schema import HISTORY_COLUMNS, NO_TIME_NS, AlertKind, RowFlag
from pairlab.services.rest.serializers import entries_to_dicts
from tests.ahead import Ahead
from tests.oracles import python_signals, two_pass

pytestmark = pytest.mark.usefixtures("no_task_left")

RECORDED_PAIR = "binance-usdm-trade-20240808"
TRADES_2024 = {"BTCUSDT": 21_313, "ETHUSDT": 14_076}


async def until_ended(lab: PairLab, timeout_s: float = 120.0) -> None:
    """Wait for the feed of a recording to come to its end."""
    assert lab._runner._main is not None
    async with asyncio.timeout(timeout_s):
        await asyncio.shield(lab._runner._main)


async def played(*paths: Path, **options: Any) -> PairLab:
    """Play recordings to their end as fast as it goes, through the socket."""
    market = await asyncio.to_thread(Recording, list(paths), speed=None)
    async with LocalExchange(market) as exchange:
        lab = PairLab("BTCUSDT", "ETHUSDT", feed=exchange.url, stream="trade", **options)
        async with lab:
            await until_ended(lab)
    return lab


@pytest.mark.slow
@pytest.mark.data
async def test_recorded_pair_arrives_whole_and_every_row_equals_two_passes(recorded: Path) -> None:
    lab = await played(recorded / RECORDED_PAIR)
    ticks, history = lab.ticks(), lab.history()
    assert ticks["symbol"].value_counts().to_dict() == TRADES_2024
    for _, leg in ticks.groupby("symbol", observed=True):
        assert (np.diff(leg["id"]) == 1).all()
    first = max(np.flatnonzero(ticks["symbol"] == s)[0] for s in TRADES_2024)
    assert len(history) == len(ticks) - first
    assert lab.health().ticks == sum(TRADES_2024.values())

    price = ticks["price"].where(ticks["symbol"] == "BTCUSDT").ffill().to_numpy()[first:]
    other = ticks["price"].where(ticks["symbol"] == "ETHUSDT").ffill().to_numpy()[first:]
    want = two_pass(price, other, window=50, hedge_ratio=25.0)
    for name in ("spread", "zscore", "correlation"):
        got = history[name].to_numpy()
        assert (np.isnan(got) == np.isnan(want[name])).all(), name
        seen = ~np.isnan(got)
        assert seen.mean() > 0.5, name
        error = np.abs(got[seen] - want[name][seen]) / np.maximum(1, np.abs(want[name][seen]))
        assert error.max() <= 1e-9, name


@pytest.mark.slow
@pytest.mark.data
async def test_alerts_follow_the_table(recorded: Path) -> None:
    lab = await played(recorded / RECORDED_PAIR)
    rows = lab.rows.view()
    want = python_signals(rows, lab.settings.values())
    got = [(alert.time_ns, alert.kind, alert.side) for alert in lab.alert_log.alerts()]
    assert got == [(rows["time_ns"][i], kind, side) for i, kind, side in want]
    kinds = {kind for _, kind, _ in got}
    assert {AlertKind.ENTRY, AlertKind.EXIT, AlertKind.SUPPRESSED} <= kinds


@pytest.mark.slow
@pytest.mark.data
async def test_insurance_fund_trade_is_counted_and_in_no_price(recorded: Path) -> None:
    # The 2023 recording has one leg only; the other comes from 2024.
    eth = recorded / RECORDED_PAIR / "ethusdt_20240808.gz"
    lab = await played(recorded / "binance-usdm-trade-20230404", eth)
    prices = lab.ticks().loc[lambda t: t["symbol"] == "BTCUSDT", "price"]
    assert len(prices) == 12_934
    assert prices.max() < 28_700
    assert lab.health().dropped == {"not market": 1}


@contextlib.asynccontextmanager
async def exchange_process(rate_per_s: float) -> AsyncIterator[str]:
    """An exchange in a process of its own, which goes on while our loop is blocked."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pairlab.local_exchange", "--seed", "7", "--rate", str(rate_per_s),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        while "ws://" not in (line := (await process.stdout.readline()).decode()):
            assert line, "the exchange ended without an address"
        yield "ws://" + line.split("ws://")[1].split()[0]
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.slow
async def test_a_blocked_cell_loses_no_trade_and_is_told_from_a_stall() -> None:
    async with exchange_process(2000) as url:
        async with PairLab(feed=url, stream="trade") as lab:
            await lab.wait_async(2_000, 60)
            began = pd.Timestamp.now("UTC")
            while pd.Timestamp.now("UTC") < began + pd.Timedelta("1.5s"):
                pass  # a cell that computes: the loop stands still
            ended = pd.Timestamp.now("UTC")
            lags_ms = []
            async with asyncio.timeout(10):  # the next look at the loop's lateness sees it
                while not lags_ms or lags_ms[-1] < 1_000:
                    await asyncio.sleep(0)
                    lags_ms.append(lab.health().loop_lag_ms)
            await lab.wait_async(lab.health().rows + 4_000, 60)
            assert lab._runner._feed.health().loop_lag_max_ms >= 1_000
            health = lab.health()
        ticks = lab.ticks()
    # The exchange's clock runs as fast as ours: what was made meanwhile came when the cell ended.
    made = ticks.index + (ticks["received"] - ticks.index).min()
    meanwhile = ticks[(made > began) & (made < ended)]
    assert len(meanwhile) > 1_000
    assert (meanwhile["received"] >= ended).mean() > 0.95  # but for what was on its way at first
    for symbol in ("BTCUSDT", "ETHUSDT"):
        assert (np.diff(ticks.loc[ticks["symbol"] == symbol, "id"]) == 1).all()
    assert (health.state, health.reconnects, health.gaps) == ("live", 0, 0)
    [told] = [e for e in lab.event_log if "a cell kept the notebook busy" in e.message]
    assert told.level == "info"
    assert not [entry for entry in lab.event_log if entry.level != "info"]


async def test_stop_leaves_no_socket_and_stays_readable() -> None:
    process = psutil.Process()
    market = Ahead(100, seed=3, rate_per_s=2000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with LocalExchange(market) as exchange:
            lab = PairLab(feed=exchange.url)
            lab.start()
            lab.start()
            await lab.wait_async(100, 60)
            assert lab.health().state == "live"
            await lab.stop()
            await lab.stop()
            port = int(exchange.url.rsplit(":", 1)[1])
            ours = [
                c for c in process.net_connections("tcp")
                if c.raddr and c.raddr.port == port and c.status == psutil.CONN_ESTABLISHED
            ]  # fmt: skip
            assert ours == []
    assert lab.health().state == "stopped"
    assert len(lab.history()) >= 100
    assert lab.latest() is not None


async def test_a_second_lab_replaces_the_first() -> None:
    async with LocalExchange(Ahead(100, seed=3, rate_per_s=2000)) as exchange:
        first = PairLab(feed=exchange.url).start()
        await first.wait_async(100, 60)
        second = PairLab(feed=exchange.url).start()
        await second.wait_async(100, 60)
        assert first.health().state == "stopped"
        assert second.health().state == "live"
        other = PairLab(feed=exchange.url, stream="trade").start()
        await other.wait_async(100, 60)
        assert second.health().state == "live"  # another stream is another lab
        await second.stop()
        await other.stop()


async def test_start_needs_a_loop_and_wait_tells_what_is_missing() -> None:
    with pytest.raises(PairlabError, match="running event loop"):
        await asyncio.to_thread(PairLab("BTCUSDT", "ETHUSDT").start)
    async with (
        LocalExchange(Ahead(10, seed=3)) as exchange,
        PairLab(feed=exchange.url) as lab,
    ):
        for rows, timeout_s, told in (
            (10, float("nan"), r"timeout_s = nan is invalid: expected a number of seconds, 0 or"),
            (10, -1.0, r"timeout_s = -1\.0"), (10, "x", r"timeout_s = 'x'"),
            (10, None, "timeout_s"), (10, True, "timeout_s"),
            ("x", 1.0, r"rows = 'x' is invalid: expected a whole number"),
            (1.5, 1.0, r"rows = 1\.5"), (True, 1.0, "rows"),
        ):  # fmt: skip
            with pytest.raises(SettingError, match=told):
                await lab.wait_async(rows, timeout_s)
            with pytest.raises(SettingError, match=told):
                lab.wait(rows, timeout_s)
        await lab.wait_async(np.int64(1), np.float64(10.0))
        with pytest.raises(WaitTimeoutError, match=r"of 1,000,000 rows after 0.2 s"):
            await lab.wait_async(1_000_000, 0.2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"y": "BTCUSDT", "x": "BTCUSDT"}, "two different symbols"),
        ({"stream": "trades"}, "aggTrade"),
        ({"entri_z": 2}, "entry_z"),
        ({"y": "SOLUSDT"}, "hedge_ratio"),
        ({"strem": "trade"}, "stream"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        PairLab(**options)


async def test_a_missing_recording_fails_in_plain_words(tmp_path: Path) -> None:
    path = tmp_path / "none.gz"
    with pytest.raises(SettingError, match=r"none\.gz.*expected 'binance', 'demo'"):
        PairLab(feed=path)
    path.write_bytes(b"")
    lab = PairLab(feed=path)
    path.unlink()  # between then and the start
    async with lab:
        await until_ended(lab)
        health = lab.health()
    assert health.state == "failed"
    assert "none.gz" in health.detail
    assert any("none.gz" in entry.message for entry in lab.event_log)


async def test_settings_apply_and_are_logged() -> None:
    async with (
        LocalExchange(Ahead(1_000, seed=3, rate_per_s=4000)) as exchange,
        PairLab(feed=exchange.url, stream="trade") as lab,
    ):
        await lab.wait_async(1_000, 60)
        lab.settings.entry_z = 1.5
        lab.settings.window = 80
        lab.settings.hedge_ratio = 24.0
        await lab.wait_async(lab.health().rows + 2_000, 60)
        assert lab._pipeline.fits_settings()
        history, ticks = lab.history(), lab.ticks()
    log = lab.alerts()
    changes = log[log["kind"] == "SETTING"]
    assert list(changes["setting"]) == ["entry_z", "window", "hedge_ratio"]
    assert list(changes["old"]) == [2.0, 50, 25.0]
    # No window mixes two definitions: every row is what the final settings make of the ticks.
    y = ticks["price"].where(ticks["symbol"] == "BTCUSDT").ffill().to_numpy()[-len(history) :]
    x = ticks["price"].where(ticks["symbol"] == "ETHUSDT").ffill().to_numpy()[-len(history) :]
    want = two_pass(y, x, window=80, hedge_ratio=24.0)
    np.testing.assert_allclose(history["zscore"], want["zscore"], rtol=1e-9, atol=1e-9)
    numbers = [alert.number for alert in lab.alert_log.alerts()]
    assert numbers == sorted(set(numbers))
    times = [alert.time_ns for alert in lab.alert_log.alerts()]
    assert times == sorted(times), "a rebuild must not alert on the past again"


async def test_csv_reads_back_to_the_same_bits(tmp_path: Path) -> None:
    async with (
        LocalExchange(Ahead(1_000, seed=3, rate_per_s=4000)) as exchange,
        PairLab(feed=exchange.url) as lab,
    ):
        await lab.wait_async(1_000, 60)
    await asyncio.to_thread(lab.to_csv, tmp_path / "session.csv")
    back = pd.read_csv(tmp_path / "session.csv", index_col="time", parse_dates=True)
    history = lab.history()
    assert list(back.columns[:-1]) == [*HISTORY_COLUMNS, "source"]
    assert back.columns[-1].startswith("pair=BTCUSDT/ETHUSDT; stream=aggTrade; timeframe=tick; ")
    assert (back.index.as_unit("ns") == history.index).all()
    for name in HISTORY_COLUMNS:
        np.testing.assert_array_equal(back[name].to_numpy(float), history[name].to_numpy(float))
    written = await asyncio.to_thread((tmp_path / "session.csv").read_bytes)
    assert written == await asyncio.to_thread(lab.csv_bytes)


async def test_history_is_a_picture_of_its_moment() -> None:
    async with (
        LocalExchange(Ahead(1_000, seed=3, rate_per_s=4000)) as exchange,
        PairLab(feed=exchange.url, history_rows=100) as lab,
    ):
        await lab.wait_async(200, 60)
        frame = lab.history()
        kept = frame.copy(deep=True)
        assert len(frame) == 100
        await lab.wait_async(lab.health().rows + 500, 60)
        pd.testing.assert_frame_equal(frame, kept)


@pytest.mark.parametrize("hedge", ["fixed", "kalman"])
async def test_long_bars_are_warm_from_the_first_row(hedge: str) -> None:
    async with (
        LocalExchange(SyntheticMarket(seed=3, rate_per_s=200)) as exchange,
        PairLab(feed=exchange.url, timeframe="5m", hedge=hedge) as lab,
    ):
        await lab.wait_async(50, 60)
        seeded = lab.rows.view()
        assert (seeded["flags"] & RowFlag.SEEDED).all()
        assert np.isfinite(seeded["zscore"][-1])
        assert np.isfinite(seeded["p_value"][-1])
        assert not lab.alert_log.alerts()
        lab.settings.timeframe = "1h"
        assert lab._runner._rebuilder.task is not None
        await lab._runner._rebuilder.task
        assert lab.history().index.to_series().diff().iloc[1:].unique() == [pd.Timedelta("1h")]
        assert lab.rows.view()["filled"][-1] == 50
        # the exchange has 336 hours: too few for a filter with a half-life of 300
        assert np.isfinite(lab.rows.view()["zscore"][-1]) == (hedge == "fixed")
        ticks = lab.health().ticks
        while lab.health().ticks <= ticks + 20:  # the forming bar needs a tick of each leg
            await lab.wait_async(1, 10)
            await asyncio.sleep(0)
        forming = lab.latest()
        assert forming is not None
        assert forming.provisional
        assert forming.time_ns % (3_600 * 10**9) == 0
        assert min(forming.y_age_s, forming.x_age_s) == 0.0


_NEVER_STOPPED = """
import asyncio
from pairlab import PairLab
from pairlab.data.csv_export import alerts_csv
from pairlab.local_exchange import LocalExchange, SyntheticMarket

async def main():
    global lab, dashboard
    async with LocalExchange(SyntheticMarket(seed=11, speed=10.0)) as exchange:
        lab = PairLab(feed=exchange.url, window=30)
        lab.start()
        dashboard = lab.dashboard()
        await lab.wait_async(50, 60)
        print(len(lab.history()) >= 50)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_program_that_ends_without_stopping_its_lab_ends_in_silence() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _NEVER_STOPPED,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complaint = await process.communicate()
    assert (process.returncode, said.decode().strip(), complaint.decode()) == (0, "True", "")


def test_the_facade_says_which_methods_are_awaited() -> None:
    awaited = {n for n, m in vars(PairLab).items() if inspect.iscoroutinefunction(m)}
    assert {"stop", "wait_async", "wait_closed", "serve"} <= awaited
    assert PairLab.history.__qualname__ == "PairLab.history"
    assert list(inspect.signature(PairLab.to_csv).parameters)[1:] == [
        "target", "what", "start", "end"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("legs", "name"),
    [((None, "ETHUSDT"), "y"), (("BTCUSDT", None), "x"), (("", "ETHUSDT"), "y"),
     ((3, "ETHUSDT"), "y"), (("BTCUSDT", b"ETHUSDT"), "x"), ((None, None), "y")],
)  # fmt: skip
def test_what_is_no_symbol_is_refused_at_once(legs, name):
    with pytest.raises(SettingError, match=f"^{name} = .* is invalid: expected a symbol"):
        PairLab(*legs, hedge="ols")


def test_returns_per_tick_are_refused_at_once_and_while_it_runs():
    with pytest.raises(SettingError, match="per tick is 0 whatever the legs do"):
        PairLab(hedge="ols", correlation_of="returns")
    lab = PairLab(hedge="ols", correlation_of="returns", timeframe="1s")
    with pytest.raises(SettingError, match="timeframe = 'tick' is invalid"):
        lab.settings.timeframe = "tick"
    assert lab.settings.timeframe == "1s"


async def test_before_the_first_tick_there_is_no_time() -> None:
    lab = PairLab(feed="demo")
    assert lab.newest_ns == NO_TIME_NS
    lab.settings.entry_z = 2.5
    (change,) = lab.alert_log
    assert change.time_ns == NO_TIME_NS
    line = "".join(alerts_csv([change])).splitlines()[1]
    assert line.split(",")[0] == ""
    (entry,) = entries_to_dicts([change])
    assert entry["time"] is None
    assert lab.alert_log.frame().index.isna().all()
