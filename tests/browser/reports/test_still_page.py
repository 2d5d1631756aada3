"""`PairLab.to_html` in Chromium, without a kernel and without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pairlab import PairLab
from tests.lab.session.labs import lab_with_a_past

OVERFLOWING = """() => [...document.querySelectorAll('main *')].filter(e => {
    const box = e.getBoundingClientRect();
    const beyond = box.right > innerWidth + 0.5 || box.left < -0.5;
    return box.width && !e.closest('.scroll, svg, .plot') && beyond;
}).map(e => e.outerHTML.slice(0, 120))"""
CURVES = """() => [...document.querySelectorAll('.plot > svg')].map(svg => {
    const frame = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('.curve')].map(path => {
        const box = path.getBoundingClientRect();
        return [box.width / frame.width, box.height / frame.height];
    });
})"""
LABELS = """() => {
    const over = (a, b) => a.left < b.right && b.left < a.right
        && a.top < b.bottom && b.top < a.bottom;
    const hits = [];
    for (const row of document.querySelectorAll('.times, .plot')) {
        const boxes = [...row.querySelectorAll('.time, .left, .right')]
            .map(e => [e.textContent, e.getBoundingClientRect()]).filter(([, box]) => box.width);
        boxes.forEach(([a, p], n) => boxes.slice(n + 1).forEach(
            ([b, q]) => over(p, q) && hits.push([a, b])));
    }
    return hits;
}"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    lab = lab_with_a_past()
    lab.to_html(folder / "live.html")
    lab.save(folder / "x.pairlab")
    opened = PairLab.open(folder / "x.pairlab")
    opened.settings.hedge = "ols"
    opened.to_html(folder / "opened.html")
    lab.to_html(folder / "dark.html", theme="dark")
    return folder


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What a page asks for beyond itself, or says on its console: nothing."""
    words: list[str] = []
    yield words
    assert words == []


def opened(chromium: Any, file: Path, said: list[str], width: int, scheme: str) -> Any:
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, offline=True, color_scheme=scheme
    )
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url != url else None)
    url = file.as_uri()
    page.goto(url)
    return page


@pytest.mark.parametrize("name", ["live", "opened"])
@pytest.mark.parametrize("width", [390, 760, 1280])
def test_it_fits_and_draws_every_curve(
    chromium: Any, pages: Path, said: list[str], name: str, width: int
) -> None:
    page = opened(chromium, pages / f"{name}.html", said, width, "dark")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate(LABELS) == []
    curves = page.evaluate(CURVES)
    assert [len(of) for of in curves] == ([1, 1, 1, 2] if name == "live" else [1, 1, 1, 1, 2])
    for across, down in (curve for of in curves for curve in of):
        assert 0.7 < across <= 1.02
        assert 0.2 < down <= 1.02
    page.context.close()


def test_themes_and_explanations(chromium: Any, pages: Path, said: list[str]) -> None:
    backgrounds = {}
    for name, scheme in (("live", "dark"), ("live", "light"), ("dark", "light")):
        page = opened(chromium, pages / f"{name}.html", said, 1280, scheme)
        backgrounds[name, scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        if scheme == "light" and name == "live":
            why = page.locator("details").first
            assert not why.locator("pre").is_visible()
            why.locator("summary").click()
            assert why.locator("pre").is_visible()
            assert "z " in why.locator("pre").inner_text()
        page.context.close()
    assert backgrounds["live", "dark"] == backgrounds["dark", "light"]
    assert backgrounds["live", "light"] != backgrounds["live", "dark"]
