"""What the dashboard notebook runs: a lab from the command line's options and the page's query."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from pairlab.errors import PairlabError
from pairlab.lab import PairLab
from pairlab.settings import SETTINGS
from pairlab.sources import Source

__all__ = ["AppOptions", "lab_for_page"]

_VARIABLE: Final = "PAIRLAB_APP"
_LONGEST_VALUE: Final = 40
"""Characters of a query value that are looked at; nothing real is longer."""

_MOST_FIELDS: Final = 50
_ASKABLE: Final = frozenset(SETTINGS) - {"history_rows", "ticks_held"}
"""What a page's address may set: nothing that costs memory."""


@dataclass(frozen=True)
class AppOptions:
    """What the command line hands to the notebook's kernel, through its environment.

    Attributes
    ----------
    feed : str
        As `PairLab` takes it.
    y, x : str
        The pair, unless the page's query names another.
    stream : str or None
        The stream, None for the feed's own default.
    recording : list of str
        Files to play instead of `feed`.
    speed : float or None
        Of the recording: 1 is real time, None as fast as possible.
    settings : dict
        Settings by name.
    """

    feed: str = "demo"
    y: str = "BTCUSDT"
    x: str = "ETHUSDT"
    stream: str | None = None
    recording: list[str] = field(default_factory=list)
    speed: float | None = 1.0
    settings: dict[str, Any] = field(default_factory=dict)

    def to_environment(self) -> dict[str, str]:
        """Return the variables that carry these options to a kernel."""
        return {_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> AppOptions:
        """Return the options that `to_environment` wrote, or the defaults."""
        return cls(**json.loads(environ.get(_VARIABLE, "{}")))

    def source(self) -> Source:
        """Return the feed as `PairLab` takes it."""
        if not self.recording:
            return self.feed
        from pairlab.exchange import Recording

        return Recording(self.recording, speed=self.speed)


def lab_for_page(environ: Mapping[str, str] = os.environ) -> PairLab:
    """Return the lab of one page: the command's options, then the page's ``?y=…&window=…``.

    What the query asks for comes from a stranger: only a pair's symbols and known settings are
    read, each through the same checks as everywhere; what is refused is told in the event log,
    and the lab runs without it.
    """
    options = AppOptions.from_environment(environ)
    try:
        query = dict(parse_qsl(environ.get("QUERY_STRING", ""), max_num_fields=_MOST_FIELDS))
    except ValueError:
        query = {}
    query = {name: text[:_LONGEST_VALUE] for name, text in query.items()}
    pair = (query.pop("y", options.y), query.pop("x", options.x))
    asked = {name: _parsed(text) for name, text in query.items() if name in _ASKABLE}
    refused: list[str] = []
    while True:
        try:
            lab = PairLab(
                *pair, feed=options.source(), stream=options.stream, **{**options.settings, **asked}
            )
            break
        except PairlabError as error:
            refused.append(str(error))
            blamed = getattr(error, "name", None)
            if blamed in asked:
                del asked[blamed]
            elif blamed == "hedge_ratio" and asked.get("hedge") != "ols":
                asked["hedge"] = "ols"  # no ratio was given for these prices: estimate one
            elif asked:
                asked.clear()
            elif pair != (options.y, options.x):
                pair = (options.y, options.x)
            else:
                raise
    for message in refused:
        lab.note("warning", f"from the address: {message}")
    return lab


def _parsed(text: str) -> Any:
    """Return a query's text as the number, flag, None or word that it reads as."""
    words = {"true": True, "false": False, "none": None, "off": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return float(text)
    except ValueError:
        return text
