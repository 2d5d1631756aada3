"""The file that the browser is given."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib

import pandas as pd

from pairlab import PairLab
from pairlab.widgets import ExportButton
from tests.widgets.conftest import MakeLab, Wire, settled


def unpacked(button: ExportButton) -> tuple[str, str]:
    (output,) = button._output.outputs
    script = output["data"]["application/javascript"]
    data = json.loads(re.search(r"atob\((\".*?\")\)", script)[1])
    name = json.loads(re.search(r"link\.download = (\".*?\");", script)[1])
    return name, zlib.decompress(base64.b64decode(data)).decode()


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

        def broken() -> bytes:
            raise OSError("no room")

        lab.csv_bytes = broken
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


def test_a_file_name_is_safe_whatever_the_symbols() -> None:
    button = ExportButton(PairLab("../../etc", 'a"b;<c>', feed="demo", hedge="ols"))
    assert re.fullmatch(r"pairlab-\.\._\.\._etc-a_b__c_-\d{8}T\d{6}Z\.csv", button.file_name())
