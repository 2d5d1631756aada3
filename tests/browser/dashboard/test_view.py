"""What the tools, Pause, the filters and the pages do to what is seen, in every front end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.conftest import Kernel, Place, paths

VIEW = """() => {
    // The clock's labels are words in places: two of them say which time is where.
    const prices = document.querySelector('.pairlab-prices.pairlab-clock');
    const labels = [...prices.querySelectorAll(".axis[text-anchor='middle'] .tick")]
        .filter(tick => tick.textContent.includes(':'))
        .map(tick => [tick.transform.baseVal[0].matrix.e,
            tick.textContent.split(':').reduce((sum, part) => 60 * sum + +part, 0)])
        .sort((a, b) => a[0] - b[0]);
    if (labels.length < 2) return null;
    const [[x, first], [right, last]] = [labels[0], labels.at(-1)];
    const rate = (last - first + (last < first ? 86400 : 0)) / (right - x);
    const width = prices.querySelector('.selectormouse')?.width.baseVal.value;
    const lefts = ['zscore-z', 'spread-spread', 'correlation-corr', 'prices-y'].map(name => {
        const [chart, token] = name.split('-');
        const line = [...document.querySelectorAll(`.pairlab-${chart} path.line`)].find(line =>
            line.style.stroke === `var(--pairlab-${token})`
            && line.style.strokeDasharray === 'none' && line.style.strokeWidth !== '5');
        return line.getAttribute('d') ? line.getBBox().x / width : 1;
    });
    const tools = document.querySelector('.pairlab-tools');
    return {
        start: first - x * rate, end: first + (width - x) * rate, left: Math.max(...lefts),
        firstLeft: Math.min(...lefts),
        span: tools.querySelector('select').selectedOptions[0].text.replace('\\u00a0', ' '),
        held: !!document.querySelector('.pairlab-zscore .pairlab-held'),
    };
}"""
HELPERS = """
screen = lab.dashboard().render_loop
def held_s():
    times = lab.rows.view()["time_ns"]
    return (times[-1] - times[0]) / 1e9
"""
KINDS = "[...document.querySelectorAll('.pairlab-alerts td b')].map(b => b.innerText.split(' ')[0])"
WHERE = (
    """[...document.querySelectorAll('.pairlab-where small')].find(e => e.offsetParent).innerText"""
)


@pytest.fixture
def page(place: Place) -> Any:
    return place.page


@pytest.fixture
def kernel(place: Place) -> Iterator[Kernel]:
    with place.kernel() as kernel:
        kernel.run(HELPERS)
        yield kernel


def sees(page: Any, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return what is in view once it is as it should be."""
    ends_s = time.monotonic() + 20
    while True:
        view = page.evaluate(VIEW)
        if view and condition(view):
            return dict(view)
        assert time.monotonic() < ends_s, f"never seen: {view}"
        page.wait_for_timeout(50)


def near(a: float, b: float, off: float = 0.15) -> bool:
    return abs(a - b) <= off


def wide(view: dict[str, Any], seconds: float) -> bool:
    """Whether the clock's labels say that so much time is in view."""
    return near(view["end"] - view["start"], seconds, 0.02 * seconds)


def press(page: Any, face: str) -> None:
    page.locator(f".pairlab-tools button:text-is('{face}')").click()


def test_every_tool_moves_what_is_seen(page: Any, kernel: Kernel) -> None:
    kernel.holds("held_s() > 25")
    sees(page, lambda view: view["span"] == "30 s" and wide(view, 30))
    press(page, "+")
    sees(page, lambda view: view["span"] == "10 s" and wide(view, 10) and view["left"] < 0.02)
    press(page, "−")
    sees(page, lambda view: view["span"] == "30 s" and wide(view, 30))
    page.locator(".pairlab-tools select").select_option(label="1 min")
    sees(page, lambda view: view["span"] == "1 min" and wide(view, 60))
    kernel.run("screen.view.set_span(10)")
    sees(page, lambda view: view["span"] == "10 s" and wide(view, 10) and not view["held"])

    press(page, "‹")
    first = sees(page, lambda view: view["held"] and wide(view, 10))
    ends = kernel.run("print(*[ns / 1e9 % 86400 for ns in screen.view.window_ns])").split()
    assert [first["start"], first["end"]] == pytest.approx([*map(float, ends)], abs=0.15)
    still = paths(page)
    kernel.run("lab.wait(lab.health().rows + 30, 30)")
    assert paths(page) == still
    press(page, "‹")
    second = sees(page, lambda view: near(view["end"], first["end"] - 5))
    assert wide(second, 10)
    assert paths(page) != still
    press(page, "›")
    sees(page, lambda view: near(view["end"], first["end"]) and wide(view, 10))
    press(page, "−")
    sees(page, lambda view: view["span"] == "20 s" and wide(view, 20) and view["held"])
    press(page, "+")
    held = sees(page, lambda view: view["span"] == "10 s" and wide(view, 10) and view["held"])
    assert paths(page) != still or near(held["end"], first["end"])
    kernel.run("a, b = screen.view.window_ns; screen.view.freeze(a - 2 * 10**9, b - 2 * 10**9)")
    sees(page, lambda view: near(view["end"], held["end"] - 2))
    for _ in range(20):  # half a view each, and at the newest rows it follows again
        at = page.evaluate(VIEW)
        if not at["held"]:
            break
        press(page, "›")
        sees(page, lambda view, end=at["end"]: view["end"] > end + 1)
    after = sees(page, lambda view: not view["held"] and wide(view, 10))
    sees(page, lambda view: view["end"] > after["end"] + 0.5)

    press(page, "‹")
    sees(page, lambda view: view["held"])
    press(page, "Reset zoom")
    follows = sees(page, lambda view: not view["held"] and view["span"] == "10 s")
    sees(page, lambda view: view["end"] > follows["end"] + 0.5)
    press(page, "Reset zoom")
    sees(page, lambda view: view["span"] == "30 s" and wide(view, 30))


def test_clear_lets_all_charts_begin_anew_and_the_history_stays(page: Any, kernel: Kernel) -> None:
    kernel.holds("held_s() > 11")
    kernel.run("screen.view.set_span(10)")
    sees(page, lambda view: view["left"] < 0.02 and wide(view, 10))
    rows = int(kernel.run("print(len(lab.history()))"))
    press(page, "Clear")
    cleared = sees(page, lambda view: view["firstLeft"] > 0.7)
    grown = sees(page, lambda view: view["left"] < cleared["left"] - 0.1)
    assert grown["firstLeft"] > 0.1  # they grow from there
    assert int(kernel.run("print(len(lab.history()))")) > rows


def paused(page: Any, yes: bool) -> None:
    """Wait until the page says whether the view is paused: on the button and in the event line."""
    page.wait_for_function(
        """yes => {
            const face = document.querySelector('.pairlab-button-pause').innerText.trim();
            const line = document.querySelector('.pairlab-event').innerText;
            return face === (yes ? 'Resume' : 'Pause') && line.includes('rows wait') === yes;
        }""",
        arg=yes,
    )


def test_pause_holds_charts_and_tables_and_the_strip_goes_on(page: Any, kernel: Kernel) -> None:
    drawn = """[...document.querySelectorAll('.pairlab-chart path.line')]
        .map(line => line.getAttribute('d')).join()
        + document.querySelector('.pairlab-rows').textContent"""
    ticks = "document.querySelector('.pairlab-cell-feed label').title"
    button = page.locator(".pairlab-button-pause")
    for by_hand in (True, False):
        paused(page, False)
        button.click() if by_hand else kernel.run("screen.view.pause(True)")
        paused(page, True)
        before, accepted = page.evaluate(drawn), page.evaluate(ticks)
        kernel.run("lab.wait(lab.health().rows + 20, 30)")
        page.wait_for_function(f"accepted => {ticks} !== accepted", arg=accepted)
        assert page.evaluate(drawn) == before
        button.click() if by_hand else kernel.run("screen.view.pause(False)")
        page.wait_for_function(f"before => {drawn} !== before", arg=before)
        paused(page, False)


def test_filters_show_and_hide_each_kind_of_alert(page: Any, kernel: Kernel) -> None:
    kernel.run("from pairlab.schema import AlertKind; kinds = [k.name.lower() for k in AlertKind]")
    kernel.run("lab.settings.update(entry_z=0.5, exit_z=0.1, stop_z=0.6, min_correlation=-1.0)")
    # Legs that agree and legs that do not, by turns: positions are opened, and come apart.
    kernel.holds(
        "all(lab.alert_log.count(k) > 0 for k in AlertKind) "
        "or lab.settings.update(min_correlation=-lab.settings.min_correlation)",
        60,
    )
    kinds = kernel.run("print(*kinds)").split()
    assert set(kinds) == {"entry", "exit", "stop", "suppressed", "decoupled"}
    short = {"SUPPR.": "SUPPRESSED"}  # a narrow table has short names

    def shown() -> set[str]:
        return {short.get(kind, kind) for kind in page.evaluate(KINDS)}

    page.wait_for_function(f"{KINDS}.length >= 4")
    for n, kind in enumerate(kinds):  # one after the other is hidden
        page.locator(f".pairlab-filter-{kind}").click()
        page.wait_for_function(f"kind => !{KINDS}.some(k => k === kind)", arg=kind.upper())
        assert not shown() & {k.upper() for k in kinds[: n + 1]}
    page.wait_for_function("document.querySelector('.pairlab-where').innerText === 'none'")
    for kind in kinds:  # and each is shown alone
        button = page.locator(f".pairlab-filter-{kind}")
        button.click()
        page.wait_for_function(
            f"kind => {KINDS}.length > 0 && {KINDS}.every(k => k === kind)", arg=kind.upper()
        )
        said = int(button.inner_text().replace(",", ""))
        assert said >= len(page.evaluate(KINDS))
        button.click()
        page.wait_for_function(f"{KINDS}.length === 0")
    for kind in kinds:
        page.locator(f".pairlab-filter-{kind}").click()
    page.wait_for_function(f"{KINDS}.length >= 4")


def test_pages_turn_to_older_alerts_and_back(page: Any, kernel: Kernel) -> None:
    kernel.run("lab.settings.update(entry_z=0.5, exit_z=0.4, min_correlation=-1.0)")
    kernel.holds("len(lab.alert_log.alerts()) > 30")
    kernel.run("lab.settings.update(entry_z=6.9)\nlab.wait(lab.health().rows + 5, 30)")
    kernel.holds("lab.alert_log.opened is None")  # from now on no alert comes
    rows = "[...document.querySelectorAll('.pairlab-alerts tr')].slice(1).map(r => r.textContent)"
    older, newer = (page.locator(f".pairlab-alerts .pairlab-turn >> text={face}") for face in "›‹")
    kernel.run("from pairlab.widgets.style.formats import clock; import itertools, json")
    newest = json.loads(
        kernel.run(
            "newest = itertools.islice(lab.alert_log.newest_first(), 12)\n"
            "print(json.dumps([clock(a.time_ns) + a.kind.name for a in newest]))"
        )
    )
    page.wait_for_function(
        f"newest => newest.every((row, n) => {rows}[n]?.startsWith(row))", arg=newest
    )
    first = page.evaluate(rows)
    assert page.evaluate(WHERE).startswith("1–")
    assert newer.is_disabled()
    older.click()  # a page turns by what a low panel shows
    page.wait_for_function(f"row => {rows}[0] === row && {WHERE}.startsWith('5–')", arg=first[4])
    newer.click()
    page.wait_for_function(f"row => {rows}[0] === row && {WHERE}.startsWith('1–')", arg=first[0])
    assert page.evaluate(rows) == first
