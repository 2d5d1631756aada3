"""What the charts show at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from pairlab.alerts import Alert

__all__ = ["View"]


@dataclass(frozen=True, slots=True)
class View:
    """A `ViewState` at one moment, as a frame is painted from it.

    Attributes
    ----------
    start_ns, edge_ns : int
        Both ends of what is in view; the left one not before what was cleared.
    span_ns : int
        Width of the view.
    frozen : bool
        The view stands on a part of the history; else it follows the newest rows.
    dragging : bool
        It is frozen only while the mouse selects.
    following_span_s : float
        Width of the view while it follows the newest rows.
    cleared_ns : int
        Rows up to here are not shown until Reset zoom; `NO_TIME_NS`: all are.
    paused : bool
        Charts and tables show the rows of an earlier moment.
    paused_ns : int
        When that was, by this machine's clock.
    newest_alert : int or None
        Number of the newest alert of that moment: a later one may have the time of its newest row.
        None: it is not paused.
    pointer_ns : int or None
        Where the pointer reads.
    selected : Alert or None
        The alert that was clicked on.
    select_mode : bool
        A drag over a chart selects; else a click lets the pointer read.
    brushing : bool
        Such a drag is going on.
    signal_in_front : bool
        In a narrow dashboard the open signal stands in the place of the latest row.
    """

    start_ns: int
    edge_ns: int
    span_ns: int
    frozen: bool
    dragging: bool
    following_span_s: float
    cleared_ns: int
    paused: bool
    paused_ns: int
    newest_alert: int | None
    pointer_ns: int | None
    selected: Alert | None
    select_mode: bool
    brushing: bool
    signal_in_front: bool

    @property
    def window_key(self) -> tuple[object, ...]:
        """Differs from another view's if it was moved or zoomed; not because rows came."""
        return (self.start_ns, self.edge_ns) if self.frozen else None, self.following_span_s

    @property
    def key(self) -> tuple[object, ...]:
        """Differs from another view's if, and only if, it shows other rows, or in another way."""
        return (
            *self.window_key, self.cleared_ns, self.pointer_ns,
            self.paused and self.paused_ns, self.selected and self.selected.number,
            self.brushing, self.select_mode,
        )  # fmt: skip
