"""PairTable: the pairs of a scan in any order, by words, a page at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import traitlets
from anywidget import AnyWidget

from pairlab.errors import SettingError
from pairlab.widgets.scan.pair_filter import filtered
from pairlab.widgets.style.formats import MISSING, compact, count, number, p_value, signed

__all__ = ["PairTable"]

_SCRIPT: Final = files("pairlab.widgets.scan").joinpath("pair_table.js").read_text("utf-8")
_ROWS: Final = 20
_LEVEL: Final = 0.05


class _Column(NamedTuple):
    """One column: its id in the frame, its head, what it means, and the style of its cells."""

    id: str
    name: str
    tip: str
    of: str
    told: Callable[[Any], tuple[str, str]]


def _plainly(decimals: int) -> Callable[[float], tuple[str, str]]:
    return lambda value: (compact(value, decimals, 7), "")


def _level(value: float) -> tuple[str, str]:
    tone = "corr" if value <= _LEVEL else "muted" if value > 0.1 or math.isnan(value) else ""
    return p_value(value), tone


def _half_life(value: float) -> tuple[str, str]:
    return number(value, 1), ""


def _share(value: float) -> tuple[str, str]:
    return (MISSING if math.isnan(value) else f"{100 * value:.0f} %"), ""


def _zscore(value: float) -> tuple[str, str]:
    return signed(value), "x" if value >= 2.0 else "y" if value <= -2.0 else ""


def _boundary(value: float) -> tuple[str, str]:
    return number(value, 2), "stop" if value >= 1.0 else ""


def _trips(value: float) -> tuple[str, str]:
    return compact(value, 2, 6), "stop" if value < 1.0 else ""


def _verdict(value: str) -> tuple[str, str]:
    return value, "corr" if value == "candidate" else "text2"


def _symbol(value: str) -> tuple[str, str]:
    return value, "text"


_COLUMNS: Final = (
    _Column("y", "y", "Bought when the spread is bought", "left", _symbol),
    _Column("x", "x", "Sold against it", "left", _symbol),
    _Column("p", "p", "Of the test, for one pair", "mid", _level),
    _Column("q", "q", "p, corrected for all pairs tested", "", _level),
    _Column("half_life", "half-life", "Rows until half of a deviation is gone", "", _half_life),
    _Column("p_last", "p last", "Of the last part, by the hedge ratio before it", "mid", _level),
    _Column("zscore", "z now", "Deviation at the last row", "mid", _zscore),
    _Column("stability", "stable", "Share of sub-windows with p ≤ 0.1", "wide", _share),
    _Column("break_ratio", "break", "CUSUM of the spread in the last part: 1 is a structural break",
            "wide", _boundary),
    _Column("drift_ratio", "drift", "The same of the hedge ratio", "wide", _boundary),
    _Column("return_correlation", "ρ ret.", "Correlation of returns", "wide", _plainly(2)),
    _Column("hedge_ratio", "β", "Units of x for one of y", "wide", _plainly(4)),
    _Column("deviation_round_trips", "trips", "Deviation of the spread in costs of a round trip",
            "mid", _trips),
    _Column("verdict", "verdict", "The strongest objection", "left words", _verdict),
)  # fmt: skip


class PairTable(AnyWidget):
    """A page of pairs. A head sorts, a row opens its pair, a field filters by words.

    Parameters
    ----------
    frame : DataFrame
        Of a scan.
    on_open : callable
        Called with y and x of a row that was clicked.

    Attributes
    ----------
    shown : DataFrame
        The pairs that meet the filter, in their order.
    """

    _esm = _SCRIPT
    page = traitlets.Dict().tag(sync=True)

    def __init__(self, frame: pd.DataFrame, on_open: Callable[[str, str], None]) -> None:
        self._frame, self._on_open = frame, on_open
        self._sort, self._descending, self._filter, self._words = "", False, "", ""
        self._first, self._chosen = 0, ("", "")
        self.shown = frame
        super().__init__(page=self._made())
        self.add_class("pairlab")
        self.on_msg(self._on_message)

    def _on_message(self, _: object, content: Mapping[str, Any], __: object) -> None:
        if isinstance(column := content.get("sort"), str):
            self.sort(column)
        elif isinstance(words := content.get("filter"), str):
            self.filter(words)
        elif content.get("turn") in (-1, 1):
            self.turn(int(content["turn"]))
        elif isinstance(at := content.get("open"), int) and 0 <= at < len(self._frame):
            row = self._frame.iloc[at]
            self._on_open(row["y"], row["x"])

    def sort(self, column: str) -> None:
        """Sort by a column; again: the other way round."""
        if column not in [c.id for c in _COLUMNS]:
            return
        self._descending = column == self._sort and not self._descending
        self._sort, self._first = column, 0
        self._refresh()

    def filter(self, words: str) -> None:
        """Show the pairs that meet every condition; what cannot be understood is told."""
        self._filter, self._first = words, 0
        self._refresh()

    def turn(self, pages: int) -> None:
        """Go to another page."""
        most = max(len(self.shown) - 1, 0) // _ROWS * _ROWS
        self._first = min(max(self._first + pages * _ROWS, 0), most)
        self.page = self._made()

    def choose(self, y: str, x: str) -> None:
        """Mark the row of a pair."""
        self._chosen = y, x
        self.page = self._made()

    def _refresh(self) -> None:
        try:
            kept = self._frame[filtered(self._frame, self._filter)]
            self._words = ""
        except SettingError as error:
            self._words, kept = str(error), self.shown  # what was shown stays
        if self._sort:
            kept = kept.sort_values(self._sort, ascending=not self._descending, kind="stable")
        self.shown = kept
        self.page = self._made()

    def _made(self) -> dict[str, Any]:
        page = self.shown.iloc[self._first : self._first + _ROWS]
        total = len(self.shown)
        last = self._first + len(page)
        where = f"{self._first + 1:,}–{last:,} of {count(total)}" if total else "none"
        if total < len(self._frame):
            where += f" · {count(len(self._frame))} in all"
        rows = [
            {
                "at": int(at),
                "chosen": (row["y"], row["x"]) == self._chosen,
                "cells": [column.told(_value(row[column.id])) for column in _COLUMNS],
            }
            for at, row in zip(self._frame.index.get_indexer(page.index), _records(page),
                               strict=True)
        ]  # fmt: skip
        columns = [{"id": c.id, "name": c.name, "tip": c.tip, "of": c.of} for c in _COLUMNS]
        return {
            "columns": columns, "rows": rows, "sort": self._sort, "descending": self._descending,
            "filter": self._filter, "words": self._words, "where": where,
            "first": self._first == 0, "last": last >= total,
        }  # fmt: skip


def _records(page: pd.DataFrame) -> list[dict[Any, Any]]:
    return page.to_dict("records")


def _value(value: Any) -> Any:
    return float(value) if isinstance(value, np.number | int) else value
