"""Export: the browser downloads tables as CSV, charts as PNG or SVG."""

from __future__ import annotations

import asyncio
import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from ipywidgets import Button, Dropdown, HBox, ToggleButtons, VBox

from pairlab.data.csv_export import csv_name, csv_pieces
from pairlab.data.origin import Origin
from pairlab.data.time_selection import between_ns
from pairlab.errors import PairlabError
from pairlab.protocols import LabView, Table
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.style.formats import count
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["ExportButton"]

_WAIT_S: Final = 20.0
"""How long to wait for a page to confirm that it has saved a file."""

_MOST_BYTES: Final = 500_000_000
"""Most bytes of a table that a page is given: it holds them in memory."""

_TABLES: Final = [(what, what) for what in get_args(Table)]
_ROWS: Final = [("all", "all"), ("in view", "view"), ("selected", "selection")]
_ALL_CHARTS: Final = "all charts"
_NUMBERS: Final = itertools.count(1)


@dataclass(frozen=True, slots=True)
class _Job:
    """A file that a page was asked to save."""

    name: str
    words: str  # what is told of it once it is saved
    giving_up: asyncio.TimerHandle | None


class ExportButton(LabWidget, HBox):  # type: ignore[misc]
    """Downloads the history, the ticks or the alerts as CSV, and charts as PNG or SVG.

    The button itself saves the table that is chosen, at first the whole history, with the numbers
    that `PairLab.history` has; the small button beside it opens the choices. The event log says
    when the browser has saved the file, or why it has not.

    Parameters
    ----------
    lab : LabView
        Whose tables and charts.
    """

    static = True

    def __init__(self, lab: LabView) -> None:
        self._lab = lab
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
        for button in (self._button, self._csv):
            self.on_frontend(button, "click", lambda _: self._begin())
        self.on_frontend(self._more, "click", lambda _: self._open())
        self.on_frontend(self._png, "click", lambda _: self._picture("png"))
        self.on_frontend(self._svg, "click", lambda _: self._picture("svg"))
        self._opened = False
        self._work: asyncio.Task[None] | None = None
        self._jobs: dict[str, _Job] = {}  # by token: pages that were asked have not answered yet
        super().__init__([self._button, self._more, self._choices])
        self._describe()
        for style in ("pairlab", "pairlab-export"):
            self.add_class(style)
        self.join(lab)

    def paint(self, frame: Frame) -> None:
        """Do nothing: it shows no rows."""

    def _choice(self, name: str, options: list[tuple[str, str]]) -> ToggleButtons:
        choice = ToggleButtons(options=options, description=name).add_class("pairlab-segments")
        self.on_frontend(choice, "value", lambda _: self._describe())
        return choice

    def _describe(self) -> None:
        rows = {"all": "all of it", "view": "what is in view", "selection": "what is selected"}
        words = f"Download the {self._what.value} as a CSV file: {rows[self._rows.value]}"
        set_traits(self._button, tooltip=words)
        set_traits(self._csv, tooltip=words)

    def _open(self) -> None:
        self._opened = not self._opened
        self.toggle_class("pairlab-open", self._opened)
        charts = (_ALL_CHARTS, *self.render_loop.parts.charts())
        if self._opened and charts != self._chart.options:
            set_traits(self._chart, options=charts)

    # -- tables ---------------------------------------------------------------------------------

    def _ends_ns(self) -> tuple[int | None, int | None] | None:
        """Return both ends of the rows that are wanted; None if there are none."""
        match self._rows.value:
            case "view":
                return self.render_loop.view.ends_ns()
            case "selection":
                return self._lab.selected_ns
        return None, None

    def _begin(self) -> None:
        if self._work is not None and not self._work.done():
            return
        ends = self._ends_ns()
        if ends is None:
            self._lab.log(
                "warning", "nothing is selected to export: press Select and drag over a chart"
            )
            return
        name = self.file_name(self._what.value)
        # Taken here, on the lab's loop: a picture of this moment, which a thread then writes out.
        try:
            pieces = self._pieces(self._what.value, ends)
        except Exception as error:
            self._failed(error)
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._deliver_csv(name, _pack(pieces))  # a lab never started has no loop to spare
            return
        self._work = loop.create_task(self._export(name, pieces), name="pairlab export")

    def _pieces(self, what: Table, ends: tuple[int | None, int | None]) -> Iterator[str]:
        if what == "history" and self._rows.value == "view":
            rows = self.render_loop.view.rows()
            before = len(rows) and ends[0] is not None and ends[0] < int(rows[0]["time_ns"])
            if not (before and self._lab.past is not None):
                # What is seen: while the view is paused, the ring may have gone on without it.
                return csv_pieces(between_ns(rows, *ends), self._origin())
        return self._lab.csv_pieces(what, *ends)

    async def _export(self, name: str, pieces: Iterator[str]) -> None:
        set_traits(self._button, disabled=True)
        try:
            self._deliver_csv(name, await asyncio.to_thread(_pack, pieces))
        except Exception as error:
            self._failed(error)
        finally:
            if self.comm is not None:
                set_traits(self._button, disabled=False)

    def _failed(self, error: Exception) -> None:
        # A background error belongs on the screen: nobody awaits this.
        self._lab.log(
            "error",
            f"the export failed: {type(error).__name__}: {error}. Try again, or write the file "
            "with lab.to_csv(path)",
        )

    def _deliver_csv(self, name: str, packed: tuple[bytes, int]) -> None:
        data, size = packed
        self._deliver({"kind": "csv", "name": name}, f"{count(size)} bytes", [data])

    # -- charts ---------------------------------------------------------------------------------

    def _picture(self, kind: str) -> None:
        charts = self.render_loop.parts.charts()
        wanted = self._chart.value
        chosen = list(charts.values()) if wanted not in charts else [charts[wanted]]
        if not chosen:
            self._lab.log("warning", "there is no chart to export: show one first")
            return
        self.render_loop.paint(due=True)  # what is out of sight was not painted
        origin = self._origin()
        stem = csv_name(self._lab.pair, origin).removesuffix(".csv")
        which = "charts" if wanted not in charts else wanted
        job = {"kind": kind, "name": f"{stem}-{which}.{kind}", "charts": chosen}
        about = {"source": origin.source, "real": origin.real_money, "settings": origin.settings}
        self._deliver({**job, "about": about}, kind, [])

    # -- the page -------------------------------------------------------------------------------

    def _deliver(self, job: dict[str, Any], words: str, buffers: list[bytes]) -> None:
        """Ask the page in which the button was pressed to save a file."""
        name, token = job["name"], f"{self.model_id}-{next(_NUMBERS)}"
        channel = self.render_loop.channel
        if not channel.save_file(self.model_id, {**job, "token": token}, buffers):
            self._lab.log(
                "error",
                f"no page can save {name}: this front end does not run pairlab's script (is "
                "anywidget installed where Jupyter runs?). lab.to_csv(path) writes tables",
            )
            return
        self._jobs[token] = _Job(name, words, self._give_up_later(token))

    def _give_up_later(self, token: str) -> asyncio.TimerHandle | None:
        loop = self._lab.loop
        if loop is None or loop.is_closed():
            return None
        return loop.call_later(_WAIT_S, self._give_up, token)

    def file_saved(self, token: str, error: str | None) -> None:
        """Log that the page has saved the file, or why it has not."""
        job = self._jobs.pop(token, None)
        if job is None:
            return
        if job.giving_up is not None:
            job.giving_up.cancel()
        if error is None:
            self._lab.log("info", f"exported {job.name}: {job.words}")
        else:
            self._lab.log("error", f"{job.name} was not saved: {error.removeprefix('Error: ')}")

    def _give_up(self, token: str) -> None:
        job = self._jobs.pop(token)
        if (
            not self.render_loop.channel.pacer.answers
        ):  # a cell runs: what a page says waits behind it
            self._jobs[token] = replace(job, giving_up=self._give_up_later(token))
            return
        self._lab.log(
            "warning",
            f"no page has confirmed that it saved {job.name}: check the browser's downloads, or "
            "write the file with lab.to_csv(path)",
        )

    def file_name(self, what: str = "history") -> str:
        """Return the name of a table's file: market, pair and UTC time, safe on every system.

        Parameters
        ----------
        what : str
            The table.

        Returns
        -------
        str
            Of letters, digits, ``.``, ``_`` and ``-``.
        """
        name = csv_name(self._lab.pair, self._origin())
        return name if what == "history" else name.removesuffix(".csv") + f"-{what}.csv"

    def _origin(self) -> Origin:
        return Origin.of(self._lab.pair, self._lab.health(), self._lab.row_settings)

    def finish(self) -> None:
        """Cancel exports that are still running."""
        if self._work is not None:
            self._work.cancel()
        for job in self._jobs.values():
            if job.giving_up is not None:
                job.giving_up.cancel()
        self._jobs.clear()

    def close(self) -> None:
        """Close the widgets and cancel what runs on the loop."""
        if self.comm is not None:
            self.finish()
            super().close()


def _pack(pieces: Iterator[str]) -> tuple[bytes, int]:
    """Return compressed text and the text's size in bytes; runs off the loop."""
    packer, parts, size = zlib.compressobj(6), [], 0
    for piece in pieces:
        raw = piece.encode()
        size += len(raw)
        if size > _MOST_BYTES:
            raise PairlabError(
                f"the table has more than {_MOST_BYTES:,} bytes, too many for a browser; "
                "lab.to_csv(path, start=…, end=…) writes files of any size"
            )
        parts.append(packer.compress(raw))
    parts.append(packer.flush())
    return b"".join(parts), size
