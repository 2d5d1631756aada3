"""A ledger of a session: its decisions filled as they come, and the money that they made."""

from __future__ import annotations

from collections import deque
from typing import Final, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.backtesting.costs import Costs
from pairlab.backtesting.legs import NEVER_NS
from pairlab.backtesting.live.compiled import are_compiled, compile_on_a_thread, wait_compiled
from pairlab.backtesting.live.equity_curve import EquityCurve
from pairlab.backtesting.live.fill_queue import Batch, FillQueue, Newest
from pairlab.backtesting.live.settlement import (
    Decision,
    Settled,
    Tables,
    market_of_decisions,
    nothing_settled,
    settled,
)
from pairlab.backtesting.terms import Terms, terms_of
from pairlab.data.alert_log import AlertLog
from pairlab.data.journal import JournalEvent, Reset
from pairlab.errors import SettingError
from pairlab.lab.pipeline import Pipeline
from pairlab.protocols import SessionMoney
from pairlab.schema import TIMEFRAMES_NS, AlertKind, Pair, Records
from pairlab.settings import SettingValues

__all__ = ["Ledger", "PaperTerms"]

_MADE: Final = (AlertKind.ENTRY, AlertKind.EXIT, AlertKind.STOP)
_AT_ONCE: Final = 16
"""Decisions that are settled for good together, at least."""

_PIECES: Final = 2_000
"""How many times as many are kept for the tables; the sums of older ones stay."""

_SETTING_S_FEE: Final = Costs()


class PaperTerms(TypedDict, total=False):
    """What `Ledger` takes, as `pairlab.backtest` does."""

    costs: Costs
    capital: float
    latency_s: float
    max_wait_s: float | None
    lots: object


class Ledger:
    """Fills the decisions of a session, and pays for them, by the rules of `pairlab.backtest`.

    It listens to a pipeline from the moment on at which it is made: a position that is held then
    is not its own. A replay that is sent to another time begins it anew.

    Parameters
    ----------
    pipeline : Pipeline
        Ticks, rows and alerts.
    pair : Pair
        The symbols.
    costs, capital, latency_s, max_wait_s, lots
        As `pairlab.backtest` takes them; by default the fee is that of the settings at each entry.
        Funding is not known of a session that goes on.

    Raises
    ------
    SettingError, DataError
        As `pairlab.backtest` does; and for funding.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        pair: Pair,
        *,
        costs: Costs = _SETTING_S_FEE,
        capital: float = 10_000.0,
        latency_s: float = 0.0,
        max_wait_s: float | None = None,
        lots: object = None,
    ) -> None:
        self._pipeline: Final = pipeline
        nothing = market_of_decisions(FillQueue(0), [], [], pipeline.settings.values())
        self._terms: Final = terms_of(
            nothing, pair, costs, capital=capital, latency_s=latency_s, max_wait_s=max_wait_s,
            lots=lots, mark=None,
        )  # fmt: skip
        if costs.funding is not None:
            raise SettingError("costs", costs, "funding is not known of a session that goes on")
        self._begin()
        self._forget_observer = pipeline.journal.observe(self._on_event)
        pipeline.taps = (*pipeline.taps, self)

    def _begin(self) -> None:
        self._queue = FillQueue(self._terms.latency_ns)
        self._decisions: list[Decision] = []
        self._pieces: deque[tuple[FillQueue, list[Decision]]] = deque(maxlen=_PIECES)
        self._past = SessionMoney.nothing(self._terms.capital)
        self._current: Settled | None = None
        self._curve = EquityCurve(self._terms.capital)
        self._batch: Batch | None = None
        self._rows_made = 0
        self._reached_ns = self._since_ns = NEVER_NS
        self._newest = Newest((NEVER_NS, NEVER_NS), (np.nan, np.nan))
        self._alert = self._pipeline.alert_log.newest_number

    def stop(self) -> None:
        """Listen no longer; what was made stays."""
        self._forget_observer()
        self._pipeline.taps = tuple(tap for tap in self._pipeline.taps if tap is not self)

    @property
    def terms(self) -> Terms:
        """Under which it trades."""
        return self._terms

    # -- as the pipeline's tap --------------------------------------------------------------------

    def on_ticks(self, first: int, ticks: Records) -> None:
        """Fill what waits by a batch, and value what is held."""
        batch = Batch.of(first, ticks, self._reached_ns)
        # An engine that begins after the first ticks makes rows of all that are held.
        self._batch = None if self._pipeline.engine is None else batch
        self._rows_made = 0
        self._newest = batch.newest(self._newest)
        if len(ticks):
            self._reached_ns = int(batch.trades.running_ns[-1])
            if self._since_ns == NEVER_NS:
                self._since_ns = self._reached_ns
        self._take(batch)
        if self._reached_ns != NEVER_NS:
            self._curve.add(self._reached_ns, self._equity())

    def on_rows(self, epoch: int, first: int, rows: Records) -> None:
        """Note how many rows the batch made."""
        self._rows_made = len(rows)

    def on_alerts(self, alerts: AlertLog) -> None:
        """Take the decisions on the batch, and fill them by what came after them in it."""
        new = alerts.newest_number - self._alert
        self._alert = alerts.newest_number
        batch = self._batch_of_rows()
        for entries, values in alerts.newest_entries(new):
            if not isinstance(values, SettingValues):
                continue
            for at, kind in enumerate(entries["event"]["kind"].tolist()):
                if kind in _MADE:
                    self._add(batch, entries[at : at + 1], values)
        self._take(batch)

    def on_warm(self) -> None:
        """Begin anew: what was decided before the time that a replay was sent to is not traded."""
        self._begin()

    def on_rebuilt(self, epoch: int, tick: int, count: int, held: Records) -> None:
        """Do nothing: what was decided stays decided."""

    def _on_event(self, event: JournalEvent) -> None:
        if isinstance(event, Reset):
            self._begin()

    def _batch_of_rows(self) -> Batch:
        """Return the ticks that the newest rows were made of."""
        if self._batch is not None:
            return self._batch
        held = self._pipeline.ticks.view()
        return Batch.of(self._pipeline.next_tick - len(held), held, NEVER_NS)

    def _add(self, batch: Batch, entry: Records, values: SettingValues) -> None:
        row, event = entry["row"][0], entry["event"][0]
        running = batch.trades.running_ns
        if TIMEFRAMES_NS[values.timeframe]:
            # The first tick at or past its close ended the bar.
            at = int(np.searchsorted(running, int(row["time_ns"]), side="left"))
        else:
            # Each of the last trades made a row.
            y, x = batch.trades.of
            at = int(np.flatnonzero(y | x)[int(event["row"]) - self._rows_made])
        at = min(at, len(running) - 1)
        ordinal, known_ns = batch.first + at, int(running[at])
        compile_on_a_thread()
        kind = AlertKind(int(event["kind"]))
        self._decisions.append(
            Decision(row.tobytes(), event.tobytes(), kind, values, ordinal, known_ns)
        )
        self._queue.add(ordinal, known_ns)
        self._current = None

    def _take(self, batch: Batch) -> None:
        if self._queue.waits and self._queue.take(batch):
            self._current = None
        if len(self._decisions) >= _AT_ONCE and are_compiled():
            self._settle()

    def _settle(self) -> None:
        """Settle for good the first decisions, up to an exit that waits for nothing."""
        count = self._queue.filled
        while count and self._decisions[count - 1].kind == AlertKind.ENTRY:
            count -= 1
        if count < _AT_ONCE:
            return
        queue, self._queue = self._queue.split(count)
        decisions, self._decisions = self._decisions[:count], self._decisions[count:]
        self._past = self._past.plus(settled(queue, decisions, self._terms).money(self._newest))
        self._pieces.append((queue, decisions))
        self._current = None

    # -- what came of it --------------------------------------------------------------------------

    def _now(self) -> Settled:
        """Return what became of the decisions that are not settled for good."""
        if not self._decisions or not are_compiled():
            return nothing_settled(self._terms)  # until then they wait
        if self._current is None:
            self._current = settled(self._queue, self._decisions, self._terms)
        return self._current

    def _equity(self) -> float:
        return self._past.equity + self._now().profit(self._newest.price)

    @property
    def since_ns(self) -> int | None:
        """Exchange time of the first tick that it saw, ns since 1970 UTC; None before."""
        return None if self._since_ns == NEVER_NS else self._since_ns

    @property
    def money(self) -> SessionMoney:
        """What the decisions have made until now."""
        return self._past.plus(self._now().money(self._newest), drawdown=self._curve.drawdown)

    def curve(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return times (ns since 1970 UTC) and equity over the whole session, thinned out."""
        return self._curve.points()

    def trades(self) -> pd.DataFrame:
        """Return the positions that were filled, in the order of their entries; the newest 16,000.

        The first call may wait until the passes that fill decisions are compiled.

        Returns
        -------
        pandas.DataFrame
            The columns of `BacktestResult.trades`, but for ``mae``, ``mfe`` and ``rows``. What is
            held is valued at the newest trade of each leg, without the costs of leaving.
        """
        found = self._tables().trades
        return found.set_axis(pd.RangeIndex(len(found), name="trade"))

    def missed(self) -> pd.DataFrame:
        """Return entries that no trade of a leg filled in time, or of which no order can be made.

        Returns
        -------
        pandas.DataFrame
            ``side``, ``zscore`` and ``reason``, indexed by the time of the decision (UTC).
        """
        return self._tables().missed

    def _tables(self) -> Tables:
        wait_compiled()
        every = [*self._pieces, (self._queue, self._decisions)]
        queue = FillQueue.joined([queue for queue, _ in every])
        decisions = [decision for _, of_piece in every for decision in of_piece]
        found = settled(queue, decisions, self._terms, self._pipeline.settings.values())
        return found.as_tables(self._newest)
