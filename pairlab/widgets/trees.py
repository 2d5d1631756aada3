"""Widgets are set in one message and closed with everything below them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ipywidgets import Widget

__all__ = ["close_tree", "put", "tree"]


def put(widget: Any, **state: Any) -> None:
    """Set several traits of a widget; one message, or none if all are so already."""
    with widget.hold_sync():
        for name, value in state.items():
            setattr(widget, name, value)


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
                stack.extend(item._trait_values.values())
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)


def close_tree(root: Any, spare: frozenset[int] = frozenset()) -> None:
    """Close `root` and every widget below it, but for those whose ``id()`` is in `spare`."""
    for widget in list(tree(root)):
        if id(widget) not in spare:
            Widget.close(widget)
