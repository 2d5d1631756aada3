"""Numbers, times and text as the screen shows them: one place, so that all parts agree.

What alerts and the screen have in common is in `pairlab.formatting`.
"""

from __future__ import annotations

import math
import time
from decimal import Decimal
from html import escape
from typing import Final

from pairlab.formatting import (
    MINUS,
    MISSING,
    number,
    parse_number,
    resolved,
    scientific,
    signed,
)
from pairlab.schema import NS_PER_S, Pair

__all__ = [
    "MISSING",
    "age",
    "clock",
    "compact",
    "count",
    "currency",
    "day",
    "decimals_for",
    "duration",
    "exact",
    "extent",
    "fitted",
    "guess_decimals",
    "js_number",
    "moment",
    "number",
    "p_value",
    "parse_number",
    "power",
    "quantity_ms",
    "quote",
    "safe",
    "short",
    "signed",
    "signed_fitted",
    "sized",
    "span_label",
]

_HALF_A_DAY_NS: Final = 43_200 * NS_PER_S
FINEST: Final = 18  # decimals: nothing that is traded is smaller
_QUOTES: Final = ("USDT", "USDC", "FDUSD", "BUSD", "BTC", "ETH", "EUR", "TRY")


def safe(text: object) -> str:
    """Return text that is shown, never read as HTML."""
    return escape(str(text), quote=True)


def exact(value: float, decimals: int = 2) -> str:
    """Return a setting as it is: with `decimals`, or as many as it needs.

    A tiny one is told in powers of ten: a field would show the beginning of so many zeros.

    >>> exact(25.0, 3), exact(24.87125, 3), exact(0.0004, 3), exact(-1.25e-6, 3), exact(0.1 + 0.2)
    ('25.000', '24.87125', '0.0004', '−1.25e−6', '0.30000000')
    """
    small = -math.floor(math.log10(abs(value))) if 0 < abs(value) < 1 else 0
    most = max(8, small + 3)
    needed = next((d for d in range(decimals, most) if round(value, d) == value), most)
    text = number(value, needed)
    if len(text) <= 8 or not abs(value) < 1e-3:
        return text
    mantissa, exponent = f"{value:.7e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}".replace("-", MINUS)


def fitted(value: float, decimals: int = 2, width: int = 8) -> str:
    """Return a number with as many decimals as `width` characters hold.

    >>> fitted(41.75), fitted(-5234.9), fitted(1234567.25)
    ('41.75', '−5,234.9', '1,234,567')
    """
    while decimals and len(number(value, decimals)) > width:
        decimals -= 1
    return number(value, decimals)


def compact(value: float, decimals: int, width: int = 8) -> str:
    """Return a number as `fitted` does; a small one in powers of ten, where it needs more room.

    >>> compact(41.75, 2), compact(-0.0123, 4), compact(-0.0000123, 7), compact(3.2201234, 7)
    ('41.75', '−0.0123', '−1.2e−5', '3.220123')
    """
    # As if it were below zero, so that a number whose sign turns keeps its form; and one character
    # less: a digit is wider than what stands between thousands.
    if 0 < abs(value) < 0.1 and len(number(-abs(value), decimals)) >= width:
        return power(value)
    return fitted(value, decimals, width)


def power(value: float) -> str:
    """Return two digits of a number and the power of ten that goes with them.

    >>> power(-0.0000123), power(0.05)
    ('−1.2e−5', '5.0e−2')
    """
    return scientific(value, 1)


def signed_fitted(value: float, decimals: int, width: int = 8) -> str:
    """Return a signed number with fewer decimals where it would be too wide; a tiny one as a power.

    >>> signed_fitted(1234.567, 2), signed_fitted(123456.78, 2), signed_fitted(0.0, 2)
    ('+1,234.6', '+123,457', '+0.00')
    """
    kept = decimals
    while kept and len(signed(value, kept)) > width:
        kept -= 1
    if kept < decimals and 0 < abs(value) < 10.0 ** (1 - kept):  # not two of its digits are left
        return power(value) if value < 0 else f"+{power(value)}"
    return signed(value, kept)


def sized(value: float, decimals: int) -> str:
    """Return a number with its decimals; with more than eight a small one in powers of ten.

    >>> sized(41.75, 2), sized(-4.9e-9, 11), sized(3.3055931, 7), sized(0.0, 11)
    ('41.75', '−4.90e−9', '3.3055931', '0')
    """
    return number(value, decimals) if decimals <= 8 else resolved(value, decimals)


def decimals_for(size: float, least: int) -> int:
    """Return the decimals that show three digits of a small number.

    >>> [decimals_for(size, 2) for size in (38.0, 0.1, 0.0437, 0.000123, 4.9e-9, float("nan"))]
    [2, 2, 4, 6, 11, 2]
    """
    if not 0 < size < 0.1:
        return least
    return min(max(2 - math.floor(math.log10(size)), least), FINEST)


def p_value(value: float) -> str:
    """Return a p-value: three decimals, ``<0.001`` below that."""
    if math.isfinite(value) and value < 0.001:
        return "<0.001"
    return number(value, 3)


def age(seconds: float) -> str:
    """Return an age: two decimals below 10 s, none above."""
    return number(seconds, 2 if seconds < 9.995 else 0)


def quantity_ms(value: float) -> str:
    """Return milliseconds: whole, one decimal below 1."""
    return number(value, 1 if abs(value) < 0.95 else 0)


def count(value: int) -> str:
    """Return a whole number with ``,`` between thousands."""
    return f"{value:,}".replace("-", MINUS)


def short(value: int) -> str:
    """Return a count in four characters: of thousands, the first two digits.

    >>> short(0), short(999), short(1_234), short(9_960), short(14_400), short(3_140_000)
    ('0', '999', '1.2k', '10k', '14k', '3.1M')
    """
    if value < 1_000:
        return str(value)
    unit, name = (1e3, "k") if value < 999_500 else (1e6, "M")
    return f"{value / unit:.{int(value / unit < 9.95)}f}{name}"


def clock(time_ns: int, *, milliseconds: bool = True) -> str:
    """Return the UTC time of day.

    >>> clock(1_732_285_910_902_000_000)
    '14:31:50.902'
    """
    second, rest = divmod(time_ns, NS_PER_S)
    text = time.strftime("%H:%M:%S", time.gmtime(second))
    return f"{text}.{rest // 1_000_000:03d}" if milliseconds else text


def moment(time_ns: int, newest_ns: int, *, milliseconds: bool = True) -> str:
    """Return the UTC time of day; of one over half a day before the newest the day and minute.

    >>> moment(1_732_285_910_902_000_000, 1_732_285_911_000_000_000)
    '14:31:50.902'
    >>> moment(1_732_285_910_902_000_000, 1_732_385_911_000_000_000)
    '22 Nov 14:31'
    """
    if newest_ns - time_ns <= _HALF_A_DAY_NS:
        return clock(time_ns, milliseconds=milliseconds)
    return f"{day(time_ns)} {clock(time_ns)[:5]}"


def day(time_ns: int) -> str:
    """Return the UTC day.

    >>> day(1_732_285_910_902_000_000)
    '22 Nov'
    """
    return time.strftime("%d %b", time.gmtime(time_ns // NS_PER_S)).lstrip("0")


def duration(seconds: float) -> str:
    """Return how long something took: ``1.5 s`` below a minute, else ``h:mm:ss``."""
    if not math.isfinite(seconds):
        return MISSING
    if seconds < 59.95:
        return f"{max(seconds, 0):.1f} s"
    minutes, second = divmod(round(seconds) if seconds < 60 else int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}"


def extent(seconds: float) -> str:
    """Return how much time something covers, from milliseconds to days.

    >>> extent(0.21), extent(6.25), extent(754), extent(2.6e5), extent(float("nan"))
    ('210 ms', '6.2 s', '0:12:34', '3.0 d', '–')
    """
    if not math.isfinite(seconds):
        return MISSING
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1e3:.0f} ms"
    return f"{seconds / 86400:,.1f} d" if seconds >= 86400 else duration(seconds)


def span_label(seconds: float) -> str:
    """Return a length of time in its largest whole unit: ``30 s``, ``5 min``, ``2 h``, ``7 d``."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:g} s"


def currency(symbol: str) -> str:
    """Return the currency that a symbol's price is in, "" where it is not known."""
    return next((q for q in _QUOTES if symbol.endswith(q)), "")


def quote(pair: Pair) -> str | None:
    """Return the currency that both prices are in: "" where it is not known, None for two.

    >>> quote(Pair("BTCUSDT", "ETHUSDT")), quote(Pair("BTCUSDT", "ETHBTC")), quote(Pair("A", "B"))
    ('USDT', None, '')
    """
    y, x = map(currency, pair)
    return None if y and x and y != x else y or x


def guess_decimals(value: float) -> int:
    """Return decimals that show about seven digits of a price whose tick size is not known.

    >>> guess_decimals(61279.0), guess_decimals(0.00001234), guess_decimals(4.9e-9)
    (2, 8, 11)
    """
    if not math.isfinite(value) or value == 0:
        return 2
    size = math.floor(math.log10(abs(value)))
    return min(max(6 - size, 2), max(8, 2 - size), FINEST)


def js_number(value: float) -> str:
    """Return a number as JavaScript prints it: bqplot looks tick labels up by that text.

    >>> js_number(2.0), js_number(-0.5), js_number(1732285910000)
    ('2', '-0.5', '1732285910000')
    """
    value = float(value)
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))  # and 0 for -0.0
    if 1e-6 <= abs(value) < 1e21:
        text = format(Decimal(repr(value)), "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, exponent = f"{Decimal(repr(value)):e}".split("e")
    return f"{mantissa}e{int(exponent):+d}"
