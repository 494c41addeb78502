"""Names of tests: short enough to be read in a list."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LONGEST = 60
"""Characters."""


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.name)
def test_names_of_tests_are_short(path: Path) -> None:
    names = [
        node.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert [name for name in names if len(name) > LONGEST] == []
