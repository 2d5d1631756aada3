"""`pairlab scan`: test every pair of a file of prices from the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from pairlab.errors import DataError, MissingExtraError
from pairlab.scanning.result import COLUMNS
from pairlab.scanning.scan import scan

__all__ = ["add_scan_command"]

_SHOWN = ("y", "x", "p", "q", "half_life", "p_last", "zscore", "deviation_round_trips", "verdict")


def add_scan_command(commands: Any) -> None:
    """Add the command to the subparsers of `pairlab`."""
    command = commands.add_parser(
        "scan",
        help="test every pair of a universe for cointegration",
        description="Test every pair of a file of prices (Engle-Granger), correct for the number "
        "of tests, and scan the same series with each pair broken to see what is found by chance.",
    )
    command.add_argument(
        "data", metavar="DATA", help="CSV or Parquet: times first, then a column a symbol"
    )
    command.add_argument(
        "--lags", type=_lags, default=1, metavar="N", help="0 to 12, or aic (default: 1)"
    )
    command.add_argument("--direction", choices=("both", "dearer"), default="both")
    command.add_argument("--correction", choices=("bh", "by", "none"), default="bh")
    command.add_argument(
        "--placebo", type=int, default=20, metavar="N", help="scans of broken pairs (default: 20)"
    )
    command.add_argument(
        "--top", type=int, default=20, metavar="N", help="pairs that are printed (default: 20)"
    )
    command.add_argument("--csv", metavar="OUT", help="write every column of the pairs to a file")
    command.set_defaults(run=_run)


def _lags(text: str) -> int | str:
    return text if text == "aic" or not text.isdecimal() else int(text)


def _prices(path: str) -> pd.DataFrame:
    """Read a wide table of prices; its first column, or its index, is the time."""
    try:
        if path.endswith((".parquet", ".pq")):
            try:
                table = pd.read_parquet(path)
            except ImportError:
                raise MissingExtraError("pyarrow", "storage") from None
        else:
            table = pd.read_csv(path, comment="#")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a table: {error}") from None
    if isinstance(table.index, pd.RangeIndex) and len(table.columns):
        table = table.set_index(table.columns[0])
    return table


def _run(options: argparse.Namespace) -> None:
    """Scan, print what was found, and write what was asked for."""
    found = scan(
        _prices(options.data), lags=options.lags, direction=options.direction,
        correction=options.correction, placebo=options.placebo,
    )  # fmt: skip
    print(found.summary())
    if options.placebo:
        print(found.placebo[["found", "by_chance", "standard_error"]].round(2).to_string(), "\n")
    print(found.frame[[c for c in COLUMNS if c in _SHOWN]].head(options.top).to_string(index=False))
    for symbol, reason in found.set_aside.items():
        print(f"pairlab: {symbol} was set aside: {reason}", file=sys.stderr)
    if options.csv is not None:
        try:
            found.to_csv(Path(options.csv))
        except OSError as error:
            raise DataError(f"{options.csv}: {error.strerror or error}") from None
