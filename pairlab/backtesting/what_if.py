"""What thresholds would have made of a lab's rows, told while somebody moves them.

It is tuning in sample, on screen: so it counts the settings tried, and tells the last third apart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.backtesting.accounting import leg_books
from pairlab.backtesting.costs import Costs
from pairlab.backtesting.fills import fill
from pairlab.backtesting.legs import Leg, legs_of_ticks
from pairlab.backtesting.market import Market
from pairlab.backtesting.sweeping.decision_pass import DecisionColumns, columns_of, events_of
from pairlab.backtesting.sweeping.sweep import sweep
from pairlab.backtesting.terms import Terms, terms_of
from pairlab.data.row_store import Cursor
from pairlab.errors import SettingError
from pairlab.lab.pair_lab import PairLab
from pairlab.protocols import WhatIfMap, WhatIfOutcome
from pairlab.schema import EVENT, NS_PER_S, ROW, TIMEFRAMES_NS, Pair, Records, RowFlag
from pairlab.settings import METRIC_SETTINGS, SettingValues

__all__ = ["MOVED", "HeldRows", "LiveWhatIf", "held_rows", "map_of", "outcome_of"]

MOVED: Final = ("entry_z", "exit_z", "stop_z", "min_correlation", "fee_bps")
"""The settings that are tried by moving them."""

CAPITAL: Final = 10_000.0
"""Notional of y of every trade, in the quote currency: as `pairlab.backtest` has it."""

MAP_TIMEFRAMES: Final = ("tick", "1s", "5s", "1m", "5m", "15m")
MAP_ENTRY_Z: Final = tuple(1.0 + 0.25 * step for step in range(13))

_SHOWN_S: Final = 8.0
_FRESH_S: Final = 1.0
_FIRST_FRAMES_S: Final = 1.0
"""How long the compiler waits before it competes with the first frames for the GIL."""

_WARMING: Final = int(RowFlag.WARMING)
_SEEDED: Final = int(RowFlag.SEEDED)


@dataclass(frozen=True)
class HeldRows:
    """Rows, prepared for any number of thresholds.

    Attributes
    ----------
    market : Market
        The rows from the first full window on that are no seeds.
    columns : DecisionColumns
        What decisions read of them.
    terms : Terms
        Fees by the setting ``fee_bps``; no slippage, no latency, no funding.
    at_trades : bool
        Whether a leg is filled at its own next trade; False: at the next bar.
    """

    market: Market
    columns: DecisionColumns
    terms: Terms
    at_trades: bool


def held_rows(rows: Records, values: SettingValues, ticks: Records | None = None) -> HeldRows:
    """Prepare rows.

    Parameters
    ----------
    rows : numpy.ndarray
        `pairlab.ROW` records of one epoch, in order.
    values : SettingValues
        Under which they were computed.
    ticks : numpy.ndarray, optional
        `pairlab.TICK` records held when the rows were: trades that fill what bars decide, if they
        begin before the rows. Rows of the tick timeframe tell them themselves.
    """
    warm = np.flatnonzero((rows["flags"] & (_WARMING | _SEEDED)) == 0)
    begin = int(warm[0]) if len(warm) else len(rows)
    rows = rows[begin:]
    columns = columns_of(rows, values)
    seeds = (rows["flags"] & _SEEDED) != 0  # nothing is decided on them
    columns = replace(columns, zscore=np.where(seeds, np.nan, columns.zscore))
    ordinal, known = np.arange(len(rows)), columns.time_ns
    bars = TIMEFRAMES_NS[values.timeframe] != 0
    traded_ns = None if ticks is None or not bars else _times_before(ticks, rows)
    legs: tuple[Leg, ...]
    if ticks is not None and traded_ns is not None:
        # A bar is closed by the first tick past it.
        ordinal = np.minimum(np.searchsorted(traded_ns, columns.time_ns), len(ticks) - 1)
        legs, known = legs_of_ticks(ticks, ordinal, values)
    else:
        legs = tuple(_leg_of_rows(rows, columns, leg, every=bars) for leg in "yx")
    market = Market(
        rows, np.zeros(0, EVENT), legs[0], legs[1], columns.time_ns, ordinal, known, values,
        warm_up=begin, gaps=0, step_ns=0,
    )  # fmt: skip
    terms = terms_of(
        market, Pair("", ""), Costs(), capital=CAPITAL, latency_s=0.0, max_wait_s=None,
        lots=None, mark=None,
    )  # fmt: skip
    return HeldRows(market, columns, terms, not bars or traded_ns is not None)


def _times_before(ticks: Records, rows: Records) -> NDArray[np.int64] | None:
    """Return when ticks were known, ascending; None if both legs do not begin before the rows."""
    if not len(rows) or not len(ticks):
        return None
    first_ns = rows["time_ns"][0]
    times, number = (np.ascontiguousarray(ticks[name]) for name in ("time_ns", "leg"))
    if any(not (times[number == leg][:1] < first_ns).any() for leg in (0, 1)):
        return None
    return np.maximum.accumulate(times)


def _leg_of_rows(rows: Records, columns: DecisionColumns, name: str, *, every: bool) -> Leg:
    """Return a leg whose trades are the rows at which it has just traded, or every row."""
    traded = np.ones(len(rows), bool) if every else getattr(columns, f"{name}_age_s") == 0.0
    at = np.flatnonzero(traded)
    price = np.ascontiguousarray(rows[name])[at]
    return Leg(columns.time_ns[at], price, np.cumsum(traded) - 1, at)


def outcome_of(held: HeldRows, values: SettingValues, number: int, tried: int) -> WhatIfOutcome:
    """Decide, fill and pay under other thresholds.

    Parameters
    ----------
    held : HeldRows
        The rows.
    values : SettingValues
        The thresholds; what defines a metric is as it was.
    number, tried : int
        Of the outcome.
    """
    events = events_of(held.columns, values)
    market = replace(held.market, events=events, values=values)
    terms, times, z = held.terms, held.columns.time_ns, held.columns.zscore
    wait_ns = round(terms.max_wait_s(values) * NS_PER_S)
    fills, _ = fill(market, terms.capital, terms.latency_ns, wait_ns, terms.lots)
    y, x = leg_books(
        market, fills, terms.fee_bps(values), terms.slippage_bps, terms.funding, terms.marks
    )
    costs: NDArray[np.float64] = y.fees + x.fees + y.slippage + x.slippage
    net = y.gross + x.gross - costs
    span_ns = int(times[-1] - times[0]) if len(times) else 0
    entry_ns = times[fills.entry_row]
    late = entry_ns >= (int(times[0]) + span_ns * 2 // 3 if len(times) else 0)
    left = fills.exit_row[fills.exit_row >= 0]
    return WhatIfOutcome(
        number=number, values=values, trades=len(fills), last_trades=int(late.sum()),
        net=float(net.sum()), costs=float(costs.sum()), last_net=float(net[late].sum()),
        capital=terms.capital, span_s=span_ns / NS_PER_S, tried=tried,
        at_trades=held.at_trades, entry_ns=entry_ns,
        entry_z=z[fills.entry_row], entry_side=fills.side, exit_ns=times[left], exit_z=z[left],
    )  # fmt: skip


class LiveWhatIf:
    """Computes, on a thread, what the thresholds would have made, whenever one is moved.

    The newest request wins: while one is computed, those that come and are overtaken are left out.
    The loop only takes a view of the rows, which is not copied there.

    Parameters
    ----------
    lab : PairLab
        Whose rows and settings.
    """

    def __init__(self, lab: PairLab) -> None:
        self._lab = lab
        self._lock = threading.Lock()
        self._wanted: tuple[Records, Records, Cursor, SettingValues] | None = None
        self._busy = False
        self._prepared = False
        self._asked = threading.Event()
        self._held: tuple[HeldRows, int, float] | None = None  # with the epoch, and when
        self._tried: set[tuple[Any, ...]] = set()
        self._newest: WhatIfOutcome | None = None
        self._shown_until_s = 0.0
        self._number = 0
        self._map: WhatIfMap | None = None
        self._mapping = False
        lab.settings.observe(self._on_moved, list(MOVED))

    @property
    def outcome(self) -> WhatIfOutcome | None:
        """The newest outcome; None when nothing was moved for some seconds."""
        if self._newest is not None and time.monotonic() > self._shown_until_s:
            self._newest = self._held = None  # the rows are held by nobody else, maybe
        return self._newest

    def prepare(self) -> None:
        """Compile the kernels on the thread; who moves a threshold meanwhile is next on it."""
        with self._lock:
            if self._prepared:
                return
            self._prepared = True
            if self._busy:
                return  # compiled just now
            self._busy = True
        self._start(self._prepare)

    def _start(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name="pairlab what-if", daemon=True).start()

    def _prepare(self) -> None:
        self._asked.wait(_FIRST_FRAMES_S)
        try:
            # Under no rows, so that whatever an outcome needs is compiled, or loaded.
            values = self._lab.row_settings
            outcome_of(held_rows(np.zeros(0, ROW), values), values, 0, 0)
        except Exception as error:
            self._failed(error)
        self._work()

    def _on_moved(self, _: Any) -> None:
        self._lab.call_on_loop(self._ask)

    def _ask(self) -> None:
        rows, row_values = self._lab.rows, self._lab.row_settings
        asked = self._lab.settings.values()
        of_rows = {name: getattr(row_values, name) for name in METRIC_SETTINGS}
        self._asked.set()
        with self._lock:
            held = rows.view(), self._lab.held_ticks
            self._wanted = *held, rows.cursor, replace(asked, **of_rows)
            if self._busy:
                return
            self._busy = True
        self._start(self._work)

    def _work(self) -> None:
        while True:
            with self._lock:
                wanted, self._wanted = self._wanted, None
                if wanted is None:
                    self._busy = False
                    return
            try:
                self._newest = self._compute(*wanted)
                self._shown_until_s = time.monotonic() + _SHOWN_S
            except Exception as error:
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        # Nobody waits for it: what broke is told where errors are.
        told = f"what-if failed: {type(error).__name__}: {error}"
        self._lab.call_on_loop(self._lab.log, "error", told)

    def _compute(
        self, rows: Records, ticks: Records, cursor: Cursor, values: SettingValues
    ) -> WhatIfOutcome | None:
        if (rows["flags"] & (_WARMING | _SEEDED) != 0).all():
            return None  # no window is full: there is nothing to try it on
        now_s = time.monotonic()
        held = self._held
        if held is None or held[1] != cursor.epoch or now_s - held[2] > _FRESH_S:
            held = self._held = held_rows(rows, values, ticks), cursor.epoch, now_s
        metric = {name: getattr(held[0].columns.values, name) for name in METRIC_SETTINGS}
        self._tried.add(tuple(getattr(values, name) for name in MOVED))
        self._number += 1
        return outcome_of(held[0], replace(values, **metric), self._number, len(self._tried))

    # -- the map --------------------------------------------------------------------------------

    @property
    def map(self) -> WhatIfMap | None:
        """The newest map; None before the first."""
        return self._map

    @property
    def mapping(self) -> bool:
        """Whether a map is being computed."""
        return self._mapping

    def ask_map(self) -> None:
        """Compute a map on a thread; while one is computed, nothing."""
        if not self._mapping:
            self._mapping = True
            values = self._lab.settings.values()
            work = threading.Thread(
                target=self._work_on_map, args=(values,), name="pairlab what-if map", daemon=True
            )
            work.start()

    def _work_on_map(self, values: SettingValues) -> None:
        try:
            number = 1 if self._map is None else self._map.number + 1
            self._map = map_of(self._lab.ticks(), self._lab.pair, values, number)
        except Exception as error:
            told = f"the map of what-if failed: {type(error).__name__}: {error}"
            self._lab.call_on_loop(self._lab.log, "warning", told)
        finally:
            self._mapping = False


def map_of(ticks: pd.DataFrame, pair: Pair, values: SettingValues, number: int) -> WhatIfMap:
    """Backtest every entry z at every timeframe.

    Parameters
    ----------
    ticks : pandas.DataFrame
        As `PairLab.ticks` gives them.
    pair : Pair
        Which of the symbols is y.
    values : SettingValues
        The other settings.
    number : int
        Of the map.

    Raises
    ------
    DataError
        If there are no ticks.
    """
    given = {k: v for k, v in asdict(values).items() if k not in ("timeframe", "entry_z")}
    if values.hedge != "fixed":
        del given["hedge_ratio"]
    shape = len(MAP_TIMEFRAMES), len(MAP_ENTRY_Z)
    net, trades = np.full(shape, np.nan), np.zeros(shape, np.int64)
    for at, timeframe in enumerate(MAP_TIMEFRAMES):
        try:
            found = sweep(
                ticks, {"entry_z": MAP_ENTRY_Z}, pair=pair, capital=CAPITAL, n_jobs=1,
                timeframe=timeframe, **given,
            )  # fmt: skip
        except SettingError:
            continue  # no entry of the map is possible beside the other settings
        for row in found.frame.to_dict("records"):
            column = MAP_ENTRY_Z.index(row["entry_z"])
            net[at, column], trades[at, column] = row["net_profit"], row["trades"]
    times = ticks.index
    span_s = (times[-1] - times[0]).total_seconds() if len(times) else 0.0
    entry_z = np.array(MAP_ENTRY_Z)
    return WhatIfMap(number, MAP_TIMEFRAMES, entry_z, net, trades, values, span_s)
