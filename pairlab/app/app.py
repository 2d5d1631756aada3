"""The dashboard notebook's lab: from the command line's options and the page's query."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from pairlab.app.garbage_collection import freeze_after_start
from pairlab.errors import SettingError
from pairlab.formatting import parse_number
from pairlab.lab.feed.feed_factory import Source
from pairlab.lab.pair_lab import PairLab
from pairlab.limits.symbols import exchange_symbol
from pairlab.settings import SETTINGS, Settings, unknown_setting
from pairlab.storage.replay.replay import Replay

if TYPE_CHECKING:
    from pairlab.widgets import Dashboard

__all__ = ["AppOptions", "PageQuery", "dashboard_for_page", "lab_for_page"]

_VARIABLE: Final = "PAIRLAB_APP"
_MAX_VALUE_LENGTH: Final = 40
"""Characters of a query value that are read; no valid value is longer."""

_MAX_FIELDS: Final = 50
_PAGE_SETTINGS: Final = frozenset(SETTINGS) - {"history_rows", "ticks_held"}
"""Settings that a page's query may change: none that determines memory use."""

_SERVER_FIELDS: Final = ("token", "voila-template", "voila-theme")
"""Query parameters that are meant for the server."""

_MAX_REPORTED: Final = 3
"""Report at most this many unknown query parameters."""


@dataclass(frozen=True)
class AppOptions:
    """Options of the command line, passed to the notebook's kernel through its environment.

    Attributes
    ----------
    feed : str
        The feed, as in `PairLab`; ``"replay"``: `recording` straight into the lab.
    y, x : str
        The pair, unless the page's query gives another.
    stream : str or None
        The stream; None for the feed's default.
    recording : list of str
        Files to replay instead of `feed`.
    speed : float or None
        Of the recording: 1 is real time; None, as fast as possible.
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
        """Return the environment variables with these options."""
        return {_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> AppOptions:
        """Return the options of `to_environment`, or the defaults."""
        return cls(**json.loads(environ.get(_VARIABLE, "{}")))

    def source(self) -> Source:
        """Return the ``feed`` argument of `PairLab`."""
        if not self.recording:
            return self.feed
        if self.feed == "replay":
            return Replay(self.recording, float("inf") if self.speed is None else self.speed)
        from pairlab.local_exchange import Recording

        return Recording(self.recording, speed=self.speed)


@dataclass(frozen=True)
class PageQuery:
    """The query of a page's address: ``?y=…&x=…&window=…&layout=…&theme=…``.

    It is untrusted input: lengths are limited here, values are validated before they are used.

    Attributes
    ----------
    y, x : str
        The pair; the command's, unless the query gives another.
    layout, theme : str
        Arguments of the dashboard, not validated.
    settings : dict
        Settings that a page may change, not validated.
    rejected : tuple of str
        What was rejected, and why.
    """

    y: str
    x: str
    layout: str
    theme: str
    settings: dict[str, Any]
    rejected: tuple[str, ...]

    @classmethod
    def read(cls, query: str, options: AppOptions) -> PageQuery:
        """Return the parsed query; what cannot be parsed is left out."""
        try:
            fields, rejected = dict(parse_qsl(query, max_num_fields=_MAX_FIELDS)), []
        except ValueError:
            fields, rejected = {}, [f"more than {_MAX_FIELDS} query parameters; all are ignored"]
        fields = {name: text[:_MAX_VALUE_LENGTH] for name, text in fields.items()}
        y, x = fields.pop("y", options.y), fields.pop("x", options.x)
        layout, theme = fields.pop("layout", "auto"), fields.pop("theme", "dark")
        unknown = [
            name for name in fields if name not in _PAGE_SETTINGS and name not in _SERVER_FIELDS
        ]
        rejected += [_rejection(name[:_MAX_VALUE_LENGTH]) for name in unknown[:_MAX_REPORTED]]
        try:
            y, x = exchange_symbol("y", y), exchange_symbol("x", x)
        except SettingError as error:
            rejected.append(str(error))
            y, x = options.y, options.x
        if y == x:
            rejected.append(f"y = x = {y!r}: the legs of a pair must be two different symbols")
            y, x = options.y, options.x
        settings = {
            name: _parse_value(name, text)
            for name, text in fields.items()
            if name in _PAGE_SETTINGS
        }
        return cls(y, x, layout, theme, settings, tuple(rejected))


def lab_for_page(environ: Mapping[str, str] = os.environ) -> PairLab:
    """Return the lab of one page: the command's options, then the settings of the page's query.

    Parameters
    ----------
    environ : mapping
        With `AppOptions`, and ``QUERY_STRING`` as Voila passes it.

    Returns
    -------
    PairLab
        Not started. What was rejected is reported in its event log.
    """
    options = AppOptions.from_environment(environ)
    query = PageQuery.read(environ.get("QUERY_STRING", ""), options)
    accepted, rejected = _accepted_settings(options, query)
    lab = PairLab(query.y, query.x, feed=options.source(), stream=options.stream, **accepted)
    for problem in (*query.rejected, *rejected):
        _report(lab, problem)
    return lab


def _accepted_settings(options: AppOptions, query: PageQuery) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of the command and, of the query's, those that are valid with them.

    Also returned is what was rejected or replaced, one sentence each.
    """
    settings, problems = Settings(**options.settings), []
    valid: dict[str, Any] = {}
    for name, value in query.settings.items():
        try:
            valid[name] = SETTINGS[name].clean(name, value)
        except SettingError as error:
            problems.append(str(error))
    accepted = _apply(settings, valid, problems)
    if accepted is None:
        # They contradict each other or the command's settings: apply what fits, in their order.
        accepted = {}
        for name, value in valid.items():
            accepted |= _apply(settings, {name: value}, problems, f"; {name} is ignored") or {}
    if (query.y, query.x) != (AppOptions.y, AppOptions.x):
        try:
            settings.require_explicit_hedge_ratio()
        except SettingError as error:
            problems.append(f"{error}; using hedge = 'ols' instead")
            accepted["hedge"] = "ols"
    return {**options.settings, **accepted}, problems


def _apply(
    settings: Settings, changes: dict[str, Any], problems: list[str], consequence: str | None = None
) -> dict[str, Any] | None:
    """Apply changes together and return them; None if they contradict the other settings.

    A default hedge ratio that does not belong to the other settings is replaced by an estimate.
    """
    try:
        settings.update(**changes)
    except SettingError as error:
        if error.name == "hedge_ratio" and "hedge_ratio" not in changes:
            problems.append(f"{error}; using hedge = 'ols' instead")
            return _apply(settings, {**changes, "hedge": "ols"}, problems, consequence)
        if consequence is not None:
            problems.append(f"{error}{consequence}")
        return None
    return changes


def dashboard_for_page(lab: PairLab, environ: Mapping[str, str] = os.environ) -> Dashboard:
    """Return the dashboard in the layout and theme of the page's query.

    Parameters
    ----------
    lab : PairLab
        The page's lab.
    environ : mapping
        As in `lab_for_page`.

    Returns
    -------
    Dashboard
        What was rejected is reported in the lab's event log.
    """
    from pairlab.widgets.layouts import read_layout
    from pairlab.widgets.style.theme import read_theme

    query = PageQuery.read(environ.get("QUERY_STRING", ""), AppOptions.from_environment(environ))
    accepted: dict[str, Any] = {}
    checks: dict[str, Callable[[Any], object]] = {"layout": read_layout, "theme": read_theme}
    for name, check in checks.items():
        try:
            check(getattr(query, name))
            accepted[name] = getattr(query, name)
        except SettingError as error:
            _report(lab, str(error))
    freeze_after_start(lab.on_update)
    return lab.dashboard(**accepted)


def _report(lab: PairLab, problem: str) -> None:
    lab.log("warning", f"page address: {problem}")


def _rejection(name: str) -> str:
    if name in SETTINGS:
        return f"{name} cannot be set by a query, because it determines memory use"
    return str(unknown_setting(name, ("y", "x", "layout", "theme")))


def _parse_value(name: str, text: str) -> Any:
    """Return a setting's query value as a number, flag, None or text."""
    constants = {"true": True, "false": False, "none": None, "off": None}
    if text.lower() in constants:
        return constants[text.lower()]
    return parse_number(text, whole=SETTINGS[name].schema.get("type") == "integer")
