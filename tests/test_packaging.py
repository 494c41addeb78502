"""What a user installs: metadata, manifest, and an import that costs nothing."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from npe2 import PluginManifest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import napari_redenoise

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = [Requirement(line) for line in PROJECT["dependencies"]]
OPTIONAL = [
    Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines
]


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution("napari-redenoise")


@pytest.mark.parametrize("requirement", BASE + OPTIONAL, ids=str)
def test_requirement_has_no_cap(requirement):
    assert {spec.operator for spec in requirement.specifier} <= {">=", "!="}


def test_base_dependencies_bring_no_napari_and_no_qt_binding():
    names = {canonicalize_name(requirement.name) for requirement in BASE}
    assert not names & {"napari", "pyqt5", "pyqt6", "pyside2", "pyside6"}


def test_version_is_the_installed_one():
    assert napari_redenoise.__version__ == version("napari-redenoise") == PROJECT["version"]


@pytest.mark.skipif(sys.platform == "win32", reason="git checks links out as files on Windows")
def test_manifest_in_root_links_to_the_packaged_one():
    link = ROOT / "napari.yaml"
    assert link.is_symlink()
    assert link.resolve() == ROOT / "src/napari_redenoise/napari.yaml"


def test_import_loads_neither_torch_nor_gui():
    heavy = {"torch", "napari", "qtpy"}
    code = f"import sys, napari_redenoise; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


WAITING = "import os, napari_redenoise; print(os.environ.get('OMP_WAIT_POLICY'))"


@pytest.mark.parametrize(
    ("code", "setting", "expected"),
    [
        (WAITING, None, "passive"),
        (WAITING, "active", "active"),
        # Too late: torch has read it.
        (f"import torch; {WAITING}", None, "None"),
        (WAITING.replace("napari_redenoise;", "napari_redenoise._cli;"), None, "passive"),
    ],
    ids=["unset", "the user's", "torch is loaded", "the command"],
)
def test_threads_wait_without_spinning_by_default(code, setting, expected):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if setting is not None:
        environment["OMP_WAIT_POLICY"] = setting
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert run.stdout.strip() == expected


def test_every_command_of_the_manifest_can_be_imported(manifest):
    manifest.validate_imports()


def test_commands_point_at_the_widgets_and_the_sample_data(manifest):
    modules = {command.python_name.split(":")[0] for command in manifest.contributions.commands}
    allowed = ("napari_redenoise._napari", "napari_redenoise._sample_data")
    assert all(module.startswith(allowed) for module in modules), modules


def test_menu_entry_is_in_the_filter_menu(manifest):
    # An unknown menu passes npe2's validation, and napari then drops it: hence by name.
    entries = manifest.contributions.menus["napari/layers/filter"]
    assert [entry.command for entry in entries] == ["napari-redenoise.denoise_selected_layer"]


def test_make_and_tox_agree_on_torch():
    make = re.search(r"^TORCH \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    tox = re.search(r"TORCH_VERSION:([^}]+)\}", (ROOT / "tox.ini").read_text())
    assert make is not None
    assert tox is not None
    assert make[1] == tox[1]
