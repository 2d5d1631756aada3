"""Which silences of past prices were quiet, and which were not seen: nights, weekends, holes."""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.engine.state import EMPTY_BARS_MAX
from pairlab.errors import SettingError
from pairlab.research.prices import quantile_of
from pairlab.schema import NS_PER_S

__all__ = ["Habit", "MaxSilence", "bars_of_two", "habit_of", "limit_of", "seen", "silences"]

MaxSilence: TypeAlias = str | dt.timedelta | np.timedelta64 | None

_Times: TypeAlias = NDArray[np.int64]

_BAR_NS: Final = 60 * NS_PER_S
"""Prices that come this regularly, or less often, are bars: one that is not there was not seen.
What comes more often is trades, or made of them, and may be quiet."""

_BARS: Final = 5
_TRADES: Final = 10
_LEAST_SILENCE_NS: Final = 300 * NS_PER_S
NEVER: Final = 2**62


class Habit(NamedTuple):
    """How often prices of a leg come.

    Attributes
    ----------
    usual_ns : int
        A price stands for this long: the step of bars, for trades what 99 of 100 steps are within.
    limit_ns : int
        No price for longer than this was not seen.
    is_bars : bool
        Whether prices come at regular steps of a minute or more.
    """

    usual_ns: int
    limit_ns: int
    is_bars: bool


def limit_of(max_silence: MaxSilence) -> int | None:
    """Return the longest silence that is quiet, ns; None: as is usual for the data.

    Raises
    ------
    SettingError
        For what is no length of time.
    """
    if max_silence is None:
        return NEVER
    if isinstance(max_silence, str) and max_silence == "auto":
        return None
    try:
        given = max_silence if isinstance(max_silence, str | dt.timedelta | np.timedelta64) else ""
        limit_ns = int(pd.Timedelta(given).as_unit("ns").value)
    except (ValueError, TypeError, OverflowError):
        limit_ns = 0
    if limit_ns <= 0:  # NaT, too
        raise SettingError(
            "max_silence", max_silence, "expected 'auto', None or a time such as '10min'"
        )
    return limit_ns


def habit_of(steps: _Times, limit_ns: int | None) -> Habit:
    """Return how often prices come that lie these steps apart, and what silence is too long."""
    if len(steps) and steps.min() <= 0:
        steps = steps[steps > 0]
    if len(steps) < 2:
        return Habit(NEVER, NEVER if limit_ns is None else limit_ns, is_bars=False)
    usual = quantile_of(steps, 0.5)
    is_bars = usual >= _BAR_NS and 2 * int(np.count_nonzero(steps == usual)) >= len(steps)
    own = _BARS * usual
    if not is_bars:
        usual = quantile_of(steps, 0.99, "higher")
        own = max(_TRADES * usual, _LEAST_SILENCE_NS)
    limit = own if limit_ns is None else limit_ns
    return Habit(min(usual, limit), limit, is_bars)


def silences(times: _Times, habit: Habit) -> tuple[_Times, _Times]:
    """Return the prices before and after each silence that was not seen: indices into `times`."""
    if habit.limit_ns == NEVER:
        none = np.zeros(0, np.int64)
        return none, none
    before = np.flatnonzero(np.diff(times) > habit.limit_ns)
    return before, before + 1


def seen(at: _Times, times: _Times, habit: Habit) -> NDArray[np.bool_]:
    """Return at which of some times the last price was known."""
    before, after = silences(times, habit)
    number = np.searchsorted(times[after], at, side="right")  # of the first silence not over
    if not len(before):
        return np.ones(len(at), np.bool_)
    open_ = number < len(before)
    begins = times[before[np.minimum(number, len(before) - 1)]] + habit.usual_ns
    return ~(open_ & (at >= begins))


def bars_of_two(
    y_bars: _Times, x_bars: _Times, y_habit: Habit, x_habit: Habit, y_times: _Times,
    x_times: _Times, *, last_closed: bool = False,
) -> _Times:  # fmt: skip
    """Return the numbers of the closed bars that make observations, ascending.

    Parameters
    ----------
    y_bars, x_bars : numpy.ndarray
        Number of each price's bar, ascending.
    y_habit, x_habit : Habit
        Of each leg.
    y_times, x_times : numpy.ndarray
        Of the prices.
    last_closed : bool
        Whether the last bar is complete; else nothing has closed it, and it is left out.
    """
    own = np.union1d(y_bars, x_bars)
    empty = np.diff(own) - 1  # bars without any price after each: quiet, or not seen
    if y_habit.is_bars or x_habit.is_bars:
        empty[:] = 0
    empty = np.minimum(empty, EMPTY_BARS_MAX)
    last = np.repeat(own[1:] - 1, empty)
    back = np.arange(len(last)) - np.repeat(np.cumsum(empty) - empty, empty)
    bars: _Times = np.union1d(own, last - back)
    bars = bars[(bars >= max(y_bars[0], x_bars[0])) & (bars < own[-1] + last_closed)]
    for numbers, times, habit in ((y_bars, y_times, y_habit), (x_bars, x_times, x_habit)):
        before, after = silences(times, habit)
        if len(before):
            at = np.searchsorted(numbers[after], bars, side="right")
            at, open_ = np.minimum(at, len(before) - 1), at < len(before)
            bars = bars[~(open_ & (bars > numbers[before[at]]))]
    return bars
