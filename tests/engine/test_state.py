"""Parameters are the settings under their own names; pairs are records of one array."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from pairlab.engine.state import NEVER_NS, PARAMS, fill_params
from pairlab.settings import SETTINGS, Settings, SettingValues

SWITCHES = {"signals_paused", "keep_bars"}
OWN_NAME = [name for name in PARAMS.names if name in SETTINGS and name != "hedge"]


def filled(values):
    params = np.zeros(1, PARAMS)
    fill_params(params, values)
    return params[0]


def test_settings_are_copied_under_their_own_names():
    values = Settings(
        window=77, hedge_ratio=3.5, entry_z=2.5, exit_z=0.25, stop_z=6.0, min_correlation=0.1,
        max_leg_age_s=7.0, require_stationary=True, adf_lags=0, min_edge_bps=2.0,
    ).values()  # fmt: skip
    params = filled(values)
    assert len(OWN_NAME) >= 9
    for name in OWN_NAME:
        assert params[name] == getattr(values, name), name
        assert getattr(values, name) != SETTINGS[name].default, name


def test_every_parameter_is_written_and_no_switch_is():
    params = np.zeros(1, PARAMS)
    for name in PARAMS.names:
        params[name] = 99
    fill_params(params, replace(SettingValues(), stop_z=None, min_edge_bps=None))
    assert {name for name in PARAMS.names if params[0][name] == 99} == SWITCHES
    assert params[0]["stop_z"] == math.inf
    assert params[0]["max_hold_ns"] == NEVER_NS
    assert filled(SettingValues(max_hold_s=0.0))["max_hold_ns"] == NEVER_NS
    assert filled(SettingValues(max_hold_s=1.5))["max_hold_ns"] == 1_500_000_000
    assert params[0]["min_edge_bps"] == 0.0


@pytest.mark.parametrize("count", [1, 3])
def test_records_of_many_pairs_are_filled_alike(count):
    params = np.zeros(count, PARAMS)
    fill_params(params, SettingValues(window=60))
    assert (params == filled(SettingValues(window=60))).all()


def test_every_setting_that_defines_a_metric_changes_a_parameter():
    changed = {
        "timeframe": "1m", "window": 60, "hedge": "ols", "hedge_ratio": 3.0, "price_scale": "log",
        "correlation_of": "returns", "adf_lags": 0, "kalman_half_life": 77.0,
    }  # fmt: skip
    assert set(changed) == {n for n, spec in SETTINGS.items() if spec.defines_metric}
    assert {f.name for f in fields(SettingValues)} == set(SETTINGS)
    plain = filled(SettingValues())
    for name, value in changed.items():
        assert filled(replace(SettingValues(), **{name: value})) != plain, name
