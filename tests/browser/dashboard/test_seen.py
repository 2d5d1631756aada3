"""What a trader reads off the page, in every front end, held against the kernel's numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.conftest import Kernel, Place
from tests.browser.hands import dragged, setting, shows

HELPERS = """
import json
from pairlab.widgets.style.formats import extent
screen, scale = lab.dashboard().render_loop, lab.dashboard().parts["spread"].scale
def told(**what):
    print(json.dumps(what))
def share(time_ns):
    start, end = screen.view.ends_ns()
    start = end - round(screen.view.span_s * 1e9)
    return (time_ns - start) / (end - start) * 772 / 776
def still():
    screen.view.pause(True)
    screen.paint(due=True)
"""
LOOK = """
    const lines = (chart, token, dash) => [
            ...document.querySelectorAll(`.pairlab-${chart} path.line`)].filter(line =>
         line.style.stroke === (token ? `var(--pairlab-${token})` : 'transparent')
            && (!dash || line.style.strokeDasharray === dash) && line.getAttribute('d'));
    const points = line => line.getAttribute('d').split('M').slice(1)
        .map(part => part.split('L').map(at => at.split(',').map(Number)));
    const last = line => points(line).at(-1).at(-1);
    const labels = (chart, anchor) => [...document.querySelectorAll(
            `.pairlab-${chart} .axis[text-anchor='${anchor}'] .tick`)]
        .filter(tick => tick.querySelector('text').getBoundingClientRect().height
            && getComputedStyle(tick.closest('.axis')).display !== 'none'
            && getComputedStyle(tick.closest('.axis')).visibility !== 'hidden')
        .map(tick => [tick.textContent.replaceAll('−', '-').replaceAll(',', ''),
            tick.transform.baseVal[0].matrix.f]);
    const width = document.querySelector('.pairlab-prices .selectormouse').width.baseVal.value;
"""
LEVELS = f"""() => {{ {LOOK}
    const heights = (...of) => lines(...of).map(line => points(line)[0][0][1]);
    const [zero] = heights('zscore', 'axis', 'none');
    const named = Object.fromEntries(labels('zscore', 'end'));
    return {{
        zero, entries: [...heights('zscore', 'x', '10, 10'), ...heights('zscore', 'y', '10, 10')],
        exits: heights('zscore', 'muted', '2, 10'), stops: heights('zscore', 'stop', 'none'),
        least: heights('correlation', 'text2', '10, 10'), named,
        leastNamed: Object.fromEntries(labels('correlation', 'end')),
    }};
}}"""
MARKERS = f"""([chart, scale]) => {{ {LOOK}
    const kinds = {{'y panel': 'ENTRY', 'x panel': 'ENTRY', 'panel text': 'EXIT',
        'stop panel': 'STOP', 'panel text2': 'SUPPRESSED', 'text panel': 'DECOUPLED'}};
    const token = text => text.match(/pairlab-(\\w+)/)?.[1];
    const plot = document.querySelector(`.pairlab-${{chart}} .selectormouse`)
        .getBoundingClientRect();
    return [...document.querySelectorAll(`.pairlab-${{chart}} path.dot`)]
        .filter(dot => dot.style.strokeWidth !== '0' && dot.style.fill !== 'none')
        .map(dot => [kinds[`${{token(dot.style.fill)}} ${{token(dot.style.stroke)}}`],
            dot.getScreenCTM().e - plot.left, dot.getScreenCTM().f - plot.top])
        .filter(([kind, x]) => kind && x > 2 && x < plot.width - 6).sort((a, b) => a[1] - b[1]);
}}"""


@pytest.fixture
def page(place: Place) -> Any:
    return place.page


@pytest.fixture
def kernel(place: Place) -> Iterator[Kernel]:
    with place.kernel() as kernel:
        kernel.run(HELPERS)
        yield kernel


def told(kernel: Kernel, code: str) -> Any:
    """Return what the kernel knows."""
    return json.loads(kernel.run(code))


def until(page: Any, script: str, right: Callable[[Any], bool], arg: Any = None) -> Any:
    """Look until what is seen is right, and return it."""
    for _ in range(200):
        seen = page.evaluate(script, arg)
        if right(seen):
            return seen
        page.wait_for_timeout(50)
    raise AssertionError(f"never seen: {seen}")


def levels_are(page: Any, entry: float, exit_: float, stop: float | None) -> dict[str, Any]:
    """Wait until the lines of the z-score stand where these thresholds are, by their distances."""

    def right(seen: dict[str, Any]) -> bool:
        unit = (seen["exits"][1] - seen["exits"][0]) / (2 * exit_)
        wanted = {"entries": entry, "stops": stop, "exits": exit_}
        return all(
            seen[name] == []
            if at is None
            else seen[name]
            == pytest.approx([seen["zero"] - at * unit, seen["zero"] + at * unit], abs=0.5)
            for name, at in wanted.items()
        )

    return dict(until(page, LEVELS, right))


def test_the_lines_of_the_thresholds_move_with_the_sliders(page: Any, kernel: Kernel) -> None:
    first = levels_are(page, 2.0, 0.5, None)
    assert first["named"]["+2.00 entry"] == pytest.approx(first["entries"][0], abs=1)
    entry = dragged(page, kernel, "entry_z", 0.5)
    assert entry == pytest.approx(3.0, abs=0.1)
    moved = levels_are(page, entry, 0.5, None)
    assert moved["named"][f"+{entry:.2f} entry"] == pytest.approx(moved["entries"][0], abs=1)
    exit_ = dragged(page, kernel, "exit_z", 0.2)
    assert exit_ == pytest.approx(1.2, abs=0.1)
    levels_are(page, entry, exit_, None)
    kernel.run("lab.settings.stop_z = 4.0")
    stopped = levels_are(page, entry, exit_, 4.0)
    assert stopped["named"]["-4.00 stop"] == pytest.approx(stopped["stops"][1], abs=1)
    name = f"{dragged(page, kernel, 'min_correlation', 0.9):.2f} min"
    until(
        page, LEVELS,
        lambda seen: seen["leastNamed"].get(name) == pytest.approx(seen["least"][0], abs=1),
    )  # fmt: skip


def test_the_band_of_the_spread_ends_at_the_entry(page: Any, kernel: Kernel) -> None:
    ends = f"""row => {{ {LOOK}
        const plot = document.querySelector('.pairlab-spread .selectormouse');
        const at = value => plot.height.baseVal.value * (row.high - value) / (row.high - row.low);
        const [upper, lower] = lines('spread', null).map(line => last(line)[1])
            .sort((a, b) => a - b);
        const [mean] = lines('spread', 'muted', '10, 10').map(line => last(line)[1]);
        return [[lower, at(row.mean - row.entry * row.std)], [mean, at(row.mean)],
            [upper, at(row.mean + row.entry * row.std)]];
    }}"""
    for entry in (2.0, 3.0):
        kernel.run(f"lab.settings.entry_z = {entry}; screen.view.pause(False)")
        kernel.run("lab.wait(lab.health().rows + 5, 30); still()")
        row = told(
            kernel,
            "r = screen.view.rows()[-1]\n"
            "told(mean=float(r['spread_mean']), std=float(r['spread_std']), "
            "entry=lab.settings.entry_z, low=scale.min, high=scale.max)",
        )
        until(page, ends, lambda seen: all(a == pytest.approx(b, abs=1.5) for a, b in seen), row)


def title_at(page: Any, css: str) -> str:
    """Return the words that come up where the mouse rests on an element."""
    return str(
        page.evaluate(
            """css => {
                const box = document.querySelector(css).getBoundingClientRect();
                const at = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                return at?.closest('[title]')?.title ?? '';
            }""",
            css,
        )
    )


def hovers(page: Any, css: str, *words: str) -> None:
    """Wait until the title over an element has these words."""
    for _ in range(200):
        title = title_at(page, css)
        if all(word in title for word in words):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{css}: {title!r} has not all of {words}")


def test_the_strip_gives_its_reasons_where_the_mouse_rests(page: Any, kernel: Kernel) -> None:
    hovers(page, ".pairlab-cell-feed", "SIMULATED: running", "Not real money")
    page.locator(".pairlab-opener").click()
    page.locator(".pairlab-feed-detail").wait_for(state="visible")
    hovers(page, ".pairlab-cell-rate", "ticks accepted, none dropped")
    hovers(page, ".pairlab-cell-lag", "Receipt to row: ")
    hovers(page, ".pairlab-cell-ages", "Since the last trade: BTCUSDT", "no entry from 10 s on")
    hovers(page, ".pairlab-cell-gaps", "0 trades missing")
    page.keyboard.press("Escape")
    page.locator(".pairlab-feed-detail").wait_for(state="hidden")
    hovers(page, ".pairlab-cell-z", "z-score of the newest row")
    hovers(
        page, ".pairlab-cell-net", "after two fills at the entry", "A round trip costs 16.00 bps"
    )
    hovers(page, ".pairlab-cell-test", "ADF on the spread", "for a level of 0.050")
    kernel.holds("any(lab.alert_log.newest_first())")
    hovers(page, ".pairlab-explain", "a round trip costs 16", "of 50 rows")
    kernel.run("lab.settings.entry_z = 6.9")
    kernel.holds("lab.alert_log.opened is None")
    hovers(page, ".pairlab-cell-signal", "In when |z| ≥ 6.90", "✓ ρ ", "✓ leg ", "Last alert: ")
    kernel.run(
        "lab.settings.update(min_correlation=1.0, require_stationary=True, max_p_value=1e-9, "
        "min_edge_bps=1000.0, hedge='ols')"
    )
    hovers(
        page, ".pairlab-cell-signal",
        "✕ ρ ", " < 1.00", "✕ p ", "✕ edge ", " < 1000 bps",
    )  # fmt: skip
    shows(page, "document.querySelector('.pairlab-why').textContent.includes('< 1.00')")
    hovers(page, ".pairlab-cell-test", "Engle-Granger on the residual")
    kernel.run(
        "lab.settings.update(min_correlation=-1.0, require_stationary=False, min_edge_bps=None, "
        "exit_z=0.0, entry_z=0.1)"
    )
    hovers(page, ".pairlab-cell-signal", "Out when z ")


@pytest.mark.in_the_app
def test_a_window_that_fills_says_how_far_it_is(page: Any, kernel: Kernel) -> None:
    strip = "document.querySelector('.pairlab-status-bar').textContent"
    filled = f"+({strip}.match(/([\\d,]+) of 50,000 rows/)?.[1].replaceAll(',', '') ?? NaN)"
    bar = "parseFloat(document.querySelector('.pairlab-cell-test .pairlab-bar i').style.width)"
    kernel.run("lab.settings.entry_z = 6.9")
    kernel.holds("lab.alert_log.opened is None")
    kernel.run("lab.settings.window = 50_000")
    shows(page, f"{strip}.includes('NOT ENOUGH DATA') && {filled} > 100")
    shows(page, f"/ of 50,000 rows, [\\d.:]+( s)? left/.test({strip})")
    first = page.evaluate(filled)
    assert first == pytest.approx(setting(kernel, "window") * page.evaluate(bar) / 100, abs=400)
    shows(page, f"{filled} > arg", first)
    shows(page, "document.querySelector('.pairlab-why').textContent.includes('no signals before')")
    # Prices are drawn at once; z begins where the window is full.
    drawn = f"() => {{ {LOOK} return [lines('zscore', 'z').length, lines('prices', 'y').length]; }}"
    until(page, drawn, lambda seen: seen == [0, 1])
    kernel.run("lab.settings.window = 60")
    shows(page, f"/(^|[^T]) ?STATIONARY/.test({strip}) && !{strip}.includes('NOT ENOUGH')")
    until(page, drawn, lambda seen: seen == [1, 1])


@pytest.mark.in_the_app
def test_the_ages_of_both_legs_are_told_as_they_grow(page: Any, kernel: Kernel) -> None:
    ages = "document.querySelector('.pairlab-cell-ages .pairlab-number')?.textContent"
    page.locator(".pairlab-opener").click()
    shows(page, f"/^0\\.\\d\\d \\/ 0\\.\\d\\d s$/.test({ages})")
    kernel.run(
        "import gc; from pairlab.local_exchange import Fault, LocalExchange\n"
        "gc.unfreeze()  # what the page has loaded is not collected again\n"
        "exchange = next(o for o in gc.get_objects() if type(o) is LocalExchange)\n"
        "exchange.inject(Fault('stall', stream='ethusdt@aggTrade', seconds=8.0))"
    )
    # Compared with each other: on a busy machine both are older than on a quiet one.
    both = f"(/^(\\d\\.\\d\\d) \\/ (\\d\\.\\d\\d) s$/.exec({ages}) ?? [0, 0, 0]).map(Number)"
    shows(page, f"{both}[2] > {both}[1] + 1")
    seen = page.evaluate(f"{both}[2]")
    shows(page, f"{both}[2] > arg", seen)
    row = told(kernel, "r = lab.latest(); told(y=r.y_age_s, x=r.x_age_s)")
    shows(page, f"/^0\\.\\d\\d \\/ 0\\.\\d\\d s$/.test({ages})")
    assert row["y"] + 0.5 < row["x"]
    page.keyboard.press("Escape")
    page.locator(".pairlab-feed-detail").wait_for(state="hidden")


@pytest.mark.parametrize(("chart", "column"), [("zscore", "zscore"), ("spread", "spread")])
def test_entries_and_exits_are_marked_where_they_were_decided(
    page: Any, kernel: Kernel, chart: str, column: str
) -> None:
    kernel.run("lab.settings.update(entry_z=0.8, exit_z=0.3, stop_z=1.5, min_correlation=0.9)")
    kernel.holds("len({a.kind for a in lab.alert_log.alerts()}) >= 3")
    kernel.run("lab.wait(lab.health().rows + 100, 60); still()")
    wanted = told(
        kernel,
        "start, end = screen.view.ends_ns()\n"
        "told(all=sorted([[a.kind.name, share(a.time_ns), float(getattr(a.at, "
        f"{column!r}))] for a in lab.alert_log.newest_first() if start < a.time_ns <= end], "
        "key=lambda w: w[1]))",
    )["all"]
    plot = page.locator(f".pairlab-{chart} .selectormouse").bounding_box()
    wanted = [w for w in wanted if 2 < w[1] * plot["width"] < plot["width"] - 6]
    assert len(wanted) > 3
    seen = until(page, MARKERS, lambda seen: len(seen) == len(wanted), [chart, column])
    assert sorted(k for k, _, _ in seen) == sorted(k for k, _, _ in wanted)
    if chart == "zscore":
        levels = page.evaluate(LEVELS)
        unit = (levels["exits"][1] - levels["exits"][0]) / 0.6
        heights = [levels["zero"] - value * unit for _, _, value in wanted]
    else:
        low, high = told(kernel, "told(ends=[scale.min, scale.max])")["ends"]
        heights = [plot["height"] * (high - value) / (high - low) for _, _, value in wanted]
    places = sorted((round(x), round(y)) for _, x, y in seen)
    right = sorted(
        (round(at * plot["width"]), round(y)) for (_, at, _), y in zip(wanted, heights, strict=True)
    )
    for (x, y), (x0, y0) in zip(places, right, strict=True):
        assert (x, y) == (pytest.approx(x0, abs=3), pytest.approx(y0, abs=3))


def test_the_window_is_told_in_seconds_and_the_edge_beside_the_cost(
    page: Any, kernel: Kernel
) -> None:
    field = "document.querySelector('.pairlab-latest .pairlab-field-{} dd').textContent"
    for fee in (4.0, 8.0):
        kernel.run(f"lab.settings.fee_bps = {fee}; screen.view.pause(False)")
        kernel.run("lab.wait(lab.health().rows + 5, 30); still()")
        row = told(
            kernel,
            "rows = screen.view.rows(); r = rows[-1]\n"
            "y, x, b = float(r['y']), float(r['x']), 25.0\n"
            "told(span=extent((int(r['time_ns']) - int(rows[-50]['time_ns'])) / 1e9), "
            "edge=abs(float(r['spread'] - r['spread_mean'])) / y * 1e4, "
            f"cost={fee} * 2 * (1 + b * x / y))",
        )
        shows(page, f"{field.format('span')} === arg", row["span"])
        edge, cost = (page.evaluate(field.format(name)) for name in ("edge", "cost"))
        assert edge.endswith(" bps")
        assert float(edge.removesuffix(" bps")) == pytest.approx(row["edge"], rel=0.02, abs=0.006)
        assert float(cost.removesuffix(" bps")) == pytest.approx(row["cost"], abs=0.06)


@pytest.mark.in_the_app
def test_a_gap_in_the_feed_is_a_gap_in_every_line(page: Any, kernel: Kernel) -> None:
    kernel.run("lab._pipeline.on_gap(None)")  # test_gap_wiring.py: the feed's own gaps get here
    kernel.run("lab.wait(lab.health().rows + 80, 30); still()")
    before, after = told(
        kernel,
        "from pairlab.schema import RowFlag\n"
        "rows = screen.view.rows(); flags = rows['flags']\n"
        "at = [n for n in range(len(rows)) if flags[n] & RowFlag.GAP_BEFORE][-1]\n"
        "told(ends=[share(int(rows[n]['time_ns'])) for n in (at - 1, at)])",
    )["ends"]
    breaks = f"""() => {{ {LOOK}
        return [['zscore', 'z'], ['spread', 'spread'], ['correlation', 'corr'], ['prices', 'y'],
                ['prices', 'x']].map(([chart, token]) => {{
            const parts = points(lines(chart, token, 'none').at(-1));
            return parts.slice(1).map(
                (part, n) => [parts[n].at(-1)[0] / width, part[0][0] / width]);
        }});
    }}"""
    until(
        page,
        breaks,
        lambda lines: all(
            any(pair == pytest.approx([before, after], abs=0.004) for pair in line)
            for line in lines
        ),
    )


def test_a_message_with_html_in_it_is_shown_as_text(page: Any, kernel: Kernel) -> None:
    attack = '<img src=x onerror="window.broken=1">'
    kernel.run(f"lab.log('error', {attack!r})")
    shows(page, "document.querySelector('.pairlab-event').innerText.includes(arg)", attack)
    hovers(page, ".pairlab-event-text", attack)
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.broken") is None


@pytest.mark.in_the_app
def test_what_opens_over_the_page_closes_by_escape_and_by_a_press_elsewhere(page: Any) -> None:
    opened = {
        ".pairlab-opener": ".pairlab-feed-detail",
        ".pairlab-button-more": ".pairlab-export-choices",
        ".pairlab-button-legend": ".pairlab-legend",
    }
    for button, panel in opened.items():
        page.locator(button).click()
        page.locator(panel).wait_for(state="visible")
        page.locator(f"{panel} h3").click()  # a press inside leaves it open
        page.locator(".pairlab-zscore h3").click()
        page.locator(panel).wait_for(state="hidden")
        page.locator(button).focus()
        page.keyboard.press("Enter")
        page.locator(panel).wait_for(state="visible")
        page.keyboard.press("Escape")
        page.locator(panel).wait_for(state="hidden")
        shows(page, "document.activeElement.matches(arg)", button)
    page.locator(".pairlab-zscore h3").click()
    page.keyboard.press("?")
    page.locator(".pairlab-legend").wait_for(state="visible")
    for words in ("half-life", "Engle-Granger", "DECOUPLED", "lag p50 / p99"):
        assert words in page.locator(".pairlab-legend").inner_text()
    page.keyboard.press("?")
    page.locator(".pairlab-legend").wait_for(state="hidden")


@pytest.mark.in_the_app
def test_the_number_in_the_head_and_at_the_lines_end_are_of_one_row(page: Any) -> None:
    """They are compared in the page, after every frame that it draws."""
    differ, seen = page.evaluate(
        """() => new Promise(done => {
            let differ = 0, seen = 0;
            const look = () => {
                const head = document.querySelector('.pairlab-hero')?.textContent;
                const end = [...document.querySelectorAll('.pairlab-zscore text.label')]
                    .map(e => e.textContent).find(t => /^[+−]\\d/.test(t));
                if (head && end) { seen += 1; differ += head !== end; }
                if (seen < 300) requestAnimationFrame(look); else done([differ, seen]);
            };
            look();
        })"""
    )
    assert seen == 300
    assert differ <= 3  # the browser may draw between two widgets' changes
