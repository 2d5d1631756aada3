"""Observers of traits that cannot keep each other from being called."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from traitlets import All, HasTraits

__all__ = ["IsolatedObservers"]

Handler = Callable[[Any], Any]


class IsolatedObservers(HasTraits):
    """Traits whose changes reach every observer, whatever another one raises.

    What the first one raised is raised once all have been called, with the others' as notes; the
    change stands.
    """

    def __init__(self, **values: Any) -> None:
        self._handlers: list[tuple[Handler, Handler]] = []  # what was given, what is called
        self._raised: list[Exception] = []
        self._held = 0
        super().__init__(**values)

    def observe(self, handler: Handler, names: Any = All, type: Any = "change") -> None:  # noqa: A002
        """Call `handler` with each change, as `traitlets.HasTraits.observe` does."""
        called = self._called_for(handler)
        if called is None:

            def called(change: Any) -> None:
                try:
                    handler(change)
                except Exception as error:
                    self._raised.append(error)

            self._handlers.append((handler, called))
        super().observe(called, names, type)

    def unobserve(self, handler: Handler, names: Any = All, type: Any = "change") -> None:  # noqa: A002
        """Call `handler` no longer, as `traitlets.HasTraits.unobserve`."""
        super().unobserve(self._called_for(handler) or handler, names, type)

    def _called_for(self, handler: Handler) -> Handler | None:
        return next((called for given, called in self._handlers if given == handler), None)

    def notify_change(self, change: Any) -> None:
        """Call the observers of a change; then raise what the first of them raised."""
        super().notify_change(change)
        self._raise()

    @contextlib.contextmanager
    def hold_trait_notifications(self) -> Iterator[None]:
        """Bundle changes, as `traitlets.HasTraits.hold_trait_notifications` does."""
        self._held += 1
        try:
            with super().hold_trait_notifications():
                yield
        except BaseException:
            self._raised = []  # what went wrong first is told
            raise
        finally:
            self._held -= 1
        self._raise()

    def _raise(self) -> None:
        if self._held or not self._raised:
            return
        first, *others = self._raised
        self._raised = []
        for other in others:
            first.add_note(f"another observer raised {other!r}")
        raise first
