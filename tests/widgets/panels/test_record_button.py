"""The Record button: one click begins, one ends, and the strip says how it is."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from pairlab.schema import Pair
from pairlab.storage.recording.recorded_session import RecordedSession
from pairlab.widgets.panels.record_button import RecordButton, default_folder, recording_words
from tests.widgets.conftest import MakeLab, settled
from tests.widgets.core.test_lab_view import Result
from tests.widgets.strip.test_status_bar import painted, text


class Seen:
    """A recording as a display sees it."""

    target, error, ticks, lost_ticks, active = "somewhere", "", 5, 0, True
    state, nbytes, duration_s = "recording", 3_500_000, 3_725.9

    def request_stop(self) -> None:
        self.active = False

    async def stop(self) -> None:
        self.active = False


def test_its_words() -> None:
    seen = Seen()
    assert recording_words(seen) == "rec 1:02:05 · 3.3 MiB"
    seen.state, seen.nbytes = "waiting", 10**9
    assert recording_words(seen) == "rec waits 1:02:05 · 954 MiB"
    seen.active = False
    assert recording_words(seen) == recording_words(None) == ""


def test_where_it_records_to() -> None:
    day_ns = 1_723_161_599 * 10**9
    assert default_folder(Pair("BTCUSDT", "ETHUSDT"), day_ns) == (
        "recordings/BTCUSDT-ETHUSDT-2024-08-08"
    )
    assert default_folder(Pair("../BTC/USD", "a b"), day_ns) == (
        "recordings/.._BTC_USD-a_b-2024-08-08"
    )


@pytest.mark.slow
async def test_a_click_begins_and_a_click_ends(
    running_lab: MakeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running_lab() as lab:
        button = RecordButton(lab)
        assert "Record ticks, rows" in button._button.tooltip
        button._button.click()
        await settled(lambda: lab.recording is not None, lab)
        recording = lab.recording
        assert recording is not None
        assert recording.target.startswith("recordings/BTCUSDT-ETHUSDT-20")
        assert await recording.wait_opened() == "recording"
        while not recording.ticks:  # noqa: ASYNC110 - a thread's counter
            await asyncio.sleep(0.02)
        shown = painted(lab)
        button.paint(button.render_loop._frame(due=True))
        assert text(shown["feed"]).split(" running ")[1].startswith("rec 0:00:")
        assert "Click to end" in button._button.tooltip
        assert button._button.description == "End"
        button._button.click()
        button._button.click()  # while it seals: nothing more
        while recording.active:  # noqa: ASYNC110 - a thread's state
            await asyncio.sleep(0.02)
        await settled(lambda: button._ending is None, lab)
        assert "rec " not in text(painted(lab)["feed"])
        messages = [entry.message for entry in lab.event_log]
        assert f"recording to {recording.target}" in messages
    session = await asyncio.to_thread(RecordedSession, tmp_path / recording.target)
    assert session.status == "sealed"
    assert session.last_seq + 1 == recording.ticks
    assert os.listdir(tmp_path) == ["recordings"]


async def test_what_goes_wrong_is_in_the_event_log(
    running_lab: MakeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings").write_text("a file")
    async with running_lab() as lab:
        button = RecordButton(lab)
        button._button.click()
        await settled(lambda: lab.recording is not None, lab)
        assert lab.recording is not None
        await lab.recording.wait_opened()
        await settled(lambda: any(e.level == "error" for e in lab.event_log), lab)
        errors = [entry.message for entry in lab.event_log if entry.level == "error"]
        assert [e for e in errors if "cannot record to recordings/BTCUSDT-ETHUSDT" in e]
        assert "rec waits" in text(painted(lab)["feed"])


def test_a_result_is_not_recorded() -> None:
    button = RecordButton(Result())  # type: ignore[arg-type]
    assert button._button.disabled
    assert "nothing to record" in button._button.tooltip
    button._on_click(None)
    button.render_loop.close()
