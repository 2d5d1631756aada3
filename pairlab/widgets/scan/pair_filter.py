"""Pairs by words: ``BTC q<0.05 half_life<48 candidate``."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.errors import SettingError

__all__ = ["filtered"]

_CONDITION: Final = re.compile(r"^([A-Za-z_]+)(<=|>=|<|>|=|≤|≥)(.+)$")
_COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt, ">": operator.gt, "=": operator.eq,
    "<=": operator.le, ">=": operator.ge, "≤": operator.le, "≥": operator.ge,
}  # fmt: skip
_TEXTS: Final = ("y", "x", "verdict")


def filtered(frame: pd.DataFrame, words: str) -> NDArray[np.bool_]:
    """Return which rows meet every condition.

    Parameters
    ----------
    frame : DataFrame
        Of a scan.
    words : str
        Separated by spaces: ``column<number`` (or ``<=``, ``>``, ``>=``, ``=``), or a part of a
        symbol or of the verdict.

    Raises
    ------
    SettingError
        For an unknown column, or what is no number.
    """
    keep = np.ones(len(frame), bool)
    for word in words.split():
        match = _CONDITION.match(word)
        if match is None:
            texts = (frame[name].astype(str).str.lower() for name in _TEXTS)
            holds = np.zeros(len(frame), bool)
            for text in texts:
                holds |= text.str.contains(word.lower(), regex=False).to_numpy()
            keep &= holds
            continue
        name, sign, value = match.groups()
        numbers = [c for c in frame.columns if c not in _TEXTS]
        if name not in numbers:
            close = difflib.get_close_matches(name, numbers, n=1)
            hint = f": did you mean {close[0]}?" if close else f": {', '.join(numbers)}"
            raise SettingError("filter", word, f"expected a column{hint}")
        try:
            limit = float(value)
        except ValueError:
            raise SettingError("filter", word, f"expected a number after {sign}") from None
        with np.errstate(invalid="ignore"):
            keep &= np.asarray(_COMPARISONS[sign](frame[name].to_numpy(np.float64), limit))
    return keep
