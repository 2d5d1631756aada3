"""Tables and the alert log."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from decimal import Decimal
from html import unescape

from pairlab.schema import AlertKind, RowFlag, Snapshot
from pairlab.widgets import AlertTable, RowTable
from pairlab.widgets.panels.tables import window_s
from pairlab.widgets.style.formats import age, clock, day, extent, number, safe, signed
from tests.widgets.conftest import MakeLab, settled


def shown_number(text: str) -> Decimal:
    return Decimal(text.replace("\u2212", "-").replace(",", ""))


def says(text: str, value: float) -> bool:
    """Return whether a shown number is the value, to the digits that it shows.

    How many they are depends on the value: the market's next trade may need one more or less.
    """
    last = shown_number(text).as_tuple().exponent
    assert isinstance(last, int)
    return abs(shown_number(text) - Decimal(value)) <= Decimal(1).scaleb(last) / 2


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
        assert len(table) == 1 + 11  # as many as the dashboard of a high window has room for
        for line, row in zip(table[1:], lab.rows.view()[:-12:-1], strict=True):
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
        assert says(shown["σ"], row.spread_std)
        assert shown["rows"] == "60/60"
        rows = lab.rows.view()
        span_s = (rows["time_ns"][-1] - rows["time_ns"][-60]) / 1e9
        assert shown["span"] == extent(span_s)
        edge_bps = abs(row.spread - row.spread_mean) / row.y * 1e4
        assert says(shown["edge"].removesuffix(" bps"), edge_bps)
        assert shown["cost"] == f"{4 * 2 * (1 + 25 * row.x / row.y):.1f} bps"
        assert len(shown) == 15


async def test_the_window_spans_its_first_to_its_last_observation(running_lab: MakeLab) -> None:
    async with running_lab(rows=700, window=200) as lab:
        await lab.stop()
        frame = lab.dashboard().render_loop._frame(due=True)
        row, rows = frame.latest, frame.rows
        assert row is not None
        times = rows["time_ns"]
        assert window_s(frame, row) == (times[-1] - times[-200]) / 1e9 > 0
        # while it fills, what there is of it
        early = Snapshot.of(rows[20])
        frame = replace(frame, rows=rows[:21])
        assert window_s(frame, early) == (times[20] - times[0]) / 1e9
        # one observation spans nothing; no rows, or fewer than the window has, are unknown
        frame = replace(frame, rows=rows[:1])
        assert math.isnan(window_s(frame, Snapshot.of(rows[0])))
        assert math.isnan(window_s(frame, row))
        frame = replace(frame, rows=rows[:0])
        assert math.isnan(window_s(frame, row))


async def test_the_forming_bar_is_the_last_of_its_window(running_lab: MakeLab) -> None:
    async with running_lab(rows=15, window=10, timeframe="1s", speed=100.0) as lab:
        await lab.stop()
        frame = lab.dashboard().render_loop._frame(due=True)
        row = frame.latest
        assert row is not None
        assert row.provisional
        assert row.filled == 10
        assert window_s(frame, row) == 9.0
        assert "9.0 s" in lab.dashboard().parts["latest"]._body.value
        assert "forming" in lab.dashboard().parts["latest"]._head.value


async def test_a_row_of_a_trade_stamped_ahead_says_so(running_lab: MakeLab) -> None:
    async with running_lab() as lab:
        await lab.stop()
        rows = lab.rows.view().copy()
        rows["flags"][-1] |= RowFlag.TIME_CORRECTED
        lab._pipeline.rows.replace(rows)
        table = cells(lab.dashboard().parts["rows"]._body.value)
        assert [line[0].endswith(" corrected") for line in table[1:4]] == [True, False, False]
        assert "stamped ahead" in lab.dashboard().parts["latest"]._head.value
        alert = lab.alert_log.alerts()[0]
        assert "stamped ahead" not in alert.explain()
        marked = replace(alert, at=replace(alert.at, flags=int(RowFlag.TIME_CORRECTED)))
        assert "(of a trade stamped ahead)" in marked.explain().splitlines()[1]


async def test_unknown_edges_are_dashes(running_lab: MakeLab) -> None:
    async with running_lab(rows=40, window=4000) as lab:
        await lab.stop()
        text = lab.dashboard().parts["latest"]._body.value
        shown = dict(re.findall(r"<dt>(.*?)</dt><dd[^>]*>(.*?)</dd>", text))
        assert shown["edge"] == "–"
        assert shown["cost"].endswith(" bps")  # prices and β are known from the first row
        assert "nan" not in text


async def test_a_narrow_dashboard_swaps_latest_and_signal(running_lab: MakeLab) -> None:
    async with running_lab(rows=80) as lab:
        parts, screen = lab.dashboard().parts, lab.dashboard().render_loop
        latest, signal = parts["latest"], parts["signal"]
        assert "pairlab-behind" in signal._dom_classes
        assert "pairlab-behind" not in latest._dom_classes
        latest._swap.click()
        await settled(lambda: "pairlab-behind" in latest._dom_classes, lab)
        assert "pairlab-behind" not in signal._dom_classes
        signal._swap.click()
        await settled(lambda: "pairlab-behind" in signal._dom_classes, lab)
        assert not screen.view.signal_in_front


async def test_alerts_are_listed_counted_filtered_and_paged(running_lab: MakeLab) -> None:
    async with running_lab(rows=3000, speed=100.0, window=30) as lab:
        table, screen = lab.dashboard().parts["alerts"], lab.dashboard().render_loop
        await lab.stop()
        alerts = lab.alert_log.alerts()
        assert len(alerts) > 20
        counts = {k: b.description for k, b in table._filters.items()}
        assert counts == {k: f"{sum(a.kind == k for a in alerts):,}" for k in AlertKind}
        shown = cells(table._body.value)
        assert [line[0] for line in shown[1:]] == [clock(a.time_ns) for a in alerts[:-13:-1]]
        assert f"1–12 of {len(alerts):,}" in table._where.value  # in a high panel
        assert f"1–8 of {len(alerts):,}" in table._where.value  # in a lower one
        assert f"1–4 of {len(alerts):,}" in table._where.value  # in a low one
        assert table._newer.disabled

        table._older.click()
        await settled(lambda: table._page == 1, lab)
        screen.paint(due=True)
        assert cells(table._body.value)[1][0] == clock(alerts[-5].time_ns)
        assert f"5–16 of {len(alerts):,}" in table._where.value

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
        await settled(lambda: dashboard.render_loop.view.selected is not None, lab)
        dashboard.render_loop.paint(due=True)
        chosen = alerts[-4]
        assert dashboard.render_loop.view.selected == chosen
        assert chosen.sentence.split(":")[0] in table._why.value
        assert table._why.tooltip == chosen.explain()
        assert table._covers[3].tooltip == chosen.explain()
        assert "pairlab-chosen" in table._body.value
        assert chart._ring.x.tolist() == [chosen.time_ns / 1e6]
        table._covers[3].click()
        await settled(lambda: dashboard.render_loop.view.selected is None, lab)
        dashboard.render_loop.paint(due=True)
        assert len(chart._ring.x) == 0


def facts(table: AlertTable) -> dict[str, str]:
    """Return the numbers that stand below an explanation, by name."""
    found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", table._why.value)
    return {name: unescape(text) for name, text in found}


async def test_a_selected_alert_shows_every_number_and_leads_to_the_next(
    running_lab: MakeLab,
) -> None:
    async with running_lab(rows=2000, speed=100.0, window=30, min_correlation=0.5) as lab:
        table, other = lab.dashboard().parts["alerts"], AlertTable(lab)
        screen = table.render_loop
        await lab.stop()
        alerts = lab.alert_log.alerts()
        assert facts(table) == {}
        table._covers[2].click()
        await settled(lambda: screen.view.selected == alerts[-3], lab)
        for one in (table, other):  # whichever was clicked on
            at, t = alerts[-3].at, alerts[-3].settings
            shown = facts(one)
            assert clock(alerts[-3].time_ns) in one._why.value
            assert shown["z"] == signed(at.zscore)
            assert shown["ρ"] == number(at.correlation)
            assert shown["β"] == number(at.hedge_ratio, 3)
            assert shown["age y"] == f"{age(at.y_age_s)} s"
            parts = {
                "spread": at.spread,
                "mean": at.spread_mean,
                "σ": at.spread_std,
                "z": at.zscore,
            }
            assert all(says(shown[name], value) for name, value in parts.items())
            # From the three as they stand there z comes out, within its last decimal.
            spread, mean, std, z = map(shown_number, (shown[name] for name in parts))
            assert abs((spread - mean) / std - z) < Decimal("0.01")
            assert shown["rows"] == f"{at.filled}/{t.window}"
            assert (shown["entry"], shown["exit"], shown["stop"]) == ("2.00", "0.50", "off")
            assert shown["min ρ"] == "0.50"
            assert len(shown) == 20
            assert "pairlab-one-alert" in one._dom_classes
        table._older.click()
        await settled(lambda: screen.view.selected == alerts[-4], lab)
        other._newer.click()
        await settled(lambda: screen.view.selected == alerts[-3], lab)
        table._filters[alerts[-4].kind].value = False
        await settled(lambda: facts(table) != {}, lab)
        table._older.click()
        kept = [a for a in alerts if a.kind != alerts[-4].kind and a.number < alerts[-3].number]
        await settled(lambda: screen.view.selected == kept[-1], lab)
        table._close.click()
        await settled(lambda: screen.view.selected is None, lab)
        assert facts(table) == facts(other) == {}
        assert "pairlab-one-alert" not in table._dom_classes
        screen.view.select(alerts[-1])
        screen.view.reset()  # the button in the charts
        screen.paint(due=True)
        assert "pairlab-chosen" not in table._body.value


async def test_a_paused_table_shows_alerts_until_then(running_lab: MakeLab) -> None:
    async with running_lab(rows=1000, speed=100.0, window=30) as lab:
        table, screen = lab.dashboard().parts["alerts"], lab.dashboard().render_loop
        screen.view.pause(True)
        screen.paint(due=True)
        until_ns = int(screen.view.rows()[-1]["time_ns"])
        before = lab.alert_log.total
        while lab.alert_log.total < before + 10:
            await lab.wait_async(lab.health().rows + 100, 30)
        table._older.click()
        await settled(lambda: table._page == 1, lab)
        table._newer.click()
        await settled(lambda: table._page == 0, lab)
        screen.paint(due=True)
        kept = [a for a in lab.alert_log.alerts() if a.time_ns <= until_ns]
        assert table._on_page[0] == kept[-1]
        assert f"of {len(kept):,}" in table._where.value
        assert table._filters[kept[-1].kind].description == (
            str(sum(a.kind == kept[-1].kind for a in kept))
        )
        assert safe(kept[-1].sentence) in table._why.value
        screen.view.select(kept[-2])
        table._filters[kept[-2].kind].value = False
        await settled(lambda: kept[-2].kind.name not in table._body.value, lab)
        table._older.click()
        older = [a for a in kept[:-2] if a.kind != kept[-2].kind][-1]
        await settled(lambda: screen.view.selected == older, lab)  # not the one after it


async def test_a_row_over_half_a_day_old_tells_its_day(running_lab: MakeLab) -> None:
    async with running_lab(20, timeframe="1h") as lab:
        table = RowTable(lab, rows=16)
        table.render_loop.paint(due=True)
        newest, *before = (int(ns) for ns in lab.rows.view()["time_ns"][:-17:-1])
        whole = [clock(ns, milliseconds=False) for ns in (newest, *before[:11])]
        dated = [f"{day(ns)} {clock(ns)[:5]}" for ns in before[12:]]
        shown = [line[0] for line in cells(table._body.value)[1:]]
        assert (shown[:12], shown[13:]) == (whole, dated)
