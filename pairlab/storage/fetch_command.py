"""`pairlab fetch`: download files of Binance's public archive from the command line."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import sys
from typing import Any

from pairlab.errors import MissingExtraError
from pairlab.storage.fetch import ARCHIVE_URL, KINDS, FetchedFile, fetch_archive

__all__ = ["add_fetch_command"]


def add_fetch_command(commands: Any) -> None:
    """Add the command to the subparsers of `pairlab`."""
    fetch = commands.add_parser(
        "fetch",
        help="download past trades, klines or funding rates from Binance's public archive",
        description="Download USDⓈ-M Futures files from data.binance.vision, verify their "
        "checksums, and go on where an earlier run stopped. pairlab.read_archive() reads them.",
    )
    fetch.add_argument("symbols", nargs="+", metavar="SYMBOL", help="such as BTCUSDT ETHUSDT")
    fetch.add_argument("--kind", choices=KINDS, default="aggTrades", help="default: aggTrades")
    fetch.add_argument(
        "--from", dest="first", type=_day, required=True, metavar="D",
        help="first day, UTC, as 2024-08-08",
    )  # fmt: skip
    fetch.add_argument(
        "--to", dest="last", type=_day, metavar="D", help="last day (default: the first day)"
    )
    fetch.add_argument("--out", required=True, metavar="DIR", help="folder for the files")
    fetch.add_argument("--interval", default="1m", metavar="I", help="of klines (default: 1m)")
    fetch.add_argument("--url", default=ARCHIVE_URL, help=argparse.SUPPRESS)
    fetch.set_defaults(run=_run)


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is invalid: expected a day, as 2024-08-08"
        ) from None


def _run(options: argparse.Namespace) -> None:
    """Fetch, show the progress, and end with code 1 where the archive lacks a file."""
    try:
        from tqdm import tqdm
    except ImportError:
        raise MissingExtraError("tqdm", "storage") from None
    with tqdm(unit="file", disable=None) as bar:  # on a terminal alone

        def on_file(file: FetchedFile, done: int, total: int) -> None:
            if bar.total != total:
                bar.reset(total)
            bar.update(done - bar.n)
            if file.status == "missing":
                bar.write(f"pairlab: {file.name}: {file.detail}", file=sys.stderr)

        files = asyncio.run(
            fetch_archive(
                options.symbols, options.kind, options.first, options.last or options.first,
                options.out, interval=options.interval, url=options.url, on_file=on_file,
            )
        )  # fmt: skip
    counts = {
        status: sum(f.status == status for f in files)
        for status in ("fetched", "present", "missing")
    }
    print(
        f"pairlab: {counts['fetched']:,} files fetched, {counts['present']:,} were there already, "
        f"{counts['missing']:,} missing; in {options.out}"
    )
    if counts["missing"]:
        sys.exit(1)
