"""In a notebook: the server runs on the kernel's own event loop."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import start_new_kernel


@pytest.fixture
def kernel() -> Iterator[BlockingKernelClient]:
    """A real kernel."""
    manager, client = start_new_kernel(kernel_name="python3")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(client: BlockingKernelClient, code: str) -> str:
    """Run a cell and return what it printed and showed."""
    said: list[str] = []

    def hear(message: dict) -> None:  # type: ignore[type-arg]
        content = message["content"]
        assert message["msg_type"] != "error", "\n".join(content["traceback"])
        said.append(content.get("text", "") or content.get("data", {}).get("text/plain", ""))

    client.execute_interactive(code, timeout=120, output_hook=hear, store_history=True)
    return "".join(said)


@pytest.mark.slow
def test_cells_run_again_wait_and_end_it(kernel: BlockingKernelClient) -> None:
    run(kernel, "from pairlab import PairLab")
    cell = "lab = PairLab('BTCUSDT', 'ETHUSDT', feed='demo', window={})\nlab.start()\n"
    said = run(kernel, cell.format(20) + "await lab.serve(port=0)")
    (url,) = re.findall(r"REST at (\S+),", said)
    assert len(re.findall("shown only now", said)) == 1
    port = url.rsplit(":", 1)[1]
    with httpx.Client(base_url=url, timeout=30) as client:
        run(kernel, "lab.wait(rows=25)")  # a nested loop, which the server lives through
        assert client.get("/health").json()["ready"] is True
        assert client.get("/config").json()["window"] == 20
        # The same cell again, on the same port: the second lab takes the first one's place.
        said = run(kernel, cell.format(30) + f"await lab.serve(port={port})")
        assert f"REST at {url}," in said
        assert client.get("/config").json()["window"] == 30
        run(kernel, "await lab.stop()")
        with pytest.raises(httpx.TransportError):
            client.get("/health")
    run(kernel, "import asyncio; assert not [t for t in asyncio.all_tasks() if 'pairlab' in "
        "t.get_name()]")  # fmt: skip
