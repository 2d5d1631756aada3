"""Lists that an exchange sends: an entry that cannot be read costs that entry, not the list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import msgspec

__all__ = ["ListDecoder"]

_T = TypeVar("_T")
_SHOWN: Final = 80  # characters of an entry that a message quotes

Report = Callable[[str], None]


class ListDecoder(Generic[_T]):
    """Decodes a JSON array entry by entry where it cannot be decoded as a whole.

    Parameters
    ----------
    entry : type
        What an entry is.

    Examples
    --------
    >>> odd = []
    >>> ListDecoder(int).decode(b"[1, null, 3]", odd.append), odd
    ([1, 3], ['1 of 3 entries cannot be read and is left out, the first of them: null'])
    """

    def __init__(self, entry: Any) -> None:
        self._all: msgspec.json.Decoder[list[_T]] = msgspec.json.Decoder(list[entry])
        self._each: msgspec.json.Decoder[_T] = msgspec.json.Decoder(entry)
        self._split = msgspec.json.Decoder(list[msgspec.Raw])

    def decode(self, raw: bytes | msgspec.Raw, report: Report) -> list[_T]:
        """Return the entries that can be read.

        Parameters
        ----------
        raw : bytes or msgspec.Raw
            The array.
        report : callable
            Takes a sentence about the entries that were left out, if there are any.

        Raises
        ------
        msgspec.MsgspecError, ValueError
            If it is no array, or if none of its entries can be read.
        """
        try:
            return self._all.decode(raw)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            entries = self._split.decode(raw)
        good: list[_T] = []
        bad: list[msgspec.Raw] = []
        problem: Exception | None = None
        for entry in entries:
            try:
                good.append(self._each.decode(entry))
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                problem = problem or error
                bad.append(entry)
        if problem is not None:
            if not good:
                raise problem
            verb = "is" if len(bad) == 1 else "are"
            report(
                f"{len(bad):,} of {len(entries):,} entries cannot be read and {verb} left out, "
                f"the first of them: {_quote(bytes(bad[0]))}"
            )
        return good


def _quote(entry: bytes) -> str:
    text = "".join(c if c.isprintable() else "·" for c in entry.decode("utf-8", "replace"))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
