"""Serialized rows in bounded memory, while ticks arrive."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from pairlab.data.csv_export import csv_pieces
from pairlab.data.ring import Ring
from pairlab.schema import HISTORY_COLUMNS, ROW, Records
from pairlab.services.rest import rest_api
from pairlab.services.rest.scheduler import RenderLock
from pairlab.services.rest.serializers import csv_stream, json_list
from tests.services.rest.conftest import ServeLab

HELD = 300_000  # rows: 86 MiB of CSV
MIB = 2**20
REQUESTS = 200


def random_rows(count: int) -> Records:
    """Return random rows, a tenth of their p-values missing."""
    rng = np.random.default_rng(7)
    rows = np.zeros(count, ROW)
    for name in HISTORY_COLUMNS:
        if ROW[name].kind == "f":
            rows[name] = rng.normal(0, 1, count) * (60_000 if name in "yx" else 1)
    rows["p_value"][rng.random(count) < 0.1] = np.nan
    rows["time_ns"] = 1_770_000_000_000_000_000 + np.arange(count) * 4_000_000
    rows["filled"] = 60
    return rows


async def count_lines(url: str) -> int:
    """Read the CSV in a process of its own, so that only the server's memory is measured here."""
    code = (
        "import sys, urllib.request\n"
        "lines = 0\n"
        "with urllib.request.urlopen(sys.argv[1]) as got:\n"
        "    while piece := got.read(65536):\n"
        "        lines += piece.count(b'\\n')\n"
        "print(lines)"
    )
    reader = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, url, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await reader.communicate()
    assert reader.returncode == 0
    return int(out)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_long_history_streams_in_constant_memory_while_ticks_arrive(
    serve_lab: ServeLab,
) -> None:
    async with serve_lab(history_rows=HELD, rate_per_s=1000.0) as served:
        served.lab.rows.append(random_rows(HELD))
        gc.collect()
        process, most = psutil.Process(), 0
        before, made = process.memory_info().rss, served.lab.health().rows
        reading = asyncio.create_task(count_lines(f"{served.server.url}/analytics/stats/csv"))
        while not reading.done():
            await served.lab.wait_async(served.lab.health().rows + 50, 60)
            most = max(most, process.memory_info().rss)
        # As many as were held when it began: the header, and a full ring.
        assert await reading == HELD + 1
        assert served.lab.health().rows - made > 1000
        assert served.lab.health().dropped == {}
        print(f"{(most - before) / MIB:.1f} MiB more")
        assert (most - before) / MIB < 50


async def test_a_transfer_keeps_no_buffer_that_the_ring_has_left() -> None:
    ring = Ring(ROW, 4000)
    ring.append(random_rows(4000))
    want = "".join(csv_pieces(ring.view()))
    buffer = weakref.ref(ring._buffer)
    pieces = csv_stream(ring, None, None, RenderLock())
    got = ""
    while got.count("\n") < 2500:
        got += await anext(pieces)
    ring.append(random_rows(1200))  # moves to a fresh buffer; what is still to be sent is in it
    assert buffer() is None
    async for piece in pieces:
        got += piece
    assert got == want


@pytest.mark.slow
async def test_hundreds_of_pages_at_once_hold_one_page_each(
    serve_lab: ServeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[Records] = []
    all_held, go_on = asyncio.Event(), asyncio.Event()

    async def held(name: str, page: Records, *rest: Any) -> bytes:
        pages.append(page)
        if len(pages) == REQUESTS:
            all_held.set()
        await go_on.wait()
        return await json_list(name, page, *rest)

    monkeypatch.setattr(rest_api, "json_list", held)
    async with serve_lab(rows=3000, history_rows=3000) as served:
        ring = served.lab.rows.ring
        limits = httpx.Limits(max_connections=REQUESTS)
        async with httpx.AsyncClient(base_url=served.server.url, limits=limits, timeout=60) as many:
            asked = [
                asyncio.create_task(many.get("/analytics/stats", params={"limit": 100}))
                for _ in range(REQUESTS)
            ]
            try:
                await asyncio.wait_for(all_held.wait(), 30)
                before = weakref.ref(ring._buffer)
                # The ring moves to a fresh buffer while every page is still to be sent.
                for _ in range(2):
                    ring.append(random_rows(ring.capacity))
                gc.collect()
                assert before() is None, "a page holds the whole ring that it was taken from"
                assert {len(page) for page in pages} == {100}
                kept = [page if page.base is None else page.base for page in pages]
                assert sum(page.nbytes for page in kept) == REQUESTS * 100 * ROW.itemsize
            finally:
                go_on.set()
            answers = await asyncio.gather(*asked)
        assert {len(answer.json()["rows"]) for answer in answers} == {100}
        assert served.lab.health().state == "live"
