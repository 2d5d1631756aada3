"""Settings as text: those that were changed, and the whole table for a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pairlab.formatting import html_table
from pairlab.settings.observers import IsolatedObservers

if TYPE_CHECKING:
    from pairlab.settings import SettingSpec, SettingValues

__all__ = ["DisplayedSettings"]


class DisplayedSettings(IsolatedObservers):
    """The base of `pairlab.settings.Settings`: what a terminal and a notebook show of it."""

    def values(self) -> SettingValues:
        """Return a frozen snapshot of every setting."""
        raise NotImplementedError

    def _shown(self) -> list[tuple[str, object, SettingSpec, bool]]:
        """Return name, value, specification, and whether it was changed, of every setting."""
        from pairlab.settings import SETTINGS  # the table is made of the class

        values = self.values()
        return [
            (name, value := getattr(values, name), spec, value != spec.default)
            for name, spec in SETTINGS.items()
        ]

    def __repr__(self) -> str:
        changed = (
            f"{name}={value!r}" for name, value, _, was_changed in self._shown() if was_changed
        )
        return f"Settings({', '.join(changed)})"

    def _repr_html_(self) -> str:
        """Return a table of every setting; those that were changed are bold, and say so."""
        shown = self._shown()
        rows = [
            (
                name,
                f"{_text(value)} (changed)" if changed else _text(value),
                _text(spec.default),
                spec.allowed,
                spec.about,
            )
            for name, value, spec, changed in shown
        ]
        head = ("setting", "value", "default", "allowed", "meaning")
        return html_table("Settings", head, rows, bold=[changed for *_, changed in shown])


def _text(value: object) -> str:
    return "off" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
