"""ScanReport: the pairs of a scan on one screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ipywidgets import Button, HBox, VBox

from pairlab.errors import PairlabError
from pairlab.widgets.core.widget_utils import close_tree
from pairlab.widgets.report.report import Report
from pairlab.widgets.scan.matrix_map import MatrixMap
from pairlab.widgets.scan.pair_charts import chance_words, facts_html, histogram_html, spread_html
from pairlab.widgets.scan.pair_table import PairTable
from pairlab.widgets.scan.scan_still import METHODS, scan_picture, scan_words
from pairlab.widgets.scan.scan_view import LiveLab, ScanView
from pairlab.widgets.still.output import ResultStill, StillOutput
from pairlab.widgets.still.page_data import plain
from pairlab.widgets.style.formats import count
from pairlab.widgets.style.theme import ThemeName, apply_theme, icon, read_theme, var
from pairlab.widgets.transport.frontend_channel import StaticPageScript
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["ScanReport"]


class ScanReport(VBox):  # type: ignore[misc]
    """A scan: table of pairs, map of all of them, what chance finds, and one pair at a time.

    A click on a row or a cell opens the pair's spread and z; from there it is backtested, or put
    live.

    Parameters
    ----------
    scan : ScanView
        What `pairlab.scan` returned.
    theme : {"dark", "light", "jupyterlab"}
        Colours.
    feed : object
        Of the labs that "Go live" makes.

    Attributes
    ----------
    table : PairTable
        The pairs.
    map : MatrixMap
        All pairs.
    pair : tuple of str or None
        The one that is open.
    report : Report or None
        Of the last backtest.
    lab : PairLab or None
        That was put live last.
    work : asyncio.Task or None
        What a button started; on a loop that does not run, it was done at once.

    Raises
    ------
    SettingError
        If there is no such theme.
    """

    def __init__(self, scan: ScanView, theme: ThemeName = "dark", feed: object = "binance") -> None:
        read_theme(theme)
        self._scan, self._theme, self._feed = scan, theme, feed
        self.pair: tuple[str, str] | None = None
        self.report: Report | None = None
        self.lab: LiveLab | None = None
        self.work: asyncio.Task[None] | None = None
        self.table = PairTable(scan.frame, self.show_pair)
        self.map = MatrixMap(scan, self.show_pair)
        self._words = HTML().add_class("pairlab-scan-words")
        self._title = HTML().add_class("pairlab-head-text")
        self._facts = HTML().add_class("pairlab-scan-facts")
        self._past = HTML().add_class("pairlab-scan-past")
        self._backtest = self._button("Backtest", "Trade this pair over the scanned past")
        self._live = self._button("Go live", f"Start a lab of this pair on {plain(str(feed))}")
        self._backtest.on_click(lambda _: self._begin(self.show_backtest))
        self._live.on_click(lambda _: self._begin(self.go_live))
        head = HBox([self._title, self._backtest, self._live]).add_class("pairlab-head")
        self._panel = VBox([head, self._words, self._facts, self._past])
        self._panel.add_class("pairlab-panel").add_class("pairlab").add_class("pairlab-scan-pair")
        maps = VBox([self.map]).add_class("pairlab-panel").add_class("pairlab")
        chance = HTML(histogram_html(scan)).add_class("pairlab-scan-chance")
        left = VBox([self._boxed(self.table), self._panel]).add_class("pairlab-scan-left")
        right = VBox([maps, chance]).add_class("pairlab-scan-right")
        self._opened = VBox([]).add_class("pairlab-scan-opened")
        super().__init__([
            HTML(self._head()).add_class("pairlab-scan-head"),
            HBox([left, right]).add_class("pairlab-scan-grid"),
            self._opened, StaticPageScript(),
        ])  # fmt: skip
        for style in ("pairlab", "pairlab-dash", "pairlab-report", "pairlab-scan"):
            self.add_class(style)
        apply_theme(self, theme)
        # By its model's id the page's script knows whose view it is when a notebook is saved.
        self.add_class(f"pairlab-{self.model_id}")
        frame = scan.frame
        if len(frame):
            self.show_pair(frame["y"].iloc[0], frame["x"].iloc[0])
        else:
            self._title.value = "<h3>No pair met the filters</h3>"
            self._backtest.disabled = self._live.disabled = True

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        def draw() -> bytes:
            return scan_picture(self._scan, self.table.page, self.map.symbols, self.pair)

        still = StillOutput(ResultStill(scan_words(self._scan), draw))
        return still.show(super()._repr_mimebundle_(**kwargs))

    @staticmethod
    def _boxed(widget: Any) -> VBox:
        return VBox([widget]).add_class("pairlab-panel").add_class("pairlab")

    @staticmethod
    def _button(face: str, tooltip: str) -> Button:
        return Button(description=face, tooltip=tooltip).add_class("pairlab-scan-button")

    def _head(self) -> str:
        scan = self._scan
        aside = ""
        if scan.set_aside:
            told = "; ".join(f"{name}: {why}" for name, why in scan.set_aside.items())
            words = f"{count(len(scan.set_aside))} set aside"
            aside = (
                f'<details class="pairlab-scan-aside"><summary>'
                f"{icon('warning', var('warn'), 11)} {words}</summary>{plain(told)}</details>"
            )
        return (
            f'<div class="pairlab-scan-top"><h3>Scan</h3><b>{plain(chance_words(scan))}</b>'
            f"<small>{count(scan.pairs_tested)} pairs of {count(len(scan.symbols))} symbols, "
            f"{METHODS[scan.method]}</small>{aside}</div>"
        )

    def show_pair(self, y: str, x: str) -> None:
        """Show one pair: what is known of it, its spread and its z over the scanned past.

        Parameters
        ----------
        y, x : str
            Symbols, in any order.
        """
        row = self._scan.pair(y, x)
        self.pair = row["y"], row["x"]
        verdict = str(row["verdict"])
        tone = "corr" if verdict == "candidate" else "warn"
        sign = icon("check" if verdict == "candidate" else "warning", var(tone), 11)
        self._title.value = (
            f'<h3><span style="color:{var("y")}">{plain(row["y"])}</span> / '
            f'<span style="color:{var("x")}">{plain(row["x"])}</span></h3>'
            f'<span class="pairlab-scan-verdict" style="color:{var(tone)}">{sign} '
            f"{plain(verdict)}</span>"
        )
        self._facts.value = f'<dl class="pairlab-scan-list">{facts_html(row)}</dl>'
        self._past.value = spread_html(self._scan.spread(*self.pair), self._scan.split)
        self._words.value = ""
        self.table.choose(*self.pair)

    def _begin(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run what a button asks for; a second click while it runs does nothing."""
        if self.work is not None and not self.work.done():
            return
        for button in (self._backtest, self._live):
            button.disabled = True
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(self._told(work))
        else:
            self.work = loop.create_task(self._told(work))

    async def _told(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except PairlabError as error:
            sign = icon("times", var("stop"), 11)
            self._words.value = f'<p style="color:{var("stop")}">{sign} {plain(str(error))}</p>'
        finally:
            for button in (self._backtest, self._live):
                button.disabled = False

    async def show_backtest(self) -> None:
        """Backtest the open pair on a thread, and show the report in place of what was there."""
        if self.pair is None:
            return
        pair = self.pair
        self._say(f"Backtest of {pair[0]} / {pair[1]} …")
        result = await asyncio.to_thread(self._scan.backtest, *pair)
        before, self.report = self.report, Report(result, self._theme)
        await self._end_lab()
        self._opened.children = (self.report,)
        if before is not None:
            before.close()
        self._say(f"Its report is below: {count(len(result.trades))} trades, in sample.")

    async def go_live(self) -> None:
        """Start a lab of the open pair, and show it in place of what was there."""
        if self.pair is None:
            return
        started = self._scan.lab(*self.pair, self._feed)
        await self._end_lab()
        self.lab = started
        started.start()
        self._opened.children = (started.dashboard(theme=self._theme),)
        if self.report is not None:
            self.report.close()
            self.report = None
        self._say("Its lab is below.")

    def _say(self, words: str) -> None:
        self._words.value = f"<p>{plain(words)}</p>"

    async def _end_lab(self) -> None:
        if self.lab is not None:
            ended, self.lab = self.lab, None
            await ended.stop()

    def close(self) -> None:
        """Close it and the report that it opened; a lab that it started goes on."""
        if getattr(self, "_opened", None) is None:
            return  # it was refused before there was anything
        if self.report is not None:
            self.report.close()
        self._opened.children = ()
        close_tree(self)
