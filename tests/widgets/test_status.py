"""The strip in every state: told by a word and a shape, never by colour alone."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import Any

from pairlab import PairLab
from pairlab.ticks import NS_PER_S, Records, RowFlag
from pairlab.widgets import SignalPanel, StatusBar
from pairlab.widgets.formats import duration
from pairlab.widgets.frame import Frame
from tests.engine import worlds
from tests.widgets.conftest import MakeLab


def text(html: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip())


def painted(lab: PairLab, live: dict[str, Any] | None = None, **health: Any) -> dict[str, str]:
    """Paint the strip and the event line from a frame of this lab with some facts changed."""
    parts, screen = lab.dashboard().parts, lab.dashboard().screen
    frame: Frame = screen._frame(due=True)
    frame.health = replace(frame.health, **health)
    if live is not None:
        frame.live = replace(frame.live, **live)
    parts["strip"].paint(frame)
    parts["event"].paint(frame)
    shown = {name: cell.value for name, cell in parts["strip"]._cells.items()}
    return {**shown, "event": parts["event"]._event.value}


async def test_a_running_lab(running_lab: MakeLab) -> None:
    async with running_lab(stop_z=4.0) as lab:
        shown = painted(lab)
        assert text(shown["pair"]) == "BTCUSDT / ETHUSDT tick · fixed β · 60 rows"
        assert " · live" in text(shown["feed"])
        assert "pairlab-badge-sim" in shown["feed"]
        assert re.fullmatch(r"ticks/s [\d,.]+", text(shown["rate"]))
        assert re.fullmatch(r"lag p50 / p99 [−\d,.]+ / [−\d,.]+ ms", text(shown["lag"]))
        assert text(shown["gaps"]) == "gaps 0"
        assert re.search(r"STATIONARY p (<0\.001|\d\.\d{3}) · half-life", text(shown["test"]))


FEED_STATES = [
    ({"state": "live", "real_money": True, "feed": "BINANCE"}, "BINANCE · live", "live"),
    ({"state": "live", "real_money": False, "feed": "RECORDING"}, "RECORDING · live", "sim"),
    ({"state": "stalled", "detail": "no data for 12 s"}, "STALLED", "warn"),
    ({"state": "reconnecting", "detail": "try 3 in 4 s"}, "RECONNECTING", "warn"),
    ({"state": "connecting", "detail": "starting"}, "CONNECTING", "calm"),
    ({"state": "failed", "detail": "refused (HTTP 451). Use …"}, "FAILED · HTTP 451", "fail"),
    ({"state": "failed", "detail": "no such file"}, "FAILED", "fail"),
    ({"state": "stopped", "detail": "stopped"}, "STOPPED", "calm"),
]


async def test_feed_states(running_lab: MakeLab) -> None:
    async with running_lab(rows=80) as lab:
        for facts, badge, kind in FEED_STATES:
            shown = painted(lab, **facts)["feed"]
            assert badge in text(shown)
            assert f"pairlab-badge-{kind}" in shown
            assert "<svg" in shown
            if facts["state"] != "live":
                assert facts["detail"] in text(shown) or "not retried" in text(shown)


async def test_unknown_numbers_are_a_dash_and_never_zero(running_lab: MakeLab) -> None:
    async with running_lab(rows=80) as lab:
        shown = painted(lab, state="reconnecting", detail="try 3 in 4 s", gaps=1, missing=7)
        assert text(shown["rate"]) == "ticks/s –"
        assert text(shown["lag"]) == "lag p50 / p99 –"
        assert "pairlab-warn" in shown["gaps"]
        assert "no new rows" in text(shown["signal"]) or "z" in text(shown["signal"])


async def test_warm_up_tells_how_far_it_is(running_lab: MakeLab) -> None:
    async with running_lab(rows=30, window=4000) as lab:
        shown = painted(lab, filled=1000, window=4000, ticks_per_s=500.0)
        assert text(shown["test"]).startswith("NOT ENOUGH DATA 1,000 of 4,000 rows, 6.0 s left")
        assert "width:25%" in shown["test"]
        assert text(shown["signal"]) == "FLAT no signals before 4,000 rows"


STATIONARITY = [
    ({"stationary": 1, "p_value": 0.033, "half_life": 9.5}, "STATIONARY p 0.033 · half-life 9.5"),
    (
        {"stationary": 0, "p_value": 0.214, "half_life": float("nan")},
        "NOT STATIONARY p 0.214 · half-life –",
    ),
    (
        {"stationary": -1, "flags": int(RowFlag.FLAT_SPREAD)},
        "FLAT SPREAD zero variance in 60 rows",
    ),
]


async def test_stationarity(running_lab: MakeLab) -> None:
    async with running_lab(rows=100) as lab:
        for live, words in STATIONARITY:
            assert text(painted(lab, live)["test"]) == words


async def test_the_signal_and_its_reasons(running_lab: MakeLab) -> None:
    async with running_lab(rows=100) as lab:
        flat = {"position": 0, "zscore": -0.84, "correlation": 0.9}
        assert text(painted(lab, flat, state="live")["signal"]) == (
            "FLAT |z| 0.84 < 2.00 filters pass"
        )
        weak = {**flat, "correlation": 0.61}
        assert "ρ 0.61 < 0.70" in text(painted(lab, weak, state="live")["signal"])
        held = {"position": -1, "zscore": 1.2}
        shown = painted(lab, held, state="live")["signal"]
        assert text(shown).startswith("SHORT SPREAD")
        assert text(shown).endswith("out at z ≤ +0.50")
        assert "pairlab-outline" not in shown
        silent = painted(lab, {"position": 1}, state="stalled", detail="…")["signal"]
        assert text(silent).startswith("LONG SPREAD")
        assert text(silent).endswith("no new rows")
        assert "pairlab-outline" in silent


async def test_a_failure_stays_on_the_event_line(running_lab: MakeLab) -> None:
    async with running_lab(rows=80) as lab:
        lab.note("error", "Binance refuses connections from this location (HTTP 451).")
        lab.note("info", "something harmless")
        assert "HTTP 451" in text(painted(lab, state="failed", detail="HTTP 451")["event"])
        # a live lab shows an error for a while, too: no harmless line takes its place at once
        assert "HTTP 451" in text(painted(lab, state="live")["event"])
        frame = lab.dashboard().screen._frame(due=True)
        frame.now_ns += 16 * NS_PER_S
        lab.dashboard().parts["event"].paint(frame)
        assert "something harmless" in text(lab.dashboard().parts["event"]._event.value)


class Minutes:
    """A lab at bars of a minute that is given its ticks by the test, and the clock of its strip."""

    def __init__(self, count: int, **settings: Any) -> None:
        self._ticks = worlds.trades(81, 40_000, burst=0.0, silence=0.0)
        self.lab = PairLab(feed="demo", timeframe="1m", window=10, **settings)
        self.lab._pipeline.engage()
        self.fed, self.waited_ns = 0, 0
        self.feed(count)
        self.strip, self.panel = StatusBar(self.lab), SignalPanel(self.lab)

    def feed(self, count: int) -> Records:
        ticks = self._ticks[self.fed : self.fed + count]
        self.lab._pipeline.take(ticks)
        self.fed += count
        return ticks

    @property
    def newest_ns(self) -> int:
        return int(self._ticks["time_ns"][: self.fed].max())

    def paint(self, after_s: float) -> None:
        self.waited_ns += round(after_s * NS_PER_S)
        frame = self.strip.screen._frame(due=True)
        frame.health = replace(frame.health, state="live")
        frame.now_ns += self.waited_ns
        self.strip.paint(frame)
        self.panel.paint(frame)

    def cell(self, name: str) -> str:
        return text(self.strip._cells[name].value)


def ages(shown: str) -> tuple[float, float]:
    y, x = re.fullmatch(r"age y / x ([\d.]+) / ([\d.]+) s", shown).groups()  # type: ignore[union-attr]
    return float(y), float(x)


def test_while_a_bar_forms_the_ages_count_from_the_newest_trades() -> None:
    minutes = Minutes(10_000)
    minutes.paint(0.0)
    rows = minutes.lab.rows.total
    for _ in range(5):
        ticks = minutes.feed(40)  # some 8 s of trades, no bar closes as a rule
        minutes.paint(8.0)
        last = [int(ticks["time_ns"][ticks["leg"] == leg].max()) for leg in (0, 1)]
        want = [(minutes.newest_ns - at) / NS_PER_S for at in last]
        assert ages(minutes.cell("ages")) == tuple(round(age, 2) for age in want)
        assert "pairlab-warn" not in minutes.strip._cells["ages"].value
    assert minutes.lab.rows.total <= rows + 1
    minutes.paint(20.0)  # and now nothing comes
    assert min(ages(minutes.cell("ages"))) >= 20.0
    assert "pairlab-warn" in minutes.strip._cells["ages"].value


def test_while_a_bar_forms_a_position_is_as_old_as_the_newest_trade() -> None:
    minutes = Minutes(10_000, entry_z=0.05, exit_z=0.0, min_correlation=-1.0, max_leg_age_s=60.0)
    for _ in range(100):
        minutes.feed(60)
        minutes.paint(12.0)
        entry = minutes.lab.alert_log.opened
        held_s = 0.0 if entry is None else (minutes.newest_ns - entry.time_ns) / NS_PER_S
        if held_s > 70.0:
            break
    assert minutes.lab.latest().provisional  # type: ignore[union-attr]
    assert minutes.lab.latest().time_ns > minutes.newest_ns + NS_PER_S  # type: ignore[union-attr]
    assert f" · {duration(held_s)} out at z" in minutes.cell("signal")
    assert text(minutes.panel._head.value).endswith(f"for {duration(held_s)}")
    minutes.paint(20.0)
    assert f" · {duration(held_s + 20.0)} out at z" in minutes.cell("signal")


def test_every_pause_button_tells_whether_the_view_is_paused() -> None:
    lab = PairLab(feed="demo")
    strips = StatusBar(lab), lab.dashboard().parts["strip"]
    screen = lab.dashboard().screen

    def faces() -> set[tuple[str, bool]]:
        screen.paint(due=False)
        return {(s._pause.description, "pairlab-on" in s._pause._dom_classes) for s in strips}

    assert faces() == {("Pause", False)}
    screen.pause(True)
    assert faces() == {("Resume", True)}
    strips[0]._pause.click()
    assert not screen.paused
    assert faces() == {("Pause", False)}
    strips[1]._pause.click()
    assert faces() == {("Resume", True)}
    screen.close()


async def test_what_is_compared_differs_on_the_screen(running_lab: MakeLab) -> None:
    async with running_lab(rows=100, stop_z=4.0) as lab:
        cell = lab.dashboard().parts["strip"]._cells["signal"]
        flat = {"position": 0, "zscore": -1.9996, "correlation": 0.69997}
        shown = text(painted(lab, flat, state="live")["signal"])
        assert shown == "FLAT |z| 1.9996 < 2.0000 ρ 0.69997 < 0.70000"
        assert "z is −1.9996" in cell.tooltip
        painted(lab, {"position": 1, "zscore": -0.5004}, state="live")
        assert "Out when z ≥ −0.50" in cell.tooltip
        assert "z is −0.5004" in cell.tooltip
        painted(lab, {"stationary": 0, "p_value": 0.05004})
        words = lab.dashboard().parts["strip"]._cells["test"].tooltip
        assert words.startswith("p 0.05004 > 0.05000.")
