"""Whether the Kalman hedge leaves a spread to be traded."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["kalman_warning"]


def kalman_warning(state: Any, half_life: float) -> str | None:
    """Say what is wrong with the Kalman hedge's memory, or None.

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
            f"kalman_half_life = {half_life:g} is so short that the hedge follows the spread "
            "itself: what is left to trade has less than a tenth of its variance; raise it"
        )
    if before > 0 and both > 0:
        slope = min(both / before, 1.0 - 1e-6)
        seen = -math.log(2.0) / math.log(slope)
        if seen > half_life / 3:
            return (
                f"what the hedge leaves takes {seen:.0f} observations to halve, too long beside "
                f"kalman_half_life = {half_life:g}: the hedge eats it; raise the setting to "
                f"{3 * seen:.0f} or more"
            )
    return None
