"""``python -m tests.benchmarks [name …] [--json FILE] [--rounds N] [--list]``."""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import os
import pkgutil
import platform
import sys
from pathlib import Path

import tests.benchmarks
from tests.benchmarks.harness import BENCHMARKS


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks named (all by default), print their results, and write JSON on request."""
    for module in pkgutil.iter_modules(tests.benchmarks.__path__):
        if module.name.startswith("bench_"):
            importlib.import_module(f"tests.benchmarks.{module.name}")
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help="benchmarks to run (default: all)")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the results to this file"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="measurements of each side (at least 5)"
    )
    parser.add_argument("--list", action="store_true", help="list the benchmarks and exit")
    given = parser.parse_args(arguments)
    if given.rounds < 5:
        parser.error("--rounds: expected 5 or more, for a meaningful median")
    for name in given.name:
        if name not in BENCHMARKS:
            close = difflib.get_close_matches(name, BENCHMARKS, n=1)
            hint = (
                f"did you mean {close[0]!r}?" if close else f"expected one of {sorted(BENCHMARKS)}"
            )
            parser.error(f"unknown benchmark {name!r}: {hint}")
    chosen = given.name or sorted(BENCHMARKS)
    if given.list:
        for name in chosen:
            print(f"{name:<20} {BENCHMARKS[name][0]}")
        return 0
    results = []
    for name in chosen:
        for result in BENCHMARKS[name][1](given.rounds):
            print(result, flush=True)
            results.append({"benchmark": name, **result.as_dict()})
    if given.json is not None:
        machine = {"python": platform.python_version(), "cpus": os.cpu_count()}
        given.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2))
    missed = [r["name"] for r in results if not r["holds"]]
    print(f"{len(results) - len(missed)} of {len(results)} hold", *missed, sep="\n  missed: ")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
