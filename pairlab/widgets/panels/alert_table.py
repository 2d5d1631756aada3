"""The alert table: filters, pages, and the explanation of one alert."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import dropwhile, islice
from typing import Any, Final

from ipywidgets import Button, HBox, ToggleButton, VBox

from pairlab.alerts import Alert
from pairlab.costs import round_trip_bps
from pairlab.formatting import resolved, z_places
from pairlab.protocols import LabView
from pairlab.schema import AlertKind
from pairlab.widgets.charts.chart import MARKERS, Marker
from pairlab.widgets.core.frame import Frame
from pairlab.widgets.core.lab_widget import LabWidget
from pairlab.widgets.core.widget_utils import set_traits
from pairlab.widgets.panels.tables import bps, cells
from pairlab.widgets.style.formats import (
    age,
    clock,
    compact,
    count,
    decimals_for,
    moment,
    number,
    p_value,
    safe,
    short,
    signed,
)
from pairlab.widgets.style.precision import price_decimals
from pairlab.widgets.style.theme import icon, var
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["AlertTable"]

_ALERTS_SHOWN: Final = 8
_ALERTS_STEP: Final = 4
_ALERTS_MOST: Final = 12  # of a panel whose height may change: style sheets hide what is too low
_SHORT: Final = 5
_SIDELESS: Final = (AlertKind.SUPPRESSED, AlertKind.DECOUPLED)  # their words are long enough


def _icon_of(alert: Alert, size: int = 12) -> str:
    marker = _marker_of(alert)
    colour = marker.fill if marker.fill != "panel" else marker.stroke
    return icon(marker.icon, var(colour), size)


def _marker_of(alert: Alert) -> Marker:
    return next(m for m in MARKERS if m.kind == alert.kind and m.side in (0, alert.side))


class AlertTable(LabWidget, VBox):  # type: ignore[misc]
    """The alerts, newest first, with the legend as filter, pages, and an explanation.

    A click on a row selects it: the charts pan to it, its marker gets a ring, and below stand the
    whole explanation and every number that decided it. While one is selected, ‹ and › go from one
    to the next; × or a click on its row goes back.

    Parameters
    ----------
    lab : LabView
        Whose alerts.
    rows : int
        How many of them a page has at most; a low panel shows fewer.
    """

    def __init__(self, lab: LabView, rows: int = _ALERTS_SHOWN) -> None:
        self._page = 0
        self._rows_shown = rows
        # A page moves by what a low panel shows, unless the panel is never low.
        self._step = _ALERTS_STEP if rows <= _ALERTS_MOST else rows
        self._filters = {
            kind: ToggleButton(
                True, description="0", tooltip=f"Show {kind.name} alerts"
            ).add_class("pairlab-filter").add_class(f"pairlab-filter-{kind.name.lower()}")
            for kind in AlertKind
        }  # fmt: skip
        for button in self._filters.values():
            self.on_frontend(button, "value", self._refresh)
        self._where = HTML().add_class("pairlab-where")
        self._newer = self._turn("‹", "Newer alerts", -1)
        self._older = self._turn("›", "Older alerts", 1)
        self._close = Button(
            description="×", tooltip="Back to all alerts: the charts follow the newest rows"
        ).add_class("pairlab-turn")
        self._close.add_class("pairlab-unchoose")
        self.on_frontend(self._close, "click", lambda _: self.render_loop.view.select(None))
        self._body = HTML().add_class("pairlab-body")
        # HTML tables send no clicks: a button without a face lies over each row.
        self._covers = [
            Button(tooltip="Explain this alert").add_class("pairlab-cover") for _ in range(rows)
        ]
        for place, cover in enumerate(self._covers):
            self.on_frontend(cover, "click", partial(self._on_cover, place))
        self._why = HTML(description="explanation").add_class("pairlab-explain")
        self._why.add_class("pairlab-tip")
        title = HTML("<h3>Alerts</h3>").add_class("pairlab-head-text")
        head = HBox(
            [title, *self._filters.values(), self._where, self._newer, self._older, self._close]
        )
        covers = VBox(self._covers).add_class("pairlab-covers")
        super().__init__([head.add_class("pairlab-head"), self._body, covers, self._why])
        for style in ("pairlab", "pairlab-panel", "pairlab-alerts"):
            self.add_class(style)
        self._on_page: list[Alert] = []
        self.join(lab)

    def _turn(self, face: str, tooltip: str, step: int) -> Button:
        button = Button(description=face, tooltip=tooltip).add_class("pairlab-turn")
        self.on_frontend(button, "click", lambda _: self._go(step))
        return button

    def _go(self, step: int) -> None:
        view = self.render_loop.view
        if view.selected is None:
            self._page = max(self._page + step, 0)
            self._refresh()
            return
        kept = list(self._wanted())
        at = self._place_of(view.selected, kept)
        if step < 0 or kept[at : at + 1] == [view.selected]:
            at += step  # else its kind is filtered out, and the next older one stands there
        if 0 <= at < len(kept):
            self._page = at // self._step
            view.select(kept[at])

    def _wanted(self) -> Iterator[Alert]:
        """Go through the alerts that the filters leave, newest first."""
        kinds = {kind for kind, button in self._filters.items() if button.value}
        return (a for a in self._known() if a.kind in kinds)

    def _known(self) -> Iterator[Alert]:
        """Go through all alerts, newest first; while the view is paused, those until then."""
        view = self.render_loop.view
        newest_first = self.render_loop.lab.alert_log.newest_first()
        newest = view.newest_alert
        if newest is None:
            return newest_first
        return dropwhile(lambda a: a.number > newest, newest_first)

    def _counts(self) -> dict[AlertKind, int]:
        if self.render_loop.view.paused:
            return Counter(a.kind for a in self._known())
        log = self.render_loop.lab.alert_log
        return {kind: log.count(kind) for kind in self._filters}

    @staticmethod
    def _place_of(alert: Alert, kept: list[Alert]) -> int:
        """Return where an alert stands among others, newest first; one that left, beyond them."""
        return next((n for n, a in enumerate(kept) if a.number <= alert.number), len(kept))

    def _refresh(self, _: Any = None) -> None:
        self.forget("alerts")

    def _on_cover(self, place: int, _: Any) -> None:
        view = self.render_loop.view
        if place < len(self._on_page):
            chosen = self._on_page[place]
            again = view.selected is not None and view.selected.number == chosen.number
            view.select(None if again else chosen)  # pans to it, or back to the newest rows

    def paint(self, frame: Frame) -> None:
        """Set counts, page and explanation."""
        log, selected = frame.alert_log, frame.view.selected
        # Tables stand still with the charts while these are paused, but for what is selected.
        seen = self._seen.get("alerts", (log.total, None))
        total = seen[0] if frame.view.paused else log.total
        if not frame.text_due or not self.changed("alerts", (total, selected and selected.number)):
            return
        self._show_selection(selected is not None)
        counts = self._counts()
        for kind, button in self._filters.items():
            set_traits(button, description=short(counts[kind]))
        shown = sum(counts[kind] for kind, button in self._filters.items() if button.value)
        pages = max(math.ceil(shown / self._step), 1)
        self._page = min(self._page, pages - 1)
        first = self._page * self._step
        self._on_page = list(islice(self._wanted(), first, first + self._rows_shown))
        self._where.value = self._place(first, shown)
        newest, oldest = self._page == 0, self._page == pages - 1
        if selected is not None:
            kept = list(self._wanted())
            at = self._place_of(selected, kept)
            newest, oldest = at == 0, at >= len(kept) - (kept[at : at + 1] == [selected])
        set_traits(self._newer, disabled=newest)
        set_traits(self._older, disabled=oldest)
        self._body.value = self._table(frame)
        for place, cover in enumerate(self._covers):
            known = place < len(self._on_page)
            set_traits(
                cover, disabled=not known,
                description=self._on_page[place].sentence if known else "no alert",
                tooltip=self._on_page[place].explain() if known else "",
            )  # fmt: skip
            chosen = known and selected is not None and self._on_page[place] is selected
            (cover.add_class if chosen else cover.remove_class)("pairlab-chosen")
        self._explain(next(self._known(), None), selected)

    def _show_selection(self, on: bool) -> None:
        if not self.changed("selecting", on):
            return
        self.toggle_class("pairlab-one-alert", on)
        set_traits(self._newer, tooltip="The newer alert" if on else "Newer alerts")
        set_traits(self._older, tooltip="The older alert" if on else "Older alerts")

    def _place(self, first: int, shown: int) -> str:
        """Return which of the alerts are on the page: in a high panel and in a low one."""
        if not shown:
            return "<small>none</small>"
        heights = (("tall", self._rows_shown), ("mid", _ALERTS_SHOWN), ("low", _ALERTS_STEP))
        return "".join(
            f'<small class="pairlab-{height}">{first + 1}–{min(first + rows, shown)} of '
            f"{count(shown)}</small>"
            for height, rows in heights
        )

    def _table(self, frame: Frame) -> str:
        selected = frame.view.selected
        lines = [cells(["Time UTC", "Kind", "z", "ρ", "Reason"], "th")]
        ticks = frame.values.timeframe == "tick"
        for alert in self._on_page:
            marker = _marker_of(alert)
            colour = marker.fill if marker.fill != "panel" else "text"
            side = "" if alert.kind in _SIDELESS else f" {alert.side_name}"
            word = alert.kind.name
            if alert.kind in _SIDELESS:  # in a narrow panel cut short, by a style sheet
                word = f"{word[:_SHORT]}<s>{word[_SHORT:]}</s>"
            name = f"{word}<i>{side}</i>"
            kind = f'{_icon_of(alert)}<b style="color:{var(colour)}">{name}</b>'
            mark = selected is not None and selected.number == alert.number
            line = cells(
                [
                    moment(alert.time_ns, frame.live_ns, milliseconds=ticks), kind,
                    signed(alert.at.zscore), number(alert.at.correlation), safe(alert.reason),
                ]
            )  # fmt: skip
            lines.append(line.replace("<tr>", '<tr class="pairlab-chosen">') if mark else line)
        return f"<table>{''.join(lines)}</table>"

    def _explain(self, newest: Alert | None, selected: Alert | None) -> None:
        alert = selected or newest
        if alert is None:
            self._why.value = "<div><p>No alerts yet: each will be explained here.</p></div>"
            return
        when = numbers = ""
        if selected is not None:
            when = f"<small>{clock(alert.time_ns)}</small> "
            numbers = self._numbers(alert)
        set_traits(
            self._why,
            value=f"<div>{_icon_of(alert)}<p>{when}{safe(alert.sentence)}</p></div>{numbers}",
            tooltip=alert.explain(),
        )

    def _numbers(self, alert: Alert) -> str:
        """Return everything that an alert was decided on, as `Alert.explain` has it."""
        at, t = alert.at, alert.settings
        y, x = price_decimals(self.render_loop.lab, at)
        least = t.min_edge_bps
        # From spread, mean and σ as they stand here z comes out as it stands here.
        places = z_places(at.spread, at.spread_mean, at.spread_std, at.zscore, 2)
        opposed = at.hedge_ratio < 0
        numbers = {
            "y": number(at.y, y), "x": number(at.x, x),
            "age y": f"{age(at.y_age_s)} s", "age x": f"{age(at.x_age_s)} s",
            "β": compact(at.hedge_ratio, decimals_for(abs(at.hedge_ratio), 3)),
            "α": compact(at.intercept, max(places.spread, 2)),
            "spread": resolved(at.spread, places.spread),
            "mean": resolved(at.spread_mean, places.spread),
            "σ": resolved(at.spread_std, places.std), "z": signed(at.zscore, places.z),
            "ρ": number(at.correlation),
            "p": p_value(at.p_value), "entry": number(t.entry_z), "exit": number(t.exit_z),
            "stop": "off" if t.stop_z is None else number(t.stop_z),
            "max ρ" if opposed else "min ρ": number(t.min_correlation * (-1 if opposed else 1)),
            "edge": bps(alert.edge_bps), "least": "off" if least is None else bps(least),
            "cost": bps(round_trip_bps(t.fee_bps, at, t.price_scale)),
            "rows": f"{at.filled:,}/{t.window:,}",
        }  # fmt: skip
        cells = (f"<div><dt>{n}</dt><dd>{safe(text)}</dd></div>" for n, text in numbers.items())
        return f'<dl class="pairlab-facts">{"".join(cells)}</dl>'
