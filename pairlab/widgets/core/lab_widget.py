"""The base of every widget of a lab: painted with the others, closed by itself."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING, Any

from pairlab.protocols import LabView
from pairlab.widgets.core.render_loop import RenderLoop
from pairlab.widgets.core.widget_utils import is_programmatic

if TYPE_CHECKING:
    from pairlab.widgets.core.frame import Frame

__all__ = ["LabWidget"]


class LabWidget:
    """A widget of a lab: painted with the lab's other widgets, from the same frame.

    Each call of a class makes a new widget. It is painted while a page shows it, and closed by
    `close`, or with the lab.
    """

    render_loop: RenderLoop
    children: Any
    comm: Any
    model_id: str
    add_class: Callable[[str], Any]
    remove_class: Callable[[str], Any]

    chart_name = ""
    """What an exported picture of it is called; empty: it is no chart."""

    static = False
    """Whether nothing of it changes with the rows."""

    frames_per_s: float | None = None
    """How often it asks to be painted; None: it does not ask."""

    after_input = ""
    """What `changed` forgets after everything that a person does: a setting that changed here and
    back in code between two frames is as it was then, but its control is not."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Give notebooks the constructor's own signature to show, instead of traitlets'."""
        super().__init_subclass__(**options)
        own = signature(cls.__init__)
        cls.__signature__ = own.replace(  # type: ignore[attr-defined]
            parameters=list(own.parameters.values())[1:]
        )

    @property
    def is_intact(self) -> bool:
        """Whether neither it nor a part that it has was closed."""
        inner = getattr(self, "parts", {}).values()
        return self.comm is not None and all(part.comm is not None for part in inner)

    @property
    def css_class(self) -> str:
        """The CSS class by which the browser finds it."""
        return f"pairlab-{self.model_id}"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        self.render_loop.start()  # it rests after a stop; shown again, the lab may run again
        return self.render_loop.still.show(super()._repr_mimebundle_(**kwargs))  # type: ignore[misc]

    def join(self, lab: LabView) -> None:
        """Begin to be painted. Call it last in ``__init__``."""
        self._seen: dict[str, Any] = {}
        self.render_loop = RenderLoop.of(lab)
        # Wherever it is put, alone or in a box of the user's, it has to bring what it needs.
        self.children = (*self.children, self.render_loop.channel.widget)
        self.add_class(self.css_class)
        self.render_loop.add(self)

    def arrange(self, frame: Frame) -> None:
        """Come into sight or leave it, as `frame` says: what is out of sight is not painted."""

    def paint(self, frame: Frame) -> None:
        """Show `frame`; send nothing that is already on the screen."""
        raise NotImplementedError

    def finish(self) -> None:
        """End what it does in the background: the lab has stopped."""

    def file_saved(self, token: str, error: str | None) -> None:
        """Handle that a page has saved a file, or why it has not."""

    def control_touched(self, setting: str) -> None:
        """Handle a person's hand on the control of a setting, before what it does there."""

    def changed(self, what: str, key: Any) -> bool:
        """Return whether `key` differs from the one of the last call, and remember it."""
        if self._seen.get(what) == key:
            return False
        self._seen[what] = key
        return True

    def forget(self, what: str) -> None:
        """Have the next call of `changed` return True."""
        self._seen.pop(what, None)

    def toggle_class(self, name: str, on: bool) -> None:
        """Add or remove a CSS class."""
        (self.add_class if on else self.remove_class)(name)

    def show_staleness(self, frame: Frame) -> None:
        """Mute what is shown while nothing new comes."""
        stale = frame.health.state in ("stalled", "reconnecting")
        if self.changed("stale", stale):
            self.toggle_class("pairlab-stale", stale)

    def close(self) -> None:
        """Close it and everything below it, in front end and kernel, except what others have."""
        if getattr(self, "render_loop", None) is not None and self.comm is not None:
            self.render_loop.close_part(self)

    def on_frontend(
        self,
        widget: Any,
        trait: str,
        handler: Callable[[Any], Any],
        received: Callable[[], None] | None = None,
    ) -> None:
        """Call `handler` with the new value, on the lab's loop, when a person changes a trait.

        Parameters
        ----------
        widget : ipywidgets.Widget
            One below this one.
        trait : str
            Its trait, or "click" for a button, whose handler is given the button.
        handler : callable
            What to do.
        received : callable, optional
            Called at once, on whatever thread the message came.
        """

        def on_message(value: Any) -> None:
            if is_programmatic():
                return  # it would come back late, as if somebody had asked for the old value
            if received is not None:
                received()
            loop = self.render_loop
            loop.lab.call_on_loop(loop.handle, handler, value, self)

        if trait == "click":
            widget.on_click(on_message)
        else:
            widget.observe(lambda change: on_message(change["new"]), trait)
