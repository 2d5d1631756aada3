"""Validation of engine input: prices and tick arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import DataError
from pairlab.schema import TICK, Records

__all__ = ["as_ticks", "check_prices"]


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
        bad = np.flatnonzero(~(np.isfinite(leg) & (leg > 0)))
        if bad.size:
            raise DataError(
                f"{caller}: {name}[{bad[0]}] = {leg[bad[0]]}: a price must be finite and above zero"
            )


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
