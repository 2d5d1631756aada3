"""``python -m tests.soak --faults all --seed 1 --seconds 600``."""

from __future__ import annotations

import argparse
import asyncio
import sys

from pairlab.exchange.faults import FAULT_KINDS
from tests.soak.run import choose, soak


def main() -> int:
    """Run, print what was survived, and return 0 if it was."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument(
        "--faults",
        default="all",
        help=f"all, repairable, none, or a list of: {', '.join(FAULT_KINDS)}",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the market and of the dice")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the storm lasts")
    parser.add_argument("--rate", type=float, default=5_000.0, help="trades a second")
    parser.add_argument("--every", type=float, default=500.0, help="frames between two faults")
    options = parser.parse_args()
    try:
        kinds = choose(options.faults)
    except ValueError as error:
        parser.error(str(error))
    report = asyncio.run(
        soak(
            kinds,
            seed=options.seed,
            seconds=options.seconds,
            rate_per_s=options.rate,
            every=options.every,
            progress=lambda line: print(line, flush=True),
        )
    )
    print(report)
    return 0 if report.survived else 1


if __name__ == "__main__":
    sys.exit(main())
