"""`pairlab demo` in a process of its own: its terminal, its kernels, and who may ask it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.feeds.connection.test_no_network import closed_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PROGRAM = """
from pairlab.app import visitor_kernels
visitor_kernels.VisitorKernels.abandoned_after_s.default_value = {abandoned_after_s}
{pings}
from pairlab.cli import main; main()
"""
PATIENT = PROGRAM.format(abandoned_after_s=3_600.0, pings="")
HASTY = PROGRAM.format(
    abandoned_after_s=4.0,
    pings="visitor_kernels.PING_SETTINGS.update(ws_ping_interval=500, ws_ping_timeout=1_500)",
)
INTERRUPTED = "[IPKernelApp] ERROR | KeyboardInterrupt caught in kernel.\n"
"""Jupyter interrupts each kernel before it asks it to end; one that is answering then says so."""

DEAF = """
import contextlib, time
from pairlab.app import server
def busy():
    with contextlib.suppress(BaseException):  # as in a finalizer, whose exceptions are ignored
        time.sleep(0.2)
    server.IOLoop.current().call_later(0.001, busy)
listen = server.DashboardServer.listen
def listen_busily(self):
    server.IOLoop.current().add_callback(busy)
    listen(self)
server.DashboardServer.listen = listen_busily
"""


@dataclass
class Demo:
    """The running command."""

    process: asyncio.subprocess.Process
    url: str
    said: list[str] = field(default_factory=list)
    kernel: str = ""

    async def visit(self) -> str:
        """Ask for the page as a program does, and return the id of its kernel."""
        async with httpx.AsyncClient(timeout=120, trust_env=False) as client:
            page = await client.get(self.url)
        assert page.status_code == 200
        (kernel,) = re.findall(r'"kernelId": "([0-9a-f-]+)"', page.text)
        return str(kernel)

    def channel(self, kernel: str, *protocols: str) -> connect:
        """Return a connection to a kernel, as a page opens it."""
        url = self.url.replace("http", "ws") + f"api/kernels/{kernel}/channels?session_id=s"
        return connect(
            url,
            origin=self.url.rstrip("/"),  # type: ignore[arg-type]
            subprotocols=[*protocols] or ["v1.kernel.websocket.jupyter.org"],  # type: ignore[list-item]
            proxy=None,
            max_size=None,
            max_queue=None,  # it reads on, and answers pings, though nobody looks at what came
        )

    def kernels(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    async def until(self, number: int) -> None:
        """Wait until so many kernels run."""
        async with asyncio.timeout(120):
            while len(self.kernels()) != number:  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.1)

    async def end(self) -> None:
        """Press Ctrl-C; see that it took its kernels along, and what it said to the last."""
        if self.process.returncode is not None:
            return
        assert self.process.stdout is not None
        family = self.kernels()
        self.process.send_signal(signal.SIGINT)
        self.said += (await self.process.stdout.read()).decode().splitlines(keepends=True)
        assert await self.process.wait() == 0
        _, left = await asyncio.to_thread(psutil.wait_procs, family, 10)
        assert not left

    @property
    def said_too_much(self) -> list[str]:
        """What is not for the user."""
        return [s for s in self.said if not s.startswith("pairlab: ") and s != INTERRUPTED]


@contextlib.asynccontextmanager
async def demo(program: str, home: Path, *command: str) -> AsyncIterator[Demo]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *(command or ["demo"]), "--no-browser", "--port", "0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "HOME": str(home), "USERPROFILE": str(home)},
    )  # fmt: skip
    assert process.stdout is not None
    said: list[str] = []
    try:
        while not (said and "running at" in said[-1]):
            said.append((await process.stdout.readline()).decode())
            assert said[-1], said
        (url,) = re.findall(r"is running at (http://127\.0\.0\.1:\d+/)  \(Ctrl-C", said[-1])
        running = Demo(process, url, said)
        yield running
        await running.end()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def read_only(folder: Path) -> Path:
    """Return a home in which nobody can make a file, not even root."""
    folder.mkdir(mode=0o555)
    return folder if os.geteuid() else Path("/sys")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """One command for the tests that leave it as it was; its home is read-only."""
    async with demo(PATIENT, read_only(tmp_path_factory.mktemp("demo") / "home")) as running:
        running.kernel = await running.visit()
        yield running


@pytest.mark.asyncio(loop_scope="module")
async def test_foreign_hosts_and_origins_reach_no_path_of_it(shared: Demo) -> None:
    kernel = shared.kernel
    paths = (
        "", "x", "login", f"api/kernels/{kernel}", f"api/kernels/{kernel}/channels",
        f"voila/api/shutdown/{kernel}", "voila/api/themes/x", "voila/static/voila.js",
        "voila/files/x", "voila/templates/pairlab/static/x", "voila/labextensions/x",
    )  # fmt: skip
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        for path in paths:
            for headers in ({"Host": "evil.com"}, {"Origin": "http://evil.com"},
                            {"Host": "evil.com", "Origin": "http://evil.com"}):  # fmt: skip
                for method in ("GET", "POST", "DELETE"):
                    got = await client.request(method, shared.url + path, headers=headers)
                    assert got.status_code == (421 if "Host" in headers else 403), (path, headers)
        assert len(shared.kernels()) == 1
        async with shared.channel(kernel):
            pass
        assert (await client.get(shared.url + "voila/static/voila.js")).status_code == 200


@pytest.mark.asyncio(loop_scope="module")
async def test_a_client_of_the_older_protocol_cannot_halt_it(shared: Demo) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await shared.channel(shared.kernel, "another").__aenter__()
    assert refused.value.response.status_code == 400
    async with shared.channel(shared.kernel) as channel:
        assert await channel.recv()


@pytest.mark.asyncio(loop_scope="module")
async def test_the_terminal_has_what_the_user_needs_and_no_more(shared: Demo) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(shared.url + "favicon.ico", follow_redirects=True)
        await client.get(shared.url, headers={"Host": "evil.com"})
        await client.post(shared.url + "voila/api/shutdown/nothing")
    await shared.end()
    assert shared.said
    assert shared.said_too_much == []
    assert "evil" not in "".join(shared.said)


async def test_live_is_served_without_a_network_and_says_why_it_shows_nothing(
    tmp_path: Path,
) -> None:
    url = f"ws://127.0.0.1:{closed_port()}"
    program = f"from pairlab import cli; cli.LIVE_URL = {url!r}; cli.main()"
    async with demo(program, tmp_path, "live") as running:
        async with httpx.AsyncClient(trust_env=False) as client:
            # Whatever it makes of an unknown path (404, or a login's 302): the server answers.
            assert (await client.get(running.url + "no/such/page")).status_code < 500
        await running.end()
    assert running.said_too_much == []
    (told,) = (line for line in running.said if "cannot be reached" in line)
    assert "nothing answers at this address: check firewall and VPN" in told
    assert "The page is served all the same, and tries again every 30 s or sooner" in told


async def test_kernels_of_visitors_who_vanish_are_ended(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.touch()  # a file: nothing can be kept in it, either
    async with demo(HASTY, home) as running:
        stays = await running.visit()
        async with running.channel(stays):
            (kept,) = running.kernels()
            # A bare GET, twice, and one whose kernel does not answer either.
            await asyncio.gather(*(running.visit() for _ in range(2)))
            frozen = next(kernel for kernel in running.kernels() if kernel != kept)
            frozen.suspend()
            # One that leaves before the page is complete.
            async with (
                httpx.AsyncClient(trust_env=False, timeout=120) as client,
                client.stream("GET", running.url) as page,
            ):
                assert await anext(page.aiter_bytes())
            # A browser that is killed, and one that freezes: it answers no ping.
            killed = await running.channel(await running.visit())
            killed.transport.abort()
            still = await running.channel(await running.visit())
            freeze(still)
            await running.until(1)
            assert running.kernels() == [kept]
            still.transport.abort()
        await running.until(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_is_not_lost_where_exceptions_are_ignored(
    tmp_path: Path, number: int
) -> None:
    """A KeyboardInterrupt was: the server ran on, and Ctrl-C had to be pressed again."""
    program = PROGRAM.format(abandoned_after_s=3_600.0, pings=DEAF)
    async with demo(program, tmp_path) as running:
        await running.visit()
        family = running.kernels()
        assert family
        async with asyncio.timeout(60):
            running.process.send_signal(number)
            assert await running.process.wait() == 0
        _, left = await asyncio.to_thread(psutil.wait_procs, family, 10)
        assert not left


def freeze(connection: ClientConnection) -> None:
    connection.transport.pause_reading()
