"""The legend: what every word and sign of the dashboard means, in one panel."""

from __future__ import annotations

from typing import Final

from ipywidgets import VBox

from pairlab.widgets.style.formats import safe
from pairlab.widgets.style.theme import icon, var
from pairlab.widgets.transport.message_batching import HTML

__all__ = ["TERMS", "legend_panel"]

TERMS: Final = {
    "Prices and spread": (
        ("y, x", "The two legs. y is bought when the spread is bought, x is sold against it."),
        ("β, hedge ratio", "Units of x held against one unit of y; of log prices, notionals."),
        ("α", "Intercept of the regression of y on x; 0 with a fixed ratio."),
        ("spread", "y − β·x − α."),
        ("mean, σ", "Mean and standard deviation of the spread over the window."),
        ("z", "The spread's distance from its mean, in σ. Entries and exits are decided on it."),
        ("window, rows", "Observations that every metric looks back over; at tick, one per trade."),
        ("span", "How much market time the window covers."),
    ),
    "Is it a pair?": (
        ("ρ", "Rolling correlation of y with x. Below “min”, no entry."),
        ("p", "p-value of the stationarity test of the spread (ADF; Engle-Granger for OLS)."),
        ("STATIONARY", "The test rejects a random walk at the level that is set."),
        ("half-life", "Rows until half of a deviation is gone, as far as the window can tell."),
    ),
    "Does it pay?": (
        ("edge", "What the spread's present distance from its mean is worth, bps of y's notional."),
        ("cost", "A round trip: four fills, both legs in and both out, at the fee."),
        ("min edge", "No entry while the edge is below it."),
        ("break-even ±", "The |z| worth a round trip. Below it: shaded; entries ringed."),
        ("gross, costs, net", "Of one unit of y at the last prices; costs are all four fills."),
    ),
    "Feed": (
        ("age y / x", "Seconds since each leg last traded. Too old, and there is no entry."),
        ("lag p50 / p99", "From the exchange's event to its receipt here: median and 99 %."),
        ("gaps", "Breaks in the trade ids that could not be filled over REST."),
        ("→row, →screen", "From the receipt to the computed row, and to the drawn picture."),
    ),
}
"""Groups of terms and their meanings."""

_SIGNS: Final = (
    ("up", "y", "ENTRY long", "y bought, x sold: the spread was low."),
    ("down", "x", "ENTRY short", "y sold, x bought: the spread was high."),
    ("circle", "warn", "ring", "An entry where z did not pay: it loses even if z returns to 0."),
    ("circle", "text", "EXIT", "z is back within the exit threshold."),
    ("square", "stop", "STOP", "z went against the position, or it was held for too long."),
    ("diamond", "text2", "SUPPRESSED", "An entry was held back; the alert says why."),
    ("cross", "text", "DECOUPLED", "ρ fell below the minimum while a position is held."),
    ("dashed", "corr", "entry to exit", "A position that was left with a profit, after all fees."),
    ("dashed", "stop", "entry to exit", "One that was left with a loss, at the decisions' prices."),
    ("dashed", "text2", "vertical", "Thresholds changed here; signals under others are faded."),
)

_KEYS: Final = (
    ("drag, wheel", "Moves all charts in time; zooms them at the mouse. Two fingers zoom, too."),
    ("double click", "Back to the newest rows and the usual span."),
    ("?", "Opens and closes this legend."),
    ("Esc", "Closes what is open."),
)


def _sample(sign: str, colour: str) -> str:
    if sign == "dashed":
        return f'<i class="pairlab-dashed" style="color:{var(colour)}"></i>'
    return icon(sign, var(colour))


def legend_panel() -> VBox:
    """Return the panel; a style sheet shows it while the status bar has ``pairlab-legend-open``."""
    groups = [_group(title, [_term(*term) for term in terms]) for title, terms in TERMS.items()]
    signs = [
        f"<dt>{_sample(sign, colour)} {safe(name)}</dt><dd>{safe(meaning)}</dd>"
        for sign, colour, name, meaning in _SIGNS
    ]
    groups += [
        _group("Signals", signs),
        _group("Mouse and keys", [_term(*term) for term in _KEYS]),
    ]
    text = HTML(f"<h3>Legend</h3>{''.join(groups)}").add_class("pairlab-legend-text")
    return VBox([text]).add_class("pairlab-legend")


def _group(title: str, terms: list[str]) -> str:
    return f"<div><b>{safe(title)}</b><dl>{''.join(terms)}</dl></div>"


def _term(name: str, meaning: str) -> str:
    return f"<dt>{safe(name)}</dt><dd>{safe(meaning)}</dd>"
