"""What the dashboard's server refuses before any path is looked up, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from pairlab.app.request_router import GuardedRouter
from pairlab.net import listen

PATHS = ("/", "/api/kernels/1", "/api/kernels/1/channels", "/voila/static/x.js", "/nowhere")


class Page(RequestHandler):
    served = 0

    def get(self) -> None:
        Page.served += 1
        self.write("page")

    post = delete = get


class Channel(WebSocketHandler):
    def open(self) -> None:  # type: ignore[override]
        self.write_message("open")

    def check_origin(self, origin: str) -> bool:
        return True  # so that only the router can refuse


@pytest.fixture
async def port() -> AsyncIterator[int]:
    application = Application([("/channel", Channel), (r"/(?!nowhere).*", Page)])
    listener = listen("127.0.0.1", 0)
    server = HTTPServer(GuardedRouter(application))
    server.add_socket(listener)
    yield listener.getsockname()[1]
    server.stop()
    await server.close_all_connections()


async def ask(port: int, path: str = "/", method: str = "GET", **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    # Plain HTTP: to load the certificates of each new client would take longer than the test.
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        return await client.request(method, f"http://127.0.0.1:{port}{path}", headers=sent)


async def test_unknown_hosts_are_refused_on_every_path(port: int) -> None:
    ours = (f"127.0.0.1:{port}", "localhost", f"LOCALHOST:{port}", "[::1]:1", "127.8.8.8",
            "localhost.", "localhost:9000")  # fmt: skip
    for host in ours:  # another port: forwarded, as ssh -L does
        assert (await ask(port, Host=host)).status_code == 200, host
    Page.served = 0
    foreign = ("evil.com", f"evil.com:{port}", "127.0.0.1.evil.com", "localhost.evil.com",
               "10.0.0.1", "0.0.0.0", "localhost:x", "a@localhost", "127.0.0.1_")  # fmt: skip
    for host in foreign:
        for path in PATHS:
            for method in ("GET", "POST", "DELETE"):
                got = await ask(port, path, method, Host=host)
                assert got.status_code in (400, 421), (host, path, method)
    assert Page.served == 0
    refused = await ask(port, Host="evil.com")
    assert refused.status_code == 421
    assert "http://127.0.0.1" in refused.text


@pytest.mark.parametrize(
    "request_lines",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.com\r\n\r\n",
        b"GET http://localhost/ HTTP/1.1\r\nHost: evil.com\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff.com\r\n\r\n",
    ],
)
async def test_a_missing_or_double_host_is_refused(port: int, request_lines: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_lines)
    status = (await reader.readline()).split()[1]
    writer.close()
    await writer.wait_closed()
    assert status in (b"400", b"421")


async def test_pages_of_other_sites_are_refused(port: int) -> None:
    own = f"127.0.0.1:{port}"
    for origin in ("https://evil.com", "null", "http://127.0.0.1:1", f"http://localhost:{port}",
                   f"http://{own}.evil.com", "file://"):  # fmt: skip
        for path in PATHS:
            got = await ask(port, path, "POST", Origin=origin)
            assert got.status_code == 403, (origin, path)
    assert (await ask(port, Origin=f"http://{own}")).status_code == 200


async def test_a_page_elsewhere_cannot_embed_this_one(port: int) -> None:
    """An image, frame or script of another site sends no Origin, and starts a kernel each."""
    for site in ("cross-site", "same-site"):
        for kind in ("image", "iframe", "script", "empty", "object"):
            got = await ask(port, Sec_Fetch_Site=site, Sec_Fetch_Dest=kind)
            assert got.status_code == 403, (site, kind)
        link = await ask(port, Sec_Fetch_Site=site, Sec_Fetch_Dest="document")
        assert link.status_code == 200
    for site in ("none", "same-origin"):
        assert (await ask(port, Sec_Fetch_Site=site, Sec_Fetch_Dest="empty")).status_code == 200


async def test_websockets_are_guarded_alike(port: int) -> None:
    url = f"ws://127.0.0.1:{port}/channel"
    async with connect(url, origin=f"http://127.0.0.1:{port}", proxy=None) as channel:  # type: ignore[arg-type]
        assert await channel.recv() == "open"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, origin="http://evil.com", proxy=None).__aenter__()  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
    # A page whose name was rebound to this machine: Host and Origin agree.
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /channel HTTP/1.1\r\nHost: evil.com\r\nOrigin: http://evil.com\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert b" 421 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
