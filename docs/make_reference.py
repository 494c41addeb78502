"""Write the tables of docs/configuration.md and docs/command-line.md from the code."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from napari_redenoise._cli import COMMANDS, app, import_command
from napari_redenoise.config import Config, NoiseConfig

DOCS = Path(__file__).resolve().parent
SCRIPT = "docs/make_reference.py"


def main() -> None:
    """Write both pages."""
    for name, text in {"configuration": configuration(), "command-line": commands()}.items():
        page = DOCS / f"{name}.md"
        page.write_text(published(page.read_text(encoding="utf-8"), name, text), encoding="utf-8")


def published(page: str, name: str, text: str) -> str:
    """A page with the section between its two markers replaced."""
    begin, end = f"<!-- {name} begins: written by {SCRIPT} -->", f"<!-- {name} ends -->"
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{text}\n{end}{after}"


def configuration() -> str:
    """Every field of the configuration, a table a section."""
    sections = {name: field.annotation for name, field in Config.model_fields.items()}
    sections = {**sections, "objective.noise": NoiseConfig}
    return "\n\n".join(
        _section(name, model) for name, model in sections.items() if hasattr(model, "model_fields")
    )


def _section(section: str, model: Any) -> str:
    rows = (
        (f"`{section}.{name}`", _values(schema), f"`{_json(schema.get('default'))}`", about)
        for name, schema, about in _fields(model)
    )
    head = f"## {section}\n\n{_prose(model.__doc__)}\n\n"
    return head + _table(("field", "values", "default", "what it is"), rows)


def commands() -> str:
    """Every command with its arguments and options."""
    for name in COMMANDS:
        import_command(name)
    known = typer.main.get_command(app).commands
    functions = {one.name or one.callback.__name__: one.callback for one in app.registered_commands}
    return "\n\n".join(_command(name, known[name], functions[name]) for name in sorted(functions))


def _fields(model: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    properties = model.model_json_schema()["properties"]
    for name, schema in properties.items():
        yield name, schema, schema.get("description", "")


def _values(schema: dict[str, Any]) -> str:
    """What a field takes, in words."""
    if "anyOf" in schema:
        return " or ".join(_values(one) for one in schema["anyOf"])
    if "$ref" in schema:
        return "as below"
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    kinds = {"null": "none", "boolean": "true or false"}
    if schema["type"] == "array":
        return f"list: {_values(schema['items'])}"
    found = [f"{sign} {schema[name]}" for name, sign in limits.items() if name in schema]
    return " ".join([kinds.get(schema["type"], schema["type"]), ", ".join(found)]).strip()


def _json(value: object) -> str:
    return "none" if value is None else str(value)


def _command(name: str, command: Any, function: Callable[..., None]) -> str:
    # By the function's own signature: what typer keeps of it differs between its versions.
    hints, signature = get_type_hints(function), inspect.signature(function).parameters
    rows = [
        (_names(one), _kind(hints[one.name], one), _cell(one.help), _default(one, signature))
        for one in command.params
        if one.name in hints
    ]
    head = f"## redenoise {name}\n\n{_prose(command.help)}\n\n"
    return head + _table(("argument or option", "value", "what it is", "default"), rows)


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    return ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))


def _kind(hint: Any, parameter: Any) -> str:
    """What a parameter takes, in words."""
    parts = get_args(hint)
    (kind,) = (one for one in parts if one is not NoneType) if NoneType in parts else (hint,)
    if kind is bool:
        return "-"
    choices = [value for one in _flat(kind) for value in get_args(one)]
    if get_origin(kind) is list:
        return f"{parameter.metavar or _kind(get_args(kind)[0], parameter)}, may be repeated"
    if choices:
        return ", ".join(f"`{one}`" for one in choices)
    return {int: "integer", float: "number", str: "text", Path: "path"}[kind]


def _flat(kind: Any) -> list[Any]:
    """The literals that a type is made of."""
    if get_origin(kind) is Literal and not any(map(get_origin, get_args(kind))):
        return [kind]
    return [one for part in get_args(kind) for one in _flat(part)]


def _default(parameter: Any, signature: Mapping[str, inspect.Parameter]) -> str:
    if parameter.required:
        return "required"
    value = signature[parameter.name].default
    return "-" if value is None or value is False else f"`{value}`"


def _prose(text: str | None) -> str:
    """A docstring as Markdown: words with two backticks keep one."""
    return re.sub(r"``([^`]*)``", r"`\1`", re.sub(r"(?m)^ +", "", text or "").strip())


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def _table(header: tuple[str, ...], rows: Any) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


if __name__ == "__main__":
    main()
