"""Validation of engine input: prices and tick arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pairlab.errors import DataError
from pairlab.schema import TICK, TIMEFRAMES_NS, Records
from pairlab.settings import Settings

__all__ = ["ObservationSettings", "as_closes", "as_ticks", "check_prices"]


class ObservationSettings(Settings):
    """Settings whose rows may be observations of both legs at the tick timeframe, too.

    Only then is there a correlation of returns at it: a tick moves one leg.
    """

    _both_legs_a_row = True


def check_prices(
    caller: str, times: NDArray[np.int64], y: NDArray[np.float64], x: NDArray[np.float64]
) -> None:
    """Check that prices are as many as their times, finite and above zero.

    Parameters
    ----------
    caller : str
        The method that was given them, for the message.
    times, y, x : numpy.ndarray
        As given.

    Raises
    ------
    DataError
        Names the first invalid price.
    """
    if times.ndim != 1 or y.shape != times.shape or x.shape != times.shape:
        raise DataError(
            f"{caller} needs times and prices of one length, not of shapes "
            f"{times.shape}, {y.shape}, {x.shape}"
        )
    for name, leg in (("y", y), ("x", x)):
        # NaN is neither; extremes take a fraction of the time that comparing each price takes.
        if len(leg) and not (leg.min() > 0.0 and leg.max() < np.inf):
            bad = np.flatnonzero(~((leg > 0) & (leg < np.inf)))
            raise DataError(
                f"{caller}: {name}[{bad[0]}] = {leg[bad[0]]}: a price must be finite and above zero"
            )


def as_closes(
    caller: str, timeframe: str, time_ns: ArrayLike, y: ArrayLike, x: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return closes of bars as arrays.

    Raises
    ------
    DataError
        If they are not of bars of this timeframe, in order, or `check_prices` refuses them.
    """
    length = TIMEFRAMES_NS[timeframe]
    if length == 0:
        raise DataError(f"{caller} takes closes of bars; timeframe is 'tick'")
    times = np.array(time_ns, np.int64, ndmin=1)
    y_closes, x_closes = (np.array(leg, np.float64, ndmin=1) for leg in (y, x))
    check_prices(caller, times, y_closes, x_closes)
    if (np.diff(times) <= 0).any() or (times % length).any():
        raise DataError(f"{caller}: times must ascend and be multiples of {timeframe}")
    return times, y_closes, x_closes


def as_ticks(ticks: Any) -> Records:
    """Return ticks as the contiguous `TICK` array that the kernel reads.

    Raises
    ------
    DataError
        If they are anything but a 1-D array of `pairlab.schema.TICK`.
    """
    if not isinstance(ticks, np.ndarray) or ticks.dtype != TICK or ticks.ndim != 1:
        given = (
            f"an array of {ticks.dtype} with {ticks.ndim} dimensions"
            if isinstance(ticks, np.ndarray)
            else type(ticks).__name__
        )
        raise DataError(f"ticks must be a 1-D numpy array of pairlab.TICK, not {given}")
    if ticks.flags.carray:
        return ticks
    copy = np.empty(len(ticks), TICK)
    copy[:] = ticks
    return copy
