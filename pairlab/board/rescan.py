"""Scans every pair of the board's symbols again at each bar, off the loop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.board.asked_pairs import MOST_PAIRS
from pairlab.board_protocol import BreakAlert, BreakKind
from pairlab.errors import DataError, PairlabError, SettingError
from pairlab.feeds.binance.klines import KLINE_TIMEFRAMES
from pairlab.schema import NS_PER_S, TIMEFRAMES_NS, Pair

if TYPE_CHECKING:
    from pairlab.board.runner import BoardRunner

__all__ = ["LEAST_BARS", "Rescan", "SymbolBars", "breaks_of", "check_scan", "scan_closes"]

LEAST_BARS: Final = 60
"""Bars that a scan needs before it says anything."""

_MONITORED: Final = 1 / 3  # the share of the newest bars in which a break is looked for
_SETTLE_S: Final = 0.25  # after a bar's close, for what is on its way


class SymbolBars:
    """Closes of all symbols, a row a bar, in bounded memory.

    Parameters
    ----------
    symbols : sequence of str
        The columns.
    length_ns : int
        Of a bar.
    bars : int
        How many of the newest are kept.
    """

    def __init__(self, symbols: tuple[str, ...], length_ns: int, bars: int) -> None:
        self.symbols: Final = symbols
        self.length_ns: Final = length_ns
        self._most = bars
        self.times: NDArray[np.int64] = np.zeros(0, np.int64)
        self.closes: NDArray[np.float64] = np.zeros((0, len(symbols)))

    def put(self, symbol: str, times: NDArray[np.int64], closes: NDArray[np.float64]) -> None:
        """Put a symbol's closes where they belong; rows that are new have none of the others."""
        if not len(times):
            return
        every = np.union1d(self.times, times)[-self._most :]
        grown = np.full((len(every), len(self.symbols)), np.nan)
        kept = np.isin(self.times, every)
        grown[np.searchsorted(every, self.times[kept])] = self.closes[kept]
        news = np.isin(times, every)
        at = self.symbols.index(symbol)
        grown[np.searchsorted(every, times[news]), at] = closes[news]
        self.times, self.closes = every, grown

    def close(self, time_ns: int, prices: NDArray[np.float64]) -> None:
        """Add the bar that has closed: the last price of each symbol, NaN where it never traded."""
        if len(self.times) and time_ns <= self.times[-1]:
            return
        self.times = np.append(self.times, time_ns)[-self._most :]
        self.closes = np.vstack([self.closes, prices])[-self._most :]


class Rescan:
    """Keeps the board's list what the scan of the last bar says.

    A pair comes when its q is at most `max_q`, and leaves when it is above twice that, or is among
    the first no more; one whose position is open stays, and so do pairs that a person added.

    Parameters
    ----------
    runner : BoardRunner
        The board's.
    symbols : tuple of str
        All pairs of them are tested.
    timeframe : str
        Of the bars.
    bars : int
        How many of the newest are scanned.
    most : int
        Pairs that it keeps on the board.
    max_q : float
        Corrected p-value at which a pair comes.
    add, remove : callable
        Put a pair on the board, and take it off.

    Attributes
    ----------
    frame : pandas.DataFrame or None
        What the last scan found, as `pairlab.ScanResult.frame`.
    took_s : float
        Seconds that it took.
    count : int
        Scans so far.
    """

    def __init__(
        self,
        runner: BoardRunner,
        symbols: tuple[str, ...],
        timeframe: str,
        bars: int,
        most: int,
        max_q: float,
        add: Callable[[Pair], object],
        remove: Callable[[Pair], object],
    ) -> None:
        self.frame: pd.DataFrame | None = None
        self.took_s = float("nan")
        self.count = 0
        self.own: set[Pair] = set()  # those it has added
        self.timeframe: Final = timeframe
        self._runner = runner
        self._most = min(most, MOST_PAIRS)
        self._max_q = max_q
        self._add, self._remove = add, remove
        self._told: dict[str, str] = {}
        self._broken: set[tuple[Pair, BreakKind]] = set()
        self.bars: Final = SymbolBars(symbols, TIMEFRAMES_NS[timeframe], bars)
        self._bars_wanted = bars

    async def run(self) -> None:
        """Scan what is known at once, and again at each bar, until cancelled."""
        await self._load()
        await self._scan()
        length_s = self.bars.length_ns / NS_PER_S
        while True:
            now_s = self._runner.clock.time_ns() / NS_PER_S
            await asyncio.sleep(length_s - now_s % length_s + _SETTLE_S)
            self.close_bar(self._runner.clock.time_ns() // self.bars.length_ns)
            await self._scan()

    def close_bar(self, number: int) -> None:
        """Take the last prices as the closes of the bar that has ended."""
        core = self._runner.core
        prices = [
            core.store.prices[core.symbols[symbol]] if symbol in core.symbols else np.nan
            for symbol in self.bars.symbols
        ]
        self.bars.close(number * self.bars.length_ns, np.array(prices))

    async def _load(self) -> None:
        klines = self._runner.klines
        if self.timeframe not in KLINE_TIMEFRAMES or klines is None:
            return
        for symbol in self.bars.symbols:
            try:
                closes = await klines.closes(symbol, self.timeframe, self._bars_wanted)
            except PairlabError as error:
                self._runner.log("warning", f"{symbol}: no bars of before: {error}")
                continue
            if closes is not None:
                self.bars.put(symbol, *closes)

    async def _scan(self) -> None:
        if len(self.bars.times) < LEAST_BARS:
            return
        started_s = self._runner.clock.monotonic_s()
        try:
            frame, aside = await asyncio.to_thread(
                scan_closes, self.bars.symbols, self.bars.closes, 2 * self._most
            )
        except DataError as error:
            self._tell({"scan": str(error)})
            return
        self.took_s = self._runner.clock.monotonic_s() - started_s
        self.count += 1
        self.frame = frame
        self._tell(aside)
        self._update(frame)
        await self._tell_breaks()

    def _tell(self, aside: dict[str, str]) -> None:
        """Tell why symbols are not scanned: once, not at every bar."""
        for symbol, why in aside.items():
            if self._told.get(symbol) != why:
                self._runner.log("warning", f"rescan: {symbol}: {why}")
        self._told = aside

    async def _tell_breaks(self) -> None:
        """Tell which pairs of the board are not what they were: once, while it lasts.

        All of them: a pair that breaks is no longer among the first of a scan.
        """
        known = [pair for pair in self._runner.pairs if set(pair) <= set(self.bars.symbols)]
        found = await asyncio.to_thread(breaks_of, self.bars.symbols, self.bars.closes, known)
        closed_ns = int(self.bars.times[-1])
        for (pair, kind), ratio in found.items():
            if (pair, kind) not in self._broken and pair in self._runner.pairs:
                alert = BreakAlert(kind, closed_ns, ratio)
                self._runner.log("warning", f"{pair.y} / {pair.x}: {alert.sentence}")
                self._runner.alerts.add(pair, alert)
        self._runner.listeners.deliver(self._runner.alerts)
        self._broken = set(found)

    def _update(self, frame: pd.DataFrame) -> None:
        good = frame[~frame["same_underlying"] & ~frame["collinear"]]
        best = good.head(self._most)
        q = {frozenset((y, x)): q for y, x, q in zip(good["y"], good["x"], good["q"], strict=True)}
        on_board = {frozenset(pair): pair for pair in self._runner.pairs}
        first = {
            frozenset((y, x)): Pair(y, x)
            for y, x, q in zip(best["y"], best["x"], best["q"], strict=True)
            if q <= 2 * self._max_q
        }
        leaving = [pair for key, pair in on_board.items() if pair in self.own and key not in first]
        for pair in leaving:
            now = q.get(frozenset(pair))
            why = "q is above what it scans for" if now is None else f"q = {now:.3g}"
            snapshot = self._runner.pairs[pair].pipeline.rows.newest()
            if len(snapshot) and snapshot["position"][0] != 0:
                if self._told.get(str(pair)) != "open":
                    self._runner.log(
                        "info", f"{pair.y} / {pair.x} stays: {why}, but its position is open"
                    )
                self._told[str(pair)] = "open"
                continue
            self._remove(pair)
            self.own.discard(pair)
            self._runner.log("info", f"{pair.y} / {pair.x} leaves the board: {why}")
        room = self._most - len(self.own & set(self._runner.pairs))
        coming = [
            (key, pair)
            for key, pair in first.items()
            if q[key] <= self._max_q and key not in on_board
        ]
        for key, pair in coming[: max(room, 0)]:
            self.own.add(pair)
            self._add(pair)
            self._runner.log("info", f"{pair.y} / {pair.x} comes to the board: q = {q[key]:.3g}")


def scan_closes(
    symbols: tuple[str, ...], closes: NDArray[np.float64], rows: int
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Scan all pairs of symbols; any thread will do.

    Parameters
    ----------
    symbols : tuple of str
        The columns.
    closes : array, shape (bars, symbols)
        Their closes, NaN where there is none.
    rows : int
        Pairs that are described, the smallest p first.

    Returns
    -------
    tuple
        The `pairlab.ScanResult.frame`, and why symbols were set aside.
    """
    from pairlab.scanning import scan

    prices = pd.DataFrame(closes, columns=list(symbols))
    found = scan(prices, placebo=0, rows=max(rows, 1), n_jobs=1)
    return found.frame, found.set_aside


def breaks_of(
    symbols: tuple[str, ...], closes: NDArray[np.float64], pairs: list[Pair]
) -> dict[tuple[Pair, BreakKind], float]:
    """Return how far pairs went beyond the boundary of their monitoring; any thread will do.

    Parameters
    ----------
    symbols, closes
        As `scan_closes` takes them.
    pairs : list of Pair
        Of these symbols.

    Returns
    -------
    dict
        By pair and what has changed, the largest CUSUM in boundaries, 1 or more.
    """
    from pairlab.scanning.breaks import FALSE_ALARMS, boundary_level, pair_breaks

    numbers = np.array([[symbols.index(leg) for leg in pair] for pair in pairs]).reshape(-1, 2)
    results = np.empty((len(pairs), 4))
    level = boundary_level(FALSE_ALARMS)
    pair_breaks(np.ascontiguousarray(closes.T), numbers, _MONITORED, level, results)
    found: dict[tuple[Pair, BreakKind], float] = {}
    for pair, (spread, _, drift, _) in zip(pairs, results.tolist(), strict=True):
        if spread >= 1.0:
            found[pair, "BREAK"] = spread
        if drift >= 1.0:
            found[pair, "DRIFT"] = drift
    return found


def check_scan(
    rescan: object, timeframe: object, bars: object, pairs: object, max_q: object
) -> None:
    """Raise SettingError for an argument of `pairlab.Board` that no rescan can have."""
    if rescan not in (None, "bar", "off"):
        raise SettingError("rescan", rescan, "expected 'bar' or 'off'")
    bar_timeframes = [name for name, ns in TIMEFRAMES_NS.items() if ns]
    if timeframe is not None and timeframe not in bar_timeframes:
        words = ", ".join(map(repr, bar_timeframes))
        raise SettingError("scan_timeframe", timeframe, f"expected one of {words}")
    for name, value, least, most in (
        ("scan_bars", bars, 60, 5_000), ("scan_pairs", pairs, 1, 500),
    ):  # fmt: skip
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or not least <= int(value) <= most:  # type: ignore[call-overload]
            raise SettingError(name, value, f"expected a whole number, {least:,} to {most:,}")
    if not isinstance(max_q, int | float) or math.isnan(max_q) or not 0 < max_q <= 1:
        raise SettingError("max_q", max_q, "expected a number above 0, at most 1")
