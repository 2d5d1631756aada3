"""The manifest of a session file: JSON of a stranger's, each field checked as it is taken."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, get_args

from pairlab.engine.state import DROP_REASONS, SIGNAL_FIELDS
from pairlab.errors import DataError
from pairlab.feeds.base import FeedHealth, FeedState
from pairlab.schema import Pair
from pairlab.settings import SettingValues
from pairlab.storage.session.session_tables import MEMBERS
from pairlab.storage.session.write_session import FORMAT
from pairlab.storage.tables import FORMAT_VERSION, settings_of

__all__ = ["Manifest"]

T = TypeVar("T")

_MOST: Final = 2**63 - 1
_SIDES: Final = ("position", "lock", "excursion")
_DIGEST: Final = 64
_LONGEST_NAME: Final = 200
_MOST_DECIMALS: Final = 18


class Manifest:
    """A manifest, or an object within one.

    Parameters
    ----------
    content : bytes or Mapping
        JSON of an object, or the object.
    name : str
        What it is called in errors.

    Raises
    ------
    DataError
        If it is no JSON object.
    """

    def __init__(self, content: bytes | Mapping[str, Any], name: str = "manifest.json") -> None:
        self._name = name
        if isinstance(content, bytes):
            try:
                content = json.loads(content)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{name} is no JSON: {str(error)[:200]}") from None
        if not isinstance(content, dict):
            raise DataError(f"{name} is {_short(content)}: expected an object")
        self._fields: dict[str, Any] = content

    def _take(self, name: str, known: Callable[[Any], bool], expected: str) -> Any:
        if name not in self._fields:
            raise DataError(f"{self._name} has no {name!r}")
        value = self._fields[name]
        if not known(value):
            raise DataError(f"{self._name}: {name} = {_short(value)}, expected {expected}")
        return value

    def whole(self, name: str, low: int = 0, high: int = _MOST) -> int:
        """Return a whole number from `low` to `high`."""
        known = lambda v: type(v) is int and low <= v <= high  # noqa: E731
        return int(self._take(name, known, f"a whole number from {low:,} to {high:,}"))

    def text(self, name: str, longest: int = 10_000) -> str:
        """Return a text."""
        known = lambda v: isinstance(v, str) and len(v) <= longest  # noqa: E731
        return str(self._take(name, known, f"a text of at most {longest:,} characters"))

    def truth(self, name: str) -> bool:
        """Return true or false."""
        return bool(self._take(name, lambda v: isinstance(v, bool), "true or false"))

    def inner(self, name: str) -> Manifest:
        """Return an object within."""
        found = self._take(name, lambda v: isinstance(v, dict), "an object")
        return Manifest(found, f"{self._name}: {name}")

    def or_none(self, name: str, take: Callable[[str], T]) -> T | None:
        """Return what `take` gives for a field, or None where it is null."""
        return None if self._take(name, lambda v: True, "") is None else take(name)

    def number(self, name: str) -> float:
        """Return a finite number; NaN where it is null."""
        known = lambda v: v is None or _finite(v)  # noqa: E731
        value = self._take(name, known, "a finite number, or null")
        return math.nan if value is None else float(value)

    def wholes(self, name: str, count: int, low: int, high: int) -> tuple[int, ...]:
        """Return a list of so many whole numbers."""
        known = lambda v: (  # noqa: E731
            isinstance(v, list)
            and len(v) == count
            and all(type(n) is int and low <= n <= high for n in v)
        )
        return tuple(self._take(name, known, f"{count} whole numbers from {low:,} to {high:,}"))

    def counts(self, name: str) -> dict[str, int]:
        """Return whole numbers from 0 on, by name."""
        found = self.inner(name)
        return {key: found.whole(key) for key in found._fields}

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        known = lambda v: isinstance(v, list) and all(isinstance(t, str) for t in v)  # noqa: E731
        return tuple(self._take(name, known, "a list of texts"))

    # -- what a session has ---------------------------------------------------------------------

    def require_format(self) -> None:
        """Raise DataError unless it is of a session, and of a version that is known."""
        found = self._fields.get("format")
        if found != FORMAT:
            raise DataError(f"{self._name}: format = {_short(found)}, expected {FORMAT!r}")
        version = self.whole("version", 1)
        if version > FORMAT_VERSION:
            raise DataError(
                f"it is of format version {version}, this pairlab reads up to {FORMAT_VERSION}: "
                "install a newer one"
            )

    def pair(self) -> Pair:
        """Return the symbols."""
        pair = self.texts("pair")
        usable = len(pair) == 2 and len(set(pair)) == 2 and all(s.strip() for s in pair)
        if not usable or max(map(len, pair)) > _LONGEST_NAME:
            raise DataError(f"{self._name}: pair = {_short(pair)}, expected two different symbols")
        return Pair(*pair)

    def price_decimals(self) -> tuple[int, int] | None:
        """Return the decimals of both tick sizes."""
        found = self.or_none("price_decimals", lambda name: self.wholes(name, 2, 0, _MOST_DECIMALS))
        return None if found is None else (found[0], found[1])

    def versions(self) -> dict[str, str]:
        """Return the versions of Python and of packages."""
        given = self.inner("versions")
        return {name: given.text(name, _LONGEST_NAME) for name in given._fields}

    def row_latency_ms(self) -> tuple[float, float]:
        """Return median and 99 % of receipt to row."""
        known = lambda v: isinstance(v, list) and len(v) == 2  # noqa: E731
        found = self._take("row_latency_ms", known, "two numbers")
        both = Manifest({"p50": found[0], "p99": found[1]}, f"{self._name}: row_latency_ms")
        return both.number("p50"), both.number("p99")

    def settings(self, name: str) -> SettingValues:
        """Return settings."""
        return settings_of(json.dumps(self.inner(name)._fields))

    def health(self) -> FeedHealth:
        """Return the feed's state and counters."""
        given = self.inner("health")
        states = get_args(FeedState)
        state = given._take("state", lambda v: v in states, f"one of {', '.join(states)}")
        values: dict[str, Any] = {
            "state": state, "detail": given.text("detail"), "dropped": given.counts("dropped"),
            "bad_frames": given.texts("bad_frames"),
        }  # fmt: skip
        for name, field in FeedHealth.__dataclass_fields__.items():
            if name not in values:
                values[name] = given.whole(name) if field.type == "int" else given.number(name)
        return FeedHealth(**values)

    def signal(self) -> dict[str, int]:
        """Return the state of the signal machine."""
        given = self.inner("signal")
        return {
            name: given.whole(name, -1, 1) if name in _SIDES else given.whole(name, -_MOST - 1)
            for name in SIGNAL_FIELDS
        }

    def dropped(self) -> dict[str, int]:
        """Return the ticks that the engine refused, by reason."""
        found = self.counts("dropped")
        known = {name.replace("_", " ") for name in DROP_REASONS}
        if set(found) != known:
            raise DataError(f"{self._name}: dropped has {_short(sorted(found))}")
        return found

    def members(self) -> dict[str, tuple[int, int, str]]:
        """Return rows, bytes and sha256 of each table."""
        given = self.inner("members")
        if set(given._fields) != set(MEMBERS):
            raise DataError(
                f"{self._name}: members are {_short(sorted(given._fields))}, expected "
                + ", ".join(MEMBERS)
            )
        inner = {name: given.inner(name) for name in MEMBERS}
        return {
            name: (one.whole("rows"), one.whole("bytes"), one.text("sha256", _DIGEST))
            for name, one in inner.items()
        }


def _finite(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= 1e300


def _short(value: object) -> str:
    return repr(value)[:80]
