"""What is loaded where nothing is computed, in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import napari_redenoise
from napari_redenoise._cli import COMMANDS, app, import_command

HEAVY = {"dask", "matplotlib", "napari", "qtpy", "scipy", "skimage", "torch", "zarr"}
"""Packages that take longer to import than a sentence to print."""

CLI = Path(napari_redenoise.__file__).parent / "_cli"


def loaded(code: str) -> set[str]:
    """Heavy packages that a program has imported at its end."""
    tail = "print('loaded:', *{name.split('.')[0] for name in sys.modules})"
    program = f"import sys\ntry:\n    {code}\nfinally:\n    {tail}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    *_, last = done.stdout.splitlines()
    assert last.startswith("loaded: "), done.stderr
    return HEAVY & set(last.split()[1:])


@pytest.mark.parametrize("argument", ["--help", "--version", "nonsense", ""])
def test_the_command_answers_without_torch(argument: str) -> None:
    run = "from napari_redenoise._cli import main; main()"
    assert loaded(f"sys.argv = ['redenoise', *{argument.split()}]; {run}") == set()


@pytest.mark.parametrize(
    ("code", "packages"),
    [
        ("import napari_redenoise; dir(napari_redenoise)", set()),
        ("import napari_redenoise._cli", set()),
        ("from napari_redenoise import RedenoiseError", set()),
        ("from napari_redenoise import Config", set()),
        ("from napari_redenoise._sample_data import noisy_cells; noisy_cells()", {"scipy"}),
    ],
)
def test_torch_is_loaded_where_it_computes(code: str, packages: set[str]) -> None:
    assert loaded(code) == packages


def test_the_help_lists_every_command() -> None:
    modules = {path.stem for path in CLI.glob("*.py") if "@app.command(" in path.read_text()}
    assert {module for module, _ in COMMANDS.values()} == modules
    for name in COMMANDS:
        import_command(name)
    made = typer.main.get_command(app).commands
    assert list(made) == list(COMMANDS)
    for name, (_, summary) in COMMANDS.items():
        assert re.split(r"\n\n", made[name].help)[0].replace("\n", " ") == summary, name


def test_a_mistyped_command_is_answered_with_a_proposal() -> None:
    run = [sys.executable, "-c", "from napari_redenoise._cli import main; main()", "denoize"]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 2
    assert "denoise" in done.stderr
