"""Tables and the alert log."""

from __future__ import annotations

import re

from pairlab.ticks import AlertKind
from pairlab.widgets.formats import clock, number, signed
from tests.widgets.conftest import MakeLab, settled


def cells(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", html)
    return [
        [re.sub(r"<[^>]+>", "", c) for c in re.findall(r"<t[dh]>(.*?)</t[dh]>", r)] for r in rows
    ]


async def test_the_newest_rows_stand_on_top(running_lab: MakeLab) -> None:
    async with running_lab() as lab:
        await lab.stop()
        table = cells(lab.dashboard().parts["rows"]._body.value)
        assert table[0] == ["Time UTC", "y", "x", "spread", "z", "ρ"]
        decimals = lab.price_decimals()
        for line, row in zip(table[1:], lab.rows.view()[:-6:-1], strict=True):
            assert line == [
                clock(int(row["time_ns"])), number(row["y"], decimals[0]),
                number(row["x"], decimals[1]), number(row["spread"]), signed(row["zscore"]),
                number(row["correlation"]),
            ]  # fmt: skip


async def test_latest_shows_every_number_of_the_row(running_lab: MakeLab) -> None:
    async with running_lab() as lab:
        await lab.stop()
        text = lab.dashboard().parts["latest"]._body.value
        shown = dict(re.findall(r"<dt>(.*?)</dt><dd[^>]*>(.*?)</dd>", text))
        row = lab.latest()
        assert shown["z"] == signed(row.zscore)
        assert shown["β"] == "25.000"
        assert shown["σ"] == number(row.spread_std)
        assert shown["rows"] == "60/60"
        assert len(shown) == 12


async def test_alerts_are_listed_counted_filtered_and_paged(running_lab: MakeLab) -> None:
    async with running_lab(rows=3000, speed=100.0, window=30) as lab:
        table, screen = lab.dashboard().parts["alerts"], lab.dashboard().screen
        await lab.stop()
        alerts = lab.alert_log.alerts()
        assert len(alerts) > 20
        counts = {k: b.description for k, b in table._filters.items()}
        assert counts == {k: f"{sum(a.kind == k for a in alerts):,}" for k in AlertKind}
        shown = cells(table._body.value)
        assert [line[0] for line in shown[1:]] == [clock(a.time_ns) for a in alerts[:-9:-1]]
        assert f"1–8 of {len(alerts):,}" in table._where.value
        assert table._newer.disabled

        table._older.click()
        await settled(lambda: table._page == 1, lab)
        screen.paint(due=True)
        assert cells(table._body.value)[1][0] == clock(alerts[-9].time_ns)

        table._filters[AlertKind.ENTRY].value = False
        await settled(lambda: "ENTRY" not in table._body.value, lab)
        assert "EXIT" in table._body.value


async def test_a_click_on_a_row_explains_that_alert_and_rings_it(running_lab: MakeLab) -> None:
    async with running_lab(rows=2000, speed=100.0, window=30) as lab:
        dashboard = lab.dashboard()
        table, chart = dashboard.parts["alerts"], dashboard.parts["zscore"]
        await lab.stop()
        alerts = lab.alert_log.alerts()
        assert len(chart._ring.x) == 0
        table._covers[3].click()
        await settled(lambda: dashboard.screen.selected is not None, lab)
        dashboard.screen.paint(due=True)
        chosen = alerts[-4]
        assert dashboard.screen.selected is chosen
        assert chosen.sentence.split(":")[0] in table._why.value
        assert table._why.tooltip == chosen.explain()
        assert table._covers[3].tooltip == chosen.explain()
        assert "pairlab-chosen" in table._body.value
        assert chart._ring.x.tolist() == [chosen.time_ns / 1e6]
        table._covers[3].click()
        await settled(lambda: dashboard.screen.selected is None, lab)
        dashboard.screen.paint(due=True)
        assert len(chart._ring.x) == 0
