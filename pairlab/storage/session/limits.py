"""How a session file may be called, and how large it may be, on the disk and in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from pairlab.errors import DataError, SettingError

__all__ = ["DEFAULT_LIMITS", "ENDING", "SessionLimits", "require_session_name"]

ENDING: Final = ".pairlab"

_SMALL_BYTES: Final = 64 << 20
"""Up to this size in memory no ratio is too high: what repeats itself compresses that well."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How much of a file is read before it is refused.

    Attributes
    ----------
    max_file_bytes : int
        On the disk.
    max_member_bytes : int
        One table in memory.
    max_bytes : int
        All tables in memory.
    max_ratio : float
        In memory to on the disk, of a table above 64 MiB.
    """

    max_file_bytes: int = 1 << 30
    max_member_bytes: int = 4 << 30
    max_bytes: int = 8 << 30
    max_ratio: float = 200.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise SettingError(name, value, "expected a number above 0")

    def refusal(self, held: int, stored: int) -> str | None:
        """Return why a table of `held` bytes in memory and `stored` on the disk is refused."""
        if held > self.max_member_bytes:
            return f"it takes {held:,} bytes, max_member_bytes is {self.max_member_bytes:,}"
        if held > max(_SMALL_BYTES, self.max_ratio * stored):
            return (
                f"{stored:,} bytes would become {held:,}, a ratio of {held / max(stored, 1):,.0f}; "
                f"max_ratio is {self.max_ratio:g}"
            )
        return None


DEFAULT_LIMITS: Final = SessionLimits()


def require_session_name(path: str | os.PathLike[str]) -> None:
    """Raise DataError for a name that does not end as that of a session file does."""
    text = os.fsdecode(os.fspath(path))
    if not text.lower().endswith(ENDING):
        raise DataError(
            f"path = {text!r} is invalid: save() writes a session file, expected a name that ends "
            f"in {ENDING}; to_csv() writes .csv and to_html() .html"
        )
