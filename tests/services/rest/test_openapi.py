"""Schemathesis requests every path, with what its schema allows and what it forbids."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.services.rest.conftest import TOKEN, ServeLab

# What JSON Schema cannot express: which settings contradict each other, which cursors were issued,
# that a range must not end before its start, and that /health may respond with 503.
CONFIG = """
[[operations]]
include-path-regex = "/config|/analytics/stats|/alerts"
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "410", "422"]

[[operations]]
include-path = "/health"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "503"]
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_schemathesis_finds_nothing(serve_lab: ServeLab, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    await asyncio.to_thread(config.write_text, CONFIG)
    async with serve_lab(rate_per_s=100.0, rows=100) as served:
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"), "--config-file", config, "run",
            f"{served.server.url}/openapi.json", "-H", f"Authorization: Bearer {TOKEN}",
            "--max-examples", "15", "--generation-deterministic", "--no-color",
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdout is not None
        said = (await process.stdout.read()).decode()
        assert await process.wait() == 0, said
        assert "Tested: 7" in said
        assert "No issues found" in said
        errors = [entry for entry in served.lab.event_log if entry.level == "error"]
        assert errors == []
        assert served.lab.health().state == "live"
