"""`pairlab backtest`: trade the signal over archived trades from the command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pairlab.backtesting.costs import Costs
from pairlab.backtesting.run import backtest
from pairlab.errors import DataError, SettingError
from pairlab.formatting import parse_number
from pairlab.settings import SETTINGS, unknown_setting

__all__ = ["add_backtest_command", "add_trading_arguments", "traded", "value_of", "write_text"]

_CONSTANTS = {"true": True, "false": False, "none": None, "off": None}


def add_backtest_command(commands: Any) -> None:
    """Add the command to the subparsers of `pairlab`."""
    command = commands.add_parser(
        "backtest",
        help="trade the signal over past trades, with fills and costs",
        description="Run the live engine over files of Binance's public archive (pairlab fetch "
        "downloads them), fill each leg at its own next trade, and print what came of it.",
    )
    add_trading_arguments(command)
    command.add_argument("--json", metavar="OUT", help="write the figures to a file; -: to stdout")
    command.add_argument("--html", metavar="OUT", help="write the report as an HTML page")
    command.add_argument("--csv", metavar="DIR", help="write trades, equity and figures as CSV")
    command.set_defaults(run=_run)


def add_trading_arguments(command: argparse.ArgumentParser) -> None:
    """Add what is traded, with which settings, and what it costs."""
    command.add_argument("data", nargs="+", metavar="DATA", help="archive files, or their folder")
    command.add_argument(
        "--pair", nargs=2, metavar=("Y", "X"), default=("BTCUSDT", "ETHUSDT"),
        help="two symbols (default: BTCUSDT ETHUSDT)",
    )  # fmt: skip
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="a setting, as entry_z=2.5 or stop_z=off; may be given several times",
    )  # fmt: skip
    command.add_argument(
        "--capital", type=_number, default=10_000.0, metavar="C", help="notional of y (10,000)"
    )
    command.add_argument(
        "--slippage", type=_number, default=0.0, metavar="BPS", help="of every fill (default: 0)"
    )
    command.add_argument(
        "--latency", type=_number, default=0.0, metavar="S", help="of every order (default: 0)"
    )
    command.add_argument(
        "--funding", nargs=2, metavar=("Y", "X"), help="fundingRate files of both legs"
    )


def _number(text: str) -> float:
    try:
        return float(parse_number(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is invalid: expected a number") from None


def value_of(name: str, text: str) -> Any:
    """Return what a text means for a setting; what means nothing is left to the setting to refuse.

    Raises
    ------
    SettingError
        If there is no such setting.
    """
    if name not in SETTINGS:
        raise unknown_setting(name)
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    return parse_number(text, whole=SETTINGS[name].schema.get("type") == "integer")


def _settings(pairs: list[str]) -> dict[str, Any]:
    """Return the settings of NAME=VALUE texts."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise SettingError("--set", pair, "expected NAME=VALUE")
        found[name] = value_of(name, text)
    return found


def traded(options: argparse.Namespace, varied: Collection[str] = ()) -> dict[str, Any]:
    """Return the arguments of `backtest` and `sweep` that `add_trading_arguments` has read.

    Parameters
    ----------
    options : argparse.Namespace
        As read.
    varied : collection of str
        Settings that are given otherwise, by a grid.
    """
    settings = _settings(options.settings)
    pair = tuple(symbol.upper() for symbol in options.pair)
    if pair != ("BTCUSDT", "ETHUSDT") and not {"hedge", "hedge_ratio"} & {*settings, *varied}:
        settings["hedge"] = "ols"  # only BTC/ETH has a default ratio
    return {
        "data": options.data[0] if len(options.data) == 1 else options.data,
        "pair": pair,
        "capital": options.capital,
        "latency_s": options.latency,
        "costs": Costs(None, options.slippage, tuple(options.funding) if options.funding else None),
        **settings,
    }


def write_text(path: str, text: str) -> None:
    """Write a file.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def _run(options: argparse.Namespace) -> None:
    """Backtest, print the result, and write what was asked for."""
    result = backtest(**traded(options))
    text = json.dumps(result.to_dict(), indent=2, allow_nan=False)
    if options.json == "-":
        print(text)
    else:
        print(result)
    if options.json not in (None, "-"):
        write_text(options.json, text)
    if options.html is not None:
        result.to_html(options.html)
    if options.csv is not None:
        files = result.to_csv(options.csv)
        print(f"pairlab: {len(files)} files in {options.csv}", file=sys.stderr)
