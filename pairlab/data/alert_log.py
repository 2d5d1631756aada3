"""The log of what one pair's signal machine decided, and of changes of its settings."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeAlias, cast

import numpy as np
import pandas as pd

from pairlab.alerts import Alert, SettingChange, entries_frame
from pairlab.data.alert_entries import (
    EntryRing,
    alert_of,
    entries_of,
    entry_of,
    other_entry,
)
from pairlab.schema import AlertKind, Records
from pairlab.settings import SettingValues

__all__ = ["AlertLog"]

_Kept: TypeAlias = SettingValues | SettingChange


class AlertLog:
    """The newest alerts and setting changes, oldest first, in bounded memory.

    Parameters
    ----------
    capacity : int
        How many entries are kept.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._entries: EntryRing[_Kept] = EntryRing(capacity)
        # The newest alert's settings, and their key.
        self._newest_values: tuple[SettingValues | None, int] = None, -1
        self._shown: dict[int, Alert] = {}  # by number: who shows alerts shows them again
        self._opened: tuple[Records, SettingValues] | None = None
        self._alerts = 0
        self._total = 0

    def restore(
        self,
        entries: Iterable[Alert | SettingChange],
        total: int,
        newest_number: int,
        opened: Alert | None,
    ) -> None:
        """Hold these entries in place of all others.

        Parameters
        ----------
        entries : iterable of Alert or SettingChange
            Oldest first.
        total : int
            How many there ever were.
        newest_number : int
            Number of the newest alert.
        opened : Alert or None
            The ENTRY of the position held.
        """
        self.clear()
        self._alerts = 0
        for entry in entries:
            if isinstance(entry, SettingChange):
                self.changed(entry)
            else:
                self._alerts = entry.number
                self._append(entry_of(entry), entry.settings)
        self._total, self._alerts = total, newest_number
        self._opened = None if opened is None else (entry_of(opened), opened.settings)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Alert | SettingChange]:
        return iter(self.between(0, len(self)))

    def __reversed__(self) -> Iterator[Alert | SettingChange]:
        return iter(self.between(0, len(self))[::-1])

    def between(self, first: int, last: int) -> list[Alert | SettingChange]:
        """Return the entries from one place to before another, counted from the oldest kept."""
        return [self._made(entry) for entry in self._entries.view()[max(first, 0) : max(last, 0)]]

    @property
    def total(self) -> int:
        """Changes when, and only when, the log does: entries ever added, and times cleared."""
        return self._total

    @property
    def newest_number(self) -> int:
        """Number of the newest alert; 0 before the first."""
        return self._alerts

    def since(self, number: int) -> list[Alert]:
        """Return the alerts after that number that are kept, oldest first."""
        kept = self._entries.view()
        first, newest = len(kept), kept["newest"]
        while first and newest[first - 1] > number:
            first -= 1
        return _alerts_alone(map(self._made, kept[first:]))

    @property
    def opened(self) -> Alert | None:
        """The ENTRY of the position that is held now, however much the log has forgotten since."""
        return None if self._opened is None else alert_of(self._opened[0][0], self._opened[1])

    def alerts(self) -> list[Alert]:
        """Return the alerts alone, oldest first."""
        return _alerts_alone(self)

    def newest_first(self) -> Iterator[Alert]:
        """Go through the alerts alone from the newest on: who needs a few does not pay for all."""
        kept = self._entries.view()
        return (self._show(kept[at]) for at in np.flatnonzero(kept["event"]["kind"])[::-1])

    def newest_in(
        self, since_ns: int, until_ns: int, most: int, number: int | None = None
    ) -> list[Alert]:
        """Return the newest alerts of a span of time, `most` of them, oldest first.

        Parameters
        ----------
        since_ns, until_ns : int
            Both ends of the span, ns since 1970 UTC.
        most : int
            How many at most.
        number : int, optional
            Of the last one that counts.
        """
        kept = self._entries.view()
        time_ns = kept["row"]["time_ns"]
        inside = (kept["event"]["kind"] != 0) & (time_ns >= since_ns) & (time_ns <= until_ns)
        if number is not None:
            inside &= kept["number"] <= number
        return [self._show(kept[at]) for at in np.flatnonzero(inside)[-most:]]

    def changes_in(self, since_ns: int, until_ns: int) -> list[SettingChange]:
        """Return the setting changes of a span of time, oldest first."""
        kept = self._entries.view()
        entries = map(self._made, kept[kept["event"]["kind"] == 0])
        changes = (entry for entry in entries if isinstance(entry, SettingChange))
        return [change for change in changes if since_ns <= change.time_ns <= until_ns]

    def count(self, kind: AlertKind) -> int:
        """How many alerts of a kind are kept."""
        return int(np.count_nonzero(self._entries.view()["event"]["kind"] == kind))

    def newest_entries(self, count: int) -> list[tuple[Records, _Kept]]:
        """Return the newest entries as they are kept, oldest first.

        Returns
        -------
        list of (array of ENTRY, SettingValues or SettingChange)
            Those of alerts under the same settings are together.
        """
        kept, found, first = self._entries.view(count), [], 0
        for _, alike in itertools.groupby(kept["key"].tolist()):
            last = first + sum(1 for _ in alike)
            found.append((kept[first:last], self._entries.object_of(kept[first])))
            first = last
        return found

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
        if not len(events):
            return
        entries = entries_of(events, rows, self._alerts + 1)
        self._alerts += len(events)
        self._append(entries, values)
        for at, kind in enumerate(events["kind"].tolist()):
            if kind == AlertKind.ENTRY:
                self._opened = entries[at : at + 1], values
            elif kind in (AlertKind.EXIT, AlertKind.STOP):
                self._opened = None

    def changed(self, change: SettingChange) -> None:
        """Add a setting's change."""
        self._total += 1
        self._entries.add(other_entry(self._alerts), change)

    def clear(self) -> None:
        """Forget every entry; numbers go on, so that no alert is taken for an earlier one."""
        self._entries.clear()
        self._newest_values, self._shown, self._opened = (None, -1), {}, None
        self._total += 1

    def frame(self) -> pd.DataFrame:
        """Return the log as a DataFrame indexed by time (UTC), oldest first."""
        return entries_frame(self.between(0, len(self)))

    def _append(self, entries: Records, values: SettingValues) -> None:
        self._total += len(entries)
        known, key = self._newest_values
        key = self._entries.add(entries, values, key if known is values else -1)
        self._newest_values = values, key

    def _made(self, entry: np.void) -> Alert | SettingChange:
        kept = self._entries.object_of(entry)
        return kept if isinstance(kept, SettingChange) else alert_of(entry, kept)

    def _show(self, entry: np.void) -> Alert:
        """Return an alert that is likely to be asked for again."""
        number = int(entry["number"])
        alert = self._shown.get(number)
        if alert is None:
            if len(self._shown) > 2 * len(self):
                oldest = int(self._entries.view()["newest"][0])
                self._shown = {n: one for n, one in self._shown.items() if n >= oldest}
            values = cast("SettingValues", self._entries.object_of(entry))
            alert = self._shown[number] = alert_of(entry, values)
        return alert


def _alerts_alone(entries: Iterable[Alert | SettingChange]) -> list[Alert]:
    return [entry for entry in entries if isinstance(entry, Alert)]
