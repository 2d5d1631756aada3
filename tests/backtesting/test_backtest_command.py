"""`pairlab backtest`, run as the command line runs it."""

import json

import pandas as pd
import pytest

from pairlab import backtest
from pairlab.cli import main
from tests.backtesting.test_inputs import PAIR, archived, frame_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return archived(frame_of(), tmp_path_factory.mktemp("archive") / "files")


SET = ["--set", "window=20", "--set", "entry_z=1.5", "--set", "stop_z=off", "--set", "hedge=ols"]


def test_it_prints_what_the_function_returns(folder, capsys, tmp_path):
    out = tmp_path / "figures.json"
    page = tmp_path / "report.html"
    more = ["--csv", str(tmp_path / "csv"), "--html", str(page)]
    main(["backtest", str(folder), *SET, "--json", str(out), *more])
    want = backtest(folder, pair=PAIR, window=20, entry_z=1.5, hedge="ols")
    assert want.metrics.trades > 10
    printed = capsys.readouterr()
    assert printed.out == f"{want}\n"
    assert "6 files in" in printed.err
    assert "<title>Backtest of BTCUSDT / ETHUSDT</title>" in page.read_text(encoding="utf-8")
    assert json.loads(out.read_text()) == json.loads(json.dumps(want.to_dict()))
    trades = pd.read_csv(tmp_path / "csv" / "trades.csv", index_col="trade")
    assert trades["net"].tolist() == want.trades["net"].tolist()


def test_json_to_stdout_is_json_alone_and_options_count(folder, capsys):
    files = [str(path) for path in sorted(folder.iterdir())]
    more = ["--slippage", "1.5", "--latency", "0.2", "--capital", "5000", "--json", "-"]
    main(["backtest", *files, "--pair", "ethusdt", "btcusdt", "--set", "window=20", *more])
    read = json.loads(capsys.readouterr().out)
    assert read["pair"] == ["ETHUSDT", "BTCUSDT"]
    assert read["settings"]["hedge"] == "ols"
    assert read["costs"]["slippage_bps"] == 1.5
    assert read["costs"]["latency_s"] == 0.2
    assert read["costs"]["capital"] == 5000.0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "entri_z=2"], "did you mean 'entry_z'"),
        (["--set", "entry_z"], "expected NAME=VALUE"),
        (["--set", "entry_z=0.1"], "entry_z = 0.1 is invalid"),
        (["--set", "entry_z=high"], "entry_z = 'high' is invalid"),
        (["--slippage", "-1"], "slippage_bps = -1.0 is invalid"),
        (["--capital", "0"], "capital = 0.0 is invalid"),
        (["--funding", "none.csv", "none.csv"], "none.csv"),
        (["--json", "/nowhere/at/all.json"], "/nowhere/at/all.json: No such file"),
    ],
)
def test_what_is_wrong_is_one_line(folder, arguments, says):
    with pytest.raises(SystemExit) as ended:
        main(["backtest", str(folder), *SET, *arguments])
    assert str(ended.value.code).startswith("pairlab: ")
    assert says in str(ended.value.code)
    assert "\n" not in str(ended.value.code)


def test_a_path_that_is_not_there_is_named():
    with pytest.raises(SystemExit) as ended:
        main(["backtest", "/nowhere.zip"])
    assert "/nowhere.zip" in str(ended.value.code)
