"""Run a local exchange in a process of its own: prints its URL, serves until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Sequence

from pairlab.errors import PairlabError
from pairlab.local_exchange import LocalExchange, Market, Recording, SyntheticMarket
from pairlab.terminal import accept_any_text

__all__ = ["main"]


def _speed(text: str) -> float | None:
    return None if text == "max" else float(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pairlab.local_exchange", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (default): a free one")
    parser.add_argument("--speed", type=_speed, default=1.0, help="multiple of real time, or 'max'")
    parser.add_argument(
        "--recording",
        action="append",
        metavar="PATH",
        help="file or folder; may be given several times",
    )
    parser.add_argument("--seed", type=int, default=7, help="seed of the synthetic market")
    parser.add_argument(
        "--rate", type=float, default=40.0, help="trades per second, both symbols together"
    )
    parser.add_argument("--symbols", nargs=2, default=("BTCUSDT", "ETHUSDT"), metavar=("Y", "X"))
    parser.add_argument(
        "--now", action="store_true", help="start the market's clock at the present time"
    )
    parser.add_argument(
        "--start-condition",
        choices=("open", "subscribed"),
        help="whether the market's clock starts at once or with the first subscription",
    )
    parser.add_argument("--weight-limit", type=int, default=2_400, help="REST weight per minute")
    return parser


def _market(options: argparse.Namespace) -> Market:
    if options.recording:
        return Recording(
            options.recording,
            options.speed,
            start_condition=options.start_condition or "subscribed",
        )
    return SyntheticMarket(
        seed=options.seed,
        rate_per_s=options.rate,
        symbols=tuple(options.symbols),
        speed=options.speed,
        start_ns=time.time_ns() // 1_000_000 * 1_000_000 if options.now else None,
        start_condition=options.start_condition or "open",
    )


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises instead
            loop.add_signal_handler(number, stop.set)
    exchange = LocalExchange(
        _market(options), host=options.host, port=options.port, weight_limit=options.weight_limit
    )
    async with exchange:
        print(exchange.url, flush=True)  # read by the process that started this one
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; return the exit status."""
    accept_any_text()
    try:
        asyncio.run(_serve(_parser().parse_args(arguments)))
    except (PairlabError, OSError, OverflowError) as error:  # a port beyond 65535 overflows
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
