"""`PairEngine`: the kernel and the buffers of one pair."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Final, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pairlab.engine.buffers import EngineBuffers, addresses
from pairlab.engine.diagnostics import kalman_warning
from pairlab.engine.gaps import Candles, Gap, mark, update_over_gaps
from pairlab.engine.state import DROP_REASONS, SIGNAL_FIELDS, fill_params
from pairlab.engine.validation import ObservationSettings, as_closes, as_ticks, check_prices
from pairlab.errors import DataError, SettingError
from pairlab.schema import BOTH_LEGS, EVENT, NO_TIME_NS, ROW, TIMEFRAMES_NS, Records, RowFlag
from pairlab.settings import METRIC_SETTINGS, SettingKwargs, Settings, SettingValues

__all__ = ["PairEngine"]

_ROWS_PER_CALL: Final = 16_384
"""Room for rows at bar timeframes, where ticks do not tell how many bars they close."""

_SMALL_BATCH: Final = 1_024
"""Up to this many ticks the kernel keeps the GIL: a fifth of a millisecond."""

_NO_EVENTS: Final = np.empty(0, EVENT)


class PairEngine:
    """Engine of one pair: ticks in, rows out.

    Every metric costs the same per observation, whatever the window. One engine belongs to one
    thread at a time: the kernel runs without the GIL.

    Parameters
    ----------
    settings : Settings, optional
        A snapshot of it is taken; by default every setting has its default.
    values : SettingValues, optional
        A snapshot, as `values` of another engine, instead of `settings`.
    bars : bool
        Whether `bars` are kept: 5.8 MB, which an engine for research does without.
    **overrides
        Settings by name, on top of those.

    Attributes
    ----------
    events : numpy.ndarray
        `pairlab.schema.EVENT` records of the last `update`; ``row`` counts in its rows.
    values : SettingValues
        The settings in force.

    Raises
    ------
    SettingError
        For an unknown setting, or a value out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from pairlab.engine import PairEngine
    >>> from pairlab.schema import TICK
    >>> ticks = np.zeros(2, TICK)
    >>> ticks["leg"] = 0, 1
    >>> ticks["price"] = 61_279.0, 2_449.49
    >>> PairEngine(hedge_ratio=25.0).update(ticks)["spread"].round(2).tolist()
    [41.75]
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        values: SettingValues | None = None,
        bars: bool = True,
        **overrides: Unpack[SettingKwargs],
    ) -> None:
        if values is None:
            given = {}
            if settings is not None:  # a snapshot will do as well
                snapshot = settings.values() if isinstance(settings, Settings) else settings
                given = asdict(snapshot)
            values = ObservationSettings(**{**given, **overrides}).values()
        from pairlab.engine import kernel  # numba's import takes longer than all of pairlab's

        self.values: SettingValues = values
        self.events: Records = _NO_EVENTS
        self._buffers = EngineBuffers(values, bars=bars)
        self.per_tick = TIMEFRAMES_NS[values.timeframe] == 0
        self._run = kernel.kernel_gil()
        self._run_nogil = kernel.kernel_nogil
        self._run_observations = kernel.run_observations

    def update(self, ticks: Records) -> Records:
        """Consume ticks; return the rows they made.

        Parameters
        ----------
        ticks : numpy.ndarray
            1-D array of `pairlab.schema.TICK`, in the order in which they happened, of any length.

        Returns
        -------
        numpy.ndarray
            `pairlab.schema.ROW` records: one per accepted tick (one per closed bar at bar
            timeframes) once both legs have traded, since the last gap too. **May be a view that
            the next update overwrites**: copy what is to be kept.

        Raises
        ------
        DataError
            If it is not such an array.
        """
        buffers = self._buffers
        try:
            small = len(ticks) <= _SMALL_BATCH
            done, row_count, event_count = (
                self._run(ticks, 0, buffers.memory) if small else (0, 0, 0)
            )
        except (TypeError, ValueError):  # the kernel takes these arrays and no other
            ticks = as_ticks(ticks)
            small = len(ticks) <= _SMALL_BATCH
            done, row_count, event_count = (
                self._run(ticks, 0, buffers.memory) if small else (0, 0, 0)
            )
        if done < len(ticks):
            return self._update_long(as_ticks(ticks), done, row_count, event_count)
        self.events = buffers.events[:event_count] if event_count else _NO_EVENTS
        return buffers.rows[:row_count]

    def _update_long(self, ticks: Records, start: int, row_count: int, event_count: int) -> Records:
        """Continue without the GIL, in room for all rows (at bar timeframes, in several calls)."""
        rows, events = self._buffers.rows, self._buffers.events
        chunks = [(rows[:row_count].copy(), events[:event_count].copy())] if row_count else []
        rows, events, memory = self._buffers.output(
            len(ticks) - start if self.per_tick else _ROWS_PER_CALL
        )
        run = self._run_nogil()
        while start < len(ticks):
            start, row_count, event_count = run(ticks, start, memory)
            if start == len(ticks) and not chunks:
                self.events = events[:event_count] if event_count else _NO_EVENTS
                return rows[:row_count]
            chunks.append((rows[:row_count].copy(), events[:event_count].copy()))
        before = 0
        for chunk_rows, chunk_events in chunks:
            chunk_events["row"] += before
            before += len(chunk_rows)
        self.events = np.concatenate([chunk_events for _, chunk_events in chunks])
        return np.concatenate([chunk_rows for chunk_rows, _ in chunks])

    def seed(self, time_ns: ArrayLike, y: ArrayLike, x: ArrayLike) -> Records:
        """Warm the window with closes of bars from before the first tick, once.

        Parameters
        ----------
        time_ns : array_like of int
            Close times, ns since 1970 UTC, ascending multiples of the timeframe.
        y, x : array_like of float
            Closes of both legs, finite and positive.

        Returns
        -------
        numpy.ndarray
            `pairlab.schema.ROW` records, flagged SEEDED; there are no events.

        Raises
        ------
        DataError
            At the tick timeframe, after a tick, or for closes that cannot be used.
        """
        closes = as_closes("seed()", self.values.timeframe, time_ns, y, x)
        state = self._buffers.state[0]
        if state["time_ns"] != NO_TIME_NS:
            raise DataError("seed() comes before the first tick, and once")
        rows = self._observe_closes(closes)
        state["seeded"] = len(rows) > 0
        return rows

    def fill_gap(self, time_ns: ArrayLike, y: ArrayLike, x: ArrayLike) -> Records:
        """Observe closes of bars that nobody saw, after `mark_gap` and before the next tick.

        As `seed`, which see; closes of bars that were made already are left out. Nothing is
        decided on these rows, and it is the row after them that is flagged GAP_BEFORE.
        """
        times, *legs = as_closes("fill_gap()", self.values.timeframe, time_ns, y, x)
        state = self._buffers.state[0]
        first = np.searchsorted(times, state["bar_end_ns"])
        y_seen, x_seen, state["gap"] = int(state["y_seen"]), int(state["x_seen"]), 0
        state["corrected"] = 0  # a bar of the exchange's is not made of that tick
        rows = self._observe_closes((times[first:], legs[0][first:], legs[1][first:]))
        state["y_seen"], state["x_seen"], state["gap"] = y_seen, x_seen, 1
        return rows

    def _observe_closes(self, closes: Candles) -> Records:
        """Make rows of closes of bars; the bar after the last one begins."""
        times, y, x = closes
        self.events = _NO_EVENTS
        if not len(times):
            return np.zeros(0, ROW)
        state = self._buffers.state
        # When the closes were traded is not known; the bar's close is the best estimate.
        rows = self._observe_many(times, y, x, times, times, state, self._paused_params())
        rows["flags"] |= int(RowFlag.SEEDED)
        state["bar_end_ns"] = times[-1] + TIMEFRAMES_NS[self.values.timeframe]
        return rows

    def observe(
        self,
        time_ns: ArrayLike,
        y: ArrayLike,
        x: ArrayLike,
        y_time_ns: ArrayLike,
        x_time_ns: ArrayLike,
    ) -> Records:
        """Make one observation of each pair of prices, whatever the timeframe.

        For data that are observations already, as `pairlab.analyze` has them; an engine takes
        these or ticks, not both.

        Parameters
        ----------
        time_ns : array_like of int
            Ascending, ns since 1970 UTC.
        y, x : array_like of float
            Prices, finite and above zero.
        y_time_ns, x_time_ns : array_like of int
            When each leg last traded, for its age.

        Returns
        -------
        numpy.ndarray
            One `pairlab.schema.ROW` record each; `events` are theirs. As of `update`, it **may be a
            view that the next call overwrites**.

        Raises
        ------
        DataError
            For prices that cannot be used.
        """
        times, y_times, x_times = (
            np.atleast_1d(np.require(t, np.int64, ["C", "A"]))
            for t in (time_ns, y_time_ns, x_time_ns)
        )
        y_prices, x_prices = (np.atleast_1d(np.require(p, float, ["C", "A"])) for p in (y, x))
        check_prices("observe()", times, y_prices, x_prices)
        if not times.shape == y_times.shape == x_times.shape or (times[1:] <= times[:-1]).any():
            raise DataError("observe(): times must ascend, one of each per price")
        # In the same room each time: a run in pieces would zero and check an array for each.
        rows, events, memory = self._buffers.output(len(times))
        run = self._run_observations()
        event_count = run(times, y_prices, x_prices, y_times, x_times, memory)
        self.events = events[:event_count] if event_count else _NO_EVENTS
        return rows[: len(times)]

    def _paused_params(self) -> Records:
        """Return a copy of the parameters under which no signal is decided."""
        params = self._buffers.params.copy()
        params["signals_paused"] = 1
        params["keep_bars"] = 0
        return params

    def _observe_many(
        self,
        times_ns: NDArray[np.int64],
        y: NDArray[np.float64],
        x: NDArray[np.float64],
        y_times_ns: NDArray[np.int64],
        x_times_ns: NDArray[np.int64],
        state: Records,
        params: Records,
    ) -> Records:
        """Run the kernel for observations on this window; return rows of their own."""
        rows, events = np.empty(len(times_ns), ROW), np.zeros(len(times_ns), EVENT)
        memory = addresses(state, params, self._buffers.ring, self._buffers.bars, rows, events)
        self._run_observations()(times_ns, y, x, y_times_ns, x_times_ns, memory)
        return rows

    def provisional(self) -> Records | None:
        """Return the provisional row of the forming bar, as if it closed now, in an array of one.

        Its time is the close to come, its ages count to the newest tick. Nothing changes by it.
        It is None at the tick timeframe, where every row is final, and until both legs have traded.
        """
        state, ring = self._buffers.state, self._buffers.ring
        if self.per_tick or not (state["y_seen"][0] and state["x_seen"][0]):
            return None
        # The state advances in a copy; of the window the observation overwrites one slot.
        scratch = state.copy()
        slot = int(state["head"][0])
        replaced = ring[slot].copy()
        try:
            row = self._observe_many(
                state["bar_end_ns"].copy(), state["y_price"].copy(), state["x_price"].copy(),
                state["y_time_ns"].copy(), state["x_time_ns"].copy(), scratch,
                self._paused_params(),
            )  # fmt: skip
        finally:
            ring[slot] = replaced
        to_come_s = np.minimum(row["y_age_s"], row["x_age_s"])
        row["y_age_s"] -= to_come_s
        row["x_age_s"] -= to_come_s
        return row

    def apply(self, values: SettingValues) -> None:
        """Apply changed thresholds and filters from the next tick on.

        Raises
        ------
        SettingError
            If a setting changed that defines a metric: that takes `rebuilt`.
        """
        for name in sorted(METRIC_SETTINGS):
            new, old = getattr(values, name), getattr(self.values, name)
            if new != old:
                raise SettingError(name, new, f"it defines a metric ({old!r}): use rebuilt")
        self.values = values
        fill_params(self._buffers.params, values)

    def rebuilt(
        self,
        values: SettingValues,
        ticks: Records,
        seeds: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
        gaps: Iterable[Gap] = (),
        candles: Candles | None = None,
    ) -> tuple[PairEngine, Records]:
        """Return a new engine with other settings, and the rows it computes from the given ticks.

        It reads nothing of this engine but the signal's state, and so can run in a thread while
        this one goes on. Signals of the new engine are paused, with this one's position in every
        row and no events, until `adopt_signal`: feed it the ticks that came meanwhile, then let it
        adopt, then use it.

        Parameters
        ----------
        values : SettingValues
            Every setting, as `pairlab.settings.Settings.values` gives them.
        ticks : numpy.ndarray
            `pairlab.schema.TICK` records still held.
        seeds : tuple of array_like, optional
            Arguments of `seed`, from before the first of the ticks.
        gaps, candles
            As `pairlab.engine.gaps.update_over_gaps` takes them.
        """
        engine = PairEngine(values=values, bars=False)
        engine._buffers.params["signals_paused"] = 1
        engine._copy_state(self, SIGNAL_FIELDS)
        parts = []
        if seeds is not None and not engine.per_tick:
            parts.append(engine.seed(*seeds))
        parts.append(update_over_gaps(engine, ticks, gaps, candles))
        return engine, parts[0] if len(parts) == 1 else np.concatenate(parts)

    def adopt_signal(self, old: PairEngine) -> None:
        """Adopt what outlives a rebuild, once both engines have consumed the same ticks.

        That is position, lock, cooldown and what was suppressed; the counts of dropped and late
        ticks; and the bars, which no setting changes. Signals go on from here.
        """
        self._copy_state(old, (*SIGNAL_FIELDS, *DROP_REASONS, "late"))
        self._buffers.set_bars(old._buffers.bars)
        self._buffers.params["signals_paused"] = 0

    def _copy_state(self, old: PairEngine, names: tuple[str, ...]) -> None:
        for name in names:
            self._buffers.state[name] = old._buffers.state[name]

    @property
    def keeps_bars(self) -> bool:
        """Whether `bars` are kept."""
        return self._buffers.bars is not None

    def move_to(self, state: Records, params: Records) -> int:
        """Do as `pairlab.engine.buffers.EngineBuffers.move_to`: one of many pairs from now on."""
        return self._buffers.move_to(state, params)

    def bars(self, timeframe: str) -> Records:
        """Return the closed bars of a timeframe that are held, oldest first.

        Parameters
        ----------
        timeframe : {"1s", "5s", "1m", "5m", "15m", "1h", "1d"}
            Whatever the engine's own.

        Returns
        -------
        numpy.ndarray
            `pairlab.engine.state.BAR` records at their close times. A bar in which a leg did not
            trade carries its last price and has volume 0; prices are NaN until the leg has traded,
            and where nobody saw it: within a gap, and at the close of a bar that a gap cuts.

        Raises
        ------
        DataError
            For another timeframe, or if the engine was made with ``bars=False``.
        """
        if self._buffers.bars is None:
            raise DataError("this engine keeps no bars: it was made with bars=False")
        return self._buffers.bars.closed_of_pair(0, 1, timeframe)

    def mark_gap(self, legs: int = BOTH_LEGS) -> None:
        """Mark that trades of these legs (1 y, 2 x, 3 both) are missing before the next tick.

        What was not seen is not taken for a price that stood still: there is no row until each of
        them has traded again, and a bar that closes before that makes none. The next row is
        flagged GAP_BEFORE. `TIME_CORRECTED`, a bit beside the legs, is no gap: see `Gap`.
        """
        bars = self._buffers.bars
        mark(self._buffers.state, None if bars is None else bars.clock, legs)

    @property
    def signal_state(self) -> dict[str, int]:
        """State of the signal state machine: position, lock, cooldown, what was suppressed."""
        state = self._buffers.state[0]
        return {name: int(state[name]) for name in SIGNAL_FIELDS}

    @property
    def dropped(self) -> dict[str, int]:
        """Invalid ticks, which were counted and changed nothing else, by reason."""
        state = self._buffers.state[0]
        return {name.replace("_", " "): int(state[name]) for name in DROP_REASONS}

    @property
    def late(self) -> int:
        """Ticks at bar timeframes that were older than the forming bar; they counted in it."""
        return int(self._buffers.state[0]["late"])

    @property
    def kalman_warning(self) -> str | None:
        """Warning if the Kalman hedge's memory is too short for the spread, else None."""
        if self.values.hedge != "kalman":
            return None
        return kalman_warning(self._buffers.state[0], self.values.kalman_half_life)
