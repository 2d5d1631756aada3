"""Decisions of a session made again from its ticks and its journal, and filled as in a backtest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from pairlab.alerts import Alert
from pairlab.backtesting.costs import Costs
from pairlab.backtesting.fills import fill
from pairlab.backtesting.legs import Leg, legs_of_ticks
from pairlab.backtesting.market import Market
from pairlab.backtesting.terms import terms_of
from pairlab.data.alert_log import AlertLog
from pairlab.data.journal import EngineStarted, JournalEvent, Rebuilt, Reset, SettingChanged
from pairlab.lab.verification.journal_replay import JournalReplay
from pairlab.schema import EVENT, NS_PER_S, ROW, TICK, AlertKind, Pair, Records
from pairlab.settings import SettingValues

__all__ = ["Decisions", "FillTerms", "decisions_of", "fills_of", "from_there_on"]

_MADE: Final = (AlertKind.ENTRY, AlertKind.EXIT, AlertKind.STOP)


@dataclass(frozen=True)
class FillTerms:
    """On what terms decisions are filled; as `pairlab.backtest` takes them."""

    capital: float
    latency_s: float
    max_wait_s: float | None
    lots: object


@dataclass(frozen=True)
class Decisions:
    """What a replay decided.

    Attributes
    ----------
    alerts : list of Alert
        In order, their numbers as the lab counted them.
    rows : numpy.ndarray
        `pairlab.schema.ROW` records on which they were decided; ``received_ns`` is the number of
        the tick that made the row, counted from the first that was replayed.
    starts : tuple of int
        Indexes of the first decisions after a reset: the engine held no position there.
    ticks : numpy.ndarray
        `pairlab.TICK` records that were replayed.
    """

    alerts: list[Alert]
    rows: Records
    starts: tuple[int, ...]
    ticks: Records


class _DecisionLog(AlertLog):
    """Keeps every alert, and the row that it was decided on."""

    def __init__(self) -> None:
        super().__init__(capacity=1)
        self.decided: list[Alert] = []
        self.rows: list[Records] = [np.zeros(0, ROW)]
        self.starts: list[int] = [0]

    def add(self, events: Records, rows: Records, values: SettingValues) -> None:
        first = self.newest_number + 1
        super().add(events, rows, values)
        decided = rows[events["row"]]
        self.rows.append(decided)
        self.decided += [
            Alert.of(number, event, row, values)
            for number, (event, row) in enumerate(zip(events, decided, strict=True), first)
        ]

    def clear(self) -> None:
        super().clear()
        self.starts.append(len(self.decided))


def decisions_of(
    values: SettingValues,
    events: Sequence[JournalEvent],
    first_tick: int,
    blocks: Iterable[tuple[int, Records]],
) -> tuple[Decisions, int]:
    """Replay a session.

    Parameters
    ----------
    values : SettingValues
        Before the first event.
    events : sequence of JournalEvent
        Of the session, in order.
    first_tick : int
        Ordinal of the first tick.
    blocks : iterable of (int, numpy.ndarray)
        Ordinal of the first tick of each block, and the ticks.

    Returns
    -------
    Decisions
        What was decided.
    int
        Ordinal of the tick at which the replay ended: the first that is missing.

    Raises
    ------
    DataError
        If what an event needs is missing.
    """
    replayed = JournalReplay(values, events, first_tick)
    pipeline, log = replayed.pipeline, _DecisionLog()
    pipeline.alert_log, pipeline.measures_latency = log, False
    taken, whole = [np.zeros(0, TICK)], True
    for first, ticks in blocks:
        if first != pipeline.next_tick:
            whole = False
            break
        ticks = ticks.copy()
        # Rows take over no more of a tick than when it was received.
        ticks["received_ns"] = np.arange(first - first_tick, first - first_tick + len(ticks))
        replayed.on_ticks(ticks)
        taken.append(ticks)
    if whole:
        replayed.finish()
    rows, ticks = np.concatenate(log.rows), np.concatenate(taken)
    return Decisions(log.decided, rows, tuple(log.starts), ticks), pipeline.next_tick


def from_there_on(
    values: SettingValues, events: Sequence[JournalEvent], first_tick: int
) -> tuple[SettingValues, list[JournalEvent]]:
    """Return settings and events of a session whose first ticks are not there.

    The engine begins anew at the first tick that is, and a rebuild computes from what is there.

    Parameters
    ----------
    values : SettingValues
        Before the first event.
    events : sequence of JournalEvent
        In order.
    first_tick : int
        Ordinal of the first tick that is there.
    """
    late: list[JournalEvent] = []
    begun: JournalEvent | None = None
    for event in events:
        if isinstance(event, EngineStarted | Rebuilt | Reset):
            begun = begun or event
        if isinstance(event, SettingChanged) and event.tick < first_tick:
            change: dict[str, Any] = {event.name: event.new}
            values = replace(values, **change)
        elif event.tick >= first_tick:
            late.append(_clipped(event, first_tick))
    if not isinstance(begun, EngineStarted) or begun.tick < first_tick:
        late.insert(0, EngineStarted(first_tick, first_tick, values, None))
    return values, late


def _clipped(event: JournalEvent, first_tick: int) -> JournalEvent:
    """Return an event that needs no tick before the first."""
    if isinstance(event, EngineStarted | Rebuilt):
        gaps = tuple(gap for gap in event.gaps if gap.tick >= first_tick)
        event = replace(event, first_tick=max(event.first_tick, first_tick), gaps=gaps)
    if isinstance(event, Rebuilt):
        asked = max(event.asked_tick, first_tick)
        event = replace(event, asked_tick=asked, resumed_tick=max(event.resumed_tick, asked))
    return event


def fills_of(decisions: Decisions, pair: Pair, terms: FillTerms) -> list[dict[str, object]]:
    """Return when and at what each decision is filled, or why an entry is not; {}: nothing is due.

    Settings may change between decisions: each entry waits as long, and is sized, as the settings
    say under which it was decided.
    """
    found: list[dict[str, object]] = [{} for _ in decisions.alerts]
    if not decisions.alerts:
        return found
    first = decisions.alerts[0].settings
    ordinal = np.ascontiguousarray(decisions.rows["received_ns"])
    legs, known = legs_of_ticks(decisions.ticks, ordinal, first)
    # Whatever was traded until the end can fill a decision, whichever row came last.
    y, x = (replace(leg, last=np.array([len(leg.price) - 1])) for leg in legs)
    none = np.zeros(0, EVENT)
    times = np.ascontiguousarray(decisions.rows["time_ns"])
    market = Market(
        decisions.rows, none, y, x, times, ordinal, known, first, warm_up=0, gaps=0, step_ns=0
    )
    for numbers, values in _groups(decisions):
        events = np.zeros(len(numbers), EVENT)
        events["row"] = numbers
        for name in ("kind", "side", "failed"):
            events[name] = [int(getattr(decisions.alerts[n], name)) for n in numbers]
        own = replace(market, events=events, values=values)
        checked = terms_of(
            own, pair, Costs(), capital=terms.capital, latency_s=terms.latency_s,
            max_wait_s=terms.max_wait_s, lots=terms.lots, mark=None,
        )  # fmt: skip
        wait_ns = round(checked.max_wait_s(values) * NS_PER_S)
        fills, missed = fill(own, checked.capital, checked.latency_ns, wait_ns, checked.lots)
        for at in range(len(fills)):
            for what, sign in (("entry", 1.0), ("exit", -1.0)):
                number = int(getattr(fills, f"{what}_row")[at])
                if number >= 0:
                    for name, leg in (("y", y), ("x", x)):
                        trade = int(getattr(fills, f"{name}_{what}")[at])
                        quantity = sign * float(getattr(fills, f"{name}_quantity")[at])
                        found[number] |= _filled(name, leg, trade, quantity)
        for row, reason in zip(missed.row.tolist(), missed.reason, strict=True):
            found[row]["missed"] = reason
    return found


def _groups(decisions: Decisions) -> Iterable[tuple[list[int], SettingValues]]:
    """Yield entries with their exits, those together that are filled under the same settings."""
    groups: dict[tuple[object, ...], tuple[list[int], SettingValues]] = {}
    key: tuple[object, ...] | None = None
    for number, alert in enumerate(decisions.alerts):
        values = alert.settings
        if number in decisions.starts:
            key = None
        if alert.kind == AlertKind.ENTRY:
            began = sum(start <= number for start in decisions.starts)
            key = (began, values.price_scale, values.max_leg_age_s, values.timeframe)
        if alert.kind in _MADE and key is not None:
            groups.setdefault(key, ([], values))[0].append(number)
    return groups.values()


def _filled(name: str, leg: Leg, trade: int, quantity: float) -> dict[str, object]:
    """Return time, price and signed quantity of one fill; nothing if there was none."""
    if trade < 0:
        return {}
    return {
        f"{name}_time_ns": int(leg.time_ns[trade]),
        f"{name}_price": float(leg.price[trade]),
        f"{name}_quantity": quantity,
    }
