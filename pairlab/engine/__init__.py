"""The compiled kernel that turns ticks and observations into rows.

::

    state          record layouts: state, parameters, bars; codes and limits
    jit            numba decorators, and the key of the kernel cache
    rolling_sums   window sums, anchored on the spread, recomputed when digits are lost
    hedge          least squares, Kalman filter
    cointegration  Dickey-Fuller, Engle-Granger, MacKinnon's p-values, half-life
    signals        signal state machine: z-score and filters to positions
    bars           OHLCV bars of symbols, for every timeframe
    observation    one observation: the window moves on, every metric of its row
    kernel         ticks or observations in, rows and events out
    buffers        the arrays that a kernel works in
    gaps           ticks with time between them that nobody saw
    validation     checks of what an engine is given
    diagnostics    whether the Kalman hedge leaves a spread to trade
    pair_engine    `PairEngine`: kernel and buffers of one pair
    many_kernel    the kernel of many pairs: ticks of all symbols in, each pair's rows out
    many_pairs     `ManyPairs`: many engines in one memory, advanced by one call a batch
    compiling      `compile_kernel`: all of that before it is needed

A new column of a row takes its field in `pairlab.schema.ROW` and, to be shown, its name in
`HISTORY_COLUMNS`; what it remembers in `state.STATE`; and its computation in
`observation.observe`. A new setting that the kernel reads takes one line in `state.PARAMS`.

Importing this package does not import numba: the first `PairEngine` does.
"""

from pairlab.engine.compiling import compile_kernel
from pairlab.engine.pair_engine import PairEngine

__all__ = ["PairEngine", "compile_kernel"]
