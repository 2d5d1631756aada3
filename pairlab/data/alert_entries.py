"""What a log of alerts keeps of each: a record; the object is made when it is asked for.

A board of hundreds of pairs makes thousands of alerts a second. As objects they were most of what
Python's garbage collector goes through: it stopped the loop for half a second at a time.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import numpy as np

from pairlab.alerts import Alert
from pairlab.data.ring import Ring
from pairlab.schema import EVENT, ROW, Records, opaque
from pairlab.settings import SettingValues

__all__ = ["ENTRY", "EntryRing", "alert_of", "copied", "entries_of", "entry_of", "other_entry"]

ENTRY: Final[np.dtype[np.void]] = np.dtype(
    [
        ("row", ROW),  # on which it was decided
        ("event", EVENT),  # what was; of kind 0 if the entry is something else than an alert
        ("number", np.int64),  # the alert's own
        ("newest", np.int64),  # number of the newest alert of the log that has the entry
        ("key", np.int64),  # in `EntryRing`: of the settings, or of what else the entry is
    ],
    align=True,
)
"""One entry of a log."""

_Kept = TypeVar("_Kept")


def entries_of(events: Records, rows: Records, first_number: int) -> Records:
    """Return the entries of alerts that were decided.

    Parameters
    ----------
    events : array of pairlab.EVENT
        Whose ``row`` counts within `rows`.
    rows : array of pairlab.ROW
        On which they were decided.
    first_number : int
        Of the first alert.

    Returns
    -------
    array of ENTRY
        Whose ``key`` is to be set.
    """
    entries = np.empty(len(events), ENTRY)
    opaque(entries["row"])[:] = opaque(rows)[events["row"]]
    opaque(entries["event"])[:] = opaque(events)
    entries["number"] = entries["newest"] = np.arange(first_number, first_number + len(events))
    return entries


def copied(entries: Records) -> Records:
    """Return a copy of entries."""
    # numpy copies records field by field, which takes ten times as long.
    return np.frombuffer(bytearray(entries.tobytes()), ENTRY)


def entry_of(alert: Alert) -> Records:
    """Return the entry of an alert, shape (1,)."""
    entry = np.zeros(1, ENTRY)
    for name in ROW.names or ():
        if name != "received_ns":  # a snapshot has none
            entry["row"][name] = getattr(alert.at, name)
    event = entry["event"]
    event["kind"], event["side"], event["failed"] = alert.kind, alert.side, int(alert.failed)
    event["withheld"], entry["number"] = alert.withheld, alert.number
    entry["newest"] = alert.number
    return entry


def other_entry(newest: int) -> Records:
    """Return an entry that is no alert, shape (1,); its key tells what it is."""
    entry = np.zeros(1, ENTRY)
    entry["newest"] = newest
    return entry


def alert_of(entry: np.void, values: SettingValues) -> Alert:
    """Return the alert of an entry that was decided under these settings."""
    return Alert.of(int(entry["number"]), entry["event"], entry["row"], values)


class EntryRing(Generic[_Kept]):
    """The newest entries, and the objects that they refer to; bounded.

    Parameters
    ----------
    capacity : int
        How many entries are kept, and at most twice as many objects.
    """

    def __init__(self, capacity: int) -> None:
        self.ring: Ring = Ring(ENTRY, capacity)
        self._objects: dict[int, _Kept] = {}
        self._next_key = 0

    def __len__(self) -> int:
        return len(self.ring)

    def clear(self) -> None:
        """Forget every entry."""
        self.ring, self._objects = self.ring.emptied(), {}

    def add(self, entries: Records, kept: _Kept, key: int = -1) -> int:
        """Add entries that refer to an object.

        Parameters
        ----------
        entries : array of ENTRY
            Whose ``key`` is set.
        kept : object
            What they refer to.
        key : int
            What was returned when it was added before, so that it is kept once.

        Returns
        -------
        int
            Its key.
        """
        if key not in self._objects:
            key = self._next_key
            self._next_key += 1
            if len(self._objects) > 2 * self.ring.capacity:
                used = np.unique(self.ring.view()["key"]).tolist()
                self._objects = {one: self._objects[one] for one in used}
            self._objects[key] = kept
        entries["key"] = key
        self.ring.append(entries)
        return key

    def view(self, last: int | None = None) -> Records:
        """Return the newest entries (all by default), oldest first, read-only, not copied."""
        return self.ring.view(last)

    def object_of(self, entry: np.void) -> _Kept:
        """Return what an entry that is kept refers to."""
        return self._objects[int(entry["key"])]
