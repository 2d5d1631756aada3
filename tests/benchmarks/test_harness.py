"""The harness itself; tests assert no speed."""

import json

import pytest

from tests.benchmarks import __main__ as runner
from tests.benchmarks.harness import BENCHMARKS, Wanted, compare


def test_sides_run_in_turn_and_medians_are_compared():
    order, times = [], iter([1.0, 20.0, 9.0, 40.0, 2.0, 30.0, 3.0, 1000.0, 2.5, 0.0])
    result = compare(
        "x", lambda: order.append("ours"), lambda: order.append("peer"), peer_name="it", unit="s",
        wanted=Wanted(ratio_at_least=10), rounds=5, clock=lambda work: (work(), next(times))[1],
    )  # fmt: skip
    assert order == ["ours", "peer"] * 6
    assert (result.ours, result.peer, result.ratio, result.holds) == (2.5, 30.0, 12.0, True)
    assert "ratio ≥ 10" in str(result)


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (Wanted(), True),
        (Wanted(ratio_at_least=3), False),
        (Wanted(ratio_at_most=3), True),
        (Wanted(ours_at_most=1), False),
        (Wanted(ours_at_least=1), True),
        (Wanted(ratio_at_least=1, ours_at_most=1), False),
    ],
)
def test_what_is_wanted(wanted, holds):
    assert wanted.holds(ours=1.5, ratio=2.0) is holds


def test_the_runner_lists_and_refuses(capsys):
    assert runner.main(["--list"]) == 0
    said = capsys.readouterr().out
    assert {"engine-batch", "engine-single", "growth", "import-time"} <= set(BENCHMARKS)
    assert all(name in said for name in BENCHMARKS)
    for wrong in (["engine-bach"], ["growth", "--rounds", "2"]):
        with pytest.raises(SystemExit):
            runner.main(wrong)
    assert "did you mean 'engine-batch'?" in capsys.readouterr().err


def test_the_runner_prints_and_writes_json(tmp_path, capsys, monkeypatch):
    def quick(rounds):
        return [
            compare("a", lambda: None, lambda: None, peer_name="it", unit="s", rounds=rounds,
                    wanted=Wanted(ratio_at_least=top), clock=lambda work: 1.0)
            for top in (1, 2)
        ]  # fmt: skip

    monkeypatch.setitem(BENCHMARKS, "quick", ("for this test", quick))
    assert runner.main(["quick", "--json", str(tmp_path / "out.json")]) == 1
    assert "1 of 2 hold" in capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text())
    assert [r["holds"] for r in written["results"]] == [True, False]
    assert written["results"][0]["benchmark"] == "quick"
