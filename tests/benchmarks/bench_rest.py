"""REST beside a bare endpoint of the same framework, on the loop that ticks come on."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI, Response

from pairlab import PairLab
from pairlab.health import RecentQuantiles
from tests.benchmarks.harness import Result, Wanted, benchmark

CONNECTIONS = 50
LOAD_S = 20.0
ROUND_S = 3.0
QUIET_S = 5.0
TICKS_PER_S = 5_000


@dataclass(frozen=True)
class Load:
    """What the clients saw."""

    requests_per_s: float
    errors: int
    p50_ms: float
    p99_ms: float


@asynccontextmanager
async def exchange() -> AsyncIterator[str]:
    """Run the exchange in a process of its own and give its URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pairlab.local_exchange", "--rate", str(TICKS_PER_S),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        while "ws://" not in (line := (await process.stdout.readline()).decode()):
            if not line:
                raise RuntimeError("the exchange ended without an address")
        yield "ws://" + line.split("ws://")[1].split()[0]
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def bare() -> AsyncIterator[int]:
    """Serve one endpoint that does nothing, as the framework's own example does."""
    app = FastAPI()
    body = json.dumps(dict.fromkeys(map(str, range(20)), 1234.5678)).encode()

    @app.get("/analytics/latest")
    async def latest() -> Response:
        return Response(body, media_type="application/json")

    config = uvicorn.Config(
        app, port=0, log_config=None, access_log=False, lifespan="off", http="httptools"
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    task = asyncio.create_task(server.main_loop())
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task
    await server.shutdown()


async def load(port: int, seconds: float) -> Load:
    """Ask from another process over all connections, each as soon as it has its answer."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.processes.http_clients",
        str(port), "/analytics/latest", str(CONNECTIONS), str(seconds),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    return Load(**json.loads(out))


async def measure(rounds: int) -> list[Result]:
    async with exchange() as url, PairLab(feed=url, stream="trade") as lab, bare() as bare_port:
        server = await lab.serve(port=0, token="bench", requests_per_s=1e9)
        await lab.wait_async(2 * TICKS_PER_S, 120)
        many = int(2 * TICKS_PER_S * LOAD_S)

        lab._pipeline.latency_ms = quiet = RecentQuantiles(many)
        await asyncio.sleep(QUIET_S)

        lab._pipeline.latency_ms = loaded = RecentQuantiles(many)
        before, clock = lab.health().ticks, time.perf_counter()
        whole = await load(server.port, LOAD_S)
        ticks_per_s = (lab.health().ticks - before) / (time.perf_counter() - clock)
        health = lab.health()
        lost = sum(health.dropped.values()) + health.missing

        ours, floor = [], []
        for _ in range(rounds):
            ours.append((await load(server.port, ROUND_S)).requests_per_s)
            floor.append((await load(bare_port, ROUND_S)).requests_per_s)
    quiet_p99, (row_p50, row_p99) = quiet.p50_p99()[1], loaded.p50_p99()
    print(
        f"     {whole.requests_per_s:,.0f} requests/s for {LOAD_S:g} s, {whole.errors} errors, "
        f"answers p50 {whole.p50_ms:.1f} ms, p99 {whole.p99_ms:.1f} ms; {ticks_per_s:,.0f} ticks/s"
        f", {lost} lost; tick to row p50 {row_p50:.2f} ms, exchange to receive p99 "
        f"{health.lag_p99_ms:.1f} ms"
    )
    quick, asked = Wanted(ours_at_most=20.0), Wanted(ratio_at_least=0.5)
    errors, busy = Wanted(ours_at_most=0), Wanted(ours_at_least=0.95 * TICKS_PER_S)
    a, b = statistics.median(ours), statistics.median(floor)
    return [
        Result("tick to row p99 under REST load", row_p99, quiet_p99, "without", "ms",
               quiet_p99 / row_p99, "its / ours", str(quick), quick.holds(row_p99, 0), 1),
        Result("failed of 50 connections, 20 s", whole.errors + lost, 0, "none",
               "answers or ticks", 1, "-", str(errors), errors.holds(whole.errors + lost, 1), 1),
        Result("ticks that came meanwhile", ticks_per_s, TICKS_PER_S, "sent", "ticks/s",
               ticks_per_s / TICKS_PER_S, "ours / its", str(busy), busy.holds(ticks_per_s, 1), 1),
        Result("REST beside a bare endpoint", a, b, "bare FastAPI", "requests/s", a / b,
               "ours / its", str(asked), asked.holds(a, a / b), rounds),
    ]  # fmt: skip


@benchmark("50 connections on /analytics/latest while 5,000 ticks/s arrive, beside bare FastAPI")
def rest_load(rounds: int) -> list[Result]:
    return asyncio.run(measure(rounds))
