"""One PostgreSQL and one TimescaleDB for all tests of this folder."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.database.servers import Server, timescale

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    # Not pytest's own folder: it is closed to the user whom the server runs as.
    with tempfile.TemporaryDirectory(prefix="pairlab-postgres-") as folder:
        found = Server(Path(folder))
        found.start()
        yield found
        found.stop("immediate")


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """An empty database of PostgreSQL."""
    with server.database(f"test {next(_NUMBERS)}") as found:
        yield found


@pytest.fixture(scope="session")
def timescale_url() -> Iterator[str]:
    """A TimescaleDB, which all tests share: each takes a schema of its own."""
    with timescale() as found:
        yield found
