"""Where a lab is recorded to: a folder or a database, and the limits that can be asked for."""

from __future__ import annotations

import datetime
import importlib
import os
from collections.abc import Callable
from typing import Any, Final

import pandas as pd

from pairlab.clock import Clock
from pairlab.errors import SettingError
from pairlab.schema import LogLevel
from pairlab.storage.recording.sink import RecordSink

__all__ = ["Target"]

_DATABASES: Final = ("postgresql://", "postgres://")
_LEAST_BYTES: Final = 1024 * 1024
_LEAST_AGE_S: Final = 60.0


class Target:
    """What `PairLab.record` was asked for, checked; nothing is opened yet.

    Parameters
    ----------
    path_or_url : str or os.PathLike
        A folder, or ``postgresql://…``.
    fsync_s : float
        From 0.1 to 3,600.
    max_bytes : int, optional
        1 MiB at least.
    max_age : str, datetime.timedelta or float, optional
        ``"7D"``, or seconds; a minute at least.

    Raises
    ------
    SettingError
        If one of them is none of these.
    """

    def __init__(
        self,
        path_or_url: str | os.PathLike[str],
        *,
        fsync_s: float = 10.0,
        max_bytes: int | None = None,
        max_age: str | datetime.timedelta | float | None = None,
    ) -> None:
        if not isinstance(path_or_url, str | os.PathLike) or not os.fspath(path_or_url):
            raise SettingError("path_or_url", path_or_url, "expected a folder or postgresql://…")
        text = os.fspath(path_or_url)
        self.is_database: Final = text.startswith(_DATABASES)
        if not self.is_database and "://" in text:
            # Not the whole of it: it can hold a password.
            shown = f"{text.partition('://')[0]}://…"
            raise SettingError("path_or_url", shown, "expected a folder or postgresql://…")
        self.fsync_s: Final = _number("fsync_s", fsync_s, 0.1, 3_600.0)
        self.max_bytes: Final = max_bytes
        if max_bytes is not None and (
            isinstance(max_bytes, bool)
            or not isinstance(max_bytes, int)
            or max_bytes < _LEAST_BYTES
        ):
            raise SettingError(
                "max_bytes", max_bytes, f"expected a whole number from {_LEAST_BYTES:,}, or None"
            )
        self.max_age_s: Final = None if max_age is None else _seconds(max_age)
        if self.is_database and (max_bytes, max_age) != (None, None):
            raise SettingError(
                "max_age" if max_bytes is None else "max_bytes",
                max_age if max_bytes is None else max_bytes,
                "a database has its own retention; this is for a folder",
            )
        self.text: Final = text

    @property
    def told(self) -> str:
        """The place in words: of a database's address, nothing that could be a secret."""
        return "the database" if self.is_database else self.text

    def sink(self, tell: Callable[[LogLevel, str], None], clock: Clock) -> RecordSink:
        """Return the place, not open yet.

        Raises
        ------
        MissingExtraError
            Without what it needs.
        """
        made: Any
        if self.is_database:
            made = importlib.import_module("pairlab.storage.database.sink").DatabaseSink(self.text)
        else:
            from pairlab.storage.recording.folder_sink import FolderSink  # most labs record nothing

            made = FolderSink(
                self.text, max_bytes=self.max_bytes, max_age_s=self.max_age_s, tell=tell,
                clock=clock,
            )  # fmt: skip
        sink: RecordSink = made
        return sink


def _number(name: str, value: float, low: float, high: float) -> float:
    expected = f"expected a number from {low:g} to {high:,.0f} seconds"
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise SettingError(name, value, expected)
    return float(value)


def _seconds(age: str | datetime.timedelta | float) -> float:
    try:
        if isinstance(age, bool):
            raise TypeError
        seconds = float(age) if isinstance(age, int | float) else pd.Timedelta(age).total_seconds()
    except (ValueError, TypeError):
        seconds = float("nan")
    if not _LEAST_AGE_S <= seconds < float("inf"):
        raise SettingError(
            "max_age",
            age,
            "expected a time such as '7D', a timedelta or seconds; a minute at least",
        )
    return seconds
