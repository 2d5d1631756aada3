"""The REST documentation in a real browser that reaches nothing but this machine."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.conftest import Screen, Server


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The command, serving, and where."""
    command = [
        sys.executable, "-m", "pairlab", "serve", "--feed", "demo", "--port", "0",
    ]  # fmt: skip
    server = Server(command, tmp_path_factory.mktemp("rest"), "documentation at", 0)
    try:
        yield re.findall(r"REST at (\S+),", "".join(server.lines))[0]
    finally:
        server.stop()


def test_it_opens_without_the_internet(rest: str, open_page: Callable[..., Screen]) -> None:
    screen = open_page("about:blank")
    page, asked = screen.page, list[str]()

    def only_this_machine(route: Any) -> None:
        asked.append(route.request.url)
        if route.request.url.startswith((rest, "blob:", "data:")):
            route.continue_()
        else:
            route.abort()

    page.route("**/*", only_this_machine)
    page.goto(f"{rest}/docs")
    for path in ("/health", "/analytics/latest", "/analytics/stats/csv", "/alerts", "/config"):
        page.wait_for_selector(f'[data-path="{path}"]')
    page.click('.opblock-get [data-path="/config"]')
    page.click("button:has-text('Try it out')")
    page.click("button:has-text('Execute')")
    page.wait_for_selector('text="hedge_ratio": 25')
    assert f"{rest}/openapi.json" in asked
    assert [url for url in asked if not url.startswith((rest, "blob:", "data:"))] == []
    assert screen.errors == []
