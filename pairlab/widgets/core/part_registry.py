"""Which widgets of a lab there are, which of them are shared, and how one is closed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeVar

from pairlab.protocols import LabView
from pairlab.widgets.core.widget_utils import close_tree, tree

if TYPE_CHECKING:
    from pairlab.widgets.core.lab_widget import LabWidget

__all__ = ["PartRegistry"]

_Part = TypeVar("_Part", bound="LabWidget")


class PartRegistry:
    """The open widgets of one lab.

    A class call always makes a new widget, which lives until whoever made it closes it, or the lab
    is replaced. What dashboards have in common they `get` from here, so that it is painted and
    sent once; that lives as long as something shows it.

    Parameters
    ----------
    lab : LabView
        Whose widgets.
    common : callable
        Returns the widgets that belong to none of them alone.
    """

    def __init__(self, lab: LabView, common: Callable[[], list[Any]]) -> None:
        self._lab = lab
        self._common = common
        self._open: list[LabWidget] = []
        self._shared: dict[Hashable, LabWidget] = {}

    def __iter__(self) -> Iterator[LabWidget]:
        return iter(list(self._open))

    def __len__(self) -> int:
        return len(self._open)

    def get(self, kind: type[_Part], **options: Hashable) -> _Part:
        """Return the widget that everything shares which needs one of this kind and options.

        Parameters
        ----------
        kind : type
            A `LabWidget`.
        **options
            What its constructor takes after the lab.

        Returns
        -------
        LabWidget
            Made at the first call, and again once it, or a part that it has, was closed.
        """
        given = signature(kind).bind(self._lab, **options)
        given.apply_defaults()
        key = kind, tuple(list(given.arguments.items())[1:])
        part = self._shared.get(key)
        if part is None or not part.is_intact:
            part = self._shared[key] = kind(self._lab, **options)  # type: ignore[call-arg]
        return part  # type: ignore[return-value]

    def add(self, part: LabWidget) -> None:
        """Count a widget as open."""
        self._open.append(part)

    def remove(self, part: LabWidget) -> None:
        """Count a widget as closed."""
        if part in self._open:
            self._open.remove(part)
        self._shared = {key: other for key, other in self._shared.items() if other is not part}

    @property
    def is_static(self) -> bool:
        """Whether nothing of them changes with the rows."""
        return all(part.static for part in self._open)

    def charts(self) -> dict[str, list[str]]:
        """Return the charts by name: the CSS classes of those that show the same."""
        found: dict[str, list[str]] = {}
        for part in self._open:
            if part.chart_name:
                found.setdefault(part.chart_name, []).append(part.css_class)
        return found

    def close(self, widget: LabWidget) -> None:
        """Close a widget and everything below it, except what other open widgets have."""
        mine = set(tree(widget))
        others = [p for p in self._open if p not in mine and widget not in set(tree(p))]
        spared = set(tree([others, self._common()]))
        for part in [p for p in self._open if p in mine - spared]:
            self.remove(part)
            if part is not widget:
                part.close()
        close_tree(widget, frozenset(map(id, spared)))

    def close_all(self) -> None:
        """Close every widget of the lab."""
        parts, self._open, self._shared = self._open, [], {}
        close_tree(parts)
        close_tree(self._common())
