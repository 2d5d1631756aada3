"""Diagnostics of the Kalman hedge."""

from __future__ import annotations

import math
from typing import Any

from pairlab.engine.state import LEGS_MEMORY, LEGS_STRIDE

__all__ = ["kalman_warning", "spread_half_life"]

_BIAS = 6.0
"""What a least-squares fit of n rows makes γ too low by, times n: Kendall's bias for the constant,
and as much again as the fitted hedge takes (simulated: 4 to 7 from 1,000 to 40,000 rows)."""

_ROWS_PER_HALF_LIFE = 4
"""A half-life longer than this part of the rows cannot be told from them."""


def spread_half_life(state: Any, half_life: float) -> tuple[float, bool]:
    """Return the half-life of the spread before the filter, and whether it is a lower bound.

    The spread is what least squares leave of y over `LEGS_MEMORY` observations or ten times the
    filter's memory, whichever is more; γ is corrected for its bias.

    Parameters
    ----------
    state : STATE record
        With the exponential moments of the legs that `hedge.add_legs` keeps.
    half_life : float
        The setting ``kalman_half_life``, observations.

    Returns
    -------
    tuple[float, bool]
        In observations, 0 where it is shorter than the stride; NaN where the legs did not move.
    """
    u, v, d, g = (float(state[name]) for name in ("f_u", "f_v", "f_d", "f_g"))
    vv, uv, uu = state["f_vv"] - v * v, state["f_uv"] - u * v, state["f_uu"] - u * u
    slope = uv / vv if vv > 0 else 0.0
    variance = uu - slope * uv
    if not variance > 0:
        return math.nan, False
    step = (state["f_ud"] - u * d) - slope * (state["f_ug"] - u * g)
    step -= slope * ((state["f_vd"] - v * d) - slope * (state["f_vg"] - v * g))
    # One in LEGS_STRIDE observations was taken: γ is of as many steps.
    memory = max(LEGS_MEMORY, 10.0 * half_life / math.log(2.0)) / LEGS_STRIDE
    taken = min(float(state["f_count"]) - 1.0, 2.0 * memory)
    longest = LEGS_STRIDE * taken / _ROWS_PER_HALF_LIFE
    gamma = step / variance + _BIAS / taken
    if not -1.0 < gamma < 0.0:
        return (longest, True) if gamma >= 0.0 else (0.0, False)
    seen = -LEGS_STRIDE * math.log(2.0) / math.log1p(gamma)
    return (longest, True) if seen > longest else (seen, False)


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
        None also until twice the half-life has been seen since hedge and noise were learnt.
    """
    if state["kalman_learnt"] < 2 * half_life:
        return None
    before = state["h_aa"] - state["h_a"] ** 2
    both = state["h_ab"] - state["h_a"] * state["h_b"]
    variance = state["h_bb"] - state["h_b"] ** 2
    # What the filter leaves reverts faster than the spread: it tells that the memory is too short,
    # never how short.
    half_life_before, bound = spread_half_life(state, half_life)
    if state["ols_count"] > 0 and variance < 0.1 * state["h_ols"]:
        least = _advised(half_life_before, half_life)
        return (
            f"kalman_half_life ({half_life:g}) is too short: the hedge adapts to the spread itself "
            f"and leaves less than a tenth of its variance to trade; raise it to {least} or more"
        )
    if before > 0 and both > 0:
        slope = min(both / before, 1.0 - 1e-6)
        seen = -math.log(2.0) / math.log(slope)
        if seen > half_life / 3:
            if not seen <= half_life_before:
                half_life_before, bound = seen, False
            return (
                f"spread half-life ({'at least ' if bound else ''}{math.ceil(half_life_before):,}) "
                f"is too close to kalman_half_life ({half_life:g}): the hedge adapts to the spread "
                f"itself; raise kalman_half_life to {_advised(half_life_before, half_life)} or more"
            )
    return None


def _advised(spread: float, half_life: float) -> str:
    """Return three half-lives of the spread, rounded up, and more than what is set."""
    least = math.floor(half_life) + 1
    return f"{max(math.ceil(3.0 * spread), least) if math.isfinite(spread) else least:,}"
