"""The command line: ``redenoise``."""

from __future__ import annotations

import sys

import typer

from napari_redenoise._cli._commands import COMMANDS, app, import_command
from napari_redenoise.errors import RedenoiseError

__all__ = ["COMMANDS", "app", "import_command", "main"]


def main() -> None:
    """Run the command line; a `RedenoiseError` ends it with its message."""
    try:
        app()
    except RedenoiseError as error:
        typer.echo(f"redenoise: {error}", err=True)
        sys.exit(1)
