"""The session's money: what the panel shows is what the ledger has, in bounded bytes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pairlab import PairLab
from pairlab.backtesting.live.compiled import wait_compiled
from pairlab.protocols import SessionMoney
from pairlab.widgets import SessionPnl
from tests.widgets.conftest import MakeLab, settled
from tests.widgets.core.test_lab_view import Result
from tests.widgets.strip.test_status_bar import text


@pytest.fixture(autouse=True, scope="module")
def compiled() -> None:
    wait_compiled()


class Session:
    """Of any money."""

    def __init__(self, **money: Any) -> None:
        self.since_ns: int | None = 1_723_161_256_000_000_000
        self.money = replace(SessionMoney.nothing(10_000.0), **money)
        self.times, self.equity = np.zeros(0, np.int64), np.zeros(0)

    def curve(self) -> tuple[Any, Any]:
        return self.times, self.equity


def shown(panel: SessionPnl) -> dict[str, str]:
    cells = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", panel._figures.value)
    return {name: text(told) for name, told in cells}


def painted(panel: SessionPnl) -> dict[str, str]:
    panel.render_loop.paint(due=True)
    return shown(panel)


async def test_it_shows_what_a_session_made(running_lab: MakeLab) -> None:
    async with running_lab(entry_z=0.4, exit_z=0.2, min_correlation=-1.0, fee_bps=1.0) as lab:
        panel = SessionPnl(lab)
        assert painted(panel)["closed"] in ("0", str(lab.session_pnl.money.trades))
        await settled(lambda: lab.session_pnl.money.trades > 3, lab, 60)
        await lab.stop()
        told, money, trades = painted(panel), lab.session_pnl.money, lab.session_pnl.trades()
        left = trades["reason"] != "open"
        assert told["closed"] == str(left.sum())
        assert told["won"] == f"{100 * (trades['net'][left] > 0).mean():.0f} %"
        assert number_of(told["realised"]) == pytest.approx(trades["net"][left].sum(), abs=0.06)
        assert number_of(told["unrealised"]) == pytest.approx(money.open_net, abs=0.06)
        assert number_of(told["drawdown"]) == pytest.approx(-money.drawdown, abs=0.06)
        assert "net" in panel._head.value
        assert "1 bps a fill" in panel._figures.tooltip
        points = re.search(r'points="([^"]+)"', panel._curve.value)
        assert points is not None
        xy = [tuple(map(float, point.split(","))) for point in points[1].split()]
        assert 2 <= len(xy) <= 330
        assert all(0 <= x <= 320 and 0 <= y <= 100 for x, y in xy)


def number_of(told: str) -> float:
    return float(told.replace("−", "-").replace(",", ""))


async def test_money_of_any_size_fits_and_is_told_by_its_sign(running_lab: MakeLab) -> None:
    async with running_lab(rows=30) as lab:
        panel = SessionPnl(lab)
        for at, net in enumerate((0.0, 3.25, -3.25, 1e-7, -4.2e7, 123_456.789)):
            panel._session = session = Session(trades=3, wins=1, net=net, costs=2.0, drawdown=1.5)
            session.times = np.arange(at, at + 5, dtype=np.int64) * 10**9
            session.equity = 10_000.0 + net * np.arange(5)
            told = painted(panel)
            assert told["closed"] == "3"
            assert told["won"] == "33 %"
            assert all(len(value) <= 11 for value in told.values()), told
            tone = "corr" if net >= 0 else "warn"
            assert f'<b style="color:var(--pairlab-{tone})">' in panel._head.value
            assert f'stroke="var(--pairlab-{tone})"' in panel._curve.value
            assert "nan" not in panel._curve.value


async def test_before_a_tick_and_in_two_currencies_nothing_is_claimed(running_lab: MakeLab) -> None:
    async with running_lab(rows=30) as lab:
        panel = SessionPnl(lab)
        panel._session = session = Session()
        session.since_ns = None
        told = painted(panel)
        assert told["won"] == "–"
        assert "no tick yet" in panel._head.value
        assert panel._curve.value == ""
    two = PairLab("BTCUSDT", "ETHBTC", feed="demo", hedge_ratio=1.0)
    panel = SessionPnl(two)
    painted(panel)
    assert "two currencies" in panel._figures.value
    panel.close()


async def test_it_stands_still_while_the_view_is_paused(running_lab: MakeLab) -> None:
    async with running_lab(rows=30) as lab:
        panel = SessionPnl(lab)
        panel._session = Session(trades=1)
        assert painted(panel)["closed"] == "1"
        panel.render_loop.view.pause(True)
        panel._session = Session(trades=2)
        assert painted(panel)["closed"] == "1"
        panel.render_loop.view.pause(False)
        assert painted(panel)["closed"] == "2"


def test_a_result_has_none_and_says_so() -> None:
    panel = SessionPnl(Result())
    panel.render_loop.paint(due=True)
    assert "no session" in panel._figures.value
    panel.close()


def test_who_does_not_ask_pays_nothing() -> None:
    lab = PairLab(feed="demo")
    dashboard = lab.dashboard()
    assert lab._pipeline.taps == ()
    assert "session" not in dashboard.parts
    wide = lab.dashboard("wide")
    assert wide.parts["session"]._session is lab.session_pnl
    assert lab._pipeline.taps == (lab.session_pnl,)
    dashboard.close()
    wide.close()
