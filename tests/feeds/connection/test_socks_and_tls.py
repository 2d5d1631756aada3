"""A real SOCKS5 proxy and a real certificate: what works, and what is said where it does not."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.binance.reachability import find_problem
from tests.feeds.connection.test_proxy import one_each
from tests.feeds.scripted import PAIR, Catcher, playing, quick, run, running
from tests.feeds.test_environment import clean  # noqa: F401

pytestmark = pytest.mark.usefixtures("no_task_left")

USER, PASSWORD = b"trader", b"secret"
GRANTED, NOT_ALLOWED, HOST_UNREACHABLE = 0, 2, 4


class Socks5:
    """A SOCKS5 proxy (RFC 1928, RFC 1929) that finds every host at one local port."""

    def __init__(self, port: int, answer: int = GRANTED, *, password: bytes | None = None) -> None:
        self.asked: list[tuple[str, int]] = []
        self._port, self._answer, self._password = port, answer, password
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            if not await self._admit(reader, writer):
                return
            _, command, _, kind = await reader.readexactly(4)
            assert command == 1  # CONNECT
            length = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
            host = await reader.readexactly(length)
            port = int.from_bytes(await reader.readexactly(2), "big")
            self.asked.append((host.decode("latin-1"), port))
            writer.write(bytes([5, self._answer, 0, 1, 0, 0, 0, 0, 0, 0]))
            await writer.drain()
            if self._answer == GRANTED:
                there, back = await asyncio.open_connection("127.0.0.1", self._port)
                ends.append(back)
                await asyncio.gather(_copy(reader, back), _copy(there, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went
        finally:
            for end in ends:
                end.close()

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        version, count = await reader.readexactly(2)
        assert version == 5
        offered = await reader.readexactly(count)
        method = 2 if self._password is not None else 0
        writer.write(bytes([5, method if method in offered else 0xFF]))
        if method not in offered:
            return False
        if method == 0:
            return True
        await reader.readexactly(1)
        user = await reader.readexactly((await reader.readexactly(1))[0])
        password = await reader.readexactly((await reader.readexactly(1))[0])
        admitted = (user, password) == (USER, self._password)
        writer.write(bytes([1, 0 if admitted else 1]))
        await writer.drain()
        return admitted


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
def _socks() -> Iterator[None]:
    if not all(importlib.util.find_spec(name) for name in ("socksio", "python_socks")):
        pytest.skip("needs python-socks[asyncio] and socksio")
    yield
    gc.collect()  # here, and not in the next test, where a socket that is left is a fault


# httpcore leaves the socket of a refused SOCKS handshake to the collector, whenever it runs.
LEAVES_SOCKETS = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def said(catcher: Catcher, *words: str) -> Callable[[], bool]:
    return lambda: any(all(w in entry.message for w in words) for entry in catcher.log)


@LEAVES_SOCKETS
@pytest.mark.usefixtures("_socks")
@pytest.mark.parametrize("password", [None, PASSWORD])
@pytest.mark.parametrize(
    ("variable", "scheme"),
    [("ALL_PROXY", "socks5h"), ("https_proxy", "socks5"), ("all_proxy", "socks")],
)
async def test_stream_and_rest_go_through_a_socks_proxy(
    monkeypatch: pytest.MonkeyPatch, password: bytes | None, variable: str, scheme: str
) -> None:
    catcher = Catcher()
    async with playing(one_each) as script:
        proxy = Socks5(int(script.url.rsplit(":", 1)[1]), password=password)
        async with proxy.serving() as address:
            login = "" if password is None else f"{USER.decode()}:{password.decode()}@"
            monkeypatch.setenv(variable, f"{scheme}://{login}{address}")
            feed = BinanceFeed(PAIR, url="ws://exchange.invalid", timeouts=quick())
            await run(feed, catcher)
    assert catcher.count == 2
    assert feed.price_decimals() == (1, 2)  # of REST
    assert set(proxy.asked) == {("exchange.invalid", 80)}
    assert len(proxy.asked) >= 2


@LEAVES_SOCKETS
@pytest.mark.usefixtures("_socks")
@pytest.mark.parametrize(
    ("answer", "password", "why"),
    [
        (HOST_UNREACHABLE, None, "Host unreachable"),
        (NOT_ALLOWED, None, "Connection not allowed by ruleset"),
        (GRANTED, b"another", "assword"),
    ],
)
async def test_a_socks_proxy_that_refuses_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, answer: int, password: bytes | None, why: str
) -> None:
    proxy = Socks5(9, answer, password=password)
    async with proxy.serving() as address:
        login = "" if password is None else f"{USER.decode()}:{PASSWORD.decode()}@"
        monkeypatch.setenv("ALL_PROXY", f"socks5h://{login}{address}")
        named = f"the proxy of ALL_PROXY (socks5h://{address})"
        problem = await find_problem("ws://exchange.invalid")
        assert named in problem
        feed = BinanceFeed(PAIR, url="ws://exchange.invalid", timeouts=quick())
        async with running(feed) as catcher:
            await catcher.until(said(catcher, named, "to exchange.invalid does not work", why))
            await catcher.until(said(catcher, "/fapi/v1/", f"through {named}: is it right"))
            assert feed.health().state == "connecting"
        words = problem + " ".join(entry.message for entry in catcher.log)
    assert PASSWORD.decode() not in words
    assert "object at 0x" not in words
    assert "Traceback" not in words


async def test_a_certificate_that_is_rejected_is_told_with_the_remedy_and_a_named_one_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with playing(one_each, tls=context) as script:
        url = f"wss://localhost:{script.url.rsplit(':', 1)[1]}"
        advice = "set SSL_CERT_FILE to a file that has its certificate, and restart Python"
        assert advice in await find_problem(url)
        async with running(BinanceFeed(PAIR, url=url, timeouts=quick())) as catcher:
            await catcher.until(said(catcher, "stream at", "certificate", advice))
            await catcher.until(said(catcher, "/fapi/v1/", "certificate", advice))
        assert catcher.count == 0
        # As the remedy has it.
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "company.pem"))
        authority.cert_pem.write_to_path(str(tmp_path / "company.pem"))
        catcher, feed = Catcher(), BinanceFeed(PAIR, url=url, timeouts=quick())
        await run(feed, catcher)
        assert catcher.count == 2
        assert feed.price_decimals() == (1, 2)
        # A file of another authority: the variable is named.
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
        problem = await find_problem(url)
        # A folder that holds the certificate under its own name: only its hash is looked for.
        monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        assert "certificate to it (then run 'openssl rehash' on it)" in await find_problem(url)
    assert f"SSL_CERT_FILE = {str(tmp_path / 'other.pem')!r} is set" in problem
    assert "add the missing certificate to it" in problem
