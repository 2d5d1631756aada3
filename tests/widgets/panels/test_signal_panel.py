"""The open signal: what is held, at the entry's own terms, and what it made after costs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from pairlab import PairLab
from pairlab.costs import profit
from pairlab.schema import AlertKind
from pairlab.widgets import SignalPanel
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.panels.signal_panel import _quantity
from pairlab.widgets.style.formats import number, signed, signed_fitted
from tests.widgets.conftest import MakeLab, settled
from tests.widgets.strip.test_status_bar import text


def table(panel: SignalPanel) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", panel._body.value)
    return [[text(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", r)] for r in rows]


def painted(lab: PairLab, panel: SignalPanel, **live: Any) -> list[list[str]]:
    frame: Frame = lab.dashboard().render_loop._frame(due=True)
    if live:
        assert frame.live is not None
        frame = replace(frame, live=replace(frame.live, **live))
    panel.paint(frame)
    return table(panel)


async def held_lab(lab: PairLab) -> SignalPanel:
    """Stop a lab while a position is open; it may be left in the very moment of the stop."""
    log = lab.alert_log
    for _ in range(20):
        await settled(lambda: log.opened is not None, lab, 30)
        await lab.stop()
        if log.opened is not None:
            break
        lab.start()
    lab.dashboard().render_loop.paint(due=True)
    panel: SignalPanel = lab.dashboard().parts["signal"]
    return panel


HEAD = ["", "quantity", "in at", "profit", "bps", "USDT"]


async def test_it_shows_the_entry_and_the_profit_after_costs(running_lab: MakeLab) -> None:
    # Entered at once, and never back at the mean: whatever the market does, a position is open.
    async with running_lab(entry_z=0.05, exit_z=0.0, min_correlation=-1.0, fee_bps=3.0) as lab:
        panel = await held_lab(lab)
        entry = lab.alert_log.opened
        assert entry is not None
        y, x = entry.at.y + 12.0, entry.at.x - 0.5
        now = entry.time_ns + 2_500_000_000
        shown = painted(lab, panel, y=y, x=x, time_ns=now, position=entry.side)
        decimals = lab.price_decimals()
        assert decimals is not None
        side = entry.side
        made = profit(side, entry.at, "linear", y, x, 3.0)
        assert made.gross == pytest.approx(side * (12.0 + 25.0 * 0.5))
        assert shown == [
            HEAD,
            ["y BTCUSDT", signed(side, 0), number(entry.at.y, decimals[0]), "gross",
             signed(made.gross_bps), signed(made.gross)],
            ["x ETHUSDT", signed(-25.0 * side, 3), number(entry.at.x, decimals[1]), "costs",
             signed(-made.cost_bps), signed(-made.cost)],
            ["β", "25.000", f"z {signed(entry.at.zscore)}", "net", signed(made.net_bps),
             signed(made.net)],
        ]  # fmt: skip
        assert text(panel._head.value).endswith("for 2.5 s")
        assert made.cost_bps == pytest.approx(12.0, abs=0.1)
        assert ("LONG" if side > 0 else "SHORT") in panel._head.value
        assert entry.sentence in panel._body.tooltip
        assert "3 bps a fill" in panel._body.tooltip


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (_quantity(-25.0), "−25.000"), (_quantity(0.01234567), "+0.01235"),
        (_quantity(-9.5e-6), "−9.5e−6"), (signed_fitted(12.0, 2), "+12.00"),
        (signed_fitted(-0.001, 2), "+0.00"), (signed_fitted(-0.0016, 4), "−0.0016"),
        (signed_fitted(1.2e-7, 8), "+1.2e−7"), (signed_fitted(-1.2e-7, 8), "−1.2e−7"),
        (signed_fitted(0.0, 8), "+0.00000"), (signed_fitted(float("nan"), 2), "–"),
    ],
)  # fmt: skip
def test_amounts_carry_their_sign_and_small_ones_their_digits(shown: str, expected: str) -> None:
    assert shown == expected


async def test_flat_is_dashes_and_never_a_number(running_lab: MakeLab) -> None:
    async with running_lab(rows=80, window=4000) as lab:
        panel = lab.dashboard().parts["signal"]
        shown = painted(lab, panel)
        assert shown == [
            HEAD,
            ["y BTCUSDT", "–", "–", "gross", "–", "–"],
            ["x ETHUSDT", "–", "–", "costs", "–", "–"],
            ["β", "–", "z –", "net", "–", "–"],
        ]
        assert "FLAT" in panel._head.value
        assert "No position is open" in panel._body.tooltip


async def test_unknown_values_are_dashes(running_lab: MakeLab) -> None:
    async with running_lab(entry_z=0.05, exit_z=0.0, min_correlation=-1.0) as lab:
        panel = await held_lab(lab)
        entry = lab.alert_log.opened
        assert entry is not None
        shown = painted(lab, panel, y=float("nan"), position=entry.side)
        assert [line[4:] for line in shown[1:]] == [["–", "–"]] * 3
        assert "nan" not in panel._body.value
        shown = painted(lab, panel, y=float("inf"), position=entry.side)
        assert [line[4:] for line in shown[1:]] == [["–", "–"]] * 3
        # the newest row is not the entry's yet, or no longer
        shown = painted(lab, panel, position=-entry.side)
        assert shown[3][:3] == ["β", "–", "z –"]


async def test_the_entry_stays_through_a_rebuild_and_goes_with_the_exit(
    running_lab: MakeLab,
) -> None:
    async with running_lab(entry_z=0.05, exit_z=0.0, min_correlation=-1.0) as lab:
        panel = await held_lab(lab)
        entry, generation = lab.alert_log.opened, lab.rows.epoch
        assert entry is not None
        before = painted(lab, panel)
        lab.settings.update(window=40, hedge="ols")
        assert lab.rows.epoch > generation
        assert lab.alert_log.opened == entry
        after = painted(lab, panel)
        assert after[1:] == before[1:]  # β is the entry's, whatever the hedge is now
        assert lab.latest().position == entry.side


async def test_exits_and_stops_close_it_live(running_lab: MakeLab) -> None:
    async with running_lab(
        rows=3000, speed=100.0, window=30, stop_z=2.6, min_correlation=-1.0
    ) as lab:
        await lab.stop()
        kinds = {alert.kind for alert in lab.alert_log.alerts()}
        assert {AlertKind.ENTRY, AlertKind.EXIT, AlertKind.STOP} <= kinds
        moves = [a for a in lab.alert_log.alerts() if a.kind <= AlertKind.STOP]
        opened = lab.alert_log.opened
        assert opened == (moves[-1] if moves[-1].kind == AlertKind.ENTRY else None)
        assert lab.latest().position == (0 if opened is None else opened.side)


async def test_the_costs_are_settings_and_both_follow(running_lab: MakeLab) -> None:
    async with running_lab(rows=80) as lab:
        panel, screen = lab.dashboard().parts["signal"], lab.dashboard().render_loop
        fee, edge = panel._fields["fee_bps"], panel._fields["min_edge_bps"]
        assert (fee.value, edge.value) == ("4", "off")
        fee.value = "2.5"
        edge.value = "16"
        await settled(lambda: lab.settings.min_edge_bps == 16.0, lab)
        assert lab.settings.fee_bps == 2.5
        for word in ("off", "0", ""):
            lab.settings.min_edge_bps = 9.25
            screen.paint(due=True)
            assert edge.value == "9.25"
            edge.value = word
            await settled(lambda: lab.settings.min_edge_bps is None, lab)
            assert edge.value == "off"
        fee.value, edge.value = "3,5", "12,25"
        await settled(lambda: lab.settings.min_edge_bps == 12.25, lab)
        assert (lab.settings.fee_bps, fee.value) == (3.5, "3.5")
        lab.settings.fee_bps = 0.0
        screen.paint(due=True)
        assert fee.value == "0"


@pytest.mark.parametrize("asked", ["-1", "nan", "1e9", "many", "<b>", "2_5"])
async def test_a_refused_cost_says_why_and_the_old_one_comes_back(
    running_lab: MakeLab, asked: str
) -> None:
    async with running_lab(rows=80) as lab:
        panel = lab.dashboard().parts["signal"]
        fee = panel._fields["fee_bps"]
        fee.value = asked
        await settled(lambda: any("fee_bps" in e.message for e in lab.event_log), lab)
        assert fee.value == "4"
        assert lab.settings.fee_bps == 4.0
        assert "pairlab-refused" in fee._dom_classes
        said = next(e.message for e in lab.event_log if "fee_bps" in e.message)
        assert "0 to 1000 bps" in said
        fee.value = "5"
        await settled(lambda: lab.settings.fee_bps == 5.0, lab)
        assert "pairlab-refused" not in fee._dom_classes


async def test_it_stands_still_while_the_view_is_paused(running_lab: MakeLab) -> None:
    async with running_lab(rows=80) as lab:
        panel, screen = lab.dashboard().parts["signal"], lab.dashboard().render_loop
        screen.paint(due=True)
        screen.view.pause(True)
        before = panel._body.value
        painted(lab, panel, position=1, y=1.0)
        assert panel._body.value == before
        screen.view.pause(False)
        lab.settings.fee_bps = 5.0
        painted(lab, panel)
        assert "5 bps a fill" in panel._body.tooltip
