"""Sets traits in one message, marks changes as the kernel's, closes widgets with their children."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from ipywidgets import Widget

from pairlab.widgets.style.formats import js_number
from pairlab.widgets.transport.bqplot_marks import Plotted
from pairlab.widgets.transport.compat import current_values

__all__ = [
    "close_tree",
    "is_programmatic",
    "programmatic_update",
    "set_ticks",
    "set_traits",
    "tree",
]


_SHOWING: Final = threading.local()


@contextmanager
def programmatic_update() -> Iterator[None]:
    """Mark changes of widgets on this thread as shown by the kernel, not made by a person."""
    before = getattr(_SHOWING, "on", False)
    _SHOWING.on = True
    try:
        yield
    finally:
        _SHOWING.on = before


def is_programmatic() -> bool:
    """Return whether the current thread is inside `programmatic_update`."""
    return getattr(_SHOWING, "on", False)


def set_traits(widget: Any, **state: Any) -> None:
    """Set several traits of a widget; one message, or none if all are so already."""
    if isinstance(widget, Plotted) and widget.set_directly(state):
        return
    with widget.hold_sync():
        for name, value in state.items():
            setattr(widget, name, value)


def set_ticks(axis: Any, labels: Mapping[float, str]) -> None:
    """Set an axis's ticks and what stands at them.

    bqplot draws new values in a transition that remembers the labels of its beginning: the labels
    go first, in a message of their own, together with the old ones, which are still on the screen.
    """
    texts = {js_number(at): text for at, text in labels.items()}
    values = np.array(list(labels), dtype=np.float64)
    old = axis.tick_labels or {}
    if np.array_equal(axis.tick_values, values) and all(old.get(k) == t for k, t in texts.items()):
        return
    at_old = [] if axis.tick_values is None else [js_number(v) for v in axis.tick_values]
    axis.tick_labels = {**{k: old[k] for k in at_old if k in old}, **texts}
    # Without ticks of its own an axis would choose some.
    set_traits(axis, visible=bool(labels), tick_values=values)


def tree(root: Any) -> Iterator[Any]:
    """Yield every widget that `root` (a widget, or a list or dict of them) holds, itself first."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, Widget):
            if id(item) not in seen:
                seen.add(id(item))
                yield item
                # Only traits that hold something already: reading a lazy default would make it.
                stack.extend(current_values(item))
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)


def close_tree(root: Any, spare: frozenset[int] = frozenset()) -> None:
    """Close `root` and every widget below it, but for those whose ``id()`` is in `spare`."""
    for widget in list(tree(root)):
        if id(widget) not in spare:
            Widget.close(widget)
