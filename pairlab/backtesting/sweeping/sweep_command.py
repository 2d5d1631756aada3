"""`pairlab sweep`: backtest every combination of settings from the command line."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import Any, Final

from pairlab.backtesting.backtest_command import (
    add_trading_arguments,
    traded,
    value_of,
    write_text,
)
from pairlab.backtesting.sweeping.grid import MAX_SETS
from pairlab.backtesting.sweeping.sweep import OBJECTIVES, SweepResult, sweep
from pairlab.errors import SettingError

__all__ = ["add_sweep_command", "grid_of"]

_FORM: Final = "expected NAME=START:STOP:STEP or NAME=A,B,…"
_SHOWN: Final = 10
_COLUMNS: Final = ("net_profit", "sharpe", "trades", "win_rate", "fees", "max_drawdown")


def add_sweep_command(commands: Any) -> None:
    """Add the command to the subparsers of `pairlab`."""
    command = commands.add_parser(
        "sweep",
        help="backtest every combination of settings",
        description="Backtest every combination of the settings of a grid, and tell how much of "
        "the best one is luck.",
    )
    add_trading_arguments(command)
    command.add_argument(
        "--grid", action="append", required=True, metavar="NAME=VALUES",
        help="a setting that varies, as entry_z=1.5:3:0.25 (the end is included) or "
        "timeframe=tick,1s,1m; may be given several times",
    )  # fmt: skip
    command.add_argument(
        "--objective", default="net_profit", choices=OBJECTIVES, help="(default: net_profit)"
    )
    command.add_argument(
        "--max-tries", type=int, metavar="N", help="draw so many sets of the grid (default: all)"
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of that draw (0)")
    command.add_argument("--jobs", type=int, default=-1, metavar="N", help="threads (all cores)")
    command.add_argument("--json", metavar="OUT", help="write all sets to a file; -: to stdout")
    command.add_argument("--csv", metavar="OUT", help="write all sets to a CSV file")
    command.set_defaults(run=_run)


def grid_of(texts: list[str]) -> dict[str, list[Any]]:
    """Return the grid of NAME=START:STOP:STEP or NAME=A,B,… texts.

    Raises
    ------
    SettingError
        For a name that is no setting, and what is no range.
    """
    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not values:
            raise SettingError("--grid", text, _FORM)
        if name in grid:
            raise SettingError("--grid", text, f"{name} is given already")
        if ":" in values:
            grid[name] = _range(name, values, text)
        else:
            grid[name] = [value_of(name, value) for value in values.split(",")]
    return grid


def _range(name: str, values: str, text: str) -> list[float]:
    """Return the numbers from START to STOP, both included."""
    ends = [value_of(name, value) for value in values.split(":")]
    if len(ends) != 3 or not all(isinstance(end, float) and math.isfinite(end) for end in ends):
        raise SettingError("--grid", text, _FORM)
    start, stop, step = ends
    if step <= 0.0 or stop < start:
        raise SettingError("--grid", text, "expected START ≤ STOP and STEP above 0")
    steps = (stop - start) / step
    if steps >= MAX_SETS:
        raise SettingError("--grid", text, f"expected at most {MAX_SETS:,} values")
    # Rounded, so that 1.5:3:0.1 has 1.8 and not 1.8000000000000003.
    return [round(start + at * step, 12) for at in range(math.floor(steps + 1e-9) + 1)]


def _run(options: argparse.Namespace) -> None:
    """Sweep, print the result, and write what was asked for."""
    grid = grid_of(options.grid)
    found = sweep(
        grid=grid, objective=options.objective, max_tries=options.max_tries, seed=options.seed,
        n_jobs=options.jobs, progress=sys.stderr.isatty(), **traded(options, grid),
    )  # fmt: skip
    text = json.dumps(found.to_dict(), indent=2, allow_nan=False)
    if options.json == "-":
        print(text)
    else:
        print(found)
        print(_best_of(found, list(grid)))
    if options.json not in (None, "-"):
        write_text(options.json, text)
    if options.csv is not None:
        found.to_csv(options.csv)


def _best_of(found: SweepResult, names: list[str]) -> str:
    """Return the best sets as a table."""
    columns = list(dict.fromkeys([*names, *_COLUMNS, found.objective]))
    best = found.frame.sort_values(found.objective, ascending=False, kind="stable").head(_SHOWN)
    table: str = best[columns].to_string(index=False, na_rep="–", float_format="{:,.4g}".format)
    return table
