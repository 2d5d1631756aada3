"""MatrixMap: p-values and correlations of every pair as a map of cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, Final

import numpy as np
import traitlets
from anywidget import AnyWidget

from pairlab.errors import MissingExtraError
from pairlab.widgets.scan.scan_view import ScanView

__all__ = ["MatrixMap", "mapped_symbols"]

_SCRIPT: Final = files("pairlab.widgets.scan").joinpath("matrix_map.js").read_text("utf-8")
_MOST: Final = 300
"""Symbols a side: a cell of fewer pixels cannot be hit."""

_LABELS: Final = {"p": "p", "correlation": "ρ prices", "return_correlation": "ρ returns"}


def mapped_symbols(scan: ScanView) -> tuple[tuple[str, ...], str]:
    """Return the symbols of a map in their order, and in words which these are."""
    names = scan.symbols
    words = f"{len(names):,} symbols"
    if len(names) > _MOST:
        best = dict.fromkeys(scan.frame[["y", "x"]].to_numpy().ravel())
        names = tuple([*best, *(name for name in scan.symbols if name not in best)][:_MOST])
        words = f"{_MOST} of {len(scan.symbols):,} symbols, those of the smallest p"
    try:
        return scan.ordered(names), f"{words}, neighbours move alike"
    except MissingExtraError as error:
        return names, f"{words}, as given: {error}"


class MatrixMap(AnyWidget):
    """A map of all pairs. A click on a cell opens the pair.

    Parameters
    ----------
    scan : ScanView
        Whose pairs.
    on_open : callable
        Called with the symbols of a cell that was clicked.
    """

    _esm = _SCRIPT
    symbols: Any = traitlets.List().tag(sync=True)
    names: Any = traitlets.List().tag(sync=True)
    labels: Any = traitlets.List().tag(sync=True)
    values: Any = traitlets.List().tag(sync=True)
    words = traitlets.Unicode().tag(sync=True)

    def __init__(self, scan: ScanView, on_open: Callable[[str, str], None]) -> None:
        self._on_open = on_open
        symbols, words = mapped_symbols(scan)
        names = [n for n in _LABELS if n != "p" or scan.method != "distance"]
        values = []
        for name in names:
            table = scan.matrix(name).loc[list(symbols), list(symbols)]
            values.append(np.ascontiguousarray(table.to_numpy(np.float32)).tobytes())
        super().__init__(
            symbols=list(symbols), names=names, labels=[_LABELS[n] for n in names], values=values,
            words=words,
        )  # fmt: skip
        self.add_class("pairlab")
        self.on_msg(self._on_message)

    def _on_message(self, _: object, content: Mapping[str, Any], __: object) -> None:
        asked = content.get("open")
        known = set(self.symbols)
        if isinstance(asked, list) and len(asked) == 2 and known.issuperset(asked):
            self._on_open(*asked)
