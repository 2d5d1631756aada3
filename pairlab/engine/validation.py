"""What an engine can be given, and the words for what it cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairlab.errors import DataError
from pairlab.schema import TICK, Records

__all__ = ["as_ticks", "check_prices"]


def check_prices(
    who: str, times: NDArray[np.int64], y: NDArray[np.float64], x: NDArray[np.float64]
) -> None:
    """Refuse prices that are not as many as their times, finite and above zero.

    Parameters
    ----------
    who : str
        Whose argument they are, for the message.
    times, y, x : numpy.ndarray
        As given.

    Raises
    ------
    DataError
        With the first price that cannot be used.
    """
    if times.ndim != 1 or y.shape != times.shape or x.shape != times.shape:
        raise DataError(
            f"{who} wants times and prices of one length, not of shapes "
            f"{times.shape}, {y.shape}, {x.shape}"
        )
    for name, leg in (("y", y), ("x", x)):
        bad = np.flatnonzero(~(np.isfinite(leg) & (leg > 0)))
        if bad.size:
            raise DataError(
                f"{who}: {name}[{bad[0]}] = {leg[bad[0]]}: a price must be finite and above zero"
            )


def as_ticks(ticks: Any) -> Records:
    """Return ticks as the kernel reads them, or say why they are none."""
    if not isinstance(ticks, np.ndarray) or ticks.dtype != TICK or ticks.ndim != 1:
        given = (
            f"an array of {ticks.dtype} with {ticks.ndim} dimensions"
            if isinstance(ticks, np.ndarray)
            else type(ticks).__name__
        )
        raise DataError(f"ticks must be a 1-D numpy array of pairlab.TICK, not {given}")
    if ticks.flags.carray:
        return ticks
    fresh = np.empty(len(ticks), TICK)
    fresh[:] = ticks
    return fresh
