"""What hand and eye do on a page, for several tests."""

from __future__ import annotations

from typing import Any

__all__ = ["dragged", "handle", "setting", "shows"]


def shows(page: Any, expression: str, arg: Any = None) -> None:
    """Wait until an expression is true in the page."""
    page.wait_for_function(f"arg => {expression}", arg=arg)


def handle(page: Any, name: str) -> tuple[float, float, float]:
    """Return where a slider's handle is (x, y), and at which share of its track."""
    track = page.locator(f".pairlab-row-{name} .noUi-base").bounding_box()
    box = page.locator(f".pairlab-row-{name} .noUi-handle").bounding_box()
    x = box["x"] + box["width"] / 2
    return x, box["y"] + box["height"] / 2, (x - track["x"]) / track["width"]


def dragged(page: Any, kernel: Any, name: str, share: float) -> float:
    """Take a slider's handle with the mouse to a share of its track; return what is set then."""
    track = page.locator(f".pairlab-row-{name} .noUi-base").bounding_box()
    x, y, _ = handle(page, name)
    page.mouse.move(x, y)
    page.mouse.down()
    target = track["x"] + share * track["width"]
    page.mouse.move((x + target) / 2, y, steps=3)
    page.mouse.move(target, y, steps=3)
    page.mouse.up()
    slider = f"document.querySelector('.pairlab-row-{name} .noUi-target').noUiSlider"
    left_at = page.evaluate(f"+{slider}.get()")
    value, off = (10**left_at, 0.5) if name == "window" else (left_at, 1e-3)
    # On its way there the setting was elsewhere, and a slow kernel hears of that later.
    kernel.holds(f"abs(lab.settings.{name} - {value}) <= {off}")
    return setting(kernel, name)


def setting(kernel: Any, name: str) -> float:
    """Return a setting that is a number."""
    return float(kernel.run(f"print(lab.settings.{name})"))
