"""What the signal machine decided, with everything it was decided on."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from pairlab.costs import edge_bps, round_trip_bps
from pairlab.formatting import (
    compared,
    decimals_apart,
    html_table,
    in_full,
    plain,
    resolved,
    signed,
    z_places,
)
from pairlab.limits.consistency import leg_age_limit_s
from pairlab.limits.stationarity import largest_p
from pairlab.schema import HISTORY_COLUMNS, AlertKind, Filter, RowFlag, Snapshot
from pairlab.settings import SettingValue, SettingValues

__all__ = [
    "COLUMNS",
    "Alert",
    "SettingChange",
    "Snapshot",
    "entries_frame",
    "records",
    "thresholds_of",
]


@dataclass(frozen=True, slots=True, repr=False)
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
        What held an entry back; of a STOP, MAX_HOLD if the position's age was the reason.
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

    @classmethod
    def of(cls, number: int, event: np.void, row: np.void, values: SettingValues) -> Alert:
        """Return the alert of an `EVENT` record that was decided on a `ROW` record."""
        return cls(
            number=number,
            kind=AlertKind(int(event["kind"])),
            side=int(event["side"]),
            at=Snapshot.of(row),
            settings=values,
            failed=Filter(int(event["failed"])),
            withheld=int(event["withheld"]),
        )

    def __repr__(self) -> str:
        when = pd.Timestamp(self.time_ns, tz="UTC").isoformat(timespec="milliseconds")
        return f"<Alert {self.number} at {when}: {self.sentence}>"

    def _repr_html_(self) -> str:
        """Return what `explain` says as a table."""
        sentence, *lines = self.explain().split("\n")
        rows = [(line[2:10].strip(), line[10:].strip()) for line in lines]
        return html_table(f"Alert {self.number}: {self.kind.name}", (), rows, notes=(sentence,))

    @property
    def time_ns(self) -> int:
        """Exchange time of the row it was decided on."""
        return self.at.time_ns

    @property
    def thresholds(self) -> dict[str, SettingValue]:
        """The settings that decisions depend on, by name."""
        return thresholds_of(self.settings)

    @property
    def side_name(self) -> str:
        """``long`` or ``short``."""
        return "long" if self.side > 0 else "short"

    @property
    def loses_by_construction(self) -> bool:
        """Whether it is an entry whose way back to the mean pays less than a round trip costs."""
        t = self.settings
        cost = round_trip_bps(t.fee_bps, self.at, t.price_scale)
        return self.kind == AlertKind.ENTRY and self.edge_bps < cost

    @property
    def edge_bps(self) -> float:
        """What the distance from the mean was worth, bps of y's notional; NaN if not known."""
        return edge_bps(self.at, self.settings.price_scale)

    @property
    def reason(self) -> str:
        """The deciding comparison, short enough for a table cell."""
        t, long = self.settings, self.side > 0
        match self.kind:
            case AlertKind.ENTRY:
                return f"z {'≤' if long else '≥'} {signed(-t.entry_z if long else t.entry_z)}"
            case AlertKind.EXIT:
                return f"z {'≥' if long else '≤'} {signed(-t.exit_z if long else t.exit_z)}"
            case AlertKind.STOP if self.failed & Filter.MAX_HOLD:
                return f"held for max_hold_s ({t.max_hold_s or 0.0:,g} s)"
            case AlertKind.STOP:
                stop_z = math.nan if t.stop_z is None else t.stop_z
                return f"z {'≤' if long else '≥'} {signed(-stop_z if long else stop_z)}"
            case AlertKind.DECOUPLED:
                return self._correlation("<")
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
                rho = self._correlation("≥")
                return (
                    f"{side} entry: {z} {entry} and every filter passed: {rho}, {legs}, "
                    f"{at.filled} of {t.window} rows{worth}."
                )
            case AlertKind.EXIT:
                return f"{side} exit: {z}, the spread is back ({self.reason})."
            case AlertKind.STOP if self.failed & Filter.MAX_HOLD:
                return (
                    f"{side} stopped by time: {self.reason}, and {z} is not back. Locked until "
                    f"|z| ≤ {plain(t.exit_z)} or z changes sign."
                )
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
        """Return the sentence and every number that decided it, one a line.

        Prices are told in full, the others with as many digits as it takes to compute the z-score
        from them to its last digit (of an innovation, from spread and std alone: the Kalman hedge
        told is the one after it).
        """
        t, at = self.settings, self.at
        stop = "off" if t.stop_z is None else f"{t.stop_z:g}"
        limits = f"entry {t.entry_z:g}, exit {t.exit_z:g}, stop {stop}"
        hold = f", held for at most {t.max_hold_s:,g} s" if t.max_hold_s else ""
        required = "required" if t.require_stationary else "not required"
        ages = f"{plain(at.y_age_s)} s, {plain(at.x_age_s)} s"
        least = "off" if t.min_edge_bps is None else f"at least {t.min_edge_bps:g}"
        cost = round_trip_bps(t.fee_bps, at, t.price_scale)
        edge = plain(self.edge_bps, 4 if self.edge_bps < 0.1 else 2)
        loses = ": it loses even if z returns to 0" if self.loses_by_construction else ""
        p_value, most = compared(at.p_value, largest_p(t), 4)
        if at.p_value < 0.0001 < largest_p(t):
            p_value = "<0.0001"
        z_at, spread_at, std_at = z_places(at.spread, at.spread_mean, at.spread_std, at.zscore, 4)
        x = abs(math.log(at.x)) if t.price_scale == "log" else at.x
        ratio_at = spread_at + 1 + max(math.ceil(math.log10(x)) if x > 0 else 0, 0)
        against = f"{plain(at.hedged_correlation, 4)} with β·x, " if at.hedge_ratio < 0 else ""
        corrected = " (of a trade stamped ahead)" if at.flags & RowFlag.TIME_CORRECTED else ""
        numbers = {
            "time": pd.Timestamp(at.time_ns, tz="UTC").isoformat(timespec="milliseconds")
            + corrected,
            "y, x": f"{in_full(at.y)}, {in_full(at.x)}",
            "ages": f"{ages} (below {leg_age_limit_s(t):g} s)",
            "β, α": f"{_short(at.hedge_ratio, ratio_at)}, {_short(at.intercept, spread_at + 1)}",
            "spread": f"{resolved(at.spread, spread_at)} (mean "
            f"{resolved(at.spread_mean, spread_at)}, std {resolved(at.spread_std, std_at)})",
            "z": f"{signed(at.zscore, z_at)} ({limits}{hold})",
            "ρ": f"{plain(at.correlation, 4)} ({against}at least {t.min_correlation:g})",
            "p-value": f"{p_value} (at most {most}: {t.max_p_value:g} at this window, {required})",
            "edge": f"{edge} bps ({least}); a round trip costs {plain(cost)} bps{loses}",
            "window": f"{at.filled} of {t.window} rows",
        }
        return "\n".join([self.sentence, *(f"  {name:8} {text}" for name, text in numbers.items())])

    def _failures(self) -> list[str]:
        t, at = self.settings, self.at
        words = []
        if self.failed & Filter.CORRELATION:
            words.append(self._correlation("<"))
        if self.failed & Filter.LEG_AGE:
            oldest, limit = max(at.y_age_s, at.x_age_s), leg_age_limit_s(t)
            words.append(f"leg {plain(oldest, decimals_apart(oldest, limit, 1))} s ≥ {limit:g} s")
        if self.failed & Filter.STATIONARY:
            words.append("p {} > {}".format(*compared(at.p_value, largest_p(t), 3)))
        if self.failed & Filter.COOLDOWN:
            words.append(f"within {t.cooldown_s:g} s of the last exit")
        if self.failed & Filter.EDGE:
            least_bps = t.min_edge_bps or 0.0
            words.append(f"{compared(self.edge_bps, least_bps)[0]} bps < {least_bps:g} bps")
        if self.failed & Filter.STOP_Z and t.stop_z is not None:
            words.append("|z| {} ≥ stop {}".format(*compared(abs(at.zscore), t.stop_z)))
        return words

    def _correlation(self, sign: str) -> str:
        """Return the comparison of the correlation that the hedge asks for: −ρ if β is below 0."""
        rho = "−ρ" if self.at.hedge_ratio < 0 else "ρ"
        limit = self.settings.min_correlation
        return f"{rho} {{}} {sign} {{}}".format(*compared(self.at.hedged_correlation, limit))


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting that was changed while the lab ran, as a row of the log.

    Attributes
    ----------
    time_ns : int
        Exchange time of the last row before it applied (`NO_TIME_NS` before the first row).
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


def _short(value: float, decimals: int) -> str:
    """Return a number as `resolved` does, without zeros at its end: a fixed β is 25."""
    text = resolved(value, decimals)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def _shown(value: SettingValue) -> str:
    return "off" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


_THRESHOLDS: Final = (
    "entry_z", "exit_z", "stop_z", "min_correlation", "max_leg_age_s", "max_p_value",
    "require_stationary", "cooldown_s", "max_hold_s", "min_edge_bps", "fee_bps",
    "price_scale", "window",
)  # fmt: skip


def thresholds_of(values: SettingValues) -> dict[str, SettingValue]:
    """Return the settings that decisions depend on, by name."""
    return {name: getattr(values, name) for name in _THRESHOLDS}


COLUMNS: Final = (
    "kind", "side", "reason", "sentence", *HISTORY_COLUMNS, "n", *_THRESHOLDS, "withheld",
    "setting", "old", "new",
)  # fmt: skip
"""What a row of the log says."""


def entries_frame(entries: Collection[Alert | SettingChange]) -> pd.DataFrame:
    """Return entries as a DataFrame of `COLUMNS`, indexed by time (UTC), in their order."""
    times = np.array([entry.time_ns for entry in entries], dtype="M8[ns]")
    index = pd.DatetimeIndex(times, name="time").tz_localize("UTC")
    return pd.DataFrame.from_records(records(entries), columns=COLUMNS).set_index(index)


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
