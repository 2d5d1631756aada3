"""The entry filters of a row in words: why the signal waits."""

from __future__ import annotations

from pairlab.costs import edge_bps
from pairlab.formatting import compared, decimals_apart
from pairlab.limits.consistency import leg_age_limit_s
from pairlab.limits.stationarity import largest_p
from pairlab.schema import NS_PER_S, Snapshot
from pairlab.settings import SettingValues
from pairlab.widgets.style.formats import duration, exact, number, p_value

__all__ = ["entry_filters", "p_words"]


def entry_filters(
    row: Snapshot, values: SettingValues, left_ns: int | None
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
        In the order of `pairlab.schema.Filter`; what is not a number does not pass.
    """
    v = values
    rho, name = row.hedged_correlation, "−ρ" if row.hedge_ratio < 0 else "ρ"
    passed = rho >= v.min_correlation
    found = [(passed, _words(name, rho, "≥" if passed else "<", v.min_correlation))]
    oldest, limit = max(row.y_age_s, row.x_age_s), leg_age_limit_s(v)
    passed = oldest < limit
    decimals = decimals_apart(oldest, limit, 2 if oldest < 9.995 else 0)
    found.append((passed, f"leg {number(oldest, decimals)} s {'<' if passed else '≥'} {limit:g} s"))
    if v.require_stationary:
        most = largest_p(v)
        passed = row.p_value <= most
        found.append((passed, p_words(row.p_value, "≤" if passed else ">", most)))
    if v.cooldown_s > 0 and left_ns is not None:
        since_s = (row.time_ns - left_ns) / NS_PER_S
        least = v.cooldown_s
        passed = since_s >= least
        out = duration(since_s)
        if since_s < 60:  # which may be told as a minute
            out = f"{number(since_s, decimals_apart(since_s, least, 1))} s"
        found.append((passed, f"out for {out} {'≥' if passed else '<'} {least:g} s"))
    least_bps = v.min_edge_bps
    if least_bps is not None:
        edge = edge_bps(row, v.price_scale)
        passed = edge >= least_bps
        shown = number(edge, decimals_apart(edge, least_bps))
        found.append((passed, f"edge {shown} {'≥' if passed else '<'} {least_bps:g} bps"))
    if v.stop_z is not None:
        z = abs(row.zscore)
        passed = z < v.stop_z
        found.append((passed, _words("|z|", z, "<" if passed else "≥", v.stop_z) + " stop"))
    return found


def p_words(value: float, sign: str, limit: float) -> str:
    """Return the comparison of a p-value, which below 0.001 is only said to be so."""
    shown, most = compared(value, limit, 3)
    return f"p {p_value(value) if value < 0.001 < limit else shown} {sign} {most}"


def _words(name: str, value: float, sign: str, limit: float, decimals: int = 2) -> str:
    decimals = decimals_apart(value, limit, decimals)
    return f"{name} {number(value, decimals)} {sign} {exact(limit, decimals)}"
