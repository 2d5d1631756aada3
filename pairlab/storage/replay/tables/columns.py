"""Which column of a table is what: guessed from names, told in words, or given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.errors import DataError, SettingError
from pairlab.limits.symbols import exchange_symbol
from pairlab.schema import NS_PER_S, Pair
from pairlab.storage.tables import arrow

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FIELDS",
    "check_columns",
    "described",
    "find_columns",
    "legs_of",
    "maker_of",
    "numbers_of",
    "same_symbol",
    "time_unit",
    "times_of",
]

FIELDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "time": (
            "time", "timens", "timestamp", "ts", "transacttime", "transactiontime", "tradetime",
            "exchangetime", "exchangetimestamp", "eventtime", "datetime", "date", "t",
        ),
        "price": ("price", "px", "p", "tradeprice", "last", "lastprice", "mid", "midprice"),
        "symbol": ("symbol", "s", "instrument", "ticker", "market", "pair", "coin", "name"),
        "quantity": ("quantity", "qty", "q", "size", "amount", "volume", "vol", "sz"),
        "id": ("id", "tradeid", "aggtradeid", "tid", "seqid"),
        "received": (
            "received", "receivedns", "receivetime", "receivedtime", "localtimestamp",
            "receipttimestamp", "receivedat",
        ),
        "side": ("buyerismaker", "isbuyermaker", "m", "side", "takerside", "aggressor"),
    }
)  # fmt: skip
"""What a tick needs (time, price) and may have, and names of columns, as `_plain` writes them."""

_UNITS: Final = {"s": NS_PER_S, "ms": NS_PER_S // 10**3, "us": NS_PER_S // 10**6, "ns": 1}
_EARLIEST_S, _LATEST_S = 100_000_000, 4_102_444_800  # 1973 to 2100: units do not overlap
_BOUGHT: Final = ("buy", "b", "bid", "buyer", "false", "0")
_SOLD: Final = ("sell", "s", "ask", "seller", "true", "1")


def check_columns(columns: Mapping[str, str] | None) -> None:
    """Raise SettingError if a mapping of columns names what no tick has."""
    for field, name in (columns or {}).items():
        if field not in FIELDS:
            raise SettingError("columns", field, f"expected one of {', '.join(FIELDS)}")
        if not isinstance(name, str):
            raise SettingError("columns", name, f"expected the name of the column of {field}")


def find_columns(
    path: Path, names: Sequence[str], given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the column of each field of a tick.

    Parameters
    ----------
    path : Path
        Of the table, for the error.
    names : sequence of str
        Its columns.
    given : mapping of str to str, optional
        Columns by field, for those that are not to be guessed.

    Returns
    -------
    dict of str to str
        ``time`` and ``price`` at least.

    Raises
    ------
    DataError
        If a column that was given is not there, or time or price cannot be guessed.
    """
    check_columns(given)
    found = dict(given or {})
    for field, name in found.items():
        if name not in names:
            raise DataError(f"{path}: no column {name!r} ({field}); there are {_listed(names)}")
    left = {_plain(name): name for name in reversed(names) if name not in found.values()}
    for field, candidates in FIELDS.items():
        for candidate in candidates:
            if field not in found and candidate in left:
                found[field] = left.pop(candidate)
    for needed in ("time", "price"):
        if needed not in found:
            raise DataError(
                f"{path}: no column is known to be the {needed}; there are {_listed(names)}: say "
                f'which it is, as in Replay(path, columns={{"{needed}": "{names[0]}"}})'
                if names
                else f"{path}: no columns"
            )
    return found


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.]", "", name).casefold()


def same_symbol(given: str, symbol: str) -> bool:
    """Return whether a text means a symbol, in whatever spelling."""
    try:
        return exchange_symbol("symbol", given) == symbol or given == symbol
    except SettingError:
        return given == symbol


# -- values ----------------------------------------------------------------------------------------


def time_unit(path: Path, name: str, column: pa.ChunkedArray) -> str | None:
    """Return the unit of a column of numbers by their size; None for one of timestamps or text.

    Raises
    ------
    DataError
        If the numbers are times of no one unit.
    """
    pa = arrow()
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return None
    values = _numbers(path, name, column)
    low, high = float(values.min()), float(values.max())
    for unit, ns in _UNITS.items():
        per_s = NS_PER_S // ns
        if _EARLIEST_S * per_s <= low and high < _LATEST_S * per_s:
            return unit
    raise DataError(
        f"{path}: {name} from {low:.15g} to {high:.15g} is no time in one unit: expected all in s, "
        "ms, us or ns since 1970, from 1973 to 2100"
    )


def times_of(path: Path, name: str, column: pa.ChunkedArray, unit: str | None) -> NDArray[np.int64]:
    """Return times as nanoseconds since 1970 UTC; those without a zone are UTC.

    Parameters
    ----------
    path, name
        For the error.
    column : pyarrow.ChunkedArray
        Timestamps, text in ISO 8601, or numbers.
    unit : str or None
        Of numbers, as `time_unit` found it.

    Raises
    ------
    DataError
        If one is missing, no time, or not in the unit of the others.
    """
    pa = arrow()
    _no_nulls(path, name, column)
    if unit is None:
        if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
            return _parsed_times(path, name, column)
        try:
            zone = getattr(column.type, "tz", None)
            exact = column.cast(pa.timestamp("ns", zone))
        except pa.ArrowException as error:
            raise DataError(f"{path}: {name}: {error}") from None
        return np.asarray(exact.cast(pa.int64()).to_numpy())
    values, ns = _numbers(path, name, column), _UNITS[unit]
    per_s = NS_PER_S // ns
    wrong = ~((values >= _EARLIEST_S * per_s) & (values < _LATEST_S * per_s))
    if wrong.any():
        at = int(wrong.argmax())
        raise DataError(f"{path}: {name} {values[at]} is no time in {unit} since 1970, as others")
    if values.dtype.kind in "iu":
        return np.asarray(values.astype(np.int64) * ns)
    if ns == 1:
        return np.asarray(np.rint(values).astype(np.int64))
    # A float of seconds since 1970 is good to a quarter of a microsecond.
    return np.asarray(np.rint(values * (ns / 1e3)).astype(np.int64) * 1000)


def _parsed_times(path: Path, name: str, column: pa.ChunkedArray) -> NDArray[np.int64]:
    texts = pd.Series(column.to_pandas(), dtype=object)
    parsed = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
    bad = parsed.isna()
    if bad.any():
        at = int(bad.to_numpy().argmax())
        raise DataError(
            f"{path}: row {at + 1:,}: {name} = {_short(texts[at])} is no time: expected ISO 8601, "
            "or a number since 1970"
        )
    return np.asarray(parsed.dt.tz_localize(None).to_numpy("M8[ns]").view(np.int64))


def numbers_of(path: Path, name: str, column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column as floats.

    Raises
    ------
    DataError
        If a value is missing or no number; names its row.
    """
    return _numbers(path, name, column).astype(np.float64, copy=False)


def _numbers(path: Path, name: str, column: pa.ChunkedArray) -> NDArray[Any]:
    pa = arrow()
    _no_nulls(path, name, column)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return np.asarray(column.to_numpy())
    try:
        return np.asarray(column.cast(pa.float64()).to_numpy())  # text, decimals
    except pa.ArrowException:
        texts = pd.Series(column.to_pandas(), dtype=object)
    bad = pd.to_numeric(texts, errors="coerce").isna() if len(texts) else texts.isna()
    at = int(bad.to_numpy().argmax())
    raise DataError(f"{path}: row {at + 1:,}: {name} = {_short(texts[at])} is no number")


def legs_of(
    path: Path, name: str, column: pa.ChunkedArray, pair: Pair
) -> tuple[NDArray[np.int8], list[str]]:
    """Return the leg of each row, -1 for symbols that are none of the pair's, and those symbols."""
    pa = arrow()
    _no_nulls(path, name, column)
    codes = column.combine_chunks()
    if not pa.types.is_dictionary(codes.type):
        codes = codes.cast(pa.string()).dictionary_encode()
    legs, others = [], []
    for symbol in codes.dictionary.cast(pa.string()).to_pylist():
        known = [leg for leg, wanted in enumerate(pair) if same_symbol(str(symbol), wanted)]
        legs.append(known[0] if known else -1)
        if not known:
            others.append(str(symbol))
    return np.array([*legs, -1], np.int8)[codes.indices.to_numpy()], others


def maker_of(path: Path, name: str, column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return whether the buyer was the maker: of a flag, or of the side that took.

    Raises
    ------
    DataError
        If a value is neither.
    """
    pa = arrow()
    _no_nulls(path, name, column)
    if pa.types.is_boolean(column.type):
        return np.asarray(column.to_numpy(), np.bool_)
    codes = column.cast(pa.string()).combine_chunks().dictionary_encode()
    flags = []
    for text in codes.dictionary.to_pylist():
        plain = str(text).strip().casefold()
        if plain not in _BOUGHT + _SOLD:
            raise DataError(f"{path}: {name} = {_short(text)}: expected buy or sell, or a flag")
        flags.append(plain in _SOLD)
    return np.asarray(np.array([*flags, False], np.bool_)[codes.indices.to_numpy()])


def _no_nulls(path: Path, name: str, column: pa.ChunkedArray) -> None:
    if column.null_count:
        at = column.is_null().index(True).as_py()
        raise DataError(f"{path}: row {at + 1:,} has no {name}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def described(columns: Mapping[str, str], given: Iterable[str]) -> str:
    """Return in words which columns were taken for what."""
    words = [
        f"{field} = {name!r}" + ("" if field in given else " (guessed)")
        for field, name in columns.items()
    ]
    return ", ".join(words)
