"""Numbers as text, for alerts and for the screen alike, and text that a person typed as numbers.

A true minus (−) instead of a hyphen; – where there is no number; never ``nan``, ``inf`` or
``-0.00``.
"""

from __future__ import annotations

import html
import math
import re
import sys
from collections.abc import Sequence
from decimal import Decimal
from itertools import permutations, product
from typing import Final, NamedTuple

__all__ = [
    "MINUS",
    "MISSING",
    "compared",
    "decimals_apart",
    "html_table",
    "in_full",
    "number",
    "parse_number",
    "plain",
    "readings",
    "resolved",
    "scientific",
    "signed",
    "z_places",
]

MINUS: Final = "\u2212"
MISSING: Final = "\u2013"

_TYPED: Final = re.compile(r"([+-]?)([\d.,' ]*\d[\d.,' ]*)(e[+-]?\d+)?", re.IGNORECASE)
_AS_ASCII: Final = str.maketrans({MINUS: "-", "\u00a0": " ", "\u2009": " ", "\u202f": " ",
                                  "\u2019": "'"})  # fmt: skip
_POINT: Final = r"\d+\.?\d*|\.\d+"
_COMMA: Final = r"\d*,\d+"


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


def in_full(value: float) -> str:
    """Return every digit of a number, as few as tell it from all others.

    >>> in_full(61279.1), in_full(0.0000123), in_full(2500.0)
    ('61,279.1', '0.0000123', '2,500')
    """
    if not math.isfinite(value):
        return MISSING
    digits = Decimal(repr(value))
    exponent = digits.as_tuple().exponent
    places = max(-exponent, 0) if isinstance(exponent, int) else 0
    text = f"{digits:,.{places}f}".replace("-", MINUS)
    return text.rstrip("0").rstrip(".") if "." in text else text


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


class Places(NamedTuple):
    """Decimals in which the parts of a z-score are shown; they may be below 0."""

    z: int
    spread: int
    std: int


def z_places(spread: float, mean: float, std: float, z: float, decimals: int) -> Places:
    """Return the decimals with which (spread − mean) / std gives z, within its last decimal.

    The standard deviation decides, whatever the size of the spread: of 3.3055931, with a mean of
    3.3055901, the digits that count are the last two.

    Parameters
    ----------
    spread, mean, std, z : float
        As a row has them.
    decimals : int
        In which z is to be shown; fewer come back where doubles do not hold as many.

    Examples
    --------
    >>> z_places(3.305593124, 3.305590074, 1.15065e-06, 2.6507, 2)
    Places(z=2, spread=9, std=10)
    """
    if not (math.isfinite(spread) and math.isfinite(mean) and math.isfinite(z) and std > 0.0):
        return Places(decimals, 6, 6)
    rounding = 8.0 * sys.float_info.epsilon * max(abs(spread), abs(mean)) / std
    if rounding > 0.0:
        decimals = max(min(decimals, math.floor(-math.log10(rounding))), 0)
    last = 10.0**-decimals
    # Half of the last decimal is z's own rounding: this is less than what is left.
    of_spread = math.ceil(-math.log10(0.2 * last * std))
    of_std = math.ceil(-math.log10(0.2 * last * std / max(abs(z), 1.0)))
    return Places(decimals, of_spread, of_std)


def resolved(value: float, decimals: int) -> str:
    """Return a number with these decimals; in powers of ten where they are mostly zeros.

    >>> resolved(3.3055931, 6), resolved(-4.9123e-9, 12), resolved(1e-15, 9), resolved(0.0, 14)
    ('3.305593', '−4.912e−9', '0', '0')
    """
    if not math.isfinite(value):
        return MISSING
    value = round(value, decimals) if decimals < 300 else value
    if value == 0.0:
        return "0"
    if abs(value) < 1e-4:
        return scientific(value, decimals + math.floor(math.log10(abs(value))))
    return plain(value, max(decimals, 0))


def scientific(value: float, digits: int) -> str:
    """Return a mantissa with digits after the point and its power of ten.

    >>> scientific(-0.0000123, 1), scientific(4.9e-9, 0)
    ('−1.2e−5', '5e−9')
    """
    mantissa, exponent = f"{value:.{max(digits, 0)}e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", MINUS)


def compared(value: float, limit: float, decimals: int = 2) -> tuple[str, str]:
    """Return two numbers with as many decimals, eight at most, as show and tell apart both.

    >>> compared(0.6, 0.7), compared(0.6996, 0.7), compared(0.00042, 0.0001, 3)
    (('0.60', '0.70'), ('0.6996', '0.7000'), ('0.00042', '0.00010'))
    """
    if 0.0 < limit < 1e-6 and math.isfinite(value):  # eight decimals do not show them
        digits = 1
        while value != limit and f"{value:.{digits}e}" == f"{limit:.{digits}e}" and digits < 8:
            digits += 1
        return scientific(value, digits), scientific(limit, digits)
    decimals = decimals_apart(value, limit, decimals)
    return plain(value, decimals), plain(limit, decimals)


def parse_number(text: str, *, whole: bool = False) -> float | str:
    """Return the number that a person typed, or the text, which no setting of numbers takes.

    A decimal comma is understood, and so are separators between thousands, but where a text can
    be read as two numbers it is none: ``1,000`` is 1000 to one person and 1 to another. A single
    point is the decimal point, as the screen writes it.

    Parameters
    ----------
    text : str
        What was typed.
    whole : bool
        Whether whole numbers are asked for: the screen shows ``1,000`` there, and ``1.000`` is
        what can be read in two ways.

    Returns
    -------
    float or str

    Examples
    --------
    >>> parse_number("−1,000.5"), parse_number("2,5"), parse_number("1.000,5")
    (-1000.5, 2.5, 1000.5)
    >>> parse_number("1,000"), parse_number("1,000", whole=True), parse_number("a lot")
    ('1,000', 1000.0, 'a lot')
    """
    found = readings(text, whole=whole)
    return found[0] if len(found) == 1 else text


def readings(text: str, *, whole: bool = False) -> list[float]:
    """Return every number that a typed text can be read as; none where it is no number.

    >>> readings("24,871"), readings("24.871"), readings("24.871", whole=True), readings("1_0")
    ([24.871, 24871.0], [24.871], [24.871, 24871.0], [])
    """
    typed = _TYPED.fullmatch(text.translate(_AS_ASCII).strip())
    if typed is None:
        return []
    sign, body, exponent = typed[1], typed[2], typed[3] or ""
    plain_texts = set()
    if re.fullmatch(_POINT, body) or re.fullmatch(_COMMA, body):
        plain_texts.add(body.replace(",", "."))
    for between, decimal in (*permutations(".,"), *product(" '", ".,")):
        groups = rf"[1-9]\d{{0,2}}(?:{re.escape(between)}\d{{3}})+(?:{re.escape(decimal)}\d+)?"
        if re.fullmatch(groups, body):
            plain_texts.add(body.replace(between, "").replace(decimal, "."))
    if len(plain_texts) > 1 and ("," in body) == whole:
        # As the screen writes it: a point before decimals, a comma between a count's thousands.
        plain_texts = {t for t in plain_texts if ("." in t) != whole}
    values = sorted(float(sign + t + exponent) for t in plain_texts)
    # A number below the smallest float would be read as 0.
    return [v for v in values if v or not re.search(r"[1-9]", body)]


def _with_minus(text: str) -> str:
    if not text.startswith("-"):
        return text
    body = text[1:]
    return MINUS + body if any(c in "123456789" for c in body) else body


def html_table(
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    bold: Sequence[bool] = (),
    notes: Sequence[str] = (),
) -> str:
    """Return a table as a notebook shows it, in its own style, every text escaped.

    Parameters
    ----------
    title : str
        Stands above it.
    head : sequence of str
        Names of the columns; empty: none.
    rows : sequence of sequence of str
        The cells' texts.
    bold : sequence of bool, optional
        Which rows are set in bold.
    notes : sequence of str
        Lines below it.
    """

    def cells(kind: str, texts: Sequence[str], style: str = "") -> str:
        look = f"text-align:left;{style}"
        return "".join(f'<{kind} style="{look}">{html.escape(text)}</{kind}>' for text in texts)

    marked = bold or [False] * len(rows)
    lines = [f"<tr>{cells('th', head)}</tr>"] if head else []
    for row, strong in zip(rows, marked, strict=True):
        lines.append(f"<tr>{cells('td', row, 'font-weight:bold' if strong else '')}</tr>")
    below = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return f"<h4>{html.escape(title)}</h4><table>{''.join(lines)}</table>{below}"
