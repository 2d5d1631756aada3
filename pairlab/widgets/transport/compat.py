"""Every use of private names of ipywidgets, traitlets, bqplot and d3, behind one check.

Setting traits and sending each widget's state as its own message costs several times what drawing
a frame does, so frames are written and sent more directly. The names that this takes are checked
once, at import. Where a release has changed one of them, `direct_updates` is False, and everything
goes through `set_trait` and `send_state`: slower, and the same on the screen.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, Final

import numpy as np
from ipywidgets import Widget
from traitlets import All, HasTraits

__all__ = [
    "COMPAT_SCRIPT",
    "current_values",
    "direct_updates",
    "intercepts_send",
    "send_update",
    "set_directly",
]


def _has_private_names() -> bool:
    """Return whether ipywidgets and traitlets have the private names that are used here."""
    probe = HasTraits()
    values, notifiers = (getattr(probe, n, None) for n in ("_trait_values", "_trait_notifiers"))
    send = getattr(Widget, "_send", None)
    if not isinstance(values, dict) or not isinstance(notifiers, dict) or not callable(send):
        return False
    return list(inspect.signature(send).parameters)[1:] == ["msg", "buffers"]


direct_updates: bool = _has_private_names()
"""Whether the private names are as expected; tests set it to False."""

COMPAT_SCRIPT: Final = (
    files("pairlab.widgets.transport").joinpath("js", "compat.js").read_text("utf-8")
)
"""The browser's part: d3's transitions, see `compat.js`, which checks what it replaces."""


def intercepts_send(msg: Mapping[str, Any]) -> bool:
    """Return whether a message of `Widget._send` is an update, which may travel with others."""
    return direct_updates and msg.get("method") == "update"


def current_values(widget: Any) -> Iterable[Any]:
    """Return the traits of a widget that have a value; reading a lazy default would create it."""
    if direct_updates:
        return list(widget._trait_values.values())
    return [getattr(widget, name) for name in widget.trait_names() if widget.trait_has_value(name)]


def _differs(old: np.ndarray[Any, Any], new: np.ndarray[Any, Any]) -> bool:
    # The newest point tells most often: comparing all of a line costs as much as sending it.
    if old.shape != new.shape:
        return True
    if new.ndim == 1 and new.size and old[-1] != new[-1]:
        return True
    return bool(new.size) and not (old == new).all()


def set_directly(widget: Any, state: Mapping[str, Any], to_json: Any) -> bool:
    """Set numbers and arrays and send what changed, as setting the traits would.

    traitlets, traittypes and ipywidgets between them take several times as long: most of what
    a frame cost. What they do besides, to coerce and to tell observers, these do not need.

    Parameters
    ----------
    widget : bqplot widget
        Whose traits.
    state : mapping
        Values by trait name.
    to_json : callable
        Serializer of arrays.

    Returns
    -------
    bool
        False if a trait is none of these, or is observed: nothing was done.
    """
    if not direct_updates:
        return False
    values: dict[str, Any] = widget._trait_values
    changed: dict[str, Any] = {}
    for name, value in state.items():
        old = values.get(name)
        if isinstance(old, np.ndarray):
            new = np.asarray(value)
            if _differs(old, new):
                changed[name] = new
        elif type(old) is not float or type(value) is not float:
            return False
        elif old != value:
            changed[name] = value
    if any(name in widget._trait_notifiers for name in (All, *changed)):
        return False
    values.update(changed)
    if changed and widget.comm is not None:
        send_update(widget, changed, to_json)
    return True


def send_update(widget: Any, changed: Mapping[str, Any], to_json: Any) -> None:
    """Send values of traits as `Widget.send_state` would."""
    sent: dict[str, Any] = {}
    paths, buffers = [], []
    for name, value in changed.items():
        sent[name] = to_json(value) if isinstance(value, np.ndarray) else value
        if isinstance(sent[name], dict):
            paths.append([name, "value"])
            buffers.append(sent[name].pop("value"))
    widget._send({"method": "update", "state": sent, "buffer_paths": paths}, buffers)
