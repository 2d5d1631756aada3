"""`reconcile`: live alerts beside the decisions of a backtest on what was recorded."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from pairlab.alerts import Alert
from pairlab.backtesting.recorded.decisions import (
    Decisions,
    FillTerms,
    decisions_of,
    fills_of,
    from_there_on,
)
from pairlab.data.journal import JournalEvent
from pairlab.engine import compile_kernel
from pairlab.schema import NO_TIME_NS, AlertKind, Pair, Records
from pairlab.settings import SettingValues
from pairlab.storage.recording.recorded_session import RecordedPart, RecordedSession

__all__ = ["HeldSession", "Reconciliation", "reconcile", "reconcile_held"]

_BLOCK: Final = 16_384
_SIDES: Final = {1: "long", -1: "short"}
_COLUMNS: Final = (
    "live_time", "live_kind", "live_side", "live_zscore", "time", "kind", "side", "zscore", "equal",
    "y_time", "y_price", "y_quantity", "x_time", "x_price", "x_quantity", "missed",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class Reconciliation:
    """Live alerts of a session beside what a backtest decides on the same ticks.

    The backtest takes over what the session's journal has: settings as they were changed, metrics
    as they were recomputed, gaps, and the bars that warmed the engine.

    Attributes
    ----------
    frame : pandas.DataFrame
        A row per decision, in order. Of the live alert: ``live_time``, ``live_kind``,
        ``live_side``, ``live_zscore``; of the backtest's decision ``time``, ``kind``, ``side``,
        ``zscore``; ``equal``: whether they are the same. Then its fills, each leg at its own first
        trade after the decision: ``y_time``, ``y_price``, ``y_quantity`` (below 0: sold),
        ``x_time``, ``x_price``, ``x_quantity``; and ``missed``: why an entry is not filled. What
        one of the two lacks is missing in its columns.
    equal : bool
        Whether the decisions are those of the live alerts, one for one; False where there is
        neither: what was not compared is not equal.
    exact : bool
        Whether everything was there that decides them: each number of a live alert is then
        compared to its last digit, else kind, side and time.
    source : str
        The recording's folder, or ``"memory"``: what the lab held.
    notes : tuple of str
        What was not compared, and why.
    """

    frame: pd.DataFrame
    equal: bool
    exact: bool
    source: str
    notes: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.equal

    def __repr__(self) -> str:
        """Say whether they are equal, how many there are, and what came of them."""
        frame = self.frame
        live, decided = frame["live_kind"].notna(), frame["kind"].notna()
        differ = int((~frame["equal"]).sum())
        verdict = f"NOT EQUAL: {differ:,} decisions differ"
        if self.equal:
            verdict = "EQUAL, one for one"
        elif frame.empty:
            verdict = "NOTHING TO COMPARE: no live alert, and no decision"
        kinds = Counter(frame["kind"].dropna())
        by = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        filled = int((frame["y_time"].notna() & frame["x_time"].notna()).sum())
        missed = int(frame["missed"].notna().sum())
        lines = [
            verdict,
            f"  compared   {int(live.sum()):,} live alerts, {int(decided.sum()):,} decisions"
            + (f" ({by})" if by else ""),
            f"  backtest   {filled:,} filled on both legs, {missed:,} entries missed",
            f"  source     {self.source}",
        ]
        if differ:
            first = frame[~frame["equal"]].iloc[0]
            at = first["live_time"] if pd.notna(first["live_time"]) else first["time"]
            lines.append(f"  first      at {at:%Y-%m-%d %H:%M:%S.%f} UTC")
        lines += [f"  note       {note}" for note in self.notes]
        return "\n".join(lines)


@dataclass(frozen=True)
class HeldSession:
    """What a lab holds of its session.

    Attributes
    ----------
    pair : Pair
        The symbols.
    values : SettingValues
        Before the first of the events.
    events : sequence of JournalEvent
        The journal, as far as it is kept.
    first_tick : int
        Ordinal of the oldest tick held.
    ticks : numpy.ndarray
        `pairlab.TICK` records.
    alerts : sequence of Alert
        Those held.
    complete : bool
        Whether no tick and no event has been forgotten.
    """

    pair: Pair
    values: SettingValues
    events: Sequence[JournalEvent]
    first_tick: int
    ticks: Records
    alerts: Sequence[Alert]
    complete: bool


def reconcile(
    path: str | os.PathLike[str],
    *,
    capital: float = 10_000.0,
    latency_s: float = 0.0,
    max_wait_s: float | None = None,
    lots: object = None,
) -> Reconciliation:
    """Backtest a recording as it was, and lay its decisions beside the recorded live alerts.

    Settings that were changed, metrics that were recomputed and gaps are those of the journal; to
    try other settings on the same ticks, give the path to `pairlab.backtest`.

    Parameters
    ----------
    path : str or os.PathLike
        The recording's folder. One that goes on is taken as it is at this moment.
    capital, latency_s, max_wait_s, lots
        As `pairlab.backtest` takes them.

    Returns
    -------
    Reconciliation
        Decisions, their fills, and whether they are those of the live alerts.

    Raises
    ------
    DataError
        If it is no recording, or a file is damaged.
    SettingError
        For a number that is out of range.
    MissingExtraError
        Without ``pip install "pairlab[storage]"``.
    """
    session = RecordedSession(path)
    compile_kernel()
    terms = FillTerms(capital, latency_s, max_wait_s, lots)
    events, alerts = session.events(recording_gaps=False), session.alerts()
    table = _Table(session.pair, terms)
    for number, part in enumerate(session.parts, 1):
        last = number == len(session.parts)
        until = part.last_seq + 1 if last else session.parts[number].first_seq
        own = [event for event in events if event.tick < until or last]
        events = events[len(own) :]
        first, blocks = _from_first(session, part)
        exact = part.complete and first == part.first_seq
        values = part.settings
        if not exact:
            values, own = from_there_on(values, own, first)
            table.tell_forgotten(first - part.first_seq, values)
        decisions, end = decisions_of(values, own, first, blocks)
        if end <= part.last_seq:
            table.notes.append(f"ticks from {end:,} on are missing: what is before is compared")
        torn = last and session.status != "sealed"
        cut = end <= part.last_seq
        count = _count_of_part(alerts, decisions, exact=exact, last=last)
        live, alerts = alerts[:count], alerts[count:]
        table.add(live, decisions, exact=exact, cut_live=cut or torn, cut_replayed=torn)
    return table.result(os.fspath(path))


def reconcile_held(
    held: HeldSession,
    *,
    capital: float = 10_000.0,
    latency_s: float = 0.0,
    max_wait_s: float | None = None,
    lots: object = None,
) -> Reconciliation:
    """Do as `reconcile`, with what a lab holds in memory.

    Parameters
    ----------
    held : HeldSession
        Of one moment.
    capital, latency_s, max_wait_s, lots
        As `pairlab.backtest` takes them.

    Returns
    -------
    Reconciliation
        Decisions, their fills, and whether they are those of the live alerts.
    """
    compile_kernel()
    table = _Table(held.pair, FillTerms(capital, latency_s, max_wait_s, lots))
    table.notes.append("there is no recording: what the lab holds in memory is compared")
    values, events = held.values, list(held.events)
    if not held.complete:
        values, events = from_there_on(values, events, held.first_tick)
        table.tell_forgotten(held.first_tick, values)
    starts = range(0, len(held.ticks), _BLOCK)
    blocks = [(held.first_tick + at, held.ticks[at : at + _BLOCK]) for at in starts]
    decisions, _ = decisions_of(values, events, held.first_tick, blocks)
    table.add(list(held.alerts), decisions, exact=held.complete, cut_live=False, cut_replayed=False)
    return table.result("memory")


def _from_first(
    session: RecordedSession, part: RecordedPart
) -> tuple[int, Iterator[tuple[int, Records]]]:
    """Return the ordinal of the first tick of a part that is there, and its ticks in blocks."""
    blocks = session.ticks(part.first_seq, part.last_seq, block=_BLOCK)
    first = next(blocks, None)
    if first is None:
        return part.first_seq, iter(())
    return first[0], _chained(first, blocks)


def _chained(
    first: tuple[int, Records], rest: Iterator[tuple[int, Records]]
) -> Iterator[tuple[int, Records]]:
    yield first
    yield from rest


def _count_of_part(alerts: list[Alert], decisions: Decisions, *, exact: bool, last: bool) -> int:
    """Return how many of the alerts are the next part's: their numbers begin anew with each."""
    if last:
        return len(alerts)
    newest = decisions.alerts[-1].number if decisions.alerts else 0
    count = 0
    while count < len(alerts):
        ascends = count == 0 or alerts[count].number > alerts[count - 1].number
        if not ascends or (exact and alerts[count].number > newest):
            break
        count += 1
    return count


class _Table:
    """Rows of the comparison, as they are found."""

    def __init__(self, pair: Pair, terms: FillTerms) -> None:
        self.notes: list[str] = []
        self._pair, self._terms = pair, terms
        self._rows: list[dict[str, object]] = []
        self._exact = True

    def tell_forgotten(self, ticks: int, values: SettingValues) -> None:
        """Note that the beginning is not there."""
        what = f"the first {ticks:,} ticks are" if ticks > 0 else "the beginning is"
        self.notes.append(
            f"{what} not there: decisions depend on them until the window ({values.window} rows) "
            "is full, and a position that was held then has ended; of later live alerts, "
            "kind, side and time are compared"
        )

    def add(
        self,
        live: list[Alert],
        decisions: Decisions,
        *,
        exact: bool,
        cut_live: bool,
        cut_replayed: bool,
    ) -> None:
        """Lay the alerts of one session beside its decisions.

        Parameters
        ----------
        live : list of Alert
            As recorded.
        decisions : Decisions
            As replayed.
        exact : bool
            Whether the whole session was replayed, so that numbers of alerts agree.
        cut_live, cut_replayed : bool
            Whether what one of them has beyond the other's end is not compared.
        """
        self._exact &= exact
        fills = fills_of(decisions, self._pair, self._terms)
        decided = list(zip(decisions.alerts, fills, strict=True))
        if not exact and len(decisions.ticks):
            begin_ns = int(decisions.ticks["time_ns"][0])
            live = [alert for alert in live if alert.time_ns >= begin_ns]
        if live and decided:
            if exact and decided[0][0].number < live[0].number:
                kept = [pair for pair in decided if pair[0].number >= live[0].number]
                gone = len(decided) - len(kept)
                self.notes.append(f"{gone:,} live alerts are not kept any more: not compared")
                decided = kept
            if cut_replayed:
                decided = [d for d in decided if d[0].time_ns <= live[-1].time_ns]
            if cut_live and decided:
                live = [a for a in live if a.time_ns <= decided[-1][0].time_ns]
        pairs = _by_number(live, decided) if exact else _by_time(live, decided)
        for alert, made in pairs:
            self._rows.append(_row(alert, made, exact=exact))

    def result(self, source: str) -> Reconciliation:
        """Return everything that was added."""
        frame = pd.DataFrame(self._rows, columns=_COLUMNS)
        for name in ("live_time", "time", "y_time", "x_time"):
            # Not of the frame, which takes numbers with None among them for floats.
            times = [NO_TIME_NS if row[name] is None else row[name] for row in self._rows]
            frame[name] = pd.DatetimeIndex(np.array(times, "M8[ns]")).tz_localize("UTC")
        frame["equal"] = frame["equal"].astype(bool)
        frame.index.name = "decision"
        equal = bool(len(frame) and frame["equal"].all())
        return Reconciliation(frame, equal, self._exact, source, tuple(self.notes))


_Made = tuple[Alert, dict[str, object]]


def _by_number(
    live: list[Alert], decided: list[_Made]
) -> Iterator[tuple[Alert | None, _Made | None]]:
    """Pair alerts with decisions of the same number."""
    alerts = {alert.number: alert for alert in live}
    made = {pair[0].number: pair for pair in decided}
    for number in sorted(alerts.keys() | made.keys()):
        yield alerts.get(number), made.get(number)


def _by_time(
    live: list[Alert], decided: list[_Made]
) -> Iterator[tuple[Alert | None, _Made | None]]:
    """Pair alerts with decisions of the same time, kind and side, in their order."""
    at = 0
    for alert in live:
        while at < len(decided) and decided[at][0].time_ns < alert.time_ns:
            yield None, decided[at]
            at += 1
        same = at < len(decided) and _key(decided[at][0]) == _key(alert)
        yield alert, decided[at] if same else None
        at += same
    for made in decided[at:]:
        yield None, made


def _key(alert: Alert) -> tuple[int, AlertKind, int]:
    return alert.time_ns, alert.kind, alert.side


def _row(alert: Alert | None, made: _Made | None, *, exact: bool) -> dict[str, object]:
    """Return one row of the frame."""
    row: dict[str, object] = {"equal": False, "live_time": None, "time": None}
    row |= {"y_time": None, "x_time": None}
    for prefix, decided in (("live_", alert), ("", None if made is None else made[0])):
        if decided is not None:
            row[f"{prefix}time"] = decided.time_ns
            row[f"{prefix}kind"] = decided.kind.name
            row[f"{prefix}side"] = _SIDES[decided.side]
            row[f"{prefix}zscore"] = decided.at.zscore
    if made is not None:
        filled = dict(made[1])
        for leg in "yx":
            row[f"{leg}_time"] = filled.pop(f"{leg}_time_ns", None)
        row |= filled
        if alert is not None:
            # A float by all its digits, and NaN equal to NaN.
            same = repr(alert) == repr(made[0]) if exact else _key(alert) == _key(made[0])
            row["equal"] = same
    for name in ("live_zscore", "zscore", "y_price", "x_price", "y_quantity", "x_quantity"):
        row.setdefault(name, np.nan)
    return row
