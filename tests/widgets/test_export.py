"""The file that the browser is given."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

import pandas as pd

from pairlab import PairLab
from pairlab.widgets import ExportButton, ZScoreChart
from pairlab.widgets.screen import Screen
from tests.widgets.conftest import MakeLab, Wire, settled


def job_of(button: ExportButton) -> dict[str, Any]:
    (output,) = button._output.outputs
    script = output["data"]["application/javascript"]
    job: dict[str, Any] = json.loads(script[script.rindex("})(") + 3 : script.rindex(");")])
    return job


def unpacked(button: ExportButton) -> tuple[str, str]:
    job = job_of(button)
    assert job["kind"] == "csv"
    return job["name"], zlib.decompress(base64.b64decode(job["data"])).decode()


async def test_the_file_has_the_numbers_of_the_history(running_lab: MakeLab, wire: Wire) -> None:
    async with running_lab() as lab:
        button = lab.dashboard().parts["strip"].export
        await lab.stop()
        button._button.click()
        await settled(lambda: bool(button._output.outputs), lab)
        name, text = unpacked(button)
        assert re.fullmatch(r"pairlab-BTCUSDT-ETHUSDT-\d{8}T\d{6}Z\.csv", name)
        assert text == lab.csv_bytes().decode()
        back = pd.read_csv(io.StringIO(text), index_col="time", parse_dates=True)
        pd.testing.assert_frame_equal(
            back, lab.history(), check_freq=False, check_dtype=False, check_exact=True,
            check_index_type=False,
        )  # fmt: skip
        await settled(lambda: not button._button.disabled, lab)
        assert "exported" in lab.event_log[-1].message
        assert button._forget is not None
        button._clear()
        assert button._output.outputs == ()  # nothing is saved with the notebook


async def test_an_export_that_fails_says_so(running_lab: MakeLab) -> None:
    async with running_lab(rows=50) as lab:
        button = lab.dashboard().parts["strip"].export

        def broken(*_: object) -> Iterator[str]:
            yield "time"
            raise OSError("no room")

        lab.csv_pieces = broken
        button._button.click()
        await settled(lambda: "the export failed" in lab.event_log[-1].message, lab)
        await settled(lambda: not button._button.disabled, lab)
        assert lab.event_log[-1].message == "the export failed: OSError: no room"


async def test_stopping_the_lab_ends_an_export(running_lab: MakeLab) -> None:
    async with running_lab(rows=50) as lab:
        button = lab.dashboard().parts["strip"].export
        button._button.click()
        await settled(lambda: button._work is not None, lab)
        await lab.stop()
        await settled(lambda: button._work.done(), lab)


async def test_a_button_alone_paints_nothing(running_lab: MakeLab) -> None:
    async with running_lab(rows=50) as lab:
        ExportButton(lab)
        screen = Screen.of(lab)
        await lab.stop()
        lab.start()
        await lab.wait_async(lab.health().rows + 50, 30)
        assert screen._timer is None
        chart = ZScoreChart(lab)
        assert screen._timer is not None
        chart.close()
        assert screen._timer is None


def test_a_file_name_is_safe_whatever_the_symbols() -> None:
    button = ExportButton(PairLab("../../etc", 'a"b;<c>', feed="demo", hedge="ols"))
    assert re.fullmatch(r"pairlab-\.\._\.\._etc-a_b__c_-\d{8}T\d{6}Z\.csv", button.file_name())


async def test_tables_and_rows_are_chosen(running_lab: MakeLab) -> None:
    async with running_lab(rows=800, window=30) as lab:
        button = ExportButton(lab)
        screen = lab.dashboard().screen
        await lab.stop()
        rows = lab.rows.view()
        first, last = int(rows[200]["time_ns"]), int(rows[400]["time_ns"])
        lab.select(first, last)
        screen.hold(int(rows[100]["time_ns"]), int(rows[150]["time_ns"]))
        spans = {"all": (None, None), "view": screen.ends_ns(), "selection": (first, last)}
        sizes = set()
        for what in ("history", "ticks", "alerts"):
            for shown, ends in spans.items():
                button._what.value, button._rows.value = what, shown
                button._csv.click()
                await settled(lambda: bool(button._output.outputs), lab)
                name, text = unpacked(button)
                assert name.endswith(".csv" if what == "history" else f"-{what}.csv")
                assert text == lab.csv_bytes(what, *ends).decode()
                sizes.add((what, text.count("\n")))
                await settled(lambda: button._work.done(), lab)
                button._clear()
        assert len(sizes) == 9, "each choice gives other rows"
        assert what in button._csv.tooltip
        lab.select()
        button._rows.value = "selection"
        button._csv.click()
        await settled(lambda: "nothing is selected to export" in lab.event_log[-1].message, lab)
        assert button._output.outputs == ()


async def test_pictures_are_asked_of_the_charts_that_there_are(running_lab: MakeLab) -> None:
    async with running_lab(rows=50) as lab:
        parts = lab.dashboard().parts
        button = parts["strip"].export
        button._more.click()
        await settled(lambda: "zscore" in button._chart.options, lab)
        button._chart.value = "zscore"
        button._svg.click()
        await settled(lambda: bool(button._output.outputs), lab)
        job = job_of(button)
        assert job["name"].endswith("-zscore.svg")
        assert job["charts"] == [[f"pairlab-{parts['zscore'].model_id}"]]
        assert job["charts"][0][0] in parts["zscore"]._dom_classes
        token = job["token"]
        button._chart.value = "all charts"
        button._png.click()
        await settled(lambda: job_of(button)["kind"] == "png", lab)
        job = job_of(button)
        assert len(job["charts"]) >= 4
        assert job["token"] != token
        button._clear()
