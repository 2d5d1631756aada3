"""The package's promises about itself: its face, its rooms, its words."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum, Flag
from pathlib import Path
from typing import Any, Final, get_args

import pytest

import pairlab
from pairlab import costs, widgets
from pairlab.app.app import dashboard_for_page, lab_for_page
from pairlab.protocols import Table
from pairlab.settings import SETTINGS, Settings
from pairlab.widgets.layouts import LAYOUTS

ROOT = Path(__file__).parents[1]
COSTS: Final = [n for n in costs.__all__ if inspect.isfunction(getattr(costs, n))]


def test_all_names_exist_and_nothing_else_leaks() -> None:
    for name in pairlab.__all__:
        assert getattr(pairlab, name) is not None
    public = {n for n in vars(pairlab) if not n.startswith("_")}
    modules = {n for n in public if type(getattr(pairlab, n)).__name__ == "module"}
    assert public - modules == {n for n in pairlab.__all__ if not n.startswith("_")}


def test_the_version_is_the_one_in_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # Fails after a change of the version until `pip install -e .` writes the metadata anew.
    assert pairlab.__version__ == project["version"]
    stated = re.compile(r"^__version__\s*=\s*[\"']", re.M)
    files = (ROOT / "pairlab").rglob("*.py")
    assert not [f.name for f in files if stated.search(f.read_text(encoding="utf-8"))]


def test_top_level_of_the_repository() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    top = {name.split("/")[0] for name in tracked}
    visible = {name for name in top if not name.startswith(".")}
    required = {"pairlab", "notebooks", "tests", "pyproject.toml", "README.md"}
    allowed = required | {"LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"}
    assert required <= visible <= allowed


def test_the_map_names_every_module_and_package() -> None:
    named = set()
    for line in re.findall(
        r"^    ([a-z_/]+(?:, [a-z_/]+)*) {2,}\S", pairlab.__doc__ or "", flags=re.M
    ):
        named.update(name.strip().rstrip("/") for name in line.split(","))
    there = {path.stem for path in (ROOT / "pairlab").iterdir() if path.suffix in ("", ".py")}
    assert named == there - {"__init__", "__main__", "__pycache__"}


def test_files_and_folders_stay_short() -> None:
    for path in (ROOT / "pairlab").rglob("*.py"):
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= 450, f"{path.relative_to(ROOT)} has {lines} lines"
        assert len([p for p in path.parent.iterdir() if p.suffix == ".py"]) <= 15, path.parent


@pytest.mark.parametrize("name", sorted(pairlab.__all__))
def test_the_public_face_is_typed(name: str) -> None:
    thing = getattr(pairlab, name)
    called = [thing]
    if inspect.isclass(thing):
        called = [m for n, m in vars(thing).items() if not n.startswith("_") or n == "__init__"]
    for function in called:
        function = getattr(function, "fget", function)
        if inspect.isfunction(function):
            words = [str(a) for a in function.__annotations__.values()]
            assert not [w for w in words if re.search(r"\bAny\b", w)], (function, words)


def test_imports_follow_the_arrows() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "KEPT" in run.stdout


def test_every_setting_has_a_trait_with_words() -> None:
    traits = Settings.class_own_traits()
    assert set(traits) == set(SETTINGS)
    assert all(trait.help for trait in traits.values())


def sections(what: Any) -> dict[str, str]:
    """Return a docstring's sections by their titles."""
    parts = re.split(r"^(\w+)\n-+$", inspect.getdoc(what) or "", flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def told(section: str) -> set[str]:
    """Return the names that a section tells of."""
    heads = [line.split(":")[0] for line in section.splitlines() if line[:1].strip()]
    return {name.strip().lstrip("*") for head in heads for name in head.split(",")}


def public() -> Iterator[tuple[str, Any, Any]]:
    """Yield what a user calls: a name, what has the words, what has the parameters."""
    for name in (*pairlab.__all__, *widgets.__all__):
        thing = getattr(pairlab, name, None) or getattr(widgets, name)
        if inspect.isclass(thing) and not issubclass(thing, Exception | Enum | Flag | str):
            yield name, thing, thing if issubclass(thing, tuple) else thing.__init__
        elif inspect.isfunction(thing):
            yield name, thing, thing
    for name, method in inspect.getmembers(pairlab.PairLab, inspect.isfunction):
        if not name.startswith("_") and name not in ("attach", "call_on_loop"):  # for views
            yield f"PairLab.{name}", method, method
    for function in (lab_for_page, dashboard_for_page, *map(costs.__dict__.get, COSTS)):
        yield function.__name__, function, function


@pytest.mark.parametrize(("name", "words", "called"), list(public()), ids=[p[0] for p in public()])
def test_every_parameter_and_result_has_words(name: str, words: Any, called: Any) -> None:
    found, signature = sections(words), inspect.signature(called)
    assert (inspect.getdoc(words) or "").strip(), name
    named = {n for n in signature.parameters if not n.startswith("_")}
    wanted = named - {"self", "cls", "args", "kwargs"}
    # Of a record each field is told as what it is, an attribute.
    record = is_dataclass(words) or (inspect.isclass(words) and issubclass(words, tuple))
    have = told(found.get("Attributes" if record else "Parameters", ""))
    assert wanted <= have, f"{name}: {sorted(wanted - have)}"
    result = str(signature.return_annotation)
    if inspect.isfunction(words) and result not in ("None", "Self"):
        assert "Returns" in found, name


@pytest.mark.parametrize("name", sorted(set(widgets.__all__) - {"apply_theme", "dress"}))
def test_a_notebook_shows_what_a_part_is_made_of(name: str) -> None:
    part = getattr(widgets, name)
    _, *own = inspect.signature(part.__init__).parameters.values()
    assert list(inspect.signature(part).parameters.values()) == own


def test_the_readme_names_every_part_and_every_layout() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in (*widgets.__all__, *LAYOUTS, *get_args(Table)):
        assert f"`{name}`" in readme or f'"{name}"' in readme, name
