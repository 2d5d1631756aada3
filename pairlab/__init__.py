"""Live pair trading analytics in a notebook: stream in; dashboard, DataFrames and alerts out.

The map of the house; data flows one way, ticks → rows → views::

    cli, app, page    the commands, what the Voila app runs, and the page around it
    widgets/          what is seen: charts, controls, status, alert table, export, dashboard
    services/         who else is served: the REST API, on the lab's own loop
    research/         what is asked of the past: analyze
    lab, access, life PairLab: what a user does with it, asks of it; its tasks from start to stop
    company           what a lab tells of its life: views, services
    sources           which feed `feed=` means
    pipeline          ticks to rows: engine, rings, alerts; rebuilds when a metric changes
    feeds/            where ticks come from: wire format (no I/O), Binance connection, REST
    engine/           what is computed: the compiled kernel and PairEngine
    history, alerts, health      rings and frames; what was decided and why; how it is doing
    costs             what a deviation is worth, what trading it costs, what a position made
    settings          every knob once, validated together, observable
    ticks, errors     the words that everyone shares
    exchange/         a Binance on localhost, for the demo, recordings and tests

Start with `PairLab`; everything that it takes and gives is in ``__all__``.
"""

from importlib.metadata import version as _version

from pairlab.alerts import Alert, Snapshot
from pairlab.engine import PairEngine
from pairlab.errors import (
    DataError,
    FeedError,
    MissingExtraError,
    PairlabError,
    SettingError,
    WaitTimeoutError,
)
from pairlab.health import Health
from pairlab.lab import PairLab
from pairlab.research.analyze import analyze
from pairlab.settings import Settings
from pairlab.ticks import ROW, TICK, AlertKind, Pair

__version__ = _version("pairlab")  # pyproject.toml is the only place that states it

__all__ = [
    "ROW",
    "TICK",
    "Alert",
    "AlertKind",
    "DataError",
    "FeedError",
    "Health",
    "MissingExtraError",
    "Pair",
    "PairEngine",
    "PairLab",
    "PairlabError",
    "SettingError",
    "Settings",
    "Snapshot",
    "WaitTimeoutError",
    "__version__",
    "analyze",
]
