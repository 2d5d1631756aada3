"""`PairEngine`: the kernel with its memory, as Python sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Final, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pairlab.engine.buffers import EngineBuffers
from pairlab.engine.diagnostics import kalman_warning
from pairlab.engine.state import fill_params
from pairlab.engine.validation import as_ticks, check_prices
from pairlab.errors import DataError, SettingError
from pairlab.schema import EVENT, ROW, TIMEFRAMES_NS, Records, RowFlag
from pairlab.settings import METRIC_SETTINGS, SettingKwargs, Settings, SettingValues

__all__ = ["PairEngine", "compile_kernel"]

_BAR_ROWS: Final = 16_384
_FEW: Final = 1_024
"""Up to this many ticks the kernel keeps the GIL: a fifth of a millisecond."""

_NO_EVENTS: Final = np.empty(0, EVENT)


def compile_kernel(progress: Callable[[str], None] | None = None) -> None:
    """Compile what is not in numba's cache on disk yet; blocks, so call it in a thread.

    Parameters
    ----------
    progress : callable, optional
        Called with a line of text before each step.
    """
    say = progress or (lambda text: None)
    say("loading the compiler")
    from pairlab.engine import kernel

    steps = (kernel.kernel_gil, kernel.kernel_nogil, kernel.run_observations)
    for number, compile_step in enumerate(steps, 1):
        say(f"compiling the engine ({number} of {len(steps)})")
        compile_step()
    say("engine ready")


class PairEngine(EngineBuffers):
    """The engine alone: ticks in, rows out.

    Every metric costs the same per observation, whatever the window. One engine belongs to one
    thread at a time: the kernel runs without the GIL.

    Parameters
    ----------
    settings : Settings, optional
        A snapshot of it is taken; by default every setting has its default.
    values : SettingValues, optional
        A snapshot, as `values` of another engine, instead of `settings`.
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
        **overrides: Unpack[SettingKwargs],
    ) -> None:
        if values is None:
            given = {} if settings is None else asdict(settings.values())
            values = Settings(**{**given, **overrides}).values()
        from pairlab.engine import kernel  # numba's import takes longer than all of pairlab's

        super().__init__(kernel, values)
        self._run = kernel.kernel_gil()
        self._per_tick = self._params[0]["timeframe_ns"] == 0
        self.events: Records = _NO_EVENTS

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
            timeframes) once both legs have traded. **May be a view that the next update
            overwrites**: copy what is to be kept.

        Raises
        ------
        DataError
            If it is not such an array.
        """
        try:
            few = len(ticks) <= _FEW
            consumed, made, happened = self._run(ticks, 0, self._memory) if few else (0, 0, 0)
        except (TypeError, ValueError):  # the kernel takes these arrays and no other
            ticks = as_ticks(ticks)
            few = len(ticks) <= _FEW
            consumed, made, happened = self._run(ticks, 0, self._memory) if few else (0, 0, 0)
        if consumed < len(ticks):
            return self._update_long(as_ticks(ticks), consumed, made, happened)
        self.events = self._events[:happened] if happened else _NO_EVENTS
        return self._rows[:made]

    def _update_long(self, ticks: Records, start: int, made: int, happened: int) -> Records:
        """Go on without the GIL, in room for all rows (at bar timeframes, in parts)."""
        parts = [(self._rows[:made].copy(), self._events[:happened].copy())] if made else []
        if self._per_tick:
            rows, events = self._room_for(len(ticks) - start)
        else:
            rows, events = self._room_for(_BAR_ROWS)
        memory = self._addresses(rows, events)
        run = self._kernel.kernel_nogil()
        while start < len(ticks):
            start, made, happened = run(ticks, start, memory)
            if start == len(ticks) and not parts:
                self.events = events[:happened] if happened else _NO_EVENTS
                return rows[:made]
            parts.append((rows[:made].copy(), events[:happened].copy()))
        before = 0
        for part, happenings in parts:
            happenings["row"] += before
            before += len(part)
        self.events = np.concatenate([happenings for _, happenings in parts])
        return np.concatenate([part for part, _ in parts])

    def seed(self, time_ns: ArrayLike, y: ArrayLike, x: ArrayLike) -> Records:
        """Warm the window with closes of bars from before the first tick.

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
        length = TIMEFRAMES_NS[self.values.timeframe]
        if length == 0:
            raise DataError("seed() warms bar timeframes; timeframe is 'tick'")
        state = self._state[0]
        if state["y_seen"] or state["x_seen"]:
            raise DataError("seed() comes before the first tick, and once")
        times = np.array(time_ns, np.int64, ndmin=1)
        y_closes, x_closes = (np.array(leg, np.float64, ndmin=1) for leg in (y, x))
        check_prices("seed()", times, y_closes, x_closes)
        if (np.diff(times) <= 0).any() or (times % length).any():
            raise DataError(
                f"seed(): times must ascend and be multiples of {self.values.timeframe}"
            )
        if not len(times):
            return np.zeros(0, ROW)
        # When the closes were traded is not known; the bar's close is the best that can be said.
        rows, _ = self._observe_many(
            times, y_closes, x_closes, times, times, self._state, self._paused_params()
        )
        self.events = _NO_EVENTS
        rows["flags"] |= int(RowFlag.SEEDED)
        state["bar_end_ns"] = times[-1] + length
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
            One `pairlab.schema.ROW` record each; `events` are theirs.

        Raises
        ------
        DataError
            For prices that cannot be used.
        """
        times, y_times, x_times = (
            np.array(t, np.int64, ndmin=1) for t in (time_ns, y_time_ns, x_time_ns)
        )
        y_prices, x_prices = (np.array(leg, np.float64, ndmin=1) for leg in (y, x))
        check_prices("observe()", times, y_prices, x_prices)
        same = times.shape == y_times.shape == x_times.shape
        if not same or (np.diff(times) <= 0).any():
            raise DataError("observe(): times must ascend, one of each per price")
        rows, self.events = self._observe_many(
            times, y_prices, x_prices, y_times, x_times, self._state, self._params
        )
        return rows

    def _paused_params(self) -> Records:
        """Return a copy of the parameters under which no signal is decided."""
        params = self._params.copy()
        params["signals_paused"] = 1
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
    ) -> tuple[Records, Records]:
        """Run the kernel for observations on this window; return rows and events."""
        rows, events = np.empty(len(times_ns), ROW), np.zeros(len(times_ns), EVENT)
        memory = self._kernel.addresses(state, params, self._ring, self._bars, rows, events)
        run = self._kernel.run_observations()
        event_count = run(times_ns, y, x, y_times_ns, x_times_ns, memory)
        return rows, events[:event_count] if event_count else _NO_EVENTS

    def provisional(self) -> Records | None:
        """Return the row that the forming bar would make if it closed now, in an array of one.

        Its time is the close to come, its ages count to the newest tick. Nothing changes by it.
        It is None at the tick timeframe, where every row is final, and
        until both legs have traded.
        """
        state = self._state
        if self._per_tick or not (state["y_seen"][0] and state["x_seen"][0]):
            return None
        # The state advances in a copy; of the window the observation overwrites one slot.
        scratch = state.copy()
        slot = int(state["head"][0])
        replaced = self._ring[slot].copy()
        try:
            row, _ = self._observe_many(
                state["bar_end_ns"].copy(),
                state["y_price"].copy(),
                state["x_price"].copy(),
                state["y_time_ns"].copy(),
                state["x_time_ns"].copy(),
                scratch,
                self._paused_params(),
            )
        finally:
            self._ring[slot] = replaced
        to_come_s = np.minimum(row["y_age_s"], row["x_age_s"])
        row["y_age_s"] -= to_come_s
        row["x_age_s"] -= to_come_s
        return row

    def apply(self, values: SettingValues) -> None:
        """Take changed thresholds and filters over, from the next tick on.

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
        fill_params(self._params, self.values)

    def rebuilt(
        self,
        values: SettingValues,
        ticks: Records,
        seeds: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
    ) -> tuple[PairEngine, Records]:
        """Return a fresh engine under other settings, and the rows that the ticks held give.

        It reads nothing of this engine but the signal's state, and so can run in a thread while
        this one goes on. The new engine's signal machine stands still, with this one's position
        in every row and no events, until `adopt_signal`: feed it the ticks that came meanwhile,
        then let it adopt, then use it.

        Parameters
        ----------
        values : SettingValues
            Every setting, as `pairlab.settings.Settings.values` gives them.
        ticks : numpy.ndarray
            `pairlab.schema.TICK` records still held.
        seeds : tuple of array_like, optional
            Arguments of `seed`, from before the first of the ticks.
        """
        engine = PairEngine(values=values)
        engine._params["signals_paused"] = 1
        engine._params["keep_bars"] = 0
        engine._take_signal(self)
        parts = []
        if seeds is not None and not engine._per_tick:
            parts.append(engine.seed(*seeds))
        parts.append(engine.update(ticks))
        return engine, parts[0] if len(parts) == 1 else np.concatenate(parts)

    def adopt_signal(self, old: PairEngine) -> None:
        """Take over, once both engines have seen the same ticks, all that outlives a rebuild.

        That is position, lock, cooldown and what was suppressed; the counts of dropped and late
        ticks; and the bars, which no setting changes. Signals go on from here.
        """
        self._take_signal(old)
        self._take_bars_and_counts(old)
        self._params["signals_paused"] = 0
        self._params["keep_bars"] = 1

    @property
    def kalman_warning(self) -> str | None:
        """What is wrong with the Kalman hedge's memory, in words, or None."""
        if self.values.hedge != "kalman":
            return None
        return kalman_warning(self._state[0], self.values.kalman_half_life)
