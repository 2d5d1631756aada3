"""The still picture of a lab that a saved notebook shows."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import replace

import nbformat
import numpy as np
import pytest
from numpy.typing import NDArray

from pairlab import PairLab
from pairlab.data.origin import Origin
from pairlab.schema import ROW
from pairlab.widgets.still.picture import still_picture, still_words
from pairlab.widgets.still.raster import Canvas
from pairlab.widgets.style.theme import DARK
from tests.widgets.core.test_lab_view import Result

SECRETS = ("hunter2", "s3cr3t")


def pixels(png: bytes) -> tuple[NDArray[np.uint8], dict[str, str]]:
    """Return what a reader of PNG makes of a file, checking every sum."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, size, data, texts = 8, (0, 0), b"", {}
    while at < len(png):
        length = struct.unpack(">I", png[at : at + 4])[0]
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", png[at + 8 + length :][:4])[0]
        at += 12 + length
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        elif kind == b"IDAT":
            data += body
        elif kind == b"iTXt":
            name, words = body.split(b"\0\0\0\0\0")
            texts[name.decode()] = words.decode()
    lines = np.frombuffer(zlib.decompress(data), np.uint8).reshape(size[1], 1 + 3 * size[0])
    assert (lines[:, 0] == 0).all()
    return lines[:, 1:].reshape(size[1], size[0], 3), texts


def count(picture: NDArray[np.uint8], colour: str) -> int:
    rgb = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
    return int((picture == rgb).all(axis=2).sum())


def test_a_line_goes_through_its_points_and_stops_at_what_is_no_number() -> None:
    canvas = Canvas(100, 40, "#000000")
    x = np.arange(100.0)
    y = np.where((x > 40) & (x < 60), np.nan, 10 + 0.2 * x)
    canvas.line(x, y, "#ffffff", 2.0)
    picture, _ = pixels(canvas.png())
    lit = picture[:, :, 0].astype(float)
    for column in (*range(2, 40), *range(62, 98)):
        middle = (lit[:, column] * (np.arange(40) + 0.5)).sum() / lit[:, column].sum()
        assert middle == pytest.approx(10 + 0.2 * (column + 0.5), abs=0.35)
    assert not lit[:, 42:59].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_no_row_breaks_the_picture(bad: float) -> None:
    lab = Result()
    origin, values = Origin.of(lab.pair, lab.health(), lab.row_settings), lab.row_settings
    for count_ in (0, 1, 2, 50):
        rows = np.zeros(count_, ROW)
        rows["time_ns"] = 1_700_000_000_000_000_000
        for name in ("zscore", "spread", "correlation"):
            rows[name] = bad
        picture, _ = pixels(still_picture(rows, origin, values))
        assert picture.shape[1] == 880
        words = still_words(rows, origin)
        assert "nan" not in words
        assert "inf" not in words


def test_the_picture_shows_the_rows_and_says_what_it_is() -> None:
    lab = Result()
    health = replace(lab.health(), feed="SIMULATED", real_money=False)
    origin = Origin.of(lab.pair, health, lab.row_settings)
    picture, texts = pixels(still_picture(lab.rows.view(), origin, lab.row_settings))
    blank, _ = pixels(still_picture(lab.rows.view(0), origin, lab.row_settings))
    for colour in (DARK.z, DARK.spread, DARK.corr):
        assert count(picture, colour) > count(blank, colour) + 500
    assert count(picture, DARK.sim) > 300, "SIMULATED stands on it"
    live = replace(origin, real_money=True, source="BINANCE")
    assert count(pixels(still_picture(lab.rows.view(), live, lab.row_settings))[0], DARK.sim) == 0
    assert texts["pairlab"].startswith(f"SIMULATED; pair={'/'.join(lab.pair)}; ")
    row = lab.rows.view()[-1]
    words = still_words(lab.rows.view(), origin)
    assert words.startswith(f"pairlab: {' / '.join(lab.pair)} · SIMULATED · ")
    assert f"z {row['zscore']:+.2f}".replace("-", "−") in words


def test_the_words_of_a_view_are_for_people() -> None:
    lab = PairLab(feed=f"ws://{SECRETS[0]}:{SECRETS[1]}@127.0.0.1:1")
    for shown in (lab, lab.dashboard(), lab.dashboard().parts["zscore"]):
        bundle = shown._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in bundle
        assert bundle["text/plain"].startswith("pairlab: BTCUSDT / ETHUSDT · LOCAL 127.0.0.1:1 ")
        assert not any(secret in str(bundle) for secret in SECRETS)


@pytest.mark.slow
def test_a_notebook_that_was_executed_keeps_the_last_picture() -> None:
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    cells = [
        'from pairlab import PairLab\nlab = PairLab(feed="demo").start()\nlab',
        "lab.wait(rows=100, timeout_s=60)",
        "await lab.stop()",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(book, timeout=240, kernel_name="python3", store_widget_state=False).execute()
    found = [o["data"] for o in book.cells[0].outputs if "image/png" in o.get("data", {})]
    assert len(found) == 1
    picture, texts = pixels(base64.b64decode(found[0]["image/png"]))
    assert texts["pairlab"].startswith("SIMULATED; pair=BTCUSDT/ETHUSDT; stream=aggTrade; ")
    assert count(picture, DARK.spread) > 100, "it was updated when the lab stopped"
    assert " UTC · z " in found[0]["text/plain"]
    html, _ = HTMLExporter().from_notebook_node(book)
    assert found[0]["image/png"][:400] in html.replace("\n", "")
    assert "Dashboard(children" not in html
