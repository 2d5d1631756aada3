"""The still pictures of a scan and of a sweep that a saved notebook shows."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pairlab import ScanResult, scan, sweep
from pairlab.backtesting import SweepResult
from pairlab.widgets.report.sweep_still import SweepMoment, sweep_picture, sweep_words
from pairlab.widgets.scan.scan_still import map_colours, scan_picture, scan_words
from pairlab.widgets.still import output
from pairlab.widgets.still.raster import Canvas, rgb_of
from pairlab.widgets.style.theme import DARK
from tests.engine import worlds
from tests.scanning.test_scan import planted, walks
from tests.widgets.conftest import Wire
from tests.widgets.still.test_still import count, pixels


@pytest.fixture(scope="module")
def scanned() -> ScanResult:
    return scan(planted(), placebo=2, fee_bps=1.0)


@pytest.fixture(scope="module")
def swept() -> SweepResult:
    y, x = worlds.cointegrated(3, 700, noise=60.0)
    at = pd.date_range("2024-08-08", periods=len(y), freq="min", tz="UTC")
    return sweep(
        (pd.Series(y, at), pd.Series(x, at)), {"entry_z": [1.5, 2.0], "exit_z": [0.0, 0.5]},
        window=30, hedge_ratio=25.0, min_correlation=-1.0,
    )  # fmt: skip


def moment(values: dict[tuple[Any, Any], float], xs: list[Any], ys: list[Any]) -> SweepMoment:
    return SweepMoment(
        "net_profit", "entry_z", "exit_z", xs, ys, values, {"entry_z": 2.0}, 4, 0.5, np.nan
    )


def test_cells_fill_their_rectangle_and_nothing_else() -> None:
    canvas = Canvas(40, 30, "#000000")
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]] * 2, np.uint8)
    colours[1] //= 3
    canvas.cells(10, 5, 12, 8, colours)
    picture, _ = pixels(canvas.png())
    for row in range(2):
        for column in range(3):
            left, top = 10 + 4 * column, 5 + 4 * row
            assert (picture[top : top + 4, left : left + 4] == colours[row, column]).all()
    around = picture.copy()
    around[5:13, 10:22] = 0
    assert not around.any()


def test_a_map_is_as_bright_as_a_p_is_small() -> None:
    values = np.array([[np.nan, 1e-9, 0.5], [1e-9, np.nan, np.nan], [0.5, np.nan, np.nan]])
    shades = map_colours(values, "p")
    assert (shades[0, 1] == rgb_of(DARK.corr)).all()
    assert (shades[0, 0] == rgb_of(DARK.panel)).all()
    assert (shades[1, 2] == rgb_of(DARK.raised)).all(), "what was not tested"
    assert int(shades[0, 2].sum()) < int(shades[0, 1].sum())
    tables = map_colours(np.array([[1.0, -1.0], [-1.0, 1.0]]), "correlation")
    assert (tables[0, 1] == rgb_of(DARK.x)).all()


def test_the_picture_of_a_scan_shows_its_table_its_map_and_a_pair(
    scanned: ScanResult, wire: Wire
) -> None:
    report = scanned.dashboard(feed="demo")
    page, symbols = report.table.page, report.map.symbols
    picture, texts = pixels(scan_picture(scanned, page, symbols, report.pair))
    assert texts["pairlab"] == scan_words(scanned)
    assert texts["pairlab"].startswith(
        "pairlab scan: 528 pairs of 33 symbols · Engle-Granger · found"
    )
    assert count(picture, DARK.corr) > 100, "small p and a candidate"
    assert count(picture, DARK.spread) > 1_000
    assert count(picture, DARK.z) > 1_000
    without, _ = pixels(scan_picture(scanned, page, symbols, None))
    assert count(without, DARK.spread) == 0
    report.close()


def test_a_scan_that_found_no_pair_has_a_picture(wire: Wire) -> None:
    nothing = scan(walks(6, 200), placebo=0, filters={"half_life": (1e8, 1e9)})
    report = nothing.dashboard()
    picture, _ = pixels(scan_picture(nothing, report.table.page, report.map.symbols, report.pair))
    assert picture.shape[1] == 880
    report.close()


def test_the_picture_of_a_sweep_shows_each_cell() -> None:
    won = moment({(1.0, 0.0): 100.0, (2.0, 0.0): -100.0, (2.0, 0.5): 0.0}, [1.0, 2.0], [0.0, 0.5])
    picture, texts = pixels(sweep_picture(won))
    assert texts["pairlab"] == sweep_words(won)
    assert "best of 4 by net_profit: entry_z = 2 · deflated Sharpe 0.50 · PBO –" in sweep_words(won)
    panel = rgb_of(DARK.panel).astype(float)
    for colour, share, cells in ((DARK.corr, 0.62, 1), (DARK.stop, 0.62, 1), (DARK.stop, 0.08, 1)):
        mixed = np.rint(panel + (rgb_of(colour) - panel) * share).astype(int)
        shade = "#" + "".join(f"{value:02x}" for value in mixed)
        assert count(picture, shade) > cells * 4_000, (colour, share)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, -1e-300])
@pytest.mark.parametrize("size", [(0, 0), (1, 1), (900, 1), (30, 30)])
def test_no_value_breaks_the_picture_of_a_sweep(bad: float, size: tuple[int, int]) -> None:
    xs, ys = list(range(size[0])), list(range(size[1]))
    values = {(a, b): bad for a in xs for b in ys}
    assert pixels(sweep_picture(moment(values, xs, ys)))[0].shape[1] == 880
    none = replace(moment({}, xs, ys), y="entry_z", best={})
    assert "none traded" in sweep_words(none)
    assert pixels(sweep_picture(none))[0].shape[1] == 880


def test_a_notebook_keeps_the_pictures_of_results(
    scanned: ScanResult, swept: SweepResult, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[dict[str, str]] = []
    monkeypatch.setattr(output, "_saves_outputs", lambda: True)
    monkeypatch.setattr(
        output, "publish_display_data", lambda bundle, **_: published.append(bundle)
    )
    for widget, words in (
        (scanned.dashboard(feed="demo"), "pairlab scan: "),
        (swept.heatmap(), "pairlab sweep: best of 4 by net_profit"),
    ):
        bundle: Any = widget._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in bundle
        assert bundle["text/plain"].startswith(words)
        shown = published.pop()
        assert shown["text/plain"] == bundle["text/plain"]
        assert base64.b64decode(shown["image/png"]).startswith(b"\x89PNG")
        assert not published
        # The page's script finds its view by this class.
        assert f"pairlab-{widget.model_id}" in widget._dom_classes
        widget.close()
