"""A lab on a synthetic market over real sockets, its server, and a client."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

# Importing these reads files, which would block a test's event loop.
import pairlab.services.rest.server
import pairlab.widgets  # noqa: F401
from pairlab import PairLab
from pairlab.local_exchange import LocalExchange
from pairlab.services.rest.server import RestServer
from tests.ahead import Ahead

TOKEN = "a-token-of-the-tests"


@dataclass
class Served:
    """What a test talks to, and what it compares the answers with."""

    lab: PairLab
    server: RestServer
    client: httpx.AsyncClient

    async def get(self, path: str, status: int = 200, **query: Any) -> Any:
        """Return the JSON of a path, which must hold no NaN."""
        response = await self.client.get(path, params=query)
        assert response.status_code == status, response.text
        return read(response) if response.content else None

    async def change(self, status: int = 200, **settings: Any) -> Any:
        """Change settings with the token, and return the JSON of the answer."""
        response = await self.client.post(
            "/config", json=settings, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        assert response.status_code == status, response.text
        return read(response)


def read(response: httpx.Response) -> Any:
    """Return the JSON of an answer; NaN and infinities are no JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in {response.url}")

    assert response.headers["content-type"] == "application/json"
    return json.loads(response.content, parse_constant=refuse)


ServeLab = Callable[..., contextlib.AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve_lab(no_task_left: None) -> ServeLab:
    """Return a factory of served labs with the requested number of rows."""

    @asynccontextmanager
    async def make(rows: int = 300, **options: Any) -> AsyncIterator[Served]:
        served = {
            "port": 0, "token": TOKEN, "requests_per_s": 1e6, "changes_per_s": 1e6,
            **options.pop("serve", {}),
        }  # fmt: skip
        market = Ahead(rows, seed=11, rate_per_s=options.pop("rate_per_s", 3000.0))
        async with (
            LocalExchange(market) as exchange,
            PairLab(feed=exchange.url, **{"window": 60, **options}) as lab,
        ):
            server = await lab.serve(**served)
            async with httpx.AsyncClient(base_url=server.url) as client:
                if rows:
                    await lab.wait_async(rows, 60)
                yield Served(lab, server, client)

    return make
