"""Rules between settings that are valid one by one and impossible together."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from pairlab.errors import SettingError
from pairlab.schema import NS_PER_S, TIMEFRAMES_NS

__all__ = ["check_ratio", "check_together", "choice_of", "largest_z", "leg_age_limit_s"]


def choice_of(value: object, choices: Collection[str]) -> str:
    """Return the choice that a text means, in small letters or large.

    Raises
    ------
    ValueError
        If it is none. ``"5M"`` is none: the exchange writes months with a large letter.
    """
    if isinstance(value, str):
        if value in choices:
            return value
        small = value.strip().casefold()
        if small in choices and not (small[:1].isdigit() and "M" in value):
            return small
    raise ValueError


def leg_age_limit_s(v: Any) -> float:
    """Return the age from which a leg's last price holds entries back, seconds.

    ``max_leg_age_s``; at bar timeframes a price of the bar that closes is in time, however long
    the bar: the limit is then the bar's length where that is longer.
    """
    length_s = TIMEFRAMES_NS[v.timeframe] / NS_PER_S
    # A trade at the very begin of the bar is as old as the bar is long; ages are rounded.
    return float(max(v.max_leg_age_s, length_s * (1.0 + 1e-12)))


def largest_z(window: int) -> float:
    """Return the largest abs(z) that a window with its newest observation in it can have.

    (n − 1)/√n, where all but the newest are equal (Samuelson's inequality with ddof 1). The
    residual of a least-squares fit stays below it too; an innovation has no such bound.

    >>> round(largest_z(10), 4)
    2.846
    """
    return (window - 1) / math.sqrt(window)


def check_together(v: Any, changed: Collection[str], *, both_legs_a_row: bool = False) -> None:
    """Refuse values that contradict each other, and blame one that was asked for.

    Parameters
    ----------
    v : SettingValues
        As they would be.
    changed : collection of str
        The names that were asked for.
    both_legs_a_row : bool
        Each row is an observation of both legs at the tick timeframe, too.

    Raises
    ------
    SettingError
        Names the setting, its value and what the others allow.
    """
    entry, exit_, stop = v.entry_z, v.exit_z, v.stop_z
    if exit_ >= entry:
        if "exit_z" in changed and "entry_z" not in changed:
            raise SettingError("exit_z", exit_, f"it must be below entry_z ({entry:g})")
        raise SettingError("entry_z", entry, f"it must be above exit_z ({exit_:g})")
    if stop is not None and stop <= entry:
        if "entry_z" in changed and "stop_z" not in changed:
            raise SettingError("entry_z", entry, f"it must be below stop_z ({stop:g})")
        raise SettingError("stop_z", stop, f"it must be above entry_z ({entry:g})")
    if v.history_rows < v.window:
        raise SettingError(
            "history_rows", v.history_rows, f"it must hold a window ({v.window:,} rows)"
        )
    if v.hedge != "kalman":
        for name, z in (("entry_z", entry), ("stop_z", stop)):
            if z is not None and z > largest_z(v.window):
                _refuse_unreachable(v, name, z, changed)
    if v.correlation_of == "returns" and v.timeframe == "tick" and not both_legs_a_row:
        blamed = "correlation_of" if "correlation_of" in changed else "timeframe"
        if blamed not in changed:
            blamed = "correlation_of"
        raise SettingError(
            blamed,
            getattr(v, blamed),
            "the correlation of returns per tick is 0 whatever the legs do, as a tick moves one "
            "leg only (Epps effect); expected correlation_of='prices', or a timeframe of bars",
        )


def _refuse_unreachable(v: Any, name: str, z: float, changed: Collection[str]) -> None:
    """Refuse a threshold above all that z can be."""
    ceiling, root = largest_z(v.window), (z + math.sqrt(z * z + 4.0)) / 2.0
    least = math.ceil(root * root - 1e-9)
    what = "enter" if name == "entry_z" else "stop"
    bound = f"|z| is at most (n − 1)/√n = {math.floor(ceiling * 1e3) / 1e3:g}"
    if name not in changed and "window" in changed:
        raise SettingError(
            "window",
            v.window,
            f"with {v.window} rows {bound}, and {name} ({z:g}) would never {what}; expected "
            f"{least} or more",
        )
    if name not in changed and "hedge" in changed:
        raise SettingError(
            "hedge",
            v.hedge,
            f"with it and a window of {v.window} rows {bound}, and {name} ({z:g}) would never "
            f"{what}; expected a window of {least} or more",
        )
    raise SettingError(
        name,
        z,
        f"in a window of {v.window} rows {bound}, so that it would never {what}; expected that "
        f"or less, or a window of {least} or more (hedge='kalman' has no bound)",
    )


def check_ratio(v: Any, *, given: bool, default_fits: bool) -> None:
    """Refuse the default ratio for other prices than those that it belongs to.

    Parameters
    ----------
    v : SettingValues
        All values.
    given : bool
        Whether a ratio was given.
    default_fits : bool
        Whether the pair is the one that the default belongs to.

    Raises
    ------
    SettingError
        For the default elsewhere.
    """
    fits = default_fits and v.price_scale == "linear"
    if v.hedge == "fixed" and not given and not fits:
        raise SettingError(
            "hedge_ratio",
            v.hedge_ratio,
            "the default belongs to BTCUSDT/ETHUSDT in linear prices; "
            "give hedge_ratio, or hedge='ols' or 'kalman'",
        )
