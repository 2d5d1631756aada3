"""Why the signal waits: the entry filters of a row, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pairlab.alerts import Snapshot
from pairlab.costs import edge_bps
from pairlab.ticks import NS_PER_S
from pairlab.widgets.formats import age, duration, number, p_value

__all__ = ["entry_filters"]


def entry_filters(
    row: Snapshot, values: Mapping[str, Any], left_ns: int | None
) -> list[tuple[bool, str]]:
    """Return whether a row passes each filter that is on, and the comparison that decides.

    Parameters
    ----------
    row : Snapshot
        Of a full window.
    values : mapping
        Every setting.
    left_ns : int or None
        Row time of the last EXIT or STOP.

    Returns
    -------
    list of (bool, str)
        In the order of `pairlab.ticks.Filter`; what is not a number does not pass.
    """
    v = values
    passed = row.correlation >= v["min_correlation"]
    found = [
        (
            passed,
            f"ρ {number(row.correlation)} {'≥' if passed else '<'} {number(v['min_correlation'])}",
        )
    ]
    passed = max(row.y_age_s, row.x_age_s) < v["max_leg_age_s"]
    oldest = max(row.y_age_s, row.x_age_s)
    found.append((passed, f"leg {age(oldest)} s {'<' if passed else '≥'} {v['max_leg_age_s']:g} s"))
    if v["require_stationary"]:
        passed = row.p_value <= v["max_p_value"]
        sign = "≤" if passed else ">"
        found.append((passed, f"p {p_value(row.p_value)} {sign} {number(v['max_p_value'], 3)}"))
    if v["cooldown_s"] > 0 and left_ns is not None:
        since_s = (row.time_ns - left_ns) / NS_PER_S
        passed = since_s >= v["cooldown_s"]
        sign = "≥" if passed else "<"
        found.append((passed, f"out for {duration(since_s)} {sign} {v['cooldown_s']:g} s"))
    least = v["min_edge_bps"]
    if least is not None:
        edge = edge_bps(row, v["price_scale"])
        passed = edge >= least
        found.append((passed, f"edge {number(edge)} {'≥' if passed else '<'} {least:g} bps"))
    return found
