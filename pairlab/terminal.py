"""Text for a terminal: any characters, whatever its encoding has; warnings in a line each."""

from __future__ import annotations

import codecs
import contextlib
import io
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Final

from pairlab.errors import PairlabWarning

__all__ = ["accept_any_text", "warnings_as_lines"]

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


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show a `PairlabWarning` as a line: whose code it came from is nothing for a terminal."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **to: Any) -> None:
            if issubclass(category, PairlabWarning):
                print(f"pairlab: {message}", file=sys.stderr)
            else:
                others(message, category, *where, **to)

        warnings.showwarning = show
        yield


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter) or _escape(letter) for letter in letters), error.end


def _escape(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode("ascii")
