"""`pairlab board`: many pairs in one table, in the browser."""

from __future__ import annotations

import argparse
from typing import Any

from pairlab.app.board_app import BoardOptions, board_for_page
from pairlab.errors import PairlabError

__all__ = ["add_board_command", "board_options"]


def add_board_command(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser's subcommands; the caller says what runs it."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "board",
        help="many pairs in one table",
        description="Serve a board: a line a pair, a heat map of z, the alerts of all pairs. Of "
        "symbols, all pairs are scanned at each minute, and those that are cointegrated are shown.",
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="SYMBOL | Y,X",
        help="symbols to scan, or pairs such as BTCUSDT,ETHUSDT (default: sixteen symbols)",
    )
    parser.add_argument(
        "--feed",
        default="binance",
        metavar="F",
        help="binance (default), demo, or a ws:// or wss:// URL",
    )
    parser.add_argument(
        "--timeframe", default="tick", metavar="T", help="of the rows (default: tick)"
    )
    parser.add_argument(
        "--stream", choices=("aggTrade", "trade", "bookTicker"), help="source of ticks"
    )
    return parser


def board_options(options: argparse.Namespace) -> BoardOptions:
    """Return what the notebook's kernel is told; what no page could show is refused here.

    Raises
    ------
    PairlabError
        For symbols and pairs at once, or what a `pairlab.Board` refuses.
    """
    given: list[str] = options.what
    pairs = [text.split(",") for text in given if "," in text]
    if pairs and len(pairs) < len(given):
        raise PairlabError("give symbols, of which all pairs are scanned, or pairs Y,X: not both")
    named: dict[str, Any] = {"pairs": pairs} if pairs else {"symbols": given} if given else {}
    if wrong := next((pair for pair in pairs if len(pair) != 2), None):
        raise PairlabError(f"{','.join(wrong)}: a pair is two symbols, as BTCUSDT,ETHUSDT")
    app = BoardOptions(
        feed=options.feed, stream=options.stream, settings={"timeframe": options.timeframe}, **named
    )
    board_for_page(app.to_environment())
    return app
