"""What a notebook and a terminal show of labs, settings, health and alerts."""

from __future__ import annotations

import io
import re

import pandas as pd

from pairlab import PairEngine, PairLab, Settings
from pairlab.data.alert_log import AlertLog
from pairlab.settings import SETTINGS
from tests.engine import worlds


def test_settings_name_what_was_changed() -> None:
    settings = Settings()
    assert repr(settings) == "Settings()"
    settings.update(entry_z=2.5, stop_z=4.0)
    assert repr(settings) == "Settings(entry_z=2.5, stop_z=4.0)"
    table = pd.read_html(io.StringIO(settings._repr_html_()))[0].set_index("setting")
    assert list(table.index) == list(SETTINGS)
    assert table.loc["entry_z", "value"] == "2.5 (changed)"
    assert table.loc["exit_z", "value"] == "0.5"
    assert table.loc["entry_z", "allowed"] == SETTINGS["entry_z"].allowed
    assert settings._repr_html_().count("font-weight:bold") == 2 * 5  # two rows of five cells


def test_a_lab_and_its_health_fit_a_line() -> None:
    lab = PairLab(feed="demo")
    assert repr(lab) == "<PairLab BTCUSDT/ETHUSDT: SIMULATED stopped, tick, no row yet>"
    health = lab.health()
    assert repr(health) == (
        "<Health: SIMULATED stopped, not started; 0 ticks, 0 rows, 0.0 ticks/s>"
    )
    table = pd.read_html(io.StringIO(health._repr_html_()))[0].set_index(0)[1]
    assert table["feed"] == "SIMULATED"
    assert table["lag_ms"] == "–"
    assert "nan" not in health._repr_html_()


def test_an_alert_says_what_happened_and_its_table_every_number() -> None:
    engine = PairEngine(hedge_ratio=25.0, entry_z=1.0)
    log = AlertLog()
    rows = engine.update(worlds.trades(3, 2_000))
    log.add(engine.events, rows, engine.values)
    alert = next(log.newest_first())
    assert re.fullmatch(rf"<Alert {alert.number} at \S+: .*\.>", repr(alert))
    assert alert.sentence in repr(alert)
    table = pd.read_html(io.StringIO(alert._repr_html_()))[0].set_index(0)[1]
    for line in alert.explain().split("\n")[1:]:
        name, text = line.strip().split("  ", 1) if "  " in line.strip() else line.split(None, 1)
        assert table[name.strip()].strip() == text.strip()
