"""Fields that set a setting: what was typed in one, and the mark of what was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pairlab.lab import PairLab

__all__ = ["Refusals", "typed"]

_REFUSED: Final = "pairlab-refused"


def typed(text: str) -> float | str:
    """Return the number that was typed, with a true minus or ``,`` between thousands, or the text.

    >>> typed("−1,250.5"), typed("1.5e−6"), typed("two")
    (-1250.5, 1.5e-06, 'two')
    """
    try:
        return float(text.replace("−", "-").replace(",", ""))
    except ValueError:
        return text


class Refusals:
    """The fields whose value was refused: marked until they are edited or their setting changes.

    Parameters
    ----------
    lab : PairLab
        Whose settings; its event log tells why.
    """

    def __init__(self, lab: PairLab) -> None:
        self._lab = lab
        self._marked: dict[str, tuple[Any, object]] = {}  # field and the value that it kept

    def tell(self, why: str) -> None:
        """Say why in the event log; once, though each message of a drag is refused."""
        log = self._lab.event_log
        if not log or log[-1].message != why:
            self._lab.note("warning", why)

    def refuse(self, name: str, field: Any, why: str) -> None:
        """Say why a setting's value was refused, and mark its field."""
        self.tell(why)
        field.add_class(_REFUSED)
        self._marked[name] = field, getattr(self._lab.settings, name)

    def forget(self, name: str) -> None:
        """Take a setting's mark away, if it has one: another value is asked for, or accepted."""
        if name in self._marked:
            field, _ = self._marked.pop(name)
            field.remove_class(_REFUSED)

    def look(self) -> None:
        """Take the marks away of settings that have changed since, wherever they were changed."""
        for name, (_, kept) in list(self._marked.items()):
            if getattr(self._lab.settings, name) != kept:
                self.forget(name)
