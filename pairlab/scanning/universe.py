"""The prices that a scan takes: symbols by rows, and why a column was set aside."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from pairlab.errors import DataError
from pairlab.research.prices import floats_of
from pairlab.scanning.engle_granger import Floats

__all__ = ["Universe", "underlying", "universe_of"]

_QUOTES: Final = (
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USD1", "USD", "DAI", "EUR", "TRY",
    "BTC", "ETH", "BNB",
)  # fmt: skip
_MULTIPLE: Final = re.compile(r"^(?:1M|1(?:000)+)(?=[A-Z])")
_PERIOD: Final = re.compile(r"_(?:PERP|\d{6})$")


@dataclass(frozen=True)
class Universe:
    """Symbols with their prices.

    Attributes
    ----------
    symbols : tuple of str
        Those that can be tested.
    prices : array, shape (symbols, rows)
        NaN is missing.
    index : pandas.Index
        Of the rows.
    set_aside : dict
        Symbol → why it cannot be tested.
    """

    symbols: tuple[str, ...]
    prices: Floats
    index: pd.Index
    set_aside: dict[str, str]


def universe_of(prices: object, *, least_rows: int) -> Universe:
    """Return the symbols of a wide frame; the columns that cannot be tested are set aside.

    Raises
    ------
    DataError
        If it is no frame, its index does not ascend, a name stands twice, or fewer than two
        columns are left.
    """
    if not isinstance(prices, pd.DataFrame):
        raise DataError(
            f"prices must be a pandas DataFrame with a column a symbol, not {type(prices).__name__}"
        )
    if not prices.columns.is_unique:
        twice = prices.columns[prices.columns.duplicated()][0]
        raise DataError(f"prices has the column {twice!r} twice: expected a column a symbol")
    if not prices.index.is_monotonic_increasing or not prices.index.is_unique:
        raise DataError("the index of prices must ascend, without repeats: sort_index() sorts it")
    symbols, rows, set_aside = [], [], {}
    for name in prices.columns:
        symbol = str(name)
        try:
            values = floats_of(prices[name], symbol).copy()
        except DataError as error:
            set_aside[symbol] = str(error)
            continue
        values[~np.isfinite(values)] = np.nan
        there = values[np.isfinite(values)]
        if len(there) < least_rows:
            set_aside[symbol] = f"{len(there):,} prices, expected at least {least_rows:,}"
        elif (there <= 0.0).any():
            set_aside[symbol] = "a price is not above 0"
        elif there.max() == there.min():
            set_aside[symbol] = f"its price is {there[0]:g} in every row"
        else:
            symbols.append(symbol)
            rows.append(values)
    if len(symbols) < 2:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(set_aside.items())[:5])
        raise DataError(
            f"prices has {len(symbols)} column{'s' * (len(symbols) != 1)} that can be tested, "
            f"expected at least 2" + (f" ({why})" if why else "")
        )
    return Universe(tuple(symbols), np.ascontiguousarray(rows), prices.index, set_aside)


def underlying(symbol: str) -> str:
    """Return what a symbol is a price of, whatever it is quoted in and in whatever lots.

    Examples
    --------
    >>> underlying("1000SHIBUSDT"), underlying("SHIBUSDC"), underlying("BTCUSDT_260327")
    ('SHIB', 'SHIB', 'BTC')
    """
    name = _PERIOD.sub("", symbol.upper().replace("/", "").split(":")[0])
    for quote in _QUOTES:
        if name.endswith(quote) and len(name) > len(quote):
            name = name[: -len(quote)]
            break
    return _MULTIPLE.sub("", name)
