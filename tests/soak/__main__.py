"""``python -m tests.soak --faults all --seed 1 --seconds 600``.

With ``--pairs 125`` that many pairs share their connections. ``--memory`` injects disconnects only
and prints the memory over a million ticks and over 500 reconnects. ``--screen`` leaves a dashboard
open in a browser for ``--hours`` of the market, at ``--speed``.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys

from pairlab.local_exchange.server.faults import FAULT_KINDS
from tests.soak.many import soak_many
from tests.soak.memory import measure_memory
from tests.soak.run import parse_kinds, soak
from tests.soak.screen import watch_screen


def main() -> int:
    """Run, print the report, and return 0 if it passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument(
        "--faults",
        default="all",
        help=f"all, repairable, none, or a list of: {', '.join(FAULT_KINDS)}",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the market and of the faults")
    parser.add_argument("--seconds", type=float, default=60.0, help="minimum duration")
    parser.add_argument(
        "--rate", type=float, help="trades per second (default: 5,000; of many pairs 2,000)"
    )
    parser.add_argument(
        "--every", type=float, help="messages between two faults (default: 500, or 2,000)"
    )
    parser.add_argument(
        "--pairs", type=int, default=1, help="number of pairs that share connections"
    )
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--ticks", type=int, default=1_000_000, help="for --memory")
    parser.add_argument("--reconnects", type=int, default=500, help="for --memory")
    parser.add_argument("--screen", action="store_true", help="leave a dashboard open instead")
    parser.add_argument("--hours", type=float, default=8.0, help="of the market, for --screen")
    parser.add_argument("--speed", type=float, default=60.0, help="for --screen")
    options = parser.parse_args()

    def show(line: str) -> None:
        print(line, flush=True)

    if options.screen:
        passed, text = watch_screen(
            seed=options.seed, hours=options.hours, speed=options.speed, progress=show
        )
        show(text)
        return 0 if passed else 1
    if options.memory:
        memory = asyncio.run(
            measure_memory(
                seed=options.seed,
                ticks=options.ticks,
                reconnects=options.reconnects,
                progress=show,
            )
        )
        show(str(memory))
        return 0 if memory.passed else 1
    try:
        kinds = parse_kinds(options.faults)
    except ValueError as error:
        parser.error(str(error))
    many = options.pairs > 1
    run = functools.partial(soak_many, pairs=options.pairs) if many else soak
    report = asyncio.run(
        run(
            kinds,
            seed=options.seed,
            seconds=options.seconds,
            rate_per_s=options.rate or (2_000.0 if many else 5_000.0),
            every=options.every or (2_000.0 if many else 500.0),
            progress=show,
        )
    )
    show(str(report))
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
