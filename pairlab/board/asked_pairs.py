"""Which pairs a board is asked for, and why some of them cannot be had."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import pandas as pd

from pairlab.errors import SettingError
from pairlab.limits.symbols import exchange_symbol
from pairlab.schema import Pair

__all__ = ["MOST_PAIRS", "Asked", "PairName", "PairsOrSymbols", "asked_pairs", "read_pair"]

MOST_PAIRS: Final = 2_000
"""Pairs on one board: with 10,000 rows each they take 4 GB once all are full."""

PairName: TypeAlias = "tuple[str, str] | Pair | str"
"""A pair: its two symbols, or both in one text as ``"BTCUSDT / ETHUSDT"``."""

PairsOrSymbols: TypeAlias = "Iterable[str] | Iterable[tuple[str, str]] | Mapping[tuple[str, str], Mapping[str, Any]] | pd.DataFrame"  # noqa: E501


@dataclass
class Asked:
    """What a board is asked for.

    Attributes
    ----------
    pairs : dict of Pair to dict
        The pairs, and the settings of each alone.
    symbols : tuple of str
        Where symbols were given: all pairs of them are meant.
    refused : list of str
        What cannot be had: a sentence each.
    """

    pairs: dict[Pair, dict[str, Any]] = field(default_factory=dict)
    symbols: tuple[str, ...] = ()
    refused: list[str] = field(default_factory=list)


def read_pair(given: object) -> Pair:
    """Return a pair as the exchange spells it.

    Raises
    ------
    SettingError
        For what is no pair, or one symbol twice.
    """
    legs: Any = given
    if isinstance(given, str):
        legs = [part for part in given.split(" / ") if part]
    if isinstance(legs, str) or not isinstance(legs, list | tuple) or len(legs) != 2:
        raise SettingError("pair", given, "expected two symbols, such as ('BTCUSDT', 'ETHUSDT')")
    pair = Pair(exchange_symbol("y", legs[0]), exchange_symbol("x", legs[1]))
    if pair.y == pair.x:
        raise SettingError("pair", given, "the legs of a pair must be two different symbols")
    return pair


def asked_pairs(given: object, *, all_pairs: bool) -> Asked:
    """Return the pairs that are meant; what is none is told, and the others go on.

    Parameters
    ----------
    given : iterable, mapping or DataFrame
        Symbols; pairs; a mapping of pairs to their settings; a frame with columns y and x, or
        something that has such a ``frame``, as what `pairlab.scan` returns.
    all_pairs : bool
        Of symbols, whether every two of them are a pair now; else pairs come later.

    Raises
    ------
    SettingError
        If nothing of it can be had.
    """
    asked = Asked()
    frame = getattr(given, "frame", given)
    if isinstance(frame, pd.DataFrame):
        if not {"y", "x"} <= set(frame.columns):
            raise SettingError("pairs", list(frame.columns), "expected columns 'y' and 'x'")
        given = list(zip(frame["y"], frame["x"], strict=True))
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise SettingError("pairs", given, "expected symbols or pairs of symbols")
    listed = list(given)
    if listed and all(isinstance(item, str) and " / " not in item for item in listed):
        _read_symbols(listed, asked, all_pairs=all_pairs)
    else:
        for item in listed:
            own = given[item] if isinstance(given, Mapping) else {}
            try:
                asked.pairs.setdefault(read_pair(item), dict(own))
            except SettingError as error:
                asked.refused.append(str(error))
    if not asked.pairs and len(asked.symbols) < 2:
        why = f": {asked.refused[0]}" if asked.refused else ""
        raise SettingError("pairs", listed[:3], f"expected one pair at least{why}")
    if len(asked.pairs) > MOST_PAIRS:
        asked.refused.append(
            f"{len(asked.pairs):,} pairs were asked for, a board has at most {MOST_PAIRS:,}: the "
            "first ones are on it"
        )
        asked.pairs = dict(itertools.islice(asked.pairs.items(), MOST_PAIRS))
    return asked


def _read_symbols(listed: list[str], asked: Asked, *, all_pairs: bool) -> None:
    found: dict[str, None] = {}
    for item in listed:
        try:
            symbol = exchange_symbol("symbol", item)
        except SettingError as error:
            asked.refused.append(str(error))
            continue
        if symbol in found:
            asked.refused.append(f"{symbol} was given twice: it counts once")
        found[symbol] = None
    asked.symbols = tuple(found)
    if all_pairs:
        asked.pairs = {Pair(*two): {} for two in itertools.combinations(found, 2)}
