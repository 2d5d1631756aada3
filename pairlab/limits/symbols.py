"""Symbols as people write them, as the exchange spells them."""

from __future__ import annotations

import re
from typing import Final

from pairlab.errors import SettingError

__all__ = ["exchange_symbol"]

_OTHER_SPELLINGS: Final = re.compile(r"^(?:BINANCE(?:USDM)?:)|(?::[A-Z]+|\.P)$")
"""``BINANCE:BTCUSDT``, ``BTC/USDT:USDT`` (ccxt's name of the perpetual), ``BTCUSDT.P``."""


def exchange_symbol(name: str, given: object) -> str:
    """Return a symbol in Binance's spelling: ``btc/usdt`` is BTCUSDT.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    given : object
        As the caller wrote it. An underscore stays: it begins a delivery date.

    Raises
    ------
    SettingError
        For what is no text, or no symbol in any spelling.

    Examples
    --------
    >>> exchange_symbol("y", "btc/usdt")
    'BTCUSDT'
    """
    if not isinstance(given, str):
        raise SettingError(name, given, "expected a symbol such as 'BTCUSDT'")
    symbol = _OTHER_SPELLINGS.sub("", given.strip().upper())
    symbol = re.sub(r"[/\-\s]", "", symbol)
    if not symbol.replace("_", "").isalnum():
        raise SettingError(name, given, "expected a symbol such as 'BTCUSDT'")
    return symbol
