"""Why the signal waits: the entry filters of a row, in words that the numbers bear out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pairlab.alerts import Snapshot, compared
from pairlab.costs import edge_bps
from pairlab.ticks import NS_PER_S
from pairlab.widgets.formats import duration, p_value, signed

if TYPE_CHECKING:
    from pairlab.lab import PairLab

__all__ = ["entry_filters", "newest_ns", "p_compared", "signed_beside"]


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
    rho, least = compared(row.correlation, v["min_correlation"])
    found = [(passed, f"ρ {rho} {'≥' if passed else '<'} {least}")]
    oldest, most = max(row.y_age_s, row.x_age_s), v["max_leg_age_s"]
    passed = oldest < most
    shown, _ = compared(oldest, most, 2 if oldest < 9.995 else 0)
    found.append((passed, f"leg {shown} s {'<' if passed else '≥'} {most:g} s"))
    if v["require_stationary"]:
        found.append((row.p_value <= v["max_p_value"], p_compared(row.p_value, v["max_p_value"])))
    if v["cooldown_s"] > 0 and left_ns is not None:
        since_s, most = (row.time_ns - left_ns) / NS_PER_S, v["cooldown_s"]
        passed = since_s >= most
        shown = f"{compared(since_s, most, 1)[0]} s" if since_s < 60 else duration(since_s)
        found.append((passed, f"out for {shown} {'≥' if passed else '<'} {most:g} s"))
    least_bps = v["min_edge_bps"]
    if least_bps is not None:
        edge = edge_bps(row, v["price_scale"])
        passed = edge >= least_bps
        shown, _ = compared(edge, least_bps)
        found.append((passed, f"edge {shown} {'≥' if passed else '<'} {least_bps:g} bps"))
    return found


def p_compared(p: float, most: float) -> str:
    """Return a p-value against the largest that counts as stationary.

    >>> p_compared(0.0331, 0.05), p_compared(0.0504, 0.05), p_compared(0.0000001, 0.05)
    ('p 0.033 ≤ 0.050', 'p 0.0504 > 0.0500', 'p <0.001 ≤ 0.050')
    """
    shown, limit = compared(p, most, 3)
    if p < 0.001 <= most:
        shown = p_value(p)
    return f"p {shown} {'≤' if p <= most else '>'} {limit}"


def signed_beside(value: float, limit: float) -> str:
    """Return a number with its sign, and with the decimals that tell it apart from a limit."""
    return signed(value, len(compared(value, limit)[0].partition(".")[2]))


def newest_ns(lab: PairLab, row: Snapshot) -> int:
    """Return when a row is of, ns since 1970: the time of a bar that forms is its close to come."""
    return lab.newest_ns if row.provisional else row.time_ns
