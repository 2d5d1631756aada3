"""The alerts of all pairs in one log."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator

import numpy as np
import pandas as pd

from pairlab.alerts import COLUMNS, Alert, AlertLog, records
from pairlab.board_protocol import BoardAlert, BreakAlert
from pairlab.schema import Pair

__all__ = ["BoardAlerts"]


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
        self._entries: deque[BoardAlert] = deque(maxlen=capacity)
        self._read: dict[Pair, int] = {}
        self.total = 0
        self.newest_number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[BoardAlert]:
        return iter(self._entries)

    def __reversed__(self) -> Iterator[BoardAlert]:
        return reversed(self._entries)

    def take(self, pair: Pair, log: AlertLog) -> list[BoardAlert]:
        """Take what is new in a pair's log, and return it."""
        new = log.total - self._read.get(pair, 0)
        self._read[pair] = log.total
        entries = list(log)[max(len(log) - new, 0) :] if new > 0 else []
        taken = [BoardAlert(pair, entry) for entry in entries]
        self._entries.extend(taken)
        self.total += len(taken)
        self.newest_number += sum(isinstance(entry, Alert) for entry in entries)
        return taken

    def add(self, pair: Pair, alert: BreakAlert) -> None:
        """Add what a rescan has found of a pair."""
        self._entries.append(BoardAlert(pair, alert))
        self.total += 1
        self.newest_number += 1

    def since(self, number: int) -> list[BoardAlert]:
        """Return the alerts alone after that number that are kept, oldest first."""
        kinds = (Alert, BreakAlert)
        alerts = (alert for alert in reversed(self._entries) if isinstance(alert.entry, kinds))
        return list(itertools.islice(alerts, max(self.newest_number - number, 0)))[::-1]

    def forget(self, pair: Pair) -> None:
        """Expect a new log of a pair; its alerts stay."""
        self._read.pop(pair, None)

    def frame(self) -> pd.DataFrame:
        """Return the log as a DataFrame indexed by time (UTC), oldest first: pair, then columns."""
        alerts = list(self._entries)
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
