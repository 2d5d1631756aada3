"""The mouse drags the charts back into the recording, in front of a real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Place
from tests.browser.hands import shows

BEGIN = """
lab.settings.history_rows = 1_000
recording = lab.record({folder!r})
first = lab.rows.start
screen = lab.dashboard().render_loop
screen.view.set_span(10)
"""
IN_SIGHT = """
import pandas as pd
from pairlab.widgets.style.formats import clock, signed, number
start, end = screen.view.window_ns
rows = lab.history(since=start)
rows = rows[rows.index <= pd.Timestamp(end, tz="UTC")]
told = {clock(int(t.value), milliseconds=True): (signed(z), number(rho)) for t, z, rho in zip(
    rows.index.as_unit("ns"), rows["zscore"], rows["correlation"])}
print(len(rows), *told.get({when!r}, ("none", "none")))
"""


def dragged(page: Any, share: float) -> None:
    """Take the z-score chart with the mouse by a share of its width."""
    box = page.locator(".pairlab-zscore .selectormouse").bounding_box()
    y, middle = box["y"] + box["height"] / 2, box["x"] + box["width"] / 2
    page.mouse.move(middle - share * box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(middle, y, steps=3)
    page.mouse.move(middle + share * box["width"] / 2, y, steps=3)
    page.mouse.up()


@pytest.mark.in_the_app
def test_a_drag_goes_back_into_the_recording(place: Place, tmp_path: Path) -> None:
    page = place.page
    with place.kernel() as kernel:
        kernel.run(BEGIN.format(folder=str(tmp_path / "r")))
        try:
            kernel.holds("recording.state == 'recording' and lab.rows.start > first + 250", 60)
            oldest = "lab.rows.view()['time_ns'][0]"
            for _ in range(20):
                dragged(page, 0.9)
                kernel.holds("screen.view._drag_from is None and screen.view.window_ns is not None")
                if kernel.run(f"print(screen.view.window_ns[1] < {oldest})") == "True":
                    break
            head = "document.querySelector('.pairlab-zscore .pairlab-head').innerText"
            shows(page, f"{head}.includes('recorded rows')")
            kernel.holds("not screen._frame(due=True).past.words")
            box = page.locator(".pairlab-zscore .selectormouse").bounding_box()
            page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 3)
            shows(page, "!!document.querySelector('.pairlab-zscore .pairlab-when svg')")
            seen = page.evaluate("""() => ['zscore', 'correlation'].map(name =>
                document.querySelector(`.pairlab-${name} .pairlab-key b`).innerText)""")
            when = page.locator(".pairlab-zscore .pairlab-when").inner_text().strip()
            count, *want = kernel.run(IN_SIGHT.replace("{when!r}", repr(when))).split()
            assert int(count) > 20
            assert seen == want
            assert page.evaluate("""() => [...document.querySelectorAll('.pairlab-why-empty')]
                .every(words => !words.innerText.trim())""")
            page.locator(".pairlab-tools button:text-is('Reset zoom')").click()
            shows(page, f"!{head}.includes('recorded rows') && !{head}.includes('frozen')")
        finally:
            kernel.run("await recording.stop()")
