"""Settings and controls are one: whoever moves, the other follows."""

from __future__ import annotations

import asyncio
import threading

import pytest
from ipywidgets import Text

from pairlab import PairLab
from pairlab.widgets import Controls
from tests.widgets.conftest import MakeLab, Wire, settled


@pytest.fixture
def controls() -> Controls:
    """Controls of a lab that does not run: callbacks act at once."""
    return Controls(PairLab(feed="demo"))


def repaint(controls: Controls) -> None:
    controls.screen.paint(due=True)


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
    setattr(controls.settings, name, value)
    repaint(controls)
    row = controls._rows[name]
    assert row.slider.value == pytest.approx(value)
    assert row.field.value == field
    assert getattr(controls.settings, name) == value  # nothing came back rounded


@pytest.mark.parametrize(
    ("typed", "value"), [("3.5", 3.5), (" 2.25 ", 2.25), ("1,000", None), ("−1", None), ("", None),
                         ("two", None), ("nan", None), ("1e400", None)],
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


def test_an_exit_beyond_the_entry_is_refused_and_both_stay(controls: Controls) -> None:
    row = controls._rows["exit_z"]
    row.slider.value = 2.5
    assert (controls.settings.entry_z, controls.settings.exit_z) == (2.0, 0.5)
    assert row.slider.value == 0.5
    assert row.field.value == "0.50"
    assert note(controls) == "exit_z = 2.5 is not possible: it must be below entry_z (2)"
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
    assert controls.settings.stop_z == 7.5  # where it was left lies within the entry
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


@pytest.mark.parametrize(
    ("ratio", "moved", "field", "code", "shown"),
    [
        (25.0, 24.525, "24.525", 24.53125, "24.53125"),
        (0.012, 0.013368, "0.013368", 0.0125, "0.0125"),
        (1.5e-6, 2.4e-6, "2.4e−6", 3e-9, "3e−9"),
        (-1.5e-6, -2.4e-6, "−2.4e−6", -0.5, "−0.500"),
    ],
)
def test_a_small_ratio_moves_by_the_slider_s_own_steps(
    ratio: float, moved: float, field: str, code: float, shown: str
) -> None:
    controls = Controls(PairLab("DOGEUSDT", "BTCUSDT", feed="demo", hedge_ratio=ratio))
    row = controls._rows["hedge_ratio"]
    assert row.slider.step <= abs(ratio) / 500
    row.slider.value = moved
    assert controls.settings.hedge_ratio == pytest.approx(moved, rel=1e-12)
    assert row.field.value == field
    controls.settings.hedge_ratio = code
    repaint(controls)
    assert row.slider.value == controls.settings.hedge_ratio == code
    assert row.field.value == shown
    assert row.slider.step <= abs(code)  # else the handle could not be moved near it
    row.field.value = field
    assert controls.settings.hedge_ratio == pytest.approx(moved, rel=1e-12)


def test_a_small_p_value_is_shown_as_it_is(controls: Controls) -> None:
    controls.settings.max_p_value = 0.0004
    repaint(controls)
    assert controls._p_field.value == "0.0004"
    controls._p_field.value = "1.5e-6"
    assert controls.settings.max_p_value == 1.5e-6
    assert controls._p_field.value == "1.5e−6"


@pytest.mark.parametrize(
    ("name", "wrong", "right", "other"),
    [
        ("entry_z", "abc", "2.5", ("exit_z", "0.75")),
        ("entry_z", "0.1", "2", ("exit_z", "0.75")),
        ("max_p_value", "7", "0.01", ("entry_z", "2.5")),
    ],
)
def test_a_refused_value_is_marked_until_that_field_is_edited_or_its_setting_changes(
    controls: Controls, name: str, wrong: str, right: str, other: tuple[str, str]
) -> None:
    def field_of(name: str) -> Text:
        return controls._p_field if name == "max_p_value" else controls._rows[name].field

    def marked() -> bool:
        repaint(controls)
        repaint(controls)
        return "pairlab-refused" in field_of(name)._dom_classes

    field = field_of(name)
    as_it_was = field.value
    field.value = wrong
    assert marked()
    assert field.value == as_it_was
    field_of(other[0]).value = other[1]  # another one's change is not its
    assert marked()
    field.value = right
    assert not marked()
    field.value = wrong
    assert marked()
    field.value = wrong
    assert marked()
    setattr(controls.settings, name, 0.9 if name == "max_p_value" else 3.25)
    assert not marked()


async def test_a_drag_is_never_sent_back_to_where_it_was(wire: Wire) -> None:
    lab = PairLab(feed="demo")
    controls = Controls(lab)
    lab.loop = asyncio.get_running_loop()
    slider = controls._rows["entry_z"].slider
    asked: list[float] = []
    lab.settings.observe(lambda change: asked.append(change.new), "entry_z")

    def sent() -> list[float]:
        states = [m["data"].get("state", {}) for m in wire.take() if m["id"] == slider.model_id]
        return [state["value"] for state in states if "value" in state]

    def paint_anew() -> None:
        controls._seen.pop("values", None)
        repaint(controls)

    wire.take()
    slider.set_state({"value": 2.5})
    slider.set_state({"value": 2.9})
    paint_anew()  # a frame between the messages' arrival and what they ask for
    await asyncio.sleep(0)
    paint_anew()
    slider.set_state({"value": 3.3})
    paint_anew()
    await asyncio.sleep(0)
    paint_anew()
    assert asked == [2.9, 3.3]
    # ipywidgets tells every page what one of them sent; nothing else may be sent.
    assert set(sent()) <= {2.5, 2.9, 3.3}
    assert slider.value == lab.settings.entry_z == 3.3
    # there and back in one pass of the loop
    slider.set_state({"value": 2.5})
    slider.set_state({"value": 3.3})
    await asyncio.sleep(0)
    paint_anew()
    assert slider.value == lab.settings.entry_z == 3.3
    # refused, it goes back; set in code, it follows
    slider.set_state({"value": 0.25})
    await asyncio.sleep(0)
    paint_anew()
    assert slider.value == lab.settings.entry_z == 3.3
    lab.settings.entry_z = 2.25
    repaint(controls)
    assert slider.value == 2.25
    lab.loop = None
    controls.screen.close()


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
        dashboard.screen.paint(due=True)
        dashboard.screen._rest()  # no frame comes in between
        controls._choices["hedge"][0].value = "ols"
        controls._rows["entry_z"].field.value = "2.5"
        costs["fee_bps"].value = "7"
        await lab.wait_async(lab.health().rows + 5, 30)  # the loop has turned
        asked = (lab.settings.hedge, lab.settings.entry_z, lab.settings.fee_bps)
        assert asked == ("ols", 2.5, 7.0)
        lab.settings.hedge, lab.settings.entry_z, lab.settings.fee_bps = "fixed", 2.0, 4.0
        dashboard.screen.paint(due=True)
        assert [w.value for w in controls._choices["hedge"]] == ["fixed", "fixed"]
        assert controls._rows["entry_z"].field.value == "2.00"
        assert costs["fee_bps"].value == "4"
