"""What is computed: from ticks to rows, in one compiled kernel.

::

    layout         what is remembered of a pair, as records; codes and limits
    compiled       how functions are compiled and cached
    moments        rolling sums, anchored on the spread, summed afresh
    hedge          least squares, Kalman
    cointegration  Dickey-Fuller, Engle-Granger, MacKinnon's p-values, half-life
    signal         from a z-score to a position
    bars           open, high, low, close, volume for every timeframe
    kernel         all of them, once per tick
    memory         the arrays of a pair, and what is read from them
    checks         what can be given, and the words for what cannot
    health         whether the Kalman hedge leaves a spread to be traded
    engine         `PairEngine`: the kernel with its memory

Importing this package does not import numba: the first `PairEngine` does.
"""

from pairlab.engine.pair_engine import PairEngine, compile_kernel

__all__ = ["PairEngine", "compile_kernel"]
