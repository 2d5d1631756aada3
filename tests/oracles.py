"""Slow and obviously right: what the engine's numbers are held against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairlab.schema import NS_PER_S, AlertKind

Floats = NDArray[np.float64]


def two_pass(y: Floats, x: Floats, *, window: int, hedge_ratio: float) -> dict[str, Floats]:
    """Return the fixed-ratio metrics, each window computed in two passes in long double.

    NaN where the window is not full, or where it holds one value only.
    """
    wide_y, wide_x = y.astype(np.longdouble), x.astype(np.longdouble)
    spread = wide_y - np.longdouble(hedge_ratio) * wide_x
    out = {name: np.full(len(y), np.nan) for name in ("mean", "std", "zscore", "correlation")}
    # What the kernel sees is the double: equal doubles are what "flat" means.
    double_spread = y - hedge_ratio * x
    for end in range(window, len(y) + 1):
        part = slice(end - window, end)
        s, a, b = spread[part], wide_y[part], wide_x[part]
        mean = s.mean()
        std = np.sqrt(((s - mean) ** 2).sum() / (window - 1))
        at = end - 1
        out["mean"][at] = mean
        if np.ptp(double_spread[part]) == 0:
            out["std"][at] = 0.0
        else:
            out["std"][at] = std
            out["zscore"][at] = (s[-1] - mean) / std
        if np.ptp(a) > 0 and np.ptp(b) > 0:
            a, b = a - a.mean(), b - b.mean()
            out["correlation"][at] = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    return {"spread": spread.astype(np.float64), **out}


def python_signals(
    rows: NDArray[Any], settings: dict[str, Any], suppressed_every_s: float = 10.0
) -> list[tuple[int, AlertKind, int]]:
    """Return (row, kind, side) of every alert that engine.md's table asks for, in plain Python."""
    entry, exit_, stop = settings.entry_z, settings.exit_z, settings.stop_z
    alerts: list[tuple[int, AlertKind, int]] = []
    position, locked_side, decoupled = 0, 0, False
    excursion = 0  # side of the excursion that was already reported as suppressed
    last_exit_ns = last_suppressed_ns = None
    for i, row in enumerate(rows):
        z, rho, now_ns = float(row["zscore"]), float(row["correlation"]), int(row["time_ns"])
        rho *= np.sign(row["hedge_ratio"])
        if z != z:
            continue
        sign = (z > 0) - (z < 0)
        inside = abs(z) <= exit_
        if locked_side and (inside or sign != locked_side):
            locked_side = 0
        if excursion and (inside or sign != excursion):
            excursion = 0
        if position:
            if stop is not None and z * -position >= stop:
                alerts.append((i, AlertKind.STOP, position))
                locked_side, position, last_exit_ns = -position, 0, now_ns
            elif z * position >= -exit_:
                alerts.append((i, AlertKind.EXIT, position))
                position, last_exit_ns = 0, now_ns
            elif rho < settings.min_correlation and not decoupled:
                alerts.append((i, AlertKind.DECOUPLED, position))
                decoupled = True
        elif abs(z) >= entry and not locked_side:
            old = max(float(row["y_age_s"]), float(row["x_age_s"])) >= settings.max_leg_age_s
            cooling = (
                last_exit_ns is not None and now_ns - last_exit_ns < settings.cooldown_s * NS_PER_S
            )
            unproven = settings.require_stationary and row["stationary"] != 1
            too_far = stop is not None and abs(z) >= stop
            if not rho >= settings.min_correlation or old or cooling or unproven or too_far:
                recent = (
                    last_suppressed_ns is not None
                    and now_ns - last_suppressed_ns < suppressed_every_s * NS_PER_S
                )
                if not excursion and not recent:
                    alerts.append((i, AlertKind.SUPPRESSED, -sign))
                    last_suppressed_ns = now_ns
                excursion = sign
            else:
                alerts.append((i, AlertKind.ENTRY, -sign))
                position, decoupled = -sign, False
    return alerts
