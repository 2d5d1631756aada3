"""What every test gets: recorded data, a loop that must not block, and no task left behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings
from xdist.scheduler.loadscope import LoadScopeScheduling

# A run says the same twice, on a busy machine too; `--hypothesis-profile=explore` looks further.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2_000, deadline=None)
settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run browser tests last: Playwright's own loop runs from the first of them to the end.

    Whatever asks for the recordings is marked ``data``, as tests/browser marks its own ``browser``.
    """
    for item in items:
        if "recorded" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)
    items.sort(key=lambda item: "browser" in item.path.parts)


IN_ONE_WORKER = ("tests/browser/", "tests/backtesting/sweeping/test_cluster.py")


class OneByOne(LoadScopeScheduling):  # type: ignore[misc]  # untyped
    """Hand out tests one by one, but to one worker those that share servers which start slowly.

    xdist's own ``loadgroup`` does not see its groups under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((name for name in IN_ONE_WORKER if nodeid.startswith(name)), nodeid)


@pytest.hookimpl(optionalhook=True)  # there is none without xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneByOne:
    """Return how two workers share the tests."""
    return OneByOne(config, log)


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of real recordings; skips where there is none."""
    folder = os.environ.get("PAIRLAB_DATA")
    if not folder:
        pytest.skip("PAIRLAB_DATA is unset: it names the folder of recorded market data")
    return Path(folder)


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """Fail a test whose event loop runs a blocking call of ours."""
    with blockbuster_ctx(scanned_modules=["pairlab"]) as guard:
        yield guard


@pytest.fixture(autouse=True)
def asyncio_run_stays() -> Iterator[None]:
    """Undo what waiting in a cell does to `asyncio.run`: nest_asyncio2's leaves its loop open."""
    run = asyncio.run
    yield
    asyncio.run = run


@pytest_asyncio.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task on its loop."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    ours = {asyncio.current_task(), *before}
    left = {task for task in asyncio.all_tasks() if task not in ours and not task.done()}
    assert not left, f"left on the loop: {left}"
