"""Numbers that a person types into a field."""

from __future__ import annotations

from typing import Any, Final

from pairlab.errors import SettingError
from pairlab.formatting import MISSING, parse_number, readings
from pairlab.settings import SETTINGS

__all__ = ["OFF_WORDS", "mark_refused", "typed_number"]

OFF_WORDS: Final = ("", "off", "none", "0", MISSING)
"""What is typed into a field, in small letters, to turn its setting off."""

_REFUSED: Final = "pairlab-refused"
_WHY: Final = "Refused: "


def typed_number(name: str, text: str) -> Any:
    """Return the number that was typed for a setting, or the text, which the setting refuses.

    Parameters
    ----------
    name : str
        The setting.
    text : str
        What was typed, such as ``2,5``.

    Raises
    ------
    SettingError
        If the text can be read as two numbers, such as ``1,000``.
    """
    whole = SETTINGS[name].schema.get("type") == "integer"
    found = readings(text, whole=whole)
    if len(found) > 1:
        low, high = (f"{value:.15g}" for value in found)
        raise SettingError(
            name, text, f"it can be read as {low} or as {high}; type it without a separator "
            "between thousands, and decimals after a point",
        )  # fmt: skip
    return parse_number(text, whole=whole)


def mark_refused(field: Any, why: str | None = None) -> None:
    """Mark what was typed into a field as refused, the reason in its tooltip; None: no longer.

    Parameters
    ----------
    field : ipywidgets.Text
        In which it was typed.
    why : str, optional
        The reason.
    """
    usual = (field.tooltip or "").split(f"\n{_WHY}")[0]
    (field.remove_class if why is None else field.add_class)(_REFUSED)
    field.tooltip = usual if why is None else f"{usual}\n{_WHY}{why}"
