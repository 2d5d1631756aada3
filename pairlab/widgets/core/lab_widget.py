"""What every part of a lab on the screen is: made once, painted with the others, closed alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from inspect import Signature, signature
from typing import TYPE_CHECKING, Any

from traitlets import MetaHasTraits

from pairlab.protocols import LabView
from pairlab.widgets.core.render_loop import RenderLoop

if TYPE_CHECKING:
    from pairlab.widgets.core.frame import Frame

__all__ = ["LabWidget"]


class _OncePerLab(MetaHasTraits):
    """Makes a part once for each lab: asked for again with the same arguments, it is the same.

    A cell that is run again, and however many cells show a part, cost one set of updates.
    """

    @property
    def __signature__(self) -> Signature:
        """What a notebook shows before the docstring: what one is made of, not how."""
        made_of = signature(self.__init__)  # type: ignore[misc]
        return made_of.replace(parameters=list(made_of.parameters.values())[1:])

    def __call__(self, lab: LabView, *args: Any, **options: Any) -> Any:
        given = signature(self.__init__).bind(None, lab, *args, **options)  # type: ignore[misc]
        given.apply_defaults()
        arguments = dict(list(given.arguments.items())[2:])
        key = self, self.identity(arguments)  # type: ignore[attr-defined]
        made = RenderLoop.of(lab).made
        part, screen = made.get(key), RenderLoop.of(lab)
        if part is None or not part.whole:  # none yet, or closed
            screen.making += 1
            try:
                part = made[key] = super().__call__(lab, *args, **options)
            finally:
                screen.making -= 1
        part.by_hand = part.by_hand or not screen.making
        part.screen.frames_per_s = arguments.get("frames_per_s") or part.screen.frames_per_s
        return part


class LabWidget(metaclass=_OncePerLab):
    """Something of a lab on the screen: painted with the others, from the same frame.

    Made again with the same arguments it is the same widget, which any number of cells may show.
    """

    screen: RenderLoop
    children: Any
    comm: Any
    model_id: str
    add_class: Callable[[str], Any]
    caption = ""
    """What an exported picture of it is called; none: it is no chart."""

    by_hand = False
    """Whether somebody made it for itself, not only a part that has it."""

    still = False
    """Whether nothing of it changes with the rows."""

    @property
    def whole(self) -> bool:
        """Whether neither it nor a part that it has was closed."""
        inner = getattr(self, "parts", {}).values()
        return self.comm is not None and all(part.comm is not None for part in inner)

    @property
    def picture_class(self) -> str:
        """The CSS class by which the browser finds it."""
        return f"pairlab-{self.model_id}"

    @classmethod
    def identity(cls, arguments: dict[str, Any]) -> Hashable:
        """Return by what one of a lab differs from another; refuse what cannot be made."""
        return repr(arguments)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        self.screen.start()  # it rests after a stop; shown again, the lab may run again
        return super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]

    def join(self, lab: LabView) -> None:
        """Begin to be painted. Call it last in ``__init__``."""
        self._seen: dict[str, Any] = {}
        self.screen = RenderLoop.of(lab)
        # Wherever the part is put, alone or in a box of the user's, it has to bring what it needs.
        self.children = (*self.children, self.screen.pulse)
        self.add_class(self.picture_class)
        self.screen.join(self)

    def paint(self, frame: Frame) -> None:
        """Show `frame`; send nothing that is already on the screen."""
        raise NotImplementedError

    def finish(self) -> None:
        """End what it does in the background: the lab has stopped."""

    def saved(self, token: str, failed: str | None) -> None:
        """Hear that a page has saved a file, or why it has not."""

    def touched(self, control: str) -> None:
        """Hear that a person's hand is on the control of a setting, before what it does there."""

    def changed(self, what: str, key: Any) -> bool:
        """Return whether `key` differs from the one of the last call, and remember it."""
        if self._seen.get(what) == key:
            return False
        self._seen[what] = key
        return True

    def show_staleness(self, frame: Frame) -> None:
        """Mute what is shown while nothing new comes."""
        stale = frame.health.state in ("stalled", "reconnecting")
        if self.changed("stale", stale):
            change = "add_class" if stale else "remove_class"
            getattr(self, change)("pairlab-stale")

    def close(self) -> None:
        """Leave the screen, and no widget but what other parts have, in front end or kernel."""
        if getattr(self, "screen", None) is not None and self.comm is not None:
            self.screen.take_down(self)

    def on_frontend(self, work: Callable[..., Any]) -> Callable[[Any], None]:
        """Do as `RenderLoop.hand_over`; also before the part has joined."""

        def received(change: Any) -> None:
            self.screen.on_frontend(work)(change)

        return received
