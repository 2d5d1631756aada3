"""Record layouts of the kernel (state, parameters, bars), its codes and limits.

Nothing here needs numba, so that importing `pairlab.engine` stays cheap.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from pairlab.limits.consistency import leg_age_limit_s
from pairlab.limits.stationarity import largest_p
from pairlab.schema import NO_TIME_NS, TICK, TIMEFRAMES_NS, Records, kalman_rows
from pairlab.settings import SettingValues

__all__ = [
    "BAR",
    "BARS_AT",
    "BARS_HELD",
    "BAR_CLOCK",
    "BAR_CLOCK_AT",
    "BAR_TIMEFRAMES",
    "CAPACITY_AT",
    "DROP_REASONS",
    "EMPTY_BARS_MAX",
    "EPS",
    "EVENTS_AT",
    "FIXED",
    "KALMAN",
    "LEGS",
    "LEGS_MEMORY",
    "LEGS_STRIDE",
    "NEVER_NS",
    "OLS",
    "PAIR_SLOT",
    "PARAMS",
    "PARAMS_AT",
    "RING_AT",
    "RING_COLUMNS",
    "ROWS_AT",
    "SIGNAL_FIELDS",
    "STATE",
    "STATE_AT",
    "SUPPRESSED_EVERY_S",
    "SYMBOL_BAR",
    "SYMBOL_TICK",
    "fill_params",
    "new_state",
]

FIXED: Final = 0
OLS: Final = 1
KALMAN: Final = 2
_HEDGES: Final = {"fixed": FIXED, "ols": OLS, "kalman": KALMAN}

EPS: Final = float(np.finfo(np.float64).eps)

SUPPRESSED_EVERY_S: Final = 10.0
"""At most one SUPPRESSED per this much row time; those withheld are counted on the next one."""

EMPTY_BARS_MAX: Final = 86_400
"""Empty bars that one tick may close, a day of seconds; of a longer silence the older part is
skipped and the next row says GAP_BEFORE. No window is longer, so no metric but Kalman's notices."""

BAR_TIMEFRAMES: Final = tuple(name for name, ns in TIMEFRAMES_NS.items() if ns)
"""Timeframes for which bars are kept; each is a multiple of the first."""

BARS_HELD: Final = 10_000
"""Closed bars kept per timeframe."""

LEGS_MEMORY: Final = 20_000
"""Observations over which the spread's half-life is estimated, at least, for the Kalman hedge."""

LEGS_STRIDE: Final = 4
"""Every so many observations one is taken for it: no half-life that matters is as short."""

RING_COLUMNS: Final = 3
"""Per observation in the window: y, x (logarithms under log prices), Kalman innovation."""

LEGS: Final = 2
"""Symbols of a pair; a tick's ``leg`` counts them: y is 0, x is 1."""

NEVER_NS: Final = 2**63 - 1
"""When a bar closes that has not begun, and how long a position may be held where nothing says."""

SYMBOL_BAR: Final = np.dtype(
    [
        ("time_ns", np.int64),  # when it closes
        ("open", np.float64),
        ("high", np.float64),
        ("low", np.float64),
        ("close", np.float64),
        ("volume", np.float64),
    ],
    align=True,
)
"""One bar of one symbol; prices are NaN until it has traded."""

BAR_CLOCK: Final = np.dtype(
    [
        ("begun", np.int64),
        ("unseen", np.int64),  # bits of the symbols that have not traded since a gap
        ("end_ns", np.int64, (len(BAR_TIMEFRAMES),)),  # when each forming bar closes
        ("head", np.int64, (len(BAR_TIMEFRAMES),)),  # slot of each forming bar
        ("count", np.int64, (len(BAR_TIMEFRAMES),)),  # closed bars held
    ],
    align=True,
)
"""Where the bars of a stream's symbols are: they open and close together."""

BAR: Final = np.dtype(
    [("time_ns", np.int64)]
    + [(f"{leg}_{name}", np.float64) for leg in "yx" for name in ("open", "high", "low", "close")]
    + [("y_volume", np.float64), ("x_volume", np.float64)],
    align=True,
)
"""Bars of both legs side by side, as `PairEngine.bars` returns them."""

SYMBOL_TICK: Final = np.dtype(
    [(name, np.int32) if name == "leg" else (name, TICK[name]) for name in (TICK.names or ())],
    align=True,
)
"""A `pairlab.schema.TICK` whose ``leg`` is the number of its symbol among those of many pairs.

Every field lies where `TICK` has it, so that a copy becomes a pair's ticks once ``leg`` is set.
"""

PAIR_SLOT: Final = np.dtype(
    [
        # addresses of the pair's STATE, PARAMS and window, and of the buffer of its rows
        ("state", np.int64),
        ("params", np.int64),
        ("ring", np.int64),
        ("rows", np.int64),
        ("room", np.int64),  # rows that the buffer holds
        ("end", np.int64),  # rows in it
        ("total", np.int64),  # rows ever written, which number them
        ("made", np.int64),  # rows since the start, over every rebuild
        ("gaps", np.int64),  # rows flagged GAP_BEFORE at bar timeframes; who reads it zeroes it
        ("y", np.int64),  # numbers of the symbols
        ("x", np.int64),
        ("active", np.int64),  # 0: passed over
    ],
    align=True,
)
"""One of many pairs: where the kernel finds its memory, and how far its rows are."""

STATE_AT, PARAMS_AT, RING_AT, BAR_CLOCK_AT, BARS_AT, ROWS_AT, EVENTS_AT, CAPACITY_AT = range(8)
"""Where a kernel finds the addresses of its arrays, and how many rows there is room for."""

PARAMS: Final = np.dtype(
    [
        # settings under their own names: `fill_params` copies them
        ("window", np.int64),
        ("adf_lags", np.int64),
        ("require_stationary", np.int64),
        ("hedge_ratio", np.float64),
        ("entry_z", np.float64),
        ("exit_z", np.float64),
        ("stop_z", np.float64),
        ("min_correlation", np.float64),
        ("min_edge_bps", np.float64),
        # derived from settings: `_derived` computes them
        ("hedge", np.int64),  # FIXED, OLS or KALMAN
        ("timeframe_ns", np.int64),
        ("log_prices", np.int64),
        ("correlate_returns", np.int64),
        ("leg_age_limit_s", np.float64),
        ("cooldown_ns", np.int64),
        ("max_hold_ns", np.int64),
        ("suppressed_every_ns", np.int64),
        ("inv_n", np.float64),  # 1 / window; 1 / (window − 1); 1 / (window − 2)
        ("inv_n1", np.float64),
        ("inv_n2", np.float64),
        ("kalman_rows", np.int64),  # innovations that R is learnt from before anything is shown
        ("kalman_q", np.float64),  # process noise, in units of the observation noise
        ("kalman_weight", np.float64),  # of the newest innovation in R
        ("largest_p", np.float64),  # that counts as stationary
        ("diagnostics_weight", np.float64),  # of the newest innovation in the diagnostics' moments
        ("legs_weight", np.float64),  # of the newest observation in the legs' moments
        # switches of the engine: no setting touches them
        ("signals_paused", np.int64),
        ("keep_bars", np.int64),
    ],
    align=True,
)
"""Parameters of the kernel. A setting that it reads as it is takes one line here."""

_SWITCHES: Final = frozenset({"signals_paused", "keep_bars"})

_OFF: Final = {"stop_z": math.inf, "min_edge_bps": 0.0}
"""What the kernel reads for a setting that is None."""

_SIGNAL: Final = [
    ("position", np.int64),
    ("lock", np.int64),  # side of z on which a STOP locked the entry; 0 open
    ("excursion", np.int64),  # side of z of an excursion that was suppressed; 0 none
    ("decoupled", np.int64),  # DECOUPLED was reported for this position
    ("entered_ns", np.int64),  # row time of the last ENTRY
    ("has_exited", np.int64),  # a position was ever left
    ("exited_ns", np.int64),  # row time of the last EXIT or STOP
    ("has_suppressed", np.int64),  # a SUPPRESSED was ever shown
    ("suppressed_ns", np.int64),  # row time of the last one shown
    ("suppressed_unshown", np.int64),  # since the last one shown
]

SIGNAL_FIELDS: Final = tuple(name for name, _ in _SIGNAL)
"""Fields of `STATE` that belong to the signal state machine."""

DROP_REASONS: Final = ("not_finite", "not_positive", "unknown_leg")
"""Fields of `STATE` that count invalid ticks."""

_COUNTERS: Final = (*DROP_REASONS, "late")

_TIMES: Final = ["time_ns", "y_time_ns", "x_time_ns", "bar_end_ns", "skip_to_ns", "received_ns"]

_SUMS: Final = (
    # anchors: y0, x0 from inside the window, b0 its slope, c0 = y0 − b0·x0
    *("y0", "x0", "b0", "c0"),
    # u = y − y0, v = x − x0, w = u − b0·v
    *("u", "v", "uu", "vv", "uv", "w", "ww", "wv"),
    # d = Δw, g = Δv; "1": with the difference before it
    *("dd", "dg", "gg", "dd1", "dg1", "gg1"),
    # returns about their anchors
    *("q0", "r0", "q", "r", "qq", "rr", "qr"),
    # innovations about their anchor, and their differences
    *("i0", "i", "ii", "di"),
    # centred sums, the slope left on the anchor's, Σe² of the spread, and what counts as none
    *("s_uu", "s_vv", "s_uv", "s_wv", "slope", "s_ee", "floor"),
    # the largest each sum of squares has been since it was recomputed
    *("peak_u", "peak_v", "peak_w", "peak_d", "peak_g", "peak_q", "peak_r", "peak_i"),
)

_KALMAN: Final = (
    # the first observation, what a price is multiplied by, and x's share of β in the level there
    *("k_y", "k_x", "k_unit", "k_scale_y", "k_scale_x", "k_origin"),
    # level there and slope, the factors of their covariance, what the next process noise is of d1,
    # R, and the innovation before
    *("k_level", "k_beta", "k_u", "k_d0", "k_d1", "k_share", "k_r", "k_last"),
    # exponential moments of (innovation before, innovation), for diagnostics
    *("h_a", "h_b", "h_aa", "h_ab", "h_bb", "h_ols"),
    # exponential moments of the legs before the filter: u, v from anchors, and their next steps
    *("f_y0", "f_x0", "f_u1", "f_v1", "f_count", "f_u", "f_v", "f_uu", "f_uv", "f_vv"),
    *("f_d", "f_g", "f_ud", "f_ug", "f_vd", "f_vg"),
)

STATE: Final = np.dtype(
    [(name, np.int64) for name in _TIMES]
    + [
        ("y_seen", np.int64),  # its last price is known: it has traded since the last gap
        ("x_seen", np.int64),
        ("gap", np.int64),  # the next row is the first one after a gap
        ("next_corrected", np.int64),  # the next tick's time was corrected
        ("corrected", np.int64),  # bits of the legs with such a tick since the last row
        ("seeded", np.int64),  # no tick since the seeds
        ("kernel_version", np.int64),  # digest of the sources that last ran on it
        ("count", np.int64),  # observations so far
        ("head", np.int64),  # ring slot of the next observation: the oldest, once it is full
        ("since_recompute", np.int64),  # observations since the sums were recomputed
        ("run_y", np.int64),  # how many of the newest observations are equal
        ("run_x", np.int64),
        ("run_s", np.int64),
        ("ols_count", np.int64),
        ("kalman_seen", np.int64),  # innovations in R
        ("kalman_moves", np.int64),  # of y among them
        ("kalman_learnt", np.int64),  # observations since hedge and noise were learnt; 0 not yet
    ]
    + [(name, np.int64) for name in _COUNTERS]
    + _SIGNAL
    + [("y_price", np.float64), ("x_price", np.float64), ("spread", np.float64)]
    + [(name, np.float64) for name in (*_SUMS, *_KALMAN)],
    align=True,
)
"""State of one pair, but for its window of observations. Many pairs are one array of these."""


def new_state(pairs: int = 1) -> Records:
    """Return the states of pairs that have seen nothing."""
    state = np.zeros(pairs, STATE)
    for name in ("time_ns", "y_time_ns", "x_time_ns", "skip_to_ns"):
        state[name] = NO_TIME_NS
    state["bar_end_ns"] = NEVER_NS
    return state


def fill_params(params: Records, values: SettingValues) -> None:
    """Write settings into `PARAMS` records.

    Parameters
    ----------
    params : numpy.ndarray
        One or more `PARAMS` records; their ``signals_paused`` and ``keep_bars`` are left alone.
    values : SettingValues
        As `pairlab.settings.Settings.values` gives them.
    """
    derived = _derived(values)
    for name in PARAMS.names or ():
        if name in derived:
            params[name] = derived[name]
        elif name not in _SWITCHES:
            value = getattr(values, name)
            params[name] = _OFF[name] if value is None else value


def _derived(values: SettingValues) -> dict[str, float]:
    """Return the parameters that are computed from settings rather than copied."""
    n = values.window
    kalman_weight = math.log(2.0) / values.kalman_half_life
    return {
        "hedge": _HEDGES[values.hedge],
        "timeframe_ns": TIMEFRAMES_NS[values.timeframe],
        "log_prices": values.price_scale == "log",
        "correlate_returns": values.correlation_of == "returns",
        "leg_age_limit_s": leg_age_limit_s(values),
        "cooldown_ns": round(values.cooldown_s * 1e9),
        "max_hold_ns": round(values.max_hold_s * 1e9) if values.max_hold_s else NEVER_NS,
        "suppressed_every_ns": round(SUPPRESSED_EVERY_S * 1e9),
        # A multiplication takes a tenth of a division's time, and there are twenty per row.
        "inv_n": 1.0 / n,
        "inv_n1": 1.0 / (n - 1),
        "inv_n2": 1.0 / (n - 2),
        "kalman_rows": kalman_rows(values.kalman_half_life),
        "kalman_q": kalman_weight**2 / 2.0,
        "kalman_weight": kalman_weight,
        "largest_p": largest_p(values),
        "diagnostics_weight": kalman_weight / 10.0,
        # as long as it takes to tell half-lives of thousands of rows, whatever the filter's memory
        "legs_weight": LEGS_STRIDE * min(kalman_weight / 10.0, 1.0 / LEGS_MEMORY),
    }
