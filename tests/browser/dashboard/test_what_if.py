"""While a threshold is dragged, the z-score chart shows what it would have made."""

from __future__ import annotations

from tests.browser.conftest import Place
from tests.browser.hands import handle, shows

WORDS = "document.querySelector('.pairlab-zscore .pairlab-supposed').innerText"
GHOSTS = """[...document.querySelectorAll('.pairlab-zscore .dot')].filter(dot => {
    const sim = getComputedStyle(document.querySelector('.pairlab')).getPropertyValue(
        '--pairlab-sim').trim();
    const probe = document.createElement('i');
    probe.style.color = sim;
    document.body.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return getComputedStyle(dot).stroke === colour && dot.checkVisibility();
}).length"""


def test_a_dragged_threshold_shows_its_trades_beside_the_real_ones(place: Place) -> None:
    page = place.page
    with place.kernel() as kernel:
        before = float(kernel.run("print(lab.settings.entry_z)"))
        kernel.run("missing = lab.health().missing")
        shows(page, f"{WORDS} === ''")  # a test before may have moved a threshold, too
        shows(page, f"{GHOSTS} === 0")
        track = page.locator(".pairlab-row-entry_z .noUi-base").bounding_box()
        x, y, _ = handle(page, "entry_z")
        try:
            page.mouse.move(x, y)
            page.mouse.down()
            trades = []
            for z in (1.0, 3.5):  # held down all the time
                page.mouse.move(track["x"] + z / 6.0 * track["width"], y, steps=8)
                kernel.holds(f"abs(lab.settings.entry_z - {z}) < 0.1")
                kernel.holds(
                    "lab.what_if.outcome is not None and "
                    "lab.what_if.outcome.values.entry_z == lab.settings.entry_z"
                )
                trades.append(int(kernel.run("print(lab.what_if.outcome.trades)")))
                shows(page, f"{WORDS}.includes(arg)", f"{trades[-1]:,} trade")
                if z == 1.0:  # at 3.5 there may be none within the chart's span
                    shows(page, f"{GHOSTS} > 0")
            assert trades[0] > trades[1]
            for word in ("net", "costs", "held", "last third", "tried"):
                assert word in page.evaluate(WORDS).lower()
        finally:
            page.mouse.up()
            kernel.run(f"lab.settings.entry_z = {before}")
        shows(page, f"{WORDS} === ''")
        shows(page, f"{GHOSTS} === 0")
        assert kernel.run("print(lab.health().missing == missing)").strip() == "True"
