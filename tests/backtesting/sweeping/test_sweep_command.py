"""`pairlab sweep`, run as the command line runs it."""

import json

import pandas as pd
import pytest

from pairlab import Costs, sweep
from pairlab.backtesting.sweeping.sweep_command import grid_of
from pairlab.cli import main
from tests.backtesting.test_inputs import PAIR, archived, frame_of

SET = ["--set", "hedge=ols", "--set", "min_correlation=-1", "--slippage", "0.5"]
GRID = ["--grid", "entry_z=1.2:2:0.4", "--grid", "window=20,40"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return archived(frame_of(), tmp_path_factory.mktemp("archive") / "files")


def test_it_prints_and_writes_what_the_function_returns(folder, capsys, tmp_path):
    out, table = tmp_path / "sets.json", tmp_path / "sets.csv"
    files = ["--json", str(out), "--csv", str(table)]
    main(["sweep", str(folder), *SET, *GRID, "--objective", "sharpe", *files])
    want = sweep(
        folder, {"entry_z": [1.2, 1.6, 2.0], "window": [20, 40]}, objective="sharpe", pair=PAIR,
        costs=Costs(None, 0.5), hedge="ols", min_correlation=-1.0,
    )  # fmt: skip
    assert want.n_trials == 6
    assert want.frame["trades"].min() > 3
    printed = capsys.readouterr().out
    assert printed.startswith(f"{want}\n")
    first = printed.removeprefix(f"{want}\n").splitlines()[1].split()
    assert [float(first[0]), int(float(first[1]))] == list(want.best.values())
    read = json.loads(out.read_text())
    assert read == json.loads(json.dumps(want.to_dict()))
    assert read["best"] == want.best
    assert [s["net_profit"] for s in read["sets"]] == want.frame["net_profit"].tolist()
    assert pd.read_csv(table, index_col="set")["sharpe"].tolist() == want.frame["sharpe"].tolist()


def test_json_to_stdout_is_json_alone_and_a_draw_is_one(folder, capsys):
    main(["sweep", str(folder), *SET, *GRID, "--max-tries", "3", "--seed", "5", "--json", "-"])
    assert json.loads(capsys.readouterr().out)["n_trials"] == 3


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("entry_z=1.5:3:0.25", [1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0]),
        ("entry_z=1.5:1.9:0.1", [1.5, 1.6, 1.7, 1.8, 1.9]),
        ("entry_z=1:2:0.4", [1.0, 1.4, 1.8]),
        ("window=20:40:10", [20, 30, 40]),
        ("timeframe=tick,1s", ["tick", "1s"]),
        ("stop_z=off,4", [None, 4.0]),
    ],
)
def test_a_range_has_both_ends(text, values):
    assert list(grid_of([text]).values()) == [values]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--grid", "entri_z=1:2:0.5"], "did you mean 'entry_z'"),
        (["--grid", "entry_z"], "expected NAME=START:STOP:STEP"),
        (["--grid", "entry_z="], "expected NAME=START:STOP:STEP"),
        (["--grid", "entry_z=1:2"], "expected NAME=START:STOP:STEP"),
        (["--grid", "entry_z=1:high:1"], "expected NAME=START:STOP:STEP"),
        (["--grid", "entry_z=1:2:0"], "STEP above 0"),
        (["--grid", "entry_z=2:1:0.1"], "START ≤ STOP"),
        (["--grid", "entry_z=1:2:1e-9"], "at most 1,000,000 values"),
        (["--grid", "entry_z=1,2", "--grid", "entry_z=3"], "given already"),
        (["--grid", "entry_z=1,high"], "entry_z = 'high' is invalid"),
        (["--grid", "entry_z=2:3:0.001", "--grid", "stop_z=4:5:0.001"], "1,002,001 sets"),
        (["--grid", "entry_z=2", "--max-tries", "0"], "max_tries = 0 is invalid"),
        (["--grid", "entry_z=2", "--csv", "/nowhere/at/all.csv"], "/nowhere/at"),
    ],
)
def test_what_is_wrong_is_one_line(folder, arguments, says):
    with pytest.raises(SystemExit) as ended:
        main(["sweep", str(folder), *SET, *arguments])
    assert str(ended.value.code).startswith("pairlab: ")
    assert says in str(ended.value.code)
    assert "\n" not in str(ended.value.code)


def test_an_empty_grid_is_refused(folder, capsys):
    with pytest.raises(SystemExit):
        main(["sweep", str(folder), *SET])
    assert "--grid" in capsys.readouterr().err
