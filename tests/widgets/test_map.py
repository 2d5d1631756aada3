"""The promises of `pairlab.widgets` about its files: the map, their size, who sets what."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from pairlab import widgets

ROOT = Path(widgets.__file__).parent
MAX_LINES, MAX_FILES = 450, 15


def mapped() -> set[str]:
    """Return the paths that the map names."""
    found, folder = set(), ""
    for indent, name in re.findall(r"^    ( *)([\w./]+)", widgets.__doc__ or "", flags=re.M):
        if name.endswith("/"):
            folder = name
        else:
            found.add((folder if indent else "") + name)
    return found


def test_the_map_names_every_file() -> None:
    files = {p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*.py")}
    assert mapped() == {f for f in files if not f.endswith("__init__.py")}


def test_files_and_folders_can_be_read_in_one_sitting() -> None:
    for path in ROOT.rglob("*"):
        if path.suffix == ".py":
            assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES, path
        elif path.is_dir() and path.name != "__pycache__":
            files = [f for f in path.iterdir() if f.is_file()]
            assert len(files) <= MAX_FILES, path


def test_widgets_set_no_attribute_of_what_they_share() -> None:
    shared = {"render_loop", "loop", "view", "frame", "parts", "channel", "interaction", "lab"}
    for path in [*ROOT.glob("*.py"), *ROOT.glob("panels/*.py"), *ROOT.glob("charts/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                owner = node.value
                name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                assert name not in shared, f"{path.name}:{node.lineno} sets {name}.{node.attr}"
