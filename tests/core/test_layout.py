"""The layout holds: rows of the import rule, doors of packages, and what lies at the root."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "napari_redenoise"
MOST_AT_THE_ROOT = 8
"""Modules."""

PUBLIC_INSIDE = {"napari_redenoise.nn.testing"}
"""Public modules of a package, beside its `__init__`."""


def words(row: str) -> list[str]:
    return re.findall(r"\w+", row)


def test_the_import_rule_is_the_same_wherever_it_stands() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    held = [words(row) for row in linter["contracts"][0]["layers"]]
    text = (ROOT / "CONTRIBUTING.md").read_text()
    told = re.search(r"## The import rule.*?```text\n(.*?)```", text, re.DOTALL)
    assert told
    assert [words(row) for row in told[1].splitlines()] == held
    assert len(held) == 6


def imports() -> Iterator[tuple[str, str, str]]:
    """File, its package, and the module that it imports from."""
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                for name in node.names:
                    whole = f"{node.module}.{name.name}"
                    yield str(place), place.parts[0].removesuffix(".py"), whole
            elif isinstance(node, ast.Import):
                for name in node.names:
                    yield str(place), place.parts[0].removesuffix(".py"), name.name


def test_packages_are_entered_by_their_init() -> None:
    inside = [
        (file, module)
        for file, package, module in imports()
        if (parts := module.split("."))[0] == "napari_redenoise"
        and (len(parts) > 3 or (len(parts) == 3 and parts[2].startswith("_")))
        and parts[1] != package
        and not module.startswith(tuple(PUBLIC_INSIDE))
    ]
    assert inside == []


@pytest.mark.parametrize("folder", ["assessment", "data", "inference", "io", "model", "noise"])
def test_every_name_of_an_init_is_there(folder: str) -> None:
    module = __import__(f"napari_redenoise.{folder}", fromlist=["__all__"])
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_few_modules_lie_at_the_root() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_AT_THE_ROOT
