"""Every setting is changed by hand and in code, and shown both times, in every front end."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.browser.conftest import Kernel, Place
from tests.browser.hands import dragged, handle, setting, shows

ROWS = {
    # At which share of the track the mouse leaves the handle; the track's ends; the field's words.
    "hedge_ratio": (0.6, (0.0, 50.0), "{:.3f}"),
    "window": (0.5, (1.0, math.log10(5000)), "{:.0f}"),
    "entry_z": (0.5, (0.0, 6.0), "{:.2f}"),
    "exit_z": (0.2, (0.0, 6.0), "{:.2f}"),
    "stop_z": (0.9, (0.0, 6.0), "{:.2f}"),
    "min_correlation": (0.5, (0.0, 1.0), "{:.2f}"),
}
IN_THE_APP = pytest.mark.in_the_app  # one more of a kind that is asked in JupyterLab already
LINEAR = ("exit_z", "stop_z", "min_correlation", "max_p_value", "fee_bps")
PIXEL = 0.012  # of a track's length
FIELDS = {
    # A field's place, what is typed, what is set then, what is set in code, what is shown then.
    "hedge_ratio": (".pairlab-row-hedge_ratio .pairlab-field", "24.5", 24.5, 26.0, "26.000"),
    "window": (".pairlab-row-window .pairlab-field", "60", 60, 1234, "1,234"),
    "entry_z": (".pairlab-row-entry_z .pairlab-field", "1.75", 1.75, 2.25, "2.25"),
    "exit_z": (".pairlab-row-exit_z .pairlab-field", "0.75", 0.75, 0.0, "0.00"),
    "stop_z": (".pairlab-row-stop_z .pairlab-field", "4.5", 4.5, 5.125, "5.125"),
    "min_correlation": (".pairlab-row-min_correlation .pairlab-field", "-0.5", -0.5, 0.9, "0.90"),
    "max_p_value": (".pairlab-row-require .pairlab-field", "0.01", 0.01, 0.1, "0.100"),
    "max_hold_s": (".pairlab-settings .pairlab-cost", "90", 90.0, None, "off"),
    "fee_bps": (".pairlab-signal .pairlab-cost:nth-of-type(2)", "5", 5.0, 2.5, "2.5"),
    "min_edge_bps": (".pairlab-signal .pairlab-cost:nth-of-type(3)", "3", 3.0, None, "off"),
}
EACH_ROW, EACH_FIELD = (
    [pytest.param(name, marks=[IN_THE_APP] * (name in LINEAR)) for name in names]
    for names in (ROWS, FIELDS)
)
TIMEFRAMES = ("1s", "5s", "1m", "5m", "15m", "1h", "tick")
HEDGES = {"OLS": "ols", "Kalman": "kalman", "fixed": "fixed"}
PAIR = "document.querySelector('.pairlab-cell-pair .pairlab-two').textContent"


@pytest.fixture
def page(place: Place) -> Any:
    return place.page


@pytest.fixture
def kernel(place: Place) -> Any:
    with place.kernel() as kernel:
        yield kernel


def row_shows(page: Any, name: str, value: float) -> None:
    """Wait until field and handle of a row both stand on a setting's value."""
    _, (low, high), words = ROWS[name]
    field = f".pairlab-row-{name} .pairlab-field input"
    text = next(t for t in (words.format(value), f"{value:g}") if float(t) == pytest.approx(value))
    shows(page, f"document.querySelector({field!r}).value === arg", text)
    at = math.log10(value) if name == "window" else value
    share = pytest.approx((at - low) / (high - low), abs=PIXEL)
    for _ in range(200):
        if handle(page, name)[2] == share:
            return
        page.wait_for_timeout(50)
    assert handle(page, name)[2] == share


@pytest.mark.parametrize("name", EACH_ROW)
def test_a_slider_is_worked_by_mouse_and_keys_and_follows_its_setting(
    page: Any, kernel: Kernel, name: str
) -> None:
    share, (low, high), _ = ROWS[name]
    if name == "stop_z":
        kernel.run("lab.settings.stop_z = 4.0")
        row_shows(page, name, 4.0)
    first = setting(kernel, name)
    row_shows(page, name, first)

    ends = [low + (share + off) * (high - low) for off in (-PIXEL, PIXEL)]
    least, most = (10**end for end in ends) if name == "window" else ends
    moved = dragged(page, kernel, name, share)
    assert least <= moved <= most
    row_shows(page, name, moved)

    page.locator(f".pairlab-row-{name} .noUi-handle").press("ArrowRight")
    kernel.holds(f"lab.settings.{name} > {moved}")
    stepped = setting(kernel, name)
    assert stepped == pytest.approx(moved, rel=0.03)
    row_shows(page, name, stepped)

    kernel.run(f"lab.settings.{name} = {first}")
    row_shows(page, name, first)


@pytest.mark.parametrize("name", EACH_FIELD)
def test_a_field_sets_and_follows(page: Any, kernel: Kernel, name: str) -> None:
    css, typed, asked, coded, shown = FIELDS[name]
    if name == "stop_z":
        kernel.run("lab.settings.stop_z = 4.0")
        row_shows(page, name, 4.0)
    field = page.locator(f"{css} input").first
    field.fill(typed)
    field.press("Enter")
    kernel.holds(f"lab.settings.{name} == {asked}")
    kernel.run(f"lab.settings.{name} = {coded}")
    page.wait_for_function(
        "([field, text]) => field.value === text", arg=[field.element_handle(), shown]
    )


def test_every_setting_on_the_screen_is_worked_here() -> None:
    from pairlab.settings import SETTINGS

    unseen = {"price_scale", "correlation_of", "max_leg_age_s", "adf_lags", "kalman_half_life",
              "cooldown_s", "history_rows", "ticks_held"}  # fmt: skip
    others = {"timeframe", "hedge", "require_stationary"}  # segments and a box, below
    assert {*FIELDS, *others} == {*SETTINGS} - unseen


def test_the_least_edge_is_turned_off_by_a_word(page: Any, kernel: Kernel) -> None:
    kernel.run("lab.settings.min_edge_bps = 7.5")
    field = page.get_by_label("min edge")
    page.wait_for_function("field => field.value === '7.5'", arg=field.element_handle())
    field.fill("off")
    field.press("Enter")
    kernel.holds("lab.settings.min_edge_bps is None")


@pytest.mark.parametrize(
    ("css", "name", "off", "on"),
    [
        (".pairlab-slot", "stop_z", None, 4.5),
        (".pairlab-require", "require_stationary", False, True),
    ],
)
def test_a_box_is_ticked_here_and_there(
    page: Any, kernel: Kernel, css: str, name: str, off: object, on: object
) -> None:
    selector = f"{css} input[type=checkbox]"
    ticked = f"document.querySelector({selector!r}).checked"
    setting = f"lab.settings.{name}"
    shows(page, f"!{ticked}")
    page.locator(selector).click()
    kernel.holds(f"{setting} != {off}")
    kernel.run(f"{setting} = {off}")
    shows(page, f"!{ticked}")
    kernel.run(f"{setting} = {on}")
    shows(page, ticked)
    page.locator(selector).click()
    kernel.holds(f"{setting} == {off}")
    shows(page, f"!{ticked}")


def test_segments_choose_and_follow(page: Any, kernel: Kernel) -> None:
    active = "[...document.querySelectorAll('.pairlab-settings .pairlab-segments .mod-active')]"
    shows(page, f"{active}.map(b => b.innerText).join() === 'tick,fixed'")
    for timeframe in TIMEFRAMES:
        page.locator(f".pairlab-segments button:text-is('{timeframe}')").click()
        kernel.holds(f"lab.settings.timeframe == {timeframe!r}")
        shows(page, f"{active}[0].innerText === arg && {PAIR}.startsWith(arg + ' ·')", timeframe)
    for word, hedge in HEDGES.items():
        page.locator(f".pairlab-segments button:text-is('{word}')").click()
        kernel.holds(f"lab.settings.hedge == {hedge!r}")
        shows(page, f"{active}[1].innerText === arg && {PAIR}.includes(` ${{arg}} β`)", word)
        # There is a ratio to set only where it is fixed.
        fixed = "!document.querySelector('.pairlab-row-hedge_ratio input').disabled"
        shows(page, f"{fixed} === arg", hedge == "fixed")
    kernel.run("lab.settings.update(timeframe='5s', hedge='kalman')")
    shows(page, f"{active}.map(b => b.innerText).join() === '5s,Kalman'")


def test_menus_choose_and_follow_where_it_is_narrow(page: Any, kernel: Kernel) -> None:
    page.set_viewport_size({"width": 980, "height": 800})
    menus = page.locator(".pairlab-menu select")
    menus.first.wait_for()
    page.locator(".pairlab-settings .pairlab-segments").first.wait_for(state="hidden")
    values = "[...document.querySelectorAll('.pairlab-menu select')].map(s => s.value).join()"
    shows(page, f"{values} === 'tick,fixed'")
    for timeframe in TIMEFRAMES:
        menus.nth(0).select_option(label=timeframe)
        kernel.holds(f"lab.settings.timeframe == {timeframe!r}")
        shows(page, f"{PAIR}.startsWith(arg + ' ·')", timeframe)
    for word, hedge in HEDGES.items():
        menus.nth(1).select_option(label=word)
        kernel.holds(f"lab.settings.hedge == {hedge!r}")
        shows(page, f"{PAIR}.includes(` ${{arg}} β`)", word)
    kernel.run("lab.settings.update(timeframe='1m', hedge='ols')")
    shows(page, f"{values} === '1m,OLS'")


def test_a_changed_threshold_decides_the_next_entry_and_is_in_the_log(
    page: Any, kernel: Kernel
) -> None:
    field = page.locator(".pairlab-row-entry_z .pairlab-field input")
    field.fill("1.1")
    field.press("Enter")
    log = "[a.at.zscore for a in lab.alert_log.alerts() if a.kind == 1"
    log += " and a.thresholds['entry_z'] == 1.1]"
    kernel.holds(log)
    assert "True" in kernel.run(f"print(all(abs(z) >= 1.1 for z in {log}))")
    assert "entry_z" in kernel.run("print(lab.alerts().query('kind == \"SETTING\"').setting)")


def test_a_contradiction_is_refused_in_words_and_both_keep_their_values(
    page: Any, kernel: Kernel
) -> None:
    field = page.locator(".pairlab-row-exit_z .pairlab-field input")
    field.fill("2.5")
    field.press("Enter")
    shows(page, "document.querySelector('.pairlab-event').innerText.includes('below entry_z')")
    shows(
        page, "document.querySelector('.pairlab-row-exit_z .pairlab-field input').value === '0.50'"
    )
    assert kernel.run("print(lab.settings.exit_z, lab.settings.entry_z)") == "0.5 2.0"


def test_what_a_browser_says_back_late_or_rounded_changes_no_setting(
    page: Any, kernel: Kernel
) -> None:
    # A slider has steps of 0.01, and says 0.5 as 0.49999999999999994.
    for value in (0.875, 1.125, 0.5, 2.005):
        kernel.run(f"lab.settings.entry_z = {value}; lab.settings.exit_z = {value / 8}")
        row_shows(page, "entry_z", value)
        kernel.run("lab.wait(lab.health().rows + 20, 30)")
        assert setting(kernel, "entry_z") == value
        assert setting(kernel, "exit_z") == value / 8
    # While a cell runs, what the page says waits behind it.
    kernel.run(
        "lab.settings.entry_z = 0.5; lab.wait(lab.health().rows + 10, 30); "
        "lab.settings.entry_z = 2.0; lab.wait(lab.health().rows + 10, 30)"
    )
    row_shows(page, "entry_z", 2.0)
    kernel.run("lab.wait(lab.health().rows + 20, 30)")
    assert setting(kernel, "entry_z") == 2.0


def test_a_page_that_hung_changes_no_setting_when_it_wakes(page: Any, kernel: Kernel) -> None:
    kernel.run("lab.settings.entry_z = 2.0")
    row_shows(page, "entry_z", 2.0)
    page.evaluate(
        """() => void setTimeout(() => {
            for (const end = performance.now() + 4000; performance.now() < end;);
        })"""
    )
    for value in (0.875, 5.5):  # on waking it shows one after the other, and rounds the first
        kernel.run(f"lab.settings.entry_z = {value}; lab.dashboard().render_loop.paint(due=True)")
    row_shows(page, "entry_z", 5.5)
    kernel.run("lab.wait(lab.health().rows + 20, 30)")
    row_shows(page, "entry_z", 5.5)
    set_to = kernel.run("print(*lab.alerts().query('setting == \"entry_z\"').new.tail(2))")
    assert set_to == "0.875 5.5"


@pytest.mark.parametrize(
    ("name", "far"),
    [("entry_z", 6.5), pytest.param("stop_z", 6.75, marks=IN_THE_APP),
     pytest.param("min_correlation", -0.5, marks=IN_THE_APP), ("window", 20_000),
     ("hedge_ratio", -900.0)],
)  # fmt: skip
def test_a_setting_beyond_its_slider_stays_as_it_was_set(
    page: Any, kernel: Kernel, name: str, far: float
) -> None:
    first = kernel.run(f"print(lab.settings.{name})")
    kernel.run(f"lab.settings.{name} = {far}")
    words = f"{far:,.0f}" if name == "window" else ROWS[name][2].format(far).replace("-", "−")
    field = f".pairlab-row-{name} .pairlab-field input"
    shows(page, f"document.querySelector({field!r}).value === arg", words)
    kernel.run("lab.wait(lab.health().rows + 20, 30)")  # what the browser says of it comes late
    assert setting(kernel, name) == far
    kernel.run(f"lab.settings.{name} = {first}")
