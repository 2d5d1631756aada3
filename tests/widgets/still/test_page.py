"""A lab as a page that stands alone: what is on it, and what can never be."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairlab import DataError, PairLab, SettingError
from pairlab.alerts import Alert
from pairlab.formatting import signed
from pairlab.schema import ROW, LogEntry, Pair, RowFlag
from pairlab.widgets.still.page import page_html
from pairlab.widgets.still.page_data import PageData
from tests.lab.session.labs import lab_with_a_past
from tests.lab.test_runner import ScriptedFeed
from tests.widgets.core.test_lab_view import Result

HOSTILE = (
    "<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "</style><b>", "&amp;lt;",
    "\u202eevil", "a\u2028b\x00c", "]]><!--", "javascript:alert(1)",
)  # fmt: skip
EMPTY = {"meta", "br", "path", "circle"}


class Page(HTMLParser):
    """Tags in order, attributes, and text by where it stands."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.css = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.css += data
        else:
            self.text += data + "\n"

    def values(self, name: str, tag: str = "") -> list[str]:
        return [v for t, n, v in self.attributes if n == name and tag in ("", t)]


def page_of(lab: Any, **changes: Any) -> Page:
    return Page(page_html(replace(PageData.of(lab), **changes)))


def assert_alone(page: Page) -> None:
    """Nothing runs, nothing is loaded."""
    forbidden = {
        "script", "link", "img", "iframe", "object", "embed", "form", "base", "image", "use", "a",
        "foreignobject", "video", "audio", "source", "input", "button",
    }  # fmt: skip
    assert not forbidden & set(page.tags)
    names = {name for _, name, _ in page.attributes}
    assert not {n for n in names if n.startswith("on") or n in ("src", "href", "srcset", "action")}
    assert not {n for n in names if "href" in n}
    for tag, name, value in page.attributes:
        assert "url(" not in value, (tag, name)
        assert "javascript:" not in value or name in ("title", "content"), (tag, name)
    assert not re.search(r"url\(|@import|@font-face|https?:|//|expression|\\", page.css)
    assert page.values("content", "meta")[1].startswith("width=device-width")
    assert "default-src 'none'; style-src 'unsafe-inline'" in page.values("content", "meta")


def test_it_loads_nothing_and_runs_nothing() -> None:
    for lab in (lab_with_a_past(), lab_with_a_past("1s", hedge="kalman"), Result()):
        assert_alone(page_of(lab))


def test_no_name_or_message_changes_what_the_page_is_made_of() -> None:
    """The same elements stand on a page of harmless names; every word arrives as text."""
    lab = lab_with_a_past()
    data = PageData.of(lab)

    def named(y: str, x: str, word: str) -> PageData:
        log = (LogEntry(1, "error", word), LogEntry(2, "warning", word))
        health = replace(data.health, feed=word, detail=word, dropped={word: 3}, warnings=(word,))
        origin = replace(data.origin, pair=Pair(y, x), source=word, settings=word)
        return replace(data, log=log, health=health, origin=origin)

    harmless = Page(page_html(named("Y", "X", "word")))
    for word in HOSTILE:
        page = Page(page_html(named(word, word + "2", word)))
        assert page.tags == harmless.tags
        assert [n for _, n, _ in page.attributes] == [n for _, n, _ in harmless.attributes]
        assert_alone(page)
        shown = re.sub("[\u202e\u2028\x00]", "\N{REPLACEMENT CHARACTER}", word)
        assert page.text.count(shown) >= 8
        assert not set("\u202e\u2028\x00") & set(page.text)


@pytest.mark.parametrize(
    ("source", "real", "shown"),
    [("SIMULATED", False, "sim"), ("RECORDING", False, "sim"), ("BINANCE", True, "real")],
)
def test_it_says_whose_market_and_when(source: str, real: bool, shown: str) -> None:
    lab = lab_with_a_past()
    health = replace(lab.health(), feed=source, real_money=real)
    data = PageData.of(lab)
    page = page_of(lab, health=health, origin=replace(data.origin, source=source, real_money=real))
    assert f"badge {shown}" in page.values("class")
    head = page.text[: page.text.index("z-score")]
    assert head.count(source) == 2  # in the title and the badge
    assert "BTCUSDT / ETHUSDT" in head
    first, last = (str(t)[:19].split() for t in lab.history().index[[0, -1]])
    assert first[1] in head
    assert last[1] in head
    assert "window=24" in page.text  # the footer holds every setting
    for name in ("entry_z", "hedge_ratio", "ticks_held"):
        assert name in page.text


def test_its_numbers_are_the_lab_s() -> None:
    lab = lab_with_a_past()
    page = page_of(lab)
    row = lab.latest()
    assert row is not None
    for told in (signed(row.zscore), f"{row.y:,.1f}", f"{len(lab.history()):,} rows", "600"):
        assert told in page.text
    alerts = lab.alert_log.alerts()
    for alert in alerts[-30:]:
        assert alert.explain() in page.text
    assert f"30 newest of {lab.alert_log.newest_number:,}" in page.text
    for message in (entry.message for entry in lab.event_log):
        assert message in page.text


def test_the_curve_has_every_extreme_of_the_rows() -> None:
    lab = lab_with_a_past()
    z = lab.history()["zscore"].to_numpy()
    time_ns = lab.rows.view()["time_ns"]
    known = np.isfinite(z)
    page = page_of(lab)
    curves = [v for v in page.values("d", "path") if v.count("L") > 100]
    points = np.array(
        [p.split() for run in curves[0][1:].split("M") for p in run.split("L")], float
    )
    reach = lab.settings.entry_z + 1
    low = np.floor(min(-reach, z[known].min()) * 2 - 1.1) / 2
    high = np.ceil(max(reach, z[known].max()) * 2 + 0.5) / 2
    drawn = high - points[:, 1] / 300 * (high - low)
    assert drawn.max() == pytest.approx(z[known].max(), abs=0.01)
    assert drawn.min() == pytest.approx(z[known].min(), abs=0.01)
    at = points[np.argmax(drawn), 0] / 1_000
    peak_ns = time_ns[np.nanargmax(z)]
    assert at == pytest.approx((peak_ns - time_ns[0]) / (time_ns[-1] - time_ns[0]), abs=0.002)
    gaps = (lab.rows.view()["flags"] & RowFlag.GAP_BEFORE) != 0
    assert curves[0].count("M") == 1 + gaps[1:].sum() + (~known[1:-1] & known[2:]).sum()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, -1e-300])
@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_no_row_breaks_the_page(bad: float, count: int) -> None:
    lab = Result()
    rows = np.zeros(count, ROW)
    rows["time_ns"] = 1_700_000_000_000_000_000
    for name in ROW.names or ():
        if ROW[name] == np.float64:
            rows[name] = bad
    rows["y"] = rows["x"] = 100.0
    page = page_of(lab, rows=rows, latest=None if not count else PageData.of(lab).latest)
    assert_alone(page)
    for path in page.values("d", "path"):
        assert not re.search(r"nan|inf|e[+-]", path)
    assert ("No rows" in page.text) == (count == 0)


def test_many_rows_make_no_large_page() -> None:
    lab = Result()
    rows = np.tile(lab.rows.view(), 60)
    rows["time_ns"] = np.arange(len(rows)) * 1_000_000 + 1_700_000_000_000_000_000
    html = page_html(replace(PageData.of(lab), rows=rows))
    assert len(rows) > 100_000
    assert len(html) < 500_000


def test_a_lab_writes_it_and_so_does_an_opened_session(tmp_path: Path) -> None:
    lab = lab_with_a_past()
    lab.to_html(tmp_path / "x.html")
    lab.save(tmp_path / "x.pairlab")
    now = PairLab.open(tmp_path / "x.pairlab")
    now.to_html(tmp_path / "y.html")
    was, opened = ((tmp_path / name).read_text("utf-8") for name in ("x.html", "y.html"))
    saved = re.search(r" \(saved [^)]*\)", opened)
    assert saved is not None
    assert opened.replace(saved[0], "") == was
    assert opened.count(saved[0]) == 4
    assert "prefers-color-scheme: light" in was
    lab.to_html(tmp_path / "z.HTM", theme="light")
    assert "prefers-color-scheme" not in (tmp_path / "z.HTM").read_text("utf-8")
    assert len(list(tmp_path.iterdir())) == 4


def test_what_it_refuses(tmp_path: Path) -> None:
    lab = lab_with_a_past()
    for name in ("x.pairlab", "x.pdf", "x"):
        with pytest.raises(DataError, match=r"expected a name that ends in \.html"):
            lab.to_html(tmp_path / name)
    with pytest.raises(SettingError, match=r"theme = 'pink'.*'auto', 'dark', 'light'"):
        lab.to_html(tmp_path / "x.html", theme="pink")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        lab.to_html(tmp_path / "none" / "x.html")
    assert not list(tmp_path.iterdir())


def test_no_credentials_are_on_it() -> None:
    page = page_of(PairLab(feed="ws://user:hunter2@127.0.0.1:1/ws"))
    assert "hunter2" not in page.text
    assert "LOCAL 127.0.0.1:1" in page.text


async def test_the_stream_goes_on_while_a_cell_writes_it(tmp_path: Path) -> None:
    feed = ScriptedFeed()
    async with PairLab(feed=feed, window=20) as lab:
        await feed.opened.wait()
        lab.to_html(tmp_path / "x.html")  # no blocking call on the loop: the guard would fail it
    assert isinstance(lab.alert_log.alerts(), list)
    assert not any(isinstance(entry, Alert) for entry in lab.alert_log)
