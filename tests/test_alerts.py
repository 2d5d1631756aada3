"""The alert log: what it counts is what it keeps."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairlab.alerts import Alert, SettingChange
from pairlab.data.alert_log import AlertLog
from pairlab.formatting import compared
from pairlab.schema import EVENT, ROW, AlertKind, Filter
from pairlab.settings import Settings

KINDS = st.sampled_from([*AlertKind, None])


@given(st.lists(KINDS, max_size=40), st.integers(1, 12))
def test_counts_and_newest_first_agree_with_what_is_kept(kinds, capacity):
    log, values, rows = AlertLog(capacity), Settings().values(), np.zeros(1, ROW)
    for kind in kinds:
        if kind is None:  # a setting's change takes its room in the log too
            log.changed(SettingChange(0, "window", 50, 60))
        else:
            event = np.zeros(1, EVENT)
            event["kind"], event["side"] = kind, 1
            log.add(event, rows, values)
    kept = [entry for entry in log if isinstance(entry, Alert)]
    assert [a.kind for a in kept] == [k for k in kinds[-capacity:] if k is not None]
    assert log.alerts() == kept
    assert list(log.newest_first()) == kept[::-1]
    assert [log.count(kind) for kind in AlertKind] == [
        sum(a.kind == kind for a in kept) for kind in AlertKind
    ]
    assert log.total == len(kinds)


@given(st.sampled_from(["correlation", "p_value", "y_age_s"]), st.floats(1e-7, 0.004))
def test_a_comparison_never_contradicts_itself(name, apart):
    """What is told of a filter that failed shows on which side the number is."""
    values = Settings(require_stationary=True).values()
    limit, failed = {
        "correlation": (values.min_correlation - apart, Filter.CORRELATION),
        "p_value": (values.max_p_value + apart, Filter.STATIONARY),
        "y_age_s": (values.max_leg_age_s + apart, Filter.LEG_AGE),
    }[name]
    rows, event = np.zeros(1, ROW), np.zeros(1, EVENT)
    rows[name] = limit
    event["kind"], event["side"], event["failed"] = AlertKind.SUPPRESSED, 1, failed
    log = AlertLog(10)
    log.add(event, rows, values)
    left, sign, right = re.search(
        r"([\d.]+) (?:s )?([<≥>]) ([\d.]+)", log.alerts()[0].reason
    ).groups()
    assert (float(left) < float(right)) == (sign == "<")
    assert float(left) != float(right)


@pytest.mark.parametrize(
    ("value", "limit", "decimals", "texts"),
    [
        (0.6, 0.7, 2, ("0.60", "0.70")),
        (0.6996, 0.7, 2, ("0.6996", "0.7000")),
        (0.00042, 0.0001, 3, ("0.00042", "0.00010")),
        (0.7, 0.7, 2, ("0.70", "0.70")),
        (float("nan"), 0.7, 2, ("–", "0.70")),
        (0.7 - 1e-12, 0.7, 2, ("0.70000000", "0.70000000")),
    ],
)
def test_a_comparison_shows_what_it_compares(value, limit, decimals, texts):
    assert compared(value, limit, decimals) == texts


def test_a_reason_with_small_numbers_does_not_read_as_false():
    log, rows, event = AlertLog(), np.zeros(1, ROW), np.zeros(1, EVENT)
    rows["y"], rows["x"], rows["hedge_ratio"] = 61_000.0, 2_440.0, 25.0
    rows["correlation"], rows["p_value"], rows["zscore"] = 0.6999, 0.00042, 2.5
    rows["spread_std"] = 0.0006  # an edge of 0.00025 bps
    event["kind"], event["side"] = AlertKind.SUPPRESSED, -1
    event["failed"] = Filter.CORRELATION | Filter.STATIONARY | Filter.EDGE
    values = Settings(max_p_value=0.0001, min_edge_bps=0.001).values()
    log.add(event, rows, values)
    (alert,) = log.alerts()
    assert alert.reason == ("ρ 0.6999 < 0.7000 · p 0.000420 > 0.000034 · 0.0002 bps < 0.001 bps")
    assert "edge     0.0002 bps" in alert.explain()
