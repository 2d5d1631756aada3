"""Diagnostics of the Kalman hedge."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["kalman_warning"]


def kalman_warning(state: Any, half_life: float) -> str | None:
    """Return a warning if the Kalman hedge's memory is too short for the spread, else None.

    Parameters
    ----------
    state : STATE record
        With the exponential moments of the innovations (memory 10 × `half_life`).
    half_life : float
        The setting ``kalman_half_life``, observations.

    Returns
    -------
    str or None
        None also until twice the half-life has been seen.
    """
    if state["count"] < 2 * half_life:
        return None
    before = state["h_aa"] - state["h_a"] ** 2
    both = state["h_ab"] - state["h_a"] * state["h_b"]
    variance = state["h_bb"] - state["h_b"] ** 2
    if state["ols_count"] > 0 and variance < 0.1 * state["h_ols"]:
        return (
            f"kalman_half_life ({half_life:g}) is too short: the hedge adapts to the spread itself "
            "and leaves less than a tenth of its variance to trade; raise it"
        )
    if before > 0 and both > 0:
        slope = min(both / before, 1.0 - 1e-6)
        seen = -math.log(2.0) / math.log(slope)
        if seen > half_life / 3:
            return (
                f"spread half-life ({seen:.0f}) is too close to kalman_half_life ({half_life:g}): "
                f"the hedge adapts to the spread itself; raise kalman_half_life to "
                f"{3 * seen:.0f} or more"
            )
    return None
