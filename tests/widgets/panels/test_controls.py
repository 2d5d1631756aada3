"""Settings and controls are one: whoever moves, the other follows."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pairlab import PairLab
from pairlab.widgets import Controls
from tests.widgets.conftest import MakeLab, settled


@pytest.fixture
def controls() -> Controls:
    """Controls of a lab that does not run: callbacks act at once."""
    return Controls(PairLab(feed="demo"))


def repaint(controls: Controls) -> None:
    controls.render_loop.paint(due=True)


def note(controls: Controls) -> str:
    return controls._lab.event_log[-1].message


@pytest.mark.parametrize(
    ("name", "moved", "setting", "field"),
    [
        ("entry_z", 2.75, 2.75, "2.75"),
        ("exit_z", 1.25, 1.25, "1.25"),
        ("min_correlation", 0.8, 0.8, "0.80"),
        ("window", 240.3, 240, "240"),
        ("hedge_ratio", 24.5, 24.5, "24.500"),
    ],
)
def test_a_slider_moves_its_setting_and_field(
    controls: Controls, name: str, moved: float, setting: float, field: str
) -> None:
    row = controls._rows[name]
    row.slider.value = moved
    assert getattr(controls.settings, name) == setting
    assert row.field.value == field


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("entry_z", 3.0, "3.00"),
        ("exit_z", 0.123, "0.123"),
        ("window", 12_000, "12,000"),
        ("hedge_ratio", 900.0, "900.000"),
        ("hedge_ratio", -2.5, "−2.500"),
        ("min_correlation", -0.25, "−0.25"),
        ("entry_z", 15.0, "15.00"),
    ],
)
def test_a_setting_moves_its_slider_even_beyond_the_usual_range(
    controls: Controls, name: str, value: float, field: str
) -> None:
    controls.settings.window = 300  # 50 rows have no z of 15
    setattr(controls.settings, name, value)
    repaint(controls)
    row = controls._rows[name]
    assert row.slider.value == pytest.approx(value)
    assert row.field.value == field
    assert getattr(controls.settings, name) == value  # nothing came back rounded


def test_a_page_s_late_word_of_what_it_was_shown_changes_nothing_but_a_hand_s_does(
    controls: Controls,
) -> None:
    row = controls._rows["entry_z"]
    for value in (1.205, 3.0, 2.5):
        controls.settings.entry_z = value
        repaint(controls)
    for late in (2.0, 1.2, 1.2, 2.9999999999999996):  # of two pages, one of which just opened
        row.slider.value = late
        assert controls.settings.entry_z == 2.5
        repaint(controls)
        assert row.slider.value == 2.5
    controls.render_loop.channel.widget._handle_custom_msg({"page": "a", "hand": "exit_z"}, [])
    row.slider.value = 3.0
    assert controls.settings.entry_z == 2.5
    controls.render_loop.channel.widget._handle_custom_msg({"page": "a", "hand": "entry_z"}, [])
    row.slider.value = 3.0
    assert controls.settings.entry_z == 3.0


@pytest.mark.parametrize(
    ("typed", "value"), [("3.5", 3.5), (" 2.25 ", 2.25), ("1,000", None), ("−1", None), ("", None),
                         ("two", None), ("nan", None), ("1e400", None), ("2,75", 2.75),
                         ("1,5e0", 1.5), ("3_5", None), ("1,250", None), ("1e-400", None)],
)  # fmt: skip
def test_a_field_takes_numbers_and_refuses_the_rest(
    controls: Controls, typed: str, value: float | None
) -> None:
    row = controls._rows["entry_z"]
    row.field.value = typed
    assert controls.settings.entry_z == (2.0 if value is None else value)
    assert row.field.value == ("2.00" if value is None else f"{value:.2f}")
    assert ("pairlab-refused" in row.field._dom_classes) == (value is None)
    if value is None:
        assert note(controls).startswith("entry_z = ")


def test_a_decimal_comma_is_understood_and_a_doubtful_one_refused_beside_the_field(
    controls: Controls,
) -> None:
    ratio, window, p = controls._rows["hedge_ratio"], controls._rows["window"], controls._p_field
    ratio.field.value = "24,5"
    assert (controls.settings.hedge_ratio, ratio.field.value) == (24.5, "24.500")
    p.value = "0,01"
    assert (controls.settings.max_p_value, p.value) == (0.01, "0.010")
    window.field.value = "1,000"  # as the screen writes it
    assert controls.settings.window == 1000
    usual = ratio.field.tooltip
    ratio.field.value = "24,871"
    assert (controls.settings.hedge_ratio, ratio.field.value) == (24.5, "24.500")
    assert note(controls).startswith(
        "hedge_ratio = '24,871' is invalid: it can be read as 24.871 or as 24871"
    )
    assert "pairlab-refused" in ratio.field._dom_classes
    assert note(controls) in ratio.field.tooltip
    window.field.value = "2.000"
    assert (controls.settings.window, window.field.value) == (1000, "1,000")
    assert "2000" in note(controls)
    p.value = "0,0500"
    assert controls.settings.max_p_value == 0.05
    ratio.field.value = "24.871"
    assert controls.settings.hedge_ratio == 24.871
    assert ratio.field.tooltip == usual


def test_an_exit_beyond_the_entry_is_refused_and_both_stay(controls: Controls) -> None:
    row = controls._rows["exit_z"]
    row.slider.value = 2.5
    assert (controls.settings.entry_z, controls.settings.exit_z) == (2.0, 0.5)
    assert row.slider.value == 0.5
    assert row.field.value == "0.50"
    assert note(controls) == "exit_z = 2.5 is invalid: it must be below entry_z (2)"
    before = len(controls._lab.event_log)
    row.slider.value = 2.5
    assert len(controls._lab.event_log) == before  # a drag does not flood the log
    row.slider.value = 0.75
    assert "pairlab-refused" not in row.field._dom_classes


def test_the_stop_has_a_switch(controls: Controls) -> None:
    row = controls._rows["stop_z"]
    assert row.field.value == "off"
    assert row.slider.disabled
    controls._stop_on.value = True
    assert controls.settings.stop_z == 4.0
    assert not row.slider.disabled
    row.slider.value = 5.0
    controls._stop_on.value = False
    assert controls.settings.stop_z is None
    controls.settings.entry_z = 5.5
    controls._stop_on.value = True
    assert controls.settings.stop_z == 6.92  # 7.5, but that |z| is 6.93 at most in 50 rows
    controls._stop_on.value = False
    controls.settings.window = 100
    controls._stop_on.value = True
    assert controls.settings.stop_z == 6.92
    controls._stop_on.value = False
    controls.settings.entry_z = 7.0
    controls._stop_on.value = True
    assert controls.settings.stop_z == 9.0  # where it was left lies within the entry
    controls.settings.stop_z = None
    repaint(controls)
    assert controls._stop_on.value is False


def test_segments_and_menu_show_the_same_choice(controls: Controls) -> None:
    segments, menu = controls._choices["timeframe"]
    segments.value = "1m"
    assert controls.settings.timeframe == "1m"
    assert menu.value == "1m"
    controls.settings.timeframe = "5s"
    repaint(controls)
    assert segments.value == menu.value == "5s"
    controls._choices["hedge"][1].value = "kalman"
    assert controls.settings.hedge == "kalman"
    repaint(controls)
    assert controls._rows["hedge_ratio"].slider.disabled


def test_a_choice_that_is_refused_goes_back() -> None:
    controls = Controls(PairLab("SOLUSDT", "ETHUSDT", feed="demo", hedge="ols"))
    segments, menu = controls._choices["hedge"]
    segments.value = "fixed"  # this pair has no ratio of its own
    assert controls.settings.hedge == "ols"
    assert segments.value == menu.value == "ols"
    assert "hedge_ratio" in note(controls)


def test_stationarity_can_be_required_at_a_level(controls: Controls) -> None:
    controls._require.value = True
    assert controls.settings.require_stationary is True
    controls._p_field.value = "0.01"
    assert controls.settings.max_p_value == 0.01
    controls._p_field.value = "2"
    assert controls.settings.max_p_value == 0.01
    assert controls._p_field.value == "0.010"


def test_every_control_is_described_for_those_who_cannot_see_it(controls: Controls) -> None:
    for row in controls._rows.values():
        assert row.slider.description
        assert "Allowed" in row.slider.tooltip
        assert row.field.tooltip
    for widget in (controls._stop_on, controls._require, *controls._choices["hedge"]):
        assert widget.description


async def test_messages_from_other_threads_act_on_the_labs_loop(running_lab: MakeLab) -> None:
    async with running_lab(rows=50) as lab:
        controls = lab.dashboard().parts["settings"]
        seen: list[object] = []
        lab.settings.observe(lambda _: seen.append(asyncio.get_running_loop()), "entry_z")
        slider = controls._rows["entry_z"].slider
        thread = threading.Thread(target=lambda: setattr(slider, "value", 3.25))
        thread.start()
        await settled(lambda: lab.settings.entry_z == 3.25, lab)
        thread.join()
        assert seen == [asyncio.get_running_loop()]
        lab.settings.entry_z = 2.5
        await settled(lambda: slider.value == 2.5, lab)


async def test_a_choice_that_code_takes_back_before_the_next_frame_is_taken_back_on_the_screen(
    running_lab: MakeLab,
) -> None:
    async with running_lab() as lab:
        dashboard = lab.dashboard()
        controls, costs = dashboard.parts["settings"], dashboard.parts["signal"]._fields
        dashboard.render_loop.paint(due=True)
        dashboard.render_loop._stop_clock()  # no frame comes in between
        controls._choices["hedge"][0].value = "ols"
        controls._rows["entry_z"].field.value = "2.5"
        costs["fee_bps"].value = "7"
        await lab.wait_async(lab.health().rows + 5, 30)  # the loop has turned
        asked = (lab.settings.hedge, lab.settings.entry_z, lab.settings.fee_bps)
        assert asked == ("ols", 2.5, 7.0)
        lab.settings.hedge, lab.settings.entry_z, lab.settings.fee_bps = "fixed", 2.0, 4.0
        dashboard.render_loop.paint(due=True)
        assert [w.value for w in controls._choices["hedge"]] == ["fixed", "fixed"]
        assert controls._rows["entry_z"].field.value == "2.00"
        assert costs["fee_bps"].value == "4"


@pytest.mark.parametrize(("ratio", "moved"), [(1.5e-6, 2.4e-6), (0.012, 0.01337), (3e-9, 4.5e-9)])
def test_a_small_ratio_is_moved_and_shown_as_it_is(ratio: float, moved: float) -> None:
    lab = PairLab("DOGEUSDT", "BTCUSDT", feed="demo", hedge_ratio=ratio)
    row = Controls(lab)._rows["hedge_ratio"]
    assert float(row.field.value.replace("−", "-")) == ratio
    row.slider.value = moved
    assert lab.settings.hedge_ratio == pytest.approx(moved, rel=1e-3)
    assert float(row.field.value.replace("−", "-")) == lab.settings.hedge_ratio
    row.field.value = "0.0000000625"
    assert lab.settings.hedge_ratio == 6.25e-8
    assert row.slider.value == pytest.approx(6.25e-8)
    lab.settings.max_p_value = 0.0004
    controls = Controls(lab)
    repaint(controls)
    assert controls._p_field.value == "0.0004"


@pytest.mark.parametrize(
    ("ratio", "field"), [(0.0125, "0.0125"), (1.5e-6, "1.5e−6"), (-3e-9, "−3e−9"), (2e-14, "2e−14")]
)
def test_a_ratio_set_in_code_below_the_slider_s_step_can_be_moved_from_there(
    controls: Controls, ratio: float, field: str
) -> None:
    row = controls._rows["hedge_ratio"]
    assert row.slider.step > abs(ratio)
    controls.settings.hedge_ratio = ratio
    repaint(controls)
    assert row.slider.value == controls.settings.hedge_ratio == ratio
    assert row.field.value == field
    assert abs(ratio) / 2000 < row.slider.step < abs(ratio) / 500
    row.slider.value = ratio + row.slider.step
    assert controls.settings.hedge_ratio == pytest.approx(
        ratio + row.slider.step, abs=abs(ratio) / 1000
    )
    assert controls.settings.hedge_ratio != ratio
    row.field.value = field
    assert controls.settings.hedge_ratio == ratio


def test_a_refused_p_value_is_marked_until_the_next_one(controls: Controls) -> None:
    field = controls._p_field

    def marked() -> bool:
        repaint(controls)
        repaint(controls)
        return "pairlab-refused" in field._dom_classes

    for wrong in ("7", "many"):
        field.value = wrong
        assert marked()
        assert field.value == "0.050"
        assert note(controls).startswith("max_p_value = ")
    controls._rows["entry_z"].field.value = "2.5"  # another one's change is not its
    assert marked()
    field.value = "1.5e-6"
    assert not marked()
    assert controls.settings.max_p_value == 1.5e-6
    assert field.value == "1.5e−6"
    field.value = "0"
    assert marked()
    controls.settings.max_p_value = 0.1
    assert not marked()


def test_the_mark_of_a_refused_value_stands_until_the_next_one(controls: Controls) -> None:
    entry, other = controls._rows["entry_z"], controls._rows["min_correlation"]

    def marked() -> bool:
        repaint(controls)
        return "pairlab-refused" in entry.field._dom_classes

    entry.field.value = "99"
    assert marked()
    other.slider.value = 0.8  # something else is changed
    assert controls.settings.min_correlation == 0.8
    assert marked()
    entry.field.value = "3"
    assert not marked()
    entry.field.value = "abc"
    assert marked()
    controls.settings.entry_z = 2.5  # in code
    assert not marked()


async def test_a_handle_under_a_finger_does_not_jump_back(running_lab: MakeLab) -> None:
    async with running_lab(rows=60) as lab:
        controls = lab.dashboard().parts["settings"]
        slider, shown = controls._rows["entry_z"].slider, []
        slider.observe(lambda change: shown.append(change["new"]), "value")
        moves = [2.1 + 0.1 * n for n in range(8)]
        for n, moved in enumerate(moves):
            slider.value = moved  # as the front end's message does, before the loop turns
            if n % 2:
                repaint(controls)  # a frame in between
        assert lab.settings.entry_z == 2.0
        await settled(lambda: lab.settings.entry_z == pytest.approx(moves[-1]), lab)
        repaint(controls)
        assert shown == moves
        lab.settings.entry_z = 2.25  # and in code it still follows
        repaint(controls)
        assert slider.value == 2.25


def test_a_computed_threshold_is_shown_rounded_and_kept_whole(
    controls: Controls,
) -> None:
    row, settings = controls._rows["stop_z"], controls.settings
    settings.stop_z = 10 / 3
    repaint(controls)
    assert row.field.value == "3.333"
    row._on_field("3.333")  # Enter in the untouched field
    assert settings.stop_z == 10 / 3
    settings.stop_z = 3.25
    repaint(controls)
    assert row.field.value == "3.25"
