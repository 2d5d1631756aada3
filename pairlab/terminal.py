"""Text for a terminal, whatever characters its encoding has."""

from __future__ import annotations

import codecs
import io
import sys
from typing import Final

__all__ = ["accept_any_text"]

_HANDLER: Final = "pairlab.plain"
_PLAIN: Final = {
    "−": "-", "–": "-", "—": "-", "·": "|", "…": "...", "→": "->", "←": "<-", "×": "x", "±": "+/-",
    "≤": "<=", "≥": ">=", "≈": "~", "≠": "!=", "√": "sqrt ", "∞": "inf", "α": "alpha", "β": "beta",
    "μ": "mu", "µ": "u", "ρ": "rho", "σ": "sigma", "Δ": "Delta", "Ⓢ": "S", "‘": "'", "’": "'",
    "“": '"', "”": '"', "\u2009": " ", "\u202f": " ", "\xa0": " ",
}  # fmt: skip


def accept_any_text() -> None:
    """Let standard output and error take any text: what the encoding lacks is written in ASCII.

    ``≤`` becomes ``<=`` where a terminal has no such character, and one without a usual ASCII
    spelling its Unicode escape. Python's default for standard output raises UnicodeEncodeError.
    """
    codecs.register_error(_HANDLER, _spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter) or _escape(letter) for letter in letters), error.end


def _escape(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode("ascii")
