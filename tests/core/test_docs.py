"""Every example of README, site and docstrings runs; every command, link and table is current."""

import ast
import doctest
import re
import runpy
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import napari_redenoise
from napari_redenoise import Config
from napari_redenoise._cli import COMMANDS, app, import_command
from napari_redenoise._cli._app import assigned

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WITH_COMMANDS = [*PAGES, ROOT / "benchmarks" / "NOTEBOOK.md"]
SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))
CODE = [*SOURCE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *SCRIPTS]
REPOSITORY = "https://github.com/napari-redenoise/napari-redenoise/blob/main/"

NEEDS_A_CHECKPOINT = "import-checkpoints.md"
"""Its block is run by test_cli_import, which has a checkpoint."""

BLOCKS = Sybil(parsers=[PythonCodeBlockParser()])


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def with_python() -> list[Path]:
    pages = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]
    return [page for page in pages if page.name != NEEDS_A_CHECKPOINT]


def with_doctests() -> list[str]:
    paths = [path for path in SOURCE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")]
    return sorted(".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in paths)


@pytest.mark.parametrize("page", with_python(), ids=names(with_python()))
def test_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    examples = list(BLOCKS.parse(page))
    assert len(examples) == page.read_text(encoding="utf-8").count("```python")
    for example in examples:
        example.evaluate()


@pytest.mark.parametrize("module", with_doctests())
def test_examples_of_docstrings_run(module: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


def test_the_facade_has_examples() -> None:
    assert {
        "napari_redenoise.model._denoise",
        "napari_redenoise.model._redenoiser",
    } <= set(with_doctests())


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    """Every command by its name."""
    for name in COMMANDS:
        import_command(name)
    return dict(typer.main.get_command(app).commands)


def shell_blocks(page: Path) -> str:
    """What a page says to type, continued lines joined."""
    text = page.read_text(encoding="utf-8")
    return "\n".join(re.findall(r"```sh\n(.*?)```", text, re.S)).replace("\\\n", " ")


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=names(WITH_COMMANDS))
def test_commands_of_a_page_are_understood(
    page: Path, commands: dict[str, Any], monkeypatch: Any
) -> None:
    # Whichever device this machine has.
    monkeypatch.setattr("napari_redenoise._cli._app.get_device", lambda name: name)
    for line in re.findall(r"^redenoise .*", shell_blocks(page), re.M):
        name, *arguments = shlex.split(line, comments=True)[1:]
        assert name in commands, line
        given = commands[name].make_context(name, arguments).params
        Config().replace(assigned(given.get("assignments") or [], ()))


def test_commands_are_shown() -> None:
    lines = [line for page in WITH_COMMANDS for line in shell_blocks(page).splitlines()]
    shown = {line.split()[1] for line in lines if line.startswith("redenoise ")}
    assert set(COMMANDS) - shown <= {"demo"}


@pytest.mark.parametrize("name", ["configuration", "command-line"])
def test_tables_of_the_reference_are_current(name: str) -> None:
    script = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))
    made = {"configuration": script["configuration"], "command-line": script["commands"]}[name]()
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert script["published"](page, name, made) == page, "run docs/make_reference.py"


def fields(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a configuration, dotted."""
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from fields(field.annotation, f"{prefix}{name}.")
        elif prefix:
            yield prefix + name, field


def test_every_field_is_described() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    found = dict(fields(Config))
    assert len(found) > 30
    for name, field in found.items():
        assert field.description, name
        assert f"| `{name}` |" in page
        assert field.description in page


def test_every_option_is_described(commands: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    for name, command in commands.items():
        (section,) = re.findall(rf"^## redenoise {name}\n(.*?)(?=^## |^<!--)", page, re.M | re.S)
        for parameter in command.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                shown = option if option.startswith("--") else option.upper()
                assert shown == "--help" or f"`{shown}`" in section, (name, option)


def written(script: Path) -> tuple[Path, list[str]]:
    """The page that a benchmark publishes into, and patterns of the markers that it writes."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    page, name = ROOT / "docs" / "benchmarks.md", ""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="PAGE")], value=value):
                page = ROOT.joinpath(*re.findall(r"'([^']+)'", ast.unparse(value)))
            case ast.Assign(targets=[ast.Name(id="NAME")], value=ast.Constant(value=str(value))):
                name = value
            case ast.Assign(targets=[ast.Tuple()], value=ast.Tuple(elts=[ast.Constant(), *_])):
                name = ast.literal_eval(node.value)[0] if "NAME" in ast.unparse(node) else name
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [one.args[0] for one in calls if ast.unparse(one.func) == "publish"]
    return page, [pattern(one, name) for one in named]


def pattern(node: ast.expr, name: str) -> str:
    """The names that an expression can give, of which NAME is known."""
    match node:
        case ast.Constant():
            return re.escape(str(node.value))
        case ast.Name(id="NAME"):
            return re.escape(name)
        case ast.FormattedValue(value=value):
            return pattern(value, name)
        case ast.JoinedStr():
            return "".join(pattern(part, name) for part in node.values)
    return r"\w+"


PUBLISHING = [script for script in SCRIPTS if written(script)[1]]


@pytest.mark.parametrize("script", PUBLISHING, ids=names(PUBLISHING))
def test_a_benchmark_finds_its_place(script: Path) -> None:
    page, markers = written(script)
    text = page.read_text(encoding="utf-8")
    by = re.escape(f"written by benchmarks/{script.name}")
    for marker in markers:
        found = re.findall(rf"<!-- ({marker}) begins: {by} -->", text)
        assert found, f"{page.name} lacks {marker}"
        assert len(found) == len(set(found))
        for one in found:
            assert text.count(f"<!-- {one} ends -->") == 1


def test_benchmarks_publish() -> None:
    patterns = {script.name: written(script)[1] for script in PUBLISHING}
    assert len(patterns) > 12
    assert r"equivariance_\w+" in patterns["equivariance.py"]


def test_no_marker_is_without_its_script() -> None:
    for page in [*PAGES, ROOT / "benchmarks" / "NOTEBOOK.md"]:
        text = page.read_text(encoding="utf-8")
        for script in re.findall(r"<!-- \S+ begins: written by (\S+) -->", text):
            assert (ROOT / script).is_file(), (page.name, script)


def anchors(page: Path) -> set[str]:
    """Of the headings of a page, as GitHub and the site make them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in found}


OUTSIDE = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *WITH_COMMANDS[-1:]]


@pytest.mark.parametrize("page", OUTSIDE, ids=names(OUTSIDE))
def test_links_into_the_repository_lead_somewhere(page: Path) -> None:
    """The site checks the links within it: here are those by URL, and those of other pages."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        if link.startswith(REPOSITORY):
            target = ROOT / path.removeprefix(REPOSITORY)
        elif "://" in link:
            continue
        else:
            target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_public_names_are_in_the_reference() -> None:
    page = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    for place in re.findall(r"^::: ([\w.]+)$", page, re.M):
        package, _, name = place.rpartition(".")
        assert name == "errors" or hasattr(import_module(package), name), place
    shown = {place.rpartition(".")[2] for place in re.findall(r"^::: (\S+)$", page, re.M)}
    public = set(napari_redenoise.__all__) - {"__version__", "Event", "RedenoiseError"}
    assert public <= shown
    assert all(f"`{name}`" in page for name in (*public, "Event", "RedenoiseError"))


def test_pages_that_the_code_names_are_there() -> None:
    for path in CODE:
        for page in re.findall(r"\bdocs/[\w-]+\.md", path.read_text(encoding="utf-8")):
            assert (ROOT / page).is_file(), (path.name, page)


def test_options_of_the_dock_are_named_as_in_it() -> None:
    dock = SOURCE / "napari_redenoise" / "_napari"
    said = "\n".join(path.read_text(encoding="utf-8") for path in dock.rglob("*.py"))
    page = (ROOT / "docs" / "dock.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"\| option \| what it is \|\n\|---\|---\|\n(.*?)\n\n", page, re.S)
    labels = re.findall(r"^\| ([\w ]+) \|", table, re.M)
    assert len(labels) > 8
    for label in (*labels, *re.findall(r"^\| \*([\w .]+)\*", page, re.M)):
        assert f'"{label}"' in said.replace("&", ""), label
