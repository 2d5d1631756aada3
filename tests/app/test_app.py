"""Queries of a page: valid ones are applied, no other breaks the page or costs memory."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from voila.paths import collect_template_paths

from pairlab.app.app import AppOptions, dashboard_for_page, lab_for_page
from pairlab.app.voila_config import prepare_page, voila_settings


def lab_for(query: str, **options: object) -> object:
    environ = AppOptions(**options).to_environment()  # type: ignore[arg-type]
    return lab_for_page({**environ, "QUERY_STRING": query})


def test_pair_and_settings_come_from_the_query() -> None:
    lab = lab_for("y=SOLUSDT&x=ETHUSDT&window=100&hedge=kalman&require_stationary=true&stop_z=off")
    assert lab.pair == ("SOLUSDT", "ETHUSDT")
    assert lab.settings.window == 100
    assert lab.settings.hedge == "kalman"
    assert lab.settings.require_stationary is True
    assert lab.settings.stop_z is None
    assert not lab.event_log


def test_a_query_s_numbers_are_read_as_a_field_s() -> None:
    lab = lab_for("entry_z=2,5&window=1,000&fee_bps=1_0&exit_z=1,000")
    values = lab.settings.values()
    assert (values.entry_z, values.window, values.fee_bps, values.exit_z) == (2.5, 1000, 4.0, 0.5)
    assert sorted(entry.message.split(" =")[0] for entry in lab.event_log) == [
        "page address: exit_z", "page address: fee_bps",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        ("window=inf", "window"), ("window=1e999", "window"), ("window=-1", "window"),
        ("window=%3Cscript%3E", "window"), ("exit_z=3", "exit_z"),
        ("price_scale=log", "hedge_ratio"), ("stop_z=1", "stop_z"),
        ("stop_z=1.5&entry_z=1.6", "stop_z"), ("entry_z=3&exit_z=2.5&stop_z=2.7", "stop_z"),
        ("y=BTCUSDT&x=BTCUSDT", "y = x"), ("hedge=rm&timeframe=2m", "hedge,timeframe"),
        ("&&&=&=1", "there is no setting ''"), ("y=" + "A" * 10_000, "hedge_ratio"),
        ("history_rows=49999999&ticks_held=99999999", "history_rows,ticks_held"),
        ("y=%00&x=%ff%fe", "y = "),
    ],
)  # fmt: skip
def test_no_query_breaks_the_page(query: str, refused: str) -> None:
    lab = lab_for(f"fee_bps=7&{query}")
    assert lab.settings.fee_bps == 7.0  # what is fine applies, whatever stands beside it
    told = [entry.message for entry in lab.event_log]
    assert told
    for name in refused.split(","):
        assert any(message.startswith(f"page address: {name}") for message in told)
    values = lab.settings.values()
    assert values.history_rows == 100_000
    assert values.ticks_held == 1_000_000
    assert values.exit_z < values.entry_z
    assert all(len(symbol) <= 40 for symbol in lab.pair)


def test_what_is_rejected_is_reported() -> None:
    lab = lab_for("window=5&entry_z=2.5")
    assert lab.settings.values().entry_z == 2.5
    assert [entry.message for entry in lab.event_log] == [
        "page address: window = 5.0 is invalid: expected a whole number from 10 to 50,000"
    ]


@pytest.mark.parametrize(
    ("query", "applied", "rejected"),
    [
        ("exit_z=2.2&entry_z=3&window=5", {"exit_z": 2.2, "entry_z": 3.0}, ["window"]),
        ("entry_z=3&exit_z=2.5&stop_z=2.7", {"entry_z": 3.0, "exit_z": 2.5}, ["stop_z"]),
        ("stop_z=1.5&entry_z=1.6", {"entry_z": 1.6, "stop_z": None}, ["stop_z"]),
        ("price_scale=log&window=80", {"hedge": "ols", "window": 80}, ["hedge_ratio"]),
        ("price_scale=log&hedge_ratio=1.5", {"hedge": "fixed", "hedge_ratio": 1.5}, []),
        ("y=SOLUSDT&hedge_ratio=0.06", {"hedge": "fixed", "hedge_ratio": 0.06}, []),
        ("y=SOLUSDT&hedge=fixed", {"hedge": "ols"}, ["hedge_ratio"]),
        ("y=SOLUSDT&price_scale=log&exit_z=9", {"hedge": "ols"}, ["exit_z", "hedge_ratio"]),
    ],
)
def test_what_fits_is_applied_and_the_rest_is_reported(
    query: str, applied: dict[str, object], rejected: list[str]
) -> None:
    lab = lab_for(query)
    assert {name: getattr(lab.settings, name) for name in applied} == applied
    named = [entry.message.split()[2] for entry in lab.event_log]
    assert sorted(named) == sorted(rejected)


def test_a_pair_of_one_symbol_costs_nothing_else() -> None:
    lab = lab_for("y=BTCUSDT&x=BTCUSDT&window=100&entry_z=2.5")
    assert lab.pair == ("BTCUSDT", "ETHUSDT")
    assert (lab.settings.window, lab.settings.entry_z) == (100, 2.5)
    [entry] = lab.event_log
    assert "y = x = 'BTCUSDT': the legs of a pair must be two different" in entry.message


@pytest.mark.parametrize(
    ("query", "pair", "theme"),
    [
        ("", "BTCUSDT / ETHUSDT", "dark"),
        ("y=SOLUSDT&theme=light", "SOLUSDT / ETHUSDT", "light"),
        ("y=SOLUSDT&x=SOLUSDT&theme=%22%3E", "BTCUSDT / ETHUSDT", "dark"),
    ],
)
def test_the_title_is_the_pair_shown(query: str, pair: str, theme: str) -> None:
    request = SimpleNamespace(query=query)
    page = SimpleNamespace(metadata={})
    prepare_page(SimpleNamespace(request=request, xsrf_token=b""), page, "")
    assert page.metadata == {"title": f"{pair} · pairlab", "voila": {"theme": theme}}
    assert " / ".join(lab_for(query).pair) == pair


def test_an_unknown_parameter_is_reported_with_the_closest_name() -> None:
    lab = lab_for("windw=100&exit_z=0.25&ticks_held=99&" + "&".join(f"a{i}=1" for i in range(9)))
    assert lab.settings.exit_z == 0.25
    told = [entry.message for entry in lab.event_log]
    assert len(told) == 3
    assert "'windw'" in told[0]
    assert "did you mean 'window'" in told[0]
    assert "ticks_held cannot be set by a query" in told[1]
    assert not lab_for("token=secret&voila-theme=light").event_log


def test_a_query_of_too_many_parameters_is_ignored_and_reported() -> None:
    [entry] = lab_for("window=100&" + "&".join(f"a{i}=1" for i in range(50))).event_log
    assert entry.message == "page address: more than 50 query parameters; all are ignored"


def test_a_missing_hedge_ratio_is_estimated_and_reported() -> None:
    lab = lab_for("y=SOLUSDT&x=ETHUSDT")
    assert lab.settings.hedge == "ols"
    [entry] = lab.event_log
    assert entry.message.startswith("page address: hedge_ratio = 25.0")
    assert entry.message.endswith("; using hedge = 'ols' instead")


def test_only_what_contradicts_the_commands_settings_is_ignored() -> None:
    lab = lab_for("exit_z=5&window=77&fee_bps=1", settings={"entry_z": 4.0})
    assert lab.settings.entry_z == 4.0
    assert lab.settings.exit_z == 0.5
    assert (lab.settings.window, lab.settings.fee_bps) == (77, 1.0)
    [entry] = lab.event_log
    assert entry.message.endswith("it must be below entry_z (4); exit_z is ignored")


def test_layout_and_theme_come_from_the_query_or_are_rejected() -> None:
    lab = lab_for("")
    wide = dashboard_for_page(lab, {"QUERY_STRING": "layout=wide&theme=light"})
    assert wide is lab.dashboard("wide", "light")
    usual = dashboard_for_page(lab, {"QUERY_STRING": "layout=%3Cb%3E&theme=%22%3E"})
    assert usual is lab.dashboard()
    told = [entry.message for entry in lab.event_log]
    assert [message.split(" is invalid")[0] for message in told] == [
        "page address: layout = '<b>'", "page address: theme = '\">'",
    ]  # fmt: skip
    usual.render_loop.close()


def test_voila_finds_the_app_s_page_in_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", "/somewhere")
    asked = voila_settings()["VoilaConfiguration"]
    assert os.environ["JUPYTER_PATH"].endswith(f"{os.pathsep}/somewhere")
    voila_settings()
    assert os.environ["JUPYTER_PATH"].count("template") == 1
    found = collect_template_paths(["voila", "nbconvert"], asked["template"], prune=True)
    assert (Path(found[0]) / "index.html.j2").is_file()
    assert asked["allow_template_override"] == "NO"
    assert asked["allow_theme_override"] != "YES"


async def test_what_is_loaded_is_not_collected_again_once_the_page_runs() -> None:
    """A full collection of the libraries' objects stops the loop for 0.15 s."""
    lab = lab_for("y=BTCUSDT", feed="demo")
    dashboard = dashboard_for_page(lab, {})
    try:
        assert gc.get_freeze_count() == 0
        async with lab:
            await lab.wait_async(1, 60.0)
            assert gc.get_freeze_count() > 50_000
            frozen = gc.get_freeze_count()
            await lab.wait_async(len(lab.rows) + 10, 60.0)
            assert gc.get_freeze_count() <= frozen  # once
    finally:
        gc.unfreeze()
        dashboard.close()
