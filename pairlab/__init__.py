"""Live pair trading analytics in a notebook: stream in; dashboard, DataFrames and alerts out.

The map of the package; data flows one way, ticks → rows → views::

    cli               the commands: demo, live, serve
    app/              the dashboard as a Voila app, and its page template
    widgets/          charts, panels and the dashboard; their render loop and browser transport
    services/         the REST API, on the lab's own loop
    research/         analyze: the same engine on the past
    lab/              PairLab: facade, runner of its tasks, pipeline (ticks to rows), queries
    protocols         what widgets need of a lab; what a lab notifies: displays and services
    data/             ring buffers, DataFrames, CSV text, selection by time
    alerts            what was decided and why, with every number
    health            state and counters of a lab
    local_exchange/   a Binance on localhost, for the demo, recordings and tests
    exchange          the same by its former import path
    feeds/            where ticks come from: Binance messages, connections, sequencing, gap repair
    engine/           what is computed: the compiled kernel and PairEngine
    costs             what a deviation is worth, what trading it costs, what a position made
    settings          every setting once, validated together, observable
    schema            dtypes and enumerations of ticks, rows and alerts
    formatting        numbers as text, for alerts and the screen
    clock             the time as a dependency
    net               loopback addresses
    errors            every exception

Start with `PairLab`; everything that it takes and gives is in ``__all__``.
"""

import logging as _logging
from importlib.metadata import version as _version

from pairlab.alerts import Alert
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
from pairlab.lab.pair_lab import PairLab
from pairlab.research.analyze import analyze
from pairlab.schema import ROW, TICK, AlertKind, Pair, Snapshot
from pairlab.settings import Settings

__version__ = _version("pairlab")  # pyproject.toml is the only place that states it

_logging.getLogger("pairlab").addHandler(_logging.NullHandler())

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
