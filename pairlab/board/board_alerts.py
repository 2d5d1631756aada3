"""The alerts of all pairs in one log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from pairlab.alerts import COLUMNS, SettingChange, records
from pairlab.board_protocol import BoardAlert, BreakAlert
from pairlab.data.alert_entries import EntryRing, alert_of, copied, other_entry
from pairlab.data.alert_log import AlertLog
from pairlab.schema import Pair
from pairlab.settings import SettingValues

__all__ = ["BoardAlerts"]

_Kept: TypeAlias = tuple[Pair, SettingValues | SettingChange | BreakAlert]


class _Read(NamedTuple):
    """How far a pair's log has been read, and under which settings its newest alert was."""

    total: int = 0
    values: SettingValues | None = None
    key: int = -1


class BoardAlerts:
    """The newest alerts of all pairs, in the order in which they were decided; bounded.

    Parameters
    ----------
    capacity : int
        How many are kept.

    Attributes
    ----------
    total : int
        Alerts and changes of settings there ever were.
    newest_number : int
        Alerts alone that there ever were: the number of the newest one.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._entries: EntryRing[_Kept] = EntryRing(capacity)
        self._read: dict[Pair, _Read] = {}
        self.total = 0
        self.newest_number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[BoardAlert]:
        return iter(self.between(0, len(self)))

    def __reversed__(self) -> Iterator[BoardAlert]:
        return map(self._made, self._entries.view()[::-1])

    def between(self, first: int, last: int) -> list[BoardAlert]:
        """Return the entries from one place to before another, counted from the oldest kept."""
        return [self._made(entry) for entry in self._entries.view()[max(first, 0) : max(last, 0)]]

    def take(self, pair: Pair, log: AlertLog) -> None:
        """Take what is new in a pair's log."""
        known = self._read.get(pair, _Read())
        values, key = known.values, known.key
        for entries, kept in log.newest_entries(log.total - known.total):
            own = copied(entries)
            if isinstance(kept, SettingChange):
                own["newest"] = self.newest_number
                self._entries.add(own, (pair, kept))
            else:
                self.newest_number += len(own)
                own["newest"] = np.arange(self.newest_number - len(own), self.newest_number) + 1
                key = self._entries.add(own, (pair, kept), key if kept is values else -1)
                values = kept
            self.total += len(own)
        self._read[pair] = _Read(log.total, values, key)

    def add(self, pair: Pair, alert: BreakAlert) -> None:
        """Add what a rescan has found of a pair."""
        self.total += 1
        self.newest_number += 1
        self._entries.add(other_entry(self.newest_number), (pair, alert))

    def since(self, number: int) -> list[BoardAlert]:
        """Return the alerts alone after that number that are kept, oldest first."""
        kept = self._entries.view()
        first, newest = len(kept), kept["newest"]
        while first and newest[first - 1] > number:
            first -= 1
        new = map(self._made, kept[first:])
        return [alert for alert in new if not isinstance(alert.entry, SettingChange)]

    def forget(self, pair: Pair) -> None:
        """Expect a new log of a pair; its alerts stay."""
        self._read.pop(pair, None)

    def frame(self) -> pd.DataFrame:
        """Return the log as a DataFrame indexed by time (UTC), oldest first: pair, then columns."""
        alerts = list(self)
        rows = [
            {"kind": entry.kind, "reason": entry.reason, "sentence": entry.sentence}
            if isinstance(entry, BreakAlert)
            else records([entry])[0]
            for _, entry in alerts
        ]
        times = np.array([alert.entry.time_ns for alert in alerts], dtype="M8[ns]")
        index = pd.DatetimeIndex(times, name="time").tz_localize("UTC")
        frame = pd.DataFrame.from_records(rows, columns=COLUMNS).set_index(index)
        frame.insert(0, "pair", [f"{pair.y} / {pair.x}" for pair, _ in alerts])
        return frame

    def _made(self, entry: np.void) -> BoardAlert:
        pair, kept = self._entries.object_of(entry)
        known = alert_of(entry, kept) if isinstance(kept, SettingValues) else kept
        return BoardAlert(pair, known)
