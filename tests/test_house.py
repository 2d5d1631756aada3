"""The package's promises about itself: its face, its rooms, its words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pairlab
from pairlab.settings import SETTINGS, Settings

ROOT = Path(__file__).parents[1]


def test_all_names_exist_and_nothing_else_leaks() -> None:
    for name in pairlab.__all__:
        assert getattr(pairlab, name) is not None
    public = {n for n in vars(pairlab) if not n.startswith("_")}
    modules = {n for n in public if type(getattr(pairlab, n)).__name__ == "module"}
    assert public - modules == {n for n in pairlab.__all__ if not n.startswith("_")}


def test_top_level_of_the_repository() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    top = {name.split("/")[0] for name in tracked}
    visible = {name for name in top if not name.startswith(".")}
    assert visible == {"pairlab", "notebooks", "tests", "pyproject.toml", "README.md"}


def test_imports_follow_the_arrows() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "KEPT" in run.stdout


def test_every_setting_has_a_trait_with_words() -> None:
    traits = Settings.class_own_traits()
    assert set(traits) == set(SETTINGS)
    assert all(trait.help for trait in traits.values())
