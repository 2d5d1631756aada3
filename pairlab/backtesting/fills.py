"""Decisions of the engine turned into fills: each leg at its own first trade after the decision."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.backtesting.costs import LotRule
from pairlab.backtesting.market import Market
from pairlab.schema import AlertKind

__all__ = ["ENDED", "REASONS", "Fills", "Missed", "fill"]

REASONS: Final = ("open", "exit", "stop", "max hold")
"""Why a position was left, by number; ``"open"``: it was not, until the data ended."""

ENDED: Final = "the data ended before it was filled"

_WHY: Final = np.array(
    [
        None,
        "the hedge ratio is undefined",
        *(f"{leg} below its minimum quantity" for leg in "yx"),
        *(f"{leg} below its minimum notional" for leg in "yx"),
        *(f"no trade of {leg} within max_wait_s" for leg in ("y", "x", "either leg")),
        ENDED,
    ],
    object,
)
"""Why an entry was missed, by the number that the compiled pass has for it."""


@dataclass(frozen=True)
class Fills:
    """Positions that were filled, an array element each, in the order of their entries.

    Attributes
    ----------
    entry_row, exit_row : array of int64
        On which they were decided; the latter is -1 where none was.
    side : array of int64
        1 long the spread, -1 short.
    reason : array of int64
        Index into `REASONS`.
    y_entry, x_entry, y_exit, x_exit : array of int64
        Index of the fill among the leg's trades; of an exit -1 where it was not filled.
    entry_event, exit_event : array of int64
        Numbers of the events that they were decided by; the latter is -1 where none was.
    y_quantity, x_quantity : array of float64
        Units held; below 0 is short.
    """

    entry_row: NDArray[np.int64]
    exit_row: NDArray[np.int64]
    side: NDArray[np.int64]
    reason: NDArray[np.int64]
    y_entry: NDArray[np.int64]
    x_entry: NDArray[np.int64]
    y_exit: NDArray[np.int64]
    x_exit: NDArray[np.int64]
    entry_event: NDArray[np.int64]
    exit_event: NDArray[np.int64]
    y_quantity: NDArray[np.float64]
    x_quantity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.side)

    def taken(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> Fills:
        """Return those at indexes, or those that are marked."""
        return Fills(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


@dataclass(frozen=True)
class Missed:
    """Entries that were decided and not filled: rows, events, sides and reasons, shape (k,)."""

    row: NDArray[np.int64]
    event: NDArray[np.int64]
    side: NDArray[np.int64]
    reason: NDArray[np.object_]


def fill(
    market: Market,
    capital: float,
    latency_ns: int,
    max_wait_ns: int,
    lots: tuple[LotRule, LotRule] | None,
) -> tuple[Fills, Missed]:
    """Fill every decision, or tell why an entry was missed.

    Parameters
    ----------
    market : Market
        Rows, events and legs.
    capital : float
        Notional of y that is bought or sold, at the price of the decision.
    latency_ns : int
        From a decision until its orders can be filled.
    max_wait_ns : int
        How long after that an entry waits for a trade of each leg.
    lots : tuple of LotRule, optional
        Limits of both legs' orders.
    """
    from pairlab.backtesting.trade_kernels import fill_kernel  # numba is slow to import

    events, rows = market.events, market.rows
    entries = int((events["kind"] == int(AlertKind.ENTRY)).sum())
    trades, quantities = np.empty((10, entries), np.int64), np.empty((2, entries))
    missed = np.empty((4, entries), np.int64)
    indexed = market.y.after_row is not None and market.x.after_row is not None
    after, ends = [], []
    for leg in (market.y, market.x):
        by_event = leg.after_row if indexed else market.after(leg, events["row"], latency_ns)
        after.append(by_event)
        ends.append(int(leg.last[-1]) + 1 if len(leg.last) else 0)
    limits = np.full(6, -1.0)
    if lots is not None:
        y, x = lots
        limits[:] = (
            y.step_size, x.step_size, y.min_qty, x.min_qty, y.min_notional, x.min_notional
        )  # fmt: skip
    taken, refused, _ = fill_kernel()(
        events, rows["y"], rows["x"], rows["hedge_ratio"], market.known_ns,
        market.values.price_scale == "log", capital, latency_ns, max_wait_ns, market.by_event,
        indexed, *after, market.y.time_ns, market.x.time_ns, *ends, limits, trades, quantities,
        missed,
    )  # fmt: skip
    row, event, side, why = missed[:, :refused]
    return Fills(*trades[:, :taken], *quantities[:, :taken]), Missed(row, event, side, _WHY[why])
