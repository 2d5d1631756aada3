"""Compiled loops over trades and over rows: numpy takes several passes, and an array for each.

Each is one pass, compiled on first use or loaded from the engine's cache, and runs without the GIL.
Each returns the version that it closes over, which puts it in the key of that cache.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numba import boolean, float64, from_dtype, int64, types

from pairlab.engine.jit import DIGEST, jit_kernel
from pairlab.schema import EVENT, AlertKind, Filter

__all__ = [
    "drawdown_kernel",
    "excursion_kernel",
    "fill_kernel",
    "leg_kernel",
    "path_kernel",
    "split_kernel",
    "stretch_kernel",
]

_ENTRY: Final = int(AlertKind.ENTRY)
_EXIT: Final = int(AlertKind.EXIT)
_STOP: Final = int(AlertKind.STOP)
_MAX_HOLD: Final = int(Filter.MAX_HOLD)

# The cache must miss when this file changes.
_VERSION: Final = DIGEST ^ int.from_bytes(hashlib.sha256(Path(__file__).read_bytes()).digest()[:7])

# Any array: its elements need not lie side by side, and pandas lends what may not be written.
_FLOATS: Final = types.Array(float64, 1, "A", readonly=True)
_NUMBERS: Final = types.Array(int64, 1, "A", readonly=True)


@functools.cache
def fill_kernel() -> Callable[..., tuple[int, int, int]]:
    """Return the pass that fills decisions; `pairlab.backtesting.fills.fill` says how.

    Its arguments: events; y, x and hedge ratio, by row or by event (the first flag), and when each
    row was known; whether prices are logarithms to the engine; capital, latency and wait (ns); the
    flags; of both legs the first trade that an order can take, by event or by row (the second
    flag), the times of its trades, how many of these rows know of, and step, minimum quantity and
    minimum notional of orders (below 0: no limits). It writes the lines of `Fills` (trades and
    quantities) and of `Missed` (with the number of the reason), and returns first how many there
    are of each.
    """
    version = _VERSION

    def run(
        events: Any, y_price: Any, x_price: Any, ratio: Any, known_ns: Any, log: bool,
        capital: float, latency_ns: int, wait_ns: int, by_event: bool, by_row: bool,
        y_after: Any, x_after: Any, y_ns: Any, x_ns: Any, y_end: int, x_end: int, lots: Any,
        trades: Any, quantities: Any, missed: Any,
    ) -> tuple[int, int, int]:  # fmt: skip
        count = miss_count = 0
        waiting = False
        y_at = x_at = 0
        for number in range(len(events)):
            event = events[number]
            row = event.row
            at, priced = row if by_row else number, number if by_event else row
            if event.kind == _ENTRY:
                if waiting:
                    count += 1  # it was never left
                side = int64(event.side)
                y, x, beta = y_price[priced], x_price[priced], ratio[priced]
                y_size = capital / y
                if lots[0] > 0.0:
                    y_size = np.floor(y_size / lots[0] * (1.0 + 1e-12)) * lots[0]
                x_size = y_size * (beta * y / x if log else beta)
                x_units = abs(x_size)
                if lots[1] > 0.0:
                    x_units = np.floor(x_units / lots[1] * (1.0 + 1e-12)) * lots[1]
                    x_size = np.sign(x_size) * x_units
                why = 0
                if lots[0] >= 0.0:  # there are limits
                    if y_size * y < lots[4]:
                        why = 4
                    if y_size < lots[2] or y_size == 0.0:
                        why = 2
                    if x_units * x < lots[5] and why == 0:
                        why = 5
                    if x_units < lots[3] or x_units == 0.0:
                        why = 3
                if not np.isfinite(x_size):
                    why = 1
                y_at, x_at = y_after[at], x_after[at]
                latest = known_ns[row] + latency_ns + wait_ns
                late = 0
                if y_at < y_end and y_ns[y_at] > latest:
                    late |= 1
                if x_at < x_end and x_ns[x_at] > latest:
                    late |= 2
                if why == 0 and late != 0:
                    why = 5 + late
                if why == 0 and (y_at >= y_end or x_at >= x_end):
                    why = 9
                waiting = why == 0
                if waiting:
                    trades[0, count], trades[1, count] = row, -1
                    trades[2, count], trades[3, count] = side, 0
                    trades[4, count], trades[5, count] = y_at, x_at
                    trades[6, count], trades[7, count] = -1, -1
                    trades[8, count], trades[9, count] = number, -1
                    quantities[0, count] = side * y_size
                    quantities[1, count] = -side * x_size
                else:
                    missed[0, miss_count], missed[1, miss_count] = row, number
                    missed[2, miss_count], missed[3, miss_count] = side, why
                    miss_count += 1
            elif waiting and (event.kind == _EXIT or event.kind == _STOP):
                trades[1, count] = row
                by_time = event.failed & _MAX_HOLD != 0
                trades[3, count] = 1 if event.kind == _EXIT else (3 if by_time else 2)
                y_out, x_out = max(y_after[at], y_at), max(x_after[at], x_at)
                trades[6, count] = y_out if y_out < y_end else -1
                trades[7, count] = x_out if x_out < x_end else -1
                trades[9, count] = number
                count += 1
                waiting = False
        if waiting:
            count += 1
        return count, miss_count, version

    return jit_kernel(
        run,
        (
            from_dtype(EVENT)[::1], _FLOATS, _FLOATS, _FLOATS, _NUMBERS, boolean,
            float64, int64, int64, boolean, boolean,
            _NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS, int64, int64, _FLOATS,
            int64[:, ::1], float64[:, ::1], int64[:, ::1],
        ),
        nogil=True,
    )  # fmt: skip


@functools.cache
def leg_kernel() -> Callable[..., int]:
    """Return the pass that pays for the fills of one leg.

    Its arguments: prices of the leg's trades, entry and exit fills (of an exit -1: open), units,
    fee and slippage as fractions, and the last price of the data. It writes lines of `money`
    (float64): price at entry and at exit, those that were paid, gross, slippage, fee at entry and
    at exit; and whether each was closed.
    """
    version = _VERSION

    def run(
        price: Any, entry: Any, exit_: Any, quantity: Any, fee: float, slippage: float,
        last: float, money: Any, closed: Any,
    ) -> int:  # fmt: skip
        for k in range(len(entry)):
            units, out = quantity[k], exit_[k]
            size, against = abs(units), np.sign(units) * slippage
            raw_in = price[entry[k]]
            paid_in = raw_in * (1.0 + against)
            closed[k] = out >= 0
            raw_out = price[out] if out >= 0 else last
            paid_out = raw_out * (1.0 - against) if out >= 0 else raw_out
            money[0, k], money[1, k], money[2, k], money[3, k] = raw_in, raw_out, paid_in, paid_out
            money[4, k] = units * (raw_out - raw_in)
            money[5, k] = size * (abs(paid_in - raw_in) + abs(paid_out - raw_out))
            money[6, k] = fee * size * paid_in
            money[7, k] = fee * size * paid_out if out >= 0 else 0.0
        return version

    return jit_kernel(
        run,
        (
            _FLOATS, int64[::1], int64[::1], float64[::1], float64, float64, float64,
            float64[:, ::1], boolean[::1],
        ),
        nogil=True,
    )  # fmt: skip


@functools.cache
def stretch_kernel() -> Callable[..., int]:
    """Return the pass that adds what the fills of one leg change, by stretches of rows.

    Its arguments: the stretch of each row (and one past the last, for what no row knows of), the
    first row that knows of each trade of the leg, entry and exit fills, units, `leg_kernel`'s
    ``money`` and closed; it adds to units held and to cash.
    """
    version = _VERSION

    def run(
        stretch: Any, row_of: Any, entry: Any, exit_: Any, quantity: Any, money: Any, closed: Any,
        held: Any, cash: Any,
    ) -> int:  # fmt: skip
        for k in range(len(entry)):
            units = quantity[k]
            at = stretch[row_of[entry[k]]]
            held[at] += units
            cash[at] += -(units * money[2, k]) - money[6, k]
            if closed[k]:
                at = stretch[row_of[exit_[k]]]
                held[at] -= units
                cash[at] += units * money[3, k] - money[7, k]
        return version

    return jit_kernel(
        run,
        (
            int64[::1], int64[::1], int64[::1], int64[::1], float64[::1], float64[:, ::1],
            boolean[::1], float64[::1], float64[::1],
        ),
        nogil=True,
    )  # fmt: skip


@functools.cache
def path_kernel() -> Callable[..., int]:
    """Return the pass that writes the money at every row.

    Its arguments: rows of the changes, ascending, and what they change (float64, shape (7,
    changes): units of y and of x, cash, cost, realised profit, fees, funding); what
    `Market.prices` gives; the capital; and where it writes equity, realised, unrealised, fees and,
    unless that array is empty, funding.
    """
    version = _VERSION

    def run(
        row: Any, change: Any, y_price: Any, y_at: Any, x_price: Any, x_at: Any, capital: float,
        equity: Any, realised: Any, unrealised: Any, fees: Any, funding: Any,
    ) -> int:  # fmt: skip
        y_counts_up, x_counts_up = len(y_at) == 0, len(x_at) == 0
        y = x = cash = cost = profit = paid = received = 0.0
        index = begin = 0
        while begin < len(equity):
            while index < len(row) and row[index] <= begin:
                y += change[0, index]
                x += change[1, index]
                cash += change[2, index]
                cost += change[3, index]
                profit += change[4, index]
                paid += change[5, index]
                received += change[6, index]
                index += 1
            end = min(row[index], len(equity)) if index < len(row) else len(equity)
            for at in range(begin, end):
                y_last = y_price[at if y_counts_up else y_at[at]]
                value = y * y_last + x * x_price[at if x_counts_up else x_at[at]]
                equity[at] = cash + capital + value
                realised[at] = profit
                unrealised[at] = value - cost
                fees[at] = paid
            if len(funding) != 0:
                funding[begin:end] = received
            begin = end
        return version

    path = float64[::1]
    return jit_kernel(
        run,
        (
            _NUMBERS, float64[:, ::1], _FLOATS, _NUMBERS, _FLOATS, _NUMBERS, float64, path, path,
            path, path, path,
        ),
        nogil=True,
    )  # fmt: skip


@functools.cache
def excursion_kernel() -> Callable[..., int]:
    """Return the pass that finds the worst and the best profit of trades over the rows of each.

    Its arguments: first row and row past the last of each trade, units of y and of x, prices at
    their entries, what `Market.prices` gives, and the worst and best so far, which it widens.
    """
    version = _VERSION

    def run(
        first: Any, end: Any, y_units: Any, x_units: Any, y_entry: Any, x_entry: Any, y_price: Any,
        y_at: Any, x_price: Any, x_at: Any, worst: Any, best: Any,
    ) -> int:  # fmt: skip
        y_counts_up, x_counts_up = len(y_at) == 0, len(x_at) == 0
        for k in range(len(first)):
            low, high = worst[k], best[k]
            for at in range(first[k], end[k]):
                y = y_price[at if y_counts_up else y_at[at]] - y_entry[k]
                x = x_price[at if x_counts_up else x_at[at]] - x_entry[k]
                profit = y_units[k] * y + x_units[k] * x
                low, high = min(low, profit), max(high, profit)
            worst[k], best[k] = low, high
        return version

    return jit_kernel(
        run,
        (
            _NUMBERS, _NUMBERS, _FLOATS, _FLOATS, _FLOATS, _FLOATS, _FLOATS, _NUMBERS, _FLOATS,
            _NUMBERS, float64[::1], float64[::1],
        ),
        nogil=True,
    )  # fmt: skip


@functools.cache
def drawdown_kernel() -> Callable[..., tuple[float, int, int]]:
    """Return the pass that finds the deepest drawdown and how long the longest lasted, ns.

    Its arguments: equity, times (ns), and the capital. A drawdown lasts from the last row at the
    peak until the first that is back at it, or the last.
    """
    version = _VERSION

    def run(equity: Any, time_ns: Any, capital: float) -> tuple[float, int, int]:
        peak, deepest, low = capital, 0.0, capital  # a division for each peak, not for each row
        at_peak = longest = 0
        below = False
        for at in range(len(equity)):
            value = equity[at]
            if value >= peak:
                if below:
                    deepest = min(deepest, low / peak - 1.0)
                    longest = max(longest, time_ns[at] - time_ns[at_peak])
                    below = False
                peak = low = value
                at_peak = at
            else:
                below = True
                low = min(low, value)
        if below:
            deepest = min(deepest, low / peak - 1.0)
            longest = max(longest, time_ns[-1] - time_ns[at_peak])
        return deepest, longest, version

    return jit_kernel(run, (_FLOATS, _NUMBERS, float64), nogil=True)


@functools.cache
def split_kernel() -> Callable[..., tuple[int, int]]:
    """Return the pass over all splits of blocks into halves, for the probability of overfitting.

    Its arguments: sums of the returns and of their squares over every subset of the first half of
    the 16 blocks and of the second (shape (256, trials), a subset's bits are its blocks), and how
    many returns half of the blocks have. It returns twice the number of splits in which the trial
    with the best Sharpe ratio in sample is below the median out of sample; at the median, half.
    """
    version = _VERSION

    def run(
        first_sums: Any, first_squares: Any, last_sums: Any, last_squares: Any, count: int
    ) -> tuple[int, int]:
        subsets, trials = first_sums.shape
        whole = subsets - 1
        sharpes = np.empty((2, trials))
        twice = 0
        # A subset with the first block, and its complement: each is once the sample.
        for a in range(1, subsets, 2):
            for b in range(subsets):
                bits, blocks = a << 8 | b, 0
                while bits != 0:
                    bits &= bits - 1
                    blocks += 1
                if blocks != 8:
                    continue
                for half in range(2):
                    first, last = (a, b) if half == 0 else (whole - a, whole - b)
                    for trial in range(trials):
                        total = first_sums[first, trial] + last_sums[last, trial]
                        square = first_squares[first, trial] + last_squares[last, trial]
                        mean = total / count
                        variance = max(square - count * mean * mean, 0.0) / (count - 1)
                        flat = variance <= 1e-14 * square / count
                        found = mean / np.sqrt(1.0 if flat else variance)
                        sharpes[half, trial] = 0.0 if flat else found
                for half in range(2):
                    inside, outside = sharpes[half], sharpes[1 - half]
                    of_best = outside[np.argmax(inside)]
                    worse = same = 0
                    for trial in range(trials):
                        worse += outside[trial] < of_best
                        same += outside[trial] == of_best
                    # its rank, of ties the middle one, beside half of the number of ranks and one
                    rank = 2 * worse + same + 1
                    twice += 2 * (rank < trials + 1) + (rank == trials + 1)
        return twice, version

    table = float64[:, ::1]
    return jit_kernel(run, (table, table, table, table, int64), nogil=True)
