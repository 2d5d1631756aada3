"""The file that the browser is given."""

from __future__ import annotations

import asyncio
import io
import re
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pairlab import PairLab
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.schema import Pair
from pairlab.widgets import ExportButton, ZScoreChart
from pairlab.widgets.core.render_loop import RenderLoop
from pairlab.widgets.core.widget_utils import tree
from pairlab.widgets.panels import export
from tests.widgets.conftest import MakeLab, Wire, settled


class Page:
    """A page that shows all of a lab: it is asked for files, and says what became of them."""

    def __init__(self, lab: PairLab, wire: Wire, name: str = "page") -> None:
        self.render_loop, self.wire, self.name = RenderLoop.of(lab), wire, name
        self.jobs: list[tuple[dict[str, Any], list[Any]]] = []
        self.say(shows=["*"])

    def say(self, **what: Any) -> None:
        self.render_loop.channel.widget._handle_custom_msg({"page": self.name, **what}, [])

    def job(self) -> dict[str, Any] | None:
        """Return what it was asked for last."""
        carrier = self.render_loop.channel.widget.carrier.model_id
        for m in self.wire.take():
            content = m["data"].get("content", {})
            if m["id"] == carrier and "job" in content:
                self.jobs.append((content["job"], m["buffers"]))
        return self.jobs[-1][0] if self.jobs else None

    def file(self) -> tuple[str, str]:
        """Return the name and the text of the last one, as the browser unpacks it."""
        job, [packed] = self.jobs[-1]
        assert job["kind"] == "csv"
        return job["name"], zlib.decompress(bytes(packed)).decode()


async def next_job(page: Page, lab: PairLab) -> dict[str, Any]:
    count = len(page.jobs)
    await settled(lambda: page.job() is not None and len(page.jobs) > count, lab)
    return page.jobs[-1][0]


async def test_the_file_has_the_numbers_of_the_history(running_lab: MakeLab, wire: Wire) -> None:
    async with running_lab() as lab:
        button = lab.dashboard().parts["strip"].export
        page = Page(lab, wire)
        await lab.stop()
        button._button.click()
        job = await next_job(page, lab)
        assert job["pages"] == ["page"]
        name, text = page.file()
        assert re.fullmatch(r"pairlab-LOCAL-BTCUSDT-ETHUSDT-\d{8}T\d{6}Z\.csv", name)
        assert text == lab.csv_bytes().decode()
        back = pd.read_csv(io.StringIO(text), index_col="time", parse_dates=True)
        assert back.pop("source").str.fullmatch(r"LOCAL [\d.:]+ \(not real money\)").all()
        assert back.columns[-1].startswith("pair=BTCUSDT/ETHUSDT; ")
        assert back.pop(back.columns[-1]).isna().all()
        pd.testing.assert_frame_equal(
            back, lab.history(), check_freq=False, check_dtype=False, check_exact=True,
            check_index_type=False,
        )  # fmt: skip
        await settled(lambda: not button._button.disabled, lab)
        assert not any("exported" in e.message for e in lab.event_log)  # the page has not said so
        page.say(saved="another", failed=None)
        page.say(saved=job["token"], failed=None)
        await settled(lambda: "exported" in lab.event_log[-1].message, lab)
        assert lab.event_log[-1].message == f"exported {name}: {len(text):,} bytes"
        said = len(lab.event_log)
        page.say(saved=job["token"], failed=None)  # a second page, later
        await lab.stop()
        assert len(lab.event_log) == said
        # Nothing of it is in a widget's state, and so in the notebook.
        assert len(str(button.get_state())) < 5_000


async def test_a_page_that_cannot_save_says_why(running_lab: MakeLab, wire: Wire) -> None:
    async with running_lab(rows=50) as lab:
        button = lab.dashboard().parts["strip"].export
        button._png.click()
        await settled(lambda: "no page can save" in lab.event_log[-1].message, lab)
        assert "lab.to_csv(path)" in lab.event_log[-1].message
        page = Page(lab, wire)
        await settled(
            lambda: bool(button.render_loop.channel.pacer.pages_showing("any", time.monotonic())),
            lab,
        )
        button._png.click()
        job = await next_job(page, lab)
        page.say(saved=job["token"], failed="Error: no chart is in view: scroll to one")
        await settled(lambda: "was not saved" in lab.event_log[-1].message, lab)
        assert lab.event_log[-1].level == "error"
        assert lab.event_log[-1].message.endswith("-charts.png was not saved: no chart is in view: "
                                                  "scroll to one")  # fmt: skip


async def test_a_page_that_says_nothing_is_given_up(
    running_lab: MakeLab, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_WAIT_S", 0.05)
    async with running_lab(rows=50) as lab:
        button, page = lab.dashboard().parts["strip"].export, Page(lab, wire)
        await settled(lambda: button.render_loop.channel.pacer.answers, lab)
        button._svg.click()
        await next_job(page, lab)
        await settled(
            lambda: "no page has confirmed that it saved" in lab.event_log[-1].message, lab
        )
        assert "check the browser's downloads" in lab.event_log[-1].message
        button.render_loop.channel.pacer.mute()  # a cell runs: its answer waits in the queue
        button._svg.click()
        job = await next_job(page, lab)
        first = button._jobs[job["token"]].giving_up
        await settled(lambda: button._jobs[job["token"]].giving_up is not first, lab)
        page.say(saved=job["token"], failed=None)
        await settled(lambda: "exported" in lab.event_log[-1].message, lab)


async def test_an_export_that_fails_says_so_and_what_to_do(running_lab: MakeLab) -> None:
    async with running_lab(rows=50) as lab:
        button = lab.dashboard().parts["strip"].export

        def broken(*_: object) -> Iterator[str]:
            yield "time"
            raise OSError("no room")

        lab.csv_pieces = broken
        button._button.click()
        await settled(lambda: "the export failed" in lab.event_log[-1].message, lab)
        await settled(lambda: not button._button.disabled, lab)
        assert lab.event_log[-1].message == (
            "the export failed: OSError: no room. Try again, or write the file with "
            "lab.to_csv(path)"
        )


async def test_two_files_are_each_told_and_the_pressed_page_saves_them(
    running_lab: MakeLab, wire: Wire
) -> None:
    async with running_lab(rows=50) as lab:
        button = lab.dashboard().parts["strip"].export
        page, other = Page(lab, wire), Page(lab, wire, "other")
        await settled(
            lambda: (
                len(button.render_loop.channel.pacer.pages_showing("any", time.monotonic())) == 2
            ),
            lab,
        )
        other.say(pressed=True)
        await settled(lambda: button.render_loop.channel._pressed_page == "other", lab)
        button._png.click()
        first = await next_job(page, lab)
        button._svg.click()
        second = await next_job(page, lab)
        assert first["pages"] == second["pages"] == ["other"]
        other.say(saved=second["token"], failed=None)
        other.say(saved=first["token"], failed="Error: no room")
        await settled(lambda: "was not saved: no room" in lab.event_log[-1].message, lab)
        assert "exported" in lab.event_log[-2].message
        assert button._jobs == {}


@pytest.mark.slow
async def test_closing_while_an_export_runs_leaves_nothing(
    running_lab: MakeLab, wire: Wire
) -> None:
    async with running_lab(rows=50) as lab:
        views, opened = len(lab._runner._displays), set(wire.open)
        for _ in range(5):
            dashboard = lab.dashboard()
            button = dashboard.parts["strip"].export
            Page(lab, wire)
            button._button.click()
            await settled_work(button, lab)
            dashboard.close()
        assert len(lab._runner._displays) == views + 1  # the screen
        shared = {w.model_id for w in tree(RenderLoop.of(lab).shared_widgets())}
        assert set(wire.open) - opened <= shared
        await lab.wait_async(lab.health().rows + 50, 30)
        assert not [e for e in lab.event_log if e.level == "error"]


async def settled_work(button: ExportButton, lab: PairLab) -> None:
    while button._work is None:
        await lab.wait_async(lab.health().rows + 1, 30)


async def test_stopping_the_lab_ends_an_export(running_lab: MakeLab, wire: Wire) -> None:
    released = threading.Event()

    def endless() -> Iterator[str]:
        yield "time"
        released.wait(60)  # the export cannot come to its end by itself

    async with running_lab(rows=50) as lab:
        button, page = lab.dashboard().parts["strip"].export, Page(lab, wire)
        lab.csv_pieces = lambda *_: endless()
        try:
            button._button.click()
            await settled(lambda: button._work is not None, lab)
            await lab.stop()
            await asyncio.wait({button._work}, timeout=10)
            assert button._work.cancelled()
            assert not button._button.disabled
        finally:
            released.set()
        assert page.job() is None  # no page is asked to save what was broken off


async def test_a_button_alone_paints_nothing(running_lab: MakeLab) -> None:
    async with running_lab(rows=50) as lab:
        ExportButton(lab)
        screen = RenderLoop.of(lab)
        await lab.stop()
        lab.start()
        await lab.wait_async(lab.health().rows + 50, 30)
        assert screen._timer is None
        chart = ZScoreChart(lab)
        assert screen._timer is not None
        chart.close()
        assert screen._timer is None


def test_a_file_name_is_safe_whatever_the_symbols() -> None:
    pair = Pair("../../etc", 'a"b;<c>')
    feed = BinanceFeed(pair, url="ws://127.0.0.1:9", name="SIMULATED")
    button = ExportButton(PairLab(*pair, feed=feed, hedge="ols"))
    safe = r"pairlab-SIMULATED-\.\._\.\._etc-a_b__c_-\d{8}T\d{6}Z\.csv"
    assert re.fullmatch(safe, button.file_name())


async def test_tables_and_rows_are_chosen(running_lab: MakeLab, wire: Wire) -> None:
    async with running_lab(rows=800, window=30) as lab:
        button, page = ExportButton(lab), Page(lab, wire)
        screen = lab.dashboard().render_loop
        await lab.stop()
        rows = lab.rows.view()
        first, last = int(rows[200]["time_ns"]), int(rows[400]["time_ns"])
        lab.select(first, last)
        screen.view.freeze(int(rows[100]["time_ns"]), int(rows[150]["time_ns"]))
        spans = {"all": (None, None), "view": screen.view.ends_ns(), "selection": (first, last)}
        sizes = set()
        for what in ("history", "ticks", "alerts"):
            for shown, ends in spans.items():
                button._what.value, button._rows.value = what, shown
                button._csv.click()
                await next_job(page, lab)
                name, text = page.file()
                assert name.endswith(".csv" if what == "history" else f"-{what}.csv")
                assert text == lab.csv_bytes(what, *ends).decode()
                sizes.add((what, text.count("\n")))
                await settled(lambda: button._work.done(), lab)
        assert len(sizes) == 9, "each choice gives other rows"
        assert what in button._csv.tooltip
        lab.select()
        button._rows.value = "selection"
        button._csv.click()
        await settled(lambda: "nothing is selected to export" in lab.event_log[-1].message, lab)
        assert len(page.jobs) == 9


async def test_what_is_in_view_is_exported_though_the_ring_went_on(
    running_lab: MakeLab, wire: Wire
) -> None:
    async with running_lab(rows=500, history_rows=500, window=30, speed=60.0) as lab:
        button, page = ExportButton(lab), Page(lab, wire)
        screen = lab.dashboard().render_loop
        screen.view.pause(True)
        times = screen.view.rows()["time_ns"]
        screen.view.freeze(int(times[100]), int(times[300]))
        await lab.wait_async(lab.health().rows + 700, 30)
        assert int(lab.rows.view()["time_ns"][0]) > int(times[300])
        button._rows.value = "view"
        button._csv.click()
        await next_job(page, lab)
        assert page.file()[1].count("\n") == 1 + len(screen._frame(due=True).inside) > 200


@pytest.mark.parametrize("paused", [False, True])
async def test_what_is_in_view_is_exported_from_the_recording_too(
    running_lab: MakeLab, wire: Wire, tmp_path: Path, paused: bool
) -> None:
    async with running_lab(rows=100, history_rows=300, window=30, speed=60.0) as lab:
        recording = lab.record(tmp_path / "r")
        assert await recording.wait_opened() == "recording"
        begin_ns = int(lab.rows.view()["time_ns"][50])
        button, page = ExportButton(lab), Page(lab, wire)
        screen = lab.dashboard().render_loop
        await lab.wait_async(lab.health().rows + 700, 60)
        screen.view.pause(paused)
        rows = screen.view.rows()
        assert int(rows["time_ns"][0]) > begin_ns
        end_ns = int(rows["time_ns"][100])
        screen.view.freeze(begin_ns, end_ns)
        if paused:
            await lab.wait_async(lab.health().rows + 500, 60)
        wanted = await asyncio.to_thread(lab.between, begin_ns, end_ns)
        button._rows.value = "view"
        button._csv.click()
        await next_job(page, lab)
        assert page.file()[1].count("\n") == 1 + len(wanted) > 500
        await settled(lambda: button._work.done(), lab)


async def test_a_table_too_large_for_a_page_is_not_sent(
    running_lab: MakeLab, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_MOST_BYTES", 1_000)
    async with running_lab(rows=200) as lab:
        button, page = lab.dashboard().parts["strip"].export, Page(lab, wire)
        button._button.click()
        await settled(lambda: "too many for a browser" in lab.event_log[-1].message, lab)
        assert "lab.to_csv(path, start=" in lab.event_log[-1].message
        assert not page.jobs


async def test_pictures_are_asked_of_the_charts_that_there_are(
    running_lab: MakeLab, wire: Wire
) -> None:
    async with running_lab(rows=50) as lab:
        parts, page = lab.dashboard().parts, Page(lab, wire)
        button = parts["strip"].export
        button._more.click()
        await settled(lambda: "zscore" in button._chart.options, lab)
        button._chart.value = "zscore"
        button._svg.click()
        job = await next_job(page, lab)
        assert job["name"].startswith("pairlab-LOCAL-BTCUSDT-ETHUSDT-")
        assert job["name"].endswith("-zscore.svg")
        assert job["about"]["source"].startswith("LOCAL ")
        assert job["about"]["real"] is False
        assert "; window=60; " in job["about"]["settings"]
        assert job["charts"] == [[f"pairlab-{parts['zscore'].model_id}"]]
        assert job["charts"][0][0] in parts["zscore"]._dom_classes
        token = job["token"]
        button._chart.value = "all charts"
        button._png.click()
        job = await next_job(page, lab)
        assert job["kind"] == "png"
        assert len(job["charts"]) >= 4
        assert job["token"] != token
