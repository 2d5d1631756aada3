"""`pairlab scan`: test every pair of a file of prices from the command line."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from pairlab.errors import DataError
from pairlab.scanning.result import COLUMNS
from pairlab.scanning.scan import scan
from pairlab.scanning.sources.live import scan_live

__all__ = ["add_scan_command"]

_SHOWN = ("y", "x", "p", "q", "half_life", "p_last", "zscore", "deviation_round_trips", "verdict")


def add_scan_command(commands: Any) -> None:
    """Add the command to the subparsers of `pairlab`."""
    command = commands.add_parser(
        "scan",
        help="test every pair of a universe for cointegration",
        description="Test every pair of a universe of prices for cointegration, correct for the "
        "number of tests, and scan the same series with each pair broken to see what is found by "
        "chance.",
    )
    command.add_argument(
        "data",
        metavar="DATA",
        nargs="*",
        help="a CSV or Parquet table (times first, then a column a symbol); or recordings and "
        "files of Binance's archive, or folders of them",
    )
    command.add_argument(
        "--symbols",
        nargs="+",
        metavar="SYMBOL",
        help="fetch the last candles of these over REST instead",
    )
    command.add_argument(
        "--feed",
        default="binance",
        metavar="URL",
        help="of the exchange that --symbols asks (default: binance)",
    )
    command.add_argument(
        "--timeframe",
        metavar="T",
        help="length of a bar (default: 1m of DATA, 1h of --symbols)",
    )
    command.add_argument(
        "--bars", type=int, default=1_000, metavar="N", help="of --symbols (default: 1,000)"
    )
    command.add_argument(
        "--method", choices=("engle-granger", "johansen", "distance"), default="engle-granger"
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


def _run(options: argparse.Namespace) -> None:
    """Scan, print what was found, and write what was asked for."""
    if bool(options.data) == bool(options.symbols):
        raise DataError("give either DATA or --symbols")
    terms: dict[str, Any] = {
        "method": options.method, "lags": options.lags, "direction": options.direction,
        "correction": options.correction, "placebo": options.placebo,
    }  # fmt: skip
    if options.symbols:
        found = asyncio.run(
            scan_live(
                options.symbols, options.timeframe or "1h", options.bars, feed=options.feed, **terms
            )
        )
    else:
        found = scan(options.data, timeframe=options.timeframe or "1m", **terms)
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
