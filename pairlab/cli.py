"""The `pairlab` command: demo, live and replay serve the dashboard; serve the REST API; files."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import logging
import logging.handlers
import os
import queue
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Final

from pairlab import __version__
from pairlab.app.app import AppOptions, lab_for_page
from pairlab.app.board_command import add_board_command, board_options
from pairlab.app.exchange_watch import ExchangeWatch
from pairlab.app.recorded_pair import recorded_pair, replayed_pair
from pairlab.backtesting.backtest_command import add_backtest_command
from pairlab.backtesting.sweeping.sweep_command import add_sweep_command
from pairlab.data.spooled_array import require_temporary_folder
from pairlab.engine import compile_kernel
from pairlab.errors import MissingExtraError, PairlabError
from pairlab.feeds.binance.venue import LIVE_URL
from pairlab.formatting import parse_number
from pairlab.lab.feed.feed_factory import is_path, require_path
from pairlab.lab.pair_lab import PairLab
from pairlab.lab.record.record_command import add_record_command, record_until_signal
from pairlab.lab.record.target import Target
from pairlab.lab.verification.verify_command import add_verify_command
from pairlab.limits.symbols import exchange_symbol
from pairlab.net import listen
from pairlab.scanning.scan_command import add_scan_command
from pairlab.schema import Pair
from pairlab.settings import SettingKwargs
from pairlab.storage.fetch_command import add_fetch_command
from pairlab.terminal import accept_any_text, warnings_as_lines

__all__ = ["main"]

_DEFAULT_PAIR: Final = Pair("BTCUSDT", "ETHUSDT")
_DEFAULT_PORT: Final = 8866
_INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, by convention."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error ends it with a one-line message."""
    accept_any_text()
    options = _parser().parse_args(arguments)
    try:
        with warnings_as_lines():
            options.run(options)
    except PairlabError as error:
        sys.exit(f"pairlab: {error}")
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


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
        description="Serve the dashboard on the built-in local exchange: a simulated market, or a "
        "recording. The page is marked SIMULATED or RECORDING.",
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
        metavar="N",
        help="speed of the recording: 1 is real time, 10 ten times faster, 'max' without pauses",
    )
    demo.set_defaults(run=_demo)

    live = commands.add_parser(
        "live",
        help="dashboard on Binance USDⓈ-M Futures",
        description="Serve the dashboard on Binance's live futures stream; needs no API key.",
    )
    live.set_defaults(run=_live)

    replay = commands.add_parser(
        "replay",
        help="dashboard on what was recorded: play, pause, step, seek",
        description="Serve the dashboard on recordings, recorded frames, files of Binance's public "
        "archive, or CSV, NDJSON or Parquet of one's own. Each page plays by itself, from the "
        "beginning, and is marked REPLAY.",
    )
    replay.add_argument(
        "pair",
        nargs="+",
        metavar="PATH",
        help="files or folders, and behind them the two symbols, y and x, if the files have more "
        "than two or do not say",
    )
    replay.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="N",
        help="speed at the beginning: 1 is real time, 10 ten times faster, 'max' without pauses",
    )
    replay.set_defaults(run=_replay)

    serve = commands.add_parser(
        "serve",
        help="REST API without a dashboard, for other programs",
        description="Run one lab and serve its analytics over REST until Ctrl-C. Changing settings "
        "requires a token: PAIRLAB_TOKEN, or one generated and printed at the start.",
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
        "--port",
        type=_port,
        default=8000,
        metavar="P",
        help="port (default: 8000; 0: any free port)",
    )
    serve.set_defaults(run=_serve)

    record = add_record_command(commands)
    record.set_defaults(run=_record)
    add_backtest_command(commands)
    add_sweep_command(commands)
    add_scan_command(commands)
    board = add_board_command(commands)
    board.set_defaults(run=_board)

    add_fetch_command(commands)
    add_verify_command(commands)

    for command in (demo, live, replay, serve, record):
        if command is not replay:
            command.add_argument(
                "pair",
                nargs="*",
                metavar="Y X",
                help="two symbols (default: BTCUSDT ETHUSDT, or the two of a recording)",
            )
        command.add_argument(
            "--stream",
            choices=("aggTrade", "trade", "bookTicker"),
            help="source of ticks (default: aggTrade, or what the recording contains)",
        )
    for command in (demo, live, replay, board):
        command.add_argument(
            "--port",
            type=_port,
            default=_DEFAULT_PORT,
            metavar="P",
            help=f"port of the page (default: {_DEFAULT_PORT}; 0: any free port)",
        )
        command.add_argument("--no-browser", action="store_true", help="do not open a browser")
    return parser  # fmt: skip


def _demo(options: argparse.Namespace) -> None:
    if options.speed is not None and not options.recording:
        raise PairlabError("--speed is that of a recording: give --recording, too")
    pair = _pair(options, options.recording)
    speed = 1.0 if options.speed is None else options.speed
    recording = [os.path.abspath(path) for path in options.recording]
    # A market without pauses has no speed.
    _serve_page(
        AppOptions("demo", *pair, options.stream, recording, speed if isfinite(speed) else None),
        options,
    )


def _live(options: argparse.Namespace) -> None:
    pair = _pair(options)
    watch = ExchangeWatch(pair, _say, LIVE_URL)
    _serve_page(AppOptions("binance", *pair, options.stream), options, watch)


def _board(options: argparse.Namespace) -> None:
    _serve_notebook("board", board_options(options).to_environment(), options, many_pairs=True)


def _replay(options: argparse.Namespace) -> None:
    given: list[str] = options.pair
    paths = [path for path in given if os.path.exists(path)]
    symbols = given[len(paths) :]
    if not paths or paths != given[: len(paths)] or len(symbols) not in (0, 2):
        wrong = next(path for path in given if path not in paths)
        raise PairlabError(f"{wrong}: no such file or folder")
    asked = Pair(*(exchange_symbol("symbol", symbol) for symbol in symbols)) if symbols else None
    pair = replayed_pair(paths, asked, options.stream)
    recording = [os.path.abspath(path) for path in paths]
    speed = options.speed if isfinite(options.speed) else None
    _serve_page(AppOptions("replay", *pair, options.stream, recording, speed), options)


def _pair(options: argparse.Namespace, recording: Sequence[str] = ()) -> Pair:
    """Return the symbols; a recording must have them."""
    if len(options.pair) not in (0, 2):
        raise PairlabError(f"a pair is two symbols, y and x; got {len(options.pair)}")
    given = Pair(*(symbol.upper() for symbol in options.pair)) if options.pair else None
    if recording:
        chosen = replayed_pair if options.run is _serve else recorded_pair
        return chosen(recording, given, options.stream)
    return given or _DEFAULT_PAIR


def _settings(pair: Pair) -> SettingKwargs:
    """Return the settings that a pair requires: only BTC/ETH has a default hedge ratio."""
    return {} if pair == _DEFAULT_PAIR else {"hedge": "ols"}


def _serve(options: argparse.Namespace) -> None:
    recording = [options.feed] if is_path(options.feed) else []
    for path in recording:
        require_path(path)  # it may be a misspelt 'binance'
    pair = _pair(options, recording)
    lab = PairLab(*pair, feed=options.feed, stream=options.stream, **_settings(pair))
    compile_kernel(_say)
    # Where the loop takes no signals, Ctrl-C raises.
    with _logging_to_stderr(), contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve_rest(lab, options.host, options.port))


def _record(options: argparse.Namespace) -> None:
    recording = [options.feed] if is_path(options.feed) else []
    for path in recording:
        require_path(path)
    pair = _pair(options, recording)
    Target(options.out, max_bytes=options.max_bytes, max_age=options.max_age)
    lab = PairLab(*pair, feed=options.feed, stream=options.stream, **_settings(pair))
    compile_kernel(_say)
    with _logging_to_stderr(), contextlib.suppress(KeyboardInterrupt):
        asyncio.run(record_until_signal(lab, options, _say))


def _say(text: str) -> None:
    print(f"pairlab: {text}", flush=True)


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
            _say(f"{health.detail}; what came is still served (Ctrl-C ends it)")
        await stop
        over.cancel()


def _serve_page(
    app: AppOptions, options: argparse.Namespace, watch: ExchangeWatch | None = None
) -> None:
    """Serve the dashboard notebook until Ctrl-C; each page has its own kernel and lab."""
    app = dataclasses.replace(app, settings=dict(_settings(Pair(app.y, app.x))))
    environment = app.to_environment()
    lab_for_page(environment)  # what no page could show is refused here
    _serve_notebook("dashboard", environment, options, watch)


def _serve_notebook(
    name: str,
    environment: dict[str, str],
    options: argparse.Namespace,
    watch: ExchangeWatch | None = None,
    *,
    many_pairs: bool = False,
) -> None:
    """Serve a notebook of the app until Ctrl-C, each page in a kernel with this environment.

    A watch ends it where no page could show anything.
    """
    try:
        from pairlab.app.server import serve_dashboard
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pairlab"):
            raise
        raise MissingExtraError("voila", "app") from None
    require_temporary_folder()  # Jupyter keeps each page's addresses there
    with (
        contextlib.closing(listen("127.0.0.1", options.port)) as listener,
        watch or contextlib.nullcontext(),
    ):
        # Compiled once here, so that every kernel loads it from disk and no page waits for it.
        compile_kernel(_say, many_pairs=True) if many_pairs else compile_kernel(_say)
        os.environ.update(environment)
        if watch is not None:
            watch.refuse()
        serve_dashboard(
            _notebook(name),
            listener,
            _say,
            open_browser=not options.no_browser,
            stoppable=lambda stop: watch.when_refused(stop) if watch is not None else None,
        )
        if watch is not None:
            watch.refuse(0.0)


def _notebook(name: str) -> Path:
    """Return a notebook of the app: in the package if installed, beside it in a checkout."""
    packaged = Path(str(resources.files("pairlab.app") / f"{name}.ipynb"))
    checkout = Path(__file__).parents[1] / "notebooks" / f"{name}.ipynb"
    for path in (packaged, checkout):
        if path.exists():
            return path
    raise PairlabError(f"the app's notebook is missing: expected at {packaged} or {checkout}")


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(
            f"{text!r} is invalid: expected 0 to 65535 (0: any free port)"
        )
    return port


def _speed(text: str) -> float:
    """Return a recording's speed; infinite for 'max'."""
    try:
        speed = float("inf") if text == "max" else float(parse_number(text))
    except ValueError:
        speed = float("nan")
    if not speed > 0 or (not isfinite(speed) and text != "max"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is invalid: expected a number above 0, or 'max'"
        )
    return speed
