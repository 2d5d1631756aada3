"""Access control: token, host, origin, rate limits."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from pairlab import PairlabError
from pairlab.services.rest.security import TokenBuckets, token_from
from tests.services.rest.conftest import TOKEN, Served, ServeLab, read

WRONG: list[dict[str, str]] = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer x"},
    {"Authorization": f"Bearer {TOKEN}x"},
    {"Authorization": f"Bearer {TOKEN[:-1]}"},
    {"Authorization": f"Bearer {TOKEN.upper()}"},
    {"Authorization": f"Basic {TOKEN}"},
    {"Authorization": TOKEN},
    {"Authorization": "Bearer té"},
]


async def ask(served: Served, method: str, path: str, **options: Any) -> httpx.Response:
    headers = {k: v.encode("latin-1") for k, v in options.pop("headers", {}).items()}
    return await served.client.request(method, path, headers=headers, **options)


async def test_wrong_missing_and_empty_tokens_fail_alike(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=0) as served:
        before = served.lab.settings.values()
        answers = set()
        for headers in WRONG:
            got = await ask(served, "POST", "/config", json={"entry_z": 3}, headers=headers)
            told = {k: v for k, v in got.headers.items() if k != "date"}
            answers.add((got.status_code, got.content, tuple(sorted(told.items()))))
        assert len(answers) == 1
        assert answers.pop()[0] == 401
        # Nor does a bad body tell a stranger anything.
        for body in (b"{", b'{"nope": 1}', b"x" * 50_000):
            assert (await ask(served, "POST", "/config", content=body)).status_code == 401
        assert served.lab.settings.values() == before
        for scheme in ("Bearer", "bearer", "BEARER"):
            right = {"Authorization": f"{scheme} {TOKEN}"}
            got = await ask(served, "POST", "/config", json={"entry_z": 3}, headers=right)
            assert got.status_code == 200
        for path in ("/health", "/analytics/stats", "/alerts", "/config", "/docs"):
            assert (await ask(served, "GET", path)).status_code in (200, 503)


async def test_beyond_loopback_reading_requires_the_token(serve_lab: ServeLab) -> None:
    paths = ("/health", "/analytics/latest", "/analytics/stats", "/analytics/stats/csv", "/alerts",
             "/config")  # fmt: skip
    right = {"Authorization": f"Bearer {TOKEN}"}
    async with serve_lab(serve={"host": "0.0.0.0", "allowed_hosts": ["lab.example"]}) as served:
        for path in paths:
            for headers in WRONG:
                assert (await ask(served, "GET", path, headers=headers)).status_code == 401, path
            assert (await ask(served, "GET", path, headers=right)).status_code == 200, path
        for path in ("/docs", "/openapi.json", "/docs/files/swagger-ui.css"):
            assert (await ask(served, "GET", path)).status_code == 200, path
        url = served.server.url.replace("http", "ws") + "/stream"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url).__aenter__()
        assert refused.value.response.status_code == 401
        async with connect(url, additional_headers=right) as ws:
            assert await ws.recv()
        for host in ("lab.example", "192.168.1.7", "[fe80::1]:8000", "localhost:1"):
            assert (await ask(served, "GET", "/docs", headers={"Host": host})).status_code == 200
        for host in ("evil.example", "lab.example.evil.example"):
            assert (await ask(served, "GET", "/docs", headers={"Host": host})).status_code == 421


async def test_unknown_hosts_are_refused(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=0, serve={"allowed_hosts": ["Lab.Example"]}) as served:
        port = served.server.port
        for host in (f"127.0.0.1:{port}", "localhost", "LOCALHOST:80", "[::1]:1", "lab.example.",
                     "127.8.8.8"):  # fmt: skip
            assert (await ask(served, "GET", "/config", headers={"Host": host})).status_code == 200
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "10.0.0.1",
                     "localhost:x", "localhost:80:80", "", "a@localhost", "[::1", "localhost/x",
                     "127.0.0.1_"):  # fmt: skip
            got = await ask(served, "GET", "/config", headers={"Host": host})
            assert got.status_code in (400, 421), host
        url = served.server.url.replace("http", "ws") + "/stream"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers={"Host": "evil.example"}).__aenter__()
        assert refused.value.response.status_code in (400, 421)


async def test_pages_of_other_sites_are_refused(serve_lab: ServeLab) -> None:
    async with serve_lab() as served:
        ours = served.server.url
        foreign = ("https://evil.example", "null", "http://127.0.0.1:1", "http://localhost:80",
                   ours + ".evil.example", "file://")  # fmt: skip
        right = {"Authorization": f"Bearer {TOKEN}"}
        stream = ours.replace("http", "ws") + "/stream"
        for origin in foreign:
            for method, path in (("GET", "/config"), ("POST", "/config"), ("OPTIONS", "/config")):
                got = await ask(
                    served, method, path, headers={"Origin": origin, **right}, json={"entry_z": 3}
                )
                assert got.status_code == 403, (origin, method)
                assert not any(name.startswith("access-control") for name in got.headers)
            with pytest.raises(InvalidStatus) as refused:
                await connect(stream, origin=origin).__aenter__()  # type: ignore[arg-type]
            assert refused.value.response.status_code == 403
        assert served.lab.settings.entry_z == 2.0
        own = {"Origin": ours, **right}
        got = await ask(served, "POST", "/config", headers=own, json={"entry_z": 3})
        assert got.status_code == 200
        assert not any(name.startswith("access-control") for name in got.headers)
        async with connect(stream, origin=ours) as ws:  # type: ignore[arg-type]
            assert await ws.recv()
        preflight = await ask(served, "OPTIONS", "/config", headers={"Origin": ours})
        assert preflight.status_code == 405


async def test_rate_limits(serve_lab: ServeLab) -> None:
    async with serve_lab(rows=0, serve={"changes_per_s": 0.05}) as served:
        guesses = [(await ask(served, "POST", "/config")).status_code for _ in range(3)]
        assert guesses == [401, 429, 429]
        assert (await ask(served, "GET", "/config")).status_code == 200
    async with serve_lab(rows=0, serve={"requests_per_s": 0.05}) as served:
        assert (await ask(served, "GET", "/config")).status_code == 200
        last = await ask(served, "GET", "/config")
        assert read(last)["detail"] == "too many requests: slow down"
        assert int(last.headers["retry-after"]) >= 1


def test_token_buckets_refill_and_stay_bounded() -> None:
    buckets = TokenBuckets(per_s=10.0, burst=3.0, max_clients=100)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take("a", 0.0) == pytest.approx(0.1)
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 0.11) == 0.0
    assert buckets.take("a", 0.11) > 0
    for _ in range(3):
        assert buckets.take("a", 1000.0) == 0.0
    assert buckets.take("a", 1000.0) > 0
    for number in range(1000):
        buckets.take(str(number), 1000.0)
    assert len(buckets._clients) == 100


def test_tokens_are_validated_or_generated() -> None:
    assert token_from(" mine ") == ("mine", False)
    for nothing in (None, "", "  "):
        token, made = token_from(nothing)
        assert made
        assert len(token) >= 32
        assert token_from(nothing)[0] != token
    for bad in ("two words", "schlüssel", "a\nb"):
        with pytest.raises(PairlabError, match="printable ASCII"):
            token_from(bad)
