"""The alert log: what it counts is what it keeps."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pairlab.alerts import Alert, AlertLog, SettingChange
from pairlab.settings import Settings
from pairlab.ticks import EVENT, ROW, AlertKind, Filter

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
    values = {**Settings().values(), "require_stationary": True}
    limit, failed = {
        "correlation": (values["min_correlation"] - apart, Filter.CORRELATION),
        "p_value": (values["max_p_value"] + apart, Filter.STATIONARY),
        "y_age_s": (values["max_leg_age_s"] + apart, Filter.LEG_AGE),
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
