"""Prices of files, as a wide frame: tables, recordings of pairlab, files of Binance's archive."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.errors import DataError, MissingExtraError, SettingError
from pairlab.schema import TIMEFRAMES_NS
from pairlab.storage.archive import read_archive
from pairlab.storage.recording.recorded_session import RecordedSession
from pairlab.storage.replay.recordings import is_recording

__all__ = ["prices_of_files"]

_ARCHIVE: Final = re.compile(
    r"^(?P<symbol>[A-Z0-9_]+)-(?P<kind>aggTrades|trades|bookTicker|\d+(?:mo|[smhdw]))-"
    r"\d{4}-\d{2}(?:-\d{2})?\.(?:zip|csv|csv\.gz)$"
)
_TICKS: Final = ("aggTrades", "trades", "bookTicker")
_TABLES: Final = (".csv", ".parquet", ".pq")
_CLOSE, _CLOSE_TIME = 4, 6
_UNITS_NS: Final = ((1e17, 1), (1e14, 1_000), (1e11, 1_000_000))  # of times above, in ns

Closes = tuple[str, NDArray[np.int64], NDArray[np.float64]]
"""Symbol, ends of bars (ns) and closes."""


def prices_of_files(paths: object, timeframe: str) -> pd.DataFrame:
    """Return closes, a column a symbol and a row a bar that any symbol has; NaN where one has none.

    Parameters
    ----------
    paths : path or sequence of paths
        A table (.csv, .parquet: times first, then a column a symbol), which is taken as it is; or
        folders of recordings, files of Binance's archive (ticks or klines), and folders of these.
    timeframe : str
        Length of the bars; of klines, at least theirs.

    Raises
    ------
    DataError
        For what is none of them, names no symbol, or cannot be read.
    SettingError
        For an unknown timeframe.
    """
    if timeframe not in TIMEFRAMES_NS or timeframe == "tick":
        names = ", ".join(name for name in TIMEFRAMES_NS if name != "tick")
        raise SettingError("timeframe", timeframe, f"expected one of {names}")
    given: Sequence[Any] = [paths] if isinstance(paths, str | os.PathLike) else _listed(paths)
    files = [Path(path) for path in given]
    if len(files) == 1 and files[0].is_file() and _is_table(files[0]):
        return _table(files[0])
    columns: dict[str, dict[int, float]] = {}
    length_ns = TIMEFRAMES_NS[timeframe]
    for path in files:
        for symbol, times, closes in _closes_of(path, length_ns):
            columns.setdefault(symbol, {}).update(zip(times.tolist(), closes.tolist(), strict=True))
    series = {symbol: pd.Series(bars, dtype=np.float64) for symbol, bars in columns.items()}
    frame = pd.DataFrame(series).sort_index()
    frame.index = pd.DatetimeIndex(frame.index.to_numpy(np.int64).view("M8[ns]"), tz="UTC")
    frame.index.name = "time"
    return frame


def _listed(paths: object) -> Sequence[Any]:
    if (
        isinstance(paths, Sequence)
        and paths
        and all(isinstance(path, str | os.PathLike) for path in paths)
    ):
        return paths
    raise DataError(
        "prices must be a pandas DataFrame with a column a symbol, or the path or paths of "
        f"recordings, archives or a table, not {type(paths).__name__}"
    )


def _is_table(path: Path) -> bool:
    return path.name.endswith(_TABLES) and _ARCHIVE.match(path.name) is None


def _table(path: Path) -> pd.DataFrame:
    """Read a wide table of prices; its first column, or its index, is the time."""
    try:
        table = pd.read_csv(path, comment="#") if path.suffix == ".csv" else pd.read_parquet(path)
    except ImportError:
        raise MissingExtraError("pyarrow", "storage") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as a table: {error}") from None
    if isinstance(table.index, pd.RangeIndex) and len(table.columns):
        table = table.set_index(table.columns[0])
    return table


def _closes_of(path: Path, length_ns: int) -> Iterator[Closes]:
    """Yield the bars of a file or a folder, file by file: ticks of one are in memory at a time."""
    if is_recording(path):
        yield from _of_recording(path, length_ns)
    elif path.is_dir():
        inside = sorted(
            p for p in path.iterdir() if is_recording(p) or _ARCHIVE.match(p.name) is not None
        )
        if not inside:
            raise DataError(f"{path}: no recording and no file of Binance's archive in this folder")
        for file in inside:
            yield from _closes_of(file, length_ns)
    elif not path.exists():
        raise DataError(f"{path}: No such file or folder")
    elif (match := _ARCHIVE.match(path.name)) is None:
        raise DataError(
            f"{path}: expected a recording, or a file of Binance's archive with its own name, such "
            "as BTCUSDT-1h-2026-01.zip; a table must be given alone"
        )
    elif match["kind"] in _TICKS:
        ticks = read_archive(path).ticks
        times = ticks.index.asi8  # type: ignore[attr-defined]
        yield match["symbol"], *_bars(times, ticks["price"].to_numpy(np.float64), length_ns)
    else:
        yield match["symbol"], *_of_klines(path, length_ns)


def _of_recording(path: Path, length_ns: int) -> Iterator[Closes]:
    session = RecordedSession(path)
    for _, ticks in session.ticks():
        for leg, symbol in enumerate(session.pair):
            own = ticks[ticks["leg"] == leg]
            yield symbol, *_bars(own["time_ns"], own["price"], length_ns)


def _bars(
    times: NDArray[np.int64], prices: NDArray[np.float64], length_ns: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the ends of the bars that have ticks, and the last usable price of each."""
    good = np.isfinite(prices) & (prices > 0.0)
    ends = (times[good] // length_ns + 1) * length_ns
    order = np.argsort(ends, kind="stable")
    ends, prices = ends[order], prices[good][order]
    last = np.flatnonzero(np.diff(ends, append=ends[-1] + 1 if len(ends) else 0))
    return ends[last], prices[last]


def _of_klines(path: Path, length_ns: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    try:
        table = pd.read_csv(path, header=None, usecols=[_CLOSE, _CLOSE_TIME], dtype=str)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as klines: {error}") from None
    numbers = table.apply(pd.to_numeric, errors="coerce").dropna().to_numpy(np.float64)
    if not len(numbers):
        raise DataError(f"{path}: no row has a close and its time")
    unit = next((unit for least, unit in _UNITS_NS if numbers[0, 1] > least), 0)
    if not unit:
        raise DataError(f"{path}: {numbers[0, 1]:g} is no time of a kline's close")
    return _bars(numbers[:, 1].astype(np.int64) * unit, numbers[:, 0], length_ns)
