"""Live pair trading analytics in a notebook: stream in; dashboard, DataFrames and alerts out.

The map of the package; data flows one way, ticks → rows → views::

    cli               the commands: demo, live, replay, serve, fetch
    app/              the dashboard as a Voila app, and its page template
    widgets/          charts, panels and the dashboard; their render loop and browser transport
    services/         the REST API, on the lab's own loop
    board/            Board: many pairs on one feed, one call of the kernel a batch, one table
    scanning/         scan: every pair of a universe tested at once, and what chance finds
    backtesting/      backtest: the engine's decisions on the past, filled and paid for
    research/         analyze: the same engine on the past
    lab/              PairLab: facade, runner of its tasks, pipeline (ticks to rows), queries
    board_protocol    what widgets need of a board
    protocols         what widgets need of a lab; what a lab notifies: displays and services
    storage/          what is kept: recordings, a database, replays of files, Binance's archive
    data/             ring buffers, DataFrames, CSV text, selection by time
    alerts            what was decided and why, with every number
    health            state and counters of a lab
    local_exchange/   a Binance on localhost, for the demo, recordings and tests
    exchange          the same by its former import path
    feeds/            where ticks come from: Binance messages, connections, sequencing, gap repair
    engine/           what is computed: the compiled kernel and PairEngine
    costs             what a deviation is worth, what trading it costs, what a position made
    settings/         every setting once, validated together, observable
    limits/           what settings imply together: the largest z and p-value of a window
    schema            dtypes and enumerations of ticks, rows and alerts
    formatting        numbers as text, for alerts and the screen
    clock             the time as a dependency
    net               loopback addresses, listening sockets, Host and Origin of requests
    terminal          text for terminals of any encoding
    errors            every exception

Start with `PairLab`; everything that it takes and gives is in ``__all__``.
"""

import logging as _logging
from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING

from pairlab.alerts import Alert
from pairlab.engine import PairEngine
from pairlab.errors import (
    DataError,
    FeedError,
    MissingExtraError,
    PairlabError,
    PairlabWarning,
    SettingError,
    StorageError,
    WaitTimeoutError,
)
from pairlab.health import Health
from pairlab.lab.pair_lab import PairLab
from pairlab.schema import ROW, TICK, AlertKind, Pair, Snapshot
from pairlab.settings import Settings
from pairlab.storage.replay.replay import Replay

if _TYPE_CHECKING:
    from pairlab.backtesting import (
        BacktestResult,
        Costs,
        LotRule,
        Reconciliation,
        SweepResult,
        WalkForwardResult,
        backtest,
        check_lookahead,
        check_warmup,
        reconcile,
        sweep,
        walk_forward,
    )
    from pairlab.board import Board
    from pairlab.lab.verification.certificate import Certificate
    from pairlab.lab.verification.verify import verify
    from pairlab.research.analyze import analyze
    from pairlab.scanning import BreakReport, ScanResult, monitor_break, scan, scan_live
    from pairlab.storage.archive import Archive, read_archive
    from pairlab.storage.database.store import open_store

# Imported when first asked for: a live dashboard needs none of it, and starts sooner.
_WHEN_ASKED = {
    **dict.fromkeys(
        (
            "BacktestResult",
            "Costs",
            "LotRule",
            "Reconciliation",
            "SweepResult",
            "WalkForwardResult",
            "backtest",
            "check_lookahead",
            "check_warmup",
            "reconcile",
            "sweep",
            "walk_forward",
        ),
        "pairlab.backtesting",
    ),
    **dict.fromkeys(
        ("BreakReport", "ScanResult", "monitor_break", "scan", "scan_live"), "pairlab.scanning"
    ),
    **dict.fromkeys(("Archive", "read_archive"), "pairlab.storage.archive"),
    "analyze": "pairlab.research.analyze",
    "Board": "pairlab.board",
    "Certificate": "pairlab.lab.verification.certificate",
    "open_store": "pairlab.storage.database.store",
    "verify": "pairlab.lab.verification.verify",
}

__version__ = _version("pairlab")  # pyproject.toml is the only place that states it

_logging.getLogger("pairlab").addHandler(_logging.NullHandler())

__all__ = [
    "ROW",
    "TICK",
    "Alert",
    "AlertKind",
    "Archive",
    "BacktestResult",
    "Board",
    "BreakReport",
    "Certificate",
    "Costs",
    "DataError",
    "FeedError",
    "Health",
    "LotRule",
    "MissingExtraError",
    "Pair",
    "PairEngine",
    "PairLab",
    "PairlabError",
    "PairlabWarning",
    "Reconciliation",
    "Replay",
    "ScanResult",
    "SettingError",
    "Settings",
    "Snapshot",
    "StorageError",
    "SweepResult",
    "WaitTimeoutError",
    "WalkForwardResult",
    "__version__",
    "analyze",
    "backtest",
    "check_lookahead",
    "check_warmup",
    "monitor_break",
    "open_store",
    "read_archive",
    "reconcile",
    "scan",
    "scan_live",
    "sweep",
    "verify",
    "walk_forward",
]


def __getattr__(name: str) -> object:
    if name not in _WHEN_ASKED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(_import_module(_WHEN_ASKED[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
