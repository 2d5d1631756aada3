"""Every path compared with the lab's own accessors, while ticks arrive."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from pairlab.data.alert_log import AlertLog
from pairlab.data.csv_export import csv_pieces
from pairlab.data.origin import Origin
from pairlab.schema import HISTORY_COLUMNS, Records, RowFlag
from pairlab.settings import SETTINGS
from pairlab.widgets import Controls
from tests.services.rest.conftest import TOKEN, Served, ServeLab, read


def assert_same(row: dict[str, Any], want: Any) -> None:
    """Compare a row of JSON with a record, a Snapshot or a Series, to the last bit."""
    assert list(row) == ["time", *HISTORY_COLUMNS, "filled"]
    for name in (*HISTORY_COLUMNS, "filled"):
        value = want[name] if isinstance(want, np.void) else getattr(want, name)
        if row[name] is None:
            assert math.isnan(value), name
        else:
            assert row[name] == value, name
    time_ns = want["time_ns"] if isinstance(want, np.void) else want.time_ns
    assert pd.Timestamp(row["time"]) == pd.Timestamp(int(time_ns), tz="UTC")
    assert row["time"].endswith("Z")
    assert len(row["time"]) == len("2026-11-22T14:32:09.482Z")


def numbered(served: Served, first: int, count: int) -> Records:
    """Return rows by their number."""
    return served.lab.rows.slice(first, first + count)


async def test_latest_is_the_newest_row_under_live_ticks(serve_lab: ServeLab) -> None:
    async with serve_lab() as served:
        seen, asked = set(), 0
        while asked < 50 or len(seen) <= 10:  # a fast machine asks between two rows
            asked += 1
            before = served.lab.rows.end
            row = await served.get("/analytics/latest")
            assert row.pop("provisional") is False
            between = numbered(served, before - 1, served.lab.rows.end - before + 1)
            (match,) = [r for r in between if r["zscore"] == row["zscore"]][-1:]
            assert_same(row, match)
            seen.add(row["time"])


async def test_warm_up_is_reported(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=0, window=400, rate_per_s=400.0) as served:
        assert await served.get("/analytics/latest", 204) is None
        await served.lab.wait_async(100, 60)
        health = await served.get("/health", 503)
        assert health["ready"] is False
        assert 100 <= health["filled"] < health["window"] == 400
        assert "warming up" in health["reason"]
        assert await served.get("/analytics/latest", 204) is None
        await served.lab.wait_async(400, 60)
        assert (await served.get("/analytics/latest"))["filled"] == 400
        assert (await served.get("/health"))["reason"] == ""


async def test_a_hedge_that_is_being_learnt_is_reported(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=200, hedge="kalman", rate_per_s=400.0) as served:
        health = await served.get("/health", 503)
        assert health["filled"] == health["window"] == 60
        assert health["reason"] == "warming up: the Kalman hedge is learnt from 900 observations"
        assert await served.get("/analytics/latest", 204) is None


async def test_a_forming_bar_is_provisional(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=1, timeframe="1m", window=20) as served:
        row = await served.get("/analytics/latest")
        assert row["provisional"] is True
        assert row["filled"] == 20


async def pages(served: Served, **query: Any) -> AsyncIterator[dict[str, Any]]:
    """Give every page of the history, the last one included."""
    page = await served.get("/analytics/stats", **query)
    yield page
    while page["more"]:
        page = await served.get("/analytics/stats", **{**query, "cursor": page["next_cursor"]})
        yield page


async def test_pages_are_the_history_without_gap_or_repeat(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=1500) as served:
        rows = []
        async for page in pages(served, limit=190):
            assert page["missed"] == 0
            rows += page["rows"]
        last = page["next_cursor"]
        assert len(rows) >= 1500
        for row, want in zip(rows, numbered(served, 0, len(rows)), strict=True):
            assert_same(row, want)
        assert any(row["zscore"] is None for row in rows)
        # The cursor at the end gives what came since, whenever it is asked.
        await served.lab.wait_async(served.lab.health().rows + 100, 60)
        more = await served.get("/analytics/stats", cursor=last, limit=10_000)
        for row, want in zip(
            more["rows"], numbered(served, len(rows), len(more["rows"])), strict=True
        ):
            assert_same(row, want)
        assert len(more["rows"]) >= 100


async def test_a_time_range_is_what_between_returns(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=1500) as served:
        history = served.lab.history()
        start, end = history.index[200], history.index[900]
        want = served.lab.between(start, end)
        got = await served.get(
            "/analytics/stats", start=start.isoformat(), end=end.isoformat(), limit=10_000
        )
        assert len(got["rows"]) == len(want)
        assert got["more"] is False
        assert [row["spread"] for row in got["rows"]] == want["spread"].tolist()
        newest = await served.get("/analytics/stats", end=end.isoformat(), last=7)
        assert [row["spread"] for row in newest["rows"]] == want["spread"].tolist()[-7:]
        none = await served.get("/analytics/stats", end="1999-01-01T00:00:00Z")
        assert none["rows"] == []
        for early in ("0001-01-01T00:00:00Z", "1677-12-31T23:59:59+23:59"):
            assert len((await served.get("/analytics/stats", start=early))["rows"]) == 1000


async def test_a_cursor_outlives_the_rows_before_it(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=1000, history_rows=500) as served:
        page = await served.get("/analytics/stats", limit=10)
        assert page["more"] is True
        at = int(page["next_cursor"].split("-")[2])
        await served.lab.wait_async(served.lab.health().rows + 1000, 60)
        first = total = 0
        while first + 10 > total:  # the oldest rows leave while they are asked for
            total, held = served.lab.rows.end, served.lab.rows.view().copy()
            after = await served.get("/analytics/stats", limit=10, cursor=page["next_cursor"])
            assert after["missed"] > 400
            first = at + after["missed"]
        wanted = held[first - (total - len(held)) :][:10]
        for row, want in zip(after["rows"], wanted, strict=True):
            assert_same(row, want)


async def test_a_rebuild_ends_a_cursor_in_plain_words(serve_lab: ServeLab) -> None:
    async with serve_lab() as served:
        page = await served.get("/analytics/stats", limit=10)
        generation = served.lab.rows.epoch
        await served.change(window=80)
        while served.lab.rows.epoch == generation:
            await served.lab.wait_async(served.lab.health().rows + 1, 10)
        gone = await served.get("/analytics/stats", 410, cursor=page["next_cursor"])
        assert "other settings" in gone["detail"]
        assert (await served.get("/analytics/stats", limit=100))["rows"][79]["filled"] == 80
        other = await served.get("/analytics/stats", 410, cursor="abcdef-0-0-0")
        assert "another run" in other["detail"]


BAD_QUERIES: list[tuple[dict[str, Any], str]] = [
    ({"limit": 0}, "limit = '0' is invalid"),
    ({"limit": 10_001}, "less than or equal to 10000"),
    ({"lmit": 5}, "unknown field 'lmit'"),
    ({"start": "yesterday"}, "start = 'yesterday' is invalid"),
    ({"start": "2026-13-01T00:00:00Z"}, "not a valid time"),
    ({"start": "2026-02-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "is before start"),
    ({"cursor": "nonsense"}, "cursor = 'nonsense' is invalid"),
    ({"cursor": "RUN-GEN-999999999-0"}, "was not issued by this server"),
    ({"cursor": "RUN-GEN-0-0", "last": 5}, "cannot be combined"),
]


async def test_bad_queries_are_named(serve_lab: ServeLab) -> None:
    async with serve_lab() as served:
        run, generation, *_ = (await served.get("/analytics/stats"))["next_cursor"].split("-")
        for query, words in BAD_QUERIES:
            if "cursor" in query:
                cursor = query["cursor"].replace("RUN", run).replace("GEN", generation)
                query = {**query, "cursor": cursor}
            assert words in (await served.get("/analytics/stats", 422, **query))["detail"]


async def test_csv_is_what_to_csv_writes(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=1500) as served:
        live = await served.client.get("/analytics/stats/csv")
        assert live.headers["content-type"] == "text/csv; charset=utf-8"
        assert live.headers["content-disposition"].startswith(
            'attachment; filename="pairlab-LOCAL-BTCUSDT-ETHUSDT-'
        )
        lines = live.text.count("\n") - 1
        assert lines >= 1500
        origin = Origin.of(served.lab.pair, served.lab.health(), served.lab.row_settings)
        assert live.text == "".join(csv_pieces(numbered(served, 0, lines), origin))
        index = served.lab.history().index
        span = {"start": index[100].isoformat(), "end": index[600].isoformat()}
        part = await served.client.get("/analytics/stats/csv", params=span)
        want = await asyncio.to_thread(served.lab.csv_bytes, "history", index[100], index[600])
        assert part.content == want
        empty = await served.client.get(
            "/analytics/stats/csv", params={"end": "1999-01-01T00:00:00Z"}
        )
        assert empty.text == "".join(csv_pieces(served.lab.rows.view(0), origin))


async def test_alerts_are_the_log_with_reasons(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=4000, entry_z=1.5) as served:
        await served.change(exit_z=0.25)
        got, page = [], {"more": True, "next_cursor": None}
        while page["more"]:
            query = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
            page = await served.get("/alerts", limit=7, **query)
            assert page["missed"] == 0
            got += page["alerts"]
        log = list(served.lab.alert_log)[: len(got)]
        assert len(got) > 14
        for entry, want in zip(got, log, strict=True):
            assert entry["sentence"] == want.sentence
            assert pd.Timestamp(entry["time"]) == pd.Timestamp(want.time_ns, tz="UTC")
            if entry["kind"] == "SETTING":
                assert (entry["setting"], entry["old"], entry["new"]) == ("exit_z", 0.5, 0.25)
                continue
            assert entry["explanation"] == want.explain()
            assert (entry["number"], entry["kind"]) == (want.number, want.kind.name)
            assert (entry["side"], entry["reason"]) == (want.side_name, want.reason)
            assert entry["thresholds"] == want.thresholds
            assert_same(entry["row"], want.at)
        frame = served.lab.alerts()[: len(got)]
        assert [entry["kind"] for entry in got] == frame["kind"].tolist()
        assert {"ENTRY", "EXIT", "SETTING"} <= set(frame["kind"])


async def test_a_log_cursor_counts_entries_that_left_the_log(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=0, rate_per_s=1.0) as served:
        served.lab._pipeline.alert_log = AlertLog(capacity=5)
        for number in range(3):
            await served.change(cooldown_s=1 + number)
        page = await served.get("/alerts", limit=2)
        assert [entry["new"] for entry in page["alerts"]] == [1.0, 2.0]
        assert (page["more"], page["missed"]) == (True, 0)
        for number in range(3, 10):
            await served.change(cooldown_s=1 + number)
        after = await served.get("/alerts", cursor=page["next_cursor"])
        assert [entry["new"] for entry in after["alerts"]] == [6.0, 7.0, 8.0, 9.0, 10.0]
        assert (after["more"], after["missed"]) == (False, 3)


async def test_health_lies_between_two_of_the_labs_own(serve_lab: ServeLab) -> None:
    async with serve_lab() as served:
        await served.lab.wait_async(served.lab.health().rows + 500, 60)
        before = served.lab.health()
        got = await served.get("/health")
        after = served.lab.health()
        assert (got["y"], got["x"]) == served.lab.pair
        for name in ("ticks", "rows", "reconnects", "gaps", "missing", "late_ticks", "uptime_s"):
            assert getattr(before, name) <= got[name] <= getattr(after, name), name
        same = ("state", "detail", "feed", "real_money", "stream", "filled", "window", "dropped")
        for name in same:
            assert getattr(before, name) == got[name], name
        assert 0 < got["row_p99_ms"] < 60_000
        assert set(got["versions"]) == {"pairlab", "python", "numpy", "numba"}


async def test_settings_change_together_or_not_at_all(serve_lab: ServeLab) -> None:
    async with serve_lab() as served:
        assert await served.get("/config") == asdict(served.lab.settings.values())
        changed = await served.change(entry_z=3, stop_z=5.5, window=70)
        assert changed == asdict(served.lab.settings.values())
        assert (changed["entry_z"], changed["stop_z"], changed["window"]) == (3.0, 5.5, 70)
        assert (await served.change(stop_z=None))["stop_z"] is None
        before = asdict(served.lab.settings.values())
        changes = len(served.lab.alert_log) - len(served.lab.alert_log.alerts())
        refused = await served.change(422, window=90, exit_z=9.0)
        assert refused["detail"] == "exit_z = 9.0 is invalid: it must be below entry_z (3)"
        unknown = await served.change(422, window=90, entri_z=2.0)
        assert "did you mean 'entry_z'?" in unknown["detail"]
        assert asdict(served.lab.settings.values()) == before == await served.get("/config")
        assert len(served.lab.alert_log) - len(served.lab.alert_log.alerts()) == changes


async def test_messages_and_sliders_match_the_widgets(serve_lab: ServeLab) -> None:
    async with serve_lab() as served:
        controls = Controls(served.lab)
        try:
            row = controls._rows["entry_z"]
            for typed, value in (("0.3", 0.3), ("25", 25)):
                row.field.value = typed  # what a person types is read when the loop comes round
                refused = await served.change(422, entry_z=value)
                assert refused["detail"] == served.lab.event_log[-1].message
            await served.change(entry_z=2.75, hedge_ratio=24)
            controls._show_all()  # what the screen does with its next picture
            assert row.slider.value == 2.75
            assert row.field.value == "2.75"
            assert controls._rows["hedge_ratio"].slider.value == 24.0
        finally:
            controls.close()


async def test_a_change_applies_from_the_next_tick(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=2000, entry_z=7.5, stop_z=None) as served:
        assert served.lab.alert_log.alerts() == []
        changed_at: list[int] = []  # noted as it happens: rows come while its answer is on its way
        served.lab.settings.observe(lambda _: changed_at.append(served.lab.rows.end), "entry_z")
        await served.change(entry_z=0.6)
        await served.lab.wait_async(served.lab.health().rows + 500, 60)
        first = served.lab.alert_log.alerts()[0]
        rows = numbered(served, changed_at[0], 500)
        want = next(row for row in rows if abs(row["zscore"]) >= 0.6)
        assert first.time_ns == want["time_ns"]


BAD_BODIES = [
    (b"", 400, "not JSON"),
    (b"{", 400, "not JSON"),
    (b"\xff", 400, "not JSON"),
    (b"[" * 9000, 400, "not JSON"),
    (b'{"timeframe": "\\ud800"}', 400, "not JSON"),
    (b"[]", 422, "JSON object of settings"),
    (b"null", 422, "JSON object of settings"),
    (b'{"self": 1}', 422, "no setting 'self'"),
    (b'{"entry_z": "2"}', 422, "entry_z = '2' is invalid"),
    (b'{"entry_z": true}', 422, "entry_z = True is invalid"),
    (b'{"entry_z": {"a": [1]}}', 422, "entry_z = {'a': [1]} is invalid"),
    (b'{"entry_z": 1e999}', 400, "not JSON"),
    (b'{"entry_z": ' + b"9" * 5000 + b"}", 400, "not JSON"),
    (b'{"entry_z": NaN}', 400, "not JSON"),
    (b'{"window": 60.5}', 422, "window = 60.5 is invalid"),
    (b'{"window": 99999999999999999999}', 422, "window = "),
    (b'{"timeframe": "' + b"x" * 20_000 + b'"}', 413, "at most 16,384 bytes"),
]


async def test_bad_bodies_change_nothing(serve_lab: ServeLab) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    async with serve_lab(rows=0) as served:
        before = asdict(served.lab.settings.values())
        for body, status, words in BAD_BODIES:
            response = await served.client.post("/config", content=body, headers=headers)
            assert response.status_code == status, (body[:40], response.text)
            assert words in read(response)["detail"], body[:40]
        assert asdict(served.lab.settings.values()) == before


async def test_a_body_without_a_length_is_limited_too(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=0) as served:

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(10_000):
                yield b" " * 10_000

        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        response = await served.client.post("/config", content=endless(), headers=headers)
        assert response.status_code == 413
        form = await served.client.post(
            "/config", data={"entry_z": "3"}, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        assert form.status_code == 415


async def test_a_failed_allocation_changes_nothing(
    serve_lab: ServeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_lab() as served:
        before = asdict(served.lab.settings.values())

        def too_much(self: Any, capacity: int) -> Any:
            if capacity > before["history_rows"]:
                raise MemoryError
            return self

        monkeypatch.setattr("pairlab.data.ring.Ring.resized", too_much)
        refused = await served.change(422, history_rows=50_000_000, entry_z=3.0)
        assert "memory" in refused["detail"]
        assert asdict(served.lab.settings.values()) == before


async def test_an_internal_error_is_a_500_and_logged(
    serve_lab: ServeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_lab() as served:
        monkeypatch.setattr(served.lab, "latest", lambda: 1 / 0)
        response = await served.client.get("/analytics/latest")
        assert response.status_code == 500
        assert "event log" in read(response)["detail"]
        assert "/analytics/latest: ZeroDivisionError" in served.lab.event_log[-1].message


async def test_every_setting_and_field_is_described_in_the_schema(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=0) as served:
        schema = await served.get("/openapi.json")
        config = schema["paths"]["/config"]["post"]["requestBody"]["content"]["application/json"]
        assert set(config["schema"]["properties"]) == set(SETTINGS)
        row = schema["components"]["schemas"]["Row"]["properties"]
        assert list(row) == ["time", *HISTORY_COLUMNS, "filled"]
        assert all(field["description"] for field in row.values())
        for bit in RowFlag:
            assert f"{bit.value} " in row["flags"]["description"], bit
        assert "StreamMessage" in schema["components"]["schemas"]
        assert schema["paths"]["/config"]["post"]["security"] == [{"token": []}]


async def test_a_client_that_leaves_ends_its_transfer(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=3000) as served:
        async with served.client.stream("GET", "/analytics/stats/csv") as response:
            assert response.status_code == 200
        await served.lab.wait_async(served.lab.health().rows + 100, 60)
        async with httpx.AsyncClient(base_url=served.server.url) as other:
            assert (await other.get("/analytics/latest")).status_code == 200
