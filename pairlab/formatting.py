"""Numbers as text, for alerts and for the screen alike.

A true minus (−) instead of a hyphen; – where there is no number; never ``nan``, ``inf`` or
``-0.00``.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = [
    "MINUS",
    "MISSING",
    "compared",
    "decimals_apart",
    "figure",
    "number",
    "plain",
    "signed",
]

MINUS: Final = "\u2212"
MISSING: Final = "\u2013"


def number(value: float, decimals: int = 2) -> str:
    """Return a number with ``,`` between thousands.

    >>> number(-61279, 1), number(-0.001), number(float("inf"))
    ('−61,279.0', '0.00', '–')
    """
    return _with_minus(f"{value:,.{decimals}f}") if math.isfinite(value) else MISSING


def plain(value: float, decimals: int = 2) -> str:
    """Return a number with nothing between thousands, as sentences have it.

    >>> plain(-1234.5), plain(-0.001), plain(float("nan"))
    ('−1234.50', '0.00', '–')
    """
    return _with_minus(f"{value:.{decimals}f}") if math.isfinite(value) else MISSING


def signed(value: float, decimals: int = 2) -> str:
    """Return a number that always carries its sign; zero is ``+``.

    >>> signed(1.812), signed(-0.9), signed(-0.001), signed(float("nan"))
    ('+1.81', '−0.90', '+0.00', '–')
    """
    text = number(value, decimals)
    return text if text.startswith((MINUS, MISSING)) else "+" + text


def figure(value: float) -> str:
    """Return a number of any size in six digits.

    >>> figure(-1234567.0), figure(0.00012345678)
    ('−1.23457e+06', '0.000123457')
    """
    return f"{value:.6g}".replace("-", MINUS) if math.isfinite(value) else MISSING


def decimals_apart(value: float, limit: float, decimals: int = 2) -> int:
    """Return decimals, at least `decimals`, that show which of two numbers is larger.

    >>> decimals_apart(0.61, 0.7), decimals_apart(0.6997, 0.7), decimals_apart(2.0, 2.0)
    (2, 4, 2)
    """
    needed = decimals
    if 0 < limit < 0.1:
        needed = min(max(1 - math.floor(math.log10(limit)), decimals), 8)
    while value != limit and f"{value:.{needed}f}" == f"{limit:.{needed}f}" and needed < 8:
        needed += 1
    return needed


def compared(value: float, limit: float, decimals: int = 2) -> tuple[str, str]:
    """Return two numbers with as many decimals, eight at most, as show and tell apart both.

    >>> compared(0.6, 0.7), compared(0.6996, 0.7), compared(0.00042, 0.0001, 3)
    (('0.60', '0.70'), ('0.6996', '0.7000'), ('0.00042', '0.00010'))
    """
    decimals = decimals_apart(value, limit, decimals)
    return plain(value, decimals), plain(limit, decimals)


def _with_minus(text: str) -> str:
    if not text.startswith("-"):
        return text
    body = text[1:]
    return MINUS + body if any(c in "123456789" for c in body) else body
