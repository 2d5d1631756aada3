"""What the signal machine decided, with everything it was decided on."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from pairlab.costs import edge_bps, round_trip_bps
from pairlab.formatting import compared, decimals_apart, figure, plain, signed
from pairlab.schema import HISTORY_COLUMNS, AlertKind, Filter, Records, Snapshot
from pairlab.settings import SettingValue, SettingValues

__all__ = ["COLUMNS", "Alert", "AlertLog", "SettingChange", "Snapshot", "records"]


@dataclass(frozen=True, slots=True)
class Alert:
    """One transition of the signal machine.

    Attributes
    ----------
    number : int
        Counts up from 1 within a log.
    kind : AlertKind
        ENTRY, EXIT, STOP, SUPPRESSED or DECOUPLED.
    side : int
        1 long the spread, -1 short: of the position entered, left, held or wanted.
    at : Snapshot
        The row it was decided on.
    settings : SettingValues
        The settings in force; `thresholds` has those that decisions depend on.
    failed : Filter
        What held an entry back.
    withheld : int
        SUPPRESSED: how many excursions went unreported since the last one, for the rate limit.
    """

    number: int
    kind: AlertKind
    side: int
    at: Snapshot
    settings: SettingValues
    failed: Filter
    withheld: int

    @property
    def time_ns(self) -> int:
        """Exchange time of the row it was decided on."""
        return self.at.time_ns

    @property
    def thresholds(self) -> dict[str, SettingValue]:
        """The settings that decisions depend on, by name."""
        return {name: getattr(self.settings, name) for name in _THRESHOLDS}

    @property
    def side_name(self) -> str:
        """``long`` or ``short``."""
        return "long" if self.side > 0 else "short"

    @property
    def edge_bps(self) -> float:
        """What the distance from the mean was worth, bps of y's notional; NaN if not known."""
        return edge_bps(self.at, self.settings.price_scale)

    @property
    def reason(self) -> str:
        """The deciding comparison, short enough for a table cell."""
        t, at, long = self.settings, self.at, self.side > 0
        match self.kind:
            case AlertKind.ENTRY:
                return f"z {'≤' if long else '≥'} {signed(-t.entry_z if long else t.entry_z)}"
            case AlertKind.EXIT:
                return f"z {'≥' if long else '≤'} {signed(-t.exit_z if long else t.exit_z)}"
            case AlertKind.STOP:
                stop_z = math.nan if t.stop_z is None else t.stop_z
                return f"z {'≤' if long else '≥'} {signed(-stop_z if long else stop_z)}"
            case AlertKind.DECOUPLED:
                return "ρ {} < {}".format(*compared(at.correlation, t.min_correlation))
            case AlertKind.SUPPRESSED:
                return " · ".join(self._failures())

    @property
    def sentence(self) -> str:
        """What happened and why, for a person."""
        t, at = self.settings, self.at
        side, z = self.side_name.upper(), f"z {signed(at.zscore)}"
        entry = f"{'≤' if self.side > 0 else '≥'} {signed(-self.side * t.entry_z)}"
        legs = f"legs {plain(at.y_age_s)} / {plain(at.x_age_s)} s old"
        match self.kind:
            case AlertKind.ENTRY:
                least = t.min_edge_bps
                worth = ""
                if least is not None:
                    worth = f", {compared(self.edge_bps, least)[0]} ≥ {least:g} bps"
                rho = "ρ {} ≥ {}".format(*compared(at.correlation, t.min_correlation))
                return (
                    f"{side} entry: {z} {entry} and every filter passed: {rho}, {legs}, "
                    f"{at.filled} of {t.window} rows{worth}."
                )
            case AlertKind.EXIT:
                return f"{side} exit: {z}, the spread is back ({self.reason})."
            case AlertKind.STOP:
                return (
                    f"{side} stopped: {z} went against the position ({self.reason}). Locked until "
                    f"|z| ≤ {plain(t.exit_z)} or z changes sign."
                )
            case AlertKind.DECOUPLED:
                return (
                    f"The legs decoupled while {self.side_name}: {self.reason}. The position "
                    "stands; exits and stops go on."
                )
            case AlertKind.SUPPRESSED:
                more = f" {self.withheld} more since the last report." if self.withheld else ""
                return f"{side} entry held back: {z} {entry}, but {self.reason}; {legs}.{more}"

    def explain(self) -> str:
        """Return the sentence and every number that decided it, one a line."""
        t, at = self.settings, self.at
        stop = "off" if t.stop_z is None else f"{t.stop_z:g}"
        limits = f"entry {t.entry_z:g}, exit {t.exit_z:g}, stop {stop}"
        required = "required" if t.require_stationary else "not required"
        ages = f"{plain(at.y_age_s)} s, {plain(at.x_age_s)} s"
        least = "off" if t.min_edge_bps is None else f"at least {t.min_edge_bps:g}"
        cost = round_trip_bps(t.fee_bps, at, t.price_scale)
        edge = plain(self.edge_bps, 4 if self.edge_bps < 0.1 else 2)
        p_value = "<0.0001" if at.p_value < 0.0001 else plain(at.p_value, 4)
        numbers = {
            "time": pd.Timestamp(at.time_ns, tz="UTC").isoformat(timespec="milliseconds"),
            "y, x": f"{at.y:,.8g}, {at.x:,.8g}",
            "ages": f"{ages} (below {t.max_leg_age_s:g} s)",
            "β, α": f"{figure(at.hedge_ratio)}, {figure(at.intercept)}",
            "spread": f"{figure(at.spread)} (mean {figure(at.spread_mean)}, "
            f"std {figure(at.spread_std)})",
            "z": f"{signed(at.zscore, 4)} ({limits})",
            "ρ": f"{plain(at.correlation, 4)} (at least {t.min_correlation:g})",
            "p-value": f"{p_value} (at most {t.max_p_value:g}, {required})",
            "edge": f"{edge} bps ({least}); a round trip costs {plain(cost)} bps",
            "window": f"{at.filled} of {t.window} rows",
        }
        return "\n".join([self.sentence, *(f"  {name:8} {text}" for name, text in numbers.items())])

    def _failures(self) -> list[str]:
        t, at = self.settings, self.at
        words = []
        if self.failed & Filter.CORRELATION:
            words.append("ρ {} < {}".format(*compared(at.correlation, t.min_correlation)))
        if self.failed & Filter.LEG_AGE:
            oldest, limit = max(at.y_age_s, at.x_age_s), t.max_leg_age_s
            words.append(f"leg {plain(oldest, decimals_apart(oldest, limit, 1))} s ≥ {limit:g} s")
        if self.failed & Filter.STATIONARY:
            words.append("p {} > {}".format(*compared(at.p_value, t.max_p_value, 3)))
        if self.failed & Filter.COOLDOWN:
            words.append(f"within {t.cooldown_s:g} s of the last exit")
        if self.failed & Filter.EDGE:
            least_bps = t.min_edge_bps or 0.0
            words.append(f"{compared(self.edge_bps, least_bps)[0]} bps < {least_bps:g} bps")
        return words


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting that was changed while the lab ran, as a row of the log.

    Attributes
    ----------
    time_ns : int
        Exchange time of the last row before it applied (0 before the first row).
    name : str
        The setting.
    old, new : object
        Its values.
    tick : int
        Ordinal of the first tick after it: many rows share a time, no two ticks an ordinal.
    """

    time_ns: int
    name: str
    old: SettingValue
    new: SettingValue
    tick: int = 0

    @property
    def sentence(self) -> str:
        """The change in words."""
        return f"{self.name} {_shown(self.old)} → {_shown(self.new)}, from the next tick"


def _shown(value: SettingValue) -> str:
    return "off" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


_THRESHOLDS: Final = (
    "entry_z", "exit_z", "stop_z", "min_correlation", "max_leg_age_s", "max_p_value",
    "require_stationary", "cooldown_s", "min_edge_bps", "fee_bps", "price_scale", "window",
)  # fmt: skip


COLUMNS: Final = (
    "kind", "side", "reason", "sentence", *HISTORY_COLUMNS, "n", *_THRESHOLDS, "withheld",
    "setting", "old", "new",
)  # fmt: skip
"""What a row of the log says."""


class AlertLog:
    """The newest alerts and setting changes, oldest first, in bounded memory.

    Parameters
    ----------
    capacity : int
        How many entries are kept.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._entries: deque[Alert | SettingChange] = deque(maxlen=capacity)
        self._counts: Counter[AlertKind] = Counter()
        self._alerts = 0
        self._total = 0
        self._opened: Alert | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Alert | SettingChange]:
        return iter(self._entries)

    def __reversed__(self) -> Iterator[Alert | SettingChange]:
        return reversed(self._entries)

    @property
    def total(self) -> int:
        """How many entries were ever added: changes when, and only when, the log does."""
        return self._total

    @property
    def opened(self) -> Alert | None:
        """The ENTRY of the position that is held now, however much the log has forgotten since."""
        return self._opened

    def alerts(self) -> list[Alert]:
        """Return the alerts alone, oldest first."""
        return [entry for entry in self._entries if isinstance(entry, Alert)]

    def newest_first(self) -> Iterator[Alert]:
        """Go through the alerts alone from the newest on: who needs a few does not pay for all."""
        return (entry for entry in reversed(self._entries) if isinstance(entry, Alert))

    def count(self, kind: AlertKind) -> int:
        """How many alerts of a kind are kept."""
        return self._counts[kind]

    def add(self, events: Records, rows: Records, values: SettingValues) -> None:
        """Add the events of one engine update.

        Parameters
        ----------
        events : array of pairlab.EVENT
            Whose ``row`` counts within `rows`.
        rows : array of pairlab.ROW
            The rows of the same update.
        values : SettingValues
            The settings they were decided under.
        """
        for event in events:
            self._alerts += 1
            self._total += 1
            alert = Alert(
                number=self._alerts,
                kind=AlertKind(int(event["kind"])),
                side=int(event["side"]),
                at=Snapshot.of(rows[event["row"]]),
                settings=values,
                failed=Filter(int(event["failed"])),
                withheld=int(event["withheld"]),
            )
            self._append(alert)
            self._counts[alert.kind] += 1
            if alert.kind == AlertKind.ENTRY:
                self._opened = alert
            elif alert.kind in (AlertKind.EXIT, AlertKind.STOP):
                self._opened = None

    def changed(self, change: SettingChange) -> None:
        """Add a setting's change."""
        self._total += 1
        self._append(change)

    def _append(self, entry: Alert | SettingChange) -> None:
        entries = self._entries
        if len(entries) == entries.maxlen and isinstance(leaving := entries[0], Alert):
            self._counts[leaving.kind] -= 1
        entries.append(entry)

    def frame(self) -> pd.DataFrame:
        """Return the log as a DataFrame indexed by time (UTC), oldest first."""
        times = np.array([entry.time_ns for entry in self._entries], dtype="M8[ns]")
        index = pd.DatetimeIndex(times, name="time").tz_localize("UTC")
        return pd.DataFrame.from_records(records(self._entries), columns=COLUMNS).set_index(index)


def records(entries: Iterable[Alert | SettingChange]) -> list[dict[str, Any]]:
    """Return entries as rows of `COLUMNS`, without those that an entry does not have."""
    return [_record(entry) for entry in entries]


def _record(entry: Alert | SettingChange) -> dict[str, Any]:
    if isinstance(entry, SettingChange):
        return {
            "kind": "SETTING", "sentence": entry.sentence, "setting": entry.name,
            "old": entry.old, "new": entry.new,
        }  # fmt: skip
    row = {name: getattr(entry.at, name) for name in HISTORY_COLUMNS}
    return {
        "kind": entry.kind.name, "side": entry.side_name, "reason": entry.reason,
        "sentence": entry.sentence, **row, "n": entry.at.filled, **entry.thresholds,
        "withheld": entry.withheld,
    }  # fmt: skip
