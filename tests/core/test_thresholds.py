"""Thresholds stand in one place a package, each with its evidence, and are all used."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "napari_redenoise"


def named(file: Path) -> dict[str, ast.stmt]:
    """Names that are assigned at the top of a file, and the statement after each."""
    body = ast.parse(file.read_text()).body
    found = {}
    for statement, following in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.Assign):
            for node in ast.walk(statement.targets[0]):
                if isinstance(node, ast.Name):
                    found[node.id] = following
    return found


@pytest.mark.parametrize("folder", ["noise", "assessment"])
def test_every_threshold_has_evidence_and_is_used(folder: str) -> None:
    thresholds = PACKAGE / folder / "_thresholds.py"
    used = {
        node.id
        for file in (PACKAGE / folder).glob("*.py")
        if file != thresholds
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Name)
    }
    found = named(thresholds)
    assert len(found) > 15
    for name, following in found.items():
        assert isinstance(following, ast.Expr), name
        assert len(ast.literal_eval(following.value)) > 30, name
        assert name in used
