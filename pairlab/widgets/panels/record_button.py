"""The button that begins and ends a recording, and its state in a few words."""

from __future__ import annotations

import asyncio
import datetime
import re
from typing import Any, Final

from ipywidgets import Button, HBox

from pairlab.errors import PairlabError
from pairlab.protocols import LabView, RecordingView
from pairlab.schema import Pair
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.style.formats import count

__all__ = ["RecordButton", "default_folder", "recording_words"]

_WORDS: Final = {
    "opening": "rec starts", "recording": "rec", "waiting": "rec waits", "sealing": "rec seals",
}  # fmt: skip


def default_folder(pair: Pair, now_ns: int) -> str:
    """Return where the button records to: ``recordings/BTCUSDT-ETHUSDT-2026-08-08`` (UTC)."""
    day = datetime.datetime.fromtimestamp(now_ns // 10**9, datetime.UTC).date()
    names = (re.sub(r"[^\w.-]", "_", symbol) for symbol in pair)
    return f"recordings/{'-'.join(names)}-{day}"


def recording_words(recording: RecordingView | None) -> str:
    """Return a recording's state, duration and size in a few words; empty if none is active."""
    if recording is None or not recording.active:
        return ""
    minutes, second = divmod(int(recording.duration_s), 60)
    hours, minute = divmod(minutes, 60)
    size = recording.nbytes / 1024**2
    return (
        f"{_WORDS.get(recording.state, 'rec')} {hours}:{minute:02d}:{second:02d} · "
        f"{size:,.{0 if size >= 99.95 else 1}f} MiB"
    )


class RecordButton(LabWidget, HBox):  # type: ignore[misc]
    """Records the lab to a folder named after pair and day below ``recordings``, or ends that.

    While a recording runs, whoever began it, the button ends it. The tooltip says where it goes
    and how much there is; what goes wrong is in the event log.

    Parameters
    ----------
    lab : LabView
        What is recorded.
    """

    def __init__(self, lab: LabView) -> None:
        self._lab = lab
        self._button = Button(description="Record").add_class("pairlab-button-record")
        self._button.disabled = lab.recordings is None
        self.on_frontend(self._button, "click", self._on_click)
        self._ending: asyncio.Task[None] | None = None
        super().__init__([self._button])
        for style in ("pairlab", "pairlab-record"):
            self.add_class(style)
        self._show(None)
        self.join(lab)

    def paint(self, frame: Frame) -> None:
        """Show the state."""
        if frame.text_due:
            recordings = self._lab.recordings
            self._show(None if recordings is None else recordings.newest)

    def _show(self, recording: RecordingView | None) -> None:
        words = recording_words(recording)
        if recording is not None and words:
            tooltip = (
                f"{words}\n{recording.target}\n{count(recording.ticks)} ticks stored"
                + (f", {count(recording.lost_ticks)} missing" if recording.lost_ticks else "")
                + (f"\nwaits: {recording.error}" if recording.error else "")
                + "\nClick to end and seal it"
            )
        elif self._lab.recordings is None:
            tooltip = "There is nothing to record: this is a result"
        else:
            folder = default_folder(self._lab.pair, _now_ns())
            tooltip = f"Record ticks, rows, alerts and settings to {folder}"
            if recording is not None:
                tooltip += f"\nLast recording {recording.state}: {recording.target}"
        set_traits(self._button, tooltip=tooltip, description="End" if words else "Record")
        (self._button.add_class if words else self._button.remove_class)("pairlab-on")

    def _on_click(self, _: Any) -> None:
        recordings = self._lab.recordings
        if recordings is None:
            return
        newest = recordings.newest
        if newest is not None and newest.active:
            loop = self._lab.loop
            if loop is not None and loop.is_running() and self._ending is None:
                self._ending = loop.create_task(self._end(newest), name="pairlab end recording")
            elif loop is None or not loop.is_running():
                newest.request_stop()
        else:
            try:
                newest = recordings.record(default_folder(self._lab.pair, _now_ns()))
            except PairlabError as error:
                self._lab.log("error", f"cannot record: {error}")
            else:
                self._lab.log("info", f"recording to {newest.target}")
        self._show(recordings.newest)

    async def _end(self, recording: RecordingView) -> None:
        try:
            await recording.stop()
        finally:
            self._ending = None
        words = f"{count(recording.ticks)} ticks, {recording.nbytes / 1024**2:,.1f} MiB"
        self._lab.log("info", f"recorded to {recording.target}: {words}")
        self._show(recording)


def _now_ns() -> int:
    return int(datetime.datetime.now(datetime.UTC).timestamp()) * 10**9
