"""Colours, type sizes and spacing: the look, in one place."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args
from urllib.parse import quote

from pairlab.errors import SettingError

__all__ = [
    "DARK",
    "LIGHT",
    "SIZES",
    "THEMES",
    "TYPE",
    "ThemeName",
    "Tokens",
    "apply_theme",
    "dress",
    "icon",
    "mask",
    "read_theme",
    "theme_css",
    "var",
]

ThemeName = Literal["dark", "light", "jupyterlab"]
"""``"jupyterlab"`` follows the theme of JupyterLab or Notebook, also when it changes."""

THEMES: Final[tuple[ThemeName, ...]] = get_args(ThemeName)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The colours of one theme. Text has a contrast of 4.5:1 on page, panel and raised.

    Attributes
    ----------
    page, panel, raised : str
        Backgrounds.
    border, grid, axis : str
        Dividers and slider tracks; chart grid; axis and zero lines.
    text, text2, muted : str
        Values and titles; labels; captions, ticks, exit and mean lines.
    z, y, x, spread, corr : str
        Lines and values. y is also "long the spread", x "short", corr "good".
    warn, warnfill, warnink : str
        Look here; a filled badge and its text.
    stop : str
        Stop lines, errors.
    sim : str
        Not real money.
    replay : str
        What was recorded is played.
    focus : str
        Focus ring, selected alert.
    ink : str
        Text on fills of y, x and stop.
    """

    page: str
    panel: str
    raised: str
    border: str
    grid: str
    axis: str
    text: str
    text2: str
    muted: str
    z: str
    y: str
    x: str
    spread: str
    corr: str
    warn: str
    warnfill: str
    warnink: str
    stop: str
    sim: str
    replay: str
    focus: str
    ink: str

    def css(self) -> str:
        """Return the tokens as custom properties, and the one shape that is drawn in a colour."""
        tokens = "".join(f"--pairlab-{name}:{value};" for name, value in asdict(self).items())
        return f"{tokens}--pairlab-shape-caret:{mask('caret', self.muted)};"


DARK: Final = Tokens(
    page="#080b10", panel="#10151c", raised="#1b222c",
    border="#2b3440", grid="#1d2530", axis="#4a5666",
    text="#e9edf2", text2="#b6c0cc", muted="#8b97a6",
    z="#f2f5f9", y="#56b4e9", x="#f0a830", spread="#e6a3c8", corr="#3cc39b",
    warn="#f0e442", warnfill="#f0e442", warnink="#080b10",
    stop="#ff4d6d", sim="#b9a6ff", replay="#d38bff", focus="#8fd0ff", ink="#080b10",
)  # fmt: skip
LIGHT: Final = Tokens(
    page="#e9edf2", panel="#ffffff", raised="#f1f4f7",
    border="#ccd4dd", grid="#e8ecf1", axis="#97a3b1",
    text="#11161d", text2="#3b4654", muted="#596575",
    z="#11161d", y="#0067a8", x="#9a5b00", spread="#9b3f78", corr="#00734f",
    warn="#776000", warnfill="#f2d43d", warnink="#11161d",
    stop="#8a0f24", sim="#6242c4", replay="#8a1fc4", focus="#0067a8", ink="#ffffff",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Pixels. The heights are of the panels; the wide layout's z-score takes what is left over."""

    margin: int = 8
    gutter: int = 4
    strip: int = 52
    settings: int = 208
    latest: int = 104
    spread: int = 148
    correlation: int = 96
    prices: int = 128
    event: int = 24
    head: int = 22
    side: int = 352
    pad: int = 12
    axis_left: int = 72
    axis_right: int = 64
    plot_width: int = (
        772  # of the charts at 1280 wide: what labels and the end dot are laid out for
    )
    zscore_plot: int = 284


SIZES: Final = _Sizes()


@dataclass(frozen=True, slots=True)
class _Type:
    """Pixels: captions and axes; most text; the signal; numbers; the pair; profit; z."""

    caption: int = 10
    body: int = 11
    chip: int = 12
    number: int = 13
    pair: int = 14
    net: int = 16
    hero: int = 26


TYPE: Final = _Type()


def theme_css() -> str:
    """Return every token as a custom property: of the theme that a view is dressed in.

    A view with no theme of its own is dark; what lies in a view wears what the view wears.
    """
    sizes = "".join(f"--pairlab-{name}-px:{size}px;" for name, size in asdict(SIZES).items())
    types = "".join(f"--pairlab-type-{name}:{size}px;" for name, size in asdict(TYPE).items())
    day = '[data-jp-theme-light="true"]'  # JupyterLab, Notebook and Voila say so on the body
    light = (
        ".pairlab-light", ".pairlab-light .pairlab",
        f"{day} .pairlab-follow", f"{day} .pairlab-follow .pairlab",
    )  # fmt: skip
    return (
        f":root{{--pairlab-page-dark:{DARK.page};--pairlab-page-light:{LIGHT.page};}}"
        f".pairlab{{{DARK.css()}{sizes}{types}}}{','.join(light)}{{{LIGHT.css()}}}"
    )


def read_theme(theme: ThemeName) -> ThemeName:
    """Return the theme's name.

    Raises
    ------
    SettingError
        If there is no such theme.
    """
    if theme not in THEMES:
        raise SettingError("theme", theme, f"expected {', '.join(map(repr, THEMES))}")
    return theme


def apply_theme(widget: Any, theme: ThemeName) -> Any:
    """Give a widget, and every one in it, a theme: a box of widgets, or one shown by itself.

    A widget has one theme wherever it is shown; in a box that has a theme, it takes that one.

    Parameters
    ----------
    widget : ipywidgets.DOMWidget
        A widget of a lab, or a box that holds some.
    theme : {"dark", "light", "jupyterlab"}
        ``"jupyterlab"`` follows the theme of JupyterLab or Notebook.

    Returns
    -------
    ipywidgets.DOMWidget
        The widget.

    Raises
    ------
    SettingError
        If there is no such theme.
    """
    read_theme(theme)
    for name, style in (("light", "pairlab-light"), ("jupyterlab", "pairlab-follow")):
        (widget.add_class if theme == name else widget.remove_class)(style)
    return widget


dress = apply_theme
"""The earlier name of `apply_theme`, which stays."""


def var(token: str) -> str:
    """Return the CSS value of a token: charts change theme without being sent again."""
    return f"var(--pairlab-{token})"


_SHAPES: Final = {
    "up": '<path d="M6 1.5 11 10.5H1Z"/>',
    "down": '<path d="M6 10.5 1 1.5H11Z"/>',
    "circle": '<circle cx="6" cy="6" r="3.2" fill="none" stroke="currentColor" stroke-width="2"/>',
    "square": '<path d="M2.5 2.5H9.5V9.5H2.5Z"/>',
    "diamond": '<path d="M6 .8 9.6 6 6 11.2 2.4 6Z" fill="none" stroke="currentColor"'
    ' stroke-width="1.4"/>',
    "cross": '<path d="M4.6 1.5H7.4V4.6H10.5V7.4H7.4V10.5H4.6V7.4H1.5V4.6H4.6Z"/>',
    "dash": '<path d="M1.5 4.9H10.5V7.1H1.5Z"/>',
    "check": '<path d="M1.5 6.2 4.7 9.6 10.5 2.8" fill="none" stroke="currentColor"'
    ' stroke-width="2.2"/>',
    "times": '<path d="M2.2 2.2 9.8 9.8M9.8 2.2 2.2 9.8" fill="none" stroke="currentColor"'
    ' stroke-width="2.2"/>',
    "clock": '<circle cx="6" cy="6" r="4.6" fill="none" stroke="currentColor" stroke-width="1.4"/>'
    '<path d="M6 3V6.3L8.2 7.6" fill="none" stroke="currentColor" stroke-width="1.3"/>',
    "info": '<circle cx="6" cy="6" r="4.7" fill="none" stroke="currentColor" stroke-width="1.2"/>'
    '<path d="M5.3 5.2H6.7V9H5.3ZM5.3 3H6.7V4.3H5.3Z"/>',
    "warning": '<path d="M6 1.3 11.2 10.6H.8Z" fill="none" stroke="currentColor"'
    ' stroke-width="1.2"/><path d="M5.4 4.6H6.6V7.6H5.4ZM5.4 8.3H6.6V9.5H5.4Z"/>',
    "dot": '<circle cx="6" cy="6" r="4"/>',
    "reload": '<path d="M9.7 4.2A4.2 4.2 0 1 0 10.2 6.8" fill="none" stroke="currentColor"'
    ' stroke-width="1.8"/><path d="M10.8 1.4V5.2H7Z"/>',
    "pause": '<path d="M2.5 1.8H5V10.2H2.5ZM7 1.8H9.5V10.2H7Z"/>',
    "play": '<path d="M2.6 1.4 10.4 6 2.6 10.6Z"/>',
    "download": '<path d="M5.1 1H6.9V5.4H9.2L6 8.6 2.8 5.4H5.1ZM1.6 9.4H10.4V11H1.6Z"/>',
    "backspace": '<path d="M4 2H11.4V10H4L.8 6Z" fill="none" stroke="currentColor"'
    ' stroke-width="1.2"/><path d="M5.6 4.3 9 7.7M9 4.3 5.6 7.7" stroke="currentColor"'
    ' stroke-width="1.2"/>',
    "caret": '<path d="M1.5 3.5H10.5L6 9.5Z" fill="currentColor"/>',
    "cursor": '<circle cx="6" cy="6" r="3.4" fill="none" stroke="currentColor"/>'
    '<path d="M5.5 0H6.5V4H5.5ZM5.5 8H6.5V12H5.5ZM0 5.5H4V6.5H0ZM8 5.5H12V6.5H8Z"/>',
}
"""Drawn on 12 × 12: the same shapes as the charts' markers. Colour is never the only sign."""


def icon(name: str, colour: str = "currentColor", size: int = 12) -> str:
    """Return a shape as inline SVG.

    Parameters
    ----------
    name : str
        One of the shapes of this module.
    colour : str
        CSS colour.
    size : int
        Width and height, px.
    """
    return (
        f'<svg class="pairlab-icon-shape" style="color:{colour}" width="{size}" height="{size}" '
        f'viewBox="0 0 12 12" fill="currentColor" aria-hidden="true">{_SHAPES[name]}</svg>'
    )


def mask(name: str, colour: str = "#000") -> str:
    """Return a shape as a CSS image: a mask, where its colour does not matter."""
    shape = _SHAPES[name].replace("currentColor", colour)
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 12 12">{shape}</svg>'
    return f'url("data:image/svg+xml,{quote(svg)}")'
