"""Past prices run through the live engine: rows, and what each leg had traded by each of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.engine import PairEngine
from pairlab.engine.gaps import Gap, pieces_over_gaps, update_over_gaps
from pairlab.engine.state import LEGS
from pairlab.errors import DataError, warn_user
from pairlab.research.inputs import Given, ticks_of_frame
from pairlab.research.prices import check_zones, prices_of_both, quantile_of, step_of
from pairlab.research.silence import NEVER, bars_of_two, habit_of, seen, silences
from pairlab.schema import (
    BOTH_LEGS,
    NS_PER_S,
    ROW,
    TICK,
    TIME_CORRECTED,
    TIMEFRAMES_NS,
    Records,
    RowFlag,
)
from pairlab.settings import Settings

__all__ = [
    "PIECE_TICKS",
    "LegPrices",
    "Observed",
    "Past",
    "TakeRows",
    "past_of",
    "require_fine_steps",
    "require_ratio",
]

_SECOND_NS: Final = NS_PER_S
_DAY_NS: Final = 86_400 * NS_PER_S
PIECE_TICKS: Final = 16_384
"""Of a run that is taken piece by piece."""


class LegPrices(NamedTuple):
    """What one leg has traded at: times (ns since 1970 UTC) and prices, shape (n,)."""

    time_ns: NDArray[np.int64]
    price: NDArray[np.float64]


class Observed(NamedTuple):
    """The observations of prices that come without an order of trades.

    Attributes
    ----------
    legs : tuple of LegPrices
        Of y and x, each with its own times.
    time_ns : array of int64, shape (rows,)
        Those of the rows.
    y_at, x_at : array of int64, shape (rows,)
        Index of the price of each leg that a row was made of.
    step_ns : int
        The longer of the steps in which they come; 0 where they are irregular.
    """

    legs: tuple[LegPrices, LegPrices]
    time_ns: NDArray[np.int64]
    y_at: NDArray[np.int64]
    x_at: NDArray[np.int64]
    step_ns: int


class Past(NamedTuple):
    """A run of the engine over past prices.

    Attributes
    ----------
    engine : PairEngine
        After the run; its ``events`` are those of all rows.
    rows : numpy.ndarray
        `pairlab.schema.ROW` records. Of ticks, ``received_ns`` is the number of the tick that made
        the row.
    ticks : numpy.ndarray or None
        `pairlab.schema.TICK` records as they were run, or None.
    observed : Observed or None
        Where there were no ticks: what the rows were made of.
    tick_count : int
        How many ticks were run; they are not in `ticks` where they were read piece by piece.
    """

    engine: PairEngine
    rows: Records
    ticks: Records | None
    observed: Observed | None
    tick_count: int = 0


TakeRows = Callable[[Records | None, Records, Records], None]
"""Is given a piece of a run: its ticks (None: observations), and the rows and events that they
made, which the next piece overwrites."""


def past_of(
    given: Given,
    settings: Settings,
    label: str | None,
    limit_ns: int | None,
    take: TakeRows | None = None,
) -> Past:
    """Run the engine over what `pairlab.research.inputs.given_of` sorted out.

    Parameters
    ----------
    given : Given
        Ticks, or prices of two legs.
    settings : Settings
        Of the run.
    label, limit_ns
        As `analyze` takes them, resolved.
    take : callable, optional
        Is given the rows piece by piece; `Past` has then neither rows nor events.

    Raises
    ------
    DataError, SettingError
        As `analyze` does.
    """
    if given.ticks is not None:
        ticks = ticks_of_frame(given.ticks, given.pair)
        require_ratio(settings, given)
        engine = PairEngine(values=settings.values(), bars=False)
        for leg in range(LEGS if engine.values.timeframe != "tick" else 0):
            leg_times = np.unique(ticks["time_ns"][ticks["leg"] == leg])
            require_fine_steps(engine.values.timeframe, leg_times, "yx"[leg])
        marked = "gap_before" in given.ticks and limit_ns is None
        gaps = _gaps_of_frame(given) if "gap_before" in given.ticks else []
        gaps = _joined([*gaps, *_corrected_of_frame(given.ticks)])
        if not marked:
            gaps = _joined([*gaps, *_silent_gaps(ticks, limit_ns)])
        ticks["received_ns"] = np.arange(len(ticks))  # which only rows take over
        if take is None:
            return Past(engine, update_over_gaps(engine, ticks, gaps), ticks, None, len(ticks))
        for piece, rows in pieces_over_gaps(engine, ticks, gaps, PIECE_TICKS):
            take(piece, rows, engine.events)
        return Past(engine, np.zeros(0, ROW), ticks, None, len(ticks))
    check_zones(given.y, given.x)
    y, x = prices_of_both(given.y, given.x)
    legs = LegPrices(*y), LegPrices(*x)
    if len(legs[0].price) > 1 and all(map(_same, *legs)):
        raise DataError(
            f"y and x are the same {len(legs[0].price):,} prices at the same times: a pair is two "
            "different series"
        )
    require_ratio(settings, given)
    engine = PairEngine(values=settings.values(), bars=False)
    rows, observed = _observe(engine, legs, label, limit_ns, take)
    return Past(engine, rows, None, observed)


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Return whether arrays are equal; those that are not mostly differ at once."""
    return a is b or (np.array_equal(a[:64], b[:64]) and np.array_equal(a, b))


def _observe(
    engine: PairEngine,
    legs: tuple[LegPrices, LegPrices],
    label: str | None,
    limit_ns: int | None,
    take: TakeRows | None,
) -> tuple[Records, Observed]:
    """Make the observations of two legs; return their rows, and what these were made of."""
    (y_times, y_prices), (x_times, x_prices) = legs
    if not len(y_times) or not len(x_times):
        none = np.zeros(0, np.int64)
        return engine.update(np.zeros(0, TICK)), Observed(legs, none, none, none, 0)
    together = _same(y_times, x_times)  # what is asked of y's times holds of x's
    y_steps = np.diff(y_times)
    x_steps = y_steps if together else np.diff(x_times)
    step = step_of(y_steps)
    steps = step, step if together else step_of(x_steps)
    if label == "open":
        for name, step in zip("yx", steps, strict=True):
            if not step:
                raise DataError(
                    f"label='open' needs bars of one length, and {name} comes in no regular steps: "
                    "give the times of their closes, and label='close'"
                )
        y_times, x_times = y_times + steps[0], x_times + steps[1]
    y_habit = habit_of(y_steps, limit_ns)
    x_habit = y_habit if together else habit_of(x_steps, limit_ns)
    timeframe = engine.values.timeframe
    length = TIMEFRAMES_NS[timeframe]
    y_ends, x_ends = y_times, x_times
    if length:
        for leg_times, name in ((y_times, "y"), (x_times, "x")):
            require_fine_steps(timeframe, leg_times, name)
        if label is None:
            _tell_label(y_times, max(steps), length)
            y_ends, x_ends = y_times + steps[0], x_times + steps[1]
        at_end = label in ("close", "open")  # a time on the boundary ends its bar
        y_keys, x_keys = (y_times - at_end) // length, (x_times - at_end) // length
        newest = max(y_times[-1], x_times[-1])
        keys = bars_of_two(
            y_keys, x_keys, y_habit, x_habit, y_times, x_times,
            last_closed=bool(at_end and newest % length == 0),
        )  # fmt: skip
        times = (keys + 1) * length
    else:
        y_keys, x_keys = y_times, x_times
        keys = y_times if together else np.union1d(y_times, x_times)
        keys = keys[np.searchsorted(keys, max(y_times[0], x_times[0])) :]
        if limit_ns != NEVER:
            keys = keys[seen(keys, y_times, y_habit) & seen(keys, x_times, x_habit)]
        times = keys
    if together and not length and len(keys) == len(y_times):
        y_at = x_at = np.arange(len(keys))  # every time is one of both legs, and makes a row
        y, x, y_ends, x_ends = y_prices, x_prices, times, times
    else:
        y_at = np.searchsorted(y_keys, keys, side="right") - 1
        x_at = np.searchsorted(x_keys, keys, side="right") - 1
        y, x = y_prices[y_at], x_prices[x_at]
        y_ends, x_ends = np.minimum(y_ends[y_at], times), np.minimum(x_ends[x_at], times)
    if not length and engine.values.correlation_of == "returns":
        _check_synchronous(times, y_times[y_at], x_times[x_at])
    unseen = np.flatnonzero(np.diff(keys) > 1) + 1 if length else np.zeros(0, np.int64)
    for numbers, leg_times, habit in ((y_keys, y_times, y_habit), (x_keys, x_times, x_habit)):
        unseen = np.union1d(unseen, np.searchsorted(keys, numbers[silences(leg_times, habit)[1]]))
    unseen = unseen[(unseen > 0) & (unseen < len(times))]

    def observed(first: int, end: int) -> Records:
        piece = (every[first:end] for every in (times, y, x, y_ends, x_ends))
        rows = engine.observe(*piece)
        after_gap = unseen[np.searchsorted(unseen, first) : np.searchsorted(unseen, end)] - first
        rows["flags"][after_gap] |= int(RowFlag.GAP_BEFORE)
        return rows

    if take is None:
        rows = observed(0, len(times))
    else:
        rows = np.zeros(0, ROW)
        for first in range(0, len(times), PIECE_TICKS):
            take(None, observed(first, min(first + PIECE_TICKS, len(times))), engine.events)
    known = LegPrices(y_times, y_prices), LegPrices(x_times, x_prices)
    return rows, Observed(known, times, y_at, x_at, max(steps))


def require_ratio(settings: Settings, given: Given) -> None:
    """Refuse the default hedge ratio for any pair but its own."""
    if tuple(re.sub("[/-]", "", name).upper() for name in given.pair) != ("BTCUSDT", "ETHUSDT"):
        settings.require_explicit_hedge_ratio()


def require_fine_steps(timeframe: str, times: NDArray[np.int64], name: str) -> None:
    """Refuse bars that would be copies of one another, as those of an hour of daily closes."""
    if len(times) < 3:
        return
    steps = np.diff(times)
    step = quantile_of(steps, 0.05)
    regular = habit_of(steps, None).is_bars  # trades may be seldom: a bar then carries the last one
    if step > TIMEFRAMES_NS[timeframe] and (regular or step >= _DAY_NS):
        fits = [known for known, ns in TIMEFRAMES_NS.items() if ns >= step]
        other = f"{fits[0]!r} or 'tick'" if fits else "'tick'"
        raise DataError(
            f"timeframe = {timeframe!r} is invalid: expected {other}, as prices of {name} come "
            f"every {_words(step)} and the bars between would be copies"
        )


def _words(ns: int) -> str:
    return str(pd.Timedelta(ns)).removesuffix(" 00:00:00").replace("0 days ", "")


def _tell_label(times: NDArray[np.int64], step: int, length: int) -> None:
    """Warn how times on bars' boundaries are read where they may be meant otherwise."""
    if step >= _SECOND_NS and length % step == 0 and not (times % step).any():
        warn_user(
            f"prices every {_words(step)} on the boundary of bars are read as label='open' would: "
            "as those of the bars that begin then; give label='close' if the times are those of "
            "their closes"
        )


def _check_synchronous(
    times: NDArray[np.int64], y_times: NDArray[np.int64], x_times: NDArray[np.int64]
) -> None:
    """Refuse returns of rows that mostly move one leg only: their correlation is near 0."""
    both = int(((y_times == times) & (x_times == times)).sum())
    if 2 * both < len(times):
        raise DataError(
            f"correlation_of='returns': only {both:,} of {len(times):,} rows have a new price of "
            "both legs; the other returns of a leg are 0, and so nearly is their correlation (Epps "
            "effect). Give a timeframe of bars, or correlation_of='prices'"
        )


def _gaps_of_frame(given: Given) -> list[Gap]:
    """Validate the column gap_before; return the gaps that it marks."""
    assert given.ticks is not None  # noqa: S101
    column, symbols = given.ticks["gap_before"], given.ticks["symbol"].dtype
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    if not np.isin(numbers, np.arange(BOTH_LEGS + 1)).all():
        raise DataError("gap_before must be 0, 1 (trades of y are missing), 2 (of x) or 3 (both)")
    legs = numbers.astype(np.int64)
    if list(getattr(symbols, "categories", ())) == [given.pair.x, given.pair.y]:
        legs = (legs & 1) << 1 | legs >> 1  # it counts the symbols in the order of the categories
    return [Gap(int(at), int(legs[at])) for at in np.flatnonzero(legs)]


def _corrected_of_frame(ticks: pd.DataFrame) -> list[Gap]:
    """Validate the column time_corrected, if there is one; return the ticks that it marks."""
    if "time_corrected" not in ticks:
        return []
    column = ticks["time_corrected"]
    if not pd.api.types.is_bool_dtype(column.dtype) or column.isna().any():
        raise DataError(f"time_corrected must hold True or False, not {column.dtype}")
    return [Gap(int(at), TIME_CORRECTED) for at in np.flatnonzero(column.to_numpy(np.bool_))]


def _silent_gaps(ticks: Records, limit_ns: int | None) -> list[Gap]:
    """Return the gaps that silences of ticks are."""
    if limit_ns == NEVER:
        return []
    gaps = []
    reached = np.maximum.accumulate(ticks["time_ns"])
    valid = np.isfinite(ticks["price"]) & (ticks["price"] > 0.0)
    for leg in range(LEGS):
        of_leg = np.flatnonzero(valid & (ticks["leg"] == leg))
        times = reached[of_leg]
        habit = habit_of(np.diff(times), limit_ns)
        before, after = silences(times, habit)
        ends = times[before] + habit.usual_ns
        at = np.minimum(np.searchsorted(reached, ends, side="right"), of_leg[after])
        gaps += [Gap(int(tick), 1 << leg) for tick in at]
    return gaps


def _joined(gaps: list[Gap]) -> list[Gap]:
    """Return gaps in order, one a tick."""
    legs: dict[int, int] = {}
    for gap in gaps:
        legs[gap.tick] = legs.get(gap.tick, 0) | gap.legs
    return [Gap(tick, legs[tick]) for tick in sorted(legs)]
