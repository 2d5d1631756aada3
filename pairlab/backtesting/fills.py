"""Decisions of the engine turned into fills: each leg at its own first trade after the decision."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.backtesting.costs import LotRule
from pairlab.backtesting.market import Market
from pairlab.schema import AlertKind, Filter

__all__ = ["ENDED", "OPEN", "REASONS", "Fills", "Missed", "fill"]

REASONS: Final = ("open", "exit", "stop", "max hold")
"""Why a position was left, by number; ``"open"``: it was not, until the data ended."""

OPEN: Final = 0
_NO_ROW: Final = -1

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
"""Why an entry was missed."""

_NO_RATIO, _BELOW_QTY, _BELOW_NOTIONAL, _IN_TIME, _AT_END = 1, 2, 4, 6, 9


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
    y_quantity: NDArray[np.float64]
    x_quantity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.side)

    def taken(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> Fills:
        """Return those at indexes, or those that are marked."""
        return Fills(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


@dataclass(frozen=True)
class Missed:
    """Entries that were decided and not filled: their rows, sides and reasons, shape (k,)."""

    row: NDArray[np.int64]
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
    decided = _decided(market)
    rows, entry, side = market.rows, decided.entry_row, decided.side
    decided.y_quantity[:], decided.x_quantity[:] = _quantities(market, entry, side, capital, lots)
    why = np.zeros(len(side), np.int8)
    if lots is not None:
        for leg_number, (name, rule, quantity) in enumerate(
            zip("yx", lots, (decided.y_quantity, decided.x_quantity), strict=True)
        ):
            size = np.abs(quantity)
            poor = size * rows[name][entry] < rule.min_notional
            why[poor & (why == 0)] = _BELOW_NOTIONAL + leg_number
            why[(size < rule.min_qty) | (size == 0.0)] = _BELOW_QTY + leg_number
    why[~np.isfinite(decided.x_quantity)] = _NO_RATIO

    late = np.zeros(len(side), np.int8)  # bits of the legs
    ended = np.zeros(len(side), bool)
    known = market.known_ns[entry] + (latency_ns + max_wait_ns)
    for bit, name, leg in ((1, "y", market.y), (2, "x", market.x)):
        at = market.after(leg, entry, latency_ns)
        getattr(decided, f"{name}_entry")[:] = at
        final = int(leg.last[-1]) if len(leg.last) else -1
        waited = leg.time_ns[np.minimum(at, max(len(leg.time_ns) - 1, 0))] if len(at) else at
        late |= ((at <= final) & (waited > known)) * np.int8(bit)
        ended |= at > final
    for bits in (1, 2, 3):
        why[(late == bits) & (why == 0)] = _IN_TIME + bits - 1
    why[ended & (why == 0)] = _AT_END
    exits = decided.exit_row
    left = exits != _NO_ROW
    decided_on = np.where(left, exits, 0)
    for name, leg in (("y", market.y), ("x", market.x)):
        at = market.after(leg, decided_on, latency_ns)
        at = np.maximum(at, getattr(decided, f"{name}_entry"))
        final = int(leg.last[-1]) if len(leg.last) else -1
        getattr(decided, f"{name}_exit")[:] = np.where(left & (at <= final), at, -1)
    missed = np.flatnonzero(why)
    if not len(missed):
        return decided, Missed(entry[missed], side[missed], _WHY[why[missed]])
    taken = decided.taken(np.flatnonzero(why == 0))
    return taken, Missed(entry[missed], side[missed], _WHY[why[missed]])


def _decided(market: Market) -> Fills:
    """Return the engine's positions, their quantities and fills still to be told."""
    kind, row = market.events["kind"], market.events["row"]
    entries = np.flatnonzero(kind == int(AlertKind.ENTRY))
    exits = np.flatnonzero((kind == int(AlertKind.EXIT)) | (kind == int(AlertKind.STOP)))
    n = len(entries)
    exit_row, reason = np.full(n, _NO_ROW), np.full(n, OPEN)
    exit_row[: len(exits)] = row[exits]
    stopped = kind[exits] == int(AlertKind.STOP)
    by_time = (market.events["failed"][exits] & int(Filter.MAX_HOLD)) != 0
    reason[: len(exits)] = np.where(stopped, np.where(by_time, 3, 2), 1)
    unknown = {f"{leg}_{what}": np.zeros(n, np.int64) for leg in "yx" for what in ("entry", "exit")}
    return Fills(
        entry_row=row[entries].astype(np.int64),
        exit_row=exit_row,
        side=market.events["side"][entries].astype(np.int64),
        reason=reason,
        y_quantity=np.zeros(n),
        x_quantity=np.zeros(n),
        **unknown,
    )


def _quantities(
    market: Market,
    entry: NDArray[np.int64],
    side: NDArray[np.int64],
    capital: float,
    lots: tuple[LotRule, LotRule] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the units of y and x: fixed at the decision, rounded down together."""
    rows = market.rows
    y, x, beta = (rows[name][entry] for name in ("y", "x", "hedge_ratio"))
    size = capital / y
    if lots is not None:
        size = lots[0].rounded(size)
    per_y = beta * y / x if market.values.price_scale == "log" else beta
    other = size * per_y
    if lots is not None:
        other = np.sign(other) * lots[1].rounded(np.abs(other))
    return side * size, -side * other
