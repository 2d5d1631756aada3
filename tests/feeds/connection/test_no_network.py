"""Without a network: what is wrong, what to do, and when the next try comes, as of now."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest

from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.binance.reachability import find_problem
from pairlab.feeds.config import Retry
from pairlab.feeds.environment import unreachable
from tests.feeds.scripted import PAIR, nothing_more, playing, quick, running


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.usefixtures("no_task_left")
async def test_the_countdown_runs_and_the_log_promises_no_stream() -> None:
    url = f"ws://127.0.0.1:{closed_port()}"
    feed = BinanceFeed(PAIR, url=url, timeouts=quick(), retry=Retry(delays=lambda: iter([50.0])))
    async with running(feed) as catcher:
        await catcher.until(lambda: any("retrying" in entry.message for entry in catcher.log))
        await asyncio.sleep(0)
        left = []
        for _ in range(2):
            health = feed.health()
            found = re.search(r"trying again in ([\d.]+) s$", health.detail)
            assert found is not None, health.detail
            left.append(float(found[1]))
            await asyncio.sleep(0.3)
        assert 50.0 >= left[0] > left[1]
        assert health.state == "connecting"
        assert "nothing answers at this address: check firewall and VPN" in health.detail
        said = " ".join(entry.message for entry in catcher.log)
        assert "continues without" not in said
        assert "Symbols and clock are asked for again, automatically." in said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(-3, "Temporary failure in name resolution"), "check network, VPN and DNS"),
        (OSError(101, "Network is unreachable"), "check cable, Wi-Fi and VPN"),
        (ConnectionRefusedError(111, "refused"), "nothing answers"),
        (OSError("something else"), "something else"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_what_is_wrong_is_told_in_plain_words(error: Exception, words: str) -> None:
    outer = RuntimeError("outer")
    outer.__cause__ = error
    assert words in unreachable(error)
    if words.startswith(("check", "nothing")):
        assert unreachable(outer) == unreachable(error)


async def test_reachability_is_asked_once_and_told_in_a_sentence() -> None:
    async with playing(nothing_more) as script:
        assert await find_problem(script.url) == ""
        assert [path for path, _ in script.asked] == ["time"]
    problem = await find_problem(f"ws://127.0.0.1:{closed_port()}")
    assert "cannot be reached: nothing answers at this address" in problem
    assert problem.endswith(".")


HTML = b"<!doctype html><html><body>Log in to the hotel's Wi-Fi</body></html>"


@pytest.mark.usefixtures("no_task_left")
@pytest.mark.parametrize(
    "head",
    ["200 OK", "302 Found\r\nLocation: http://portal.invalid/", "511 Network Authentication"],
)
async def test_the_log_in_page_of_a_network_is_told_as_one(head: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        fields = f"HTTP/1.1 {head}\r\nContent-Type: text/html\r\nContent-Length: {len(HTML)}"
        writer.write(f"{fields}\r\n\r\n".encode() + HTML)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        told = f"answered HTTP {head[:3]}, which is not the exchange's answer: the log-in page of a"
        assert told in await find_problem(f"ws://{address}")
        async with running(BinanceFeed(PAIR, url=f"ws://{address}", timeouts=quick())) as catcher:
            for where in ("the stream at", "/fapi/v1/"):
                await catcher.until(
                    lambda where=where: any(
                        where in entry.message and told in entry.message for entry in catcher.log
                    )
                )
