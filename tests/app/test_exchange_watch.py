"""What the terminal is told of the exchange: each change once, and a misspelt symbol at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from pairlab import cli
from pairlab.app.exchange_watch import ExchangeWatch
from pairlab.errors import UnknownSymbolError
from pairlab.schema import Pair
from tests.feeds.connection.test_no_network import closed_port
from tests.feeds.scripted import PAIR, Script, nothing_more, playing

MISSPELT = Pair("BTCUSDT", "ETHUSTD")


class Terminal:
    """Lines that were said, and the wait for as many."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._news = threading.Semaphore(0)

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._news.release()

    def wait(self) -> str:
        assert self._news.acquire(timeout=60), self.lines
        return self.lines[-1]


@pytest.fixture
def script() -> Iterator[Script]:
    """A server on a loop in a thread of its own, as the watch has one."""
    ready, made = threading.Event(), []
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        async with playing(nothing_more) as script:
            made.append(script)
            stop.append((asyncio.get_running_loop(), asyncio.Event()))
            ready.set()
            await stop[0][1].wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(60)
    yield made[0]
    stop[0][0].call_soon_threadsafe(stop[0][1].set)
    thread.join()


def test_each_change_is_told_once(script: Script) -> None:
    terminal = Terminal()
    broken = (503, b"")
    asked = threading.Semaphore(0)

    def rest(path: str, query: dict[str, str]) -> tuple[int, bytes] | None:
        asked.release()
        return broken if down else None

    script.rest, down = rest, True
    with ExchangeWatch(PAIR, terminal, script.url, every_s=0.01) as watch:
        first = terminal.wait()
        assert "HTTP 503" in first
        assert first.endswith(
            "The page is served all the same, and tries again every 30 s or sooner"
        )
        watch.refuse()  # nothing is wrong with the command
        for _ in range(5):
            assert asked.acquire(timeout=60)
        down = False
        assert terminal.wait() == "the exchange answers again"
        for _ in range(5):
            assert asked.acquire(timeout=60)
        down = True
        assert "HTTP 503" in terminal.wait()
    assert len(terminal.lines) == 3


def test_a_misspelt_symbol_is_refused_when_it_is_known(script: Script) -> None:
    terminal, ended, down = Terminal(), threading.Event(), True
    script.rest = lambda path, query: (503, b"") if down else None
    with ExchangeWatch(MISSPELT, terminal, script.url, every_s=0.01) as watch:
        terminal.wait()
        watch.refuse()  # not known yet: the page is served
        watch.when_refused(ended.set)
        assert not ended.is_set()
        down = False
        assert ended.wait(60)
        with pytest.raises(UnknownSymbolError, match=r"ETHUSTD.*ETHUSDT"):
            watch.refuse(0.0)


def test_without_a_network_nothing_waits_for_it() -> None:
    terminal = Terminal()
    with ExchangeWatch(PAIR, terminal, f"ws://127.0.0.1:{closed_port()}") as watch:
        watch.refuse()
        assert "nothing answers" in terminal.wait()


def test_pairlab_live_ends_before_it_serves_a_misspelt_symbol(
    script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "LIVE_URL", script.url)
    with pytest.raises(SystemExit) as ended:
        cli.main(["live", *MISSPELT, "--port", "0", "--no-browser"])
    assert "pairlab: " in str(ended.value.code)
    assert "ETHUSTD" in str(ended.value.code)
    assert "running at" not in capsys.readouterr().out


def test_pairlab_live_asks_nobody_of_a_pair_that_is_none(
    script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "LIVE_URL", script.url)
    with pytest.raises(SystemExit, match="two different symbols"):
        cli.main(["live", "BTCUSDT", "BTCUSDT", "--port", "0", "--no-browser"])
    assert script.asked == []
    assert capsys.readouterr().out == ""
