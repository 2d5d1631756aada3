"""The `pairlab` command: demo and live serve the dashboard with Voila, serve the REST API."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import logging.handlers
import os
import queue
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pairlab import __version__
from pairlab.app.app import AppOptions
from pairlab.engine import compile_kernel
from pairlab.errors import MissingExtraError, PairlabError
from pairlab.lab.pair_lab import PairLab

__all__ = ["main"]

_DEFAULT_PORT = 8866


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error ends it with a one-line message."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except PairlabError as error:
        sys.exit(f"pairlab: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pairlab",
        description="Live pair trading analytics: a dashboard in the browser, or a REST API.",
        epilog="In a notebook: from pairlab import PairLab; PairLab('BTCUSDT', 'ETHUSDT').start()",
    )
    parser.add_argument("--version", action="version", version=f"pairlab {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="dashboard on a simulated or recorded market; needs no network",
        description="Serve the dashboard on the built-in local exchange: a simulated BTC/ETH "
        "market, or a recording. The page is marked SIMULATED or RECORDING.",
    )
    demo.add_argument(
        "--recording",
        action="append",
        default=[],
        metavar="PATH",
        help="replay this recorded file or folder; may be given several times",
    )
    demo.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="N",
        help="speed of the recording: 1 is real time, 10 ten times faster, 'max' without pauses",
    )
    demo.set_defaults(run=_demo)

    live = commands.add_parser(
        "live",
        help="dashboard on Binance USDⓈ-M Futures",
        description="Serve the dashboard on Binance's live futures stream; needs no API key.",
    )
    live.add_argument(
        "pair", nargs="*", metavar="Y X", help="two symbols (default: BTCUSDT ETHUSDT)"
    )
    live.set_defaults(run=_live)

    serve = commands.add_parser(
        "serve",
        help="REST API without a dashboard, for other programs",
        description="Run one lab and serve its analytics over REST until Ctrl-C. Changing settings "
        "requires a token: PAIRLAB_TOKEN, or one generated and printed at the start.",
    )
    serve.add_argument(
        "pair", nargs="*", metavar="Y X", help="two symbols (default: BTCUSDT ETHUSDT)"
    )
    serve.add_argument(
        "--feed",
        default="binance",
        metavar="F",
        help="binance (default), demo, a recording's path, or a ws:// or wss:// URL",
    )
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="H",
        help="address to listen on (default: 127.0.0.1; any other requires the token for reading)",
    )
    serve.add_argument(
        "--port", type=int, default=8000, metavar="P", help="port (default: 8000; 0: any free port)"
    )
    serve.set_defaults(run=_serve)

    for command in (demo, live, serve):
        command.add_argument(
            "--stream",
            choices=("aggTrade", "trade", "bookTicker"),
            help="source of ticks (default: aggTrade, or what the recording contains)",
        )
    for command in (demo, live):
        command.add_argument(
            "--port",
            type=int,
            default=_DEFAULT_PORT,
            metavar="P",
            help=f"port of the page (default: {_DEFAULT_PORT})",
        )
        command.add_argument("--no-browser", action="store_true", help="do not open a browser")
    return parser  # fmt: skip


def _demo(options: argparse.Namespace) -> None:
    for path in options.recording:
        if not Path(path).exists():
            raise PairlabError(f"no such recording: {path}")
    recording = [os.path.abspath(path) for path in options.recording]
    _serve_page(
        AppOptions("demo", stream=options.stream, recording=recording, speed=options.speed), options
    )


def _live(options: argparse.Namespace) -> None:
    y, x, settings = _pair(options)
    _serve_page(AppOptions("binance", y, x, options.stream, settings=settings), options)


def _pair(options: argparse.Namespace) -> tuple[str, str, dict[str, Any]]:
    """Return the symbols, and the settings that they require."""
    if len(options.pair) not in (0, 2):
        raise PairlabError(f"a pair is two symbols, y and x; got {len(options.pair)}")
    y, x = options.pair or ("BTCUSDT", "ETHUSDT")
    # Only BTC/ETH has a default hedge ratio; any other pair starts with an estimated one.
    return y, x, {} if (y, x) == ("BTCUSDT", "ETHUSDT") else {"hedge": "ols"}


def _serve(options: argparse.Namespace) -> None:
    y, x, settings = _pair(options)
    lab = PairLab(y, x, feed=options.feed, stream=options.stream, **settings)
    compile_kernel(lambda text: print(f"pairlab: {text}", flush=True))
    # Where the loop takes no signals, Ctrl-C raises.
    with _logging_to_stderr(), contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve_rest(lab, options.host, options.port))


@contextlib.contextmanager
def _logging_to_stderr() -> Iterator[None]:
    """Show what the feed logs from INFO on, and warnings of all else, in one plain format.

    A thread writes the lines: a terminal or a pipe that stalls must not hold up the stream.
    """
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    writer = logging.StreamHandler(sys.stderr)
    writer.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    thread = logging.handlers.QueueListener(records, writer)
    handler = logging.handlers.QueueHandler(records)
    root, ours = logging.getLogger(), logging.getLogger("pairlab")
    level = ours.level
    ours.setLevel(logging.INFO)
    root.addHandler(handler)
    thread.start()
    try:
        yield
    finally:
        root.removeHandler(handler)
        ours.setLevel(level)
        thread.stop()


async def _serve_rest(lab: PairLab, host: str, port: int) -> None:
    """Serve until a signal, or until the feed fails for good; a recording's end is no failure."""
    loop, signalled = asyncio.get_running_loop(), asyncio.Event()
    with contextlib.suppress(NotImplementedError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, signalled.set)
    async with lab:
        await lab.serve(host, port)
        stop = loop.create_task(signalled.wait())
        over = loop.create_task(lab.wait_closed())
        await asyncio.wait((stop, over), return_when=asyncio.FIRST_COMPLETED)
        health = lab.health()
        if health.state == "failed":
            raise PairlabError(health.detail)
        if not stop.done():
            print(f"pairlab: {health.detail}; what came is still served (Ctrl-C ends it)",
                  flush=True)  # fmt: skip
        await stop
        over.cancel()


def _serve_page(app: AppOptions, options: argparse.Namespace) -> None:
    """Serve the dashboard notebook until Ctrl-C; each page has its own kernel and lab."""
    try:
        from traitlets.config import Config
        from voila.app import Voila
    except ImportError:
        raise MissingExtraError("voila", "app") from None
    from pairlab.app.voila_config import (
        voila_settings,  # imports the widget toolkits, which other commands do not need
    )

    # Compiled once here, so that every kernel loads it from disk and no page waits for it.
    compile_kernel(lambda text: print(f"pairlab: {text}", flush=True))
    os.environ.update(app.to_environment())
    print(f"pairlab: the dashboard is at http://127.0.0.1:{options.port}/  (Ctrl-C stops it)",
          flush=True)  # fmt: skip
    arguments = [
        str(_notebook()),
        f"--port={options.port}",
        "--Voila.port_retries=0",
        "--Voila.ip=127.0.0.1",
    ]
    Voila.launch_instance(
        argv=arguments + ["--no-browser"] * options.no_browser, config=Config(voila_settings())
    )


def _notebook() -> Path:
    """Return the app's notebook: in the package if installed, beside it in a checkout."""
    packaged = Path(str(resources.files("pairlab.app") / "dashboard.ipynb"))
    checkout = Path(__file__).parents[1] / "notebooks" / "dashboard.ipynb"
    for path in (packaged, checkout):
        if path.exists():
            return path
    raise PairlabError(f"the app's notebook is missing: expected at {packaged} or {checkout}")


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = float("nan")
    if not 0 < speed < float("inf"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is invalid: expected a number above 0, or 'max'"
        )
    return speed
