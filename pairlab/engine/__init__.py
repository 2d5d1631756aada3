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
    many/          `ManyPairs`: many engines in one memory, advanced by one call a batch

A new column of a row takes its field in `pairlab.schema.ROW` and, to be shown, its name in
`HISTORY_COLUMNS`; what it remembers in `state.STATE`; and its computation in
`observation.observe`. A new setting that the kernel reads takes one line in `state.PARAMS`.

Importing this package does not import numba: the first `PairEngine` does.
"""

from collections.abc import Callable

from pairlab.engine.pair_engine import PairEngine

__all__ = ["PairEngine", "compile_kernel"]


def compile_kernel(
    progress: Callable[[str], None] | None = None, *, many_pairs: bool = False
) -> None:
    """Compile the kernels that are not in numba's cache yet; blocks, so call it in a thread.

    Parameters
    ----------
    progress : callable, optional
        Called with a line of text before each step.
    many_pairs : bool
        Whether the kernel of `pairlab.engine.many.many_pairs` is needed, too.
    """
    say = progress or (lambda text: None)
    say("loading the compiler")
    from pairlab.engine import jit, kernel

    steps: list[Callable[[], object]] = [
        kernel.kernel_gil,
        kernel.kernel_nogil,
        kernel.run_observations,
    ]
    if many_pairs:
        from pairlab.engine.many import many_kernel

        steps.append(many_kernel.kernel_many)
    for number, compile_step in enumerate(steps, 1):
        say(f"compiling the engine ({number} of {len(steps)})")
        compile_step()
    for problem in jit.cache_problems():
        say(problem)
    say("engine compiled")
