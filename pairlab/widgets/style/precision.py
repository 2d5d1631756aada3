"""How many decimals numbers have: prices by tick size; the spread, its mean, σ and β by size."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from pairlab.protocols import LabView
from pairlab.schema import Records, Snapshot
from pairlab.settings import SettingValues
from pairlab.widgets.style.formats import FINEST, decimals_for, guess_decimals

__all__ = ["Precision", "price_decimals", "size_of_spread"]

_SPREAD: Final = 2
_RATIO: Final = 3
_LOG_UNKNOWN: Final = 6  # a price's tick is about a millionth of it
_ROWS: Final = 2000
_LOOKED_AT: Final = 256
_LARGE: Final = 0.9


def price_decimals(lab: LabView, row: Snapshot) -> tuple[int, int]:
    """Return the decimals in which both prices are shown: the symbols' tick sizes, if known."""
    known = lab.price_decimals()
    return known if known is not None else (guess_decimals(row.y), guess_decimals(row.x))


def size_of_spread(rows: Records) -> float:
    """Return the σ that nine in ten of the newest 2,000 rows stay below; NaN while there is none.

    One row's would not do: a window of 50 trades is flat at one moment, and wide at the next.
    """
    newest = rows[-_ROWS:]
    std = newest[:: max(len(newest) // _LOOKED_AT, 1)]["spread_std"]
    std = std[std > 0]  # neither flat windows nor those that fill
    if not len(std):
        return math.nan
    at = int(_LARGE * (len(std) - 1))
    return float(np.partition(std, at)[at])


class Precision:
    """The decimals of one lab's spread and hedge ratio.

    Hysteresis: the number of decimals does not flicker around a power of ten, as a number that is
    read frame after frame must not change its width.

    Parameters
    ----------
    lab : LabView
        Whose numbers.
    """

    def __init__(self, lab: LabView) -> None:
        self._lab = lab
        self._kept: dict[str, tuple[object, int]] = {}

    def fresh(self) -> Precision:
        """Return decimals of the same lab without a memory, for rows that are seen once."""
        return Precision(self._lab)

    def spread(self, rows: Records, values: SettingValues) -> int:
        """Return the decimals of the spread, its mean and σ.

        Parameters
        ----------
        rows : array of pairlab.ROW
            The newest ones.
        values : dict
            The settings that they were made with.

        Returns
        -------
        int
            2, or as many as show three digits of a small σ; before there is one, those of y's
            price, or 6 in logarithms.
        """
        scale = values.price_scale
        found = self._steady("spread", scale, size_of_spread(rows), _SPREAD)
        if found is not None:
            return found
        if scale == "log":
            return _LOG_UNKNOWN
        known = self._lab.price_decimals()
        return _SPREAD if known is None else max(known[0], _SPREAD)

    def ratio(self, row: Snapshot | None, values: SettingValues) -> int:
        """Return the decimals of β: 3, or as many as show three digits of a small one.

        A fixed one is as large as it is; others wander about y/x, or about 1 in logarithms.
        """
        if row is None:
            return _RATIO
        if values.hedge == "fixed":
            size = abs(row.hedge_ratio)
        else:
            size = 1.0 if values.price_scale == "log" else row.y / row.x
        what = values.hedge, values.price_scale
        found = self._steady("ratio", what, size, _RATIO)
        return _RATIO if found is None else found

    def telling(self, row: Snapshot, values: SettingValues, least: int) -> int:
        """Return the decimals in which spread, mean and σ (or ±entry_z·σ) give z as it is shown.

        Parameters
        ----------
        row : Snapshot
            Whose numbers.
        values : SettingValues
            The settings that it was made with.
        least : int
            Decimals of the rows about it.

        Returns
        -------
        int
            `least`, or more where z computed from what is printed could else differ by more than
            0.01 from the z printed: a σ far below that of most rows, or a large z.
        """
        std, z = row.spread_std, abs(row.zscore)
        if not (std > 0 and math.isfinite(z)):
            return least
        # Spread and mean are each off by half a unit u of their last decimal, the band's ends too:
        # z by u/σ·(1 + z/entry_z/2); half of 0.01 is left by the rounding of z itself.
        unit = 0.005 * std / (1.0 + max(z / values.entry_z / 2.0, z / 2.0))
        needed = min(max(math.ceil(-math.log10(unit)), least), FINEST)
        key, have = self._kept.get("telling", (None, None))
        if key != least or have is None or not needed <= have <= needed + 1:
            have = needed
        self._kept["telling"] = (least, have)
        return have

    def _steady(self, name: str, what: object, size: float, least: int) -> int | None:
        """Return the decimals of a size; those of the last call while they fit about as well."""
        kept, have = self._kept.get(name, (None, None))
        if kept != what:
            have = None
        if math.isfinite(size) and size > 0:
            fewest, most = (decimals_for(size * k, least) for k in (2.0, 0.5))
            if have is None or not fewest <= have <= most:
                have = decimals_for(size, least)
        if have is not None:
            self._kept[name] = (what, have)
        return have
