"""A replay of a saved session begins with the settings of the session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pairlab.errors import SettingError
from pairlab.feeds.base import Feed
from pairlab.lab.pipeline import Pipeline
from pairlab.schema import LogLevel
from pairlab.settings import Settings
from pairlab.storage.replay.replay import Replay

__all__ = ["take_saved_settings"]


def take_saved_settings(
    feed: Feed, pipeline: Pipeline, log: Callable[[LogLevel, str], None]
) -> None:
    """Give each setting that is at its default the value that the saved session began with.

    Parameters
    ----------
    feed : Feed
        Any; only a replay of a session has settings, and only the first run takes them.
    pipeline : Pipeline
        Whose settings.
    log : callable
        Called with a level and a message.
    """
    if not isinstance(feed, Replay) or feed.saved_settings is None or pipeline.engine is not None:
        return
    now, defaults = asdict(pipeline.settings.values()), asdict(Settings().values())
    taken: dict[str, Any] = {
        name: value
        for name, value in asdict(feed.saved_settings).items()
        if now[name] == defaults[name] != value
    }
    try:
        pipeline.settings.update(**taken)
    except SettingError as error:
        log("warning", f"the session's settings do not go with those given: {error}")
        return
    if taken:
        told = ", ".join(f"{name} = {value!r}" for name, value in taken.items())
        log("info", f"of the session: {told}")
