"""The network's settings of a real machine: what works, and what is named with its remedy."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import ssl
from pathlib import Path

import certifi
import pytest

from pairlab.errors import FeedError, NetworkSetupError
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.binance.rest_client import RestClient
from pairlab.feeds.config import Retry
from pairlab.feeds.environment import find_proxy, tls_context, tls_hint
from tests.feeds.connection.test_proxy import one_each, proxy
from tests.feeds.scripted import PAIR, Catcher, playing, quick, run, running

HOST = "wss://fstream.binance.com/market/stream"
REST = "https://fapi.binance.com"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in (
            "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE",
        ):  # fmt: skip
            monkeypatch.delenv(name)


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize("value", ["http://proxy.corp:3128", "proxy.corp:3128"])
def test_stream_and_rest_take_the_same_proxy(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    for url in (HOST, REST):
        found = find_proxy(url)
        assert found is not None
        assert (found.url, found.variable) == ("http://proxy.corp:3128", name)
    assert find_proxy("ws://127.0.0.1:9") is None


@pytest.mark.parametrize(
    ("exceptions", "url", "excepted"),
    [
        ("*", REST, True),
        ("fapi.binance.com", REST, True),
        ("binance.com", REST, True),
        (".binance.com", REST, True),
        ("*.binance.com", REST, True),
        ("nance.com", REST, False),
        ("localhost, 127.0.0.1,[::1]", REST, False),
        ("[::1],binance.com:443", REST, True),
        ("binance.com:8443", REST, False),
        ("10.0.0.0/8,192.168.0.0/16", "http://10.1.2.3:80", True),
        ("10.0.0.0/8", "http://11.1.2.3:80", False),
        ("10.0.0.0/8", REST, False),
        ("10.1.2.3", "http://10.1.2.3:80", True),
        ("10.1.2.3:81", "http://10.1.2.3:80", False),
        ("[2001:db8::]/32", "http://[2001:db8::5]:80", True),
        ("2001:db8::5", "http://[2001:db8::5]:80", True),
        ("[2001:db8::5]:80", "http://[2001:db8::5]:80", True),
        ("10.0.0.0/99, ///, [::", REST, False),
        ("http://binance.com", REST, True),
        ("BINANCE.COM.", REST, True),
        ("localhost\t127.0.0.1\n.binance.com", REST, True),
        ("nance.com,com.binance,.", REST, False),
    ],
)
async def test_no_proxy_in_every_way_it_is_written(
    monkeypatch: pytest.MonkeyPatch, exceptions: str, url: str, excepted: bool
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.corp:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert (find_proxy(url) is None) is excepted
    async with RestClient("http://exchange.invalid"):
        pass  # the client itself does not trip over it either


@pytest.mark.parametrize(
    "value",
    [
        "http://proxy:port", "gopher://proxy:70", "http://", "http://[::1", "socks4://proxy:1080",
        "http://proxy:99999", "http://user:secret@proxy:3128/path", "http://u:secret%ff@proxy:3128",
        "http://user:12#secret@proxy:3128", "http://user:12?secret@proxy:3128",
        "http://user:secret/12@proxy:3128", f"http://user:secret@{'p' * 64}:3128",
        "socks5://user:secr\u00e9t@proxy:1080",
    ],
)  # fmt: skip
async def test_a_proxy_that_cannot_be_one_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    feed = BinanceFeed(PAIR, url="ws://exchange.invalid", timeouts=quick())
    with pytest.raises(NetworkSetupError, match=r"^ALL_PROXY.*correct or unset it.*restart"):
        await run(feed, Catcher())
    assert feed.health().state == "failed"
    assert "ALL_PROXY" in feed.health().detail
    assert not re.search("secr|12|\u00e9", feed.health().detail)  # nothing of a password


@pytest.mark.parametrize(
    ("value", "taken", "shown"),
    [
        ("socks://proxy:1080/", "socks5h://proxy:1080", "socks://proxy:1080"),  # as GNOME has it
        ("socks5://proxy", "socks5h://proxy:1080", "socks5://proxy"),  # whose names it looks up
        ("HTTP://user@proxy:3128/", "http://user:@proxy:3128", "http://proxy:3128"),
        ("user:p%23@w@[::1]:3128", "http://user:p%23@w@[::1]:3128", "http://[::1]:3128"),
    ],
)
def test_what_programs_write_is_made_what_the_libraries_take(
    monkeypatch: pytest.MonkeyPatch, value: str, taken: str, shown: str
) -> None:
    monkeypatch.setenv("all_proxy", value)
    for url in (HOST, REST):
        found = find_proxy(url)
        assert found is not None
        assert (found.url, found.variable, found.shown) == (taken, "all_proxy", shown)


def test_of_two_spellings_the_one_that_holds_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://capital.corp:1")
    monkeypatch.setenv("https_proxy", "http://small.corp:1")
    found = find_proxy(REST)
    assert found is not None
    assert (found.shown, found.variable) == ("http://small.corp:1", "https_proxy")


@pytest.mark.parametrize("value", ["", "  "])
def test_a_blank_variable_is_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    assert find_proxy(REST) is None


@pytest.mark.usefixtures("no_task_left")
async def test_all_proxy_serves_the_stream_too(monkeypatch: pytest.MonkeyPatch) -> None:
    catcher = Catcher()
    async with (
        playing(one_each) as script,
        proxy(int(script.url.rsplit(":", 1)[1])) as (address, asked),
    ):
        monkeypatch.setenv("ALL_PROXY", address)
        monkeypatch.setenv("NO_PROXY", "10.0.0.0/8,[::1],localhost")
        await run(BinanceFeed(PAIR, url="ws://exchange.invalid", timeouts=quick()), catcher)
    assert catcher.count == 2
    assert "CONNECT exchange.invalid:80" in asked
    assert "GET http://exchange.invalid/fapi/v1/exchangeInfo" in asked


async def test_a_socks_proxy_works_or_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@127.0.0.1:9")  # nobody there
    feed = BinanceFeed(
        PAIR, url="ws://exchange.invalid", timeouts=quick(), retry=Retry(delays=lambda: iter(()))
    )
    with pytest.raises(FeedError) as caught:
        await run(feed, Catcher())
    words = str(caught.value)
    assert "ALL_PROXY" in words
    assert "secret" not in words
    if all(importlib.util.find_spec(name) for name in ("socksio", "python_socks")):
        assert "through the proxy of ALL_PROXY" in words
    else:
        assert "pip install" in words
        assert "unset ALL_PROXY" in words


@pytest.mark.usefixtures("no_task_left")
@pytest.mark.parametrize("login", ["user@", "user:p%C3%A9%23@", "us er:p\u00e9 x@"])
async def test_every_login_reaches_an_http_proxy(
    monkeypatch: pytest.MonkeyPatch, login: str
) -> None:
    catcher = Catcher()
    async with (
        playing(one_each) as script,
        proxy(int(script.url.rsplit(":", 1)[1])) as (address, asked),
    ):
        monkeypatch.setenv("HTTPS_PROXY", address.replace("//", f"//{login}"))
        await run(BinanceFeed(PAIR, url="ws://exchange.invalid", timeouts=quick()), catcher)
    assert catcher.count == 2
    assert "CONNECT exchange.invalid:80" in asked


@pytest.mark.usefixtures("no_task_left")
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", "HTTP 407"),
        (None, "did not answer within"),
    ],
    ids=["wants a login", "silent"],
)
async def test_a_proxy_that_lets_nothing_through_is_named(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None, why: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer or b"")
        if answer is None:
            await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@{address}")
        timeouts = quick(open_s=0.5, rest_s=0.5)
        async with running(
            BinanceFeed(PAIR, url="ws://exchange.invalid", timeouts=timeouts)
        ) as catcher:
            named = f"the proxy of HTTPS_PROXY (http://{address})"
            for what in ("/fapi/v1/", "to exchange.invalid" if answer else "the stream at"):
                await catcher.until(
                    lambda what=what: any(
                        what in e.message and named in e.message for e in catcher.log
                    )
                )
        said = " ".join(entry.message for entry in catcher.log)
    assert why in said
    assert "secret" not in said


@pytest.mark.usefixtures("no_task_left")
async def test_a_proxy_that_does_not_run_is_named_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@127.0.0.1:9")
    feed = BinanceFeed(PAIR, url="ws://exchange.invalid", timeouts=quick())
    async with running(feed) as catcher:
        await catcher.until(lambda: any("stream at" in e.message for e in catcher.log))
        said = " ".join(entry.message for entry in catcher.log)
        assert "HTTPS_PROXY (http://127.0.0.1:9)" in said
        assert "secret" not in said
        assert feed.health().state == "connecting"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "there is no such file"),
        ("SSL_CERT_FILE", "{folder}", "there is no such file"),
        ("SSL_CERT_FILE", "{empty}", "it has no certificates"),
        ("SSL_CERT_FILE", "{garbage}", "it has no certificates"),
        ("SSL_CERT_DIR", "/nowhere", "there is no such folder"),
        ("SSLKEYLOGFILE", "/nowhere/keys.log", "No such file"),
    ],
)
async def test_a_stale_certificate_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, why: str
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "garbage").write_text("no certificate\n")
    paths = {"folder": tmp_path, "empty": tmp_path / "empty", "garbage": tmp_path / "garbage"}
    monkeypatch.setenv(name, value.format(**paths))
    feed = BinanceFeed(PAIR, timeouts=quick())
    with pytest.raises(NetworkSetupError, match=rf"^{name} = .*{why}.*correct or unset it"):
        await run(feed, Catcher())
    assert name in feed.health().detail


@pytest.mark.usefixtures("no_task_left")
async def test_a_local_exchange_needs_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    catcher = Catcher()
    async with playing(one_each) as script:
        await run(BinanceFeed(PAIR, url=script.url, timeouts=quick()), catcher)
    assert catcher.count == 2


def test_the_usual_certificates_and_a_named_file_are_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert tls_context().cert_store_stats()["x509_ca"] > 50
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    assert tls_context().cert_store_stats()["x509_ca"] > 50
    assert tls_context().verify_mode is ssl.CERT_REQUIRED


def test_a_certificate_that_is_not_accepted_is_told_with_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = ssl.SSLCertVerificationError("unable to get local issuer certificate")
    assert "set SSL_CERT_FILE to a file" in tls_hint(OSError()) + tls_hint(problem)
    assert tls_hint(OSError()) == ""
    monkeypatch.setenv("SSL_CERT_FILE", "/there/ca.pem")
    assert "SSL_CERT_FILE = '/there/ca.pem' is set" in tls_hint(problem)
