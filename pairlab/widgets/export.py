"""Files that the browser downloads, in JupyterLab, Notebook and Voila alike: tables and charts."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import zlib
from collections.abc import Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, get_args

from ipywidgets import Button, Dropdown, HBox, Output, ToggleButtons, VBox

from pairlab.history import csv_name
from pairlab.lab import What
from pairlab.widgets.bundle import HTML
from pairlab.widgets.formats import count
from pairlab.widgets.screen import Screen
from pairlab.widgets.trees import put

if TYPE_CHECKING:
    from pairlab.lab import PairLab

__all__ = ["ExportButton"]

_KEEP_S: Final = 10.0
"""The file leaves the widgets' state after this, or it would be saved with the notebook."""

# There is no way to start a download from the kernel without script. The file travels compressed:
# 100,000 rows are some 20 MB of text. Read when the module is, not on a running loop.
_SCRIPT: Final = files("pairlab.widgets").joinpath("export.js").read_text(encoding="utf-8").strip()

_TABLES: Final = [(what, what) for what in get_args(What)]
_ROWS: Final = [("all", "all"), ("in view", "view"), ("selected", "selection")]
_ALL_CHARTS: Final = "all charts"
_NUMBERS: Final = itertools.count(1)


class ExportButton(HBox):  # type: ignore[misc]
    """Downloads the history, the ticks or the alerts as CSV, and charts as PNG or SVG.

    The button itself saves the table that is chosen, at first the whole history, with the numbers
    that `PairLab.history` has; the small button beside it opens the choices.

    Parameters
    ----------
    lab : PairLab
        Whose tables and charts.
    """

    def __init__(self, lab: PairLab) -> None:
        self._lab = lab
        self._screen = Screen.of(lab)
        self._button = Button(description="Export").add_class("pairlab-button-export")
        self._more = Button(
            description="▾", tooltip="What to export: table, rows, or a chart as a picture"
        ).add_class("pairlab-button-more")
        self._what = self._choice("Table", _TABLES)
        self._rows = self._choice("Rows", _ROWS)
        self._chart = Dropdown(options=[_ALL_CHARTS], description="Chart", tooltip="Which chart")
        self._csv = Button(description="Download CSV", tooltip="Download the table as a CSV file")
        self._png = Button(description="PNG", tooltip="Download the chart as a PNG picture")
        self._svg = Button(description="SVG", tooltip="Download the chart as an SVG drawing")
        self._choices = VBox(
            [
                HTML("<h3>Export</h3>"), self._what, self._rows, self._csv,
                HBox([self._chart, self._png, self._svg]).add_class("pairlab-export-chart"),
            ]
        ).add_class("pairlab-export-choices")  # fmt: skip
        self._output = Output().add_class("pairlab-hidden")
        for button in (self._button, self._csv):
            button.on_click(lambda _: lab.call(self._begin))
        self._more.on_click(lambda _: lab.call(self._open))
        self._png.on_click(lambda _: lab.call(self._picture, "png"))
        self._svg.on_click(lambda _: lab.call(self._picture, "svg"))
        self._opened = False
        self._work: asyncio.Task[None] | None = None
        self._forget: asyncio.TimerHandle | None = None
        pulse = self._screen.pulse  # brings the style
        super().__init__([self._button, self._more, self._choices, self._output, pulse])
        self._describe()
        lab.attach(self)
        for style in ("pairlab", "pairlab-export"):
            self.add_class(style)

    def _choice(self, name: str, options: list[tuple[str, str]]) -> ToggleButtons:
        choice = ToggleButtons(options=options, description=name).add_class("pairlab-segments")
        choice.observe(lambda _: self._lab.call(self._describe), "value")
        return choice

    def _describe(self) -> None:
        rows = {"all": "all of it", "view": "what is in view", "selection": "what is selected"}
        words = f"Download the {self._what.value} as a CSV file: {rows[self._rows.value]}"
        put(self._button, tooltip=words)
        put(self._csv, tooltip=words)

    def _open(self) -> None:
        self._opened = not self._opened
        change = "add_class" if self._opened else "remove_class"
        getattr(self, change)("pairlab-open")
        charts = (_ALL_CHARTS, *self._screen.pictures())
        if self._opened and charts != self._chart.options:
            put(self._chart, options=charts)

    # -- tables ---------------------------------------------------------------------------------

    def _ends_ns(self) -> tuple[int | None, int | None] | None:
        """Return both ends of the rows that are wanted; None if there are none."""
        match self._rows.value:
            case "view":
                return self._screen.ends_ns()
            case "selection":
                return self._lab.selected_ns
        return None, None

    def _begin(self) -> None:
        if self._work is not None and not self._work.done():
            return
        ends = self._ends_ns()
        if ends is None:
            self._lab.note(
                "warning", "nothing is selected to export: press Select and drag over a chart"
            )
            return
        name = self.file_name(self._what.value)
        # Taken here, on the lab's loop: a picture of this moment, which a thread then writes out.
        try:
            pieces = self._lab.csv_pieces(self._what.value, *ends)
        except Exception as error:
            self._failed(error)
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._deliver_csv(name, _pack(pieces))  # a lab never started has no loop to spare
            return
        self._work = loop.create_task(self._export(loop, name, pieces), name="pairlab export")

    async def _export(
        self, loop: asyncio.AbstractEventLoop, name: str, pieces: Iterator[str]
    ) -> None:
        put(self._button, disabled=True)
        try:
            self._deliver_csv(name, await asyncio.to_thread(_pack, pieces))
        except Exception as error:
            self._failed(error)
        else:
            self._forget = loop.call_later(_KEEP_S, self._clear)
        finally:
            put(self._button, disabled=False)

    def _failed(self, error: Exception) -> None:
        # A background error belongs on the screen: nobody awaits this.
        self._lab.note("error", f"the export failed: {type(error).__name__}: {error}")

    def _deliver_csv(self, name: str, packed: tuple[str, int]) -> None:
        data, size = packed
        self._deliver({"kind": "csv", "name": name, "data": data})
        self._lab.note("info", f"exported {name}: {count(size)} bytes")

    # -- charts ---------------------------------------------------------------------------------

    def _picture(self, kind: str) -> None:
        charts = self._screen.pictures()
        wanted = self._chart.value
        chosen = list(charts.values()) if wanted not in charts else [charts[wanted]]
        if not chosen:
            self._lab.note("warning", "there is no chart to export: show one first")
            return
        stem = csv_name(self._lab.pair).removesuffix(".csv")
        which = "charts" if wanted not in charts else wanted
        name = f"{stem}-{which}.{kind}"
        self._deliver({"kind": kind, "name": name, "charts": chosen})
        self._lab.note("info", f"exported {name}")
        if self._lab.loop is not None and not self._lab.loop.is_closed():
            self._forget = self._lab.loop.call_later(_KEEP_S, self._clear)

    def _deliver(self, job: dict[str, Any]) -> None:
        self._clear()
        job = {"token": f"{self.model_id}-{next(_NUMBERS)}", **job}
        self._output.outputs = (
            {
                "output_type": "display_data",
                "data": {
                    "application/javascript": f"({_SCRIPT})({json.dumps(job)});",
                    "text/plain": job["name"],
                },
                "metadata": {},
            },
        )

    def file_name(self, what: str = "history") -> str:
        """Return the name of a table's file: pair and UTC time, safe on every system."""
        name = csv_name(self._lab.pair)
        return name if what == "history" else name.removesuffix(".csv") + f"-{what}.csv"

    def _clear(self) -> None:
        if self._forget is not None:
            self._forget.cancel()
            self._forget = None
        self._output.outputs = ()

    def start(self) -> None:
        """Do nothing: a click is what starts the work."""

    def refresh(self) -> None:
        """Do nothing: it shows nothing of the lab."""

    def finish(self) -> Any:
        """End what runs in the background."""
        if self._work is not None:
            self._work.cancel()
        if self._forget is not None:
            self._clear()

    def close(self) -> None:
        """Leave no widget in the front end or the kernel, and nothing on the loop."""
        if "_work" in self.__dict__:
            self.finish()
            self._screen.take_down(self)


def _pack(pieces: Iterator[str]) -> tuple[str, int]:
    """Return compressed text in base64 and the text's size; runs off the loop."""
    packer, parts, size = zlib.compressobj(6), [], 0
    for piece in pieces:
        raw = piece.encode()
        size += len(raw)
        parts.append(packer.compress(raw))
    parts.append(packer.flush())
    return base64.b64encode(b"".join(parts)).decode("ascii"), size
