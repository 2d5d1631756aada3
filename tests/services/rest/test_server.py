"""The server's lifetime: from serve() until the lab stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys

import httpx
import psutil
import pytest

from pairlab import PairLab, PairlabError
from pairlab.feeds.base import TickSink
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.local_exchange import LocalExchange
from pairlab.schema import Pair
from tests.ahead import Ahead
from tests.services.rest.conftest import ServeLab

pytestmark = pytest.mark.usefixtures("no_task_left")


def connections(port: int) -> list[str]:
    """Return the states of this process's sockets on a port."""
    return [
        c.status for c in psutil.Process().net_connections("tcp")
        if c.laddr.port == port and c.status != psutil.CONN_TIME_WAIT
    ]  # fmt: skip


def listening_ports() -> set[int]:
    """Return the ports on which this process accepts connections."""
    own = psutil.Process().net_connections("tcp")
    return {c.laddr.port for c in own if c.status == psutil.CONN_LISTEN}


async def test_it_ends_with_the_lab_and_leaves_nothing(serve_lab: ServeLab) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with serve_lab() as served:
        port = served.server.port
        assert repr(served.server) == f"<RestServer http://127.0.0.1:{port} serving>"
        assert (await served.client.get("/health")).status_code == 200
        await served.lab.stop()
        assert repr(served.server).endswith("ended>")
        assert psutil.CONN_LISTEN not in connections(port)
        with pytest.raises(httpx.TransportError):
            await served.client.get("/health")
        await served.lab.stop()
        await served.server.stop()
        assert len(served.lab._runner.listeners) == 0
        with pytest.raises(PairlabError, match="started lab"):
            await served.lab.serve(port=0)
        served.lab.start()
        again = await served.lab.serve(port=port)
        assert again.port == port
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.slow
async def test_a_stop_while_it_starts_leaves_no_server(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=0) as served:
        lab, ended = served.lab, set()
        for turns in range(1, 60, 3):
            await lab.stop()
            lab.start()
            listening = listening_ports()
            serving = asyncio.create_task(lab.serve(port=0))
            for _ in range(turns):
                await asyncio.sleep(0)
            await lab.stop()
            (outcome,) = await asyncio.gather(serving, return_exceptions=True)
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, PairlabError)
                assert "the lab was stopped before it could be served" in str(outcome)
            else:
                assert repr(outcome).endswith("ended>")
            ended.add(type(outcome))
            assert listening_ports() == listening
        assert PairlabError in ended  # else no stop came in time


class EndingFeed(BinanceFeed):
    """A feed that comes to its end by itself, as a recording does."""

    def __init__(self, url: str) -> None:
        super().__init__(Pair("BTCUSDT", "ETHUSDT"), url=url)
        self.end = asyncio.Event()

    async def run(self, sink: TickSink) -> None:
        run = asyncio.create_task(super().run(sink))
        try:
            await self.end.wait()
        finally:
            self.end.clear()
            run.cancel()
            await asyncio.wait((run,))


async def test_it_outlives_the_feed() -> None:
    async with LocalExchange(Ahead(200, seed=3, rate_per_s=2000)) as exchange:
        feed = EndingFeed(exchange.url)
        async with PairLab(feed=feed) as lab:
            server = await lab.serve(port=0)
            async with httpx.AsyncClient(base_url=server.url) as client:
                await lab.wait_async(200, 60)
                feed.end.set()
                await lab.wait_closed()
                health = await client.get("/health")
                assert health.status_code == 503
                assert health.json()["state"] == "stopped"
                rows = (await client.get("/analytics/stats?limit=10000")).json()["rows"]
                assert len(rows) == len(lab.history()) >= 200
                lab.start()
                await lab.wait_async(lab.health().rows + 100, 60)
                assert (await client.get("/health")).status_code == 200


async def test_one_port_serves_once(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=0) as served:
        port = served.server.port
        with pytest.raises(PairlabError, match=f"port {port} on 127.0.0.1 is in use"):
            await served.lab.serve(port=port)
        second = await served.lab.serve(port=0)
        assert second.port not in (0, port)
        for bad in (-1, 65_536, "8000", 1.5):
            with pytest.raises(PairlabError, match="expected 0 to 65535"):
                await served.lab.serve(port=bad)  # type: ignore[arg-type]
        with pytest.raises(PairlabError, match="not an address of this machine"):
            await served.lab.serve("no.such.host.invalid", port=0)
        with pytest.raises(PairlabError, match=r"cannot listen on 203\.0\.113\.1"):
            await served.lab.serve("203.0.113.1", port=0)
        with pytest.raises(PairlabError, match="requests_per_s = 0"):
            await served.lab.serve(port=0, requests_per_s=0)
        assert (await served.client.get("/config")).status_code == 200


async def test_the_next_lab_takes_the_port_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairlab.services.rest.server._SHUTDOWN_TIMEOUT_S", 0.3)
    async with LocalExchange(Ahead(9000, seed=3, rate_per_s=3000)) as exchange:
        first = PairLab(feed=exchange.url).start()
        port = (await first.serve(port=0)).port
        await first.wait_async(9000, 60)
        with contextlib.closing(socket.socket()) as raw:  # holds the first one's end up
            await ask_and_read_nothing(raw, port)
            await first.wait_async(first.health().rows + 1000, 60)
            second = PairLab(feed=exchange.url, window=77).start()  # the cell is run again
            server = await second.serve(port=port)
        async with httpx.AsyncClient(base_url=server.url) as client:
            assert (await client.get("/config")).json()["window"] == 77
        await second.stop()


async def ask_and_read_nothing(raw: socket.socket, port: int) -> None:
    """Ask for the CSV over a bare socket, which reads no more than it is told to."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", port))
    request = f"GET /analytics/stats/csv HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
    await loop.sock_sendall(raw, request.encode())


async def test_a_stalled_transfer_does_not_hold_the_end_up(
    serve_lab: ServeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairlab.services.rest.server._SHUTDOWN_TIMEOUT_S", 0.3)
    async with serve_lab(rows=6000) as served:
        with contextlib.closing(socket.socket()) as raw:
            await ask_and_read_nothing(raw, served.server.port)
            await served.lab.wait_async(served.lab.health().rows + 1000, 60)
            async with asyncio.timeout(20):
                await served.lab.stop()
            assert connections(served.server.port) == []


@pytest.mark.slow
async def test_a_reader_too_slow_for_the_history_gets_a_broken_file(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=6000, history_rows=6000, rate_per_s=10_000.0) as served:
        with contextlib.closing(socket.socket()) as raw:
            await ask_and_read_nothing(raw, served.server.port)
            await served.lab.wait_async(served.lab.health().rows + 9000, 60)
            got = b""
            while piece := await asyncio.get_running_loop().sock_recv(raw, 65536):
                got += piece
        assert not got.endswith(b"\r\n0\r\n\r\n")  # what ends a whole answer
        assert any("cut off" in entry.message for entry in served.lab.event_log)
        assert (await served.client.get("/config")).status_code == 200


async def test_a_download_that_nobody_reads_is_aborted(
    serve_lab: ServeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairlab.services.rest.rest_api._STALL_TIMEOUT_S", 0.3)
    async with serve_lab(rows=12_000) as served:
        with contextlib.closing(socket.socket()) as raw:
            await ask_and_read_nothing(raw, served.server.port)
            while "aborted" not in served.lab.event_log[-1].message:
                await served.lab.wait_async(served.lab.health().rows + 100, 60)
        assert (await served.client.get("/config")).status_code == 200


async def test_a_generated_token_is_printed_once(
    serve_lab: ServeLab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAIRLAB_TOKEN", raising=False)
    async with serve_lab(rows=0, serve={"token": None}) as served:
        said = capsys.readouterr().out
        (token,) = re.findall(r"shown only now: (\S{32,})", said)
        right = {"Authorization": f"Bearer {token}"}
        got = await served.client.post("/config", json={"entry_z": 3}, headers=right)
        assert got.status_code == 200
        assert token not in repr(served.server) + repr(vars(served.server))
        assert not any(token in entry.message for entry in served.lab.event_log)
    monkeypatch.setenv("PAIRLAB_TOKEN", "from-the-environment")
    async with serve_lab(rows=0, serve={"token": None, "host": "0.0.0.0"}) as served:
        said = capsys.readouterr().out
        assert "from-the-environment" not in said
        assert "without encryption" in said
        right = {"Authorization": "Bearer from-the-environment"}
        assert (await served.client.get("/config", headers=right)).status_code == 200


@pytest.mark.slow
def test_a_missing_package_is_named() -> None:
    code = (
        "import asyncio, sys\n"
        "sys.modules['uvicorn'] = None\n"
        "from pairlab import PairLab\n"
        "async def main():\n"
        "    async with PairLab(feed='demo') as lab:\n"
        "        await lab.serve(port=0)\n"
        "asyncio.run(main())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: uvicorn is not installed" in run.stderr
    assert 'pip install "pairlab[api]"' in run.stderr


@pytest.mark.slow
def test_importing_pairlab_imports_no_web_framework() -> None:
    code = (
        "import sys, pairlab, pairlab.cli\n"
        "print([m for m in ('fastapi', 'uvicorn', 'starlette', 'pydantic') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


async def test_outside_its_loop_it_is_refused() -> None:
    with pytest.raises(PairlabError, match="started lab"):
        await PairLab("BTCUSDT", "ETHUSDT").serve(port=0)


@contextlib.asynccontextmanager
async def command(*arguments: str, **environment: str):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "pairlab", "serve", "--port", "0", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def output_until(process: asyncio.subprocess.Process, words: str) -> str:
    assert process.stdout is not None
    said = ""
    while words not in said:
        line = (await process.stdout.readline()).decode()
        assert line, said
        said += line
    return said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_command_serves_until_a_signal(number: signal.Signals) -> None:
    async with command("--feed", "demo", "SOLUSDT", "ETHUSDT", PAIRLAB_TOKEN="t") as process:
        said = await output_until(process, "documentation")
        (url,) = re.findall(r"REST at (\S+),", said)
        async with httpx.AsyncClient(base_url=url) as client:
            health = (await client.get("/health")).json()
            assert (health["y"], health["x"], health["feed"]) == ("SOLUSDT", "ETHUSDT", "SIMULATED")
            assert (await client.get("/config")).json()["hedge"] == "ols"
        process.send_signal(number)
        out, err = await process.communicate()
        # On a busy machine the feed logs that the loop was late; a fault would be no such line.
        faults = [line for line in err.splitlines() if b" INFO pairlab.feeds." not in line]
        assert (process.returncode, out, faults) == (0, b"", [])


@pytest.mark.slow
async def test_the_command_tells_what_failed() -> None:
    async with command("--feed", "/no/such/recording") as process:
        _, err = await process.communicate()
        assert process.returncode == 1
        assert err.startswith(b"pairlab: feed = '/no/such/recording'")
        assert b"Traceback" not in err
    async with command("BTCUSDT") as process:
        _, err = await process.communicate()
        assert b"a pair is two symbols" in err
