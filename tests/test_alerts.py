"""The alert log: what it counts is what it keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pairlab.alerts import Alert, AlertLog, SettingChange, Snapshot
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


def test_what_held_an_entry_back_is_not_rounded_to_its_limit():
    at = replace(
        Snapshot.of(np.zeros(1, ROW)[0]),
        correlation=0.69997, y_age_s=0.444, p_value=0.05004, zscore=-2.0, spread_std=7.99998,
        y=1e4,
    )  # fmt: skip
    values = Settings(max_leg_age_s=0.44, min_edge_bps=16.0).values()
    every = Filter.CORRELATION | Filter.LEG_AGE | Filter.STATIONARY | Filter.EDGE
    held = Alert(1, AlertKind.SUPPRESSED, 1, at, values, every, 0)
    assert held.reason == (
        "ρ 0.69997 < 0.70000 · leg 0.444 s ≥ 0.44 s · p 0.05004 > 0.05000 · 15.99996 bps < 16 bps"
    )
    assert replace(held, kind=AlertKind.DECOUPLED).reason == "ρ 0.69997 < 0.70000"
    strict = replace(held, thresholds={**values, "max_p_value": 0.0004}, failed=Filter.STATIONARY)
    assert strict.reason == "p 0.0500 > 0.0004"
