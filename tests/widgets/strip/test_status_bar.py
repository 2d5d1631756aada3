"""The strip in every state: told by a word and a shape, never by colour alone."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html import unescape
from typing import Any

from pairlab import PairLab
from pairlab.costs import profit
from pairlab.schema import NS_PER_S, RowFlag
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.style.formats import signed
from tests.widgets.conftest import MakeLab, settled


def text(html: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip())


def painted(lab: PairLab, live: dict[str, Any] | None = None, **health: Any) -> dict[str, str]:
    """Paint the strip and the event line from a frame of this lab with some facts changed."""
    parts, screen = lab.dashboard().parts, lab.dashboard().render_loop
    frame: Frame = screen._frame(due=True)
    frame = replace(frame, health=replace(frame.health, **health))
    parts["strip"]._opened = True  # the feed's figures are seen
    parts["strip"]._verdict = (None, 0, None)  # one shown before does not stay for its moment
    if live is not None:
        frame = replace(frame, live=replace(frame.live, **live))
    parts["strip"].paint(frame)
    parts["event"].paint(frame)
    shown = {name: cell.value for name, cell in parts["strip"]._cells.items()}
    return {**shown, "event": parts["event"]._event.value}


async def test_a_running_lab(running_lab: MakeLab) -> None:
    async with running_lab(stop_z=4.0) as lab:
        shown = painted(lab)
        assert text(shown["pair"]) == "BTCUSDT / ETHUSDT tick · fixed β · 60 rows"
        assert re.search(r" · running healthy · [\d,.]+ ticks/s$", text(shown["feed"]))
        assert re.fullmatch(r"z [+−]\d\.\d\d", text(shown["z"]))
        assert "pairlab-badge-sim" in shown["feed"]
        assert re.fullmatch(r"ticks/s [\d,.]+", text(shown["rate"]))
        assert re.fullmatch(r"lag p50 / p99 [−\d,.]+ / [−\d,.]+ ms", text(shown["lag"]))
        assert text(shown["gaps"]) == "gaps 0"
        assert re.search(r"STATIONARY p (<0\.001|\d\.\d{3}) · half-life", text(shown["test"]))


UP = {"stream": "trade", "uptime_s": 3_725.0, "ticks_per_s": 12.0, "lag_p50_ms": 20.0,
      "row_p99_ms": 1.0}  # fmt: skip
FEED_STATES = [
    ({"state": "live", "real_money": True, "feed": "BINANCE", **UP},
     "BINANCE · live", "healthy · 12 ticks/s", "live"),
    ({"state": "live", "real_money": False, "feed": "RECORDING", **UP},
     "RECORDING · playing", "healthy · 12 ticks/s", "sim"),
    ({"state": "live", "real_money": False, "feed": "SIMULATED", **UP},
     "SIMULATED · running", "healthy · 12 ticks/s", "sim"),
    ({"state": "live", "real_money": True, "feed": "BINANCE", **UP, "gaps": 2, "missing": 13},
     "BINANCE · live", "2 gaps · 13 missing", "live"),
    ({"state": "live", "real_money": True, "feed": "BINANCE", **UP, "lag_p50_ms": 2_300.0},
     "BINANCE · live", "2.3 s behind", "live"),
    ({"state": "live", "real_money": True, "feed": "BINANCE", **UP, "row_p99_ms": 1_900.0},
     "BINANCE · live", "kernel late by 1.9 s", "live"),
    ({"state": "stalled", "detail": "no data for 12 s"}, "STALLED", "F · no data for 12 s", "warn"),
    ({"state": "reconnecting", "detail": "try 3 in 4 s"},
     "RECONNECTING", "F · try 3 in 4 s", "warn"),
    ({"state": "connecting", "detail": "starting"}, "CONNECTING", "F · starting", "calm"),
    ({"state": "failed", "detail": "refused (HTTP 451). Use …"},
     "FAILED · HTTP 451", "F · not retried", "fail"),
    ({"state": "failed", "detail": "no such file"}, "FAILED", "F · no such file", "fail"),
    ({"state": "stopped", "detail": "stopped"}, "STOPPED", "F · stopped", "calm"),
]  # fmt: skip


async def test_feed_states(running_lab: MakeLab) -> None:
    async with running_lab(rows=80) as lab:
        for facts, badge, source, kind in FEED_STATES:
            shown = painted(lab, **{"feed": "F", **facts})["feed"]
            assert text(shown) == f"{badge} {source}"
            assert f"pairlab-badge-{kind}" in shown
            assert "<svg" in shown


async def test_unknown_numbers_are_a_dash_and_never_zero(running_lab: MakeLab) -> None:
    async with running_lab(rows=80) as lab:
        flat = {"position": 0, "zscore": -0.84, "correlation": 0.9}
        facts = {"detail": "try 3 in 4 s", "gaps": 1, "missing": 7}
        shown = painted(lab, flat, state="reconnecting", **facts)
        assert text(shown["rate"]) == "ticks/s –"
        assert text(shown["lag"]) == "lag p50 / p99 –"
        assert text(shown["gaps"]) == "gaps 1"
        assert "pairlab-warn" in shown["gaps"]
        # Filters that pass are not claimed while nothing new can pass them.
        assert text(shown["signal"]) == "FLAT |z| 0.84 < 2.00 · 1.16 away no new rows"


async def test_warm_up_tells_how_far_it_is(running_lab: MakeLab) -> None:
    async with running_lab(rows=30, window=4000) as lab:
        shown = painted(lab, filled=1000, window=4000, ticks_per_s=500.0)
        assert text(shown["test"]).startswith("NOT ENOUGH DATA 1,000 of 4,000 rows, 6.0 s left")
        assert "width:25%" in shown["test"]
        assert text(shown["signal"]) == "FLAT no signals before 4,000 rows"


async def test_a_hedge_that_is_being_learnt_tells_when_signals_begin(running_lab: MakeLab) -> None:
    async with running_lab(rows=100, hedge="kalman", kalman_half_life=1000) as lab:
        assert text(painted(lab)["signal"]) == "FLAT no signals before 1,000 rows"


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
            "FLAT |z| 0.84 < 2.00 · 1.16 away filters pass"
        )
        weak = {**flat, "correlation": 0.61}
        assert "ρ 0.61 < 0.70" in text(painted(lab, weak, state="live")["signal"])
        held = {"position": -1, "zscore": 1.2}
        shown = painted(lab, held, state="live")["signal"]
        assert text(shown).startswith("SHORT SPREAD")
        assert text(shown).endswith("out at z ≤ +0.50 · 0.70 away")
        assert "pairlab-outline" not in shown
        silent = painted(lab, {"position": 1}, state="stalled", detail="…")["signal"]
        assert text(silent).startswith("LONG SPREAD")
        assert text(silent).endswith("no new rows")
        assert "pairlab-outline" in silent


async def test_a_failure_stays_on_the_event_line(running_lab: MakeLab) -> None:
    async with running_lab(rows=80) as lab:
        lab.log("error", "Binance refuses connections from this location (HTTP 451).")
        lab.log("info", "something harmless")
        assert "HTTP 451" in text(painted(lab, state="failed", detail="HTTP 451")["event"])
        # a live lab shows an error for a while, too: no harmless line takes its place at once
        assert "HTTP 451" in text(painted(lab, state="live")["event"])
        frame = lab.dashboard().render_loop._frame(due=True)
        later = replace(frame, now_ns=frame.now_ns + 16 * NS_PER_S)
        lab.dashboard().parts["event"].paint(later)
        assert "something harmless" in text(lab.dashboard().parts["event"]._event.value)


async def test_the_log_opens_counts_what_was_not_seen_and_turns_pages(
    running_lab: MakeLab,
) -> None:
    async with running_lab(rows=80) as lab:
        part = lab.dashboard().parts["event"]
        screen = part.render_loop
        screen.paint(due=True)
        await lab.stop()
        part._flip(None)
        part._flip(None)  # whatever was said until here was seen
        assert part._unseen.value == ""
        for n in range(30):
            lab.log("info", f"harmless {n}")
        lab.log("error", "a night's <error>")
        lab.log("warning", "one")
        lab.log("warning", "two")
        screen.paint(due=True)
        shown = text(part._unseen.value)
        assert "1 error not seen" in shown
        assert "2 warnings not seen" in shown
        assert part._list.value == ""
        part._button.click()
        await settled(lambda: "pairlab-open" in part._dom_classes, lab)
        rows = re.findall(r"<tr.*?</tr>", part._list.value)
        assert len(rows) == 12
        assert [text(r).split(" ", 1)[1] for r in rows[:3]] == [
            "warning two", "warning one", "error a night's <error>"
        ]  # fmt: skip
        assert "<error>" not in part._list.value
        assert part._unseen.value == ""
        assert f"1–12 of {len(lab.event_log)}" in part._where.value
        assert part._newer.disabled
        part._older.click()
        await settled(lambda: "harmless 15" in part._list.value, lab)
        assert "warning two" not in text(part._list.value)
        lab.log("error", "while it is open")
        screen.paint(due=True)
        assert part._unseen.value == ""  # it is at hand
        part._button.click()
        await settled(lambda: "pairlab-open" not in part._dom_classes, lab)
        assert part._list.value == ""
        assert "Open the event log" in part._button.tooltip


async def test_a_leg_that_has_not_traded_for_long_makes_the_feed_unhealthy(
    running_lab: MakeLab,
) -> None:
    async with running_lab(rows=100) as lab:
        shown = painted(lab, {"y_age_s": 0.2, "x_age_s": 7.5}, state="live", real_money=True)
        assert text(shown["feed"]).endswith("live ETHUSDT 7.50 s old")
        assert "pairlab-warn" in shown["ages"]


async def test_whether_an_entry_can_pay_its_costs(running_lab: MakeLab) -> None:
    async with running_lab(rows=100) as lab:
        # At |z| = 2 the spread is 2 × 15 = 30 of 60,000 from its mean: 5 bps; four fills of 4 bps
        # on legs of equal notional are 16.
        row = {"y": 60_000.0, "x": 2_400.0, "hedge_ratio": 25.0, "spread_std": 15.0, "position": 0}
        shown = painted(lab, row)["net"]
        assert text(shown) == "– no position entry 5.00 < cost 16.00 bps"
        assert "loses even if it reverts" in lab.dashboard().parts["strip"]._cells["net"].tooltip
        wide = text(painted(lab, {**row, "spread_std": 60.0})["net"])
        assert wide == "– no position entry 20.00 ≥ cost 16.00 bps"
        unknown = text(painted(lab, {**row, "spread_std": float("nan")})["net"])
        assert unknown == "– no position cost not known yet"


async def test_an_open_position_shows_its_profit_after_costs(running_lab: MakeLab) -> None:
    async with running_lab(rows=200, entry_z=0.5, exit_z=0.0) as lab:
        await settled(lambda: lab.alert_log.opened is not None, lab, 30)
        entry = lab.alert_log.opened
        assert entry is not None
        row = {"y": entry.at.y + 100.0 * entry.side, "x": entry.at.x, "position": entry.side}
        expected = profit(
            entry.side, entry.at, "linear", row["y"], row["x"], lab.settings.fee_bps
        ).net
        shown = text(painted(lab, row)["net"])
        assert math.isfinite(expected)
        assert shown.startswith(f"{signed(expected)} USDT net ")


async def test_a_verdict_is_shown_long_enough_to_be_read(running_lab: MakeLab) -> None:
    async with running_lab(rows=100) as lab:
        await lab.stop()
        strip, loop = lab.dashboard().parts["strip"], lab.dashboard().render_loop
        frame = loop._frame(due=True)
        frame = replace(frame, health=replace(frame.health, state="live"))

        def shown(after_s: float, position: int, stationary: int) -> tuple[str, str]:
            live = replace(frame.live, position=position, stationary=stationary, zscore=0.1)
            now_ns = 2**61 + round(after_s * NS_PER_S)
            strip.paint(replace(frame, live=live, now_ns=now_ns))
            words = [text(strip._cells[name].value) for name in ("signal", "test")]
            return words[0].split(" ")[0], words[1].split(" p ")[0]

        assert shown(0.0, 1, 0) == ("LONG", "NOT STATIONARY")
        assert shown(0.3, 0, 1) == ("FLAT", "NOT STATIONARY")  # the position is never late
        assert shown(1.9, -1, 1) == ("SHORT", "NOT STATIONARY")
        assert shown(2.1, -1, 1) == ("SHORT", "STATIONARY")
        changes, before = 0, shown(10.0, 0, 1)[1]
        for tick in range(600):  # a minute in which it changes ten times a second
            now = shown(11 + tick / 10, 0, tick % 2)[1]
            changes += now != before
            before = now
        assert 20 < changes < 32
        # A setting that a person moves, or a feed that stops, is seen at once.
        calm = replace(frame.health, state="stopped")
        live = replace(frame.live, stationary=int(before != "STATIONARY"))
        strip.paint(replace(frame, live=live, health=calm, now_ns=2**61 + 71 * NS_PER_S))
        assert text(strip._cells["test"].value).split(" p ")[0] != before
