"""A lab with real rows, and every message that its widgets would send to a browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm
from ipywidgets import Widget

import pairlab.widgets  # noqa: F401  (its modules read files: not on a test's loop)
from pairlab import PairLab
from pairlab.local_exchange import LocalExchange
from tests.ahead import Ahead


@dataclass
class Wire:
    """What went over the comms, as ipywidgets wrote it."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    open: set[str] = field(default_factory=set)

    def take(self) -> list[dict[str, Any]]:
        """Return the messages since the last call."""
        taken, self.sent = self.sent, []
        return taken

    def bytes(self) -> int:
        """Bytes of the binary buffers not yet taken."""
        return sum(memoryview(b).nbytes for m in self.sent for b in m["buffers"])


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """Record what ipywidgets publishes; without a kernel it would go nowhere."""
    wire = Wire()

    class RecordingComm(BaseComm):
        def publish_msg(
            self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None,
            **keys: Any,
        ) -> None:  # fmt: skip
            if msg_type == "comm_open":
                wire.open.add(self.comm_id)
            elif msg_type == "comm_close":
                wire.open.discard(self.comm_id)
            wire.sent.append(
                {"type": msg_type, "id": self.comm_id, "data": data or {}, "buffers": buffers or []}
            )

    monkeypatch.setattr(comm, "create_comm", RecordingComm)
    yield wire
    Widget.close_all()


MakeLab = Callable[..., Any]


@pytest.fixture
def running_lab(no_task_left: None) -> MakeLab:
    """Give labs on a synthetic market over a real socket, as fast as it goes, with enough rows."""

    @asynccontextmanager
    async def make(rows: int = 600, **options: Any) -> AsyncIterator[PairLab]:
        of = options.pop("market", {})
        market = Ahead(rows, seed=11, speed=options.pop("speed", 20.0), **of)
        symbols = options.pop("symbols", ("BTCUSDT", "ETHUSDT"))
        async with LocalExchange(market) as exchange:
            lab = PairLab(*symbols, feed=exchange.url, **{"window": 60, **options})
            async with lab:
                await lab.wait_async(rows, 60)
                yield lab
            for view in list(lab._runner._displays):
                view.close()

    return make


async def settled(condition: Callable[[], bool], lab: PairLab, timeout_s: float = 10.0) -> None:
    """Let the lab's loop turn until `condition` holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0)
            lab.dashboard().render_loop.paint(due=True)
