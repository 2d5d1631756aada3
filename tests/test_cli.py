"""The `pairlab` command: what is wrong with it is one line, before anything is served."""

from __future__ import annotations

import gzip
import io
import os
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pairlab
from pairlab.app.board_app import board_for_page
from pairlab.cli import main
from pairlab.errors import warn_user
from pairlab.local_exchange.__main__ import main as exchange_main
from pairlab.terminal import warnings_as_lines


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"pairlab {pairlab.__version__}\n"


def test_a_warning_of_ours_is_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_, **__: others.append(message))
    with warnings_as_lines():
        warnings.simplefilter("always")
        warn_user("the label is a guess")
        warnings.warn("another's", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "pairlab: the label is a guess\n"
    assert [str(message) for message in others] == ["another's"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["trade"], "invalid choice"),
        (["demo", "--speed", "0"], "expected a number above 0, or 'max'"),
        (["demo", "--speed", "nan"], "expected a number above 0, or 'max'"),
        (["demo", "--speed", "inf"], "expected a number above 0, or 'max'"),
        (["live", "--stream", "kline"], "invalid choice: 'kline'"),
        *(
            ([command, "--port", port], f"'{port}' is invalid: expected 0 to 65535")
            for command in ("demo", "live", "serve")
            for port in ("70000", "-1", "65536", "8866.0", "http")
        ),
    ],
)
def test_usage_errors(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


TRADE = (
    '{time} {{"stream":"{name}@trade","data":{{"e":"trade","E":1,"T":1,"s":"X","t":1,"p":"2.0",'
    '"q":"1","X":"MARKET","m":true}}}}\n'
)


def recording(path: Path, *symbols: str) -> str:
    """Write a recording with one trade of each symbol."""
    lines = [
        TRADE.format(time=1_700_000_000_000_000_000 + n, name=name.lower())
        for n, name in enumerate(symbols)
    ]
    path.write_text("".join(lines))
    return str(path)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a command that must end before it compiles or serves, and return what it says."""

    def serves(*_: object) -> None:
        pytest.fail("it went on to serve")

    monkeypatch.setattr("pairlab.cli.compile_kernel", serves)

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = str(ended.value.code)  # sys.exit writes a text to standard error, and exits with 1
        assert said.startswith("pairlab: ")
        assert "\n" not in said
        return said.removeprefix("pairlab: ")

    return run


@pytest.mark.parametrize("command", ["demo", "live", "serve"])
def test_a_pair_is_two_different_symbols(command: str, refused: Callable[..., str]) -> None:
    for pair in (("BTCUSDT", "BTCUSDT"), ("btcusdt", "BTCUSDT")):
        assert "must be two different symbols" in refused(command, *pair)
    assert refused(command, "BTCUSDT") == "a pair is two symbols, y and x; got 1"
    assert refused(command, "BTCUSDT", "ETHUSDT", "X") == "a pair is two symbols, y and x; got 3"


def test_what_is_no_recording_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    def demo(*arguments: str) -> str:
        return refused("demo", *arguments)

    gone, empty, notes = tmp_path / "gone", tmp_path / "empty", tmp_path / "notes"
    assert demo("--recording", str(gone)) == f"no such recording: {gone}"
    empty.mkdir()
    assert demo("--recording", str(empty)) == f"{empty}: no recording in this folder"
    notes.mkdir()
    (notes / "todo.txt").write_text("buy milk\n")
    assert demo("--recording", str(notes)).startswith(f"{notes}/todo.txt, line 1: expected ")
    (tmp_path / "nothing").touch()
    assert "contains no messages" in demo("--recording", str(tmp_path / "nothing"))
    whole = gzip.compress(Path(recording(tmp_path / "one", "BTCUSDT", "ETHUSDT")).read_bytes())
    (tmp_path / "cut.gz").write_bytes(whole[:-9])
    assert "damaged or cut short" in demo("--recording", str(tmp_path / "cut.gz"))
    assert "feed = 'binanse' is invalid" in refused("serve", "--feed", "binanse")
    assert refused("serve", "--feed", str(empty)) == f"{empty}: no recording in this folder"
    assert "give --recording, too" in demo("--speed", "10")


def test_a_recording_must_have_the_pair(tmp_path: Path, refused: Callable[..., str]) -> None:
    three = recording(tmp_path / "three", "SOLUSDT", "XRPUSDT", "BNBUSDT")
    for command in (("demo", "--recording"), ("serve", "--feed")):
        said = refused(*command, three)
        assert said == (
            "name the pair, y and x: the recording has trade messages of BNBUSDT, SOLUSDT, XRPUSDT"
        )
        said = refused(command[0], "SOLUSDT", "ETHUSDT", command[1], three)
        assert said == (
            "the recording has no trade messages of ETHUSDT; it has those of BNBUSDT, SOLUSDT, "
            "XRPUSDT"
        )
        said = refused(command[0], "--stream", "aggTrade", command[1], three)
        assert said.startswith("the recording has no messages of aggTrade; it has bnbusdt@trade")


@pytest.mark.parametrize(
    ("symbols", "asked", "shown"),
    [
        (("ETHUSDT", "SOLUSDT", "BTCUSDT"), (), ("BTCUSDT", "ETHUSDT")),
        (("SOLUSDT", "XRPUSDT"), (), ("SOLUSDT", "XRPUSDT")),
        (("ETHUSDT", "SOLUSDT", "BTCUSDT"), ("solusdt", "ETHUSDT"), ("SOLUSDT", "ETHUSDT")),
        ((), ("SOLUSDT", "ETHUSDT"), ("SOLUSDT", "ETHUSDT")),
    ],
)
def test_the_demo_shows_the_pair(
    symbols: tuple[str, ...],
    asked: tuple[str, ...],
    shown: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pairlab.app import AppOptions, lab_for_page

    def serves(*_: object, **options: bool) -> None:
        assert options.pop("stoppable")(print) is None  # nothing watches an exchange
        assert options == {"open_browser": True}
        raise StopIteration

    monkeypatch.setenv("PAIRLAB_APP", "{}")  # as it was, after the test
    monkeypatch.setattr("pairlab.cli.compile_kernel", lambda *_: None)
    monkeypatch.setattr("pairlab.app.server.serve_dashboard", serves)
    files = ("--recording", recording(tmp_path / "file", *symbols)) if symbols else ()
    with pytest.raises(StopIteration):
        main(["demo", *asked, *files, "--port", "0"])
    lab = lab_for_page(os.environ)
    assert lab.pair == shown
    assert lab.settings.hedge == ("fixed" if shown == ("BTCUSDT", "ETHUSDT") else "ols")
    assert AppOptions.from_environment(os.environ).recording == list(files[1:])


def test_a_replay_is_of_paths_and_then_a_pair(tmp_path: Path, refused: Callable[..., str]) -> None:
    three = recording(tmp_path / "three", "SOLUSDT", "XRPUSDT", "BNBUSDT")
    gone = str(tmp_path / "gone")
    assert refused("replay", gone) == f"{gone}: no such file or folder"
    assert refused("replay", gone, "SOLUSDT", "XRPUSDT") == f"{gone}: no such file or folder"
    assert refused("replay", three, "SOLUSDT") == "SOLUSDT: no such file or folder"
    assert refused("replay", three).startswith("name the pair, y and x: the recording has trade ")
    said = refused("replay", three, "SOLUSDT", "ETHUSDT")
    assert said.startswith("the recording has no trade messages of ETHUSDT; it has those of BNB")
    assert "must be two different symbols" in refused("replay", three, "solusdt", "SOL/USDT")
    table = tmp_path / "mine.csv"
    table.write_text("time,symbol,price\n1723075200,SOLUSDT,1\n1723075201,XRPUSDT,2\n")
    said = refused("replay", str(table), "SOLUSDT", "ETHUSDT")
    assert said == "the recording has no ticks of ETHUSDT; it has those of SOLUSDT, XRPUSDT"
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    assert "no column is known to be the time" in refused("replay", str(tmp_path / "odd.csv"))


def test_a_replay_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pairlab import Replay
    from pairlab.app import lab_for_page

    def serves(*_: object, **options: bool) -> None:
        assert options.pop("stoppable")(print) is None  # nothing watches an exchange
        assert options == {"open_browser": False}
        raise StopIteration

    monkeypatch.setenv("PAIRLAB_APP", "{}")  # as it was, after the test
    monkeypatch.setattr("pairlab.cli.compile_kernel", lambda *_: None)
    monkeypatch.setattr("pairlab.app.server.serve_dashboard", serves)
    monkeypatch.chdir(tmp_path)
    recording(tmp_path / "three", "SOLUSDT", "XRPUSDT", "BNBUSDT")
    for speed, want in (("10", 10.0), ("max", float("inf"))):
        with pytest.raises(StopIteration):
            main(
                ["replay", "three", "xrpusdt", "SOLUSDT", "--speed", speed, "--no-browser",
                 "--port", "0"]
            )  # fmt: skip
        lab = lab_for_page(os.environ)
        assert lab.pair == ("XRPUSDT", "SOLUSDT")
        replay = lab.playback
        assert isinstance(replay, Replay)
        assert (replay.speed, replay.paths) == (want, (tmp_path / "three",))


@pytest.mark.parametrize("command", [["demo"], ["live"], ["board", "BTCUSDT,ETHUSDT"]], ids=str)
def test_no_folder_for_temporary_files_is_told_in_a_line(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., str],
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)  # looked for anew
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [f"{tmp_path}/none"])
    told = refused(*command, "--no-browser", "--port", "0")
    assert told.startswith("cannot write temporary files (No usable temporary directory")
    assert "TMPDIR names another folder" in told


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_in_use_is_told_before_an_address_is(
    taken: int, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("demo", "live"):
        said = refused(command, "--port", str(taken))
        assert said.startswith(f"port {taken} on 127.0.0.1 is in use")
        assert "http" not in capsys.readouterr().out


def terminal(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", write_through=True)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437", "cp932", "latin-1", "utf-8"])
def test_every_terminal_can_show_every_text(
    encoding: str, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    out, err = terminal(encoding), terminal(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    for command in ([], ["demo"], ["live"], ["replay"], ["serve"]):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
        assert ended.value.code == 0
    with pytest.raises(SystemExit) as ended:
        exchange_main(["--help"])
    assert ended.value.code == 0
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--port", "→ 8866 Ⓢ 币 \udcff"])
    assert ended.value.code == 2
    print("z ≤ −0.50 · β → 25 币")
    said = out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert "--recording PATH" in said
    if encoding == "cp1252":
        assert "z <= -0.50 · beta -> 25 \\u5e01" in said
        assert "dashboard on Binance USDS-M Futures" in said
    elif encoding == "utf-8":
        assert "z ≤ −0.50 · β → 25 币" in said


def test_ctrl_c_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pairlab.cli.compile_kernel", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--port", "0"])
    assert ended.value.code == 130


def test_a_board_is_of_symbols_or_of_pairs(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not both" in refused("board", "BTCUSDT", "SOLUSDT,AVAXUSDT")
    assert refused("board", "A,B,C").startswith("A,B,C: a pair is two symbols")
    assert "two different symbols" in refused("board", "BTCUSDT,btcusdt")
    assert "timeframe = '1min'" in refused("board", "BTCUSDT,ETHUSDT", "--timeframe", "1min")
    assert "feed = 'benance'" in refused("board", "--feed", "benance")
    served: list[str] = []
    monkeypatch.setattr("pairlab.cli.compile_kernel", lambda *_, **__: None)
    monkeypatch.setattr(
        "pairlab.app.server.serve_dashboard",
        lambda notebook, *_, **__: served.append(notebook.name),
    )
    monkeypatch.setenv("PAIRLAB_BOARD", "")
    main(["board", "BTCUSDT,ETHUSDT", "--feed", "demo", "--port", "0", "--timeframe", "1s"])
    assert served == ["board.ipynb"]
    board = board_for_page()
    assert board.pairs == (("BTCUSDT", "ETHUSDT"),)
    assert board["BTCUSDT", "ETHUSDT"].settings.timeframe == "1s"
