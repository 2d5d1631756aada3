"""What a hand does on the charts: select, zoom, pan to an alert, save; by mouse and by keyboard."""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.browser.conftest import Place

CHARTS = 4
BAND = """() => [...document.querySelectorAll('.pairlab-chart')].map((chart) => {
    const band = [...chart.querySelectorAll('path.line')].find(
        (path) => path.style.stroke.includes('focus') && path.getAttribute('d'));
    const box = band?.getBoundingClientRect();
    return box && box.width > 2 ? [box.left, box.width] : null;
})"""


@pytest.fixture
def page(place: Place) -> Any:
    """A page with some rows to select from."""
    with place.kernel() as kernel:
        kernel.run("lab.wait(800, 60)")
    return place.page


def drag(page: Any, chart: str, start: float, end: float) -> None:
    """Drag over a chart's plot from one share of its width to another."""
    overlay = page.locator(f".pairlab-{chart} .brushintsel .overlay")
    overlay.wait_for(state="attached")
    box = overlay.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + (start + end) / 2 * box["width"], y, steps=4)
    page.mouse.move(box["x"] + end * box["width"], y, steps=4)
    page.mouse.up()


def event_says(page: Any, words: str) -> None:
    page.wait_for_function(
        "(words) => document.querySelector('.pairlab-event').innerText.includes(words)", arg=words
    )


def held(page: Any, yes: bool = True) -> None:
    page.wait_for_function(
        "(yes) => !!document.querySelector('.pairlab-zscore .pairlab-held') === yes", arg=yes
    )


def select(page: Any) -> None:
    """Press Select and let every chart have its brush."""
    page.get_by_role("button", name="Select", exact=True).click()
    page.wait_for_function(
        f"document.querySelectorAll('.brushintsel .overlay').length === {CHARTS}"
    )


def test_a_drag_selects_in_all_charts_and_a_click_clears(place: Place, page: Any) -> None:
    with place.kernel() as kernel:
        kernel.run("lab.dashboard().render_loop.view.set_span(30)")
    select(page)
    drag(page, "spread", 0.65, 0.95)
    event_says(page, "rows: lab.selection")
    page.wait_for_function(f"() => ({BAND})().every(Boolean)")
    bands = page.evaluate(BAND)
    assert len(bands) == CHARTS
    lefts, widths = zip(*bands, strict=True)
    assert max(lefts) - min(lefts) < 1
    assert max(widths) - min(widths) < 1
    plot = page.locator(".pairlab-spread .brushintsel .overlay").bounding_box()
    assert widths[0] == pytest.approx(0.3 * plot["width"], rel=0.05)
    with place.kernel() as kernel:
        kernel.run(
            "s, (a, b) = lab.selection, lab.selected_ns; assert len(s) > 20, len(s); "
            "assert s.equals(lab.between(a, b)); assert list(s.columns) == list(lab.history())"
        )
        seconds = float(kernel.run("print((b - a) / 1e9)"))
    assert seconds == pytest.approx(0.3 * 30, rel=0.05)
    # The pointer is on the plot still: a click there, without a drag, clears.
    page.mouse.click(plot["x"] + 5, plot["y"] + plot["height"] / 2)
    page.wait_for_function(f"() => ({BAND})().every((band) => !band)")
    with place.kernel() as kernel:
        assert kernel.run("print(len(lab.selection), lab.selected_ns)") == "0 None"


def test_the_readout_follows_the_mouse_and_leaves_with_it(page: Any) -> None:
    page.locator(".pairlab-button-pause").click()  # the mouse stands on the same row
    plot = page.locator(".pairlab-prices .selectormouse")
    plot.wait_for(state="attached")
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 20)
    page.wait_for_selector(".pairlab-zscore .pairlab-when svg")
    lines = (
        "[...document.querySelectorAll('.indsel')].filter((line) => "
        "line.getAttribute('visibility') === 'visible').map((line) => +line.getAttribute('x1'))"
    )
    page.wait_for_function(f"({lines}).length === {CHARTS}")
    at = page.evaluate(lines)
    assert max(at) - min(at) < 1
    assert at[0] == pytest.approx(0.8 * box["width"], abs=3)
    page.mouse.move(5, 5)
    page.wait_for_function("!document.querySelector('.pairlab-zscore .pairlab-when svg')")
    page.wait_for_function(f"({lines}).length === 0")
    page.locator(".pairlab-button-pause").click()


def test_zoom_to_the_selection_and_back_by_keyboard(place: Place, page: Any) -> None:
    button = page.get_by_role("button", name="Select", exact=True)
    button.focus()
    page.keyboard.press("Space")
    page.wait_for_selector(".pairlab-zscore .brushintsel .overlay", state="attached")
    drag(page, "zscore", 0.4, 0.7)
    zoom = page.get_by_role("button", name="Zoom", exact=True)
    zoom.wait_for()
    zoom.focus()
    page.keyboard.press("Enter")
    held(page)
    with place.kernel() as kernel:
        same = "print(lab.dashboard().render_loop.view.window_ns == lab.selected_ns)"
        assert kernel.run(same) == "True"
    reset = page.get_by_role("button", name="Reset zoom", exact=True)
    reset.focus()
    page.keyboard.press("Enter")
    held(page, False)
    page.locator(".pairlab-tools button", has_text="×").click()
    page.wait_for_function(f"() => ({BAND})().every((band) => !band)")


def test_pan_and_zoom_buttons_move_all_charts(place: Place, page: Any) -> None:
    page.locator(".pairlab-tools button", has_text="+").click()
    page.wait_for_function(
        "document.querySelector('.pairlab-tools select').selectedOptions[0].text === '10\u00a0s'"
    )
    page.locator(".pairlab-tools button", has_text="‹").click()
    held(page)
    clock = ".pairlab-clock .axis[text-anchor='middle']"
    before = page.locator(clock).first.text_content()
    page.locator(".pairlab-tools button", has_text="‹").click()
    page.wait_for_function(
        "([at, before]) => document.querySelector(at).textContent !== before", arg=[clock, before]
    )
    with place.kernel() as kernel:
        text = kernel.run("a, b = lab.dashboard().render_loop.view.window_ns; print((b - a) / 1e9)")
        assert float(text) == 10
    page.get_by_role("button", name="Reset zoom", exact=True).click()
    held(page, False)


def test_a_click_on_an_alert_pans_to_it_and_explains_it(place: Place, page: Any) -> None:
    with place.kernel() as kernel:
        # Settings that a test before this one moved came back: rows of before have other numbers.
        kernel.run(
            "def of_a_row(alert):\n"
            "    try:\n        return len(lab.at(alert)) > 0\n"
            "    except ValueError:\n        return False"
        )
        kernel.holds("all(map(of_a_row, lab.alert_log.alerts()[-3:]))", 60.0)
        # Tables stand still with a paused view: the row clicked on is the row that was read.
        kernel.run(
            "loop = lab.dashboard().render_loop; loop.view.pause(True); loop.paint(due=True)"
        )
        explained = kernel.run("print(lab.dashboard().parts['alerts']._on_page[2].sentence)")
    page.locator(".pairlab-cover").nth(2).click()
    held(page)
    page.wait_for_function(
        "(words) => document.querySelector('.pairlab-explain').innerText.includes(words)",
        arg=explained,
    )
    with place.kernel() as kernel:
        alert = kernel.run(
            "s = lab.dashboard().render_loop.view; a = s.selected; "
            "assert a.sentence in a.explain(); "
            "assert s.window_ns[0] <= a.time_ns <= s.window_ns[1]; "
            "row = lab.at(a); assert row['zscore'] == a.at.zscore; "
            "print((a.time_ns - s.window_ns[0]) / (s.window_ns[1] - s.window_ns[0]))"
        )
    # The ring stands at the alert's share of every chart's width.
    page.wait_for_function(
        """(share) => [...document.querySelectorAll('.pairlab-chart')].every((chart) => {
            const ring = [...chart.querySelectorAll('.dot')].find((dot) =>
                dot.style.stroke.includes('focus') && dot.getBoundingClientRect().width > 12);
            const plot = chart.querySelector('.selectormouse').getBoundingClientRect();
            if (!ring) return false;
            const box = ring.getBoundingClientRect();
            const at = box.left + box.width / 2;
            return Math.abs(at - plot.left - share * (plot.width - 4)) < 4;
        })""",
        arg=float(alert),
    )
    strip = page.locator(".pairlab-cell-feed").inner_text()
    assert "SIMULATED" in strip
    page.locator(".pairlab-button-pause").click()
    with place.kernel() as kernel:
        kernel.run("s.reset()")
    held(page, False)


def test_kinds_of_alerts_are_filtered(place: Place, page: Any) -> None:
    rows = "[...document.querySelectorAll('.pairlab-alerts td b')].map((b) => b.innerText)"
    page.wait_for_function(f"{rows}.some((kind) => kind.startsWith('EXIT'))")
    page.locator(".pairlab-filter-exit").click()
    page.wait_for_function(
        f"() => {{ const kinds = {rows}; "
        "return kinds.length && !kinds.some((kind) => kind.startsWith('EXIT')); }"
    )
    page.locator(".pairlab-filter-exit").click()
    page.wait_for_function(f"{rows}.some((kind) => kind.startsWith('EXIT'))")


def test_what_is_selected_is_exported(place: Place, page: Any) -> None:
    with place.kernel() as kernel:
        kernel.run("h = lab.history(); lab.select(h.index[-300], h.index[-100])")
        wanted = int(kernel.run("print(len(lab.selection))"))
    page.locator(".pairlab-button-more").click()
    choices = page.locator(".pairlab-export-choices")
    choices.get_by_role("button", name="selected", exact=True).click()
    page.wait_for_selector(".pairlab-export-choices button[title*='what is selected']")
    with page.expect_download(timeout=30_000) as download:
        choices.get_by_role("button", name="Download CSV").click()
    frame = pd.read_csv(io.StringIO(Path(download.value.path()).read_text()), index_col="time")
    assert len(frame) == wanted
    choices.get_by_role("button", name="all", exact=True).click()
    choices.get_by_role("button", name="alerts", exact=True).click()
    page.wait_for_selector(".pairlab-export-choices button[title*='the alerts as a CSV file: all']")
    with page.expect_download(timeout=30_000) as download:
        choices.get_by_role("button", name="Download CSV").click()
    assert re.fullmatch(r"pairlab-.*-alerts\.csv", download.value.suggested_filename)
    alerts = pd.read_csv(io.StringIO(Path(download.value.path()).read_text()), index_col="time")
    assert {"ENTRY", "EXIT"} <= set(alerts["kind"])
    choices.get_by_role("button", name="history", exact=True).click()
    page.locator(".pairlab-button-more").click()
    choices.wait_for(state="hidden")


def test_charts_are_saved_in_the_colours_of_the_theme(place: Place, page: Any) -> None:
    page.locator(".pairlab-button-more").click()
    choices = page.locator(".pairlab-export-choices")
    choices.wait_for()
    with page.expect_download(timeout=30_000) as download:
        choices.get_by_role("button", name="SVG").click()
    drawing = Path(download.value.path()).read_text()
    assert "var(" not in drawing
    for colour in ("rgb(86, 180, 233)", "rgb(240, 168, 48)", "rgb(230, 163, 200)"):
        assert colour in drawing, "y, x and spread, as on the screen"
    assert "Z-score" in drawing
    assert "UTC" in drawing
    assert "pairlab-SIMULATED-BTCUSDT-ETHUSDT-" in download.value.suggested_filename
    told = re.findall(r"<text[^>]*>([^<]*)", drawing)
    [caption] = [words for words in told if words.startswith("SIMULATED · BTCUSDT / ETHUSDT · ")]
    assert caption.endswith(" UTC · pairlab")
    below = " · ".join(told[told.index(caption) + 1 :])
    for name in ("stream=", "timeframe=", "window=50", "entry_z=2", "hedge_ratio=25", "fee_bps=4"):
        assert name in below
    choices.locator("select").select_option("spread")
    with place.server.kernel() as kernel:
        kernel.holds("lab.dashboard().parts['strip'].export._chart.value == 'spread'")
    with page.expect_download(timeout=30_000) as download:
        choices.get_by_role("button", name="PNG").click()
    assert download.value.suggested_filename.endswith("-spread.png")
    png = Path(download.value.path()).read_bytes()
    assert png.startswith(b"\x89PNG")
    kind, text = png[37:41], png[41 : 41 + int.from_bytes(png[33:37], "big")]
    assert (kind, text[:12]) == (b"iTXt", b"pairlab\0\0\0\0\0")
    assert text[12:].decode().startswith("SIMULATED; pair=BTCUSDT/ETHUSDT; stream=")
    crc = int.from_bytes(png[41 + len(text) : 45 + len(text)], "big")
    assert crc == zlib.crc32(kind + text)
    # Drawn by a browser again, it holds the panel's colour and the spread's.
    seen = page.evaluate(
        """async (bytes) => {
            const image = await createImageBitmap(new Blob([new Uint8Array(bytes)]));
            const canvas = new OffscreenCanvas(image.width, image.height);
            const context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            const data = context.getImageData(0, 0, image.width, image.height).data;
            const count = (r, g, b) => {
                let n = 0;
                for (let i = 0; i < data.length; i += 4)
                    n += data[i] === r && data[i + 1] === g && data[i + 2] === b;
                return n;
            };
            return [image.width, count(16, 21, 28), count(230, 163, 200)];
        }""",
        arg=list(png),
    )
    box = page.locator(".pairlab-spread").bounding_box()
    assert seen[0] == pytest.approx(2 * box["width"], abs=2)
    assert seen[1] > 10_000
    assert seen[2] > 100
    # One that is not seen cannot be drawn: the page says so.
    hiding = page.add_style_tag(content=".pairlab-spread { display: none !important; }")
    choices.get_by_role("button", name="PNG").click()
    page.wait_for_function(
        """document.querySelector('.pairlab-event-text').innerText.includes(
            '-spread.png was not saved: no chart is in view')"""
    )
    hiding.evaluate("style => style.remove()")
    page.locator(".pairlab-button-more").click()


def test_the_wheel_zooms_at_the_mouse_and_a_double_click_takes_it_back(
    place: Place, page: Any
) -> None:
    with place.kernel() as kernel:
        kernel.run("s = lab.dashboard().render_loop.view\ns.reset(); s.reset()")
        box = page.locator(".pairlab-zscore .selectormouse").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x - 20, y)
        page.mouse.move(x, y, steps=3)
        whole = float(kernel.run("a, b = s.ends_ns(); print((b - a) / 1e9)"))
        for _ in range(4):
            page.mouse.wheel(0, -200)
        kernel.holds("s.window_ns is not None")
        held(page)
        kernel.holds(f"(s.window_ns[1] - s.window_ns[0]) / 1e9 < {whole} / 2")
        for _ in range(12):
            page.mouse.wheel(0, 200)
        kernel.holds("s.window_ns is None")  # it reached the newest row: it follows
        kernel.holds(f"s.span_s > {whole}")
        page.mouse.dblclick(x, y)
        kernel.holds("s.window_ns is None and s.span_s == 30")
        # A turn that the kernel has not been told of when the double click comes: it is taken
        # back as well. What is said of the mouse comes behind what was to be said of the wheel.
        kernel.run("s.set_pointer(None)")
        page.evaluate(
            """([x, y]) => {
                const at = document.elementFromPoint(x, y);
                const where = { clientX: x, clientY: y, bubbles: true, cancelable: true };
                at.dispatchEvent(new WheelEvent("wheel", { ...where, deltaY: 300 }));
                at.dispatchEvent(new MouseEvent("dblclick", where));
                at.dispatchEvent(new MouseEvent("mousemove", where));
            }""",
            [x, y],
        )
        kernel.holds("s.pointer_ns is not None")
        assert kernel.run("print(s.window_ns, s.span_s)") == "None 30"
        kernel.run("s.set_pointer(None)")
