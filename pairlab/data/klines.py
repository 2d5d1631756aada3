"""Closes of bars that come from the exchange: checked, and merged with those known."""

from __future__ import annotations

import numpy as np

from pairlab.data.journal import Seeds
from pairlab.errors import DataError
from pairlab.schema import TIMEFRAMES_NS

__all__ = ["merge_closes", "require_closes"]


def require_closes(timeframe: str, closes: Seeds) -> None:
    """Raise DataError if an engine could not be seeded with these closes."""
    times, y, x = closes
    usable = (
        len(times) == len(y) == len(x)
        and not (times % TIMEFRAMES_NS[timeframe]).any()
        and bool((np.diff(times) > 0).all())
        and all(bool((np.isfinite(leg) & (leg > 0)).all()) for leg in (y, x))
    )
    if not usable:
        raise DataError(
            f"klines of {timeframe}: close times must ascend by multiples of {timeframe}, "
            "closes must be finite and above 0, one of each per bar"
        )


def merge_closes(first: Seeds, second: Seeds, at_most: int | None = None) -> Seeds:
    """Return the bars of both, in order; where both have one, the first one's.

    Parameters
    ----------
    first, second : Seeds
        Ascending each.
    at_most : int, optional
        How many of the newest are kept.
    """
    more = ~np.isin(second.time_ns, first.time_ns)
    joined = [np.concatenate([a, b[more]]) for a, b in zip(first, second, strict=True)]
    order = np.argsort(joined[0], kind="stable")[-at_most if at_most else None :]
    return Seeds(*(column[order] for column in joined))
