"""Decisions under other thresholds on rows that exist: the kernel's own `decide`, over columns.

Metrics depend on window, hedge, timeframe and the like; decisions on thresholds and filters alone.
One run of the engine gives the rows; each set of thresholds is then one pass over them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from operator import attrgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairlab.engine.state import PARAMS, fill_params, new_state
from pairlab.errors import DataError, SettingError
from pairlab.schema import EVENT, ROW, Records
from pairlab.settings import METRIC_SETTINGS, SettingValues

__all__ = ["DecisionColumns", "columns_of", "decisions", "events_of"]

_FIRST_EVENTS: Final = 1_024
_ROWS_AN_EVENT: Final = 8
"""More events than this are rare; then there is room for twice as many."""

_metric_settings: Final = attrgetter(*sorted(METRIC_SETTINGS))


@dataclass(frozen=True)
class DecisionColumns:
    """What decisions read of rows, a contiguous array each, shape (rows,).

    Attributes
    ----------
    time_ns : array of int64
        Of the row.
    zscore, spread_std, y, correlation, hedge_ratio, p_value, y_age_s, x_age_s : array of float64
        As in `pairlab.schema.ROW`.
    values : SettingValues
        Under which the rows were computed.

    Raises
    ------
    DataError
        For arrays of other types or of different lengths.
    """

    time_ns: NDArray[np.int64]
    zscore: NDArray[np.float64]
    spread_std: NDArray[np.float64]
    y: NDArray[np.float64]
    correlation: NDArray[np.float64]
    hedge_ratio: NDArray[np.float64]
    p_value: NDArray[np.float64]
    y_age_s: NDArray[np.float64]
    x_age_s: NDArray[np.float64]
    values: SettingValues

    def __post_init__(self) -> None:
        # Compiled code reads them by their addresses.
        for name in _COLUMNS:
            column, kind = getattr(self, name), ROW[name]
            fits = isinstance(column, np.ndarray) and column.dtype == kind and column.flags.carray
            if not fits or column.shape != (len(self.time_ns),):
                raise DataError(
                    f"{name} must be a contiguous array of {kind}, one for each of "
                    f"{len(self.time_ns):,} rows"
                )

    def __len__(self) -> int:
        return len(self.time_ns)

    @cached_property
    def addresses(self) -> tuple[int, ...]:
        """Where the columns lie, in the order of `column_rows.COLUMNS`."""
        from pairlab.backtesting.sweeping.column_rows import COLUMNS  # numba is slow to import

        return tuple(getattr(self, name).ctypes.data for name in COLUMNS)


_COLUMNS: Final = tuple(f.name for f in fields(DecisionColumns) if f.name != "values")


def columns_of(rows: Records, values: SettingValues) -> DecisionColumns:
    """Return the columns that decisions read.

    Parameters
    ----------
    rows : numpy.ndarray
        `pairlab.schema.ROW` records of one run, from its first row on, or from its first z-score.
    values : SettingValues
        Under which they were computed.
    """
    columns = {name: np.ascontiguousarray(rows[name]) for name in _COLUMNS}
    return DecisionColumns(**columns, values=values)


def decisions(columns: DecisionColumns, values: SettingValues) -> tuple[NDArray[np.int8], Records]:
    """Decide on rows under other thresholds, as the engine would have.

    Parameters
    ----------
    columns : DecisionColumns
        Of the rows.
    values : SettingValues
        The thresholds and filters; what defines a metric must be as it was.

    Returns
    -------
    positions : array of int8, shape (rows,)
        After each row: 1 long the spread, -1 short, 0 flat.
    events : numpy.ndarray
        `pairlab.schema.EVENT` records.

    Raises
    ------
    SettingError
        If a setting differs that defines a metric.
    """
    positions = np.empty(len(columns), np.int8)
    return positions, _decided(columns, values, positions)


def events_of(columns: DecisionColumns, values: SettingValues) -> Records:
    """Return the events of `decisions` alone."""
    return _decided(columns, values, np.empty(0, np.int8))


def _decided(
    columns: DecisionColumns, values: SettingValues, positions: NDArray[np.int8]
) -> Records:
    from pairlab.backtesting.sweeping.column_rows import decide_kernel  # numba is slow to import

    if _metric_settings(values) != _metric_settings(columns.values):
        for name in sorted(METRIC_SETTINGS):
            new, old = getattr(values, name), getattr(columns.values, name)
            if new != old:
                raise SettingError(
                    name, new, f"it defines a metric ({old!r}): the rows differ by it"
                )
    params, state = np.zeros(1, PARAMS), new_state()
    fill_params(params, values)
    events = np.empty(len(columns) // _ROWS_AN_EVENT + _FIRST_EVENTS, EVENT)
    run = decide_kernel()
    done = count = 0
    while True:
        done, count = run(
            done, len(columns), count, columns.addresses, state, params, positions, events
        )
        if done == len(columns):
            return events[:count]
        events = np.concatenate([events, np.empty(len(events), EVENT)])
