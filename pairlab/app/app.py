"""What the dashboard notebook runs: a lab from the command line's options and the page's query."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from pairlab.errors import PairlabError, SettingError
from pairlab.lab.feed_factory import Source
from pairlab.lab.pair_lab import PairLab
from pairlab.settings import SETTINGS, Settings, unknown_setting

if TYPE_CHECKING:
    from pairlab.widgets import Dashboard

__all__ = ["AppOptions", "PageQuery", "dashboard_for_page", "lab_for_page"]

_VARIABLE: Final = "PAIRLAB_APP"
_LONGEST_VALUE: Final = 40
"""Characters of a query value that are looked at; nothing real is longer."""

_MOST_FIELDS: Final = 50
_ASKABLE: Final = frozenset(SETTINGS) - {"history_rows", "ticks_held"}
"""What a page's address may set: nothing that costs memory."""

_OTHERS: Final = ("token", "voila-template", "voila-theme")
"""Names in an address that are meant for the server."""

_MOST_TOLD: Final = 3
"""Strange names that are told: an address may have many."""


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
        from pairlab.local_exchange import Recording

        return Recording(self.recording, speed=self.speed)


@dataclass(frozen=True)
class PageQuery:
    """What a page's address asks for: ``?y=…&x=…&window=…&layout=…&theme=…``.

    It comes from a stranger: short, and nothing in it is believed before it was checked.

    Attributes
    ----------
    y, x : str
        The pair, the command's own where the address names none.
    layout, theme : str
        Of the dashboard.
    settings : dict
        Those of them that a page may set.
    refused : tuple of str
        What it asks for in vain, and why.
    """

    y: str
    x: str
    layout: str
    theme: str
    settings: dict[str, Any]
    refused: tuple[str, ...]

    @classmethod
    def read(cls, query: str, options: AppOptions) -> PageQuery:
        """Return what `query` asks for; what cannot be read is left out."""
        try:
            asked, refused = dict(parse_qsl(query, max_num_fields=_MOST_FIELDS)), []
        except ValueError:
            asked, refused = {}, [f"it has more than {_MOST_FIELDS} names, and none was read"]
        asked = {name: text[:_LONGEST_VALUE] for name, text in asked.items()}
        y, x = asked.pop("y", options.y), asked.pop("x", options.x)
        layout, theme = asked.pop("layout", "auto"), asked.pop("theme", "dark")
        strange = [name for name in asked if name not in _ASKABLE and name not in _OTHERS]
        refused += [_refusal(name[:_LONGEST_VALUE]) for name in strange[:_MOST_TOLD]]
        if y == x:
            refused.append(f"y = x = {y!r}: the legs of a pair must be two different symbols")
            y, x = options.y, options.x
        settings = {name: _parsed(text) for name, text in asked.items() if name in _ASKABLE}
        return cls(y, x, layout, theme, settings, tuple(refused))


def lab_for_page(environ: Mapping[str, str] = os.environ) -> PairLab:
    """Return the lab of one page: the command's options, then what the page's address asks for.

    Parameters
    ----------
    environ : mapping
        With `AppOptions`, and ``QUERY_STRING`` as Voila gives it.

    Returns
    -------
    PairLab
        Not started. Each value went through the same checks as everywhere; what was refused is told
        in the event log, and the lab does without it.
    """
    options = AppOptions.from_environment(environ)
    query = PageQuery.read(environ.get("QUERY_STRING", ""), options)
    pair, asked = (query.y, query.x), dict(query.settings)
    refused = list(query.refused)
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
                refused[-1] += "; it is estimated: hedge = 'ols'"
            elif asked and (culprit := _contradicting(options.settings, asked)):
                del asked[culprit]
                refused[-1] += f"; {culprit} of the address is left out"
            elif asked:
                asked.clear()
                refused[-1] += "; the settings of the address are left out"
            elif pair != (options.y, options.x):
                pair = (options.y, options.x)
            else:
                raise
    for message in refused:
        lab.log("warning", f"from the address: {message}")
    return lab


def _contradicting(settings: Mapping[str, Any], asked: Mapping[str, Any]) -> str | None:
    """Return the setting that was asked for without which all fit together, if it is one."""

    def fits(without: str) -> bool:
        try:
            Settings(**{**settings, **{n: v for n, v in asked.items() if n != without}})
        except SettingError:
            return False
        return True

    return next(filter(fits, asked), None)


def dashboard_for_page(lab: PairLab, environ: Mapping[str, str] = os.environ) -> Dashboard:
    """Return the dashboard in the layout and theme that the page's address asks for.

    Parameters
    ----------
    lab : PairLab
        Of the page.
    environ : mapping
        As `lab_for_page` takes it.

    Returns
    -------
    Dashboard
        What was refused is told in the lab's event log.
    """
    query = PageQuery.read(environ.get("QUERY_STRING", ""), AppOptions.from_environment(environ))
    asked: dict[str, Any] = {"layout": query.layout, "theme": query.theme}
    while True:
        try:
            return lab.dashboard(**asked)
        except SettingError as error:
            asked.pop("theme" if error.name == "theme" else "layout")
            lab.log("warning", f"from the address: {error}")


def _refusal(name: str) -> str:
    if name in SETTINGS:
        return f"{name} is not set by an address, as it costs memory"
    return str(unknown_setting(name, ("y", "x", "layout", "theme")))


def _parsed(text: str) -> Any:
    """Return a query's text as the number, flag, None or word that it reads as."""
    words = {"true": True, "false": False, "none": None, "off": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return float(text)
    except ValueError:
        return text
