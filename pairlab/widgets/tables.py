"""Numbers in columns: the latest row, the rows before it, the alerts and what explains them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import dropwhile, islice
from typing import TYPE_CHECKING, Any, Final

from ipywidgets import Button, HBox, ToggleButton, VBox

from pairlab.alerts import Alert, Snapshot
from pairlab.costs import edge_bps, round_trip_bps
from pairlab.ticks import NS_PER_S, AlertKind
from pairlab.widgets.bundle import HTML
from pairlab.widgets.chart import MARKERS, Marker
from pairlab.widgets.charts import price_decimals
from pairlab.widgets.formats import (
    MISSING,
    age,
    clock,
    count,
    extent,
    fitted,
    number,
    p_value,
    safe,
    signed,
)
from pairlab.widgets.frame import Frame
from pairlab.widgets.part import Part
from pairlab.widgets.theme import glyph, var
from pairlab.widgets.trees import put

if TYPE_CHECKING:
    from pairlab.lab import PairLab

__all__ = [
    "AlertTable",
    "LatestTable",
    "RowTable",
    "show_swapped",
    "swap_button",
    "window_s",
]

_ALERTS_SHOWN: Final = 8
_ALERTS_STEP: Final = 4
_ALERTS_MOST: Final = 12  # of a panel whose height may change: style sheets hide what is too low
_ROWS_SHOWN: Final = 5
_SIDELESS: Final = (AlertKind.SUPPRESSED, AlertKind.DECOUPLED)  # their words are long enough


def _cells(values: Iterable[str], tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{v}</{tag}>" for v in values) + "</tr>"


def _coloured(text: str, token: str) -> str:
    return f'<span style="color:{var(token)}">{safe(text)}</span>'


def _glyph_of(alert: Alert, size: int = 12) -> str:
    marker = _marker_of(alert)
    colour = marker.fill if marker.fill != "panel" else marker.stroke
    return glyph(marker.glyph, var(colour), size)


def _marker_of(alert: Alert) -> Marker:
    return next(m for m in MARKERS if m.kind == alert.kind and m.side in (0, alert.side))


class LatestTable(Part, VBox):  # type: ignore[misc]
    """Every number of the newest row.

    Parameters
    ----------
    lab : PairLab
        Whose row.
    """

    def __init__(self, lab: PairLab) -> None:
        self._head = HTML().add_class("pairlab-head-text")
        self._body = HTML().add_class("pairlab-body")
        self._swap = swap_button(self, to_signal=True)
        super().__init__([HBox([self._head, self._swap]).add_class("pairlab-head"), self._body])
        for style in ("pairlab", "pairlab-panel", "pairlab-latest"):
            self.add_class(style)
        self.join(lab)

    def paint(self, frame: Frame) -> None:
        """Set the numbers."""
        self.show_staleness(frame)
        show_swapped(self, behind=self.screen.shows_signal)
        if not frame.text_due or not self.changed(
            "row", (frame.version, frame.latest, frame.values)
        ):
            return
        row, lab, v = frame.latest, self.screen.lab, frame.values
        when, shown = "", {}
        if row is not None:
            when = clock(row.time_ns) + (" forming" if row.provisional else "")
            decimals = price_decimals(lab, row, v)
            shown = {
                "y": number(row.y, decimals[0]), "x": number(row.x, decimals[1]),
                "β": number(row.hedge_ratio, 3),
                "α": "0" if row.intercept == 0 else number(row.intercept, 2),
                "spread": number(row.spread), "mean": number(row.spread_mean),
                "σ": number(row.spread_std), "z": signed(row.zscore), "ρ": number(row.correlation),
                "p-value": p_value(row.p_value), "half-life": number(row.half_life, 1),
                "rows": f"{row.filled:,}/{v['window']:,}", "span": extent(window_s(frame, row)),
                "edge": _bps(edge_bps(row, v["price_scale"])),
                "cost": _bps(round_trip_bps(v["fee_bps"], row, v["price_scale"])),
            }  # fmt: skip
        self._head.value = f'<h3>Latest</h3><small class="pairlab-far">{when}</small>'
        self._body.value = "<dl>" + "".join(
            f'<div title="{safe(tip)}" class="pairlab-field-{name}"><dt>{name}</dt>'
            f'<dd style="color:{var(colour)}">{safe(shown.get(name, MISSING))}</dd></div>'
            for name, colour, tip in self._fields(lab, v)
        ) + "</dl>"  # fmt: skip

    @staticmethod
    def _fields(lab: PairLab, values: dict[str, Any]) -> list[tuple[str, str, str]]:
        least = values["min_edge_bps"]
        wanted = "min_edge_bps is off" if least is None else f"an entry wants {least:g}"
        edge = f"What the spread's distance from its mean is worth, gross, of y's price; {wanted}"
        cost = f"Of a round trip, both legs in and out, at {values['fee_bps']:g} bps a fill"
        return [
            ("y", "y", f"{lab.pair.y}, last price"),
            ("spread", "spread", "y − βx (− α under OLS and Kalman), in units of y"),
            ("ρ", "corr", "Rolling correlation"),
            ("x", "x", f"{lab.pair.x}, last price"),
            ("mean", "text", "Mean of the window's spreads"),
            ("p-value", "text", "Of the stationarity test: small is stationary"),
            ("β", "text", "Hedge ratio: units of x against one of y"),
            ("σ", "text", "Standard deviation of the window's spreads (ddof 1)"),
            ("half-life", "text", "Rows until a deviation has halved"),
            ("α", "text", "Intercept of the hedge"),
            ("z", "z", "The spread's distance from its mean, in standard deviations"),
            ("rows", "text", "Observations in the window"),
            ("span", "text", "Time from the window's first observation to its last"),
            ("edge", "text", edge),
            ("cost", "text", f"{cost}: basis points of y's price"),
        ]


def swap_button(part: Part, *, to_signal: bool) -> Button:
    """Return a button that puts the open signal in place of the latest row, or back.

    Only a narrow dashboard shows it: there both share one place.
    """
    face, tip = ("Signal", "Show the open signal") if to_signal else ("Latest", "Show all numbers")
    button = Button(description=face, tooltip=tip).add_class("pairlab-swap")

    def swap(_: Any) -> None:
        part.screen.shows_signal = to_signal

    button.on_click(part.hand_over(swap))
    return button


def show_swapped(part: Any, *, behind: bool) -> None:
    """Mark which of the two is behind the other where they share one place."""
    if part.changed("behind", behind):
        (part.add_class if behind else part.remove_class)("pairlab-behind")


def window_s(frame: Frame, row: Snapshot) -> float:
    """Return the time between the first and the last observation of a row's window.

    Parameters
    ----------
    frame : Frame
        Whose rows hold the window: `row` is the newest of them, or the forming bar after them.
    row : Snapshot
        The window's last observation.

    Returns
    -------
    float
        Seconds; NaN while there are fewer than two observations, or rows are no longer held.
    """
    before = row.filled - (1 if row.provisional else 0)  # how many of them are rows
    if row.filled < 2 or not 0 < before <= len(frame.rows):
        return math.nan
    return (row.time_ns - int(frame.rows[-before]["time_ns"])) / NS_PER_S


def _bps(value: float) -> str:
    return f"{fitted(value, 2, 4)} bps" if math.isfinite(value) else MISSING


class RowTable(Part, VBox):  # type: ignore[misc]
    """The newest rows of the history, newest first.

    Parameters
    ----------
    lab : PairLab
        Whose rows.
    rows : int
        How many of them.
    """

    def __init__(self, lab: PairLab, rows: int = _ROWS_SHOWN) -> None:
        self._rows_shown = rows
        self._head = HTML().add_class("pairlab-head-text")
        self._body = HTML().add_class("pairlab-body")
        super().__init__([HBox([self._head]).add_class("pairlab-head"), self._body])
        for style in ("pairlab", "pairlab-panel", "pairlab-rows"):
            self.add_class(style)
        self.join(lab)

    def paint(self, frame: Frame) -> None:
        """Set the rows."""
        if not frame.text_due or not self.changed("rows", frame.version):
            return
        self._head.value = (
            f'<h3>Rows</h3><small class="pairlab-far">{count(len(frame.rows))} in history</small>'
        )
        newest = [Snapshot.of(row) for row in frame.rows[: -self._rows_shown - 1 : -1]]
        lines = []
        for row in newest:
            y, x = price_decimals(self.screen.lab, row, frame.values)
            lines.append(
                _cells(
                    [
                        clock(row.time_ns), number(row.y, y), number(row.x, x),
                        number(row.spread), signed(row.zscore), number(row.correlation),
                    ]
                )
            )  # fmt: skip
        head = _cells(["Time UTC", "y", "x", "spread", "z", "ρ"], "th")
        self._body.value = f"<table>{head}{''.join(lines)}</table>"


class AlertTable(Part, VBox):  # type: ignore[misc]
    """The alerts, newest first, with the legend as filter, pages, and an explanation.

    A click on a row selects it: the charts pan to it, its marker gets a ring, and below stand the
    whole explanation and every number that decided it. While one is selected, ‹ and › go from one
    to the next; × or a click on its row goes back.

    Parameters
    ----------
    lab : PairLab
        Whose alerts.
    rows : int
        How many of them a page has at most; a low panel shows fewer.
    """

    def __init__(self, lab: PairLab, rows: int = _ALERTS_SHOWN) -> None:
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
            button.observe(self.hand_over(self._refresh), "value")
        self._where = HTML().add_class("pairlab-where")
        self._newer = self._turn("‹", "Newer alerts", -1)
        self._older = self._turn("›", "Older alerts", 1)
        self._close = Button(
            description="×", tooltip="Back to all alerts: the charts follow the newest rows"
        ).add_class("pairlab-turn")
        self._close.add_class("pairlab-unchoose")
        self._close.on_click(self.hand_over(lambda _: self.screen.choose(None)))
        self._body = HTML().add_class("pairlab-body")
        # HTML tables send no clicks: a button without a face lies over each row.
        self._covers = [
            Button(tooltip="Explain this alert").add_class("pairlab-cover") for _ in range(rows)
        ]
        for place, cover in enumerate(self._covers):
            cover.on_click(self.hand_over(lambda _, at=place: self._select(at)))
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
        button.on_click(self.hand_over(lambda _: self._go(step)))
        return button

    def _go(self, step: int) -> None:
        if self.screen.selected is None:
            self._page = max(self._page + step, 0)
            self._refresh()
            return
        kept = list(self._wanted())
        at = self._place_of(self.screen.selected, kept) + step
        if 0 <= at < len(kept):
            self._page = at // self._step
            self.screen.choose(kept[at])

    def _wanted(self) -> Iterator[Alert]:
        """Go through the alerts that the filters leave, newest first; paused, until then."""
        kinds = {kind for kind, button in self._filters.items() if button.value}
        newest_first = self.screen.lab.alert_log.newest_first()
        if self.screen.paused:
            last = self.screen.rows()[-1:]
            until_ns = int(last[0]["time_ns"]) if len(last) else 0
            newest_first = dropwhile(lambda a: a.time_ns > until_ns, newest_first)
        return (a for a in newest_first if a.kind in kinds)

    @staticmethod
    def _place_of(alert: Alert, kept: list[Alert]) -> int:
        """Return where an alert stands among others, newest first; one that left, beyond them."""
        return next((n for n, a in enumerate(kept) if a.number <= alert.number), len(kept))

    def _refresh(self, _: Any = None) -> None:
        self._seen.pop("alerts", None)

    def _select(self, place: int) -> None:
        screen = self.screen
        if place < len(self._on_page):
            chosen = self._on_page[place]
            again = screen.selected is not None and screen.selected.number == chosen.number
            screen.choose(None if again else chosen)  # pans to it, or back to the newest rows

    def paint(self, frame: Frame) -> None:
        """Set counts, page and explanation."""
        log, selected = self.screen.lab.alert_log, self.screen.selected
        # Tables stand still with the charts while these are paused, but for what is selected.
        seen = self._seen.get("alerts", (log.total, None))
        total = seen[0] if self.screen.paused else log.total
        if not frame.text_due or not self.changed("alerts", (total, selected and selected.number)):
            return
        self._show_selection(selected is not None)
        for kind, button in self._filters.items():
            put(button, description=count(log.count(kind)))
        kinds = {kind for kind, button in self._filters.items() if button.value}
        shown = sum(map(log.count, kinds))
        pages = max(math.ceil(shown / self._step), 1)
        self._page = min(self._page, pages - 1)
        first = self._page * self._step
        self._on_page = list(islice(self._wanted(), first, first + self._rows_shown))
        self._where.value = self._place(first, shown)
        newest, oldest = self._page == 0, self._page == pages - 1
        if selected is not None:
            kept = list(self._wanted())
            at = self._place_of(selected, kept)
            newest, oldest = at == 0, at >= len(kept) - 1
        put(self._newer, disabled=newest)
        put(self._older, disabled=oldest)
        self._body.value = self._table(frame)
        for place, cover in enumerate(self._covers):
            known = place < len(self._on_page)
            put(
                cover, disabled=not known,
                description=self._on_page[place].sentence if known else "no alert",
                tooltip=self._on_page[place].explain() if known else "",
            )  # fmt: skip
            chosen = known and selected is not None and self._on_page[place] is selected
            (cover.add_class if chosen else cover.remove_class)("pairlab-chosen")
        self._explain(next(log.newest_first(), None), selected)

    def _show_selection(self, on: bool) -> None:
        if not self.changed("selecting", on):
            return
        (self.add_class if on else self.remove_class)("pairlab-one-alert")
        put(self._newer, tooltip="The newer alert" if on else "Newer alerts")
        put(self._older, tooltip="The older alert" if on else "Older alerts")

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
        selected = self.screen.selected
        lines = [_cells(["Time UTC", "Kind", "z", "ρ", "Reason"], "th")]
        for alert in self._on_page:
            marker = _marker_of(alert)
            colour = marker.fill if marker.fill != "panel" else "text"
            side = "" if alert.kind in _SIDELESS else f" {alert.side_name}"
            name = f"{alert.kind.name}<i>{side}</i>"
            kind = f'{_glyph_of(alert)}<b style="color:{var(colour)}">{name}</b>'
            mark = selected is not None and selected.number == alert.number
            line = _cells(
                [
                    clock(alert.time_ns, milliseconds=frame.values["timeframe"] == "tick"), kind,
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
        put(
            self._why,
            value=f"<div>{_glyph_of(alert)}<p>{when}{safe(alert.sentence)}</p></div>{numbers}",
            tooltip=alert.explain(),
        )

    def _numbers(self, alert: Alert) -> str:
        """Return everything that an alert was decided on, as `Alert.explain` has it."""
        at, t = alert.at, alert.thresholds
        y, x = price_decimals(self.screen.lab, at, t)
        least = t["min_edge_bps"]
        numbers = {
            "y": number(at.y, y), "x": number(at.x, x),
            "age y": f"{age(at.y_age_s)} s", "age x": f"{age(at.x_age_s)} s",
            "β": fitted(at.hedge_ratio, 3), "α": fitted(at.intercept),
            "spread": fitted(at.spread), "mean": fitted(at.spread_mean),
            "σ": fitted(at.spread_std), "z": signed(at.zscore), "ρ": number(at.correlation),
            "p": p_value(at.p_value), "entry": number(t["entry_z"]), "exit": number(t["exit_z"]),
            "stop": "off" if t["stop_z"] is None else number(t["stop_z"]),
            "min ρ": number(t["min_correlation"]),
            "edge": _bps(alert.edge_bps), "least": "off" if least is None else _bps(least),
            "cost": _bps(round_trip_bps(t["fee_bps"], at, t["price_scale"])),
            "rows": f"{at.filled:,}/{t['window']:,}",
        }  # fmt: skip
        cells = (f"<div><dt>{n}</dt><dd>{safe(text)}</dd></div>" for n, text in numbers.items())
        return f'<dl class="pairlab-facts">{"".join(cells)}</dl>'
