"""What a page shows of a lab: taken on the lab's loop, so that a thread can write it out."""

from __future__ import annotations

import time
import unicodedata
from dataclasses import dataclass
from typing import Final

import numpy as np

from pairlab.alerts import Alert
from pairlab.data.origin import Origin, without_credentials
from pairlab.health import Health
from pairlab.protocols import LabView
from pairlab.schema import NS_PER_S, LogEntry, Records, Snapshot
from pairlab.settings import SettingValues
from pairlab.widgets.style.formats import guess_decimals, safe

__all__ = ["PageData", "day_and_time", "plain"]

_ALERTS: Final = 400
_LOG: Final = 30


@dataclass(frozen=True)
class PageData:
    """A lab at one moment, as far as a page shows it.

    Attributes
    ----------
    origin : Origin
        Pair, market and settings.
    values : SettingValues
        With which the rows were made.
    rows : numpy.ndarray
        `pairlab.ROW` records.
    latest : Snapshot or None
        The newest row, or the forming bar.
    alerts : tuple of Alert
        The newest ones, oldest first.
    alert_count : int
        How many there ever were.
    log : tuple of LogEntry
        The newest messages, oldest first.
    health : Health
        How feed and engine were.
    decimals : tuple of int
        Of both prices.
    """

    origin: Origin
    values: SettingValues
    rows: Records
    latest: Snapshot | None
    alerts: tuple[Alert, ...]
    alert_count: int
    log: tuple[LogEntry, ...]
    health: Health
    decimals: tuple[int, int]

    @classmethod
    def of(cls, lab: LabView) -> PageData:
        """Return what a page shows of a lab now; later ticks do not change it."""
        health, values, latest = lab.health(), lab.row_settings, lab.latest()
        rows = lab.rows.view()
        decimals = lab.price_decimals()
        if decimals is None:
            prices = (np.nan, np.nan) if latest is None else (latest.y, latest.x)
            decimals = (guess_decimals(prices[0]), guess_decimals(prices[1]))
        newest: list[Alert] = []
        for alert in lab.alert_log.newest_first():
            newest.append(alert)
            if len(newest) == _ALERTS:
                break
        return cls(
            Origin.of(lab.pair, health, values), values, rows, latest, tuple(newest[::-1]),
            lab.alert_log.newest_number, tuple(lab.event_log)[-_LOG:], health, decimals,
        )  # fmt: skip

    @property
    def feed(self) -> str:
        """The feed's name, without credentials."""
        return without_credentials(self.health.feed)

    @property
    def span_ns(self) -> tuple[int, int] | None:
        """Times of the first and the last row; None without rows."""
        if not len(self.rows):
            return None
        return int(self.rows["time_ns"][0]), int(self.rows["time_ns"][-1])


def plain(text: object) -> str:
    """Return text that is shown as it is: no markup, and nothing that turns or hides the rest."""
    shown = "".join("�" if unicodedata.category(c) in _UNSEEN else c for c in str(text))
    return safe(shown)


_UNSEEN: Final = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Control characters, those that turn the direction of text, and line ends."""


def day_and_time(time_ns: int) -> str:
    """Return day and time in UTC.

    >>> day_and_time(1_732_285_910_902_000_000)
    '22 Nov 2024 14:31:50'
    """
    return time.strftime("%d %b %Y %H:%M:%S", time.gmtime(time_ns // NS_PER_S)).lstrip("0")
