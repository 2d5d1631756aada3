"""The `pairlab` command: version, usage errors, and messages of one line."""

from __future__ import annotations

from pathlib import Path

import pytest

import pairlab
from pairlab.cli import main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"pairlab {pairlab.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["trade"], "invalid choice"),
        (["demo", "--speed", "0"], "expected a number above 0, or 'max'"),
        (["live", "--stream", "kline"], "invalid choice: 'kline'"),
    ],
)
def test_usage_errors(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_an_error_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"^pairlab: no such recording: {tmp_path}/gone$"):
        main(["demo", "--recording", str(tmp_path / "gone")])
    with pytest.raises(SystemExit, match=r"^pairlab: a pair is two symbols, y and x; got 1$"):
        main(["live", "BTCUSDT"])
