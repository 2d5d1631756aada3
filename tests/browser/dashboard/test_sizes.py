"""At every size and in both themes, nothing is cut off and nothing has to be scrolled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import Kernel, Place, warm

SIZES = {
    "voila": [(1280, 800), (800, 600), (1920, 1080), (1050, 800), (900, 1300)],
    # The whole dashboard beside Jupyter's own panels; narrow; and wide.
    "jupyterlab": [(1700, 1300), (1050, 1300)],
    "notebook7": [(1700, 1300), (900, 1300)],
}
PAGES = {"dark": "rgb(8, 11, 16)", "light": "rgb(233, 237, 242)"}
WRONG = """() => {
    const wrong = [], said = e => e.className.baseVal ?? e.className;
    // Words for screen readers alone stand in a box of 1 px, or have no colour.
    const spoken = e => e && (e.clientWidth === 1 || spoken(e.parentElement));
    const shown = e => e.checkVisibility({opacityProperty: true, visibilityProperty: true})
        && !e.closest('.pairlab-covers') && !spoken(e);
    const dash = document.querySelector('.pairlab-dash').getBoundingClientRect();
    const over = e => [e.scrollWidth - e.clientWidth, e.scrollHeight - e.clientHeight];
    for (const e of document.querySelectorAll('.pairlab, .pairlab *')) {
        if (!(e instanceof HTMLElement) || !shown(e)) continue;
        const style = getComputedStyle(e), [wide, high] = over(e);
        if ((wide > 1 && /auto|scroll/.test(style.overflowX))
            || (high > 1 && /auto|scroll/.test(style.overflowY)))
            wrong.push(['scrolls', said(e), wide, high]);
        if (e.matches('input[type=text]') && wide > 1
                && style.fontSize !== '0px')
            wrong.push(['cut', said(e), e.value || e.textContent]);
    }
    for (const e of document.querySelectorAll('.pairlab-panel')) {
        if (!shown(e)) continue;
        const box = e.getBoundingClientRect();
        if (box.left < dash.left || box.right > dash.right + 1 || box.bottom > dash.bottom + 1)
            wrong.push(['outside', said(e)]);
        // Every piece of text against everything around it that hides what sticks out.
        const walker = document.createTreeWalker(e, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const text = walker.currentNode, inside = text.parentElement;
            if (!text.data.replaceAll('\\u200b', '').trim() || !shown(inside)
                || inside.closest('select, style, .bqplot [style*="display: none"]')) continue;
            const range = document.createRange();
            range.selectNodeContents(text);
            for (const {left, right: end, top, bottom, width} of range.getClientRects()) {
                let right = end;
                if (width < 1) continue;
                for (let a = inside; !a.matches('.pairlab-dash'); a = a.parentElement) {
                    const style = getComputedStyle(a), c = a.getBoundingClientRect();
                    if (style.overflow === 'visible') continue;
                    if (bottom <= c.top + 1 || top >= c.bottom - 1 || left >= c.right) break;
                    const shortened = style.textOverflow === 'ellipsis'
                        || style.webkitLineClamp !== 'none';
                    if (shortened && !a.matches('button')) // the face of a button is whole
                        right = Math.min(right, c.right);
                    // Letters are lower than the box that their font asks for.
                    if (right > c.right + 1 || left < c.left - 1
                            || bottom > c.bottom + 4 || top < c.top - 4) {
                        wrong.push(['cut', said(a), text.data, left - c.left, right - c.right,
                            top - c.top, bottom - c.bottom]);
                        break;
                    }
                }
            }
        }
    }
    return wrong;
}"""


@pytest.fixture
def page(place: Place) -> Any:
    return place.page


@pytest.fixture
def kernel(place: Place) -> Iterator[Kernel]:
    with place.kernel() as kernel:
        kernel.run("from pairlab.widgets.style.theme import dress; dashboard = lab.dashboard()")
        yield kernel
        kernel.run("dress(dashboard, 'dark')")


def settled(page: Any) -> list[Any]:
    """Return what is wrong once the page has had the time to lay itself out anew.

    Right is what is right for some frames on end: numbers change, and with them their widths.
    """
    right = 0
    for _ in range(40):
        wrong = list(page.evaluate(WRONG))
        right = 0 if wrong else right + 1
        if right == 5:
            return []
        page.wait_for_timeout(100)
    return wrong or ["now and then"]


@pytest.mark.every_front_end
def test_nothing_is_cut_off_and_nothing_scrolls(place: Place, page: Any, kernel: Kernel) -> None:
    # With a position, a stop, an edge and a warning on the screen it is as full as it gets.
    kernel.run(
        "lab.settings.update(entry_z=0.2, exit_z=0.0, stop_z=2.75, min_correlation=-1.0, "
        "fee_bps=12.5, min_edge_bps=0.05, window=10)"  # a short window crosses its mean often
    )
    kernel.holds("lab.alert_log.count(1) > 99", 180)  # entries
    kernel.run("lab.settings.update(window=50, stop_z=6.75)")
    warm(page)
    for theme, colour in PAGES.items():
        kernel.run(f"dress(dashboard, {theme!r})")
        page.wait_for_function(
            """colour => getComputedStyle(document.querySelector('.pairlab-dash'))
                .backgroundColor === colour""",
            arg=colour,
        )
        for width, height in SIZES[place.name]:
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_function("width => innerWidth === width", arg=width)
            assert settled(page) == [], (theme, width, height)
            assert page.locator(".pairlab-chart:visible").count() == 4
            if place.name == "voila":  # there the dashboard is the page
                whole = page.evaluate(
                    "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
                )
                assert whole == [width, height]


TOUCHING = """() => {
    // Texts of which two overlap, or stand so close that they read as one.
    const root = document.querySelector('.pairlab-dash'), boxes = [], found = [];
    const shown = e => e.checkVisibility({opacityProperty: true, visibilityProperty: true})
        && getComputedStyle(e).clipPath === 'none' && !e.closest('.pairlab-covers, select');
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const text = walker.currentNode, inside = text.parentElement;
        if (!text.data.replaceAll('\\u200b', '').trim()) continue;
        let seen = true;
        const clip = {left: -1e9, top: -1e9, right: 1e9, bottom: 1e9};
        for (let e = inside; e !== root && seen; e = e.parentElement) {
            const style = getComputedStyle(e);
            seen = shown(e) && style.display !== 'none'; // SVG text may have a box then
            if (style.overflowX === 'visible' || style.display === 'inline') continue;
            const c = e.getBoundingClientRect();
            clip.left = Math.max(clip.left, c.left); clip.right = Math.min(clip.right, c.right);
            clip.top = Math.max(clip.top, c.top); clip.bottom = Math.min(clip.bottom, c.bottom);
        }
        if (!seen) continue;
        const range = document.createRange();
        range.selectNodeContents(text);
        for (const r of range.getClientRects()) {
            const pad = 0.22 * r.height; // letters are lower than the box that their font asks for
            const box = {
                inside, text, l: Math.max(r.left, clip.left), r: Math.min(r.right, clip.right),
                t: Math.max(r.top + pad, clip.top), b: Math.min(r.bottom - pad, clip.bottom),
            };
            if (box.r - box.l > 0.5 && box.b - box.t > 1) boxes.push(box);
        }
    }
    boxes.forEach((a, i) => boxes.slice(i + 1).forEach(b => {
        const x = Math.min(a.r, b.r) - Math.max(a.l, b.l);
        const y = Math.min(a.b, b.b) - Math.max(a.t, b.t);
        const together = a.inside.parentElement === b.inside.parentElement
            || a.inside.contains(b.inside) || b.inside.contains(a.inside);
        if (a.text !== b.text && y > 0.5 && (x > 0.5 || (x > -1 && !together)))
            found.push([a.text.data.trim(), b.text.data.trim(), a.l, a.t, x]);
    }));
    return [boxes.length, found];
}"""
WIDTHS = (
    360, 390, 430, 480, 560, 639, 640, 691, 760, 800, 860, 861, 930, 999, 1000, 1001, 1028, 1055,
    1080, 1110, 1111, 1150, 1200, 1240, 1241, 1280, 1340, 1341, 1366, 1440, 1600, 1920, 2560, 3840,
)  # fmt: skip


@pytest.mark.in_the_app
def test_no_two_texts_touch_at_any_width(page: Any, kernel: Kernel) -> None:
    kernel.run(
        "lab.settings.update(entry_z=0.2, exit_z=0.0, stop_z=2.75, min_correlation=-1.0, "
        "fee_bps=1000.0, min_edge_bps=0.05, window=10)"  # losses of five digits
    )
    kernel.holds("lab.alert_log.count(1) > 99", 180)
    kernel.run("lab.settings.update(window=50, stop_z=6.75)")
    warm(page)
    for theme, widths in (("dark", WIDTHS), ("light", (390, 800, 1055, 1280, 1920))):
        kernel.run(f"dress(dashboard, {theme!r})")
        for width in widths:
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_function("width => innerWidth === width", arg=width)
            for _ in range(20):
                page.wait_for_timeout(60)
                texts, touching = page.evaluate(TOUCHING)
                if not touching:
                    break
            assert touching == [], (theme, width)
            assert texts > 100
