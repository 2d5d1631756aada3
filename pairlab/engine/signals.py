"""Signal state machine: z-score and entry filters to position changes.

FLAT, LONG (bought y, sold β of x) or SHORT the spread; one transition a row. An excursion ends,
and a STOP's lock opens, when abs(z) <= exit_z or z changes sign. A position is stopped by its
z-score or by its age; the latter needs no z-score, and its STOP says so with `Filter.MAX_HOLD`.
"""

from __future__ import annotations

import math
from typing import Any

from pairlab.engine.jit import jit_internal
from pairlab.schema import AlertKind, Filter

__all__ = ["decide", "edge_bps", "failed_filters"]

_ENTRY = int(AlertKind.ENTRY)
_EXIT = int(AlertKind.EXIT)
_STOP = int(AlertKind.STOP)
_SUPPRESSED = int(AlertKind.SUPPRESSED)
_DECOUPLED = int(AlertKind.DECOUPLED)
_CORRELATION = int(Filter.CORRELATION)
_LEG_AGE = int(Filter.LEG_AGE)
_STATIONARY = int(Filter.STATIONARY)
_COOLDOWN = int(Filter.COOLDOWN)
_EDGE = int(Filter.EDGE)
_STOP_Z = int(Filter.STOP_Z)
_MAX_HOLD = int(Filter.MAX_HOLD)


@jit_internal
def edge_bps(p: Any, row: Any) -> float:
    """Return the expected edge of reverting to the mean, as `pairlab.costs.edge_bps` does."""
    distance: float = abs(row.zscore) * row.spread_std
    return distance * 1e4 if p.log_prices != 0 else distance / row.y * 1e4


@jit_internal
def hedged_correlation(row: Any) -> float:
    """Return the correlation of y with β·x, as `Snapshot.hedged_correlation` does."""
    rho: float = row.correlation
    return -rho if row.hedge_ratio < 0.0 else rho


@jit_internal
def failed_filters(s: Any, p: Any, row: Any) -> int:
    """Return the bits of the entry filters that this row fails; NaN fails."""
    failed = 0
    if not hedged_correlation(row) >= p.min_correlation:
        failed |= _CORRELATION
    if not (row.y_age_s < p.leg_age_limit_s and row.x_age_s < p.leg_age_limit_s):
        failed |= _LEG_AGE
    if p.require_stationary != 0 and not row.p_value <= p.largest_p:
        failed |= _STATIONARY
    if s.has_exited != 0 and row.time_ns - s.exited_ns < p.cooldown_ns:
        failed |= _COOLDOWN
    if p.min_edge_bps > 0.0 and not p.min_edge_bps <= edge_bps(p, row) < math.inf:
        failed |= _EDGE
    if abs(row.zscore) >= p.stop_z:
        failed |= _STOP_Z
    return failed


@jit_internal
def decide(s: Any, p: Any, row: Any, event: Any) -> int:
    """Advance the signal state machine by one row: at most one transition.

    Parameters
    ----------
    s, p
        State, of which the signal fields change, and parameters. Its position is the row's.
    row : ROW record, or anything else with the fields that are read
        What was observed; nothing is written to it.
    event : EVENT record
        Where the transition is written (all but ``row``), if there is one.

    Returns
    -------
    int
        1 if there was an event, else 0.
    """
    z = row.zscore
    if p.signals_paused != 0:
        return 0
    if math.isnan(z):
        if s.position != 0 and row.time_ns - s.entered_ns >= p.max_hold_ns:
            return _stop_by_time(s, row, event)
        return 0
    within = abs(z) <= p.exit_z
    side = 1 if z > 0.0 else -1
    if within or side != s.lock:
        s.lock = 0
    if within or side != s.excursion:
        s.excursion = 0

    side_held = s.position
    if side_held != 0:
        kind = 0
        if side_held * z >= -p.exit_z:
            kind = _EXIT
        elif side_held * z <= -p.stop_z:
            kind = _STOP
            s.lock = side
        elif row.time_ns - s.entered_ns >= p.max_hold_ns:
            return _stop_by_time(s, row, event)
        elif hedged_correlation(row) < p.min_correlation and s.decoupled == 0:
            s.decoupled = 1
            return _write(event, _DECOUPLED, side_held, 0, 0)
        if kind == 0:
            return 0
        s.position = 0
        s.has_exited = 1
        s.exited_ns = row.time_ns
        return _write(event, kind, side_held, 0, 0)

    if abs(z) < p.entry_z or s.lock != 0:
        return 0
    wanted = -side
    failed = failed_filters(s, p, row)
    if failed == 0:
        s.position = wanted
        s.entered_ns = row.time_ns
        s.decoupled = 0
        return _write(event, _ENTRY, wanted, 0, 0)
    if s.excursion != 0:
        return 0
    s.excursion = side
    if s.has_suppressed != 0 and row.time_ns - s.suppressed_ns < p.suppressed_every_ns:
        s.suppressed_unshown += 1
        return 0
    unshown = s.suppressed_unshown
    s.suppressed_unshown = 0
    s.has_suppressed = 1
    s.suppressed_ns = row.time_ns
    return _write(event, _SUPPRESSED, wanted, failed, unshown)


@jit_internal
def _stop_by_time(s: Any, row: Any, event: Any) -> int:
    """Leave a position that was held for as long as it may be; return 1."""
    side_held = s.position
    # z is where it was entered from, as a change of sign would have been an EXIT: an excursion
    # that goes on must not be entered again on the next row.
    s.lock = -side_held
    s.position = 0
    s.has_exited = 1
    s.exited_ns = row.time_ns
    return _write(event, _STOP, side_held, _MAX_HOLD, 0)


@jit_internal
def _write(event: Any, kind: int, side: int, failed: int, unshown: int) -> int:
    """Write an event; return 1, the number of events."""
    event.kind = kind
    event.side = side
    event.failed = failed
    event.withheld = unshown
    return 1
